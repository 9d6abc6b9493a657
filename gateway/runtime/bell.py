"""A bell that wakes one task: what `asyncio.Event` is for many, at a third of the price and without its queue.

A call has several of them, and rings two wherever a frame cannot be taken where it comes.
"""

import asyncio


class Bell:
    """Rung before somebody waits, it lets the next one who does pass; rung often, it counts as rung once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._is_rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until it is rung; only one task may."""
        if not self._is_rung:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._is_rung = False
