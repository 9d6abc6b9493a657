"""The calls of this process: each in a task of its own, behind one exception boundary.

Owns that there are no more of them than the limits allow (the store counts), how they are found, how they end when
the process stops, and what becomes of a bug: that call ends, the log has it once with its call id, the process lives.
Refuses the conversation (`gateway.runtime.call`) and proof (`door`). A call is booked when it is invited or let in,
runs from its first socket on, and may have any number of sockets one after the other.
"""

import asyncio
import hashlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from gateway.contracts import NO_COUNT, Route, Store
from gateway.redaction import mask_number
from gateway.server.access_log import log_line
from gateway.server.call import Booking, Call, Runner
from gateway.server.caller_leg import CallerLeg
from gateway.server.farewells import Farewells
from gateway.settings import Settings

log: Final = logging.getLogger("talkpath.calls")

APOLOGIES: Final = 1000
"""How many carrier calls that broke are remembered until the carrier asks what to do with them."""

ALL_BUSY: Final = "All our lines are busy. Please call again later."

STOPPING: Final = "the gateway is stopping"

BROKEN: Final = 1011
"""WebSocket close code for a fault of ours."""

RunnerMaker = Callable[[str, Route], Runner]
"""Makes the runner of a call from its id and its route."""


class Busy(Struct, frozen=True):
    """No room for a call."""

    code: str
    """``draining``, ``calls``, ``route``, ``caller`` or ``key``: which limit; ``store`` where calls cannot be counted."""
    sentence: str
    """For the peer."""


def new_call_id() -> str:
    """Make an id for a call; nobody can guess it."""
    return f"call_{secrets.token_hex(12)}"


