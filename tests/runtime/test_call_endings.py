from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from calling import line, talking, watched
from fakes import MemoryWire, Street, no_task_left, pcm_codec, twilio_codec, until, virtual
from serving import start_stream

from gateway.adapters.twilio_http import TwilioSettings
from gateway.events import ControlAnswered, EndingAsked, StopRequested
from gateway.settings import Secret


@asynccontextmanager
async def carrier(status: int = 200) -> AsyncIterator[tuple[Street, list[str]]]:
    """A street whose Twilio is on this machine, and what that was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append(str(form.get("Status") or form.get("Twiml")))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/{any:.*}", answer)
    server = web.AppRunner(app, shutdown_timeout=0.1)
    with no_task_left():
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        rest = f"http://127.0.0.1:{server.addresses[0][1]}"
        settings = TwilioSettings(account_sid="AC1", auth_token=(Secret("1"),), rest=rest)
        street = Street(adapters={"twilio": settings}, limits={"goodbye_s": 1.0})
        try:
            async with street.dialler:
                yield street, asked
        finally:
            await server.cleanup()


async def test_hanging_up_by_the_carrier() -> None:
    """A phone call that ends on our side is hung up at the carrier before the runner is done."""
    async with carrier() as (street, asked), line(street, twilio_codec()) as call:
        call.wire.give(*start_stream())
        await until(lambda: call.runner.phase == "talking")
        call.runner.offer(StopRequested())
        await call.life
        assert asked == ["completed"]


@pytest.mark.parametrize("status", [200, 400])
async def test_transfer(status: int) -> None:
    """A transferred call is not hung up after that; one that could not be transferred goes on."""
    async with carrier(status) as (street, asked), line(street, twilio_codec()) as call:
        call.wire.give(*start_stream())
        await until(lambda: call.runner.phase == "talking")
        call.runner.offer(EndingAsked("transfer", target="+4930123456"))
        if status == 200:
            await call.life
            assert call.agent.kinds()[-1] == "session.end"
        else:
            await until(lambda: "reply.create" in call.agent.kinds())
            assert call.runner.phase == "talking"
            call.life.cancel()
        assert len(asked) == 1
        assert "+4930123456" in asked[0]


@virtual
async def test_transfer_without_a_carrier() -> None:
    """A caller that cannot be transferred stays, and the agent is told."""
    watcher, kinds = watched(ControlAnswered)
    async with talking(Street(observers=kinds)) as call:
        call.runner.offer(EndingAsked("transfer", target="+4930123456"))
        await until(lambda: watcher.seen)
        assert not watcher.of(ControlAnswered)[0].succeeded
        await until(lambda: "reply.create" in call.agent.kinds())
        call.wire.give({"type": "session.end"})


@virtual
async def test_client_is_told_the_end() -> None:
    """A client that asked for events is told that the session has ended, before the close."""
    async with line(Street(), pcm_codec("sample_rate=24000&events=1"), MemoryWire()) as call:
        await until(lambda: call.runner.phase == "talking")
        call.runner.offer(StopRequested())
        await call.life
        assert call.wire.texts("session.ended")
        assert call.wire.closed_with == 1000
