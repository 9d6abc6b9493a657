"""The load generator: both ends of many calls in one process, on one clock.

Owns how calls are started, kept going and measured. One process, pinned to a core of its own by whoever starts it;
it reads the processor time of the system under test at the edges of each window, so that both count the same time.
"""

import asyncio
import gc
import secrets
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from msgspec import Struct
from picows import WSUpgradeRequest, ws_connect, ws_create_server

from gateway.simulate.load.agent_end import AgentEnd
from gateway.simulate.load.arrivals import Notes
from gateway.simulate.load.carrier_end import CarrierEnd
from gateway.simulate.load.figures import Spread, Window, spread, window_of
from gateway.simulate.load.machine import cpu_ns, family, memory_bytes
from gateway.simulate.load.pace import Grid, Ticker, slots_for
from gateway.simulate.load.turns import CYCLE, Cycle, place_of
from gateway.simulate.twilio_http import (
    Addresses,
    CallIdentity,
    TwilioRequests,
    open_session,
    resolve_stream,
)
from gateway.simulate.twilio_signature import sign, stream_url_to_sign
from gateway.simulate.twiml import read_twiml

STARTS_AT_ONCE: Final = 16
"""Calls that are being started at the same time while a step is set up."""
SETTLE_S: Final = 1.5
"""Between the last start and the first window."""
START_WITHIN_S: Final = 10.0
AFTER_S: Final = 0.25
"""How long the last frames of a window may take to arrive."""
PROBE_EVERY_S: Final = 0.1


class Target(Struct, frozen=True, kw_only=True):
    """A system under test that listens."""

    kind: Literal["stream", "twilio"]
    """``stream`` takes a media socket at once; ``twilio`` is called by a signed webhook first."""
    url: str
    """Where the carrier's end goes."""
    pid: int
    """Its process."""
    probe_url: str = ""
    """Its health page, where it has one."""
    token: str = ""
    """What the carrier signs with."""


class Start(Struct, frozen=True):
    """How long one call took to be set up, in nanoseconds from its first request."""

    opened_ns: int
    updated_ns: int
    heard_ns: int


class Step(Struct, frozen=True, kw_only=True):
    """What a number of calls at once has shown."""

    calls: int
    windows: list[Window]
    memory_per_call_bytes: int
    clears: int
    """How often a caller's playback was emptied by the system."""
    refused: int
    """Messages that a carrier would not have accepted."""


class Burst(Struct, frozen=True, kw_only=True):
    """Calls that were all started in the same moment."""

    calls: int
    failed: int
    opened: Spread
    """Until the media socket was open."""
    updated: Spread
    """Until the agent had its first message."""
    heard: Spread
    """Until the agent had the caller's first frame."""


