"""An agent that says what a check wants: a server of the Voice Agent API, written from its reference.

Owns its sockets and what it has heard. Takes any key, answers `session.update` with `session.updated` and
`session.ready`, and leaves everything else to the check.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat

FORMATS: Final = {"audio/pcm": PCM_24K, "audio/pcmu": MULAW_8K, "audio/pcma": ALAW_8K}
PIECE_MS: Final = 37.5
_MOST_TEXTS: Final = 1000


class Session:
    """One session; the check speaks through it."""

    def __init__(self, socket: ServerConnection, asked: dict[str, Any]) -> None:
        self.heard = bytearray()
        """The caller's sound."""
        self.received: list[dict[str, Any]] = []
        """Everything else that came; the first thousand."""
        self.over = asyncio.Event()
        """Set when the gateway has ended the session, or is gone."""
        self.hears = _format(asked, "input")
        """Format of the caller's sound."""
        self.speaks = _format(asked, "output")
        """Format of the agent's."""
        self.asked = asked
        """The configuration that the gateway asked for."""
        self._socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        try:
            await self._socket.send(json.dumps({"type": kind, **fields, "timestamp": time.time()}))
        except ConnectionClosed:
            return

    async def begin_reply(self, reply_id: str) -> None:
        """Begin a reply."""
        await self.send("reply.started", reply_id=reply_id, item_id=f"item-{reply_id}")

    async def sound(self, reply_id: str, audio: bytes) -> None:
        """Send sound of a reply, at once, in pieces such as the provider's."""
        size = self.speaks.frame_bytes(PIECE_MS)
        for at in range(0, len(audio), size):
            data = base64.b64encode(audio[at : at + size]).decode()
            await self.send("reply.audio", reply_id=reply_id, data=data)

    async def end_reply(self, reply_id: str, *, interrupted: bool = False) -> None:
        """End a reply."""
        words = {"text": "Yes.", "interrupted": interrupted, "item_id": f"item-{reply_id}"}
        await self.send("transcript.agent", reply_id=reply_id, **words)
        await self.send("reply.done", reply_id=reply_id, status="interrupted" if interrupted else "completed")

    async def say(self, reply_id: str, audio: bytes) -> None:
        """Send a whole reply at once."""
        await self.begin_reply(reply_id)
        await self.sound(reply_id, audio)
        await self.end_reply(reply_id)

    async def interrupt(self, reply_id: str) -> None:
        """Hear the caller speak over a reply, and break it off."""
        await self.send("input.speech.started")
        await self.end_reply(reply_id, interrupted=True)
        await self.send("input.speech.stopped")

    async def listen(self) -> None:
        """Take what the gateway sends until it ends the session."""
        async for text in self._socket:
            message = json.loads(text)
            if message["type"] == "input.audio":
                self.heard += base64.b64decode(message["audio"])
                continue
            if len(self.received) < _MOST_TEXTS:
                self.received.append(message)
            if message["type"] == "session.end":
                await self.send("session.ended", session_duration_seconds=1.0, audio_duration_seconds=None)
                return


class Agent:
    """All sessions of one agent, oldest first."""

    def __init__(self) -> None:
        self.url = ""
        """Where to dial."""
        self.sessions: list[Session] = []

    async def attend(self, socket: ServerConnection) -> None:
        """Take one connection of the gateway."""
        session: Session | None = None
        try:
            first = json.loads(await socket.recv())
            session = Session(socket, first.get("session", {}))
            number = len(self.sessions)
            self.sessions.append(session)
            await session.send("session.updated", config=session.asked)
            ids = {"session_id": f"sess_{number}", "resume_token": "token", "expires_at": 0}
            await session.send("session.ready", **ids, config=session.asked)
            await session.listen()
        except ConnectionClosed:
            pass
        finally:
            if session is not None:
                session.over.set()


@asynccontextmanager
async def scripted_agent() -> AsyncIterator[Agent]:
    """Serve an agent on a free port of this machine."""
    agent = Agent()
    async with serve(agent.attend, "127.0.0.1", 0, compression=None, max_size=1 << 20) as server:
        agent.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/ws"
        yield agent


def _format(asked: dict[str, Any], side: str) -> AudioFormat:
    form = (asked.get(side) or {}).get("format") or {}
    return FORMATS.get(form.get("encoding", "audio/pcm"), PCM_24K)
