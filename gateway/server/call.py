"""One call of this process, from its booking to its end: its sockets come and go, its runner stays.

Owns what the house tells a call (somebody left, stop, hang up), how often its caller may come back, and how long
sockets may outlive it. Refuses to count calls (`calls`) and to know what is said (`gateway.runtime.call`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from gateway.contracts import Route
from gateway.events import AnyEvent, CallerLeft, CallInfo, EndingAsked, HostContacted, StopRequested
from gateway.runtime.legs import WireLeg
from gateway.server.caller_leg import CallerLeg

RETURNS: Final = 5
"""How often within `RETURNS_WITHIN_S` a call may be invited again before it counts as broken."""
RETURNS_WITHIN_S: Final = 60.0
LAST_WORDS_S: Final = 20.0
"""How long a socket may stay open that its runner does not read any more."""

GONE: Final = "its media socket went before the call began"
"""What the log tells of a call that had a socket, and that nobody wanted over."""


class Runner(Protocol):
    """What the registry needs of `gateway.runtime.call.CallRunner`."""

    @property
    def info(self) -> CallInfo | None:
        """Who calls whom, once the call has started."""
        ...

    @property
    def phase(self) -> str:
        """Phase of the conversation."""
        ...

    @property
    def agent(self) -> str:
        """Name of the agent in force."""
        ...

    @property
    def contacts(self) -> Sequence[tuple[float, HostContacted]]:
        """Which hosts were contacted for the call and when, in Unix time."""
        ...

    async def run(self) -> None:
        """Run the whole life of the call."""
        ...

    async def serve(self, leg: WireLeg) -> None:
        """Attach a caller's leg; returns when the leg has ended."""
        ...

    def offer(self, event: AnyEvent) -> None:
        """Hand over an event of the house."""
        ...


class Booking(Struct, frozen=True):
    """A call that somebody with proof asks for."""

    adapter: str
    """Name of the dialect."""
    route: Route
    """Where it goes."""
    caller: str = ""
    """From the verified webhook."""
    callee: str = ""
    """From the verified webhook."""
    carrier_call_id: str = ""
    """From the verified webhook."""
    parameters: Mapping[str, str] = {}
    """From the verified webhook."""
    owner: str = ""
    """Name of the gateway key that asks; empty for carriers."""
    owner_calls: int | None = None
    """How many calls that key may have at once."""
    admitted_by: Literal["", "key", "token", "machine"] = ""
    """What the client was let in for; empty for carriers."""
    session_id: str = ""
    """Name of the call towards its client, who may come back by it; as good as a secret, empty where there is none."""
    resume_token: str = ""
    """Proof by which its client may come back; empty where there is none."""


