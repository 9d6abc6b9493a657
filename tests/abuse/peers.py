"""Callers of the abuse suite: a peer of any dialect that can be good, bad, and then good again."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final

from dialect import Dialect, Message, Way
from fault_proxy import FaultProxy
from ground import Ground
from handmade import Ending, HandMade, dial, frame
from hosts import ANSWER, GREETING, QUESTION

WIRE_ERRORS: Final = 10
"""Unreadable messages in a row after which a connection is closed; the gateway's default."""
HEARD_WITHIN_S: Final = 20.0
MOST_HEARD_BYTES: Final = 1 << 20


class Peer:
    """One caller; its numbers are its own, so that what it leaves behind can be found."""

    def __init__(self, ground: Ground, dialect: Dialect, caller: str, callee: str = "good") -> None:
        self.ground = ground
        self.dialect = dialect
        self.caller = caller
        self.callee = callee
        self.way = Way("")
        self.sockets: list[HandMade] = []
        self.heard = bytearray()
        """Sound that came since the question was asked, the newest."""
        self.ever_heard = bytearray()
        """All sound that came, the first megabyte of it."""
        self.heard_at: list[tuple[float, int]] = []
        """When sound came, and how much of it."""
        self.answers_marks = True
        """Whether it says what it has played, between its other messages."""
        self._dry_at = 0.0  # when everything that came has been played
        self._proxy: FaultProxy | None = None
        self._stays = AsyncExitStack()

    @property
    def socket(self) -> HandMade:
        """The newest connection."""
        return self.sockets[-1]

    @property
    def ports(self) -> set[int]:
        """Where its connections come from, as the gateway sees it."""
        if self._proxy is None:
            return {socket.port for socket in self.sockets}
        ways = [one.to_server.writer.get_extra_info("sockname") for one in self._proxy.carried]
        return {port for _, port in ways}

    # Being good

    async def connect(self, *, buffer_bytes: int = 0) -> HandMade:
        """Find the way in and open a TCP connection; nothing is said yet."""
        if not self.way.url:
            self.way = await self.dialect.invite(self.ground.url, self.caller, self.callee)
        url = self.way.url if self._proxy is None else self._proxy.url
        self.sockets.append(await dial(url, buffer_bytes=buffer_bytes))
        self.socket.listener(self._hear)
        return self.socket

    async def go_through_network(self) -> FaultProxy:
        """Have its connections go through a network that can be broken; it lasts until `leave`."""
        self.way = await self.dialect.invite(self.ground.url, self.caller, self.callee)
        self._proxy = await self._stays.enter_async_context(FaultProxy(self.way.url))
        return self._proxy

    async def arrive(self, *, tail: bytes = b"", buffer_bytes: int = 0) -> None:
        """Open a WebSocket; what is in ``tail`` comes right behind the upgrade."""
        socket = await self.connect(buffer_bytes=buffer_bytes)
        status = await socket.open(self.way.url, self.way.headers, tail)
        assert status == 101, f"{self.dialect.adapter}: the upgrade was answered {status} {socket.answer}"

    async def call(self) -> None:
        """Open, begin, and hear the greeting."""
        await self.arrive()
        await self.socket.say(*self.dialect.begin(self.way), self.dialect.sound(self.way, bytes(160)))
        assert await self.hears(GREETING), (
            f"{self.dialect.adapter}: no greeting was heard, {self.socket.received[-3:]}"
        )

    def answer_nothing(self, *, answers: bool = False) -> None:
        """Answer neither marks nor pings, as nobody can in the middle of a frame; or do so again."""
        self.answers_marks = self.socket.answers_pings = answers

    def frames(self, *messages: Message) -> bytes:
        """Good frames."""
        return b"".join(map(frame, messages))

    def sound(self, sound: bytes) -> bytes:
        """A good frame of sound."""
        return frame(self.dialect.sound(self.way, sound))

    async def say(self, *messages: Message) -> bool:
        """Send messages in good frames."""
        return await self.socket.say(*messages)

    async def hears(self, sound: bytes, limit_s: float = HEARD_WITHIN_S) -> bool:
        """Wait until this sound was heard, in one piece."""
        return await self.socket.until(lambda: sound in self.heard, limit_s)

    async def asks(self, limit_s: float = HEARD_WITHIN_S) -> bool:
        """Ask the question, again and again, until the answer is heard; False when it never is."""
        self.heard.clear()
        until = time.monotonic() + limit_s
        while time.monotonic() < until and not self.socket.is_over:
            await self.socket.push(self.sound(QUESTION))
            if await self.hears(ANSWER, min(1.0, until - time.monotonic())):
                return True
        return False

    async def hang_up(self) -> Ending:
        """Say goodbye in the dialect's way, and wait until the gateway has closed."""
        await self.say(self.dialect.end(self.way))
        return await self.socket.ending(5)

    async def leave(self) -> None:
        """Drop every connection."""
        for socket in self.sockets:
            await socket.leave()
        await self._stays.aclose()

    def _hear(self, message: Message) -> None:
        if sound := self.dialect.heard(message):
            self.heard += sound
            self.ever_heard += sound[: max(0, MOST_HEARD_BYTES - len(self.ever_heard))]
            del self.heard[:-MOST_HEARD_BYTES]
            now = time.monotonic()
            self.heard_at.append((now, len(sound)))
            self._dry_at = max(self._dry_at, now) + len(sound) / self.dialect.bytes_s
        elif self.answers_marks and (played := self.dialect.played(self.way, message)):
            asyncio.get_running_loop().call_later(
                max(0.0, self._dry_at - time.monotonic()), self._say_played, frame(played)
            )

    def _say_played(self, mark: bytes) -> None:
        if self.answers_marks:
            self.socket.write(mark)
