"""The form in which a call's journal is kept: JSON lines.

Owns what the lines mean, in both directions, and what is left out of them. Refuses files and threads, which are
`gateway.observers.journal`'s.

The first line's item is a `JournalHeader`; every other line is an entry, ``{"at": …, "item": {"type": …}}``. In the
compact form stretches of sound and of `TimeReached` are one `Run` each, which is read back as entries of the same number
and kind, evenly spaced, with silence of the same length and with the levels at which it began and ceased to be audible. Without words, texts are masked letter by
letter, so that their length stays, and messages, arguments, results and keys are emptied.
"""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import fields as fields_of
from msgspec.structs import replace

from gateway.audio import AUDIBLE_DBFS, DIGITAL_SILENCE_DBFS, AudioFormat
from gateway.commands import AnyCommand, Entry, Play, PlayClip, SendAudio
from gateway.events import AnyEvent, CallerAudio, CallInfo, ReplyAudio, TimeReached
from gateway.observers.log import mask_number
from gateway.terms import CallTerms

RUN_S: Final = 10.0
"""Longest stretch that one `Run` stands for."""

_PAUSE_S: Final = 0.5
"""Quiet between two audible entries that ends a `Run`: shorter than the pauses that a reader looks for."""

Kind = Literal["caller.audio", "reply.audio", "play", "play.clip", "send.audio", "time.reached"]
Form = Literal["compact", "full"]
Item = AnyEvent | AnyCommand
Repeated = CallerAudio | ReplyAudio | Play | PlayClip | SendAudio | TimeReached


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


class Run(Struct, tag="run", omit_defaults=True):
    """A stretch of entries of one kind; the line's moment is that of the first."""

    kind: Kind
    """Wire name of the entries."""
    name: str = ""
    """Id of the reply, or name of the house sound."""
    until: float = 0.0
    """Moment of the last one."""
    count: int = 0
    """How many entries."""
    size_bytes: int = 0
    """How much sound, in the call's format."""
    begin_ms: float = 0.0
    """Where a house sound's stretch begins."""
    ms: float = 0.0
    """How much of a house sound."""
    level: float = DIGITAL_SILENCE_DBFS
    """The loudest level in dBFS."""
    loud_from: int = 0
    """The first audible entry, counted from 0; only where `level` is audible."""
    loud_to: int = -1
    """The last audible entry."""
    loud_at: float = 0.0
    """Moment of the first audible entry."""
    loud_until: float = 0.0
    """Moment of the last audible entry."""


class Lost(Struct, frozen=True, tag="lost"):
    """Entries that the disk was too slow to take; the journal has a hole here."""

    entries: int
    """How many."""


class Line(Struct, frozen=True):
    """One line of the file."""

    at: float
    """Monotonic seconds of the process that wrote it."""
    item: JournalHeader | Run | Lost | AnyEvent | AnyCommand
    """What it tells."""


class Journal(Struct, frozen=True):
    """A journal that was read back."""

    header: JournalHeader
    """Its first line."""
    entries: list[Entry]
    """Its entries in order."""
    lost: int
    """How many entries are missing."""


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Line)
_MASKED: Final = frozenset({"text", "instructions"})
_EMPTIED: Final = frozenset({"raw", "arguments", "result", "session", "digits", "history", "parameters"})
_PARTIES: Final = frozenset({"caller", "callee", "target"})


def without_words(item: Any) -> Any:
    """A copy of an event, command, fact or description without what people said, typed or are called."""
    news: dict[str, Any] = {}
    for field in fields_of(item):
        value = getattr(item, field.name)
        if field.name in _MASKED:
            news[field.name] = re.sub(r"\w", "•", value)
        elif field.name in _EMPTIED:
            news[field.name] = type(value)()
        elif field.name in _PARTIES:
            news[field.name] = mask_number(value)
        elif isinstance(value, Struct) and not isinstance(value, AudioFormat):
            news[field.name] = without_words(value)
    return replace(item, **news) if news else item


class LineWriter:
    """Turns entries into lines; one per journal, fed in order."""

    def __init__(self, header: JournalHeader) -> None:
        self._header = header
        self._runs: dict[str, tuple[float, Run]] = {}

    def begin(self, at: float) -> bytes:
        """The first line."""
        header = self._header
        call = header.call if header.words else without_words(header.call)
        return _line(at, replace(header, call=call))

    def write(self, entry: Entry) -> Iterator[bytes]:
        """The lines that are due after an entry; a stretch of sound is written when it ends."""
        item = entry.item
        if self._header.form == "compact" and isinstance(item, Repeated):
            kind = _KIND[type(item)]
            begun = self._runs.get(kind)
            if begun is None or not _extend(begun[1], begun[0], item, entry.at):
                if begun is not None:
                    yield from self.flush()
                self._runs[kind] = entry.at, _begin(kind, item, entry.at)
            return
        yield from self.flush()
        yield _line(entry.at, item if self._header.words else without_words(item))

    def lose(self, at: float, entries: int) -> Iterator[bytes]:
        """Note a hole."""
        yield from self.flush()
        yield _line(at, Lost(entries))

    def flush(self) -> Iterator[bytes]:
        """The stretches that are still open."""
        for at, run in sorted(self._runs.values(), key=lambda pair: pair[0]):
            yield _line(at, run)
        self._runs.clear()


