"""Clocks that jump: an hour in one step, a process that is stopped and goes on. Calls go on, and nothing bursts."""

import asyncio

import pytest
from agent_replies import LEAD_MS, SLACK_MS
from calling import FRAME, talking
from dialect import Dialect
from fakes import LOUD, FakeAgent, Street, VirtualLoop, passing, soon, virtual
from peers import Peer
from play import INFO, Heard, Play, caller_audio, reply, reply_audio, terms
from stopped import STOPPED_DIALECTS, listen_through_a_stop

from gateway.call.conversation import Phase
from gateway.commands import CallEnded, HangUp
from gateway.events import (
    AgentLost,
    AnyEvent,
    CallerHeard,
    CallerLost,
    CallerReturned,
    EndingAsked,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    TimeReached,
)

HOUR_S = 3600.0

# The machine

BEFORE: dict[str, list[AnyEvent]] = {
    "nobody speaks": [],
    "a reply plays": reply(5000),
    "a reply is under way": [ReplyStarted("r1"), *reply_audio(1000)],
    "the caller speaks": [SpeechStarted()],
    "the agent is away": [AgentLost("gone", "resume")],
    "the caller is away": [CallerLost("gone")],
    "it ends": [*reply(1000), EndingAsked("hang_up")],
}
AFTER: dict[str, AnyEvent] = {
    "time": TimeReached(),
    "sound of the caller": caller_audio(),
    "sound of the agent": reply_audio(20, "r2")[0],
    "the end of a reply": ReplyEnded("r1"),
    "a mark": CallerHeard("0:400"),
    "the caller returns": CallerReturned(INFO),
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("before", BEFORE)
def test_an_hour_passes_in_one_step(before: str, after: str) -> None:
    """Whatever was going on, the machine takes the jump in its stride: no burst, no second end, and clocks ahead."""
    play = Play.talking(terms(call_s=2 * HOUR_S, silence_s=2 * HOUR_S), strict=False)
    play.on(BEFORE[before], ...)
    play.now += HOUR_S
    play.on(AFTER[after], ...)
    for _ in range(3):
        play.on(TimeReached(), ...)
    sent = [item for item in play.items(Heard) if isinstance(item, Heard)]
    assert sum(piece.ms for piece in sent) <= 5000 + 20
    assert len(play.items(HangUp)) == len(play.items(CallEnded)) == play.is_in(Phase.ENDED)
    assert play.is_in(Phase.ENDED) or (play.machine.deadline or 0) > play.now


# A running call


@virtual
async def test_the_loop_s_clock_jumps() -> None:
    """A call whose process slept for an hour goes on: both sides are heard, in order, as if nothing had been."""
    async with talking(Street(FakeAgent())) as call:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        call.agent.speak("r1", LOUD * 3000)
        await passing(1)
        loop.skip(HOUR_S)
        before = len(call.wire.sound())
        call.wire.give(FRAME)
        call.agent.speak("r2", LOUD * 300)
        await passing(5)
        assert len(call.wire.sound()) > before
        assert call.wire.sound().endswith((LOUD * 300)[-480:])
        assert FRAME in call.agent.audio
        assert call.runner.phase == "talking"
        call.wire.hang_up()
        await soon()


# A process that is stopped


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Peer, list[str]]]:
    """Calls over a gateway that was stopped for three seconds."""
    return asyncio.run(listen_through_a_stop(tmp_path_factory.mktemp("stopped")))


@pytest.mark.parametrize("dialect", STOPPED_DIALECTS, ids=lambda dialect: dialect.adapter)
def test_a_stopped_process_goes_on(heard: dict[str, tuple[Peer, list[str]]], dialect: Dialect) -> None:
    """Nobody is thrown out, and every frame of the reply is heard in order, those from while it was stopped too."""
    assert heard[dialect.adapter][1] == []


@pytest.mark.parametrize("dialect", STOPPED_DIALECTS, ids=lambda dialect: dialect.adapter)
def test_a_stopped_process_does_not_burst(heard: dict[str, tuple[Peer, list[str]]], dialect: Dialect) -> None:
    """What came meanwhile is sent on at once, as far as the lead goes, and then at the pace of speech."""
    assert heard[dialect.adapter][0].heard_at
    far_ends_ms, now = 0.0, 0.0
    for at, size_bytes in heard[dialect.adapter][0].heard_at:
        far_ends_ms = max(0.0, far_ends_ms - (at - now) * 1000) + size_bytes / 8
        now = at
        assert far_ends_ms <= LEAD_MS + SLACK_MS
