"""Plays with a client of the Voice Agent API: what it is told, and in which order."""

from typing import Any

import pytest
from client_play import ASK, kinds, talking, told, with_tool
from play import Heard, reply, reply_audio

from gateway.call.conversation import Phase
from gateway.commands import Clear, HangUp
from gateway.events import (
    AgentLost,
    AgentSaid,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    StopRequested,
    UserSaid,
)


def test_the_end_of_a_reply_is_told_after_its_sound() -> None:
    """An agent that sends a reply in one burst is told of in step: start, sound, words, end; then the next reply."""
    play = talking()
    words = AgentSaid("r1", "One two.", final=True)
    events = [ReplyStarted("r1"), *reply_audio(1000), words, ReplyEnded("r1")]
    play.on([*events, ReplyStarted("r2"), *reply_audio(500, "r2"), ReplyEnded("r2")], ...)
    assert kinds(told(play, 1)) == ["ReplyStarted"]
    play.wait(0.5, ...)
    assert kinds(told(play, 1)) == ["ReplyStarted"]
    play.wait(0.4, ...)
    assert told(play, 2) == [words, ReplyEnded("r1"), ReplyStarted("r2")]
    play.wait(2, ...)
    assert told(play)[-1] == ReplyEnded("r2")
    sent = [item.reply_id for item in play.items(Heard)]
    assert sent == sorted(sent)


def test_other_events_are_told_at_once() -> None:
    """What the caller said and a tool that is called do not wait behind a reply's sound."""
    play = with_tool()
    play.on(reply(3000), ...)
    for event in (UserSaid("Hm.", final=True), SpeechStopped(), ASK):
        play.on(event, ...)
        assert told(play)[-1] == event


def test_an_interruption_is_told_in_the_services_order() -> None:
    """Speech, the words that were heard, the end as interrupted; nothing more of that reply or of those behind it."""
    play = talking()
    sure = AgentSaid("r1", "One two three four.", final=True)
    deltas = [
        AgentSaid("r1", f"{word} ", final=False, start_ms=500 * n, end_ms=500 * n + 400)
        for n, word in enumerate(["One", "two", "three", "four."])
    ]
    play.on([ReplyStarted("r1"), *deltas, *reply_audio(2000), sure, ReplyEnded("r1")], ...)
    play.on([ReplyStarted("r2"), *reply_audio(1000, "r2"), ReplyEnded("r2")], ...)
    play.wait(1.0, ...)
    before = len(told(play))
    play.on(SpeechStarted(), Clear())
    assert told(play, before) == [
        SpeechStarted(),
        AgentSaid("r1", "One two", final=True, interrupted=True),
        ReplyEnded("r1", interrupted=True),
    ]
    play.wait(5, ...)
    assert len(told(play)) == before + 3


def test_an_agent_that_ends_an_interrupted_reply_itself_is_believed() -> None:
    """What a realtime agent says of an interruption is told as it came."""
    play = talking()
    play.on([ReplyStarted("r1"), *reply_audio(2000)], ...)
    play.wait(0.5, ...)
    before = len(told(play))
    cut = AgentSaid("r1", "One", final=True, interrupted=True, raw="words")
    done = ReplyEnded("r1", interrupted=True, raw="done")
    play.on([SpeechStarted(), cut, done], ...)
    assert told(play, before) == [SpeechStarted(), cut, done]


@pytest.mark.parametrize("then", [AgentLost("broken"), StopRequested("stopping")])
def test_every_reply_that_was_begun_is_ended(then: Any) -> None:
    """A reply whose agent is lost, or that the house cuts off, has an end for the client too."""
    play = talking()
    play.on([ReplyStarted("r1"), *reply_audio(2000)], ...)
    play.on(then, ...)
    play.wait(3, ...)
    ends = [event for event in told(play) if isinstance(event, ReplyEnded)]
    assert ends == [ReplyEnded("r1", interrupted=isinstance(then, StopRequested))]


def test_a_reply_that_stalls_is_ended_once() -> None:
    """When nothing more comes of a reply its end is told; what the agent says of it later is not told again."""
    play = talking()
    play.on([ReplyStarted("r1"), *reply_audio(500)], ...)
    play.wait(20, ...)
    play.on(ReplyEnded("r1"), ...)
    assert [event for event in told(play) if isinstance(event, ReplyEnded)] == [ReplyEnded("r1")]


def test_marks_are_believed_from_the_first_one_on() -> None:
    """A client that never says what it has played is no trouble; one that does is believed."""
    play = talking()
    play.far_end.answers = False
    play.on(reply(3000), ...)
    play.wait(10, ...)
    assert not [fact for fact in play.items(*_facts("WatchdogFired")) if fact.kind == "lost_mark"]
    (heard,) = play.items(*_facts("ReplyHeard"))
    assert not heard.confirmed
    play.far_end.answers = True
    play.on(reply(3000, "r2"), ...)
    play.wait(10, ...)
    assert play.items(*_facts("ReplyHeard"))[-1].confirmed


def _facts(name: str) -> tuple[type, ...]:
    from gateway import commands

    return (getattr(commands, name),)


def test_the_longest_call_ends_without_a_goodbye() -> None:
    """A session lasts as long as its client was told, and not a house sound longer."""
    play = talking(call_s=60.0)
    play.on(reply(100_000), ...)
    play.wait(59.9, ...)
    assert play.is_in(Phase.TALKING)
    commands = play.wait(0.2, ...)
    assert HangUp("limit") in commands
    assert play.is_in(Phase.ENDED)
