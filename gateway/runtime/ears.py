"""What has come over one connection: read at the pace of its share, and offered first where it comes.

Owns that no peer is read out of turn, and the signs of life that it gives. Refuses to know what a message means, and
what aiohttp does with pings and closes.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from gateway.runtime.bell import Bell
from gateway.runtime.share import MESSAGE_BYTES, Share
from gateway.runtime.text_bounds import MOST_VALUES, marks_in

WITH_DATA: Final = frozenset({aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY})
"""Kinds of messages that are the dialect's; the others are aiohttp's own."""

Hear = Callable[[str | bytes], bool]
"""Takes a message where it comes; False leaves it to whoever waits for one."""


class Ears:
    """aiohttp's queue of what has come, read no faster than its connection's share; knows the peer's signs of life.

    What comes while somebody waits is offered first, where it is: a task that is woken costs more than a frame. aiohttp
    reads it in loops of its own that never wait while there is more: to answer pings, and to find the close.
    """

    def __init__(self, queue: Any, share: Share) -> None:
        self._queue = queue
        self._share = share
        self._loop = asyncio.get_running_loop()
        self._hurry = Bell()
        self._waiter: asyncio.Future[None] | None = None
        self._must_rest = False
        self.offer: Hear | None = None
        """Is offered what comes while somebody waits."""
        self.are_told = False
        """Whether `look` is called each time something may have come."""
        self.heard = 0
        """How often something has come: a message, a ping, an answer to one, or some of a long one."""
        self.listen = False
        """Whether somebody waits for the next one."""
        self.on_pong: Callable[[bytes], None] | None = None
        """Is told of each answer to a ping."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    @property
    def has_heard(self) -> bool:
        """Whether a message is there that nobody has read."""
        return bool(self._queue._buffer)  # noqa: SLF001 - it does not say

    async def read(self) -> Any:
        """Wait for a message, and first for the turn of this connection."""
        if self._share.turn_left < 1 or self._must_rest:
            self._must_rest = False
            await self._rest(self._share.pause_s(self._loop.time()))
        self.listen = True
        try:
            if self.are_told and not self.has_heard and not self._queue.is_eof():
                self._waiter = self._loop.create_future()
                await self._waiter
            message = await self._queue.read()
        finally:
            self._waiter = None
            self.listen = False
        size_bytes = len(message.data) if message.type in WITH_DATA else 0
        self._share.take(size_bytes, _values_in(message.data) if size_bytes > MESSAGE_BYTES else 0)
        if message.type is aiohttp.WSMsgType.PONG and self.on_pong:
            self.on_pong(message.data)
        return message

    def look(self) -> None:
        """Offer what has come since, in order, while somebody waits; wake them for the rest, and for the end.

        The loop must have turned since the last look.
        """
        self.heard += 1
        if self._waiter is None or self._waiter.done():
            return  # who reads is awake, and finds what has come
        offer, share, queue = self.offer, self._share, self._queue
        buffer = queue._buffer  # noqa: SLF001 - it does not show what it has
        if buffer and share.turn_left < 1:
            self._must_rest = share.pause_s(self._loop.time()) > 0
        while buffer and offer is not None and share.turn_left >= 1 and not self._must_rest:
            kind, message, _ = buffer[0][0]
            if kind not in WITH_DATA or not offer(message):
                break
            try:
                queue.read().send(None)  # it is there, so nothing is waited for
            except StopIteration:
                share.take(len(message), _values_in(message) if len(message) > MESSAGE_BYTES else 0)
        if buffer or queue.is_eof():
            self._wake(queue.exception())

    def _wake(self, error: BaseException | None = None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if error is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error)

    # What aiohttp itself puts into it: its own closing, and the loss of the connection

    def feed_data(self, message: Any, size_bytes: int) -> None:
        """Append a message."""
        self._queue.feed_data(message, size_bytes)
        self._wake()

    def set_exception(self, error: BaseException, *cause: BaseException) -> None:
        """End with an error."""
        self._queue.set_exception(error, *cause)
        self._wake(error)

    def hurry(self) -> None:
        """End a pause: the connection is being closed, and who reads it must learn that."""
        self._hurry.ring()

    async def _rest(self, pause_s: float) -> None:
        if not pause_s:
            await asyncio.sleep(0)  # others have their turn all the same
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()
        except TimeoutError:
            pass


def _values_in(message: str | bytes) -> int:
    """What makes a long text dear; one with more is refused before they are built, so they cost no more than these."""
    return min(marks_in(message), MOST_VALUES) if isinstance(message, str) else 0
