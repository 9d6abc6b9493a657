import asyncio

import pytest
from fakes import MemoryWire, pcm_codec, virtual

from gateway.events import CallerAudio
from gateway.runtime.legs import WireLeg
from gateway.runtime.pieces import PIECE_BYTES
from gateway.runtime.share import LONGEST_S, PATIENCE_S, TURN, Share


def read(share: Share, now: float, size_bytes: int = 0) -> tuple[int, float]:
    """Read on until the connection must be left unread; gives how many messages that were, and the pause."""
    count, pause_s = 0, 0.0
    while not pause_s:
        in_a_row = 0
        while share.turn_left >= 1:
            share.take(size_bytes)
            in_a_row += 1
        assert in_a_row <= TURN
        count += in_a_row
        pause_s = share.pause_s(now)
    return count, pause_s


@pytest.mark.parametrize("messages_s", [50.0, 375.0, 990.0])
def test_nobody_waits_who_speaks_at_the_pace_of_a_call(messages_s: float) -> None:
    """A peer below its rate is never left unread, however long the call lasts."""
    share, now = Share(1000), 5000.0
    for _ in range(20_000):
        now += 1 / messages_s
        assert share.turn_left >= 1 or share.pause_s(now) == 0
        share.take(0)


def test_a_burst_is_read_at_once() -> None:
    """What a few seconds at the rate would have brought may come at once, again after a while."""
    share = Share(1000)
    for now in (5000.0, 5000.0 + 2 * PATIENCE_S):
        count, pause_s = read(share, now)
        assert count == pytest.approx(PATIENCE_S * 1000, rel=0.02)
        assert pause_s <= TURN / 1000


@pytest.mark.parametrize("size_bytes", [0, 160, 20_000])
def test_a_flood_is_read_at_its_rate(size_bytes: int) -> None:
    """Whoever goes on sending as fast as can be is read at the rate, of messages and of kilobytes."""
    share, now = Share(1000), 5000.0
    now += read(share, now)[1]
    count = 0
    while now < 5010:
        found, pause_s = read(share, now, size_bytes)
        count += found
        now += pause_s
    assert count * (1 + size_bytes / 1024) == pytest.approx(10_000, rel=0.05)


def test_the_longest_message_costs_its_sender_a_moment() -> None:
    """However long a message was, the connection is left unread for a second at most."""
    share = Share(1000)
    share.take(1 << 30)
    assert share.pause_s(0.0) == LONGEST_S


@virtual
async def test_a_long_message_is_read_piece_by_piece() -> None:
    """A minute of sound in one message is a moment's work after the other, and nothing of it is lost."""
    wire = MemoryWire()
    leg = WireLeg(wire, pcm_codec())
    sound = bytes(range(256)) * 4000
    wire.give(sound)
    wire.hang_up()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not leg._over:
            asyncio.get_running_loop().call_soon(turn)

    turn()
    pieces = [event async for event in leg if isinstance(event, CallerAudio)]
    assert b"".join(piece.audio for piece in pieces) == sound
    assert max(len(piece.audio) for piece in pieces) <= PIECE_BYTES
    assert turns >= len(pieces)
