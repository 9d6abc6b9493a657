"""The pulse over real sockets: agents that are gone without a word, and agents that are only slow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from fakes import PlainCodec, no_task_left, until
from fault_proxy import Fault, FaultProxy

from gateway.events import AgentLost, AnyEvent
from gateway.runtime.legs import LegBounds
from gateway.runtime.watched_leg import WatchedLeg

LOST_AFTER_S = 0.4
BEAT_S = LOST_AFTER_S / 4


class _Codec(PlainCodec):
    """Says what a close means, as an agent's codec does."""

    def closed(self, code: int, reason: str) -> list[AgentLost]:
        return [AgentLost(f"{code} {reason}")]


class Agent:
    """A server whose pings a test answers."""

    def __init__(self) -> None:
        self.socket = web.WebSocketResponse(autoping=False)
        self.pings: list[bytes] = []
        self.answers = True
        self.over = asyncio.Event()

    async def attend(self, request: web.Request) -> web.WebSocketResponse:
        await self.socket.prepare(request)
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.PING:
                self.pings.append(message.data)
                if self.answers:
                    await self.socket.pong(message.data)
        self.over.set()
        return self.socket


class Watched:
    """A leg with a pulse, and all that is known of it."""

    def __init__(self, leg: WatchedLeg, agent: Agent, proxy: FaultProxy) -> None:
        self.leg = leg
        self.agent = agent
        self.proxy = proxy
        self.events: list[AnyEvent] = []

    async def read(self) -> None:
        async for event in self.leg:
            self.events.append(event)

    @property
    def loss(self) -> AgentLost:
        (event,) = (event for event in self.events if isinstance(event, AgentLost))
        return event


@asynccontextmanager
async def watched(*, read: bool = True) -> AsyncIterator[Watched]:
    """A leg to an agent, through a network that can be broken."""
    agent = Agent()
    app = web.Application()
    app.router.add_get("/", agent.attend)
    server = web.AppRunner(app, shutdown_timeout=0.1)
    with no_task_left():
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{server.addresses[0][1]}/"
        async with FaultProxy(url) as proxy, aiohttp.ClientSession() as http:
            socket = await http.ws_connect(proxy.url)
            bounds = LegBounds(close_s=0.2)
            leg = WatchedLeg(socket, _Codec(), bounds=bounds, lost_after_s=LOST_AFTER_S)
            one = Watched(leg, agent, proxy)
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(leg.write())
                reader = group.create_task(one.read()) if read else None
                await until(lambda: len(agent.pings) >= 2)
                yield one
                await leg.close()
                writer.cancel()
                if reader:
                    reader.cancel()
        await server.cleanup()
        await asyncio.sleep(0)


async def takes(seconds: float, happening: Callable[[], Awaitable[None]]) -> bool:
    """Whether something takes about so long, or up to half a second more on a busy machine."""
    before = asyncio.get_running_loop().time()
    await happening()
    return seconds <= asyncio.get_running_loop().time() - before + 0.01 <= seconds + 0.5 + BEAT_S


async def test_an_agent_that_fell_silent_is_missed_in_time() -> None:
    """Bytes vanish and nobody says so; the leg ends after the limit, and tells what may have been lost."""
    async with watched() as one:
        one.proxy.carried[0].strike(Fault("drop"))
        assert await takes(LOST_AFTER_S, lambda: until(lambda: one.events))
        assert one.loss.reason == f"1006 nothing has come for {LOST_AFTER_S} s"
        assert LOST_AFTER_S * 1000 <= one.loss.unheard_ms <= LOST_AFTER_S * 1000 + 700
        assert not one.leg.is_open


async def test_an_agent_that_is_frozen_is_missed_in_time() -> None:
    """Its machine still takes what is sent, and nobody there reads it."""
    async with watched() as one:
        writer = one.agent.socket._writer
        assert writer is not None
        writer.transport.pause_reading()
        assert await takes(LOST_AFTER_S, lambda: until(lambda: one.events))
        assert one.loss.reason == f"1006 nothing has come for {LOST_AFTER_S} s"


async def test_an_agent_that_answers_and_says_nothing_is_there() -> None:
    """A pause in the conversation is no loss."""
    async with watched() as one:
        await until(lambda: len(one.agent.pings) > 12)
        assert one.events == []
        assert one.leg.is_open


async def test_an_agent_whose_answers_are_late_is_there() -> None:
    """The network holds everything back for most of the limit, again and again; what then comes proves life."""
    async with watched() as one:
        for _ in range(4):
            one.proxy.carried[0].strike(Fault("delay", "to_client", for_s=LOST_AFTER_S * 0.6))
            count = len(one.agent.pings)
            await until(lambda count=count: len(one.agent.pings) >= count + 6)  # type: ignore[misc]
        assert one.events == []
        assert one.leg.is_open


async def test_an_agent_that_stops_answering_but_goes_on_talking_is_there() -> None:
    """A server that is too busy for pings is not too busy to be heard."""
    async with watched() as one:
        one.agent.answers = False
        for count in range(8):
            await one.agent.socket.send_str("1")
            await until(lambda count=count: len(one.agent.pings) >= 2 + 2 * count)  # type: ignore[misc]
        assert one.leg.is_open
        assert not [event for event in one.events if isinstance(event, AgentLost)]


async def test_a_connection_that_breaks_in_health_takes_little_with_it() -> None:
    """What is told to be lost is a round trip and a margin, not a beat."""
    async with watched() as one:
        await until(lambda: len(one.agent.pings) > 4)
        one.proxy.carried[0].strike(Fault("reset"))
        await until(lambda: one.events)
        assert 40 <= one.loss.unheard_ms < 40 + BEAT_S * 1000


async def test_a_leg_that_nobody_reads_misses_nobody() -> None:
    """While our own side waits, answers lie unread; that is no silence of the agent's."""
    async with watched(read=False) as one:
        await until(lambda: len(one.agent.pings) > 12)
        assert one.leg.is_open
