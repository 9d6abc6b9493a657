"""Starting calls under load: what a start waits for is the system, never a limit of the generator's own libraries."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from picows import ws_connect

from gateway.simulate.load import starting
from gateway.simulate.load.agent_end import AgentEnd
from gateway.simulate.load.arrivals import Notes
from gateway.simulate.load.carrier_end import CarrierEnd
from gateway.simulate.load.starting import NotStarted, Starter, Target, new_call_sid
from gateway.simulate.load.turns import Cycle
from gateway.simulate.webhook import open_session, request_text

LIBRARY_S = 0.1
"""The library's patience with a handshake in these tests; its own is 5 s."""
CROWD = 150


@asynccontextmanager
async def served(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve one handler at every address; gives the authority."""
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


async def start(authority: str) -> starting.Start:
    """Start one call at a system that takes a media socket at once, and whose agent hears it as soon as it is open."""
    cycle, notes = Cycle(), Notes()
    end, agent = CarrierEnd(0, new_call_sid(), cycle, notes), AgentEnd(cycle, notes, lambda *_: None)
    met: asyncio.Future[AgentEnd] = asyncio.get_running_loop().create_future()
    met.set_result(agent)
    async with open_session() as session:
        try:
            target = Target(kind="stream", url=f"ws://{authority}/", pid=os.getpid())
            return await Starter(target, session).start(0, end, met)
        finally:
            end.cut()


@pytest.fixture
def hasty_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library give handshakes up after `LIBRARY_S` unless it is told otherwise."""

    async def hasty(*arguments: Any, **named: Any) -> Any:
        return await ws_connect(*arguments, **{"websocket_handshake_timeout": LIBRARY_S, **named})

    monkeypatch.setattr(starting, "ws_connect", hasty)


@pytest.mark.usefixtures("hasty_library")
async def test_a_socket_that_opens_late_is_waited_for() -> None:
    """A system that is busy has all of the time that a start may take, and how long it took is told."""

    async def open_late(request: web.Request) -> web.StreamResponse:
        late = asyncio.Event()
        asyncio.get_running_loop().call_later(4 * LIBRARY_S, late.set)
        await late.wait()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async with served(open_late) as authority:
        started = await start(authority)
    assert started.opened_ns >= 4 * LIBRARY_S * 1e9


@pytest.mark.usefixtures("hasty_library")
async def test_one_that_never_opens_is_given_up_when_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says how long was waited, and that long was waited."""
    monkeypatch.setattr(starting, "START_WITHIN_S", 3 * LIBRARY_S)

    over = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    loop = asyncio.get_running_loop()
    async with served(never) as authority:
        began = loop.time()
        with pytest.raises(NotStarted, match=r"within 0\.3 s"):
            await start(authority)
        assert loop.time() - began >= 3 * LIBRARY_S
        over.set()


async def test_webhooks_do_not_wait_for_each_other() -> None:
    """A carrier asks about as many calls at the same moment as there are, not about a hundred."""
    asked, all_asked = 0, asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked == CROWD:
            all_asked.set()
        await all_asked.wait()
        return web.Response(text="taken")

    async with served(answer) as authority, open_session(10) as session, asyncio.TaskGroup() as group:
        for _ in range(CROWD):
            group.create_task(request_text(session, "POST", f"http://{authority}/", body=b"", headers={}))
    assert asked == CROWD
