"""The inbox of one call: the only door through which anything reaches its machine.

Owns the order and the bound. Sides wait while it is full, so that a slow driver stops reading sockets; the house
does not wait, because there are few of its events and they must not be lost. While nothing waits, a side's event
need not lie here until the driver wakes: it goes straight through.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway.events import AnyEvent
from gateway.runtime.bell import Bell


class Source(Protocol):
    """A side whose events stop counting when it is dismissed, those that wait here too."""

    @property
    def dismissed(self) -> bool:
        """Whether its events no longer count."""
        ...


class Inbox:
    """Events in order, for one reader."""

    def __init__(self, limit: int, at_once: Callable[[AnyEvent], bool] | None = None) -> None:
        """Make an empty inbox.

        Args:
            limit: Events that may wait before sides do.
            at_once: Takes a side's event while none waits, or answers False when it must wait for the driver.
        """
        self._limit = limit
        self._at_once = at_once or _not_at_once
        self._events: deque[tuple[AnyEvent, Source | None]] = deque()
        self._filled = Bell()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._fault: Exception | None = None

    @property
    def closed(self) -> bool:
        """Whether nobody will read what is put here."""
        return self._closed

    async def put(self, event: AnyEvent, source: Source | None = None) -> None:
        """Take an event of a side: at once when none waits, else appended once there is room."""
        if (
            not self._events
            and not self._closed
            and not (source and source.dismissed)
            and self._at_once(event)
        ):
            return
        while len(self._events) >= self._limit and not self._closed:
            self._room.clear()
            await self._room.wait()
        self.put_now(event, source)

    def take(self, event: AnyEvent, source: Source | None = None) -> bool:
        """Take an event of a side that cannot wait; False when it must. A fault of ours ends the call, as any does."""
        if self._events or self._closed or (source is not None and source.dismissed):
            return False
        try:
            return self._at_once(event)
        except Exception as fault:
            if not self.fail(fault):
                raise
            return True

    def put_now(self, event: AnyEvent, source: Source | None = None) -> None:
        """Append an event of the house."""
        if not self._closed:
            self._events.append((event, source))
            self._filled.ring()

    def close(self) -> None:
        """Nobody reads any more: whoever waits for room goes on, and what comes is forgotten."""
        self._closed = True
        self._at_once = _not_at_once  # or the call and its inbox would keep each other
        self._events.clear()
        self._room.set()

    def fail(self, fault: Exception) -> bool:
        """Close, and let `get` raise a fault of ours; False when the inbox was closed already."""
        if self._closed:
            return False
        self.close()
        self._fault = fault
        self._filled.ring()
        return True

    def wake(self) -> None:
        """Let `get` return without an event: the time has come to look at the clock."""
        self._filled.ring()

    async def get(self) -> AnyEvent | None:
        """Wait for the next event; None after `wake`, and when what came does not count any more.

        Raises:
            Exception: what was given to `fail`.
        """
        if not self._events and self._fault is None:
            await self._filled.wait()
        if self._fault is not None:
            raise self._fault
        while self._events:
            event, source = self._events.popleft()
            if not self._room.is_set():
                self._room.set()
            if source is None or not source.dismissed:
                return event
        return None


def _not_at_once(_event: AnyEvent) -> bool:
    return False
