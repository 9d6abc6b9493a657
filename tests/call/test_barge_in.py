"""The caller interrupts: what is cut, what is not, and what still comes afterwards."""

import pytest
from play import FarEnd, Heard, Play, reply, reply_audio, terms

from gateway.call.floor import Holder
from gateway.commands import Clear, Mark, ReplyHeard, TellHeard
from gateway.events import (
    AgentSaid,
    AnyEvent,
    CallerHeard,
    CallerPressed,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    UserSaid,
)
from gateway.terms import AgentTerms

STUBBORN = terms(AgentTerms("main", interruptible=False))


def only_fact(play: Play) -> ReplyHeard:
    """The one fact about a reply."""
    fact: ReplyHeard
    (fact,) = play.items(ReplyHeard)
    assert play.items(TellHeard) == [TellHeard(fact)]
    return fact


@pytest.mark.parametrize("signal", [SpeechStarted(), ReplyEnded("r1", interrupted=True)])
def test_either_signal_of_an_interruption_cuts_the_agent_off(signal: AnyEvent) -> None:
    """Whichever comes first clears what the caller has not heard, and the second changes nothing."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(8000)])
    play.wait(3)
    play.on(signal, Clear())
    play.on([ReplyEnded("r1", interrupted=True), SpeechStarted()])
    fact = only_fact(play)
    assert fact.interrupted
    assert fact.confirmed
    assert fact.heard_ms == pytest.approx(play.far_end.heard_ms("r1", play.now), abs=20)
    assert fact.heard_ms + fact.cut_ms == pytest.approx(8000)
    assert play.machine.holder is Holder.CALLER


def test_the_tail_of_a_finished_reply_is_cut_too() -> None:
    """The agent keeps the floor until its sound was heard, so it can be interrupted after its last message."""
    play = Play.talking()
    play.on(reply(1500))
    play.wait(1)
    assert play.machine.holder is Holder.AGENT
    play.on(SpeechStarted(), Clear())
    assert only_fact(play).cut_ms == pytest.approx(500, abs=1)


def test_a_voice_after_the_reply_was_heard_is_an_ordinary_turn() -> None:
    """Nothing is cleared when nothing is left to hear."""
    play = Play.talking()
    play.on(reply(1500))
    play.wait(1.6)
    play.on([SpeechStarted(), SpeechStopped()])
    assert not only_fact(play).interrupted
    assert play.machine.holder is Holder.NOBODY


def test_an_agent_that_is_not_interruptible_speaks_on() -> None:
    """With `interrupt_response: false` the caller's voice cuts nothing."""
    play = Play.talking(STUBBORN)
    play.on(reply(3000))
    play.wait(1)
    play.on(SpeechStarted())
    play.wait(2.1)
    assert not only_fact(play).interrupted
    assert play.far_end.heard_ms("r1", play.now) == pytest.approx(3000)


def test_the_silence_in_front_of_a_reply_is_not_cut() -> None:
    """A reply silent so far may yet be spoken after the agent heard the caller go on (2.4)."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(600, loud=False)])
    play.wait(0.5)
    play.on(SpeechStarted())
    play.on([*reply_audio(400), ReplyEnded("r1")])
    play.wait(2)
    assert only_fact(play).heard_ms == pytest.approx(1000)


def test_a_reply_begun_silently_behind_a_tail_survives_the_cut() -> None:
    """The tail that is heard goes; the next reply, silent so far, keeps its place and its sound."""
    play = Play.talking()
    play.on(reply(1500))
    play.wait(0.5)
    play.on([ReplyStarted("r2"), *reply_audio(200, "r2", loud=False)])
    play.on(SpeechStarted(), Clear(), Heard("r2", 200.0))
    play.on([*reply_audio(300, "r2"), ReplyEnded("r2")])
    play.wait(2)
    facts = play.items(ReplyHeard)
    assert [(f.reply_id, f.interrupted) for f in facts] == [("r1", True), ("r2", False)]
    assert facts[1].heard_ms == pytest.approx(500)
    assert facts[1].audible_from_ms == pytest.approx(200)


def test_late_sound_of_a_reply_that_was_cut_is_dropped() -> None:
    """Nothing of an interrupted reply is heard after the clear, even when the agent sends on."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(2000)])
    play.wait(0.5)
    play.on(SpeechStarted(), Clear())
    play.on(reply_audio(2000))
    play.on(ReplyEnded("r1", interrupted=True))
    play.on(reply_audio(500))
    play.wait(1)
    play.on(reply(300, "r2"), Heard("r2", 300.0))


