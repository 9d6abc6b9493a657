"""What carriers ask when their streams have ended, while the process stops.

Owns which carrier calls have ended since then without a question of their carrier's what follows: one that finds nobody
at the port then speaks an error of its own into the caller's ear. Refuses the answer (`gateway.server.answer`).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ASKS_WITHIN_S: Final = 2.0
"""How long a carrier is waited for that may ask; it does so at once, or never because it was told otherwise."""

CarrierCall = tuple[str, str]
"""Name of the adapter, and the carrier's own id of the call; empty for clients, whom nothing is owed."""


class Farewells:
    """Sockets that are open and carriers that may yet ask."""

    def __init__(self) -> None:
        self._sockets = 0
        self._due: dict[CarrierCall, float] = {}
        self._changed = asyncio.Event()

    def owe(self, carrier_call: CarrierCall) -> None:
        """A carrier call has ended, and nobody has asked yet what follows."""
        if carrier_call[1]:
            self._due[carrier_call] = asyncio.get_running_loop().time()

    def settle(self, carrier_call: CarrierCall) -> None:
        """The carrier has asked, or has told that there is nothing more to ask."""
        self._due.pop(carrier_call, None)
        self._changed.set()

    @contextmanager
    def socket(self, carrier_call: CarrierCall) -> Iterator[None]:
        """A media socket is open; the carrier asks after its end."""
        self._sockets += 1
        try:
            yield
        finally:
            self._sockets -= 1
            if carrier_call in self._due:
                self.owe(carrier_call)
            self._changed.set()

    async def all_said(self) -> None:
        """Wait until no socket is open and no carrier is owed anything, or none has asked for `ASKS_WITHIN_S`."""
        while self._sockets or self._due:
            self._changed.clear()
            until = None if self._sockets else max(self._due.values()) + ASKS_WITHIN_S
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                return
