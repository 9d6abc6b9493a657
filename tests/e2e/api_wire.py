"""A client of the Voice Agent API that keeps every message, and gateways for it with real agents behind them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from live_gateway import live_gateway
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.runtime.offline_session import OfflineSettings
from gateway.simulate.provider import Provider

Message = dict[str, Any]
LIMIT_S = 20.0
BEHIND = ("here", "near")
"""Where the agent is: in the gateway's process, or at a provider that the gateway dials."""
QUICK = OfflineSettings(reply_delay_s=0, reply_silence_ms=20, greeting_silence_ms=20, wrong_rate_close_s=0.1)
CONFIGURATION = """
server: {{port: 0, admin_port: 0}}
regions: {{near: {{voice_agent: "{provider}"}}}}
agents:
  here: {{kind: offline, tools: []}}
  near: {{kind: voice_agent, region: near, api_key: any, session: {{greeting: Hello.}}}}
routes:
  - {{name: near, match: {{callee: [near]}}, agent: near, client_may: {may}}}
  - {{name: here, agent: here, client_may: {may}}}
adapters: {{browser: {{}}}}
{more}
"""
EVERYTHING = "[system_prompt, greeting, tools, input, output, agent_id]"


class Wire:
    """One socket of a client; every message is kept in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[Message] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def read(self) -> Message | None:
        """The next message; None when the socket was closed."""
        try:
            async with asyncio.timeout(LIMIT_S):
                message: Message = json.loads(await self.socket.recv())
        except ConnectionClosed:
            return None
        self.seen.append(message)
        return message

    async def until(self, kind: str, fits: Callable[[Message], bool] = lambda _: True) -> Message:
        """Read up to a message of a kind that fits."""
        while (message := await self.read()) is not None:
            if message["type"] == kind and fits(message):
                return message
        raise AssertionError(f"closed with {self.socket.close_code} before {kind}: {self.kinds}")

    async def closed(self) -> int | None:
        """Read to the end; gives the close code."""
        while await self.read() is not None:
            pass
        return self.socket.close_code

    async def begin(self, **session: Any) -> Message:
        """Begin a session, and hear its greeting out; gives `session.ready`."""
        await self.send("session.update", session=session)
        ready = await self.until("session.ready")
        await self.until("reply.done")
        return ready

    async def ask(self, instructions: str) -> Message:
        """Ask for a reply and hear it out; gives its `reply.done`."""
        await self.send("reply.create", instructions=instructions)
        return await self.until("reply.done")

    @property
    def kinds(self) -> list[str]:
        """Types of all messages but sound."""
        return [message["type"] for message in self.seen if message["type"] != "reply.audio"]

    def of(self, kind: str) -> list[Message]:
        """All messages of a kind."""
        return [message for message in self.seen if message["type"] == kind]

    def sound(self, reply_id: str) -> bytes:
        """The sound of a reply so far."""
        pieces = (piece for piece in self.of("reply.audio") if piece["reply_id"] == reply_id)
        return b"".join(base64.b64decode(piece["data"]) for piece in pieces)

    def drop(self) -> None:
        """Break the connection without a word."""
        self.socket.transport.abort()


class Place:
    """A gateway, and the provider behind it."""

    def __init__(self, url: str, provider: Provider | None) -> None:
        self.url = url
        self._provider = provider

    @property
    def provider(self) -> Provider:
        assert self._provider is not None
        return self._provider

    @asynccontextmanager
    async def client(self, behind: str = "here") -> AsyncIterator[Wire]:
        """A client of the gateway's agent here or near, or of the provider itself."""
        at_provider = behind == "provider"
        url = (
            self.provider.url if at_provider else f"{self.url.replace('http', 'ws', 1)}/v1/ws?callee={behind}"
        )
        async with connect(url, max_size=None, proxy=None, close_timeout=1) as socket:
            yield Wire(socket)


@asynccontextmanager
async def place(*, may: str = EVERYTHING, agent: str = "", more: str = "") -> AsyncIterator[Place]:
    """Serve a gateway; ``near`` is a provider that hears nothing said, or the agent at an address."""
    async with AsyncExitStack() as stack:
        provider = None if agent else await stack.enter_async_context(Provider(settings=QUICK))
        url = agent or (provider.url if provider else "")
        live = await stack.enter_async_context(
            live_gateway(CONFIGURATION.format(provider=url, may=may, more=more))
        )
        yield Place(live.url, provider)
