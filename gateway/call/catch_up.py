"""What the caller says while the agent is away, or said to an agent that did not take it, and how it is passed on.

Owns the bounds: only the newest seconds are kept; after a burst of at most one second they are passed on a
little faster than real time; at the provider's first complaint at real time, with pauses left out
(reference: Voice Agent API, 5.2 and 6.1 `audio_rate_violation`).

What was passed on is remembered for the same seconds. A session that goes on is told again what went down with its
connection; one that begins anew, what the caller had said since the last words that the agent understood.
"""

from array import array
from collections import deque
from collections.abc import Iterator
from operator import attrgetter
from typing import Final, NamedTuple

from gateway.audio import AUDIBLE_DBFS, AudioFormat
from gateway.commands import CaughtUp, SendAudio
from gateway.events import CallerAudio

BURST_MS: Final = 1000.0
"""Audio that may be passed on at once."""
ROUNDING_MS: Final = 0.01
"""What sums of time may be off; less than a sample."""
ONSET_S: Final = 1.0
"""How long before the agent's sign the caller may have begun to speak: 0.6 s as a rule (reference: 2.2)."""
UNNOTICED_S: Final = 1.5
"""How much of a voice without any sign of the agent a new session is told: more would be noise."""
MOST_PASSED: Final = 600
"""Blocks that are remembered: a minute of them, when pieces have 10 ms."""
BLOCK: Final = 10
"""Pieces that are remembered as one: apart they would take twice the memory."""
LEAD_IN_MS: Final = 200.0
"""Sound before the voice that belongs to it."""

_AUDIO_OF: Final = attrgetter("audio")
_LEVEL_OF: Final = attrgetter("level")


class Block(NamedTuple):
    """A few pieces of the same size that were passed on one after the other."""

    moments: "array[float]"
    audio: bytes
    levels: tuple[float, ...]


