"""Connections before anything is said on them, over real sockets: deadlines, a bound on all, and who makes room."""

import asyncio
import logging
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from gateway.runtime.config import load_generation
from gateway.server.file_limit import needed_files, raise_file_limit
from gateway.server.listening import serving
from gateway.settings import LimitSettings, ServerSettings, Settings

LIMIT_S = 10.0
KEY = "a-key-for-connections"
ASKED = f"GET /v1/calls HTTP/1.1\r\nHost: x\r\nAuthorization: {KEY}\r\n\r\n".encode()
STRANGE = b"GET /v1/calls HTTP/1.1\r\nHost: x\r\n\r\n"


class Port(Struct):
    """A gateway that listens, and what it refused."""

    host: str
    port: int
    refused: Counter[str]
    stack: AsyncExitStack

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.stack.callback(writer.close)
        return reader, writer

    async def ask(self, request: bytes = ASKED) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request over a new connection that stays open; its status."""
        reader, writer = await self.connect()
        writer.write(request)
        return await status_of(reader), reader, writer


async def status_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(LIMIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(size)
    return head.split()[1]


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until the gateway closes; a connection that it breaks off has none."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return await reader.read()
    except ConnectionResetError:
        return b""


@asynccontextmanager
async def listens(folder: Path, **server: float) -> AsyncIterator[Port]:
    """A real gateway with these settings of `server`."""
    words = ", ".join(f"{name}: {value}" for name, value in server.items())
    (folder / "gateway.yaml").write_text(
        f"server: {{port: 0, admin_port: 0, close_s: 1, {words}}}\nadapters: {{pcm: {{}}, twilio: {{}}}}\n"
        f'access: {{keys: [{{name: ops, key: "{KEY}", may: [calls, connect]}}]}}\n'
    )
    async with serving(load_generation(folder / "gateway.yaml")) as bound, AsyncExitStack() as stack:
        host, port = bound.url.removeprefix("http://").split(":")
        yield Port(host, int(port), bound.refused, stack)


@pytest.mark.parametrize("said", [b"", b"G", b"GET /v1/ws/pcm HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"])
async def test_a_head_that_does_not_come(tmp_path: Path, said: bytes) -> None:
    """A connection that says nothing, or begins a request and never ends its head, is told so and closed in time."""
    async with listens(tmp_path, head_s=0.2) as port:
        reader, writer = await port.connect()
        writer.write(said)
        answer = await rest_of(reader)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not come within 0.2 s" in answer
        assert port.refused == {"head_late": 1}


async def test_a_head_that_comes_drop_by_drop(tmp_path: Path) -> None:
    """Sending a byte now and then buys no time: the deadline is for the whole head."""
    async with listens(tmp_path, head_s=0.3) as port:
        reader, writer = await port.connect()
        began = asyncio.get_running_loop().time()
        writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        answer = asyncio.ensure_future(rest_of(reader))
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait({answer}, timeout=0.02)
        assert answer.result()[:13] in (
            b"",
            b"HTTP/1.1 408 ",
        )  # what we send after its close may take the answer away
        assert port.refused == {"head_late": 1}
        assert asyncio.get_running_loop().time() - began < 5


async def test_a_connection_that_has_asked_may_rest(tmp_path: Path) -> None:
    """The deadline is over with the first head: a connection that is kept for the next request stays open."""
    async with listens(tmp_path, head_s=1) as port:
        status, reader, writer = await port.ask()
        assert status == b"200"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await reader.read(1)
        writer.write(ASKED)
        assert await status_of(reader) == b"200"
        assert not port.refused


async def test_strangers_make_room(tmp_path: Path) -> None:
    """When all places are taken, the connection that has proven nothing for longest is closed for a new one."""
    async with listens(tmp_path, sockets=16) as port:
        _, proven_reader, proven_writer = await port.ask()
        status, refused_reader, _ = await port.ask(STRANGE)  # asked and was not let in: a stranger still
        assert status == b"403"
        silent = [await port.connect() for _ in range(14)]
        assert [(await port.ask())[0] for _ in range(3)] == [b"200"] * 3
        assert await rest_of(refused_reader) == b""
        assert [await rest_of(reader) for reader, _ in silent[:2]] == [b"", b""]
        assert not silent[2][0].at_eof()
        assert port.refused == {"key_missing": 1, "crowded_out": 3}
        proven_writer.write(ASKED)
        assert await status_of(proven_reader) == b"200"


async def test_a_flood_of_silent_connections_keeps_nobody_out(tmp_path: Path) -> None:
    """While far more connections come than there are places, somebody with a proof is let in and stays."""
    async with listens(tmp_path, sockets=32) as port:
        _, reader, writer = await port.ask()
        for _ in range(10):
            for _ in range(40):
                await port.connect()
            assert (await port.ask())[0] == b"200"
        writer.write(ASKED)
        assert await status_of(reader) == b"200"


UPGRADE = (
    f"GET /v1/ws/pcm HTTP/1.1\r\nHost: x\r\nAuthorization: {KEY}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


async def upgraded(port: Port) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a media socket, which stays open."""
    reader, writer = await port.connect()
    writer.write(UPGRADE)
    async with asyncio.timeout(LIMIT_S):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


