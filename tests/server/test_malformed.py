"""What is not valid HTTP leaves no trace of what it held."""

import asyncio
import gzip
import logging
import socket
import time
from pathlib import Path

import pytest

from gateway.runtime.config import load_generation
from gateway.server import listening
from gateway.server.listening import serving

SECRETIVE = (
    b"GET /v1/calls HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer hush-hush\x01\r\n\r\n",
    b"GET /v1/calls HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization : Bearer hush-hush\r\n\r\n",
    b"GET /v1/ws/twilio/hush-hush\x01 HTTP/9.9\r\n\r\n",
)
ELSEWHERE = b"GET http://elsewhere.example/v1/calls HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
TORN = (
    b"POST /twilio/voice HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n9\r\nCallSid=C\r\nno size\r\n"
)


BOMB = gzip.compress(bytes(60 << 20))
UNPACKING_S = 0.1
"""Far less than it takes to unpack that."""
UPGRADE = (
    b"GET /v1/ws/pcm HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: %s\r\n\r\n"
)


async def answers(folder: Path, *requests: bytes) -> list[bytes]:
    (folder / "gateway.yaml").write_text(
        "server: {port: 0, admin_port: 0}\nadapters: {twilio: {}, pcm: {}}\n", encoding="utf-8"
    )
    found = []
    async with serving(load_generation(folder / "gateway.yaml")) as bound:
        host, port = bound.url.removeprefix("http://").split(":")
        for request in requests:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            found.append(head)
            if head.split()[1] == b"400":
                found[-1] += await reader.read()
            writer.close()
            await writer.wait_closed()
    return found


async def test_malformed_requests_are_not_quoted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is answered 400 and is one quiet line without a peer's bytes."""
    caplog.set_level(logging.INFO)
    found = await answers(tmp_path, *SECRETIVE)
    assert [answer.split()[1] for answer in found] == [b"400"] * 3
    assert "hush-hush" not in caplog.text
    assert [r.levelname for r in caplog.records if r.name == "talkpath.http"] == ["INFO"] * 3


async def test_malformed_requests_are_not_quoted_in_answers(tmp_path: Path) -> None:
    """A proxy may keep the bodies of errors, so they hold a sentence of ours and tell no versions."""
    for answer in await answers(tmp_path, *SECRETIVE):
        assert answer.endswith(b"\r\n\r\nThis is not valid HTTP.\n")
        assert b"\r\nServer: Talkpath\r\n" in answer


async def test_who_hangs_up_in_the_middle_of_a_body_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger who goes before the body is whole leaves no line in the log, however often."""
    caplog.set_level(logging.INFO)
    (tmp_path / "gateway.yaml").write_text(
        "server: {port: 0, admin_port: 0}\nadapters: {twilio: {}}\n", encoding="utf-8"
    )
    async with serving(load_generation(tmp_path / "gateway.yaml")) as bound:
        host, port = bound.url.removeprefix("http://").split(":")
        for _ in range(3):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /twilio/voice HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\nCallSid"
            )
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        await answers(tmp_path, ELSEWHERE)  # whoever comes later is answered
    assert not [record for record in caplog.records if record.name == "talkpath.http"]


async def test_little_is_kept_of_who_sends_much() -> None:
    """What a peer sends faster than it is read, or does not read, is not kept by us but for what a call needs."""
    loop = asyncio.get_running_loop()
    with listening._bind("public", "127.0.0.1", 0) as bound, socket.socket() as peer:
        peer.setblocking(False)
        await loop.sock_connect(peer, bound.getsockname())
        accepted, _ = await loop.sock_accept(bound)
        with accepted:
            kept = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            waiting = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert kept <= 2 * listening.RECEIVE_BYTES  # Linux counts its own bookkeeping in
        assert waiting <= 2 * listening.SEND_BYTES


async def test_requests_for_another_host_are_not_from_this_machine(tmp_path: Path) -> None:
    """A first line that names another host counts like a foreign Host."""
    (answer,) = await answers(tmp_path, ELSEWHERE)
    assert answer.split()[1] == b"403"


async def test_a_body_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    """It is the peer's fault, not ours."""
    (answer,) = await answers(tmp_path, TORN)
    assert answer.split()[1] == b"400"


@pytest.mark.parametrize("path", ["/twilio/voice", "/v1/calls", "/v1/ws/pcm", "/nowhere"])
@pytest.mark.parametrize("coding", ["gzip", "Deflate", "identity, gzip"])
async def test_nothing_is_unpacked(tmp_path: Path, path: str, coding: str) -> None:
    """A small body that unpacks to sixty megabytes is refused in a sentence, and costs no more than any other."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: {coding}\r\nContent-Length: {len(BOMB)}\r\n\r\n"
    spent = []
    for body in (b"x" * len(BOMB), b"x" * len(BOMB), BOMB):  # what is done once is done the first time
        began = time.thread_time()
        (answer,) = await answers(tmp_path, head.encode() + body)
        spent.append(time.thread_time() - began)
    assert spent[2] - spent[1] < UNPACKING_S
    assert b" 415 " in answer


async def test_subprotocols_are_echoed_or_ignored_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A known one is answered, an unknown one is not, and neither is a line of somebody else's making."""
    caplog.set_level(logging.INFO)
    known, unknown = await answers(
        tmp_path, UPGRADE % b"audio.twilio.com", UPGRADE % b"realtime, openai-insecure-api-key.hush-hush"
    )
    assert known.startswith(b"HTTP/1.1 101")
    assert b"\r\nSec-WebSocket-Protocol: audio.twilio.com\r\n" in known
    assert unknown.startswith(b"HTTP/1.1 101")
    assert b"sec-websocket-protocol" not in unknown.lower()
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]
    assert "hush-hush" not in caplog.text


async def test_who_sends_no_http_is_limited_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each counts as a request of its address, which the line names; beyond the limit it gets 429 and no line."""
    caplog.set_level(logging.INFO)
    (tmp_path / "gateway.yaml").write_text(
        "server: {port: 0, admin_port: 0}\nadapters: {pcm: {}}\nlimits: {per_address: {requests: 3}}\n"
    )
    statuses = []
    async with serving(load_generation(tmp_path / "gateway.yaml")) as bound:
        for _ in range(6):
            reader, writer = await asyncio.open_connection(*bound.url.removeprefix("http://").split(":"))
            writer.write(SECRETIVE[0])
            async with asyncio.timeout(10):
                answer = await reader.read()
            statuses.append(int(answer.split()[1]))
            assert b"\r\nServer: Talkpath\r\n" in answer
            writer.close()
        assert bound.refused == {"address_limit": 3}
    assert statuses == [400] * 3 + [429] * 3
    lines = [record.getMessage() for record in caplog.records if record.name == "talkpath.http"]
    assert lines == ["a request was refused: it is not valid HTTP from=127.0.0.1"] * 3


@pytest.mark.parametrize("path", ["/twilio/voice", "/v1/sessions"])
async def test_a_body_that_is_too_large_is_not_waited_for(tmp_path: Path, path: str) -> None:
    """A length above the limit is answered from the head alone."""
    request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 65537\r\n\r\n".encode()
    async with asyncio.timeout(5):
        (answer,) = await answers(tmp_path, request)
    assert answer.split()[1] == b"413"
    assert b"Connection: close" in answer
