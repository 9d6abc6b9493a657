import asyncio
from collections.abc import Callable
from typing import Self

from fakes import passing, virtual

from gateway.runtime.pulse import MARGIN_S, Pulse

LOST_AFTER_S = 6.0


class Peer:
    """A connection and whoever is at its other end, as far as a pulse is concerned."""

    def __init__(self, *, answers_after_s: float | None = 0.1) -> None:
        self.heard = 0
        self.listen = True
        self.ears = self
        self.on_pong: Callable[[bytes], None] | None = None
        self.answers_after_s = answers_after_s
        """How late it answers; None for a peer that does not."""
        self.pings: list[bytes] = []
        self.broken_off = ""
        self.broken_off_at = 0.0
        self._loop = asyncio.get_running_loop()

    def ping(self, payload: bytes) -> None:
        self.pings.append(payload)
        if self.answers_after_s is not None:
            self._loop.call_later(self.answers_after_s, self.answer, payload)

    def answer(self, payload: bytes) -> None:
        self.heard += 1
        assert self.on_pong
        self.on_pong(payload)

    def break_off(self, why: str) -> None:
        self.broken_off = why
        self.broken_off_at = self._loop.time()


class Watched:
    """A pulse that is being watched."""

    def __init__(self, peer: Peer, *, asks: bool = True) -> None:
        self.pulse = Pulse(peer, LOST_AFTER_S, asks=asks)
        self.began_at = asyncio.get_running_loop().time()

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self.pulse.watch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


@virtual
async def test_a_peer_that_only_answers_pings_is_there() -> None:
    """An hour of silence on both sides ends nothing, as long as pings are answered."""
    peer = Peer()
    async with Watched(peer):
        await passing(3600)
    assert not peer.broken_off
    assert len(peer.pings) >= 3600


@virtual
async def test_a_peer_that_has_fallen_silent_is_broken_off_in_time() -> None:
    """Who has answered and then says nothing more counts as lost, after the limit and at most a beat."""
    peer = Peer()
    async with Watched(peer) as watched:
        await passing(10.5)
        peer.answers_after_s = None
        await passing(30)
        silent_s = peer.broken_off_at - watched.began_at - 10.1
    assert peer.broken_off == "nothing has come for 6 s"
    assert LOST_AFTER_S <= silent_s <= LOST_AFTER_S + 1


@virtual
async def test_late_answers_are_signs_of_life() -> None:
    """Answers may come as late as they like, even later than the limit, while anything comes at all."""
    peer = Peer()
    async with Watched(peer):
        await passing(5.5)
        peer.answers_after_s = LOST_AFTER_S - 0.5
        await passing(60)
        assert not peer.broken_off
        peer.answers_after_s = LOST_AFTER_S * 3
        for _ in range(4):
            await passing(LOST_AFTER_S - 1)
            peer.heard += 1  # a message comes instead of an answer
        await passing(60)  # the late answers follow each other at the pace of the pings
    assert not peer.broken_off


@virtual
async def test_messages_are_signs_of_life_without_any_answer() -> None:
    """A peer that stops answering pings while it goes on talking is there."""
    peer = Peer()
    async with Watched(peer):
        await passing(5.5)
        peer.answers_after_s = None
        for _ in range(40):
            await passing(LOST_AFTER_S - 1)
            peer.heard += 1
    assert not peer.broken_off


@virtual
async def test_a_peer_that_never_answers_is_not_held_to_it() -> None:
    """Not every server answers pings; one that never has is judged by other watches."""
    peer = Peer(answers_after_s=None)
    async with Watched(peer) as watched:
        await passing(600)
        assert watched.pulse.unheard_s() == 0
    assert not peer.broken_off


@virtual
async def test_who_must_sound_all_the_time_needs_no_pings() -> None:
    """A carrier is not asked, and is lost when its sound stops."""
    peer = Peer()
    async with Watched(peer, asks=False):
        for _ in range(100):
            await passing(0.5)
            peer.heard += 1
        last_at = asyncio.get_running_loop().time()
        await passing(LOST_AFTER_S * 2)
    assert LOST_AFTER_S <= peer.broken_off_at - last_at <= LOST_AFTER_S + 1
    assert peer.pings == []


