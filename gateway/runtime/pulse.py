"""Whether a peer that says nothing is still there, and what it has received.

Owns the beat: how long a connection may be silent, the pings that make a living peer say something, and what their
answers prove. Refuses to judge too early: anything that comes is a sign of life, a late answer and a piece of a long
message as well; a peer that never answers pings is not held to them; and time in which this process did not read does
not count.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

BEAT_S: Final = 1.0
"""Between two pings, and between two looks."""
BEATS: Final = 4
"""Looks that must find nothing new, at least, before a peer counts as lost: one of them may come late."""
MARGIN_S: Final = 0.04
"""What a connection that breaks may take down with it besides what was on its way: two frames."""
OVERDUE_S: Final = 0.25
"""How much longer than usual an answer may take before its absence means anything."""
MOST_PINGS: Final = 256
"""Pings whose answer is waited for."""


class Signs(Protocol):
    """What a connection must tell."""

    heard: int
    """How often something has come, of whatever kind, and some of a message is enough."""
    listen: bool
    """Whether somebody waits for the next one."""
    on_pong: Callable[[bytes], None] | None
    """Is told of each answer to a ping."""


class Beating(Protocol):
    """What must be done to it."""

    @property
    def ears(self) -> Signs:
        """What has come."""
        ...

    def ping(self, payload: bytes) -> None:
        """Ask for an answer, without waiting; nothing happens where that is impossible."""
        ...

    def break_off(self, why: str) -> None:
        """End the connection now, without a word to the peer."""
        ...


class Pulse:
    """The pulse of one connection; `watch` it for as long as it is open.

    ``asks`` says whether the peer is pinged. One that is not must sound all the time, as carriers do.
    """

    def __init__(self, wire: Beating, lost_after_s: float, *, asks: bool) -> None:
        self.round_trip_s = 0.0
        """From a ping to its answer, the last time."""
        self.on_quiet: Callable[[float], None] | None = None
        """Is told once an answer is overdue and nothing else comes, with the seconds since the last ping that was
        answered; and then with 0, once anything comes."""
        self._wire = wire
        self._lost_after_s = lost_after_s
        self._asks = asks
        self._beat_s = min(BEAT_S, lost_after_s / BEATS)
        self._loop = asyncio.get_running_loop()
        self._heard = 0
        self._silent_beats = 0
        self._looked = 0  # what had been heard at the last look for a quiet line,
        self._sounded_at = 0.0  # and at which look that was something new
        self._is_quiet = False
        self._pings: deque[tuple[bytes, float]] = deque(maxlen=MOST_PINGS)
        self._sent = 0
        self._received_until: float | None = None  # everything sent before has been received
        self._ears = wire.ears
        self._ears.on_pong = self._take_pong

    async def watch(self) -> None:
        """Look and ask at every beat, until cancelled, or until the peer counts as lost and is broken off."""
        while not self._is_lost():
            if self._asks:
                self._ping()
            await self._rest()
        self._wire.break_off(f"nothing has come for {self._lost_after_s:g} s")

    def unheard_s(self) -> float:
        """For how long what was sent may not have arrived, should the connection have broken now; 0 where nobody knows.

        A connection that breaks in good health takes down what was on its way: a round trip, from the break until we
        learn of it. One that had fallen silent may have lost everything since the last ping that was answered.
        """
        if self._received_until is None:
            return 0.0
        since_s = self._loop.time() - self._received_until
        return self.round_trip_s + MARGIN_S if since_s <= self._usual_s else since_s

    @property
    def _usual_s(self) -> float:
        """How long ago the last ping that was answered may be at most while all is well."""
        return self._beat_s + self.round_trip_s + OVERDUE_S

    async def _rest(self) -> None:
        """Let a beat pass, and look whenever an answer may be overdue, should anybody want to know."""
        until = self._loop.time() + self._beat_s
        while (left_s := until - self._loop.time()) > 0:
            if self.on_quiet is None or self._received_until is None:
                await asyncio.sleep(left_s)
                return
            due_s = self._received_until + self._usual_s - self._loop.time()
            await asyncio.sleep(min(left_s, max(due_s, OVERDUE_S)))
            self._look()

    def _look(self) -> None:
        """Tell of a line that went quiet: an answer is overdue, and nothing else has come for a while either."""
        now = self._loop.time()
        if self._ears.heard != self._looked:
            self._looked, self._sounded_at = self._ears.heard, now
            self._sounds_again()
            return
        if self._received_until is None or self._is_quiet or not self._ears.listen:
            return
        since_s = now - self._received_until
        if since_s >= self._usual_s and now - self._sounded_at >= OVERDUE_S:
            self._is_quiet = True
            if self.on_quiet:
                self.on_quiet(since_s)

    def _sounds_again(self) -> None:
        if self._is_quiet:
            self._is_quiet = False
            if self.on_quiet:
                self.on_quiet(0.0)

    def _is_lost(self) -> bool:
        if self._ears.heard != self._heard or not self._ears.listen:
            self._heard = self._ears.heard
            self._silent_beats = 0
            return False
        self._silent_beats += 1
        is_held_to_it = not self._asks or self._received_until is not None
        return is_held_to_it and self._silent_beats * self._beat_s >= self._lost_after_s

    def _ping(self) -> None:
        self._sent += 1
        payload = str(self._sent).encode()
        self._pings.append((payload, self._loop.time()))
        self._wire.ping(payload)

    def _take_pong(self, payload: bytes) -> None:
        """An answer to a ping also answers those before it; one that nobody asked for answers nothing."""
        if not any(payload == sent for sent, _ in self._pings):
            return
        while (ping := self._pings.popleft())[0] != payload:
            pass
        self._received_until = ping[1]
        self.round_trip_s = self._loop.time() - ping[1]
        self._sounds_again()
