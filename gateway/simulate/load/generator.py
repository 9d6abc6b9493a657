"""The load generator: both ends of many calls in one process, on one clock.

Owns how calls are kept going and measured. One process, pinned to a core of its own by whoever starts it; it reads
the processor time of the system under test at the edges of each window, so that both count the same time.
"""

import asyncio
import gc
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Final, Self
from urllib.parse import urlsplit

from msgspec import Struct
from picows import WSUpgradeRequest, ws_create_server

from gateway.simulate.load.agent_end import AgentEnd
from gateway.simulate.load.arrivals import Notes
from gateway.simulate.load.carrier_end import CarrierEnd
from gateway.simulate.load.figures import Spread, Used, Window, spread, window_of
from gateway.simulate.load.machine import CannotMeasure, cpu_ns, family, memory_bytes
from gateway.simulate.load.pace import Grid, Ticker, slots_for
from gateway.simulate.load.starting import (
    START_WITHIN_S,
    NotStarted,
    Start,
    Starter,
    Target,
    new_call_sid,
)
from gateway.simulate.load.turns import CYCLE, Cycle, place_of
from gateway.simulate.twilio_http import open_session

STARTS_AT_ONCE: Final = 16
"""Calls that are being started at the same time while a step is set up."""
SETTLE_S: Final = 1.5
"""Between the last start and the first window."""
START_ALL_WITHIN_S: Final = 60.0
"""How long starting all calls of a step may take."""
AFTER_S: Final = 0.25
"""How long the last frames of a window may take to arrive."""
PARTING_S: Final = 1.0
"""How long the calls of a step may take to end."""
PROBE_EVERY_S: Final = 0.1


class Step(Struct, frozen=True, kw_only=True):
    """What a number of calls at once has shown."""

    windows: list[Window]
    """One per run, in order."""
    memory_per_call_bytes: int
    """Resident memory over that without a call, per call."""
    clears: int
    """How often a caller's playback was emptied by the system."""
    lost: int
    """Calls whose media socket was gone at the end."""
    house_sounds: int
    """Messages with sound that was none of the agent's: the system stepped in with a clip of its own."""
    refused: int
    """Messages that a carrier would not have accepted."""


class Burst(Struct, frozen=True, kw_only=True):
    """Calls that were all started in the same moment."""

    calls: int
    """How many."""
    failed: int
    """How many did not come about."""
    why: str
    """Why one of them did not."""
    opened: Spread
    """Until the media socket was open."""
    updated: Spread
    """Until the agent had its first message."""
    heard: Spread
    """Until the agent had the caller's first frame."""


