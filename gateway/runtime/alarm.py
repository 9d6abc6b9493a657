"""One timer for one deadline that keeps moving, mostly to later.

Owns the timer. Nearly every frame of a call moves its deadline on; only one that comes sooner is worth a new timer.
"""

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings no later than the deadline that it was last set to; sometimes earlier, so who is rung looks at the clock."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = float("inf")

    def set_to(self, deadline: float | None) -> None:
        """Ring by then, in the loop's time; None asks for nothing."""
        if deadline is not None and deadline < self._rings_at:
            self.switch_off()
            self._rings_at = deadline
            self._timer = self._loop.call_at(deadline, self._go_off)

    def switch_off(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = float("inf")

    def _go_off(self) -> None:
        self._rings_at = float("inf")
        self._ring()
