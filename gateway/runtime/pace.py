"""When the next new session with a provider may begin, so that a burst of calls is no burst of refusals.

Owns the arithmetic for one key on one host: so many sessions in any minute, and a tenth more after each minute that
used most of them, as the provider itself lets them grow. Refuses clocks and waiting: times come in, a moment leaves.
"""

from bisect import bisect_left, insort
from typing import Final

WINDOW_S: Final = 61.0
"""The provider's minute, and a second for the way: what we begin a minute apart must not arrive closer."""
GROWTH: Final = 1.1
"""What the rate grows by after a busy minute."""
BUSY: Final = 0.7
"""Part of a minute's sessions that must have been used for that."""
MOST: Final = 10
"""Most to which it grows, times the first rate."""


class Pace:
    """Sessions that have begun, or will, with one key on one host."""

    def __init__(self, per_minute: int) -> None:
        self._first = float(per_minute)
        self._rate = self._first
        self._begins: list[float] = []
        self._minute_at: float | None = None
        self._used = 0

    def reserve(self, now: float, within_s: float) -> float | None:
        """Take a place; the moment at which it may be used, None when that would be later than ``within_s``."""
        self._let_pass(now)
        limit = int(self._rate)
        del self._begins[: bisect_left(self._begins, now - WINDOW_S)]
        begins_at = now if len(self._begins) < limit else max(now, self._begins[-limit] + WINDOW_S)
        if begins_at - now > within_s:
            return None
        insort(self._begins, begins_at)
        self._used += 1
        return begins_at

    def give_back(self, begins_at: float) -> None:
        """A place was not used: nothing began."""
        place = bisect_left(self._begins, begins_at)
        if place < len(self._begins) and self._begins[place] == begins_at:
            del self._begins[place]
            self._used = max(0, self._used - 1)

    def _let_pass(self, now: float) -> None:
        """Grow after each busy minute; a quiet one takes back what was grown."""
        if self._minute_at is None:
            self._minute_at = now
        while now >= self._minute_at + WINDOW_S:
            is_busy = self._used >= BUSY * int(self._rate)
            self._rate = min(self._rate * GROWTH, self._first * MOST) if is_busy else self._first
            self._used = 0
            self._minute_at += WINDOW_S
            if not is_busy:
                self._minute_at = max(self._minute_at, now - WINDOW_S)
