import asyncio
from typing import Any, Literal

import pytest
from calling import FRAME, QUERY, line, talking, watched
from fakes import (
    FakeAgent,
    MemoryWire,
    Street,
    caller_leg,
    pcm_codec,
    soon,
    twilio_codec,
    twilio_media,
    until,
    virtual,
)
from serving import start_stream

from gateway.audio import PCM_24K
from gateway.commands import OpenAgent, Remember
from gateway.contracts import SessionMemory
from gateway.events import (
    AgentLost,
    AgentRefused,
    AnyEvent,
    CallerAudio,
    CallerLost,
    CallerReturned,
    CallInfo,
    SpeechStarted,
    StopRequested,
)
from gateway.runtime.agent_side import AgentSide
from gateway.runtime.dial import DialError, RefusedError, StrangerError
from gateway.runtime.inbox import Inbox
from gateway.settings import AgentSettings

# Ends


@virtual
async def test_client_ends() -> None:
    """A client that ends the session is told, the agent's session is ended first, and both are closed."""
    async with talking(Street()) as call:
        call.wire.give({"type": "session.end"})
        await call.life
        assert call.wire.closed_with == 1000
        assert call.agent.kinds() == ["session.update", "session.end"]
        assert call.agent.gone_at is not None


@virtual
async def test_lost_client() -> None:
    """A dead socket of a client that cannot come back ends the call and the agent's session."""
    async with talking(Street()) as call:
        call.wire.hang_up()
        await call.life
        assert call.agent.kinds()[-1] == "session.end"


@virtual
async def test_agent_that_does_not_answer_the_end() -> None:
    """The answer to the end of the session is waited for five seconds, then the agent is hung up on."""
    async with talking(Street(FakeAgent(ends=False))) as call:
        call.wire.give({"type": "session.end"})
        await call.life
        assert call.agent.ended_at is not None
        assert call.agent.gone_at == pytest.approx(call.agent.ended_at + 5)


@virtual
async def test_stop() -> None:
    """A stop lets the caller hear the house's sound, then ends both sides."""
    watcher, kinds = watched(Remember)
    async with talking(Street(observers=kinds)) as call:
        call.runner.offer(StopRequested())
        await call.life
        assert call.wire.sound()
        assert call.wire.closed_with == 1000
        assert call.agent.kinds()[-1] == "session.end"
        assert watcher.of(Remember)[-1].fact.reason == "stopped"
        assert watcher.closed


@virtual
async def test_socket_that_says_nothing() -> None:
    """A caller's socket that ends before it said a word ends the call, and no agent is opened."""
    street = Street()
    async with line(street, twilio_codec()) as call:
        call.wire.hang_up()
        await call.life
        assert not street.opened


@virtual
async def test_serve_after_the_end() -> None:
    """A socket that comes when the call is over is closed at once."""
    async with talking(Street()) as call:
        call.wire.give({"type": "session.end"})
        await call.life
        late = MemoryWire()
        await call.runner.serve(caller_leg(late, pcm_codec()))
        assert late.closed_with == 1000


@virtual
async def test_serve_during_the_goodbye() -> None:
    """A socket that comes while the agent is still being waited for is closed at once too."""
    async with talking(Street(FakeAgent(ends=False))) as call:
        call.wire.give({"type": "session.end"})
        await until(lambda: call.agent.ended_at)
        late = MemoryWire()
        await call.runner.serve(caller_leg(late, pcm_codec()))
        assert late.closed_with == 1000
        assert not call.life.done()


@virtual
async def test_blocked_inbox_does_not_hang_the_end() -> None:
    """A call whose inbox is full, with both sides waiting for room, still ends in bounded time."""
    street = Street(limits={"inbox": 64})
    async with talking(street) as call:
        call.wire.give(*[FRAME] * 500)
        for _ in range(500):
            call.agent.say("input.speech.stopped")
        call.runner.offer(StopRequested())
        await call.life


@virtual
async def test_caller_that_never_answers_the_close() -> None:
    """A caller's wire that never answers the close costs the time for closing and no more."""
    wire = MemoryWire(answers_close=False)
    async with line(Street(), wire=wire) as call:
        await until(lambda: call.runner.phase == "talking")
        before = asyncio.get_running_loop().time()
        wire.give({"type": "session.end"})
        await call.life
        assert asyncio.get_running_loop().time() - before < 1.5


@virtual
async def test_caller_that_does_not_read_at_the_end() -> None:
    """A caller's wire that takes nothing any more does not hold up the end."""
    async with talking(Street()) as call:
        call.wire.is_stuck = True
        call.agent.speak("r1", FRAME * 20)
        await soon()
        before = asyncio.get_running_loop().time()
        call.wire.give({"type": "session.end"})
        await call.life
        assert asyncio.get_running_loop().time() - before < 3


