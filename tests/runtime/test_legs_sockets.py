import asyncio
import socket
import struct

import aiohttp
import msgspec
import pytest
from fakes import PlainCodec, until
from leg_sockets import connected, ended, tcp_of

from gateway.commands import Play
from gateway.errors import WireError
from gateway.events import CallerPressed, Event
from gateway.runtime.share import TURN, Share


async def test_peer_that_closes() -> None:
    """A peer's close ends the reading with its code and reason."""
    async with connected() as (leg, client, events, over):
        await client.send_str("1")
        await client.close(code=4001, message=b"enough")
        await ended(over, 2)
        assert events == [CallerPressed("1")]
        assert (leg.close_code, leg.ended_with, leg.close_reason) == (4001, 4001, "enough")


async def test_peer_that_resets() -> None:
    """A peer that resets its connection ends the reading as lost."""
    async with connected() as (leg, client, _, over):
        raw = tcp_of(client).get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tcp_of(client).abort()
        await ended(over, 2)
        assert leg.close_code == 1006
        leg.post(Play("r1", b"1"))


async def test_peer_that_vanishes_without_a_close() -> None:
    """A connection that ends without a close is lost, not closed."""
    async with connected() as (leg, client, _, over):
        tcp_of(client).close()
        await ended(over, 2)
        assert leg.close_code == 1006


async def test_peer_that_never_reads() -> None:
    """A peer that never reads counts as gone in time, and its connection is broken off, not kept for ever."""
    async with connected(send_s=0.2, close_s=0.2) as (leg, client, _, over):
        tcp_of(client).pause_reading()
        transport = leg._wire._socket._writer.transport  # type: ignore[attr-defined]

        def is_filled() -> bool:
            leg.post(Play("r1", bytes(65_536)))
            return not leg.is_open

        await until(is_filled)
        await ended(over, 2)
        await until(transport.is_closing)
        await until(lambda: not transport.get_write_buffer_size())


async def test_peer_that_never_answers_the_close() -> None:
    """A peer that does not answer the close costs the time for closing, and the reading ends at once."""
    async with connected(close_s=0.3) as (leg, client, _, over):
        await client.send_str("1")
        before = asyncio.get_running_loop().time()
        closing = asyncio.ensure_future(leg.close(1000, "bye"))
        await ended(over, 0.2)
        await closing
        assert asyncio.get_running_loop().time() - before < 1
        message = await client.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1000, "bye")
        assert leg.ended_with == 1000


async def test_message_over_the_limit() -> None:
    """A message over the server's limit closes that connection with the code for it, and raises nothing."""
    async with connected() as (leg, client, events, over):
        await client.send_bytes(bytes(2 << 20))
        await ended(over, 2)
        assert events == []
        assert leg.ended_with == 1009
        message = await client.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_invalid_text() -> None:
    """Text that is no UTF-8 closes that connection with the code for it."""
    async with connected() as (_, client, _events, over):
        await client.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
        await ended(over, 2)
        message = await client.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1007)


async def test_long_reason() -> None:
    """A reason that is too long for a close frame is cut where a letter ends."""
    async with connected() as (leg, client, _, over):
        closing = asyncio.ensure_future(leg.close(1008, "é" * 200))
        message = await client.receive()
        assert message.extra == "é" * 61
        await client.close()
        await closing
        await ended(over, 2)


async def test_both_ways() -> None:
    """Messages arrive unchanged and in order both ways."""
    async with connected() as (leg, client, events, over):
        for number in range(500):
            await client.send_str(str(number))
            leg.post(Play("r1", msgspec.json.encode(number)))
        for number in range(500):
            assert msgspec.json.decode(await client.receive_bytes()) == number
        await client.close()
        await ended(over, 2)
        assert events == [CallerPressed(str(number)) for number in range(500)]


class _Strict(PlainCodec):
    """Refuses one word for good."""

    def decode(self, message: str | bytes) -> list[Event]:
        if message == "impostor":
            raise WireError("this is another call", fatal=True)
        return super().decode(message)


