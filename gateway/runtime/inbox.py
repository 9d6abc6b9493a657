"""The inbox of one call: the only door through which anything reaches its machine.

Owns the bound. Sides wait while it is full, so that a slow driver stops reading sockets; the house does not
wait, because there are few of its events and they must not be lost.
"""

import asyncio
from collections import deque

from gateway.events import AnyEvent


class Inbox:
    """Events in order, for one reader."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[AnyEvent] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    async def put(self, event: AnyEvent) -> None:
        """Append an event of a side, once there is room."""
        while len(self._events) >= self._limit and not self._closed:
            self._room.clear()
            await self._room.wait()
        self.put_now(event)

    def put_now(self, event: AnyEvent) -> None:
        """Append an event of the house."""
        if self._closed:
            return
        self._events.append(event)
        self._filled.set()

    def close(self) -> None:
        """Nobody reads any more: whoever waits for room goes on, and what comes is forgotten."""
        self._closed = True
        self._events.clear()
        self._room.set()

    def wake(self) -> None:
        """Let `get` return without an event: the time has come to look at the clock."""
        self._filled.set()

    async def get(self) -> AnyEvent | None:
        """Wait for the next event; None after `wake`."""
        if not self._events:
            self._filled.clear()
            await self._filled.wait()
            if not self._events:
                return None
        event = self._events.popleft()
        if not self._room.is_set():
            self._room.set()
        return event
