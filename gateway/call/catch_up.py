"""What the caller says while the agent is away, and how it is passed on afterwards.

Owns the bounds: only the newest seconds are kept; after a burst of at most one second they are passed on a
little faster than real time; at the provider's first complaint at real time, with pauses left out
(reference: Voice Agent API, 5.2 and 6.1 `audio_rate_violation`).
"""

from collections import deque
from typing import Final

from gateway.audio import AUDIBLE_DBFS
from gateway.commands import CaughtUp, SendAudio
from gateway.events import CallerAudio

BURST_MS: Final = 1000.0
"""Audio that may be passed on at once."""
ROUNDING_MS: Final = 0.01
"""What sums of time may be off; less than a sample."""


class CatchUp:
    """The caller's words on their way to an agent that was away."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[CallerAudio, float]] = deque()
        self._waiting_ms = 0.0
        self._credit_ms = 0.0
        self._credited_at = 0.0
        self._rate = 0.0
        self._cautious = False  # the provider complained once
        self._kept_ms = 0.0
        self._dropped_ms = 0.0

    def keep(self, event: CallerAudio, ms: float, newest_ms: float) -> None:
        """Keep a piece; the oldest ones go when more than ``newest_ms`` would be kept."""
        self._waiting.append((event, ms))
        self._waiting_ms += ms
        self._trim(min(newest_ms, BURST_MS) if self._cautious else newest_ms)

    def start(self, rate: float, now: float) -> None:
        """The agent is back: begin to pass on, at ``rate`` times real time after the first second."""
        self._rate = 1.0 if self._cautious else rate
        self._credit_ms = 0.0 if self._cautious else BURST_MS
        self._credited_at = now

    def slow_down(self) -> None:
        """The provider complained: real time for the rest of the call, and only the newest second."""
        self._cautious = True
        self._rate = min(self._rate, 1.0)
        self._credit_ms = 0.0
        self._trim(BURST_MS)

    def release(self, now: float) -> list[SendAudio]:
        """Give what may be passed on now."""
        if not self._rate:
            return []
        self._credit_ms += (now - self._credited_at) * 1000 * self._rate
        self._credited_at = now
        out = []
        while self._waiting:
            event, ms = self._waiting[0]
            pause = self._rate == 1.0 and event.level < AUDIBLE_DBFS
            if not pause and self._credit_ms + ROUNDING_MS < ms:
                break
            self._waiting.popleft()
            self._waiting_ms -= ms
            if pause:
                self._dropped_ms += ms
                continue
            self._credit_ms -= ms
            self._kept_ms += ms
            out.append(SendAudio(event.audio))
        return out

    def finish(self) -> CaughtUp | None:
        """Once nothing waits any more: what it came to, if anything was kept."""
        if self._waiting or not self._rate:
            return None
        fact = CaughtUp(round(self._kept_ms, 1), round(self._dropped_ms, 1))
        self._rate = self._kept_ms = self._dropped_ms = self._waiting_ms = 0.0
        return fact if fact.kept_ms or fact.dropped_ms else None

    @property
    def holds_voice(self) -> bool:
        """Whether the caller said something that the agent has not heard yet."""
        return any(event.level >= AUDIBLE_DBFS for event, _ in self._waiting)

    @property
    def active(self) -> bool:
        """Whether new audio must queue behind what waits."""
        return bool(self._rate)

    @property
    def deadline(self) -> float | None:
        """When `release` may pass on the next piece."""
        if not self._rate or not self._waiting:
            return None
        missing_ms = max(0.0, self._waiting[0][1] - self._credit_ms)
        return self._credited_at + missing_ms / 1000 / self._rate

    def _trim(self, newest_ms: float) -> None:
        while self._waiting and self._waiting_ms > newest_ms:
            _, ms = self._waiting.popleft()
            self._waiting_ms -= ms
            self._dropped_ms += ms
