"""The clock that simulated callers live by: one monotonic clock, which a test may run faster."""

import asyncio
import time


class Clock:
    """Monotonic seconds; at ``speed`` 10 a simulated second lasts a tenth of a real one."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    def now(self) -> float:
        """Seconds since an arbitrary moment."""
        return time.monotonic() * self._speed

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds of this clock."""
        await asyncio.sleep(max(0.0, seconds) / self._speed)

    async def sleep_until(self, moment: float) -> None:
        """Wait until this clock shows ``moment``; when it has passed, only give way once."""
        await self.sleep(moment - self.now())
