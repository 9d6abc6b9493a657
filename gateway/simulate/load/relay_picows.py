"""The bare relay on picows, towards the agent or on both sides: what another library costs under the same work.

Owns the same hop as `relay`, and of what picows leaves to its users as much as the load generator needs: no fragments,
no checks, no bound on what waits to be sent. Refuses to be a product. Run it as
``python -m gateway.simulate.load.relay_picows --sides agent|both ws://127.0.0.1:PORT/v1/ws``; it prints the address
of its socket and that of its health page, which with picows towards the caller is on a port of its own.
"""

import argparse
import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Final

import uvloop
from aiohttp import WSMsgType, web
from picows import WSFrame, WSHandshakeError, WSListener, WSTransport, WSUpgradeRequest, ws_connect
from picows import WSMsgType as PicowsType
from picows import ws_create_server as create_server

from gateway.simulate.load.relay import (
    AGENT,
    CARRIER,
    ENCODER,
    UPDATE,
    Sound,
    ToAgent,
    ToCarrier,
    listening,
)

_TEXT: Final = PicowsType.TEXT
_CLOSE: Final = PicowsType.CLOSE


class AgentSide(WSListener):
    """An agent's session; ``say`` is given what the carrier shall hear."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say
        self.stream_sid = ""
        """The carrier's stream; nothing is said before it is known."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Ask for the formats of a telephone."""
        transport.send(_TEXT, UPDATE.encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass sound on."""
        if frame.msg_type is _TEXT:
            got = AGENT.decode(frame.get_payload_as_memoryview())
            if got.type == "reply.audio" and self.stream_sid:
                self._say(ENCODER.encode(ToCarrier(self.stream_sid, Sound(got.data))))
        elif frame.msg_type is _CLOSE:
            _close(transport)


class Dialler:
    """Opens agents."""

    def __init__(self, agent_url: str) -> None:
        self._url = agent_url
        # made once: picows would read the authorities anew for each call
        self._tls = ssl.create_default_context() if agent_url.startswith("wss:") else None

    async def open(self, side: AgentSide) -> WSTransport:
        """Open one; raises OSError or WSHandshakeError."""
        transport, _ = await ws_connect(lambda: side, self._url, ssl_context=self._tls)
        return transport


class CallerSide(WSListener):
    """A caller's media stream, unread until its agent is there; ``begin`` is given what dials it."""

    def __init__(self, dialler: Dialler, begin: Callable[[Coroutine[None, None, None]], object]) -> None:
        self._dialler = dialler
        self._begin = begin
        self._side: AgentSide | None = None
        self._agent: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Dial the agent: a carrier says nothing before the upgrade, so nothing is read before it can be passed on."""
        transport.underlying_transport.pause_reading()
        self._begin(self._dial(transport))

    async def _dial(self, transport: WSTransport) -> None:
        self._side = AgentSide(partial(transport.send, _TEXT))
        try:
            self._agent = await self._dialler.open(self._side)
        except (OSError, WSHandshakeError):
            transport.disconnect(graceful=False)
            return
        if transport.is_disconnected:
            _close(self._agent)
        else:
            transport.underlying_transport.resume_reading()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass sound on."""
        if frame.msg_type is _TEXT and self._side is not None and self._agent is not None:
            got = CARRIER.decode(frame.get_payload_as_memoryview())
            if got.media is not None:
                self._agent.send(_TEXT, ENCODER.encode(ToAgent(got.media.payload)))
            elif got.start is not None:
                self._side.stream_sid = got.start.stream_sid
            elif got.event == "stop":
                _close(transport)
        elif frame.msg_type is _CLOSE:
            _close(transport)

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """Let the agent go too."""
        if self._agent is not None:
            _close(self._agent)


def _close(transport: WSTransport) -> None:
    transport.send_close()
    transport.disconnect()


async def handle(dialler: Dialler, request: web.Request) -> web.WebSocketResponse:
    """Serve one call whose caller's side is aiohttp's."""
    carrier = web.WebSocketResponse(compress=False)
    await carrier.prepare(request)

    def say(message: bytes) -> None:
        with suppress(ConnectionError, RuntimeError):  # who reads learns of it too
            # written where it is heard, without a task to wake; what the peer does not read is never waited for
            sending = carrier.send_frame(message, WSMsgType.TEXT)
            with suppress(StopIteration):
                sending.send(None)
            sending.close()

    side = AgentSide(say)
    agent = await dialler.open(side)
    try:
        async for message in carrier:
            got = CARRIER.decode(message.data)
            if got.media is not None:
                agent.send(_TEXT, ENCODER.encode(ToAgent(got.media.payload)))
            elif got.start is not None:
                side.stream_sid = got.start.stream_sid
            elif got.event == "stop":
                break
    finally:
        _close(agent)
    await carrier.close()
    return carrier


async def serve(sides: str, agent_url: str) -> None:
    """Relay until cancelled; prints the addresses first."""
    dialler = Dialler(agent_url)
    if sides == "agent":
        async with listening(web.get("/", partial(handle, dialler))) as place:
            await _rest(place, place)
        return
    async with listening() as health, asyncio.TaskGroup() as group:

        def accept(_request: WSUpgradeRequest) -> WSListener:
            return CallerSide(dialler, group.create_task)

        server = await create_server(accept, "127.0.0.1", 0, backlog=1024)
        try:
            await _rest(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", health)
        finally:
            server.close()


async def _rest(place: str, health: str) -> None:
    print(f"ws://{place}/ http://{health}/healthz", flush=True)  # noqa: T201 - whoever started it reads this
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", choices=("agent", "both"), required=True)
    parser.add_argument("agent_url")
    given = parser.parse_args()
    uvloop.run(serve(given.sides, given.agent_url))
