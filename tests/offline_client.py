"""A client of one offline session, for tests: sends dicts, waits for events by type."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

from gateway.runtime.offline_session import OfflineSession

Message = dict[str, Any]
PCMU = {"encoding": "audio/pcmu"}
TELEPHONE: Message = {"input": {"format": PCMU}, "output": {"format": PCMU}}


def tool(name: str, **more: Any) -> Message:
    return {"type": "function", "name": name, **more}


class Client:
    """Everything that came is in ``seen``; ``until`` reads on."""

    def __init__(self, session: OfflineSession, within_s: float = 15) -> None:
        self.session = session
        self.seen: list[Message] = []
        self._within_s = within_s

    async def send(self, kind: str, **fields: Any) -> None:
        await self.session.receive(json.dumps({"type": kind, **fields}))

    async def begin(self, **session: Any) -> Message:
        await self.send("session.update", session=session)
        return await self.until("session.ready")

    async def say(self, audio: bytes, frame_bytes: int = 160) -> None:
        for at in range(0, len(audio), frame_bytes):
            await self.send("input.audio", audio=base64.b64encode(audio[at : at + frame_bytes]).decode())

    async def until(self, kind: str, fits: Callable[[Message], bool] = lambda _: True) -> Message:
        """Read up to an event.

        Raises:
            AssertionError: when the session ended before it came.
        """
        async with asyncio.timeout(self._within_s):
            async for text in self.session:
                self.seen.append(json.loads(text))
                if self.seen[-1]["type"] == kind and fits(self.seen[-1]):
                    return self.seen[-1]
        raise AssertionError(
            f"no {kind} came; the last were {self.types()[-8:]}, close {self.session.close_code}"
        )

    async def rest(self) -> list[Message]:
        """Read to the end."""
        async with asyncio.timeout(self._within_s):
            self.seen += [json.loads(text) async for text in self.session]
        return self.seen

    def types(self) -> list[str]:
        """What came, with runs of the same event as one."""
        kinds = [message["type"] for message in self.seen]
        return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]

    def sound(self, reply_id: str) -> bytes:
        return b"".join(
            base64.b64decode(message["data"])
            for message in self.seen
            if message["type"] == "reply.audio" and message["reply_id"] == reply_id
        )

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.seen if message["type"] == kind]