@virtual
async def test_caller_that_reads_nothing() -> None:
    """A caller who takes nothing of what is played counts as gone after ten seconds."""
    async with talking(Street()) as call:
        call.wire.is_stuck = True
        before = asyncio.get_running_loop().time()
        call.agent.speak("r1", FRAME * 3000)
        await call.life
        assert asyncio.get_running_loop().time() - before < 12


# Dialling


@virtual
async def test_dial_in_progress_is_cancelled() -> None:
    """A call that ends while its agent is being dialled stops dialling at once."""

    class Never(Street):
        def _connect(self, _options: Any) -> FakeAgent:
            raise AssertionError

    street = Never()
    dialling = asyncio.Event()

    async def never(_attempt: Any) -> Any:
        dialling.set()
        await asyncio.Event().wait()

    street.dialler.open = never  # type: ignore[method-assign, assignment]
    async with line(street) as call:
        await dialling.wait()
        before = asyncio.get_running_loop().time()
        call.wire.give({"type": "session.end"})
        await call.life
        assert asyncio.get_running_loop().time() == pytest.approx(before)


@virtual
async def test_agent_that_is_never_ready() -> None:
    """An agent that does not become ready is ended and replaced, and its late words are not heard."""
    watcher, kinds = watched(SpeechStarted)
    street = Street(FakeAgent(ready=False, ends=False), observers=kinds)
    async with line(street) as call:
        await until(lambda: len(street.opened) == 2)
        old = street.opened[0]
        await until(lambda: old.ended_at)
        assert old.kinds() == ["session.update", "session.end"]
        old.say("input.speech.started")
        old.say("session.ready", session_id="old")
        await until(lambda: old.gone_at)
        assert old.gone_at == pytest.approx((old.ended_at or 0) + 5)
        assert not watcher.seen
        await until(lambda: call.runner.phase == "talking")
        call.wire.give({"type": "session.end"})


@virtual
async def test_events_of_a_dismissed_agent_that_wait() -> None:
    """What a replaced agent said before, and waits in the inbox, never reaches the machine."""
    watcher, kinds = watched(SpeechStarted)
    street = Street(FakeAgent(ready=False, ends=False), observers=kinds)
    async with line(street) as call:
        await until(lambda: street.opened)
        old = street.opened[0]
        old.say("session.error", code="session_expired", message="over")
        for _ in range(5):
            old.say("input.speech.started")
        await until(lambda: call.runner.phase == "talking")
        assert len(street.opened) == 2
        assert not watcher.seen
        call.wire.give({"type": "session.end"})


@pytest.mark.parametrize("moment", ["opening", "talking", "ending"])
@virtual
async def test_agent_dies_in_every_phase(moment: str) -> None:
    """An agent's connection that dies before it is ready, in the conversation or at the end never hangs the call."""
    street = Street(FakeAgent(ready=moment != "opening", ends=False))
    async with line(street) as call:
        await until(lambda: street.opened)
        if moment == "opening":
            street.opened[0].drop()
            await until(lambda: len(street.opened) == 2)
        await until(lambda: call.runner.phase == "talking")
        if moment == "talking":
            street.opened[0].drop()
            await until(lambda: len(street.opened) == 2)
            await until(lambda: call.runner.phase == "talking")
        call.wire.give({"type": "session.end"})
        if moment == "ending":
            await until(lambda: street.opened[0].ended_at)
            street.opened[0].drop()
        await call.life


@pytest.mark.parametrize("moment", ["connecting", "talking", "ending", "goodbye"])
@pytest.mark.parametrize("may_return", [True, False])
@virtual
async def test_caller_dies_in_every_phase(moment: str, may_return: bool) -> None:
    """A caller's connection that dies at any moment ends the call in bounded time, and the agent's session with it."""
    street = Street(FakeAgent(ready=moment != "connecting", ends=False), limits={"return_s": 5.0})
    async with line(street, twilio_codec() if may_return else pcm_codec(QUERY)) as call:
        if may_return:
            call.wire.give(*start_stream())
        await until(lambda: street.opened and street.agent.received)
        if moment != "connecting":
            await until(lambda: call.runner.phase == "talking")
        if moment in ("ending", "goodbye"):
            call.runner.offer(StopRequested())
            await until(
                lambda: call.runner.phase == "ending" if moment == "ending" else street.agent.ended_at
            )
        call.wire.hang_up()
        before = asyncio.get_running_loop().time()
        await call.life
        assert asyncio.get_running_loop().time() - before < 12
        assert street.agent.kinds()[-1] == "session.end"
        assert street.agent.gone_at is not None