def test_a_duplicate_end_does_not_cut_the_next_reply() -> None:
    """The same interruption told twice, the second time late, cuts off nothing."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(2000)])
    play.wait(0.5)
    play.on(SpeechStarted(), Clear())
    play.on(ReplyEnded("r1", interrupted=True))
    play.on(reply(1000, "r2"))
    play.on(ReplyEnded("r1", interrupted=True))
    play.on(ReplyEnded("r2"))
    play.wait(1.1)
    assert [f.interrupted for f in play.items(ReplyHeard)] == [True, False]


def test_marks_that_a_clear_threw_out_are_not_believed() -> None:
    """A carrier returns the marks of what it discarded; they belong to an older generation (carriers, 1.5)."""
    play = Play.talking()
    play.on(reply(3000))
    play.wait(0.5)
    play.on(SpeechStarted(), Clear())
    play.on(reply(1000, "r2"))
    old = [mark for mark in play.items(Mark) if mark.name.startswith("0:")]
    play.on([CallerHeard(mark.name) for mark in old])
    play.wait(0.25)
    play.on(SpeechStarted(), Clear())
    assert play.items(ReplyHeard)[-1].heard_ms == pytest.approx(250, abs=20)


def test_an_interrupted_reply_of_which_all_was_heard_says_so() -> None:
    """The agent cut its reply short, and what had come of it was heard in full."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(200)])
    play.wait(1)
    play.on([SpeechStarted(), AgentSaid("r1", "One", final=True, interrupted=True)])
    play.on(ReplyEnded("r1", interrupted=True))
    play.wait(0.1)
    fact = only_fact(play)
    assert (fact.interrupted, fact.heard_ms, fact.cut_ms) == (True, 200.0, 0.0)


def test_where_nothing_can_be_cleared_what_was_sent_is_heard() -> None:
    """Without a clear at most the short lead is spoken on, and the ledger counts it as heard."""
    unclearable = terms(marks=False, clears=False, lead_ms=200.0)
    play = Play.talking(unclearable)
    play.on([ReplyStarted("r1"), *reply_audio(4000)])
    play.wait(1)
    play.on(SpeechStarted(), Clear())
    play.wait(1)
    fact = only_fact(play)
    assert fact.heard_ms == pytest.approx(play.far_end.heard_ms("r1", play.now))
    assert 1000 <= fact.heard_ms <= 1220
    assert not fact.confirmed


def test_keys_interrupt_where_the_agent_is_told_of_them() -> None:
    """A key pressed during a reply cuts it off; where keys are ignored it does not."""
    play = Play.talking(terms(dtmf="text"))
    play.on(reply(2000))
    play.wait(0.5)
    play.on(CallerPressed("1"), Clear())
    deaf = Play.talking()
    deaf.on(reply(2000))
    deaf.wait(0.5)
    deaf.on(CallerPressed("1"))


def test_speech_events_need_not_come_in_pairs() -> None:
    """Repeated, unpaired and reordered speech events are ordinary (2.2)."""
    play = Play.talking()
    play.on([SpeechStarted(), SpeechStarted(), SpeechStopped(), SpeechStopped(), ReplyStarted("r1")])
    play.on([UserSaid("hello", final=True), ReplyEnded("r1"), ReplyEnded("r1"), ReplyStarted("r1")])
    play.on([SpeechStarted(), UserSaid("Hello?", final=True)])
    assert play.machine.holder is Holder.NOBODY
    assert play.machine.anomalies == 0


def test_a_carrier_without_marks_is_believed_by_pace() -> None:
    """Without marks the cut is an estimate, as good as the pace, and says so."""
    play = Play.talking(terms(marks=False), far_end=FarEnd(answers=False))
    play.on(reply(5000))
    play.wait(1.23)
    play.on(SpeechStarted(), Clear())
    fact = only_fact(play)
    assert fact.heard_ms == pytest.approx(1230, abs=1)
    assert not fact.confirmed
