"""A gateway of which a test plays every message, behind the real playground."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web

from gateway.adapters.browser import BrowserSettings
from gateway.server.playground import Playground
from gateway.settings import AccessSettings, KeySettings, Secret, Settings

LIMIT_S = 30.0
PIECE_MS = 20
PIECE_BYTES = 48 * PIECE_MS
LEAD_S = 0.25
WORD_MS = 150
KEYS = AccessSettings(keys=(KeySettings(name="site", key=(Secret("k1"),), may=("connect", "tokens")),))


class Socket:
    """One connection of the page; the test says what the gateway says."""

    def __init__(self, socket: web.WebSocketResponse, query: dict[str, str]) -> None:
        self.query = query
        self.received: list[dict[str, Any]] = []
        self.sound = bytearray()
        self._socket = socket
        self._news = asyncio.Condition()
        self._transport: Any = None
        self.closed = asyncio.Event()

    async def listen(self, request: web.Request) -> None:
        self._transport = request.transport
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            told = json.loads(message.data)
            if told["type"] == "input.audio":
                self.sound += base64.b64decode(told["audio"])
            async with self._news:
                self.received.append(told)
                self._news.notify_all()
        self.closed.set()

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait until the page has said this; what it said before counts, and is taken."""
        async with asyncio.timeout(LIMIT_S), self._news:
            while True:
                for place, told in enumerate(self.received):
                    if told["type"] == kind and fields.items() <= told.items():
                        del self.received[: place + 1]
                        return told
                await self._news.wait()

    async def say(self, kind: str, **fields: Any) -> None:
        await self._socket.send_str(json.dumps({"type": kind, "timestamp": time.time(), **fields}))

    async def ready(self, **config: Any) -> None:
        """Answer the first message: the session is there."""
        await self.say("session.updated", config=config)
        await self.say(
            "session.ready", session_id="sess_1", config=config, expires_at=0, resume_token="come-back"
        )

    async def begin(self) -> None:
        """Take the call."""
        await self.until("session.update")
        await self.ready()

    async def words(self, reply_id: str, text: str, *, from_ms: int = 0, each_ms: int = WORD_MS) -> None:
        """Begin a reply and give its words with their times."""
        await self.say("reply.started", reply_id=reply_id)
        for place, word in enumerate(text.split()):
            start_ms = from_ms + place * each_ms
            await self.say(
                "transcript.agent.delta",
                reply_id=reply_id,
                delta=word,
                start_ms=start_ms,
                end_ms=start_ms + each_ms,
            )

    async def play(
        self, reply_id: str, audio: bytes, *, lead_s: float = LEAD_S, burst_ms: int = PIECE_MS
    ) -> None:
        """Send sound at its pace, so far ahead, so much at a time."""
        began = time.monotonic()
        for at in range(0, len(audio), PIECE_BYTES):
            due = began + at // (48 * burst_ms) * burst_ms / 1000 - lead_s
            if (wait_s := due - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            if self.closed.is_set():
                return
            data = base64.b64encode(audio[at : at + PIECE_BYTES]).decode()
            await self.say("reply.audio", reply_id=reply_id, data=data)

    async def reply(self, reply_id: str, text: str, *, audio: bytes | None = None) -> None:
        """Say a whole reply and that it is done."""
        await self.words(reply_id, text)
        await self.play(reply_id, tone(len(text.split()) * WORD_MS) if audio is None else audio)
        await self.say("transcript.agent", reply_id=reply_id, text=text, interrupted=False)
        await self.say("reply.done", reply_id=reply_id, status="completed")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._socket.close(code=code, message=reason.encode())

    def break_off(self) -> None:
        """Let the connection drop without a word."""
        self._transport.abort()


class Stage:
    """The gateway; `socket` waits for the page's next connection."""

    def __init__(self) -> None:
        self.url = ""
        self.refuses: tuple[str, str] | None = None
        """Code and message with which every connection is turned away."""
        self.is_down = False
        """Whether its sockets cannot be opened at all."""
        self._sockets: asyncio.Queue[Socket] = asyncio.Queue()

    async def socket(self) -> Socket:
        async with asyncio.timeout(LIMIT_S):
            return await self._sockets.get()

    async def attend(self, request: web.Request) -> web.StreamResponse:
        if self.is_down:
            return web.Response(status=502)
        response = web.WebSocketResponse(timeout=1)
        await response.prepare(request)
        socket = Socket(response, dict(request.query))
        if self.refuses:
            code, message = self.refuses
            await socket.say("session.error", code=code, message=message, session_id=None, param=None)
            await socket.close(1008, code)
            return response
        await self._sockets.put(socket)
        await socket.listen(request)
        return response


@asynccontextmanager
async def stage(
    *, is_local: bool = True, adapters: tuple[str, ...] = ("browser",), **sections: Any
) -> AsyncIterator[Stage]:
    """Serve the playground, and a socket that does what the test says."""
    made = Stage()
    settings = Settings(adapters={"browser": BrowserSettings()}, **sections)
    app = web.Application()
    app.add_routes(Playground(settings, adapters, lambda _request: is_local).routes())
    app.add_routes([web.get("/v1/ws/browser", made.attend)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


def tone(ms: float, hz: float = 440) -> bytes:
    """A steady tone, PCM at 24 kHz."""
    at = np.arange(int(ms * 24))
    return (np.sin(2 * np.pi * hz * at / 24_000) * 8000).astype("<i2").tobytes()
