"""Clients that are gone without a word, over a real network that swallows everything: noticed, and waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from api_client import ApiHouse, Client, api_house, soon
from fault_proxy import Fault, FaultProxy

from gateway.settings import ServerSettings
from gateway.simulate.browser import BrowserCaller
from gateway.simulate.pcm import PcmCaller

QUICK = ServerSettings(lost_after_s=1, close_s=1)
NOTICED_S = 1.25 + 0.5
"""By when: the limit, a quarter of it between two looks, and half a second for a busy machine."""
SOUND = b"\1\2" * 24_000 * 3


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