def read_journal(lines: Iterable[bytes | str]) -> Journal:
    """Read a journal back.

    Raises:
        ValueError: when it does not begin with a header or a line cannot be read, with the line's number.
    """
    header: JournalHeader | None = None
    entries: list[Entry] = []
    stretch: list[Entry] = []
    lost = 0
    for line in _lines(lines):
        item = line.item
        if isinstance(item, JournalHeader):
            header = item
        elif header is None:
            raise ValueError("the journal does not begin with a header; is this a journal of talkpath?")
        elif isinstance(item, Run):
            stretch += _entries_of(item, line.at, header.terms.audio)
        else:
            entries += sorted(stretch, key=_order)
            stretch.clear()
            if isinstance(item, Lost):
                lost += item.entries
            else:
                entries.append(Entry(line.at, item))
    if header is None:
        raise ValueError("the journal is empty")
    return Journal(header, entries + sorted(stretch, key=_order), lost)


def _lines(lines: Iterable[bytes | str]) -> Iterator[Line]:
    """Decode; a last line that is torn, because the process was killed while it wrote, counts as one lost entry."""
    torn: ValueError | None = None
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        if torn:
            raise torn
        try:
            line = _DECODER.decode(text)
        except msgspec.DecodeError as error:
            torn = ValueError(f"line {number} of the journal cannot be read: {error}")
            torn.__cause__ = error
            continue
        yield line
    if torn:
        yield Line(0.0, Lost(1))


def _line(at: float, item: Any) -> bytes:
    return _ENCODER.encode(Line(at, item)) + b"\n"


def _begin(kind: Kind, item: Repeated, at: float) -> Run:
    name = item.reply_id if isinstance(item, ReplyAudio | Play) else ""
    run = Run(kind, name)
    if isinstance(item, PlayClip):
        run.name, run.begin_ms = item.clip, item.at_ms
    _count(run, item, at)
    return run


def _extend(run: Run, since: float, item: Repeated, at: float) -> bool:
    """Let a stretch go on with an entry; False when the entry begins another."""
    if at - since > RUN_S:
        return False
    if isinstance(item, PlayClip):
        if item.clip != run.name or not math.isclose(item.at_ms, run.begin_ms + run.ms, abs_tol=0.5):
            return False
    elif isinstance(item, ReplyAudio | Play) and item.reply_id != run.name:
        return False
    if isinstance(item, CallerAudio | ReplyAudio):
        audible_again = item.level >= AUDIBLE_DBFS and 0 <= run.loud_to < run.count - 1
        if audible_again and at - run.loud_until > _PAUSE_S:
            return False
    _count(run, item, at)
    return True


def _count(run: Run, item: Repeated, at: float) -> None:
    if isinstance(item, PlayClip):
        run.ms += item.ms
    elif not isinstance(item, TimeReached):
        run.size_bytes += len(item.audio)
    if isinstance(item, CallerAudio | ReplyAudio):
        run.level = max(run.level, item.level)
        if item.level >= AUDIBLE_DBFS:
            if run.loud_to < 0:
                run.loud_from, run.loud_at = run.count, at
            run.loud_to, run.loud_until = run.count, at
    run.until = at
    run.count += 1


def _entries_of(run: Run, begin: float, audio: AudioFormat) -> Iterator[Entry]:
    """A stretch as entries: as many as there were, over the same time, with the same length of silence."""
    loud = run.loud_to >= 0
    known = [(0, begin), (run.count - 1, run.until)]
    if loud:
        known[1:1] = [(run.loud_from, run.loud_at), (run.loud_to, run.loud_until)]
    silence = audio.silence(run.size_bytes / audio.bytes_per_ms + 1)
    samples = run.size_bytes // audio.sample_bytes
    for place in range(run.count):
        first, last = (samples * part // run.count * audio.sample_bytes for part in (place, place + 1))
        level = run.level if not loud or run.loud_from <= place <= run.loud_to else DIGITAL_SILENCE_DBFS
        yield Entry(_moment(place, known), _item_of(run, place, silence[: last - first], level))


def _moment(place: int, known: list[tuple[int, float]]) -> float:
    """When the entry at a place happened, between those of which it is known."""
    for (low, since), (high, until) in pairwise(known):
        if low <= place <= high:
            return until if place == high else since + (until - since) * (place - low) / (high - low)
    return known[-1][1]


def _item_of(run: Run, place: int, sound: bytes, level: float) -> Repeated:
    match run.kind:
        case "caller.audio":
            return CallerAudio(sound, level)
        case "reply.audio":
            return ReplyAudio(run.name, sound, level)
        case "play":
            return Play(run.name, sound)
        case "play.clip":
            each_ms = run.ms / run.count
            return PlayClip(run.name, run.begin_ms + each_ms * place, each_ms)
        case "send.audio":
            return SendAudio(sound)
        case "time.reached":
            return TimeReached()


_KIND: Final[dict[type, Kind]] = {
    CallerAudio: "caller.audio",
    ReplyAudio: "reply.audio",
    Play: "play",
    PlayClip: "play.clip",
    SendAudio: "send.audio",
    TimeReached: "time.reached",
}
_RANK: Final = {CallerAudio: 0, ReplyAudio: 1, TimeReached: 2, SendAudio: 3, Play: 4, PlayClip: 5}


def _order(entry: Entry) -> tuple[float, int]:
    """By time; at the same moment an event comes before the commands that answer it."""
    return entry.at, _RANK[type(entry.item)]
