"""A stand-in for a gateway, for tests of the simulated Twilio: answers documents, runs a handler per stream."""

import base64
import hashlib
import hmac
import json
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from gateway.audio import MULAW_8K, PCM_8K, convert

TOKEN = "a token for tests"
Handler = Callable[["StandIn", web.WebSocketResponse], Awaitable[None]]


def tone(ms: int) -> bytes:
    samples = (round(8000 * math.sin(2 * math.pi * 440 * at / 8000)) for at in range(8 * ms))
    return convert(array("h", samples).tobytes(), PCM_8K, MULAW_8K)


class StandIn:
    """A gateway that answers with given documents and runs a given handler per stream."""

    def __init__(self, *handlers: Handler) -> None:
        self.handlers = list(handlers)
        self.url = ""
        self.stream_host = ""
        self.voice_document = ""
        self.after_documents: list[str] = ["<Response><Hangup/></Response>"]
        self.requests: list[tuple[str, dict[str, str], bool]] = []
        self.upgrades: list[web.Request] = []
        self.received: list[dict[str, Any]] = []
        self.stream_sid = ""
        self.public_url = ""

    @property
    def connect_document(self) -> str:
        return (
            '<Response><Connect action="/twilio/after"><Stream name="agent" statusCallback="/stream-status" '
            f'url="{self.stream_host}/media/tok"><Parameter name="token" value="tok"/></Stream></Connect></Response>'
        )

    async def answer(self, request: web.Request) -> web.Response:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        signed = (
            (self.public_url or self.url)
            + request.path_qs
            + "".join(k + v for k, v in sorted(fields.items()))
        )
        digest = hmac.new(TOKEN.encode(), signed.encode(), hashlib.sha1).digest()
        proven = request.headers.get("X-Twilio-Signature") == base64.b64encode(digest).decode()
        self.requests.append((request.path, fields, proven))
        if request.path == "/twilio/voice":
            return web.Response(text=self.voice_document or self.connect_document, content_type="text/xml")
        if request.path == "/twilio/after":
            return web.Response(text=self.after_documents.pop(0), content_type="text/xml")
        if request.path == "/refused":
            return web.Response(status=403, text="the signature does not match")
        return web.Response(status=204)

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        self.upgrades.append(request)
        socket = web.WebSocketResponse(protocols=("audio.twilio.com",))
        await socket.prepare(request)
        assert json.loads(await socket.receive_str())["event"] == "connected"
        start = json.loads(await socket.receive_str())
        self.received.append(start)
        self.stream_sid = start["streamSid"]
        await self.handlers.pop(0)(self, socket)
        await socket.close()
        return socket

    async def take(self, socket: web.WebSocketResponse, until: Callable[[dict[str, Any]], bool]) -> None:
        """Take messages until one fits, or the socket closes."""
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            self.received.append(json.loads(message.data))
            if until(self.received[-1]):
                break

    def media(self, audio: bytes) -> str:
        payload = base64.b64encode(audio).decode()
        return json.dumps({"event": "media", "streamSid": self.stream_sid, "media": {"payload": payload}})

    def mark(self, name: str) -> str:
        return json.dumps({"event": "mark", "streamSid": self.stream_sid, "mark": {"name": name}})

    def clear(self) -> str:
        return json.dumps({"event": "clear", "streamSid": self.stream_sid})

    def sent(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["event"] == event]

    def asked(self, path: str) -> list[dict[str, str]]:
        return [fields for asked, fields, _ in self.requests if asked == path]


@asynccontextmanager
async def serving(stand_in: StandIn) -> AsyncIterator[StandIn]:
    app = web.Application()
    app.router.add_get("/media/{token}", stand_in.stream)
    app.router.add_route("*", "/{path:.*}", stand_in.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand_in.url = "http://{}:{}".format(*runner.addresses[0][:2])
    stand_in.stream_host = stand_in.stream_host or stand_in.url.replace("http", "ws")
    try:
        yield stand_in
    finally:
        await runner.cleanup()


def is_mark(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: bool(message["event"] == "mark" and message["mark"]["name"] == name)


def never(_message: dict[str, Any]) -> bool:
    return False


async def greet_and_close(gateway: StandIn, socket: web.WebSocketResponse) -> None:
    await socket.send_str(gateway.media(tone(500)))
    await socket.send_str(gateway.mark("said"))
    await gateway.take(socket, is_mark("said"))


async def greet_and_listen(gateway: StandIn, socket: web.WebSocketResponse) -> None:
    await socket.send_str(gateway.media(tone(500)))
    await gateway.take(socket, never)