def _digest(token: str) -> str:
    """What a token is kept as, so that looking it up tells nothing about tokens that are near."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class CallRegistry:
    """Owns the calls; an async context whose end cancels what still runs."""

    def __init__(self, settings: Settings, store: Store, make_runner: RunnerMaker) -> None:
        self._settings = settings
        self._store = store
        self._make_runner = make_runner
        self._group = asyncio.TaskGroup()
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._by_carrier: dict[tuple[str, str], Call] = {}
        self._by_session: dict[str, Call] = {}
        self._by_resume_token: dict[str, Call] = {}
        self._apologies: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._farewells = Farewells()
        self._empty = asyncio.Event()
        self._empty.set()
        self._drain_patience: asyncio.Timeout | None = None
        self._hurried = False
        self.draining = False

    async def __aenter__(self) -> Self:
        """Begin to take calls."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel the calls that are left."""
        self.cut_off()
        await self._group.__aexit__(kind, error, trace)

    @property
    def full(self) -> bool:
        """Whether `limits.calls` is reached."""
        return len(self._calls) >= self._settings.limits.calls

    def listing(self) -> list[Call]:
        """All calls, oldest first."""
        return list(self._calls.values())

    def find(self, call_id: str) -> Call | None:
        """Find a call of this process."""
        return self._calls.get(call_id)

    def find_carrier(self, adapter: str, carrier_call_id: str) -> Call | None:
        """Find a call by the carrier's own id."""
        return self._by_carrier.get((adapter, carrier_call_id))

    def find_session(self, session_id: str) -> Call | None:
        """Find a call by the name that its client has for it."""
        return self._by_session.get(_digest(session_id))

    def find_returning(self, resume_token: str) -> Call | None:
        """Find the call that a client may come back to with this token."""
        return self._by_resume_token.get(_digest(resume_token))

    def take_apology(self, adapter: str, carrier_call_id: str) -> bool:
        """Whether this carrier call broke by our fault and its caller was not told so yet."""
        return self._apologies.pop((adapter, carrier_call_id), False) is None

    def told_what_follows(self, adapter: str, carrier_call_id: str) -> None:
        """Take note that a carrier knows that its call is over, or says so itself."""
        self._farewells.settle((adapter, carrier_call_id))
        if call := self.find_carrier(adapter, carrier_call_id):
            call.parted = True

    async def book(self, call_id: str, booking: Booking, expect_s: float) -> Call | Busy:
        """Take a place for a call whose first socket comes within ``expect_s``, or say why there is none."""
        places = self._places(booking)
        async with AsyncExitStack() as claims:
            # One question to the store for all limits: a booking that fails on one of them never took a place of another.
            if full := await self._store.claim({name: limit for name, (limit, _) in places.items()}):
                return Busy("store", ALL_BUSY) if full == NO_COUNT else places[full][1]
            claims.push_async_callback(self._store.release, tuple(places))
            if self.draining:
                return Busy("draining", "This gateway is being restarted. Please call again in a moment.")
            call = Call(call_id, booking, self._settings.limits.return_s)
            call.expect(expect_s)
            self._calls[call_id] = call
            if booking.carrier_call_id:
                self._by_carrier[booking.adapter, booking.carrier_call_id] = call
            if booking.session_id:
                self._by_session[_digest(booking.session_id)] = call
            if booking.resume_token:
                self._by_resume_token[_digest(booking.resume_token)] = call
            self._empty.clear()
            self._tasks[call_id] = self._group.create_task(
                self._live(call, claims.pop_all()), name=f"call {call_id}"
            )
            return call

    async def attach(self, call: Call, leg: CallerLeg) -> None:
        """Let a socket take part in its call; returns when it has ended, closed in bounded time."""
        close_s = self._settings.server.close_s
        code, reason = 1000, ""
        with self._farewells.socket(call.carrier_call):
            try:
                if await leg.cross():
                    call.arrived.set()
                    await call.running.wait()
                    if call.runner is not None:
                        await call.serve(leg, close_s)
            except Exception as fault:  # noqa: BLE001 - a fault in a leg is as much ours as one in the conversation
                self._fail(call, fault, told=False)
                call.stop("a fault in the gateway")
            if call.failed:
                code, reason = BROKEN, "something went wrong in the gateway"
            await leg.close(code, reason)

    async def drain(self, within_s: float) -> None:
        """Take no more calls, let live ones finish, then end them after an apology; returns in bounded time."""
        self.draining = True
        if not self._hurried:
            await self._wait(within_s, self._empty.wait)
        for call in self.listing():
            call.stop(STOPPING)
        await self._wait(self._settings.limits.goodbye_s + self._settings.server.close_s, self._empty.wait)

    def cut_off(self) -> None:
        """Cancel the calls that are left; their sockets are closed in bounded time."""
        self.draining = True
        for call in self.listing():
            call.wanted_over = call.wanted_over or STOPPING
        for task in self._tasks.values():
            task.cancel()

    async def see_off(self) -> None:
        """Cut off the calls that are left, and answer carriers' last questions; the ports must be open until it returns.

        It returns within twice `server.close_s`: sockets are closed, then questions asked.
        """
        self.cut_off()
        await self._wait(2 * self._settings.server.close_s, self._empty.wait, self._farewells.all_said)

    def hurry(self) -> None:
        """Cut waiting short: for the calls' own end, then for their last words, then for carriers' questions."""
        self._hurried = True
        if self._drain_patience is not None and not self._drain_patience.expired():
            self._drain_patience.reschedule(asyncio.get_running_loop().time())

    async def _wait(self, within_s: float, *until: Callable[[], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(within_s) as self._drain_patience:
                for what in until:
                    await what()
        except TimeoutError:
            pass
        finally:
            self._drain_patience = None

    def _places(self, booking: Booking) -> dict[str, tuple[int, Busy]]:
        """The limits that count for a call, by the name under which it is counted, and what is said at each."""
        limits, route = self._settings.limits, booking.route.settings
        places: dict[str, tuple[int, Busy]] = {}
        # Withheld numbers come as words; callers who share one are not one caller.
        if any(letter.isdigit() for letter in booking.caller):
            sentence = "There are too many calls from this number. Please end one of them first."
            places[f"caller:{booking.adapter}:{booking.caller}"] = (
                limits.calls_per_caller,
                Busy("caller", sentence),
            )
        if booking.owner and booking.owner_calls is not None:
            calls = "1 call" if booking.owner_calls == 1 else f"{booking.owner_calls} calls"
            sentence = f"This key may have {calls} at once; end one of them first."
            places[f"key:{booking.owner}"] = (booking.owner_calls, Busy("key", sentence))
        if route.calls is not None:
            places[f"route:{route.name}"] = (route.calls, Busy("route", ALL_BUSY))
        places["calls"] = (limits.calls, Busy("calls", ALL_BUSY))
        return places

    async def _live(self, call: Call, claims: AsyncExitStack) -> None:
        """The boundary: whatever goes wrong in a call ends here."""
        async with claims:
            try:
                if await call.wait_arrived():
                    call.runner = self._make_runner(call.call_id, call.booking.route)
                    call.running.set()
                    await call.runner.run()
            except Exception as fault:  # noqa: BLE001 - the one place where faults end
                # A runner that could apologise has closed the socket after it.
                self._fail(call, fault, told=call.was_dismissed)
            finally:
                self._forget(call)

    def _fail(self, call: Call, fault: Exception, *, told: bool) -> None:
        if call.failed:
            return
        call.failed = True
        log.error("call %s was ended by a fault in the gateway", call.call_id, exc_info=fault)
        if not told and (carrier_call_id := call.booking.carrier_call_id):
            self._apologies[call.booking.adapter, carrier_call_id] = None
            while len(self._apologies) > APOLOGIES:
                self._apologies.popitem(last=False)

    def _forget(self, call: Call) -> None:
        booking = call.booking
        self._calls.pop(call.call_id, None)
        self._tasks.pop(call.call_id, None)
        if self.find_carrier(booking.adapter, booking.carrier_call_id) is call:
            del self._by_carrier[booking.adapter, booking.carrier_call_id]
        self._by_session.pop(_digest(booking.session_id), None)
        self._by_resume_token.pop(_digest(booking.resume_token), None)
        call.end(self._settings.server.close_s)
        if self.draining and not call.parted:
            self._farewells.owe(call.carrier_call)
        if not self._calls:
            self._empty.set()
        if why := call.never_began:
            log_line(
                "call_dropped",
                None,
                call_id=call.call_id,
                adapter=booking.adapter,
                route=booking.route.settings.name,
                caller=mask_number(booking.caller),
                seconds=f"{call.age_s:.1f}",
                why=why,
            )