async def test_no_room_at_all(tmp_path: Path) -> None:
    """When everybody inside has proven who they are and is busy, a new connection is told to come again later."""
    async with listens(tmp_path, sockets=16) as port:
        inside = [await upgraded(port) for _ in range(16)]
        reader, _ = await port.connect()
        answer = await rest_of(reader)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5\r\n" in answer
        assert port.refused == {"sockets": 1}
        _, writer = inside[0]
        writer.transport.abort()
        async with asyncio.timeout(LIMIT_S):
            while await tried(port) != b"200":  # noqa: ASYNC110 - the gateway sees in a moment that one has gone
                await asyncio.sleep(0)


async def tried(port: Port) -> bytes:
    """The status of a request; empty where the connection was closed before it was read."""
    reader, writer = await port.connect()
    writer.write(ASKED)
    try:
        return await status_of(reader)
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()


async def test_one_key_cannot_keep_all_places(tmp_path: Path) -> None:
    """Connections that are kept for a next request make room, whoever they are from; sockets that are open stay."""
    async with listens(tmp_path, sockets=16) as port:
        socket_reader, _ = await upgraded(port)
        resting = [await port.ask() for _ in range(15)]
        assert [(await port.ask())[0] for _ in range(5)] == [b"200"] * 5
        assert port.refused == {"crowded_out": 5}
        assert [await rest_of(reader) for _, reader, _ in resting[:5]] == [b""] * 5
        assert not socket_reader.at_eof()


def files_allowed(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
    """Pretend that the system allows so many files; gives what is asked of it."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, limits: asked.append(limits))
    return asked


def test_as_many_files_as_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The soft limit of open files is raised to what the configuration may need, and the log tells where it cannot be."""
    settings = replace(Settings(), server=ServerSettings(sockets=4096), limits=LimitSettings(calls=400))
    assert needed_files(settings) == 4096 + 800 + 256
    asked = files_allowed(monkeypatch, 1024, 1_000_000)
    raise_file_limit(settings)
    assert asked == [(5152, 1_000_000)]
    assert not caplog.records
    asked = files_allowed(monkeypatch, 1024, 4096)
    raise_file_limit(settings)
    assert asked == [(4096, 4096)]
    assert "may have 4096 files open" in caplog.text
    assert files_allowed(monkeypatch, 8192, 8192) == []
    raise_file_limit(settings)
    files_allowed(monkeypatch, resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    raise_file_limit(settings)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_every_head_has_the_same_time(tmp_path: Path) -> None:
    """The head of a later request, which somebody with a proof may drip too, has `head_s` from its first byte."""
    async with listens(tmp_path, head_s=0.3) as port:
        status, reader, writer = await port.ask()
        assert status == b"200"
        began = asyncio.get_running_loop().time()
        writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        answer = asyncio.ensure_future(rest_of(reader))
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait({answer}, timeout=0.02)
        assert answer.result()[:13] in (b"", b"HTTP/1.1 408 ")
        assert port.refused == {"head_late": 1}
        assert asyncio.get_running_loop().time() - began < 5


async def test_a_body_is_no_head(tmp_path: Path) -> None:
    """A body may take longer than a head, and what follows it on the connection is answered."""
    head = "POST /twilio/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    async with listens(tmp_path, head_s=0.2) as port:
        reader, writer = await port.connect()
        writer.write(head.encode())
        for _ in range(4):
            with pytest.raises(TimeoutError):  # it does not break off before the body is whole
                await asyncio.wait_for(reader.read(1), 0.15)
            writer.write(b"x")
        assert await status_of(reader) == b"403"
        writer.write(ASKED)
        assert await status_of(reader) == b"200"
        assert not port.refused["head_late"]
