import asyncio
import socket
from typing import Any

import aiohttp
import pytest
from fakes import LOUD, PlainCodec, pcm_codec, until
from leg_sockets import connected, ended

from gateway.errors import WireError
from gateway.events import AnyEvent, CallerLeft, CallerPressed, Event
from gateway.runtime.legs import WebSocketLeg
from gateway.runtime.pieces import PIECE_BYTES
from gateway.runtime.share import PATIENCE_S, TURN
from gateway.server.caller_leg import CallerLeg
from gateway.settings import ServerSettings


class Taking:
    """Takes events where they are heard, as long as it may."""

    def __init__(self, leg: WebSocketLeg) -> None:
        self.taken: list[AnyEvent] = []
        self.may = True
        self.tasks: set[Any] = set()
        leg.take = self.take

    def take(self, event: AnyEvent) -> bool:
        if self.may:
            self.tasks.add(asyncio.current_task())
            self.taken.append(event)
        return self.may


def pressed(*digits: object) -> list[AnyEvent]:
    return [CallerPressed(str(digit)) for digit in digits]


async def waits(leg: WebSocketLeg) -> None:
    """Until the leg's reader has nothing to read."""
    await until(lambda: leg._wire.ears.listen)  # type: ignore[attr-defined]


async def test_messages_are_taken_where_they_come() -> None:
    """While the reader waits, events are taken before any task is woken, in order, and the reader learns nothing."""
    async with connected() as (leg, client, events, _):
        await waits(leg)
        taking = Taking(leg)
        for number in range(3 * int(TURN)):
            await client.send_str(str(number))
            await until(lambda: len(taking.taken) > number)  # noqa: B023 - waited for in this round
        assert (taking.taken, events) == (pressed(*range(3 * int(TURN))), [])
        assert taking.tasks == {None}
        assert leg._wire.ears.heard == 3 * TURN  # type: ignore[attr-defined]


async def test_a_burst_is_taken_a_turn_at_a_time() -> None:
    """Of messages that come together no more are taken in one go than the connection's turn is long."""
    async with connected() as (leg, client, events, _):
        await waits(leg)
        taking = Taking(leg)
        cork = client._writer.transport.get_extra_info("socket")
        cork.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for number in range(300):
            await client.send_str(str(number))
        cork.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        await until(lambda: len(taking.taken) + len(events) == 300)
        assert len(taking.taken) <= TURN
        assert taking.taken + events == pressed(*range(300))


async def test_what_is_not_taken_is_read() -> None:
    """What is not taken at once reaches the reader, with everything behind it, and each event goes one way only."""
    async with connected() as (leg, client, events, _):
        await waits(leg)
        taking, order = Taking(leg), []
        for number in range(200):
            taking.may = number % 3 > 0
            await client.send_str(str(number))
            await until(lambda: len(taking.taken) + len(events) > number)  # noqa: B023 - as above
            order.append((taking.taken if taking.taken[-1:] == pressed(number) else events)[-1])
        assert order == pressed(*range(200))
        assert len(events) > 60


class Several(PlainCodec):
    """Hears each letter as an event of its own; `x` is the end of a call, `!` no message, `?` a bug."""

    decoded = 0

    def decode(self, message: str | bytes) -> list[Event]:
        self.decoded += 1
        if "!" in str(message):
            raise WireError("there are no exclamation marks")
        if "?" in str(message):
            raise ZeroDivisionError
        return [CallerLeft("x") if letter == "x" else CallerPressed(letter) for letter in str(message)]


async def test_a_message_that_is_taken_in_part() -> None:
    """The rest of a message whose first events were taken goes to the reader, and it is decoded once."""
    codec = Several()
    async with connected(codec) as (leg, client, events, _):
        await waits(leg)
        taking = Taking(leg)
        await client.send_str("12x34")
        await until(lambda: len(events) == 3)
        assert taking.taken == pressed(1, 2)
        assert events == [CallerLeft("x"), *pressed(3, 4)]
        assert codec.decoded == 1


async def test_what_cannot_be_read_is_answered_by_the_reader() -> None:
    """A message that the codec refuses counts as one error, wherever it was looked at, and the next is heard."""
    codec = Several()
    async with connected(codec) as (leg, client, events, _):
        await waits(leg)
        taking = Taking(leg)
        await client.send_str("!")
        await until(lambda: leg.wire_errors)
        await waits(leg)
        await client.send_str("1")
        await until(lambda: taking.taken)
        assert (leg.wire_errors, codec.decoded, taking.taken) == (1, 2, pressed(1))
        for _ in range(9):
            await client.send_str("!")
        await client.send_str("2")
        await until(lambda: taking.taken + events == pressed(1, 2))
        assert leg.is_open  # ten errors, but not in a row