class Call:
    """One call of this process, from its booking to its end.

    ``return_s`` is how long it waits for another socket when one went before the call began.
    """

    def __init__(self, call_id: str, booking: Booking, return_s: float) -> None:
        self.call_id: Final = call_id
        self.booking: Final = booking
        self.opened_at: Final = time.time()
        self.runner: Runner | None = None
        self.session: Any = None  # what the codecs of a client's connections hand on
        self.failed = False
        self.parted = False  # its carrier knows that it is over
        self.arrived = asyncio.Event()
        self.running = asyncio.Event()
        self.over = asyncio.Event()
        self.dropped = ""
        self.wanted_over = ""  # the first reason for which somebody wanted it over
        self._opened = time.monotonic()
        self._return_s = return_s
        self._expected_until = 0.0
        self._patience: asyncio.Timeout | None = None
        self._knocking = 0
        self._knocked = False
        self._returns: deque[float] = deque(maxlen=RETURNS)
        self._sockets: dict[CallerLeg, asyncio.Timeout] = {}

    @property
    def phase(self) -> str:
        """``invited`` until the first socket is there, then the conversation's."""
        return self.runner.phase.lower() if self.runner else "invited"

    @property
    def ended(self) -> bool:
        """Whether nothing more will be said."""
        return self.over.is_set() or self.failed or bool(self.dropped) or self.phase == "ended"

    @property
    def carrier_call(self) -> tuple[str, str]:
        """Name of the adapter, and the carrier's own id of the call; that is empty for clients."""
        return self.booking.adapter, self.booking.carrier_call_id

    @property
    def age_s(self) -> float:
        """Seconds since the booking."""
        return time.monotonic() - self._opened

    def expect(self, within_s: float) -> None:
        """Wait that long for the socket that was invited just now."""
        self._expected_until = max(self._expected_until, asyncio.get_running_loop().time() + within_s)
        self._wait_on()

    @contextmanager
    def knocking(self) -> Iterator[None]:
        """A socket is there, let in by its proof: the call waits for its first words, however old its token gets."""
        self._knocked = True
        self._knocking += 1
        self._wait_on()
        try:
            yield
        finally:
            self._knocking -= 1
            self.expect(self._return_s)

    def _wait_on(self) -> None:
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(None if self._knocking else self._expected_until)

    def may_return(self) -> bool:
        """Count one more return; False when there were too many of late. A carrier that only asks twice is not one."""
        if self._sockets:
            return True
        now = time.monotonic()
        if len(self._returns) == RETURNS and now - self._returns[0] < RETURNS_WITHIN_S:
            return False
        self._returns.append(now)
        return True

    def leave(self, reason: str) -> None:
        """Take note that the caller has gone."""
        self._end_by(CallerLeft(reason), reason)

    def stop(self, reason: str) -> None:
        """End the call because the process or an operator wants it now."""
        self._end_by(StopRequested(reason), reason)

    def hang_up(self, reason: str) -> None:
        """End the call once the last words were heard."""
        self._end_by(EndingAsked("hang_up", reason=reason), reason)

    def _end_by(self, event: AnyEvent, reason: str) -> None:
        self.wanted_over = self.wanted_over or reason
        if self.runner is not None:
            self.runner.offer(event)
            return
        self.dropped = self.dropped or reason
        self.arrived.set()

    @property
    def never_began(self) -> str:
        """Why the conversation did not begin, of a call that is over; empty where it did, and its observers tell."""
        if self.runner is not None and self.runner.info is not None:
            return ""
        return "fault" if self.failed else self.dropped or self.wanted_over or GONE

    async def wait_arrived(self) -> bool:
        """Wait for a socket that begins the call; False when none does, or is not wanted any more."""
        try:
            async with asyncio.timeout(None) as self._patience:
                self._wait_on()
                await self.arrived.wait()
        except TimeoutError:
            self.dropped = GONE if self._knocked else "nobody came with the media token"
            return False
        finally:
            self._patience = None
        return not self.dropped

    @property
    def was_dismissed(self) -> bool:
        """Whether the runner itself has closed a socket that is attached, after whatever it had to say."""
        return any(not leg.is_open for leg in self._sockets)

    async def serve(self, leg: CallerLeg, close_s: float) -> None:
        """Attach a leg and wait until it has ended, or the call has and `close_s` more are over."""
        if self.runner is None:
            raise RuntimeError("a leg can be attached once the call is running")
        try:
            async with asyncio.timeout(None) as patience:
                self._sockets[leg] = patience
                if self.over.is_set():
                    self._lose_patience(patience, close_s)
                await self.runner.serve(leg)
                if leg.is_open and not self.over.is_set():
                    # The runner still says something on it, such as an apology, and closes it then.
                    patience.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_S)
                    await self.over.wait()
        except TimeoutError:
            if not patience.expired():
                raise
        finally:
            self._sockets.pop(leg, None)

    def end(self, close_s: float) -> None:
        """Take note that the runner is gone; its sockets get `close_s` to follow."""
        self.over.set()
        self.running.set()
        for patience in self._sockets.values():
            self._lose_patience(patience, close_s)

    def _lose_patience(self, patience: asyncio.Timeout, close_s: float) -> None:
        if not patience.expired():
            patience.reschedule(asyncio.get_running_loop().time() + (0 if self.failed else close_s))
