"""The comparator: the least that a relay between Twilio and the Voice Agent API can do with the same libraries.

Owns one hop: aiohttp's server, aiohttp's client, uvloop and msgspec; sound from one side to the other and nothing
else. No turns, no clears, no marks, no journal, no resuming; it is a floor, not a product. Run it as
``python -m gateway.simulate.load.relay ws://127.0.0.1:PORT/v1/ws``; it prints the address of its socket and that of
its health page.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import uvloop
from aiohttp import web


class Sound(msgspec.Struct):
    """Sound of either way of the carrier."""

    payload: str


class Begin(msgspec.Struct, rename="camel"):
    """What is needed of the carrier's ``start``."""

    stream_sid: str


class FromCarrier(msgspec.Struct):
    """What is needed of any message of the carrier."""

    event: str
    media: Sound | None = None
    start: Begin | None = None


class ToAgent(msgspec.Struct, tag_field="type", tag="input.audio"):
    """Sound for the agent."""

    audio: str


class FromAgent(msgspec.Struct):
    """What is needed of any message of the agent."""

    type: str
    data: str = ""


class ToCarrier(msgspec.Struct, tag_field="event", tag="media", rename="camel"):
    """Sound for the carrier."""

    stream_sid: str
    media: Sound


CARRIER = msgspec.json.Decoder(FromCarrier)
AGENT = msgspec.json.Decoder(FromAgent)
ENCODER = msgspec.json.Encoder()
UPDATE = (
    '{"type":"session.update","session":{"system_prompt":"You answer the phone.",'
    '"input":{"type":"audio","format":{"encoding":"audio/pcmu"}},'
    '"output":{"type":"audio","format":{"encoding":"audio/pcmu"}}}}'
)


class Relay:
    """Forwards each media socket to an agent's session of its own."""

    def __init__(self, agent_url: str, client: aiohttp.ClientSession) -> None:
        self._agent_url = agent_url
        self._client = client

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one call."""
        carrier = web.WebSocketResponse(compress=False)
        await carrier.prepare(request)
        async with self._client.ws_connect(self._agent_url, compress=0) as agent:
            await agent.send_str(UPDATE)
            stream_sid = ""
            async with asyncio.TaskGroup() as group:
                answers: asyncio.Task[None] | None = None
                async for message in carrier:
                    got = CARRIER.decode(message.data)
                    if got.media is not None:
                        await agent.send_str(ENCODER.encode(ToAgent(got.media.payload)).decode())
                    elif got.start is not None:
                        stream_sid = got.start.stream_sid
                        answers = group.create_task(_answer(agent, carrier, stream_sid))
                    elif got.event == "stop":
                        break
                if answers is not None:
                    answers.cancel()
        await carrier.close()
        return carrier


async def _answer(
    agent: aiohttp.ClientWebSocketResponse, carrier: web.WebSocketResponse, stream_sid: str
) -> None:
    async for message in agent:
        got = AGENT.decode(message.data)
        if got.type == "reply.audio":
            await carrier.send_str(ENCODER.encode(ToCarrier(stream_sid, Sound(got.data))).decode())


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")


@asynccontextmanager
async def listening(*routes: web.RouteDef) -> AsyncIterator[str]:
    """Serve these and a health page on a free port, for the length of an ``async with``; gives host and port."""
    app = web.Application()
    app.add_routes([*routes, web.get("/healthz", _alive)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
        await web.SockSite(runner, bound, backlog=1024).start()
        yield f"127.0.0.1:{bound.getsockname()[1]}"
    finally:
        await runner.cleanup()


async def serve(agent_url: str) -> None:
    """Relay until cancelled; prints the addresses first."""
    connector = aiohttp.TCPConnector(limit=0)  # it would stop at 100 connections
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        listening(web.get("/", Relay(agent_url, client).handle)) as place,
    ):
        print(f"ws://{place}/ http://{place}/healthz", flush=True)  # noqa: T201 - whoever started it reads this
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