async def test_a_bug_of_the_codec_comes_out_of_the_reading(caplog: pytest.LogCaptureFixture) -> None:
    """A codec that breaks while a message is looked at where it comes breaks the reading, in the reader's task."""
    async with connected(Several()) as (leg, client, events, _):
        await waits(leg)
        taking = Taking(leg)
        await client.send_str("1")
        await until(lambda: taking.taken)
        await client.send_str("?")
        await until(lambda: "ZeroDivisionError" in caplog.text)
        assert "next_event" in caplog.text
        assert events == []
        leg._end_reading()  # as whoever reads does with a leg that broke
        await until(lambda: not leg._writing)


async def test_the_first_words_of_a_caller_reach_who_waits_for_them() -> None:
    """A caller's first message is not taken away from who limits the wait for it, and the limit ends with it."""
    server = ServerSettings(first_message_s=0.3, close_s=1)

    def make(socket: Any, codec: Any, **_: Any) -> CallerLeg:
        leg = CallerLeg(socket, codec, server)
        leg.first = leg._read.popleft()  # as one that was crossed
        return leg

    async with connected(pcm_codec(), make=make) as (leg, client, events, _):
        await until(lambda: events)  # the call's beginning is the dialect's own
        await waits(leg)
        taking = Taking(leg)
        await client.send_bytes(LOUD)
        await until(lambda: len(events) == 2)
        await waits(leg)
        await client.send_bytes(LOUD)
        await until(lambda: taking.taken)
        opened = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > opened + 0.4)
        assert leg.is_open


async def test_long_messages_are_left_to_the_reader() -> None:
    """A message that is more than a moment's work is not taken where it comes."""
    async with connected() as (leg, client, events, _):
        await waits(leg)
        taking = Taking(leg)
        await client.send_str("1" * (PIECE_BYTES + 1))
        await until(lambda: events)
        assert not taking.taken


async def test_control_frames_between_messages() -> None:
    """Pings between messages are answered in order, and the close behind them ends the reading with its code."""
    async with connected() as (leg, client, events, over):
        await waits(leg)
        taking = Taking(leg)
        for number in range(20):
            await client.send_str(str(number))
            await client.ping(b"%d" % number)
        await client.close(code=4002, message=b"done")
        await ended(over, 2)
        assert sorted(taking.taken + events, key=lambda event: int(event.digits)) == pressed(*range(20))  # type: ignore[union-attr]
        assert (leg.close_code, leg.close_reason) == (4002, "done")


async def test_a_flood_is_taken_at_its_rate() -> None:
    """A peer that sends faster than its rate for longer than is borne is left unread, though somebody would take it."""
    async with connected(messages_s=100, close_s=0.3) as (leg, client, events, over):
        await waits(leg)
        taking = Taking(leg)
        most = int(100 * PATIENCE_S)
        for _ in range(3 * most):
            await client.send_str("1")
        await until(lambda: len(taking.taken) + len(events) >= most)
        before = asyncio.get_running_loop().time()
        await until(lambda: len(taking.taken) + len(events) >= most + 50)
        assert asyncio.get_running_loop().time() - before > 0.3
        await leg.close(1008, "enough")
        await ended(over, 2)


@pytest.mark.parametrize("gone", ["close", "abort"])
async def test_the_end_wakes_the_reader(gone: str) -> None:
    """A connection that ends while its messages are taken where they come ends the reading, and nobody is kept."""
    async with connected() as (leg, client, _, over):
        await waits(leg)
        Taking(leg)
        await client.send_str("1")
        transport = client._writer.transport
        transport.abort() if gone == "abort" else transport.close()
        await ended(over, 2)
        assert leg.close_code == 1006
        assert leg._wire.hear is None


async def test_messages_over_the_limit() -> None:
    """A message that aiohttp refuses ends the connection with its code, though nobody is woken by messages."""
    async with connected() as (leg, client, _, over):
        await waits(leg)
        taking = Taking(leg)
        await client.send_str("1")
        await client.send_bytes(bytes(2 << 20))
        await ended(over, 2)
        assert (taking.taken, leg.ended_with) == (pressed(1), 1009)
        assert (await client.receive()).type is aiohttp.WSMsgType.CLOSE
