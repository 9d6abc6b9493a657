"""A leg on a real socket, with its peer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from fakes import PlainCodec, no_task_left, until

from gateway.contracts import Codec
from gateway.events import AnyEvent
from gateway.runtime.legs import LegBounds, WebSocketLeg


@asynccontextmanager
async def connected(
    codec: Codec | None = None,
    *,
    max_bytes: int = 1 << 20,
    make: Callable[..., WebSocketLeg] = WebSocketLeg,
    **bounds: float,
) -> AsyncIterator[tuple[WebSocketLeg, aiohttp.ClientWebSocketResponse, list[AnyEvent], asyncio.Event]]:
    """A leg on a server's socket, read and written, with its client; the event says that the reading has ended."""
    legs: list[WebSocketLeg] = []
    events: list[AnyEvent] = []
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(compress=False, max_msg_size=max_bytes, timeout=1.0)
        await response.prepare(request)
        limits = LegBounds(**{"close_s": 1.0, **bounds})  # type: ignore[arg-type]
        leg = make(response, codec or PlainCodec(), bounds=limits)
        legs.append(leg)
        writer = asyncio.ensure_future(leg.write())
        async for event in leg:
            events.append(event)  # noqa: PERF401 - seen as they come
        over.set()
        await leg.close()
        await asyncio.wait({writer})
        assert writer.exception() is None
        return response

    app = web.Application()
    app.router.add_get("/", handle)
    server = web.AppRunner(app, shutdown_timeout=1)
    with no_task_left():
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as http:
                client = await http.ws_connect(f"http://127.0.0.1:{server.addresses[0][1]}/", autoclose=False)
                await until(lambda: legs)
                yield legs[0], client, events, over
                client._response.close()
        finally:
            await server.cleanup()
        await asyncio.sleep(0)


def tcp_of(client: aiohttp.ClientWebSocketResponse) -> Any:
    return client._writer.transport


async def ended(over: asyncio.Event, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        await over.wait()
