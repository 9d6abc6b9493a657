"""Lets a few strangers be heard in each turn of the loop, so that hundreds at once do not take the turns of calls.

What a stranger's connection brings is parsed and answered in tenths of a millisecond, but of all connections that are
readable at the same moment one after the other, before any call is looked at. Owns how many of them that are, and in
which order the others follow. Refuses to drop anything, and to know who is a stranger (`threshold`).

A caller whose carrier comes with a token is a stranger too until that was read, and the carrier does not wait for ever.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

PER_TURN: Final = 2
"""Strangers that are heard before others have their turns: a millisecond or two where they are told no in their dialect."""
PER_S: Final = 200.0
"""Strangers that are heard in a second, however long the calls that there are make a turn: a tenth of the time."""
MOST: Final = 50
"""Strangers that are heard in one turn, though the one before it took very long."""


class Turnstile:
    """The way of all strangers of one port."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = PER_TURN
        self._turning = False
        self._turned_at = 0.0

    def enter(self) -> bool:
        """Take one of this turn's places; False when there is none, and `wait` must be asked for one."""
        self._begin()
        if self._waiting or not self._left:
            return False
        self._left -= 1
        return True

    def wait(self, go_on: Callable[[], None]) -> None:
        """Have ``go_on`` called in its turn, behind those who came before."""
        self._waiting.append(go_on)
        self._begin()

    async def wait_turn(self) -> None:
        """Wait for a place, in turn."""
        if not self.enter():
            turn = asyncio.Event()
            self.wait(turn.set)
            await turn.wait()

    def _begin(self) -> None:
        if not self._turning:
            self._turning = True
            self._turned_at = self._now()
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        took_s = self._now() - self._turned_at
        places = self._left = max(PER_TURN, min(int(took_s * PER_S), MOST))
        try:
            while self._waiting and self._left:
                self._left -= 1
                self._waiting.popleft()()
        finally:  # a fault with one of them is not the others'
            self._turning = False
            if self._left < places:
                self._begin()
            else:
                self._left = PER_TURN