class CatchUp:
    """The caller's words on their way to an agent that was away."""

    def __init__(self, audio: AudioFormat) -> None:
        self._audio = audio
        self._waiting: deque[tuple[CallerAudio, float]] = deque()
        self._waiting_ms = 0.0
        self._passed: deque[Block] = deque(maxlen=MOST_PASSED)
        self._just_passed: list[CallerAudio] = []
        self._just_at: list[float] = []
        self._memory_s = 0.0
        self._understood_at = 0.0
        self._speaks_since: float | None = None  # by the agent's signs
        self._unheard_since = self._unanswered_since = 0.0
        self._credit_ms = 0.0
        self._credited_at = 0.0
        self.rate = 0.0
        """How many times real time what waits is passed on; 0 while nothing does, and new audio need not queue."""
        self._cautious = False  # the provider complained once
        self._kept_ms = 0.0
        self._dropped_ms = 0.0

    # While the agent is there

    def passed(self, event: CallerAudio, now: float) -> None:
        """Remember a piece that was passed on, for as long as it may be wanted again."""
        just = self._just_passed
        if just and len(event.audio) != len(just[0].audio):
            self._close_block()
        just.append(event)
        self._just_at.append(now)
        if len(just) == BLOCK:
            self._close_block()
            while self._passed[0].moments[-1] < now - self._memory_s:
                self._passed.popleft()

    def speech_began(self, now: float) -> None:
        """The agent hears the caller speak."""
        if self._speaks_since is None:
            self._speaks_since = now - ONSET_S

    def understood(self, now: float) -> None:
        """The agent said what the caller had said: nothing before needs to be told again."""
        self._understood_at = now
        self._speaks_since = None

    # While it is away

    def lost(self, now: float, unheard_ms: float) -> None:
        """The agent is gone, and what was passed on in the last milliseconds may be gone with it."""
        self._unheard_since = now - unheard_ms / 1000
        began = self._speaks_since if self._speaks_since is not None else now - UNNOTICED_S
        self._unanswered_since = max(began, self._understood_at)

    def keep(self, event: CallerAudio, newest_ms: float) -> None:
        """Keep a piece; the oldest ones go when more than ``newest_ms`` would be kept."""
        self._wait(event, newest_ms)

    def recall(self, newest_ms: float, now: float, *, resumed: bool) -> None:
        """Let what the agent that is back must be told again wait before what was kept, if there is a voice in it."""
        self._close_block()
        since = self._unheard_since if resumed else min(self._unheard_since, self._unanswered_since)
        pieces = [piece for block in self._passed for piece in self._pieces(block)]
        again = [event for at, event in pieces if at >= since]
        self._passed.clear()
        if resumed:
            for at, event in pieces:
                if at < since:
                    self.passed(event, at)
        voice = next((n for n, event in enumerate(again) if event.level >= AUDIBLE_DBFS), None)
        if not resumed:
            self._speaks_since = (
                None if voice is None else now
            )  # what is told again now is not understood yet
        if voice is None:
            return
        begin, lead_in_ms = voice, 0.0
        while begin and lead_in_ms < LEAD_IN_MS:
            begin -= 1
            lead_in_ms += self._ms(again[begin])
        kept, self._waiting = self._waiting, deque()
        self._waiting_ms = 0.0
        for event in (*again[begin:], *(event for event, _ in kept)):
            self._wait(event, newest_ms)

    # When it is back

    def start(self, rate: float, keep_s: float, now: float) -> None:
        """The agent is back: begin to pass on, at ``rate`` times real time after the first second."""
        self._memory_s = keep_s
        self.rate = 1.0 if self._cautious else rate
        self._credit_ms = 0.0 if self._cautious else BURST_MS
        self._credited_at = now

    def slow_down(self) -> None:
        """The provider complained: real time for the rest of the call, and only the newest second."""
        self._cautious = True
        self.rate = min(self.rate, 1.0)
        self._credit_ms = 0.0
        self._trim(BURST_MS)

    def release(self, now: float) -> list[SendAudio]:
        """Give what may be passed on now."""
        if not self.rate:
            return []
        self._credit_ms += (now - self._credited_at) * 1000 * self.rate
        self._credited_at = now
        out = []
        while self._waiting:
            event, ms = self._waiting[0]
            pause = self.rate == 1.0 and event.level < AUDIBLE_DBFS
            if not pause and self._credit_ms + ROUNDING_MS < ms:
                break
            self._waiting.popleft()
            self._waiting_ms -= ms
            if pause:
                self._dropped_ms += ms
                continue
            self._credit_ms -= ms
            self._kept_ms += ms
            self.passed(event, now)
            out.append(SendAudio(event.audio))
        return out

    def finish(self) -> CaughtUp | None:
        """Once nothing waits any more: what it came to, if anything was kept."""
        if self._waiting or not self.rate:
            return None
        fact = CaughtUp(round(self._kept_ms, 1), round(self._dropped_ms, 1))
        self.rate = self._kept_ms = self._dropped_ms = self._waiting_ms = 0.0
        return fact if fact.kept_ms or fact.dropped_ms else None

    @property
    def holds_voice(self) -> bool:
        """Whether the caller said something that the agent has not heard yet."""
        return any(event.level >= AUDIBLE_DBFS for event, _ in self._waiting)

    @property
    def deadline(self) -> float | None:
        """When `release` may pass on the next piece."""
        if not self.rate or not self._waiting:
            return None
        missing_ms = max(0.0, self._waiting[0][1] - self._credit_ms)
        return self._credited_at + missing_ms / 1000 / self.rate

    def _close_block(self) -> None:
        if just := self._just_passed:
            sound = b"".join(map(_AUDIO_OF, just))
            self._passed.append(Block(array("d", self._just_at), sound, tuple(map(_LEVEL_OF, just))))
            just.clear()
            self._just_at.clear()

    @staticmethod
    def _pieces(block: Block) -> Iterator[tuple[float, CallerAudio]]:
        """The pieces of a block, each with the moment at which it was passed on."""
        size = len(block.audio) // len(block.levels)
        for n, (at, level) in enumerate(zip(block.moments, block.levels, strict=True)):
            yield at, CallerAudio(block.audio[n * size : (n + 1) * size], level)

    def _ms(self, event: CallerAudio) -> float:
        return self._audio.ms(len(event.audio))

    def _wait(self, event: CallerAudio, newest_ms: float) -> None:
        ms = self._ms(event)
        self._waiting.append((event, ms))
        self._waiting_ms += ms
        self._trim(min(newest_ms, BURST_MS) if self._cautious else newest_ms)

    def _trim(self, newest_ms: float) -> None:
        while self._waiting and self._waiting_ms > newest_ms:
            _, ms = self._waiting.popleft()
            self._waiting_ms -= ms
            self._dropped_ms += ms
