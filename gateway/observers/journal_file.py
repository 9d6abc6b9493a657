"""The form in which a call's journal is kept: JSON lines.

Owns what the lines mean, in both directions. Refuses files and threads, which are `gateway.observers.journal`'s, and
what is left out of a journal: words are `gateway.observers.journal_words`'s, sound is `gateway.observers.journal_run`'s.

The first line's item is a `JournalHeader`; every other line is an entry, ``{"at": …, "item": {"type": …}}``. Stretches
of sound and of `TimeReached` are one `Run` each, which is read back as the same entries at the same moments; in the
compact form with silence instead of the sound. `Tell`, which repeats an event, is most often written as `Told`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, cast, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.commands import AnyCommand, CallEnded, Entry, Remember, Tell
from gateway.events import AnyEvent, CallInfo
from gateway.observers.journal_run import Run, code_run, entries_of, is_repeated
from gateway.observers.journal_words import without_words
from gateway.terms import CallTerms

Form = Literal["compact", "full"]


class JournalHeader(Struct, frozen=True, tag="journal"):
    """What must be known to read or replay a journal."""

    call: CallInfo
    """Who called whom; numbers are masked where words are not kept."""
    terms: CallTerms
    """What the machine was told, with the name of the route."""
    versions: dict[str, str]
    """Of the gateway and of Python."""
    began_at: float
    """Unix time of the beginning."""
    form: Form
    """Whether sound is kept."""
    words: bool
    """Whether words are kept."""


class Lost(Struct, frozen=True, tag="lost"):
    """Entries that were not written, because the disk was too slow or full; the journal has a hole here."""

    entries: int
    """How many."""


class Told(Struct, frozen=True, tag="told"):
    """`Tell` of the last event that has a line of its own."""


class Line(Struct, frozen=True):
    """One line of the file."""

    at: float
    """Monotonic seconds of the process that wrote it."""
    item: JournalHeader | Run | Lost | Told | AnyEvent | AnyCommand
    """What it tells."""


class Journal(Struct, frozen=True):
    """A journal that was read back."""

    header: JournalHeader
    """Its first line."""
    entries: list[Entry]
    """Its entries in order."""
    lost: int = 0
    """How many entries are known to be missing."""
    hole: int | None = None
    """Place among the entries of the first that is missing."""
    torn: bool = False
    """Whether the last line is cut short, because the process was killed while it wrote."""

    @property
    def is_whole(self) -> bool:
        """Whether the end of the call is in it; what was under way at that moment may follow."""
        last_first = (entry.item for entry in reversed(self.entries))
        return any(isinstance(item, Remember) and isinstance(item.fact, CallEnded) for item in last_first)


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Line)
_EVENTS: Final = get_args(AnyEvent)


class LineWriter:
    """Turns entries into lines; one per journal, fed in order."""

    def __init__(self, header: JournalHeader) -> None:
        self._header = header
        self._event: object = None  # the last one that has a line of its own

    def begin(self, at: float) -> bytes:
        """The first line."""
        header = self._header
        call = header.call if header.words else without_words(header.call)
        return _line(at, replace(header, call=call))

    def write(self, batch: Sequence[Entry]) -> Iterator[bytes]:
        """The lines of some entries; nothing is held back for later."""
        with_sound, words = self._header.form == "full", self._header.words
        place = 0
        while place < len(batch):
            entry = batch[place]
            item = entry.item
            if is_repeated(item):
                run, place = code_run(batch, place, with_sound=with_sound)
                yield _line(entry.at, run)
                continue
            place += 1
            if isinstance(item, Tell) and item.event is self._event:
                yield _line(entry.at, Told())
                continue
            if isinstance(item, _EVENTS):
                self._event = item
            yield _line(entry.at, item if words else without_words(item))

    def lose(self, at: float, entries: int) -> bytes:
        """Note a hole."""
        self._event = None
        return _line(at, Lost(entries))


def is_run(line: bytes) -> bool:
    """Whether a line holds a stretch of sound or time."""
    return b',"item":{"type":"run",' in line[:80]


def read_journal(lines: Iterable[bytes | str]) -> Journal:
    """Read a journal back; a last line that is torn is left out and told.

    Raises:
        ValueError: when it is no journal or a line cannot be read, with the line's number.
    """
    reading = _Reading()
    torn: ValueError | None = None
    for number, text in enumerate(lines, 1):
        if torn:
            raise torn  # it is not the last one
        if not text.strip():
            continue
        try:
            reading.take(_DECODER.decode(text))
        except (msgspec.DecodeError, ValueError) as error:
            torn = ValueError(f"line {number} cannot be read ({error}); {reading.origin}")
            torn.__cause__ = error
            if isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError):
                raise torn from error  # it is all there, and wrong
    if torn and reading.header is None:
        raise torn
    return reading.journal(torn=torn is not None)


class _Reading:
    """A journal as far as it was read."""

    def __init__(self) -> None:
        self.header: JournalHeader | None = None
        self._entries: list[Entry] = []
        self._lost = 0
        self._hole: int | None = None
        self._event: AnyEvent | None = None

    @property
    def origin(self) -> str:
        """What to tell of a line that is wrong."""
        if self.header is None:
            return "is this a journal of Talkpath?"
        return f"it was written by Talkpath {self.header.versions.get('talkpath', 'of an unknown version')}"

    def take(self, line: Line) -> None:
        """Take note of a line."""
        item = line.item
        if self.header is None:
            if not isinstance(item, JournalHeader):
                raise ValueError("a journal begins with a header")
            self.header = item
        elif isinstance(item, Run):
            self._entries += entries_of(item, line.at, self.header.terms.audio)
        elif isinstance(item, Lost):
            self._lose(item.entries)
        elif isinstance(item, JournalHeader):
            raise ValueError("a journal has one header")
        elif isinstance(item, Told):
            if self._event is None:
                raise ValueError("an event is told that is not there")
            self._entries.append(Entry(line.at, Tell(self._event)))
        else:
            if isinstance(item, _EVENTS):
                self._event = cast("AnyEvent", item)
            self._entries.append(Entry(line.at, item))

    def journal(self, *, torn: bool) -> Journal:
        """Everything that was read."""
        if self.header is None:
            raise ValueError("the journal is empty")
        if torn:
            self._lose(1)
        return Journal(self.header, self._entries, self._lost, self._hole, torn)

    def _lose(self, entries: int) -> None:
        self._lost += entries
        if self._hole is None:
            self._hole = len(self._entries)


def _line(at: float, item: JournalHeader | Run | Lost | Told | AnyEvent | AnyCommand) -> bytes:
    return _ENCODER.encode(Line(at, item)) + b"\n"
