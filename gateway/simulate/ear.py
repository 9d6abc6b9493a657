"""When something could be heard: finds stretches of audible sound in a stream of audio.

Owns the definition of audible (10 ms at or above -50 dBFS; the stretch begins and ends at the first and last
sample of that strength; reference: Voice Agent API 5.3). Refuses clocks: a moment is a place in the audio.
"""

from array import array

import msgspec

from gateway.audio import AUDIBLE_DBFS, AudioFormat, level_dbfs, to_pcm16

WINDOW_MS = 10
JOIN_S = 0.3
"""A pause shorter than this belongs to the speech around it."""
_AUDIBLE_SAMPLE = round(32768 * 10 ** (AUDIBLE_DBFS / 20))


class Interval(msgspec.Struct, frozen=True):
    """A stretch of time, in seconds since the call was answered."""

    start_s: float
    """Its first moment."""
    end_s: float
    """Its last moment."""


class Ear:
    """Listens to one stream and remembers when it was audible."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._window_bytes = audio_format.frame_bytes(WINDOW_MS)
        self._rest = b""
        self._windows_bytes = 0
        self._intervals: list[Interval] = []

    @property
    def intervals(self) -> list[Interval]:
        """Audible stretches so far; the last one may still grow."""
        return self._intervals

    @property
    def listened_s(self) -> float:
        """How far it has listened."""
        return self._seconds(self._windows_bytes)

    @property
    def last_audible_s(self) -> float | None:
        """The last audible moment so far."""
        return self._intervals[-1].end_s if self._intervals else None

    def silent_for_s(self, at_s: float) -> float:
        """For how long there has been nothing to hear at ``at_s``."""
        return at_s - (self.last_audible_s or 0.0)

    def listen(self, audio: bytes) -> None:
        """Take the next piece of the stream, of any size."""
        self._rest += audio
        while len(self._rest) >= self._window_bytes:
            window, self._rest = self._rest[: self._window_bytes], self._rest[self._window_bytes :]
            if level_dbfs(window, self._format) >= AUDIBLE_DBFS:
                self._remember(window)
            self._windows_bytes += self._window_bytes

    def _remember(self, window: bytes) -> None:
        samples = array("h", to_pcm16(window, self._format.encoding))
        loud = [place for place, sample in enumerate(samples) if abs(sample) >= _AUDIBLE_SAMPLE]
        start_s = self.listened_s + loud[0] / self._format.rate_hz
        end_s = self.listened_s + (loud[-1] + 1) / self._format.rate_hz
        if self._intervals and start_s - self._intervals[-1].end_s < JOIN_S:
            start_s = self._intervals.pop().start_s
        self._intervals.append(Interval(start_s, end_s))

    def _seconds(self, size_bytes: int) -> float:
        return size_bytes / self._format.sample_bytes / self._format.rate_hz


def audible_extent(audio: bytes, audio_format: AudioFormat) -> Interval:
    """From the first to the last audible moment of a recording; all of it when nothing is audible."""
    ear = Ear(audio_format)
    ear.listen(audio)
    if not ear.intervals:
        return Interval(0.0, audio_format.ms(len(audio)) / 1000)
    return Interval(ear.intervals[0].start_s, ear.intervals[-1].end_s)


def answer_to(spoken: Interval, heard: list[Interval]) -> Interval | None:
    """The stretch that answers what was spoken: it began after the speech did and outlasts it."""
    for interval in heard:
        if interval.start_s > spoken.start_s and interval.end_s > spoken.end_s:
            return interval
    return None


def audible_at(moment_s: float, heard: list[Interval]) -> Interval | None:
    """The stretch in which ``moment_s`` lies."""
    for interval in reversed(heard):
        if interval.start_s <= moment_s:
            return interval if moment_s < interval.end_s else None
    return None