class LoadGenerator:
    """Use as ``async with LoadGenerator() as load``; then `step` and `burst` against one target after the other."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._cycle = Cycle()
        self._notes = Notes()
        self._carriers: dict[int, CarrierEnd] = {}
        self._agents: dict[int, AgentEnd] = {}
        self._sessions: set[AgentEnd] = set()
        self._met: dict[int, asyncio.Event] = {}
        self._stack = AsyncExitStack()
        self._grid = Grid(0, 1)
        self.agent_port = 0
        """Where the agent's end listens."""
        self.agent_tls_port = 0
        """Where it does so with TLS; 0 without."""

    async def __aenter__(self) -> Self:
        self.agent_port = await self._listen(None)
        if self._tls is not None:
            self.agent_tls_port = await self._listen(self._tls)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def _listen(self, tls: ssl.SSLContext | None) -> int:
        server = await ws_create_server(self._accept, "127.0.0.1", 0, ssl=tls, backlog=1024)
        self._stack.callback(server.close)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def _accept(self, _request: WSUpgradeRequest) -> AgentEnd:
        session = AgentEnd(self._cycle, self._notes, self._meet)
        self._sessions.add(session)
        return session

    def _meet(self, session: AgentEnd, call: int) -> None:
        self._agents[call] = session
        if call in self._met:
            self._met[call].set()

    # Measuring

    async def step(
        self,
        target: Target,
        calls: int,
        *,
        windows: int,
        seconds: float,
        empty_bytes: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Step:
        """Bring up so many calls, measure them in ``windows`` windows of ``seconds``, and end them.

        Raises:
            OSError: when a call cannot be started.
        """
        empty_bytes = memory_bytes(target.pid) if empty_bytes is None else empty_bytes
        ticker = self._begin(calls)
        try:
            say(f"starting {calls} calls")
            await self._start_all(target, range(calls))
            await asyncio.sleep(SETTLE_S)
            gc.collect()
            gc.freeze()
            gc.disable()
            measured = []
            for n in range(windows):
                say(f"window {n + 1} of {windows}")
                measured.append(await self._window(target, seconds))
            memory = memory_bytes(target.pid) - empty_bytes
            return Step(
                calls=calls,
                windows=measured,
                memory_per_call_bytes=memory // calls,
                clears=sum(end.clears for end in self._carriers.values()),
                refused=sum(end.refused for end in self._carriers.values()),
            )
        finally:
            gc.enable()
            gc.unfreeze()
            ticker.close()
            await self._end_all()

    async def burst(self, target: Target, calls: int) -> Burst:
        """Start so many calls in the same moment."""
        ticker = self._begin(calls)
        try:
            starts: list[Start | None] = []
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._try(target, call)) for call in range(calls)]
            starts = [task.result() for task in tasks]
        finally:
            ticker.close()
            await self._end_all()
        good = [start for start in starts if start is not None]
        return Burst(
            calls=calls,
            failed=len(starts) - len(good),
            opened=spread([start.opened_ns for start in good]),
            updated=spread([start.updated_ns for start in good]),
            heard=spread([start.heard_ns for start in good]),
        )

    async def _window(self, target: Target, seconds: float) -> Window:
        notes = self._notes
        notes.clear()
        processes = family(target.pid)
        probes: list[int] = []
        async with asyncio.TaskGroup() as group:
            prober = group.create_task(_probe(target.probe_url, probes))
            notes.noting = True
            begin_ns, cpu, own = time.monotonic_ns(), sum(map(cpu_ns, processes)), time.process_time_ns()
            await asyncio.sleep(seconds)
            cpu = sum(map(cpu_ns, processes)) - cpu
            own = time.process_time_ns() - own
            took_s = (time.monotonic_ns() - begin_ns) / 1e9
            notes.noting = False
            prober.cancel()
        return window_of(notes, self._grid, seconds=took_s, cpu_ns=cpu, own_cpu_ns=own, probes_ns=probes)

    # Calls

    def _begin(self, calls: int) -> Ticker:
        slots = slots_for(calls)
        self._grid = grid = Grid(time.monotonic_ns() + 20_000_000, slots)
        in_slot = [[call for call in range(calls) if grid.caller_slot(call) == slot] for slot in range(slots)]
        answers = [[call for call in range(calls) if grid.agent_slot(call) == slot] for slot in range(slots)]
        places = [place_of(call) for call in range(calls)]
        carriers, agents = self._carriers, self._agents

        def on_tick(tick: int) -> None:
            frame, slot = divmod(tick, slots)
            due_ns = grid.at_ns(tick)
            for call in in_slot[slot]:
                if call in carriers:
                    carriers[call].tick((frame + places[call]) % CYCLE, due_ns)
            for call in answers[slot]:
                if call in agents:
                    agents[call].tick((frame + places[call]) % CYCLE, due_ns)

        return Ticker(grid, on_tick)

    async def _start_all(self, target: Target, calls: range) -> None:
        room = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start(call: int) -> None:
            async with room:
                await self._start(target, call)

        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(start(call))

    async def _try(self, target: Target, call: int) -> Start | None:
        try:
            return await self._start(target, call)
        except (OSError, TimeoutError):
            return None

    async def _start(self, target: Target, call: int) -> Start:
        begin_ns = time.monotonic_ns()
        call_sid = "CA" + secrets.token_hex(16)
        end = CarrierEnd(call, self._cycle, self._notes, call_sid)
        met = self._met[call] = asyncio.Event()
        async with asyncio.timeout(START_WITHIN_S):
            if target.kind == "stream":
                await ws_connect(lambda: end, target.url)
            else:
                await self._ring(target, call, call_sid, end)
            opened_ns = time.monotonic_ns()
            self._carriers[call] = end
            await met.wait()
        session = self._agents[call]
        return Start(opened_ns - begin_ns, session.updated_ns - begin_ns, session.heard_ns - begin_ns)

    async def _ring(self, target: Target, call: int, call_sid: str, end: CarrierEnd) -> None:
        """Ask the gateway what to do with a call, as the carrier does, and do it."""
        addresses = Addresses(target.url, None)
        identity = CallIdentity(
            call_sid=call_sid,
            account_sid="AC" + "0" * 32,
            caller=f"+1415555{call:05d}",
            callee="+14155550100",
        )
        async with open_session() as session:
            requests = TwilioRequests(session, addresses, identity, target.token)
            document, base = await requests.ask(addresses.voice, "ringing")
        connect = next(verb for verb in read_twiml(document) if verb.name == "Connect")
        stream = connect.child("Stream")
        url = resolve_stream(base, stream.attributes["url"]) if stream else ""
        headers = {
            "User-Agent": "Twilio.TmeWs/1.0",
            "X-Twilio-Signature": sign(target.token, stream_url_to_sign(url)),
        }
        await ws_connect(lambda: end, addresses.to_dial(url), extra_headers=headers)

    async def _end_all(self) -> None:
        for carrier in self._carriers.values():
            carrier.close()
        await asyncio.sleep(AFTER_S)
        for carrier in self._carriers.values():
            carrier.cut()
        for session in self._sessions:
            session.cut()
        self._carriers.clear()
        self._agents.clear()
        self._sessions.clear()
        self._met.clear()


async def _probe(url: str, taken_ns: list[int]) -> None:
    """Ask a health page ten times a second, until cancelled."""
    if not url:
        return
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    request = f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
    try:
        while True:
            begin_ns = time.monotonic_ns()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            taken_ns.append(time.monotonic_ns() - begin_ns)
            await asyncio.sleep(PROBE_EVERY_S)
    finally:
        writer.close()
