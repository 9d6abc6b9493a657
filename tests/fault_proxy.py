"""A stretch of network that breaks to order: a TCP proxy on a free port, with faults per direction.

Owns what a network can do to a connection between two programs, and nothing of what the bytes mean. A fault begins
when it is struck, or with a certain byte. The client is whoever dialled the proxy, the server whom the proxy dials.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

Kind = Literal["delay", "drop", "reset", "half_close", "drip", "close"]
Direction = Literal["to_server", "to_client", "both"]
KINDS: tuple[Kind, ...] = ("delay", "drop", "reset", "half_close", "drip", "close")
CHUNK_BYTES = 65_536
DRIP_EVERY_S = 0.05
OPENING_BYTES = 2048
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER, on and without patience: what is not sent is thrown away, and the peer gets a RST instead of a FIN."""


class Fault(Struct, frozen=True):
    """What happens to a connection, from one moment on."""

    kind: Kind
    """``delay`` holds bytes back, then lets all of them through; ``drop`` swallows them, the end of the connection
    included; ``reset`` sends a RST; ``half_close`` ends one direction in order; ``drip`` lets a few bytes through
    at a time; ``close`` ends both directions in order."""
    direction: Direction = "both"
    """Which bytes are concerned. A ``reset`` or ``close`` in one direction is told to the receiver of these bytes
    alone; the other end is left with a connection that leads nowhere."""
    for_s: float = 0.0
    """How long ``delay`` and ``drip`` last; where an end is left with a connection that leads nowhere, how long until
    both ends are reset, with 0 never."""
    bytes_per_s: int = 1000
    """How fast it drips."""

    @property
    def loses(self) -> bool:
        """Whether the connection cannot be used any more."""
        return self.kind not in ("delay", "drip")


class Lane:
    """One direction of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carried_bytes = 0
        """Bytes that got through."""
        self.reader = reader
        self.writer = writer
        self.drops = False
        self.held_until = 0.0
        self.drips_until = 0.0
        self.bytes_per_s = 0
        self.due: tuple[int, Callable[[], None]] | None = None
        self._loop = asyncio.get_running_loop()

    async def pump(self, opening: bytes = b"") -> None:
        """Carry bytes, those read already first, until there are no more; then hand the end on."""
        try:
            await self._carry(opening)
            while data := await self.reader.read(CHUNK_BYTES):
                await self._carry(data)
        except OSError:
            if not self.drops:
                break_off(self.writer)
            return
        await self._wait_released()
        if not self.drops:
            with contextlib.suppress(OSError, RuntimeError):
                self.writer.write_eof()

    async def _carry(self, data: bytes) -> None:
        while data:
            if self.due is not None and self.carried_bytes + len(data) >= self.due[0]:
                (at, strike), self.due = self.due, None
                head, data = data[: at - self.carried_bytes], data[at - self.carried_bytes :]
                await self._write(head)
                strike()
            else:
                await self._write(data)
                return

    async def _write(self, data: bytes) -> None:
        await self._wait_released()
        while self._loop.time() < self.drips_until and data and not self.drops:
            size = max(1, int(self.bytes_per_s * DRIP_EVERY_S))
            await self._let_through(data[:size])
            data = data[size:]
            await asyncio.sleep(DRIP_EVERY_S)
        if data:
            await self._let_through(data)

    async def _let_through(self, data: bytes) -> None:
        if self.drops:
            return
        self.carried_bytes += len(data)
        self.writer.write(data)
        await self.writer.drain()

    async def _wait_released(self) -> None:
        while (rest_s := self.held_until - self._loop.time()) > 0 and not self.drops:  # noqa: ASYNC110 - another fault may come first
            await asyncio.sleep(min(rest_s, 0.05))


class Carried:
    """One connection through the proxy."""

    def __init__(self, number: int, to_server: Lane, to_client: Lane, opening: bytes) -> None:
        self.number = number
        """In the order in which they were dialled, from 0."""
        self.opening = opening
        """The first bytes of the client, by which a connection can be told from another."""
        self.to_server = to_server
        self.to_client = to_client
        self.struck_at: float | None = None
        """When the first fault that loses it began, in the loop's time."""
        self._loop = asyncio.get_running_loop()
        self._doom: asyncio.TimerHandle | None = None

    def strike(self, fault: Fault) -> None:
        """Let a fault begin now."""
        if fault.loses and self.struck_at is None:
            self.struck_at = self._loop.time()
        for lane, other in self._lanes(fault.direction):
            self._strike(lane, other, fault)
        if fault.loses and fault.for_s and self._doom is None:
            self._doom = self._loop.call_later(fault.for_s, self.break_off)

    def strike_after(self, size_bytes: int, fault: Fault) -> None:
        """Let a fault begin once so many bytes have gone through its direction; ``both`` counts those to the client."""
        lane = self.to_server if fault.direction == "to_server" else self.to_client
        lane.due = (size_bytes, lambda: self.strike(fault))

    def break_off(self) -> None:
        """Reset both ends."""
        for lane, _ in self._lanes("both"):
            lane.drops = True
            break_off(lane.writer)

    def forget(self) -> None:
        """The connection is over."""
        if self._doom is not None:
            self._doom.cancel()

    def _lanes(self, direction: Direction) -> list[tuple[Lane, Lane]]:
        lanes = {"to_server": (self.to_server, self.to_client), "to_client": (self.to_client, self.to_server)}
        return [*lanes.values()] if direction == "both" else [lanes[direction]]

    def _strike(self, lane: Lane, other: Lane, fault: Fault) -> None:
        match fault.kind:
            case "delay":
                lane.held_until = self._loop.time() + fault.for_s
            case "drip":
                lane.drips_until = self._loop.time() + fault.for_s
                lane.bytes_per_s = fault.bytes_per_s
            case "drop":
                lane.drops = True
            case "half_close":
                lane.drops = True
                with contextlib.suppress(OSError, RuntimeError):
                    lane.writer.write_eof()
            case "reset":
                lane.drops = other.drops = True
                break_off(lane.writer)
            case "close":
                lane.drops = other.drops = True
                lane.writer.close()


