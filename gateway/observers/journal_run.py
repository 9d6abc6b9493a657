"""Sound and time in a journal: a stretch of entries as one line, with the sound itself or without.

Owns the coding, in both directions. Whatever a machine may decide by is kept exactly: how many entries of which
kind, in which order, at which moments, of which size, of which reply. Without sound, levels are kept in whole dB,
rounded down, so that a threshold in whole dB judges them alike, and what is read back is silence, or a steady loud
tone where an agent sent more than 20 ms at once, because there the machine asks how loud each part is.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise, repeat
from typing import Final, TypeGuard, TypeVar

from msgspec import Struct, field

from gateway.audio import AUDIBLE_DBFS, AudioFormat, from_pcm16
from gateway.commands import Entry, Play, PlayClip, SendAudio
from gateway.events import CallerAudio, ReplyAudio, TimeReached

N = TypeVar("N", int, float)
Repeated = CallerAudio | ReplyAudio | Play | PlayClip | SendAudio | TimeReached

_LETTERS: Final[dict[type, str]] = {
    CallerAudio: "c",
    ReplyAudio: "r",
    SendAudio: "s",
    Play: "p",
    PlayClip: "h",
    TimeReached: "t",
}
_LONGEST_FRAME_MS: Final = 20.0
"""Longest piece of a reply whose loudness is one level."""
_LARGEST_BYTES: Final = 1 << 24
"""Largest piece of sound that is believed."""
_NS: Final = 1_000_000_000


class Run(Struct, tag="run", omit_defaults=True):
    """A stretch of entries; the line's moment is that of the first."""

    what: str
    """A letter per entry; a capital one happened later than the entry before it.

    ``c`` the caller's sound, ``s`` sound sent to the agent, ``e`` the last piece sent on to it as it is, ``r`` a reply's
    sound, ``p`` played to the caller, ``h`` house sound, ``t`` time.
    """
    tick_ns: int = 0
    """What `ticks` are counted in; 0 where `moments` stand instead."""
    ticks: list[int] = field(default_factory=list)
    """Per capital letter the time since the moment before."""
    moments: list[float] = field(default_factory=list)
    """Per capital letter the moment, where moments are not whole nanoseconds."""
    sizes: list[int] = field(default_factory=list)
    """Bytes of each piece of sound; in pairs, a size and how many have it in a row."""
    sound: bytes = b""
    """The pieces, one behind the other; only in a full journal."""
    levels: bytes = b""
    """Per piece of the caller and of a reply how many dB it lies below full scale."""
    dbfs: list[float] = field(default_factory=list)
    """The same exactly, instead; only in a full journal."""
    reply: str = ""
    """The reply whose sound came."""
    playing: str = ""
    """The reply that was played."""
    due: list[float] = field(default_factory=list)
    """Of each `TimeReached` the deadline."""
    clip: str = ""
    """Name of the house sound."""
    clip_from_ms: float = 0.0
    """Where in the house sound the first piece begins; the others follow each other."""
    clip_ms: list[float] = field(default_factory=list)
    """Length of each piece of the house sound; in pairs like `sizes`."""


def is_repeated(item: object) -> TypeGuard[Repeated]:
    """Whether entries of this kind are kept in runs."""
    return type(item) in _LETTERS


def code_run(entries: Sequence[Entry], begin: int, *, with_sound: bool) -> tuple[Run, int]:
    """Code as many entries as one run can hold, from a place on where `is_repeated`; gives where it ends."""
    columns = _Columns(entries[begin])
    end = columns.take(entries, begin)
    return columns.run(with_sound=with_sound), end


