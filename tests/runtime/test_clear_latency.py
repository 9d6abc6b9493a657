import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from fakes import Street, no_task_left, soon, twilio_codec, until
from serving import start_stream

from gateway.agents.voice_agent import VoiceAgentCodec
from gateway.audio import MULAW_8K
from gateway.contracts import AgentCall, Dial
from gateway.events import CallerLeft
from gateway.runtime.legs import LegBounds, WebSocketLeg
from gateway.settings import RegionSettings

RUNS = 200
LIMIT_MS = 10.0
SPEECH = "".join(["fwBA"] * 40)
"""Some loud mu-law, as base64."""


class Provider:
    """An agent elsewhere, spoken to over a socket."""

    def __init__(self) -> None:
        self.socket: web.WebSocketResponse | None = None
        self.is_ready = False

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.socket = web.WebSocketResponse(compress=False)
        await self.socket.prepare(request)
        async for message in self.socket:
            if '"session.update"' in message.data:
                await self.say("session.ready", session_id="s")
                self.is_ready = True
            if '"session.end"' in message.data:
                await self.say("session.ended")
                break
        return self.socket

    async def say(self, kind: str, **fields: Any) -> None:
        assert self.socket is not None
        await self.socket.send_str(msgspec.json.encode({"type": kind, **fields}).decode())


@asynccontextmanager
async def phone_call() -> AsyncIterator[tuple[aiohttp.ClientWebSocketResponse, Provider]]:
    """A phone call between a carrier's socket and a provider's, both on loopback."""
    provider = Provider()
    places: list[str] = []

    def plan(call: AgentCall) -> Dial:
        return Dial(f"{places[0]}/agent", {}, VoiceAgentCodec(call), MULAW_8K)

    def street() -> Street:
        return Street(plan=plan, regions={"us": RegionSettings(voice_agent=f"{places[0]}/agent")})

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        here = street()
        async with here.dialler, asyncio.TaskGroup() as group:
            runner = here.runner()
            group.create_task(runner.run())
            await runner.serve(WebSocketLeg(socket, twilio_codec(), bounds=LegBounds(close_s=1)))
            runner.offer(CallerLeft("the test is over"))
        return socket

    app = web.Application()
    app.router.add_get("/agent", provider.handle)
    app.router.add_get("/media", serve)
    server = web.AppRunner(app, shutdown_timeout=5)
    with no_task_left():
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        places.append(f"ws://127.0.0.1:{server.addresses[0][1]}")
        try:
            async with aiohttp.ClientSession() as http, http.ws_connect(f"{places[0]}/media") as carrier:
                for message in start_stream():
                    await carrier.send_str(message)
                await until(lambda: provider.is_ready)
                yield carrier, provider
        finally:
            await server.cleanup()
        await soon()


async def test_clear_at_once() -> None:
    """From the agent's signal to the carrier's clear it takes less than 10 ms in 99 of 100 interruptions."""
    times_ms = []
    async with phone_call() as (carrier, provider):
        for number in range(RUNS):
            await provider.say("reply.started", reply_id=f"r{number}")
            for _ in range(50):
                await provider.say("reply.audio", reply_id=f"r{number}", data=SPEECH)
            while "media" not in (await carrier.receive_str(timeout=5)):
                pass
            begin = time.perf_counter()
            await provider.say("input.speech.started")
            while '"clear"' not in (await carrier.receive_str(timeout=5)):
                pass
            times_ms.append((time.perf_counter() - begin) * 1000)
            await provider.say("reply.done", reply_id=f"r{number}", status="interrupted")
    times_ms.sort()
    p50, p99 = times_ms[RUNS // 2], times_ms[RUNS * 99 // 100]
    print(f"signal to clear over {RUNS} interruptions: p50 {p50:.2f} ms, p99 {p99:.2f} ms")  # noqa: T201 - a figure
    assert p99 < LIMIT_MS
