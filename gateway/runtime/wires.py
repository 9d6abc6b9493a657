"""Wires: connections that carry messages, of whichever library or of none.

Owns what each library calls the same thing. Knows no dialect and no bounds; those are the leg's.
"""

import contextlib
import math
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, Final, Protocol

import aiohttp
from aiohttp import web

from gateway.redaction import REDACTION
from gateway.runtime.ears import WITH_DATA, Ears, Hear
from gateway.runtime.share import MESSAGE_BYTES, Share
from gateway.runtime.slices import Slices, slice_reading

_TEXT: Final = aiohttp.WSMsgType.TEXT.value
_BINARY: Final = aiohttp.WSMsgType.BINARY.value

LOST_CODE: Final = 1006
"""Code of a connection that broke, or that we broke off: nobody closed it."""
AT_ONCE_BYTES: Final = 16_384
"""What may lie unread in a connection's buffer before the next message waits its turn in the leg's outbox."""
CLOSE_REASON_BYTES: Final = 123
"""What a close frame holds besides its code."""


class Wire(Protocol):
    """A connection that carries messages; any library, or none."""

    close_code: int
    """What the peer closed it with, or the library for the peer's sake; 1006 without that."""
    close_reason: str
    hear: Hear | None
    """Is offered each message where it comes, while somebody waits in `receive`, who gets what it leaves; a wire may
    do without."""

    async def receive(self) -> str | bytes | None:
        """Wait for a message; None once the connection is gone, and as soon as `close` is called."""
        ...

    @property
    def takes_at_once(self) -> bool:
        """Whether `send` would not wait now, so that `send_at_once` may be used in its place."""
        ...

    def send_at_once(self, message: str | bytes) -> None:
        """Send a message without waiting; raises ConnectionError when that is impossible."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send a message; raises ConnectionError when that is impossible."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close; cancelling it breaks the connection off, closing again does nothing."""
        ...