@pytest.mark.parametrize(
    ("error", "rung", "event"),
    [
        (StrangerError("not in the book"), "new", AgentRefused("not_allowed", "not in the book", "fallback")),
        (RefusedError("401"), "new", AgentRefused("unauthorized", "401", "fallback")),
        (RefusedError("401"), "token", AgentRefused("unauthorized", "401", "resume")),
        (RefusedError("401"), "key", AgentRefused("unauthorized", "401", "renew")),
        (DialError("nobody there"), "new", AgentLost("nobody there", "retry")),
    ],
)
@virtual
async def test_dial_that_fails(
    error: DialError, rung: Literal["new", "token", "key"], event: AnyEvent
) -> None:
    """A dial that fails becomes an event that says what may help: another agent, another credential, or time."""
    street, inbox = Street(), Inbox(64)

    async def fail(_attempt: Any) -> Any:
        raise error

    street.dialler.open = fail  # type: ignore[method-assign, assignment]
    info = CallInfo("call_1", "pcm", PCM_24K)
    await AgentSide(OpenAgent("main", rung), info, SessionMemory(), street.house, street.runner().reach).run(
        inbox
    )
    assert await inbox.get() == event


@virtual
async def test_clip_that_is_gone() -> None:
    """A sound's file that was taken away while the gateway ran is replaced by the built-in sound."""
    agents = {"main": AgentSettings(kind="fake", clips={"apology": "/nowhere/apology.wav"})}
    async with talking(Street(agents=agents)) as call:
        call.runner.offer(StopRequested())
        await call.life
        assert PCM_24K.ms(len(call.wire.sound())) > 1000


@virtual
async def test_both_die_at_once() -> None:
    """A phone call whose both sides die in the same moment waits for its caller and then ends."""
    street = Street()
    async with line(street, twilio_codec()) as call:
        call.wire.give(*start_stream())
        await until(lambda: call.runner.phase == "talking")
        call.wire.hang_up()
        call.agent.drop()
        await until(lambda: call.runner.phase == "caller_lost")
        await call.life
        assert len(street.opened) == 1


# A new socket for the same call


@virtual
async def test_replaced_socket() -> None:
    """A second socket takes a phone call over: the first is closed, nobody is lost, and nothing of it is heard."""
    watcher, kinds = watched(CallerLost, CallerReturned, CallerAudio)
    street = Street(observers=kinds)
    async with line(street, twilio_codec()) as call:
        call.wire.give(*start_stream(stream_sid="MZ1"))
        await until(lambda: call.runner.phase == "talking")
        second = MemoryWire()
        serving = asyncio.ensure_future(call.runner.serve(caller_leg(second, twilio_codec())))
        await soon()
        call.agent.speak("r0", b"\x01" * 160)
        await until(lambda: call.wire.texts("media"))
        second.give(*start_stream(stream_sid="MZ2"))
        call.wire.give(twilio_media("MZ1", b"\x33" * 160))
        await until(lambda: call.wire.closed_with)
        await call.serving
        second.give(twilio_media("MZ2", b"\x44" * 160))
        await until(lambda: watcher.of(CallerAudio))
        assert [event.audio for event in watcher.of(CallerAudio)] == [b"\x44" * 160]
        assert len(watcher.of(CallerReturned)) == 1
        assert not watcher.of(CallerLost)
        call.agent.speak("r1", b"\x02" * 160)
        await until(lambda: second.texts("media"))
        second.hang_up()
        await serving
        await until(lambda: watcher.of(CallerLost))
        assert call.runner.phase == "caller_lost"


@virtual
async def test_returning_socket() -> None:
    """A phone call whose socket broke goes on over the next one."""
    watcher, kinds = watched(CallerLost, CallerReturned)
    async with line(Street(observers=kinds), twilio_codec()) as call:
        call.wire.give(*start_stream())
        await until(lambda: call.runner.phase == "talking")
        call.wire.hang_up()
        await call.serving
        await until(lambda: call.runner.phase == "caller_lost")
        second = MemoryWire()
        serving = asyncio.ensure_future(call.runner.serve(caller_leg(second, twilio_codec())))
        second.give(*start_stream(stream_sid="MZ2"))
        await until(lambda: call.runner.phase == "talking")
        assert [type(event) for _, event in watcher.seen] == [CallerLost, CallerReturned]
        call.runner.offer(StopRequested())
        await call.life
        await serving
        assert second.closed_with == 1000
