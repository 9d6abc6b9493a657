import asyncio
import random
import threading
from typing import Any

import pytest
from calling import FRAME, QUERY, Line, line, talking, watched
from fakes import (
    FakeAgent,
    Street,
    Watcher,
    fake_plan,
    no_task_left,
    passing,
    pcm_codec,
    soon,
    until,
    virtual,
)

from gateway.audio import PCM_24K
from gateway.call.machine import CallMachine
from gateway.commands import CallEnded, Remember
from gateway.contracts import ObserverKind
from gateway.events import CallerAudio, Event, SpeechStarted, ToolFinished
from gateway.tools import Tool

# Bugs


def broken_machine(monkeypatch: pytest.MonkeyPatch, at: type[Event]) -> None:
    receive = CallMachine.receive

    def fail(self: CallMachine, event: Any, now: float) -> Any:
        if type(event) is at:
            raise ZeroDivisionError("a bug in the conversation")
        return receive(self, event, now)

    monkeypatch.setattr(CallMachine, "receive", fail)


def only_fault(call: Line) -> Exception:
    """The one bug that came out of the run."""
    error = call.life.exception()
    assert isinstance(error, ExceptionGroup)
    assert len(error.exceptions) == 1
    fault: Exception = error.exceptions[0]
    while isinstance(fault, ExceptionGroup):
        assert len(fault.exceptions) == 1
        fault = fault.exceptions[0]
    return fault


def test_bug_in_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the conversation ends the call with the apology, both sides closed, and comes out once."""
    broken_machine(monkeypatch, SpeechStarted)
    watcher, kinds = watched(Remember)

    @virtual
    async def run() -> None:
        async with talking(Street(observers=kinds)) as call:
            before = asyncio.get_running_loop().time()
            call.agent.say("input.speech.started")
            await asyncio.wait({call.life})
            assert isinstance(only_fault(call), ZeroDivisionError)
            assert PCM_24K.ms(len(call.wire.sound())) > 1000
            assert asyncio.get_running_loop().time() - before > 1
            assert call.wire.closed_with == 1011
            assert call.agent.kinds()[-1] == "session.end"
            assert watcher.of(Remember)[-1].fact == CallEnded("bug")

    run()


class BuggyCodec:
    """A codec with a bug in one of its methods."""

    def __init__(self, codec: Any, bug: str) -> None:
        self._codec = codec
        self._bug = bug
        self._is_cured = False  # whether the bug shows itself only once

    def __getattr__(self, name: str) -> Any:
        if name == self._bug:
            return self._fail
        return getattr(self._codec, name)

    def _fail(self, *_given: object) -> Any:
        self._bug = "" if self._is_cured else self._bug
        raise ZeroDivisionError("a bug in a codec")


@pytest.mark.parametrize("bug", ["decode", "encode", "closed"])
@virtual
async def test_bug_in_the_callers_codec(bug: str) -> None:
    """A bug in a caller's codec ends the call; one that can still write apologises."""
    codec = BuggyCodec(pcm_codec(QUERY), "")
    async with talking(Street(), codec) as call:
        codec._bug = bug
        call.wire.give(FRAME)
        call.agent.speak("r1", FRAME * 5)
        await soon()
        if bug == "closed":
            call.wire.hang_up()
        await asyncio.wait({call.life})
        error = call.life.exception()
        assert isinstance(error, ExceptionGroup)
        assert call.agent.kinds()[-1] == "session.end"
        if bug == "decode":
            assert PCM_24K.ms(len(call.wire.sound())) > 1000
        assert call.wire.closed_with is not None


@virtual
async def test_the_apology_is_sent_as_it_is_heard() -> None:
    """Like any other sound it runs only a little ahead of the ear, and the call ends when all of it was heard."""
    codec = BuggyCodec(pcm_codec(QUERY), "")
    async with talking(Street(), codec) as call:
        codec._bug = "decode"
        began = asyncio.get_running_loop().time()
        call.wire.give(FRAME)
        await passing(0.3)
        assert 300 <= PCM_24K.ms(len(call.wire.sound())) <= 600
        await asyncio.wait({call.life})
        took_s = asyncio.get_running_loop().time() - began
        assert took_s >= PCM_24K.ms(len(call.wire.sound())) / 1000 - 0.01
        assert isinstance(only_fault(call), ZeroDivisionError)


@virtual
async def test_bug_in_one_message_to_the_caller() -> None:
    """A bug that ends the writing to the caller does not keep the apology from being written."""
    codec = BuggyCodec(pcm_codec(QUERY), "")
    async with talking(Street(), codec) as call:
        codec._bug, codec._is_cured = "encode", True
        call.agent.speak("r1", FRAME)
        await asyncio.wait({call.life})
        assert isinstance(only_fault(call), ZeroDivisionError)
        assert PCM_24K.ms(len(call.wire.sound())) > 1000


@virtual
async def test_bug_in_the_agents_messages() -> None:
    """A bug in an agent's codec ends the call with the apology, and the agent's session."""
    codecs: list[BuggyCodec] = []

    def plan(call: Any) -> Any:
        made = fake_plan(call)
        codecs.append(BuggyCodec(made.codec, ""))
        return type(made)(made.service, made.options, codecs[-1], made.audio)

    street = Street(plan=plan)
    async with talking(street) as call:
        codecs[0]._bug = "decode"
        call.agent.say("input.speech.started")
        await asyncio.wait({call.life})
        assert isinstance(only_fault(call), ZeroDivisionError)
        assert call.wire.sound()
        assert call.agent.kinds()[-1] == "session.end"