class WebSocketWire:
    """A WebSocket of aiohttp, server's or client's, whose upgrade is done."""

    def __init__(
        self,
        socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
        share: Share,
        slices: Slices | None = None,
    ) -> None:
        self._socket = socket
        self._slices = slices
        self._again: list[str | bytes] = []
        self.ears = Ears(socket._reader, share)  # noqa: SLF001 - it offers no way to read slowly
        socket._reader = self.ears  # type: ignore[assignment]  # noqa: SLF001 - as above
        if slices is not None:
            self.ears.are_told = True
            slices.on_parsed = self.ears.look
        self.close_code = LOST_CODE
        self.close_reason = ""

    @property
    def hear(self) -> Hear | None:
        """Is offered each message where it comes, while somebody waits in `receive`, who gets what it leaves."""
        return self.ears.offer

    @hear.setter
    def hear(self, hear: Hear | None) -> None:
        self.ears.offer = hear

    async def receive_little(self, most_bytes: int) -> str | bytes | None:
        """Wait for a message as `receive` does; one that is longer ends the connection before it has come."""
        if self._slices is None:
            return None  # gone before it was read
        self._slices.bound(most_bytes, self._end_for_length)
        try:
            return await self.receive()
        finally:
            self._slices.bound(math.inf)

    def _end_for_length(self) -> bool:
        if self.ears.has_heard:
            return False  # what is more belongs to the next message
        too_long = "the message is longer than what is read of a stranger"
        self.ears.set_exception(aiohttp.WebSocketError(aiohttp.WSCloseCode.MESSAGE_TOO_BIG, too_long))
        return True

    def give_again(self, heard: Iterable[str | bytes]) -> None:
        """Have `receive` give these messages before all others."""
        self._again.extend(heard)

    async def receive(self) -> str | bytes | None:
        """Wait for a message; None once the connection is gone."""
        if self._again:
            return self._again.pop(0)
        try:
            message = await self._socket.receive()
        except (
            aiohttp.ClientError,
            RuntimeError,
            ConnectionError,
        ):  # a ping came, and its answer found nobody
            return None
        if message.type in WITH_DATA:
            return message.data  # type: ignore[no-any-return]
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.close_code = message.data or 1005
            self.close_reason = str(message.extra or "")
        elif message.type is aiohttp.WSMsgType.ERROR:
            # such as a message over the limit, which the library closes with a code of its own
            self.close_code = int(getattr(message.data, "code", LOST_CODE))
            self.close_reason = str(message.data)
        return None

    @property
    def takes_at_once(self) -> bool:
        """Whether the peer reads what it is sent; what it has not read yet lies in the connection's own buffer."""
        writer = self._socket._writer  # noqa: SLF001 - it does not say how much of it waits
        return writer is not None and writer.transport.get_write_buffer_size() <= AT_ONCE_BYTES

    def send_at_once(self, message: str | bytes) -> None:
        """Send a message without waiting; raises ConnectionError when the connection is gone."""
        writer = self._socket._writer  # noqa: SLF001 - else it would take four coroutines, none of which waits
        if writer is None:
            raise ConnectionError("the connection was never opened")
        if writer._closing:  # noqa: SLF001 - as above
            raise ConnectionError("the connection is being closed")
        data, kind = (message.encode(), _TEXT) if isinstance(message, str) else (message, _BINARY)
        writer._write_websocket_frame(data, kind, 0)  # noqa: SLF001 - as above; nothing is compressed, so nothing waits

    async def send(self, message: str | bytes) -> None:
        """Send a message; raises ConnectionError when the connection is gone."""
        try:
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)
        except (aiohttp.ClientError, RuntimeError) as error:  # aiohttp's words for a closed socket
            raise ConnectionError(str(error)) from error

    def ping(self, payload: bytes) -> None:
        """Ask for an answer, without waiting; a peer that does not read is not asked, nor one that is gone."""
        if self.takes_at_once:
            with contextlib.suppress(aiohttp.ClientError, RuntimeError, ConnectionError):
                _begin(self._socket.ping(payload))

    def break_off(self, why: str) -> None:
        """End the connection now, without a word to the peer; `receive` then gives None."""
        self.close_reason = why
        if writer := self._socket._writer:  # noqa: SLF001 - it has no public way to break a connection off
            writer.transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and as much of the reason as a close frame holds."""
        self.ears.hurry()
        try:
            fitting = (
                REDACTION.without_secrets(reason)
                .encode()[:CLOSE_REASON_BYTES]
                .decode(errors="ignore")
                .encode()
            )
            await self._socket.close(code=code, message=fitting)
        finally:
            # aiohttp waits until what was written is read, which a peer that reads nothing never does
            writer = self._socket._writer  # noqa: SLF001 - it has no public way to break a connection off
            if writer is not None and writer.transport.get_write_buffer_size():
                writer.transport.abort()


def open_wire(
    socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse, messages_s: float
) -> WebSocketWire:
    """The wire of a socket whose upgrade was done just now, read at a pace of so many messages a second."""
    slices = slice_reading(socket, quick_bytes=messages_s * MESSAGE_BYTES)
    return WebSocketWire(socket, Share(messages_s), slices)


def _begin(sending: Coroutine[Any, None, None]) -> None:
    """Write what is sent into the buffer, without waiting until that is read."""
    try:
        room = sending.send(None)
    except StopIteration:
        return
    # nobody waits for it after all; left marked as awaited, it would fail whoever waits for it next
    room._asyncio_future_blocking = False  # noqa: SLF001 - asyncio's own contract between futures and tasks
    sending.close()


class LocalSession(Protocol):
    """An agent's session in this process, as `gateway.runtime.offline_session` gives it."""

    close_code: int | None
    close_reason: str

    async def receive(self, text: str) -> None:
        """Take a message."""
        ...

    def __aiter__(self) -> AsyncIterator[str]:
        """Give its messages."""
        ...

    async def disconnect(self) -> None:
        """The connection is gone."""
        ...


class LocalWire:
    """A session in this process, as if it were a connection."""

    def __init__(self, session: LocalSession) -> None:
        self._session = session
        self._messages = aiter(session)
        self.hear: Hear | None = None
        self.close_code = LOST_CODE
        self.close_reason = ""

    async def receive(self) -> str | bytes | None:
        """Wait for a message; None once the session is gone."""
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            self.close_code = self._session.close_code or LOST_CODE
            self.close_reason = self._session.close_reason
            return None

    takes_at_once = False
    """A session answers while it takes a message, so one must wait for the other."""

    def send_at_once(self, message: str | bytes) -> None:
        """Never asked for."""
        raise NotImplementedError

    async def send(self, message: str | bytes) -> None:
        """Hand over a message."""
        await self._session.receive(message if isinstance(message, str) else message.decode())

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - nobody reads them in one process
        """Let the session know that nobody listens any more."""
        await self._session.disconnect()