class LoadGenerator:
    """Use as ``async with LoadGenerator() as load``; then `step` and `burst`, against one target after the other."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._cycle = Cycle()
        self._notes = Notes()
        self._carriers: dict[int, CarrierEnd] = {}
        self._agents: dict[int, AgentEnd] = {}
        self._sessions: set[AgentEnd] = set()
        self._met: dict[int, asyncio.Future[AgentEnd]] = {}
        self._stack = AsyncExitStack()
        self._grid = Grid(0, 1)
        self.agent_port = 0
        """Where the agent's end listens."""
        self.agent_tls_port = 0
        """Where it does so with TLS; 0 without."""

    async def __aenter__(self) -> Self:
        """Let the agent's end listen."""
        self.agent_port = await self._listen(None)
        if self._tls is not None:
            self.agent_tls_port = await self._listen(self._tls)
        self._http = await self._stack.enter_async_context(open_session())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop listening."""
        await self._stack.aclose()

    async def _listen(self, tls: ssl.SSLContext | None) -> int:
        server = await ws_create_server(
            self._accept, "127.0.0.1", 0, websocket_handshake_timeout=START_WITHIN_S, ssl=tls, backlog=1024
        )
        self._stack.callback(server.close)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def _accept(self, _request: WSUpgradeRequest) -> AgentEnd:
        session = AgentEnd(self._cycle, self._notes, self._meet)
        self._sessions.add(session)
        return session

    def _meet(self, session: AgentEnd, call: int) -> None:
        self._agents[call] = session
        met = self._met.get(call)
        if met is not None and not met.done():
            met.set_result(session)

    # Measuring

    async def step(
        self, target: Target, calls: int, *, windows: int, seconds: float, empty_bytes: int
    ) -> Step:
        """Bring up so many calls, measure them in ``windows`` windows of ``seconds``, and end them.

        ``empty_bytes`` is the system's memory without a call.

        Raises:
            CannotMeasure: when calls cannot be started, or the system has gone.
        """
        with self._ticking(calls):
            try:
                await self._start_for_good(target, calls)
                await asyncio.sleep(SETTLE_S)
                with _no_collecting():
                    await asyncio.sleep(AFTER_S)  # what became late while it collected is no window's
                    noted = [await self._note(target, seconds) for _ in range(windows)]
                memory = _asked(memory_bytes, target.pid) - empty_bytes
                return Step(
                    windows=[
                        window_of(notes, self._grid, used, probes_ns) for notes, used, probes_ns in noted
                    ],
                    memory_per_call_bytes=memory // calls,
                    clears=sum(end.clears for end in self._carriers.values()),
                    lost=sum(not end.is_open for end in self._carriers.values()),
                    house_sounds=sum(end.house_sounds for end in self._carriers.values()),
                    refused=sum(end.refused for end in self._carriers.values()),
                )
            finally:
                await self._end_all()

    async def burst(self, target: Target, calls: int) -> Burst:
        """Start so many calls in the same moment, and end them."""
        with self._ticking(calls):
            try:
                outcomes = await self._start_all(target, range(calls))
            finally:
                await self._end_all()
        good = [outcome for outcome in outcomes if isinstance(outcome, Start)]
        bad = [outcome for outcome in outcomes if isinstance(outcome, NotStarted)]
        return Burst(
            calls=calls,
            failed=len(bad),
            why=str(bad[0]) if bad else "",
            opened=spread([start.opened_ns for start in good]),
            updated=spread([start.updated_ns for start in good]),
            heard=spread([start.heard_ns for start in good]),
        )

    async def _note(self, target: Target, seconds: float) -> tuple[Notes, Used, list[int]]:
        """Measure one window; its figures are made when the last one is over."""
        notes, processes, probes_ns = self._notes, family(target.pid), list[int]()
        notes.clear()
        async with asyncio.TaskGroup() as group:
            prober = group.create_task(_probe(target.probe_url, probes_ns))
            notes.sending = notes.arriving = True
            begin = time.monotonic_ns(), _asked(cpu_ns, *processes), time.process_time_ns()
            await asyncio.sleep(seconds)
            end = time.monotonic_ns(), _asked(cpu_ns, *processes), time.process_time_ns()
            notes.sending = False
            prober.cancel()
            await asyncio.sleep(AFTER_S)
            notes.arriving = False
        used = Used(begin[0], end[0], end[1] - begin[1], end[2] - begin[2])
        return notes.take(), used, probes_ns

    # Calls

    @contextmanager
    def _ticking(self, calls: int) -> Iterator[None]:
        """Send what is due, for the length of a ``with``."""
        slots = slots_for(calls)
        self._grid = grid = Grid(time.monotonic_ns() + 20_000_000, slots)
        callers: list[list[tuple[int, int]]] = [[] for _ in range(slots)]
        answerers: list[list[tuple[int, int]]] = [[] for _ in range(slots)]
        for call in range(calls):
            callers[grid.caller_slot(call)].append((call, place_of(call)))
            answerers[grid.agent_slot(call)].append((call, place_of(call)))
        carriers, agents = self._carriers, self._agents

        def on_tick(tick: int) -> None:
            frame, slot = divmod(tick, slots)
            due_ns = grid.at_ns(tick)
            for call, place in callers[slot]:
                if call in carriers:
                    carriers[call].tick((frame + place) % CYCLE, due_ns)
            for call, place in answerers[slot]:
                if call in agents:
                    agents[call].tick((frame + place) % CYCLE, due_ns)

        ticker = Ticker(grid, on_tick)
        try:
            yield
        finally:
            ticker.close()

    async def _start_for_good(self, target: Target, calls: int) -> None:
        """Start calls one after the other; one that fails is the end of it."""
        try:
            async with asyncio.timeout(START_ALL_WITHIN_S):
                for first in range(0, calls, STARTS_AT_ONCE):
                    few = range(first, min(first + STARTS_AT_ONCE, calls))
                    outcomes = await self._start_all(target, few)
                    if wrong := [outcome for outcome in outcomes if isinstance(outcome, NotStarted)]:
                        raise CannotMeasure(f"call {first + 1} of {calls} could not be started: {wrong[0]}")
        except TimeoutError:
            started = sum(end.is_open for end in self._carriers.values())
            sentence = f"only {started} of {calls} calls were started within {START_ALL_WITHIN_S:g} s"
            raise CannotMeasure(sentence) from None

    async def _start_all(self, target: Target, calls: Iterable[int]) -> list[Start | NotStarted]:
        starter = Starter(target, self._http)

        async def start(call: int) -> Start | NotStarted:
            end = self._carriers[call] = CarrierEnd(call, new_call_sid(), self._cycle, self._notes)
            self._met[call] = asyncio.get_running_loop().create_future()
            try:
                return await starter.start(call, end, self._met[call])
            except NotStarted as why:
                return why

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(start(call)) for call in calls]
        return [task.result() for task in tasks]

    async def _end_all(self) -> None:
        """Hang up everywhere; what does not part in time is cut."""
        for carrier in self._carriers.values():
            carrier.hang_up()
        ends: list[CarrierEnd | AgentEnd] = [*self._carriers.values(), *self._sessions]
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING_S):
                while any(end.is_open for end in ends):  # noqa: ASYNC110 - hundreds of small things at once
                    await asyncio.sleep(0.02)
        for end in ends:
            end.cut()
        self._carriers.clear()
        self._agents.clear()
        self._sessions.clear()
        self._met.clear()


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Keep Python's garbage collector from making frames late."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _asked(figure: Callable[[int], int], *processes: int) -> int:
    """The sum of a figure over processes.

    Raises:
        CannotMeasure: when one of them has gone.
    """
    try:
        return sum(map(figure, processes))
    except OSError as error:
        raise CannotMeasure("the system under test ended while it was measured") from error


async def _probe(url: str, taken_ns: list[int]) -> None:
    """Ask a health page ten times a second, until cancelled or refused."""
    if not url:
        return
    where = urlsplit(url)
    request = f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
    with suppress(OSError, EOFError):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            while True:
                begin_ns = time.monotonic_ns()
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                taken_ns.append(time.monotonic_ns() - begin_ns)
                await asyncio.sleep(PROBE_EVERY_S)
        finally:
            writer.close()


def _length(head: bytes) -> int:
    named = (line.lower().partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in named if name == b"content-length"), 0)