@virtual
async def test_deadline_that_stays_in_the_past() -> None:
    """A machine whose deadline does not move on ends its call as a bug instead of freezing the process."""
    with pytest.MonkeyPatch.context() as patch:
        async with talking(Street()) as call:
            patch.setattr(CallMachine, "_next_deadline", lambda _self: 0.0)
            call.wire.give(FRAME)
            call.agent.say("input.speech.started")
            await asyncio.wait({call.life})
            assert "deadline" in str(only_fault(call))


@virtual
async def test_broken_observers() -> None:
    """Observers that fail at the start, in the middle or at the end do not disturb the call."""

    class Broken(Watcher):
        def see(self, _entry: Any) -> None:
            raise ZeroDivisionError("private words")

        def close(self) -> None:
            raise ZeroDivisionError("private words")

    def unborn(_info: object, _terms: object) -> Watcher:
        raise ZeroDivisionError("private words")

    watcher, kinds = watched(CallerAudio)
    broken = [ObserverKind("a", unborn), ObserverKind("b", lambda _info, _terms: Broken([CallerAudio]))]
    async with talking(Street(observers=[*broken, *kinds])) as call:
        call.wire.give(FRAME)
        await until(lambda: watcher.seen)
        call.wire.give({"type": "session.end"})
        await call.life


# Cancellation


@pytest.mark.parametrize("seed", range(40))
@virtual
async def test_cancelled_anywhere(seed: int) -> None:
    """A run that is cancelled at any moment says so, ends the agent's session and leaves nothing running."""
    rolled = random.Random(seed)  # noqa: S311 - a test must be repeatable
    street = Street(FakeAgent(ends=rolled.random() < 0.5), FakeAgent(ready=rolled.random() < 0.5))
    async with line(street) as call:
        for _ in range(rolled.randrange(60)):
            match rolled.randrange(6):
                case 0:
                    call.wire.give(FRAME)
                case 1 if street.opened:
                    call.agent.speak(f"r{rolled.random()}", FRAME * 10)
                case 2 if street.opened:
                    call.agent.say("input.speech.started")
                case 3 if street.opened and rolled.random() < 0.2:
                    call.agent.drop()
                case 4:
                    await passing(rolled.choice([0, 0, 0.005, 0.3]))
        if rolled.random() < 0.3:
            call.wire.give({"type": "session.end"})
        for _ in range(rolled.randrange(1, 12)):
            await asyncio.sleep(0)
        was_over = call.life.done()
        before = asyncio.get_running_loop().time()
        call.life.cancel()
        await asyncio.wait({call.life})
        assert asyncio.get_running_loop().time() - before < 12
        assert was_over or call.life.cancelled()
        for agent in street.opened:
            if agent.received:
                assert agent.kinds()[-1] == "session.end" or agent.close_code == 1006
                assert agent.gone_at is not None
    assert call.wire.closed_with is not None


@virtual
async def test_cancelled_twice() -> None:
    """A second cancellation changes nothing: the agent's answer is waited for no longer than five seconds."""
    async with talking(Street(FakeAgent(ends=False))) as call:
        call.life.cancel()
        await until(lambda: call.agent.ended_at)
        call.life.cancel()
        await asyncio.wait({call.life})
        assert call.life.cancelled()
        assert call.agent.gone_at == pytest.approx((call.agent.ended_at or 0) + 5)


@virtual
async def test_serving_is_cancelled() -> None:
    """A request handler that is cancelled loses its caller: one that cannot come back ends the call."""
    async with talking(Street()) as call:
        call.serving.cancel()
        await call.life
        assert call.agent.kinds()[-1] == "session.end"


# Tools


async def test_tools_of_every_kind() -> None:
    """Tools that answer, raise, never return or ask too much end in an answer, and the call goes on and ends."""
    release = threading.Event()

    async def good() -> str:
        """Answer."""
        return "yes"

    async def bad() -> str:
        """Raise."""
        raise ZeroDivisionError

    async def endless() -> None:
        """Never return."""
        await asyncio.Event().wait()

    async def flood(call: Any) -> None:
        """Ask for more than a call can take."""
        for _ in range(100_000):
            call.note("x")

    async def odd(call: Any) -> None:
        """Ask for things of a wrong type."""
        call.say(42)

    watcher, kinds = watched(ToolFinished)
    made = [Tool.of(tool, timeout_s=0.2) for tool in (good, bad, endless, flood, odd)]
    street = Street(tools=made, observers=kinds)
    with no_task_left():
        async with talking(street) as call:
            for tool in (*made, Tool.of(good)):
                call.agent.say("tool.call", call_id=f"t-{tool.name}", name=tool.name, arguments={})
            call.agent.say("tool.call", call_id="t-unknown", name="unknown", arguments={})
            await until(lambda: len(watcher.seen) == 6)
            outcomes = {event.tool_call_id: event.outcome for event in watcher.of(ToolFinished)}
            assert outcomes == {
                "t-good": "ok",
                "t-bad": "error",
                "t-endless": "timeout",
                "t-flood": "error",
                "t-odd": "ok",
                "t-unknown": "unknown_tool",
            }
            assert call.runner.phase == "talking"
            call.wire.give({"type": "session.end"})
            await call.life
        release.set()
        await street.toolbox.close()


async def test_tool_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that still runs when the call ends is waited for a while, not for ever."""
    monkeypatch.setattr("gateway.runtime.call.AFTERWORK_S", 0.05)
    running = threading.Event()

    async def endless() -> None:
        """Never return."""
        running.set()
        await asyncio.Event().wait()

    street = Street(tools=[Tool.of(endless, timeout_s=600)])
    with no_task_left():
        async with talking(street) as call:
            call.agent.say("tool.call", call_id="t1", name="endless", arguments={})
            await until(running.is_set)
            call.wire.give({"type": "session.end"})
            async with asyncio.timeout(5):
                await call.life
        await street.toolbox.close()
