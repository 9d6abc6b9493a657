"""A stand-in for a gateway, for tests of the simulated Vonage: answers documents, runs a handler per media socket."""

import json
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
from aiohttp import web

SECRET = "the account's signature secret, for tests"
Handler = Callable[["StandIn", web.WebSocketResponse], Awaitable[None]]
Message = dict[str, Any] | bytes


def tone(ms: int, rate_hz: int = 8000) -> bytes:
    """16-bit PCM that can be heard."""
    samples = (round(8000 * math.sin(2 * math.pi * 440 * at / rate_hz)) for at in range(rate_hz * ms // 1000))
    return array("h", samples).tobytes()


class StandIn:
    """A gateway that answers with given documents and runs a given handler per media socket."""

    def __init__(self, *handlers: Handler, rate_hz: int = 8000) -> None:
        self.handlers = list(handlers)
        self.rate_hz = rate_hz
        self.url = ""
        self.public_url = ""
        self.document: Any = None
        self.answer_type = "application/json"
        self.answer_statuses: list[int] = []
        self.refuses = False
        self.following: list[Any] = []
        """Documents with which the end of a media socket is answered, in order; none afterwards."""
        self.calls: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        """Method, fields and proven claims of each answer webhook."""
        self.events: list[dict[str, Any]] = []
        self.upgrades: list[web.Request] = []
        self.received: list[Message] = []

    @property
    def connect_document(self) -> list[dict[str, Any]]:
        return [
            {
                "action": "connect",
                "eventType": "synchronous",
                "eventUrl": [f"{self.public_url or self.url}/vonage/event?call_uuid=x"],
                "endpoint": [
                    {
                        "type": "websocket",
                        "uri": f"{(self.public_url or self.url).replace('http', 'ws', 1)}/media/tok",
                        "content-type": f"audio/l16;rate={self.rate_hz}",
                        "headers": {"token": "tok", "call_uuid": "x"},
                        "authorization": {"type": "vonage"},
                    }
                ],
            }
        ]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        fields = json.loads(body) if body else dict(request.query)
        if self.refuses:
            return web.Response(status=403, text="This request came without valid proof of who sent it.")
        claims = proven(request)
        if request.path == "/vonage/answer":
            self.calls.append((request.method, fields, claims))
            if self.answer_statuses and (status := self.answer_statuses.pop(0)) != 200:
                return web.Response(status=status)
            text = json.dumps(self.connect_document if self.document is None else self.document)
            return web.Response(text=text, content_type=self.answer_type)
        self.events.append(fields | ({"query": request.query_string} if request.query_string else {}))
        ends = fields.get("status") in ("disconnected", "failed", "unanswered") and "headers" in fields
        if ends and self.following:
            return web.json_response(self.following.pop(0))
        return web.Response(status=204)

    async def media(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(request)
        if not self.handlers:
            return web.Response(status=410, text="This call is over.")
        socket = web.WebSocketResponse(protocols=("media",))
        await socket.prepare(request)
        await self.handlers.pop(0)(self, socket)
        await socket.close()
        return socket

    async def take(self, socket: web.WebSocketResponse, until: Callable[[Message], bool]) -> None:
        """Take messages until one fits, or the socket closes."""
        async for message in socket:
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                break
            is_text = message.type is aiohttp.WSMsgType.TEXT
            self.received.append(json.loads(message.data) if is_text else message.data)
            if until(self.received[-1]):
                break

    async def play(self, socket: web.WebSocketResponse, audio: bytes) -> None:
        """Send audio in frames."""
        size = self.rate_hz // 50 * 2
        for at in range(0, len(audio), size):
            await socket.send_bytes(audio[at : at + size].ljust(size, b"\0"))

    async def notify(self, socket: web.WebSocketResponse, name: str) -> None:
        await socket.send_str(json.dumps({"action": "notify", "payload": {"name": name}}))

    def frames(self) -> list[bytes]:
        return [message for message in self.received if isinstance(message, bytes)]

    def texts(self, event: str) -> list[dict[str, Any]]:
        found = [message for message in self.received if isinstance(message, dict)]
        return [message for message in found if message["event"] == event]

    def statuses(self, leg: str) -> list[str]:
        """Events of a leg, ``phone`` or ``socket``, in order."""
        return [event["status"] for event in self.events if event["to"].startswith("ws") == (leg == "socket")]


def proven(request: web.Request) -> dict[str, Any]:
    """Claims of a request's token, which the library verifies; raises when it is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    assert scheme == "Bearer"
    claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"], issuer="Vonage")
    return claims


@asynccontextmanager
async def serving(stand_in: StandIn) -> AsyncIterator[StandIn]:
    app = web.Application()
    app.router.add_get("/media/{token}", stand_in.media)
    app.router.add_route("*", "/{path:.*}", stand_in.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand_in.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield stand_in
    finally:
        await runner.cleanup()


def is_answer_to(name: str) -> Callable[[Message], bool]:
    return lambda message: (
        isinstance(message, dict)
        and message["event"] == "websocket:notify"
        and message["payload"] == {"name": name}
    )


def is_event(event: str) -> Callable[[Message], bool]:
    return lambda message: isinstance(message, dict) and message["event"] == event


def never(_message: Message) -> bool:
    return False


async def greet_and_close(gateway: StandIn, socket: web.WebSocketResponse) -> None:
    await gateway.play(socket, tone(500, gateway.rate_hz))
    await gateway.notify(socket, "said")
    await gateway.take(socket, is_answer_to("said"))


async def greet_and_listen(gateway: StandIn, socket: web.WebSocketResponse) -> None:
    await gateway.play(socket, tone(500, gateway.rate_hz))
    await gateway.take(socket, never)
