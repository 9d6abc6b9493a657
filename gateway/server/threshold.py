"""A caller's leg until its first event: it must come in time, and where no token was spent it must be new.

Owns the patience with a socket that opens and says nothing: no runner is woken and no agent opened for it. Refuses
everything after the first event: from then on the leg is the runner's business.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from gateway.contracts import Leg
from gateway.events import Command, Event

POLICY: Final = 1008
"""WebSocket close code: the peer did not keep a rule."""


class Threshold:
    """A `Leg` that is closed when its peer says nothing within ``first_event_s``, or is not welcome."""

    def __init__(
        self,
        leg: Leg,
        first_event_s: float,
        *,
        opens_itself: bool = False,
        is_welcome: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._leg = leg
        self._events = aiter(leg)
        self._first_event_s = first_event_s
        self._until = asyncio.get_running_loop().time() + first_event_s
        self._unheard = opens_itself  # the first event of such a leg is ours, not a message of the peer
        self._is_welcome = is_welcome
        self._first: Event | None = None
        self.crossed = False

    async def cross(self) -> bool:
        """Wait for the first event; False when the leg was closed instead, or ended by itself."""
        self._first = await self._next_in_time()
        if self._first is None:
            return False
        if self._is_welcome is not None and not await self._is_welcome():
            await self._leg.close(POLICY, "this stream was here before")
            return False
        self.crossed = True
        return True

    def post(self, command: Command) -> None:
        """Hand over a command; never waits."""
        self._leg.post(command)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Flush and close, in bounded time."""
        await self._leg.close(code, reason)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if (first := self._first) is not None:
            self._first = None
            return first
        if self._unheard:
            event = await self._next_in_time()
            self._unheard = False
            if event is None:
                raise StopAsyncIteration
            return event
        return await anext(self._events)

    async def _next_in_time(self) -> Event | None:
        try:
            async with asyncio.timeout_at(self._until):
                return await anext(self._events, None)
        except TimeoutError:
            await self._leg.close(POLICY, f"nothing of a call came within {self._first_event_s:g} s")
            return None
