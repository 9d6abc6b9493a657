"""An agent that does what a script says, message by message: a Voice Agent API server written from its reference.

It takes any key, answers `session.update` with `session.updated` and `session.ready`, collects the caller's sound,
and leaves everything else to the script. Sound is mu-law, the format of telephone calls (reference 5.1).
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

CHUNK_MS = 37.5
CHUNK_BYTES = 300
LEAD_MS = 110.0


class Session:
    """One session; the script speaks through it."""

    def __init__(self, socket: ServerConnection, number: int) -> None:
        self.number = number
        """In the order in which sessions began, from 0."""
        self.heard = bytearray()
        """The caller's sound."""
        self.received: list[dict[str, Any]] = []
        """Everything else that came."""
        self.over = asyncio.Event()
        self._socket = socket

    async def send(self, kind: str, **fields: Any) -> float:
        """Send an event; gives the moment at which it was handed to the socket."""
        text = json.dumps({"type": kind, **fields, "timestamp": time.time()})
        sent_at = time.monotonic()
        await self._socket.send(text)
        return sent_at

    async def sound(self, reply_id: str, audio: bytes) -> None:
        """Send a piece of a reply."""
        await self.send("reply.audio", reply_id=reply_id, data=base64.b64encode(audio).decode())

    async def begin(self, reply_id: str, words: list[str], word_ms: int) -> None:
        """Begin a reply, with all of its words in one burst."""
        item_id = f"item-{reply_id}"
        await self.send("reply.started", reply_id=reply_id, item_id=item_id)
        for place, word in enumerate(words):
            await self.send(
                "transcript.agent.delta",
                reply_id=reply_id,
                item_id=item_id,
                delta=word,
                start_ms=place * word_ms,
                end_ms=(place + 1) * word_ms,
            )

    async def end(self, reply_id: str, text: str, *, interrupted: bool = False) -> None:
        """Send the final text of a reply, and its end."""
        ids = {"reply_id": reply_id, "item_id": f"item-{reply_id}"}
        await self.send("transcript.agent", **ids, text=text, interrupted=interrupted)
        status = "interrupted" if interrupted else "completed"
        await self.send("reply.done", reply_id=reply_id, status=status)

    async def listen(self) -> None:
        """Take what the gateway sends until it ends the session."""
        async for text in self._socket:
            message = json.loads(text)
            if message["type"] == "input.audio":
                self.heard += base64.b64decode(message["audio"])
                continue
            self.received.append(message)
            if message["type"] == "session.end":
                self.over.set()
                await self.send("session.ended")
                return


Script = Callable[[Session], Awaitable[None]]


@asynccontextmanager
async def scripted_agent(script: Script) -> AsyncIterator[str]:
    """Serve the script to every session; gives the address to dial."""
    begun = 0

    async def attend(socket: ServerConnection) -> None:
        nonlocal begun
        try:
            first = json.loads(await socket.recv())
            session = Session(socket, begun)
            begun += 1
            session.received.append(first)
            ids = {"session_id": f"sess_{session.number}", "config": first["session"]}
            await session.send("session.updated", config=first["session"])
            await session.send("session.ready", **ids, expires_at=0, resume_token="token")
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(_tell(script, session))
                await session.listen()
                telling.cancel()
        except* ConnectionClosed:
            pass

    async with serve(attend, "127.0.0.1", 0, compression=None, max_size=1 << 20) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v1/ws"


async def _tell(script: Script, session: Session) -> None:
    try:
        await script(session)
    except ConnectionClosed:
        return