class FaultProxy:
    """Carries connections to one server until they are struck; a context whose end breaks all of them off."""

    def __init__(self, url: str, *, on_carried: Callable[[Carried], None] | None = None) -> None:
        self.carried: list[Carried] = []
        """Every connection, in the order in which they were dialled."""
        self._target = urlsplit(url)
        self._on_carried = on_carried
        self._server: asyncio.Server | None = None
        self._live: set[Carried] = set()

    @property
    def url(self) -> str:
        """Where to dial to get through: the server's address with the proxy's port."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return urlunsplit(self._target._replace(netloc=f"{host}:{port}"))

    @property
    def live(self) -> list[Carried]:
        """The connections that are still carried."""
        return sorted(self._live, key=lambda one: one.number)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._attend, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        async with asyncio.timeout(10):
            while self._live:
                for one in self.live:
                    one.break_off()
                await asyncio.sleep(0.005)
        await self._server.wait_closed()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                far_reader, far_writer = await asyncio.open_connection(
                    self._target.hostname, self._target.port
                )
            except OSError:
                break_off(writer)
                return
            async with _both(writer, far_writer):
                to_server, to_client = Lane(reader, far_writer), Lane(far_reader, writer)
                carried = Carried(len(self.carried), to_server, to_client, b"")
                self.carried.append(carried)
                self._live.add(carried)
                try:
                    await self._carry(carried)
                finally:
                    carried.forget()
                    self._live.discard(carried)

    async def _carry(self, carried: Carried) -> None:
        async with asyncio.TaskGroup() as group:
            back = group.create_task(carried.to_client.pump())
            carried.opening = await _opening_of(carried.to_server.reader)
            if self._on_carried is not None:
                self._on_carried(carried)
            there = group.create_task(carried.to_server.pump(carried.opening))
            await asyncio.wait({there, back})


async def _opening_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(OPENING_BYTES)
    except OSError:
        return b""  # the pump will find the same


def break_off(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


@asynccontextmanager
async def _both(*writers: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for writer in writers:
            writer.close()