class _Columns:
    """What is gathered of the entries of one run; a column that only its last reader needs in another form stays raw."""

    def __init__(self, first: Entry) -> None:
        self._begin = first.at
        self._what: list[str] = []
        self._moments: list[float] = []
        self._sounds: list[bytes] = []
        self._levels: list[float] = []
        self._due: list[float] = []
        self._reply: str | None = None
        self._playing: str | None = None
        self._clip: str | None = None
        self._clip_from_ms = self._clip_to_ms = 0.0
        self._clip_ms: list[float] = []

    def take(self, entries: Sequence[Entry], begin: int) -> int:
        """Gather entries until one does not fit; gives its place. Runs for every frame of every call."""
        what, sounds, levels, last_at = self._what, self._sounds, self._levels, self._begin
        for place in range(begin, len(entries)):
            entry = entries[place]
            item, at = entry.item, entry.at
            if isinstance(item, SendAudio):
                if sounds and item.audio is sounds[-1]:
                    letter = "e"
                else:
                    letter = "s"
                    sounds.append(item.audio)
            elif isinstance(item, CallerAudio):
                letter = "c"
                sounds.append(item.audio)
                levels.append(item.level)
            elif not is_repeated(item) or not self._fits(item):
                return place
            else:
                letter = _LETTERS[type(item)]
            if at != last_at:
                self._moments.append(at)
                last_at = at
                letter = letter.upper()
            what.append(letter)
        return len(entries)

    def _fits(self, item: Repeated) -> bool:
        """Gather what is particular to an entry; nothing when it does not fit."""
        if isinstance(item, TimeReached):
            self._due.append(item.due_at)
        elif isinstance(item, PlayClip):
            return self._fits_clip(item)
        elif isinstance(item, ReplyAudio):
            if self._reply is None:
                self._reply = item.reply_id
            elif item.reply_id != self._reply:
                return False
            self._sounds.append(item.audio)
            self._levels.append(item.level)
        elif isinstance(item, Play):
            if self._playing is None:
                self._playing = item.reply_id
            elif item.reply_id != self._playing:
                return False
            self._sounds.append(item.audio)
        return True

    def _fits_clip(self, item: PlayClip) -> bool:
        if self._clip is None:
            self._clip, self._clip_from_ms = item.clip, item.at_ms
        elif item.clip != self._clip or item.at_ms != self._clip_to_ms:
            return False
        self._clip_to_ms = item.at_ms + item.ms
        self._clip_ms.append(item.ms)
        return True

    def run(self, *, with_sound: bool) -> Run:
        """The run."""
        tick_ns, ticks = _ticks(self._begin, self._moments)
        return Run(
            what="".join(self._what),
            tick_ns=tick_ns,
            ticks=ticks,
            moments=[] if tick_ns else self._moments,
            sizes=_paired([len(sound) for sound in self._sounds]),
            sound=b"".join(self._sounds) if with_sound else b"",
            levels=b"" if with_sound else _below_full_scale(self._levels),
            dbfs=self._levels if with_sound else [],
            reply=self._reply or "",
            playing=self._playing or "",
            due=self._due,
            clip=self._clip or "",
            clip_from_ms=self._clip_from_ms,
            clip_ms=_paired(self._clip_ms),
        )


def entries_of(run: Run, begin: float, audio: AudioFormat) -> list[Entry]:
    """The entries of a run.

    Raises:
        ValueError: when its columns do not fit each other.
    """
    try:
        return _Reader(run, begin, audio).entries()
    except StopIteration:
        raise ValueError("a run lacks some of its figures") from None


