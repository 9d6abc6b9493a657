"""A client of the Voice Agent API for tests: a socket to a gateway whose agents a test plays itself."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from fakes import FakeAgent, Street

from gateway.adapters.browser import BrowserSettings
from gateway.adapters.pcm import PcmSettings
from gateway.runtime.call import CallRunner
from gateway.server.app import DOOR, build_app
from gateway.server.calls import CallRegistry

LIMIT_S = 10.0


class Client:
    """One socket; every message that is not sound is kept in order."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.sound: dict[str, bytes] = {}
        self.order: list[str] = []
        """Types of all messages, a run of sound as one."""

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def say(self, audio: bytes) -> None:
        await self.send("input.audio", audio=base64.b64encode(audio).decode())

    async def read(self) -> dict[str, Any] | None:
        """The next message; None when the socket was closed."""
        async with asyncio.timeout(LIMIT_S):
            message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        event: dict[str, Any] = json.loads(message.data)
        kind = event["type"]
        if kind == "reply.audio":
            reply_id = event["reply_id"]
            self.sound[reply_id] = self.sound.get(reply_id, b"") + base64.b64decode(event["data"])
        else:
            self.events.append(event)
        if self.order[-1:] != [kind] or kind != "reply.audio":
            self.order.append(kind)
        return event

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read up to a message of a kind, with these fields."""
        while (event := await self.read()) is not None:
            if event["type"] == kind and fields.items() <= event.items():
                return event
        raise AssertionError(f"closed with {self.socket.close_code} before {kind}; came: {self.order}")

    async def until_sound(self, reply_id: str, size_bytes: int) -> bytes:
        """Read until so much of a reply has come."""
        while len(self.sound.get(reply_id, b"")) < size_bytes:
            assert await self.read() is not None, f"closed before; came: {self.order}"
        return self.sound[reply_id]

    async def closed(self) -> int | None:
        """Read to the end; gives the close code."""
        while await self.read() is not None:
            pass
        return self.socket.close_code

    async def begin(self, **session: Any) -> dict[str, Any]:
        """Begin a session and wait until it is ready."""
        await self.send("session.update", session=session)
        return await self.until("session.ready")

    def drop(self) -> None:
        """Break the connection without a word."""
        transport = self.socket._response.connection.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


class ApiHouse:
    """A gateway on a free port, its street of agents, and clients of it."""

    def __init__(self, street: Street, registry: CallRegistry, http: aiohttp.ClientSession, url: str) -> None:
        self.street = street
        self.registry = registry
        self.http = http
        self.url = url
        self.refused: dict[str, int] = {}

    @property
    def agent(self) -> FakeAgent:
        return self.street.agent

    @asynccontextmanager
    async def client(self, path: str = "/v1/ws/browser", **headers: str) -> AsyncIterator[Client]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.ws_connect(self.url + path, headers=sent, timeout=_QUICK) as socket:
            yield Client(socket)


_QUICK = aiohttp.ClientWSTimeout(ws_close=1)


@asynccontextmanager
async def api_house(*agents: FakeAgent, **sections: Any) -> AsyncIterator[ApiHouse]:
    """Serve calls with agents in memory over real sockets."""
    adapters = sections.pop("adapters", {"browser": BrowserSettings(), "pcm": PcmSettings()})
    street = Street(*agents, adapters=adapters, **sections)
    house = street.house

    def made(call_id: str, route: Any) -> CallRunner:
        return CallRunner(call_id, route, house)

    apps = build_app(house.generation, store=house.store, make_runner=made)
    runner = web.AppRunner(apps.public, access_log=None, shutdown_timeout=1)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with street.dialler, aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            made_house = ApiHouse(street, apps.registry, http, url)
            made_house.refused = apps.public[DOOR].refused
            yield made_house
            await apps.registry.drain(0)
    finally:
        await runner.cleanup()
        await street.toolbox.close()


async def soon(condition: Callable[[], object]) -> None:
    """Wait for a condition, within a limit."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
