"""Agents of the abuse suite, written by hand: a good one that answers a question, and the tools to make bad ones."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

from handmade import HandMade, frame, read_upgrade

QUESTION = bytes(range(0x20, 0x70)) * 2
"""Twenty milliseconds of mu-law that only a caller of this suite says."""
ANSWER = bytes(range(0x30, 0x80)) * 4
"""Forty milliseconds of mu-law that only an agent of this suite says."""
GREETING = bytes(range(0x10, 0x60)) * 4
SPEECH = bytes(0x20 + at * 7 % 64 for at in range(8000))
"""A second of mu-law that can be heard."""
FRAME_BYTES = 160
LONGEST_READ = 65_536
"""What is longer came from a caller who abuses us, through the gateway, and need not be understood."""


class AgentPeer(HandMade):
    """One connection of the gateway to an agent of ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        super().__init__(reader, writer, is_client=False)
        self.number = number
        """In the order of connections to this agent, from 0."""
        self.is_again = False
        """Whether this call has been connected to this agent before."""
        self.session: dict[str, Any] = {}
        """The session that the gateway asked for."""
        self.told: list[dict[str, Any]] = []
        """Everything but sound that the gateway said."""
        self.questions = 0
        """How often the question was heard and not answered yet."""
        self.answers_end = True
        """Whether `session.end` is answered."""
        self._tail = b""
        self._replies = 0
        self.listener(self._hear)

    def tell(self, kind: str, **fields: Any) -> None:
        """Say an event, without waiting."""
        self.write(self.frame(json.dumps({"type": kind, **fields})))

    def sound(self, reply_id: str, sound: bytes) -> None:
        """Say a piece of a reply."""
        self.tell("reply.audio", reply_id=reply_id, data=base64.b64encode(sound).decode())

    def reply(self, sound: bytes, reply_id: str = "") -> str:
        """Say a whole reply."""
        self._replies += 1
        reply_id = reply_id or f"resp_{self.number}_{self._replies}"
        self.tell("reply.started", reply_id=reply_id)
        for at in range(0, len(sound), FRAME_BYTES):
            self.sound(reply_id, sound[at : at + FRAME_BYTES])
        self.tell("transcript.agent", reply_id=reply_id, text="Yes.", interrupted=False)
        self.tell("reply.done", reply_id=reply_id, status="completed")
        return reply_id

    async def knock(self) -> bytes:
        """Read the upgrade's request, and give the answer that would be right."""
        return await read_upgrade(self._reader)

    async def begin(self) -> bool:
        """Take the upgrade and wait for the first message; False when none comes."""
        self.write(await self.knock())
        self.listen()
        return await self.until(lambda: self.told, 5)

    def ready(self) -> None:
        """Say that the session is ready."""
        self.tell("session.updated", config=self.session)
        self.tell("session.ready", session_id=f"sess_{self.number}", config=self.session, resume_token="t")

    async def go_on(self) -> None:
        """Be good from here on: answer each question, until the gateway has gone."""
        while not self.is_over:
            await self.until(lambda: self.questions or self.is_over, 3600)
            if self.questions:
                self.questions = 0
                self.reply(ANSWER)
                await self.drain()

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        """What the gateway said of a kind."""
        return [message for message in self.told if message.get("type") == kind]

    def _hear(self, message: str | bytes) -> None:
        if len(message) > LONGEST_READ:
            return
        read = json.loads(message)
        if read["type"] == "input.audio":
            sound = base64.b64decode(read["audio"])
            heard = self._tail + sound
            self.questions += heard.count(QUESTION)
            self._tail = heard[-len(QUESTION) + 1 :] if not heard.endswith(QUESTION) else b""
            return
        self.told.append(read)
        if read["type"] == "session.update" and not self.session:
            self.session = read.get("session", {})
        if read["type"] == "session.end" and self.answers_end:
            self.tell("session.ended")
            self.write(self.frame((1000).to_bytes(2, "big"), 8))


def raw(message: str | bytes) -> bytes:
    """Write a message as agents do, unmasked."""
    return frame(message, mask=None)


def text(kind: str, *, sound: bytes | None = None, **fields: Any) -> bytes:
    """Write an event, perhaps with sound in it."""
    data = {} if sound is None else {"data": base64.b64encode(sound).decode()}
    return raw(json.dumps({"type": kind, **fields, **data}))


AgentDeed = Callable[[AgentPeer], Awaitable[None]]


async def handy(peer: AgentPeer) -> None:
    """Be good, and have a tool run first."""
    if await peer.begin():
        peer.ready()
        peer.tell("tool.call", call_id="t1", name="drive", arguments={"meters": 1})
        await peer.until(lambda: peer.kinds("tool.result"), 20)
        peer.reply(GREETING)
        await peer.go_on()


async def good(peer: AgentPeer) -> None:
    """Be ready, greet, and answer every question."""
    if await peer.begin():
        peer.ready()
        peer.reply(GREETING)
        await peer.go_on()


def first(deed: AgentDeed) -> AgentDeed:
    """Do this on the first connection of a call, and be good on the next ones."""

    async def attend(peer: AgentPeer) -> None:
        await (good if peer.is_again else deed)(peer)

    return attend


def saying(*frames: bytes) -> AgentDeed:
    """Be ready, say this, and be good from then on."""

    async def deed(peer: AgentPeer) -> None:
        if await peer.begin():
            peer.ready()
            peer.write(b"".join(frames))
            await peer.go_on()

    return deed


class AgentHost:
    """Attends to the connections of one agent, each by the same deed."""

    def __init__(self, deed: AgentDeed) -> None:
        self.peers: list[AgentPeer] = []
        self.before = 0
        """How many of them belong to calls that are over."""
        self.port = 0
        self._deed = deed

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        peer = AgentPeer(reader, writer, len(self.peers))
        peer.is_again = len(self.peers) > self.before
        self.peers.append(peer)
        try:
            await self._deed(peer)
            await peer.ending(30)
        finally:
            await peer.leave()