class _Reader:
    """Reads the columns of a run side by side."""

    def __init__(self, run: Run, begin: float, audio: AudioFormat) -> None:
        self._run = run
        self._begin = begin
        self._audio = audio
        self._moments = _moments(run, begin)
        self._sizes = _in_pairs(run.sizes)
        self._levels = iter(run.dbfs or [-float(level) for level in run.levels])
        self._due = iter(run.due)
        self._clip_ms = _in_pairs(run.clip_ms)
        self._clip_at_ms = run.clip_from_ms
        self._place = 0
        self._last = b""
        self._unheard: dict[tuple[int, bool], bytes] = {}

    def entries(self) -> list[Entry]:
        at = self._begin
        found = []
        for letter in self._run.what:
            if letter.isupper():
                at = next(self._moments)
            found.append(Entry(at, self._item(letter.lower())))
        return found

    def _item(self, letter: str) -> Repeated:
        match letter:
            case "c":
                level = next(self._levels)
                return CallerAudio(self._sound(), level)
            case "r":
                level = next(self._levels)
                return ReplyAudio(self._run.reply, self._sound(level), level)
            case "s":
                return SendAudio(self._sound())
            case "e":
                return SendAudio(self._last)
            case "p":
                return Play(self._run.playing, self._sound())
            case "t":
                return TimeReached(next(self._due))
            case "h":
                at_ms, ms = self._clip_at_ms, next(self._clip_ms)
                self._clip_at_ms = at_ms + ms
                return PlayClip(self._run.clip, at_ms, ms)
        raise ValueError(f"{letter!r} stands for no kind of entry")

    def _sound(self, level: float = -math.inf) -> bytes:
        size = int(next(self._sizes))
        if not 0 <= size <= _LARGEST_BYTES:
            raise ValueError(f"a run holds a piece of {size} bytes")
        if self._run.sound:
            self._last = self._run.sound[self._place : self._place + size]
            self._place += size
        else:
            is_loud = level >= AUDIBLE_DBFS and self._audio.ms(size) > _LONGEST_FRAME_MS
            self._last = self._unheard.get((size, is_loud)) or self._stand_in(
                size, level if is_loud else None
            )
            self._unheard[size, is_loud] = self._last
        return self._last

    def _stand_in(self, size: int, level: float | None) -> bytes:
        """Silence, or a tone of a level."""
        audio = self._audio
        sample = audio.silence(1)[: audio.sample_bytes] if level is None else _tone(level, audio)
        return (sample * (size // len(sample) + 1))[:size]


def _tone(level: float, audio: AudioFormat) -> bytes:
    """One sample of a sound that is as loud."""
    sample = min(32_767, round(32_768 * 10 ** (level / 20)))
    return from_pcm16(sample.to_bytes(2, "little"), audio.encoding)


def _paired(values: list[N]) -> list[N | int]:
    """Values, each with how many of it stand in a row."""
    return [part for value, same in groupby(values) for part in (value, sum(1 for _ in same))]


def _in_pairs(values: Sequence[float]) -> Iterator[float]:
    for value, times in zip(values[::2], values[1::2], strict=True):
        yield from repeat(value, int(times))


def _below_full_scale(levels: list[float]) -> bytes:
    floor = math.floor
    try:
        return bytes([-floor(level) for level in levels])
    except ValueError:  # a frame louder than any, or more silent than silence
        return bytes([min(255, max(0, -floor(level))) for level in levels])


def _ticks(begin: float, moments: list[float]) -> tuple[int, list[int]]:
    """Moments as steps of the largest unit that measures them all; a unit of 0 for moments that no clock shows."""
    all_of_them = [begin, *moments]
    since = [_nanoseconds(begin), *(round(at * _NS) for at in moments)]
    if [ns / _NS for ns in since] != all_of_them:  # after weeks of uptime a product is not exact any more
        since = [_nanoseconds(at) for at in all_of_them]
        if [ns / _NS for ns in since] != all_of_them:
            return 0, []
    steps = [later - earlier for earlier, later in pairwise(since)]
    unit = math.gcd(*steps)
    return unit, [step // unit for step in steps] if unit else []


def _moments(run: Run, begin: float) -> Iterator[float]:
    if not run.tick_ns:
        yield from run.moments
        return
    ns = _nanoseconds(begin)
    for tick in run.ticks:
        ns += tick * run.tick_ns
        yield ns / _NS


def _nanoseconds(at: float) -> int:
    """A moment in the nearest whole nanosecond, without rounding errors."""
    numerator, denominator = at.as_integer_ratio()
    return (2 * numerator * _NS + denominator) // (2 * denominator)