@virtual
async def test_time_in_which_nobody_listens_does_not_count() -> None:
    """While this side does not read, whatever the peer says stays unheard by our own doing."""
    peer = Peer()
    async with Watched(peer):
        await passing(5.5)
        peer.listen = False
        peer.answers_after_s = None
        await passing(60)
        assert not peer.broken_off
        peer.listen = True
        await passing(LOST_AFTER_S - 1)
        assert not peer.broken_off


@virtual
async def test_a_stall_of_this_process_is_not_the_peers() -> None:
    """Time that passes without a look, as on a suspended machine, is one look and not many."""
    peer = Peer()
    async with Watched(peer):
        await passing(5.5)
        loop = asyncio.get_running_loop()
        for _ in range(20):
            loop.skip(LOST_AFTER_S * 2)  # type: ignore[attr-defined]
            await passing(1.2)
    assert not peer.broken_off


@virtual
async def test_what_a_healthy_connection_takes_down_is_a_round_trip() -> None:
    """With pings that are answered in time, only what was on its way when it broke may be lost."""
    peer = Peer(answers_after_s=0.1)
    async with Watched(peer) as watched:
        assert watched.pulse.unheard_s() == 0
        await passing(20.9)
        assert round(watched.pulse.unheard_s() - MARGIN_S, 6) == 0.1
        assert round(watched.pulse.round_trip_s, 6) == 0.1


@virtual
async def test_what_a_silent_connection_takes_down_is_all_since_the_last_answered_ping() -> None:
    """Nobody knows when it fell silent, only what it had received before."""
    peer = Peer(answers_after_s=0.1)
    async with Watched(peer) as watched:
        await passing(20.5)  # the last ping was sent, and answered, at 20
        peer.answers_after_s = None
        await passing(4)
        assert round(watched.pulse.unheard_s(), 6) == 4.5


@virtual
async def test_answers_that_nobody_asked_for_prove_nothing() -> None:
    """They are signs of life, but do not say what was received."""
    peer = Peer(answers_after_s=None)
    async with Watched(peer) as watched:
        for _ in range(60):
            await passing(1)
            peer.answer(b"unasked")
        assert not peer.broken_off
        assert watched.pulse.unheard_s() == 0


@virtual
async def test_a_line_on_which_an_answer_is_overdue_is_told_once() -> None:
    """With how long ago the last ping was sent that was answered; and again when anything comes."""
    peer, told = Peer(answers_after_s=0.1), list[tuple[float, float]]()
    async with Watched(peer) as watched:
        now = asyncio.get_running_loop().time
        watched.pulse.on_quiet = lambda unproven_s: told.append(
            (round(now() - watched.began_at, 6), round(unproven_s, 6))
        )
        await passing(60.5)
        assert told == []  # the last ping was sent, and answered, at 60
        peer.answers_after_s = None
        await passing(4.0)
        assert told == [(61.35, 1.35)]
        peer.answer(peer.pings[-1])
        assert told[1:] == [(64.5, 0.0)]


@virtual
async def test_a_sign_of_another_kind_ends_the_quiet_too() -> None:
    """A message shows that the line lives, as much as an answer does; and a peer that goes on talking is not quiet."""
    peer, told = Peer(), list[float]()
    async with Watched(peer) as watched:
        watched.pulse.on_quiet = told.append
        await passing(10.5)
        peer.answers_after_s = None
        await passing(2.0)
        assert [seconds > 0 for seconds in told] == [True]
        for _ in range(400):
            peer.heard += 1
            await passing(0.05)
        assert told[1:] == [0.0]


@virtual
async def test_answers_that_have_become_slow_are_not_missed_for_long() -> None:
    """The first late one is told of, and those after it are as usual."""
    peer, told = Peer(answers_after_s=0.1), list[float]()
    async with Watched(peer) as watched:
        watched.pulse.on_quiet = told.append
        await passing(10.5)
        peer.answers_after_s = 2.0
        await passing(60)
    assert [seconds > 0 for seconds in told] == [True, False]


@virtual
async def test_nobody_is_told_of_a_peer_that_never_answers_or_is_not_read() -> None:
    """Neither says anything of the line."""
    for peer in (Peer(answers_after_s=None), Peer()):
        told: list[float] = []
        async with Watched(peer) as watched:
            watched.pulse.on_quiet = told.append
            await passing(5.5)
            peer.listen, peer.answers_after_s = peer.answers_after_s is None, None
            await passing(60)
        assert told == []
