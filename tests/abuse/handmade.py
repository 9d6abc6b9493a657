"""WebSockets by hand: connections that can say what no library would let them say.

One class serves both ends. It writes whatever bytes it is given, and reads on its own until the far end closes,
resets, or falls silent for good; how that came about is its `Ending`.
"""

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NO_MASK = b"\x00\x00\x00\x00"
"""A mask that changes nothing: frames are masked, as they must be, and cheap to make."""
MOST_KEPT = 4096
"""Frames that are kept for a test to look at; the newest."""


class Ending(Struct, frozen=True):
    """How a connection ended, as this end saw it."""

    how: Literal["closed", "eof", "reset", "open"]
    """By a close frame, without one, by a reset, or not at all."""
    code: int = 0
    """Of the close frame; 0 without one."""
    reason: str = ""
    """Of the close frame."""


def frame(
    payload: str | bytes,
    opcode: int | None = None,
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = NO_MASK,
    claims: int | None = None,
    wide: bool = False,
) -> bytes:
    """Write one frame; it may claim another length than it has, or write it wider than is needed."""
    body = payload.encode() if isinstance(payload, str) else payload
    kind = opcode if opcode is not None else TEXT if isinstance(payload, str) else BINARY
    size = len(body) if claims is None else claims
    masked = 0x80 if mask is not None else 0
    head = bytes([0x80 * fin | reserved << 4 | kind])
    if size > 0xFFFF or wide:
        head += bytes([masked | 127]) + size.to_bytes(8, "big")
    elif size > 125:
        head += bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked | size])
    if mask is None:
        return head + body
    if mask != NO_MASK:
        body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))
    return head + mask + body


def close_frame(code: int, reason: bytes = b"", *, mask: bytes | None = NO_MASK) -> bytes:
    """Write a close frame with any code and any bytes as its reason."""
    return frame(code.to_bytes(2, "big") + reason, CLOSE, mask=mask)