async def test_peer_that_cannot_be_believed() -> None:
    """A fatal error closes the connection at once, with its sentence, however many errors are forgiven."""
    async with connected(_Strict(), wire_errors=10) as (leg, client, events, over):
        await client.send_str("impostor")
        await ended(over, 2)
        message = await client.receive()
        assert (message.data, message.extra) == (1008, "this is another call")
        assert (leg.wire_errors, leg.last_error, events) == (1, "this is another call", [])


class _Counted(Share):
    """Counts messages between two turns of the loop."""

    def __init__(self, messages_s: float) -> None:
        super().__init__(messages_s)
        self.in_a_row = self.most = 0
        self._turn()

    def take(self, size_bytes: int, values: int = 0) -> None:
        super().take(size_bytes, values)
        self.in_a_row += 1
        self.most = max(self.most, self.in_a_row)

    def _turn(self) -> None:
        self.in_a_row = 0
        self.turning = asyncio.get_running_loop().call_soon(self._turn)


@pytest.mark.parametrize("kind", ["TEXT", "PING", "PONG"])
async def test_others_have_their_turns_beside_a_flood(kind: str) -> None:
    """While a peer floods, also with control frames, the loop turns at least after every ten of its messages."""
    async with connected() as (leg, client, events, _):
        share = _Counted(20_000)
        leg._wire.ears._share = share  # type: ignore[attr-defined]
        for _ in range(3000):
            await client.send_frame(b"1", aiohttp.WSMsgType[kind])
        await client.send_str("last")
        await until(lambda: events and events[-1] == CallerPressed("last"))
        share.turning.cancel()
        assert 5 < share.most <= TURN


async def test_a_flood_can_be_closed() -> None:
    """A peer that floods is closed like any other, and the loop goes on turning while its close is waited for."""
    async with connected(messages_s=1000, close_s=0.5) as (leg, client, _, over):
        share = _Counted(20_000)
        leg._wire.ears._share = share  # type: ignore[attr-defined]
        for _ in range(20_000):
            await client.send_frame(b"1", aiohttp.WSMsgType.PING)
        await leg.close(1008, "enough")
        await ended(over, 2)
        share.turning.cancel()
        assert share.most <= TURN


async def test_peer_that_pings_and_is_gone() -> None:
    """A ping whose answer finds nobody ends the reading as lost; it is no fault of ours."""
    async with connected() as (leg, client, events, over):
        for _ in range(500):
            await client.send_frame(b"?", aiohttp.WSMsgType.PING)
        raw = tcp_of(client).get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tcp_of(client).abort()
        await ended(over, 2)
        assert (leg.close_code, events) == (1006, [])


async def test_a_burst_arrives_whole() -> None:
    """A megabyte in one burst, of messages of all sizes and in fragments, arrives unchanged and in order."""
    async with connected(messages_s=100_000) as (_, client, events, over):
        sizes = [1, 100, 5000, 0, 300_000, 7, 65_536, 4096, 500_000, 3]
        writer = client._writer
        for number, size in enumerate(sizes):
            await client.send_str(f"{number}{'x' * size}")
            for _ in range(50):
                await writer.send_frame(b"ping", aiohttp.WSMsgType.PING)
        await client.close()
        await ended(over, 5)
        assert events == [CallerPressed(f"{number}{'x' * size}") for number, size in enumerate(sizes)]


async def test_long_messages_right_after_each_other() -> None:
    """What is too long to be sent at once is sent once the peer has read what was before, and nobody is thrown out."""
    async with connected() as (leg, client, _, over):
        await until(lambda: leg._resting)
        ours = leg._wire._socket._writer.transport.get_extra_info("socket")  # type: ignore[attr-defined]
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        tcp_of(client).pause_reading()
        long = [bytes([number]) * 900_000 for number in range(5)]
        for message in long:
            leg.post(Play("r1", message))
        tcp_of(client).resume_reading()
        for message in long:
            assert await client.receive_bytes(timeout=5) == message
        assert leg.is_open
        await client.close()
        await ended(over, 2)
