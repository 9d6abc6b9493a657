"""The comparator: the least that a relay between Twilio and the Voice Agent API can do with the same libraries.

Owns one hop: aiohttp's server, aiohttp's client, uvloop and msgspec; sound from one side to the other and nothing
else. No turns, no clears, no marks, no journal, no resuming; it is a floor, not a product. Run it as
``python -m gateway.simulate.load.relay ws://127.0.0.1:PORT/v1/ws``; it prints its address.
"""

import asyncio
import socket
import sys

import aiohttp
import msgspec
import uvloop
from aiohttp import web


class _Sound(msgspec.Struct):
    payload: str


class _Begin(msgspec.Struct, rename="camel"):
    stream_sid: str


class _FromCarrier(msgspec.Struct):
    event: str
    media: _Sound | None = None
    start: _Begin | None = None


class _ToAgent(msgspec.Struct, tag_field="type", tag="input.audio"):
    audio: str


class _FromAgent(msgspec.Struct):
    type: str
    data: str = ""


class _ToCarrier(msgspec.Struct, tag_field="event", tag="media", rename="camel"):
    stream_sid: str
    media: _Sound


_CARRIER = msgspec.json.Decoder(_FromCarrier)
_AGENT = msgspec.json.Decoder(_FromAgent)
_ENCODER = msgspec.json.Encoder()
_UPDATE = (
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
            await agent.send_str(_UPDATE)
            stream_sid = ""
            async with asyncio.TaskGroup() as group:
                answers: asyncio.Task[None] | None = None
                async for message in carrier:
                    got = _CARRIER.decode(message.data)
                    if got.media is not None:
                        await agent.send_str(_ENCODER.encode(_ToAgent(got.media.payload)).decode())
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
        got = _AGENT.decode(message.data)
        if got.type == "reply.audio":
            await carrier.send_str(_ENCODER.encode(_ToCarrier(stream_sid, _Sound(got.data))).decode())


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")


async def serve(agent_url: str) -> None:
    """Relay until cancelled; prints the address first."""
    connector = aiohttp.TCPConnector(limit=0)  # it would stop at 100 connections
    async with aiohttp.ClientSession(connector=connector) as client:
        app = web.Application()
        app.add_routes([web.get("/", Relay(agent_url, client).handle), web.get("/healthz", _alive)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
        await web.SockSite(runner, bound, backlog=1024).start()
        print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)  # noqa: T201 - whoever started it reads this
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
