"""Clients that are gone without a word, over a real network that swallows everything: noticed, and waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from api_client import ApiHouse, Client, api_house, soon
from calling import watched
from fault_proxy import Fault, FaultProxy

from gateway.events import CallerLost, PulseChanged
from gateway.settings import ServerSettings
from gateway.simulate.browser import BrowserCaller
from gateway.simulate.pcm import PcmCaller

QUICK = ServerSettings(lost_after_s=1, close_s=1)
NOTICED_S = 1.25 + 0.5
"""By when: the limit, a quarter of it between two looks, and half a second for a busy machine."""
SOUND = b"\1\2" * 24_000 * 3
BYTES_PER_S = 48_000
LONG = b"".join(at.to_bytes(4, "little") for at in range(BYTES_PER_S * 20 // 4))
"""Twenty seconds in which no place is like another."""
LATE_MS = 500
"""What a busy machine may be late."""


@asynccontextmanager
async def far(house: ApiHouse, path: str) -> AsyncIterator[tuple[Client, FaultProxy]]:
    """A client on a network that can be broken."""
    async with FaultProxy(house.url) as network, house.http.ws_connect(network.url + path) as socket:
        yield Client(socket), network
        socket._response.close()  # it would wait for an answer that cannot come


async def vanish(network: FaultProxy, house: ApiHouse, phase: str) -> None:
    """Swallow everything from now on, until the gateway has noticed, which it must in time."""
    assert house.registry.listing()[0].phase == "talking"
    before = asyncio.get_running_loop().time()
    network.carried[0].strike(Fault("drop"))
    await soon(lambda: {one.phase for one in house.registry.listing()} <= {phase})
    assert asyncio.get_running_loop().time() - before < NOTICED_S


async def test_a_browser_that_vanished_comes_back_to_its_call() -> None:
    """It counts as lost and its call waits; on the next socket the reply goes on where the client last said it was."""
    async with api_house(server=QUICK) as house, far(house, "/v1/ws/browser") as (first, network):
        ready = await first.begin()
        house.agent.speak("r1", SOUND)
        await first.until_sound("r1", 4800)
        await first.send("talkpath.played", reply_id="r1", ms=100)
        await first.until_sound("r1", 24_000)
        await vanish(network, house, "caller_lost")
        async with house.client() as second:
            await second.send("session.resume", session_id=ready["session_id"])
            assert (await second.until("session.ready"))["resume_token"] == ready["resume_token"]
            await second.until("reply.done")
            heard = len(first.sound["r1"]) + len(second.sound["r1"])
            assert len(SOUND) <= heard <= len(SOUND) + 24_000
            assert SOUND.endswith(second.sound["r1"][-960:])
            assert house.agent.kinds().count("session.update") == 1
            await second.send("session.end")
            assert await second.closed() == 1000


async def test_a_pcm_client_that_vanished_leaves_its_place() -> None:
    """Its call is over, as it cannot come back, and so is the agent's session; the next one is welcome."""
    async with (
        api_house(server=QUICK, limits={"calls": 1}) as house,
        far(house, "/v1/ws/pcm?events=1") as (client, network),
    ):
        await client.socket.send_bytes(bytes(640))
        await client.until("session.ready")
        await vanish(network, house, "ended")
        await soon(lambda: "session.end" in house.agent.kinds())
        await soon(lambda: not house.registry.listing())
        async with house.client("/v1/ws/pcm?events=1") as other:
            await other.socket.send_bytes(bytes(640))
            await other.until("session.ready")


@pytest.mark.parametrize("tells", [False, True], ids=["silent", "telling"])
async def test_what_a_browser_lost_in_a_hole_is_said_again(tells: bool) -> None:
    """With every setting as it comes: it is missed after five seconds, and goes on where its last answer came from."""
    usual = ServerSettings(close_s=1)
    watcher, kinds = watched(PulseChanged, CallerLost)
    async with (
        api_house(server=usual, observers=kinds) as house,
        far(house, "/v1/ws/browser") as (first, network),
    ):
        ready = await first.begin()
        house.agent.speak("r1", LONG)
        await _listen(first, BYTES_PER_S * 5 // 2, tells=tells)
        network.carried[0].strike(Fault("drop"))
        got = first.sound["r1"]
        await soon(lambda: watcher.of(CallerLost))
        (quiet,) = watcher.of(PulseChanged)
        assert 1000 < quiet.unproven_ms < 1600 + LATE_MS
        async with house.client() as second:
            await second.send("session.resume", session_id=ready["session_id"])
            await second.until("session.ready")
            await second.until_sound("r1", BYTES_PER_S)
            again = second.sound["r1"][: BYTES_PER_S // 2]
            resumed_at = LONG.index(again)
            assert resumed_at <= len(got)
            assert len(got) - resumed_at < BYTES_PER_S * 3 // 2
            await second.send("session.end")
            assert await second.closed() == 1000


async def test_a_browser_whose_answers_are_late_loses_and_repeats_nothing() -> None:
    """Two seconds in which nothing comes through, either way; then everything does, once and in order."""
    watcher, kinds = watched(PulseChanged, CallerLost)
    async with api_house(observers=kinds) as house, far(house, "/v1/ws/browser") as (client, network):
        await client.begin()
        house.agent.speak("r1", LONG[: BYTES_PER_S * 5])
        await _listen(client, BYTES_PER_S * 3 // 2, tells=False)
        network.carried[0].strike(Fault("delay", for_s=2))
        await client.until("reply.done")
        assert client.sound["r1"] == LONG[: BYTES_PER_S * 5]
        assert not watcher.of(CallerLost)
        assert [quiet.unproven_ms > 0 for quiet in watcher.of(PulseChanged)][:2] == [True, False]


async def _listen(client: Client, size_bytes: int, *, tells: bool) -> None:
    """Hear so much of the reply, and perhaps say how much of it was played."""
    for at in range(BYTES_PER_S // 2, size_bytes + 1, BYTES_PER_S // 2):
        await client.until_sound("r1", at)
        if tells:
            played_ms = max(0, at * 1000 // BYTES_PER_S - 250)
            await client.send("talkpath.played", reply_id="r1", ms=played_ms)


@pytest.mark.parametrize("caller", [PcmCaller, BrowserCaller])
async def test_the_simulated_clients_answer_pings(caller: Callable[[str], PcmCaller | BrowserCaller]) -> None:
    """As every browser and library does, and so they are held to it: a simulated client that is gone is missed."""
    answers: list[bytes] = []

    async def attend(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.ping(b"are you there?")
        while (message := await socket.receive()).type is not web.WSMsgType.PONG:
            pass
        answers.append(message.data)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/{path:.*}", attend)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with asyncio.timeout(10):
            await caller(f"http://127.0.0.1:{runner.addresses[0][1]}").run()
    finally:
        await runner.cleanup()
    assert answers == [b"are you there?"]
