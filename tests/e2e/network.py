"""A stretch of network between a gateway and an agent that can be cut: a TCP relay on a free port."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class Network:
    """Carries bytes both ways until it is cut; with ``tls`` it is spoken to over TLS, as agents are in the world."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._target = urlsplit(url)
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.carried = 0
        """Connections so far."""

    @property
    def url(self) -> str:
        """Where to dial to get through."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        scheme = "wss" if self._tls else self._target.scheme
        return urlunsplit(self._target._replace(scheme=scheme, netloc=f"{host}:{port}"))

    def cut(self) -> None:
        """Break every connection without a word; new ones get through again."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carried += 1
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
            async with self._open(writer, far_writer), asyncio.TaskGroup() as group:
                one = group.create_task(_pump(reader, far_writer))
                other = group.create_task(_pump(far_reader, writer))
                await asyncio.wait({one, other}, return_when=asyncio.FIRST_COMPLETED)
                for end in (writer, far_writer):
                    end.close()

    @asynccontextmanager
    async def _open(self, *writers: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._writers.update(writers)
        try:
            yield
        finally:
            self._writers.difference_update(writers)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