def upgrade(url: str, headers: Mapping[str, str] | None = None, **changed: str | None) -> bytes:
    """Write the request that opens a WebSocket; fields may be changed, or left out with None."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    fields: dict[str, str | None] = {
        "Host": parts.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **(headers or {}),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode()


class HandMade:
    """One end of a TCP connection, of which every byte is decided here."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool = True
    ) -> None:
        self.status = 0
        """HTTP status of the answer to the upgrade; 0 without one."""
        self.head = ""
        """The header of the answer to the upgrade."""
        self.answer = ""
        """The body of an answer that is no upgrade."""
        self.received: list[str | bytes] = []
        """Messages that came: the newest."""
        self.pings = 0
        self.answers_pings = True
        self.port: int = writer.get_extra_info("sockname")[1]
        self.answers_close = True
        """Whether a close is answered with a close."""
        self._reader = reader
        self._writer = writer
        self._mask = NO_MASK if is_client else None
        self._ending: Ending | None = None
        self._said_all = False
        self._listening: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._on_message: list[Callable[[str | bytes], None]] = []

    # Saying

    def write(self, data: bytes) -> None:
        """Write bytes as they are; nothing happens when the connection is gone."""
        if not (self._writer.is_closing() or self._said_all):
            self._writer.write(data)

    async def push(self, data: bytes) -> bool:
        """Write bytes and wait until they are on their way; False when the connection is gone."""
        self.write(data)
        return await self.drain()

    async def drain(self) -> bool:
        """Wait until what was written is on its way; False when the connection is gone."""
        try:
            await self._writer.drain()
        except OSError:
            return False
        return not self._writer.is_closing()

    def frame(self, payload: str | bytes, opcode: int | None = None) -> bytes:
        """Write a good frame, masked as this end must."""
        return frame(payload, opcode, mask=self._mask)

    async def say(self, *messages: str | bytes) -> bool:
        """Send good messages; False when the connection is gone."""
        return await self.push(b"".join(self.frame(message) for message in messages))

    # Hearing

    async def open(self, url: str, headers: Mapping[str, str] | None = None, tail: bytes = b"") -> int:
        """Ask for the upgrade, with bytes right behind it; gives the answer's status."""
        self.write(upgrade(url, headers) + tail)
        return await self.opened()

    async def opened(self) -> int:
        """Read the answer to an upgrade; gives its status, 0 when the connection ended instead."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.head = head
            self.status = int(head.split(" ", 2)[1])
            if self.status == 101:
                self.listen()
            else:
                size = next(
                    (int(line[15:]) for line in head.lower().split("\r\n") if line[:15] == "content-length:"),
                    0,
                )
                self.answer = (await self._reader.readexactly(size)).decode()
        return self.status

    def listen(self) -> None:
        """Begin to read frames."""
        self._listening = asyncio.ensure_future(self._listen())

    def listener(self, hear: Callable[[str | bytes], None]) -> None:
        """Have every message told to a function as it comes."""
        self._on_message.append(hear)

    async def until(self, condition: Callable[[], object], limit_s: float) -> bool:
        """Wait, message by message, until a condition holds; False when it did not in time, or never can."""
        try:
            async with asyncio.timeout(limit_s):
                while not condition() and self._ending is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return bool(condition())

    async def ending(self, limit_s: float) -> Ending:
        """Wait for the end of the connection."""
        await self.until(lambda: self._ending, limit_s)
        return self._ending or Ending("open")

    async def eof(self, limit_s: float) -> Ending:
        """Wait for the end of a connection that never became a WebSocket; what comes meanwhile is the answer."""
        try:
            async with asyncio.timeout(limit_s):
                self.answer += (await self._reader.read(-1)).decode("latin-1")
        except OSError:
            return Ending("reset")
        except TimeoutError:
            return Ending("open")
        return Ending("eof")

    @property
    def ended(self) -> Ending:
        """How the connection ended; ``open`` while it has not."""
        return self._ending or Ending("open")

    @property
    def is_over(self) -> bool:
        """Whether the far end has closed, or is gone."""
        return self._ending is not None

    async def _listen(self) -> None:
        ending: Ending | None = None
        try:
            while ending is None:
                opcode, payload = await self._frame()
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
                    ending = Ending("closed", code, payload[2:].decode(errors="replace"))
                else:
                    self._take(opcode, payload)
        except ConnectionResetError:
            ending = Ending("reset")
        except (OSError, asyncio.IncompleteReadError):
            ending = Ending("eof")
        self._ending = ending
        self._changed.set()
        if ending.how == "closed" and self.answers_close:
            self.write(self.frame(ending.code.to_bytes(2, "big") if ending.code != 1005 else b"", CLOSE))
            with contextlib.suppress(OSError):
                await self._reader.read(-1)
                self._writer.close()

    async def _frame(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        size = second & 127
        if size > 125:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        mask = await self._reader.readexactly(4) if second & 128 else NO_MASK
        payload = await self._reader.readexactly(size)
        if mask != NO_MASK:
            whole = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            payload = whole.to_bytes(size, "big")
        return first & 15, payload

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings += 1
            if self.answers_pings:
                self.write(self.frame(payload, PONG))
        elif opcode != PONG:
            message = payload.decode() if opcode == TEXT else payload
            self.received.append(message)
            del self.received[:-MOST_KEPT]
            for hear in self._on_message:
                hear(message)
        self._changed.set()

    # Leaving

    def stop_reading(self) -> None:
        """Leave what comes in the kernel's buffers, and those as small as they can be."""
        if self._listening:
            self._listening.cancel()
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def half_close(self) -> None:
        """Say that nothing more will come, and go on reading."""
        self._said_all = True
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def reset(self) -> None:
        """Break the connection so that the far end gets a reset."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def leave(self) -> None:
        """Drop the connection, however far it came."""
        if self._listening:
            self._listening.cancel()
        self._writer.transport.abort()
        await asyncio.sleep(0)


async def dial(url: str, *, buffer_bytes: int = 0) -> HandMade:
    """Open a TCP connection and say nothing; with a size, what the kernel keeps unread for us is that small."""
    parts = urlsplit(url)
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)  # what is not taken is not said
    if buffer_bytes:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=1 << 20)
    except BaseException:
        raw.close()
        raise
    return HandMade(reader, writer)


async def read_upgrade(reader: asyncio.StreamReader) -> bytes:
    """Read an upgrade's request, and give the answer that agrees to it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    key = next(line[19:] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key: "))
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()  # noqa: S324 - RFC 6455
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )


Attend = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(attend: Attend) -> AsyncIterator[int]:
    """Listen on a free port and have each connection attended to; gives the port."""
    at_work: set[asyncio.Task[None]] = set()

    async def guard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        at_work.add(task)
        try:
            await attend(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            at_work.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(guard, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(at_work):
            task.cancel()
        if at_work:
            await asyncio.wait(at_work)
