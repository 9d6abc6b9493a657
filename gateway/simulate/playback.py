"""The playback buffer of a carrier or a client: what was sent to a person and what that person has heard.

Owns the order of audio and marks, their clock and the record of what reached the ear. It is exact to the
sample. Refuses sockets, messages and clocks of its own: time comes in as ``now``, in seconds of one monotonic
clock, and must not go backwards. (Reference: carriers 1.4, 1.5 and 2.3.)
"""

from collections import deque

import msgspec

from gateway.audio import AudioFormat

_ROUNDING = 1e-6  # of a sample: a float clock may fall short of the sample it means


class PlayedMark(msgspec.Struct, frozen=True):
    """A mark that comes back: what was before it was played, or discarded."""

    name: str
    """The name it was given."""
    at_s: float
    """When it came back, in seconds since the buffer began."""
    discarded: bool = False
    """It came back because a clear discarded what was before it."""


class Cleared(msgspec.Struct, frozen=True):
    """What a clear took away."""

    at_s: float
    """When, in seconds since the buffer began."""
    discarded_ms: float
    """Audio that was sent and will never be heard."""
    marks: tuple[PlayedMark, ...]
    """Marks that come back because of it, in their order."""


class PlaybackBuffer:
    """Plays what it is given at real time, one stretch after the other, with silence where there is nothing."""

    def __init__(self, audio_format: AudioFormat, started_at: float) -> None:
        self.format = audio_format
        self.most_queued_ms = 0.0
        self.limit_ms = float("inf")
        """What may wait; a piece that does not fit is lost."""
        self.overrun_ms = 0.0
        """What was lost because it did not fit."""
        self._started_at = started_at
        self._quiet = audio_format.silence(1)[: audio_format.sample_bytes]
        self._heard = bytearray()  # from the start on, silence included
        self._queued = bytearray()  # whole samples
        self._half = b""  # half a 16-bit sample that waits for its other half
        self._taken = 0  # bytes that ever left the queue
        self._marks: deque[tuple[int, str]] = deque()  # (bytes before it, name), in order

    @property
    def queued_ms(self) -> float:
        """Audio that was sent and not yet played, as of the last call with a time."""
        return self.format.ms(len(self._queued))

    @property
    def heard(self) -> bytes:
        """What reached the ear since the start, with silence in between, in the buffer's format."""
        return bytes(self._heard)

    @property
    def heard_s(self) -> float:
        """How much of the timeline has passed."""
        return len(self._heard) / self.format.sample_bytes / self.format.rate_hz

    def heard_since(self, offset_bytes: int) -> bytes:
        """What reached the ear after the first ``offset_bytes`` of the timeline."""
        return bytes(memoryview(self._heard)[offset_bytes:])

    def append(self, audio: bytes, now: float) -> list[PlayedMark]:
        """Queue audio of any size; marks that were reached up to ``now`` come back."""
        reached = self.advance(now)
        audio = self._half + audio
        whole = len(audio) - len(audio) % self.format.sample_bytes
        self._half = audio[whole:]
        if self.format.ms(len(self._queued) + whole) > self.limit_ms:
            self.overrun_ms += self.format.ms(whole)
            return reached
        self._queued += audio[:whole]
        self.most_queued_ms = max(self.most_queued_ms, self.queued_ms)
        return reached

    def mark(self, name: str, now: float) -> list[PlayedMark]:
        """Queue a mark; with nothing queued before it it comes back at once."""
        reached = self.advance(now)
        self._marks.append((self._taken + len(self._queued), name))
        return reached + self._reached_marks(len(self._heard))

    def clear(self, now: float) -> tuple[list[PlayedMark], Cleared]:
        """Discard all that is queued; gives marks reached before, and what the clear took away.

        Audio after a clear begins with a whole sample.
        """
        reached = self.advance(now)
        at_s = self.heard_s
        marks = tuple(PlayedMark(name, at_s, discarded=True) for _, name in self._marks)
        cleared = Cleared(at_s, self.queued_ms, marks)
        self._marks.clear()
        self._taken += len(self._queued)
        self._queued.clear()
        self._half = b""
        return reached, cleared

    def advance(self, now: float) -> list[PlayedMark]:
        """Play up to ``now``; gives the marks that were reached, each with its own moment."""
        samples = int((now - self._started_at) * self.format.rate_hz + _ROUNDING)
        span = samples * self.format.sample_bytes - len(self._heard)
        if span <= 0:
            return []
        begin = len(self._heard)
        played = min(span, len(self._queued))
        self._heard += self._queued[:played]
        self._heard += self._quiet * ((span - played) // self.format.sample_bytes)
        del self._queued[:played]
        self._taken += played
        return self._reached_marks(begin + played)

    def _reached_marks(self, position: int) -> list[PlayedMark]:
        """Take the marks that playback has passed; ``position`` is where on the timeline ``_taken`` was heard."""
        reached = []
        while self._marks and self._marks[0][0] <= self._taken:
            before, name = self._marks.popleft()
            at = position - (self._taken - before)
            reached.append(PlayedMark(name, at / self.format.sample_bytes / self.format.rate_hz))
        return reached
