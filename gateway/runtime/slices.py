"""Lets aiohttp parse what one connection brings a little at a time.

aiohttp reads up to a quarter of a megabyte at once and parses all of it before anything else happens: tens of
milliseconds where it is made of tiny frames, in which no other call gets a turn. Owns the order of the slices, a
bound on how fast they follow each other, and one on how much may come of a peer that has proven nothing yet. Refuses
to know what they mean.

What comes of a peer that has shown its proof comes here straight from the transport: aiohttp's protocol asks every time
what kind of bytes they are, and a socket's never become anything else.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp import web

SLICE_BYTES: Final = 4096
"""What is parsed in one turn of the loop: a millisecond, were it all of empty frames."""
PAUSE_S: Final = 0.004
"""Between two slices of a peer that has sent more at once than any call does; a megabyte a second."""


def slice_reading(
    socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse, quick_bytes: float
) -> "Slices | None":
    """Have a socket, server's or client's, parsed in slices: ``quick_bytes`` of a burst turn by turn, the rest slowly.

    None where the connection is gone.
    """
    if isinstance(socket, aiohttp.ClientWebSocketResponse):
        protocol: Any = socket._conn.protocol if socket._conn else None  # noqa: SLF001 - aiohttp has no bound of its own
    else:
        protocol = socket._req.protocol if socket._req else None  # noqa: SLF001 - as above
    if protocol is None or protocol._payload_parser is None:  # noqa: SLF001 - as above
        return None
    slices = protocol._payload_parser = Slices(protocol._payload_parser, protocol, quick_bytes)  # noqa: SLF001 - as above
    return slices


def _never() -> bool:
    return False


def _nobody() -> None:
    pass


class Slices(asyncio.Protocol):
    """Stands between a protocol of aiohttp and its parser; in time, also between the transport and that protocol."""

    def __init__(self, parser: Any, protocol: Any, quick_bytes: float) -> None:
        self._parser = parser
        self._protocol = protocol
        self._is_direct = False
        self._quick_bytes = quick_bytes
        self._loop = asyncio.get_running_loop()
        self.on_parsed: Callable[[], None] = _nobody
        """Is called after each slice, and after the end: something may have come."""
        self._rest = b""
        self._burst_bytes = 0
        self._ends = False
        self._left_bytes = math.inf
        self._is_too_much = _never
        self._has_failed = False

    def bound(self, most_bytes: float, is_too_much: Callable[[], bool] = _never) -> None:
        """Once more than that has been parsed, drop what follows if ``is_too_much`` says so."""
        self._left_bytes, self._is_too_much = most_bytes, is_too_much

    def data_received(self, data: bytes) -> None:
        """Parse what comes straight from the transport; what it means for the connection is aiohttp's."""
        if self._rest or len(data) > SLICE_BYTES or self._left_bytes < math.inf:
            self._protocol.data_received(data)
        elif self._parser.feed_data(data)[0]:
            self._has_failed = True
            self._protocol.data_received(data)
        else:
            self.on_parsed()

    # Whatever else the transport has to say is for aiohttp

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._protocol.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """The peer says no more."""
        answer: bool | None = self._protocol.eof_received()
        return answer

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._protocol.resume_writing()

    # What the protocol gives its parser

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Parse what is little at once; begin to work off what is not."""
        if not self._is_direct and getattr(self._protocol, "is_known", True):
            self._is_direct = True
            self._protocol.transport.set_protocol(self)
        if self._has_failed:
            self.on_parsed()
            return True, b""
        if not self._rest and len(data) <= SLICE_BYTES:
            return self._feed(data), b""
        if not self._rest:
            self._protocol._pause_reading_for_buffer()  # noqa: SLF001 - made for buffers like this one
            self._burst_bytes = 0
            self._loop.call_soon(self._parse)
        self._rest += data
        return False, b""

    def feed_eof(self) -> None:
        """Pass on the end, behind what waits."""
        self._ends = True
        if not self._rest:
            self._parse_end()

    def _parse(self) -> None:
        waits = self._protocol._reading_paused and self._protocol.transport is not None  # noqa: SLF001 - for its reader
        if not waits:
            piece, self._rest = self._rest[:SLICE_BYTES], self._rest[SLICE_BYTES:]
            if self._feed(piece):
                self._rest = b""
            self._burst_bytes += len(piece)
        if self._rest:
            quick = self._burst_bytes < self._quick_bytes and not waits
            self._loop.call_later(0 if quick else PAUSE_S, self._parse)
        elif self._ends:
            self._parse_end()
        else:
            self._protocol._resume_reading_for_buffer()  # noqa: SLF001 - as above

    def _feed(self, piece: bytes) -> bool:
        self._left_bytes -= len(piece)
        if self._left_bytes < 0 and self._is_too_much():
            return True
        failed: bool = self._parser.feed_data(piece)[0]
        self.on_parsed()
        return failed

    def _parse_end(self) -> None:
        self._parser.feed_eof()
        self.on_parsed()
