"""Hanging up and transferring: decided, heard, committed, or cancelled."""

import pytest
from play import INFO, Clip, FarEnd, Play, reply, reply_audio, terms

from gateway.call.conversation import Phase
from gateway.commands import (
    AskReply,
    CallEnded,
    Clear,
    CloseAgent,
    EndingSettled,
    HangUp,
    OpenAgent,
    RunTool,
    SendResult,
    Transfer,
)
from gateway.events import (
    AgentLost,
    AgentReady,
    CallerLeft,
    CallerLost,
    CallerPressed,
    CallerReturned,
    ControlAnswered,
    EndingAsked,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    StopRequested,
    ToolCalled,
    ToolFinished,
)

HANG_UP = EndingAsked("hang_up", reason="said goodbye")
TRANSFER = EndingAsked("transfer", "+15550009")
GONE = [CloseAgent(), HangUp("agent_hung_up")]


def hang_up_called(play: Play) -> None:
    """The agent calls the built-in tool, which asks for the ending and answers at once."""
    play.on(ToolCalled("t1", "hang_up", "{}"), RunTool("t1", "hang_up", "{}"))
    play.on(HANG_UP)
    play.on(ToolFinished("t1", "{}"), SendResult("t1", "{}"))


def test_hanging_up_before_the_goodbye_waits_for_it() -> None:
    """The tool is called first, the goodbye follows its result, and is heard to its end."""
    play = Play.talking()
    play.on(ReplyStarted("r1"))
    hang_up_called(play)
    play.on(ReplyEnded("r1"))
    play.wait(0.2)
    play.on(reply(3000, "r2"))
    play.wait(3.9)
    play.wait(0.2, EndingSettled("hang_up", "confirmed"), *GONE)
    assert play.far_end.heard_ms("r2", play.now) == pytest.approx(3000)
    assert play.items(CallEnded) == [CallEnded("agent_hung_up", "said goodbye")]


def test_hanging_up_during_the_goodbye_waits_for_its_end() -> None:
    """The tool is called in the middle of the last reply."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(1000)])
    hang_up_called(play)
    play.wait(3)
    play.on([*reply_audio(1000), ReplyEnded("r1")])
    play.wait(1.9)
    play.wait(0.2, EndingSettled("hang_up", "confirmed"), *GONE)


def test_hanging_up_after_the_goodbye_leaves_time_for_a_last_word() -> None:
    """Everything was heard before: the agent may still add something, then the call ends."""
    play = Play.talking()
    play.on(reply(1000))
    play.wait(2)
    hang_up_called(play)
    play.wait(0.9)
    play.wait(0.2, EndingSettled("hang_up", "confirmed"), *GONE)


@pytest.mark.parametrize(("marks", "answers"), [(False, False), (True, False)])
def test_without_marks_the_goodbye_was_heard_by_estimate(marks: bool, answers: bool) -> None:
    """No marks, or marks that never come back: the ending says that it is an estimate."""
    play = Play.talking(terms(marks=marks), far_end=FarEnd(answers=answers))
    hang_up_called(play)
    play.on(reply(1000))
    play.wait(5, EndingSettled("hang_up", "estimated"), *GONE)


def test_a_goodbye_that_does_not_end_is_unconfirmed_after_the_limit() -> None:
    """A limit that passes is never taken for heard."""
    play = Play.talking(terms(goodbye_s=10))
    play.on(ReplyStarted("r1"))
    play.on(HANG_UP)
    play.wait(9.9)
    play.wait(0.2, EndingSettled("hang_up", "unconfirmed"), *GONE)


@pytest.mark.parametrize("said", [SpeechStarted(), ReplyEnded("r1", interrupted=True), CallerPressed("1")])
def test_the_caller_can_interrupt_the_goodbye(said: SpeechStarted | ReplyEnded | CallerPressed) -> None:
    """Voice or keys cancel the hang-up, and the conversation goes on."""
    play = Play.talking(terms(dtmf="text"))
    play.on([ReplyStarted("r1"), *reply_audio(2000)])
    play.on(HANG_UP)
    play.wait(0.5)
    play.on(said, Clear(), EndingSettled("hang_up", "cancelled"))
    assert play.is_in(Phase.TALKING)
    play.on(HANG_UP)
    assert play.is_in(Phase.ENDING)


def test_a_second_ending_while_one_is_decided_changes_nothing() -> None:
    """The first wish stands."""
    play = Play.talking()
    play.on([HANG_UP, TRANSFER, HANG_UP])
    play.wait(1.1, *GONE)


def test_a_caller_who_hangs_up_first_has_left() -> None:
    """The ending is overtaken; everything still happens once."""
    play = Play.talking()
    play.on([HANG_UP, CallerLeft("bye")], CloseAgent(), HangUp("caller_left"))


def test_a_line_that_breaks_during_the_goodbye_is_not_waited_for() -> None:
    """Nobody comes back for the rest of a goodbye."""
    play = Play.talking()
    play.on(reply(5000))
    play.on(HANG_UP)
    play.on(CallerLost("1006"), CloseAgent(), HangUp("caller_lost"))


def test_an_ending_asked_while_the_caller_is_away_is_carried_out_at_once() -> None:
    """Nobody is there to hear more, and nobody can say what was heard."""
    play = Play.talking()
    play.on(CallerLost("1006"))
    play.on(HANG_UP, EndingSettled("hang_up", "unconfirmed"), *GONE)


def test_an_agent_lost_during_the_goodbye_is_not_replaced() -> None:
    """What it said is heard, then the call ends; speech events can no more come."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(2000)])
    play.on(HANG_UP)
    play.on(AgentLost("1006"))
    play.wait(1.9)
    play.wait(0.2, EndingSettled("hang_up", "confirmed"), *GONE)


def test_hanging_up_while_the_agent_is_away_waits_for_nobody() -> None:
    """The hold sound stops and the call ends."""
    play = Play.talking()
    play.on(AgentLost("1006"), OpenAgent("main", "token"))
    play.wait(1)
    play.on(HANG_UP, Clear(), *GONE)


def test_an_agent_that_comes_back_during_an_ending_is_not_asked_to_go_on() -> None:
    """It is there, and says nothing of its own."""
    play = Play.talking()
    play.on([*reply(1500), ReplyStarted("r2")])
    play.on(AgentLost("1006"), OpenAgent("main", "token"))
    play.on(HANG_UP)
    play.on(AgentReady("s", resumed=True))
    play.on(reply(500, "r3"))
    play.wait(1.6, *GONE)
    assert play.far_end.heard("r3") == b""


def test_a_transfer_is_asked_for_once_the_last_words_were_heard() -> None:
    """The carrier is asked, the call's media ends, and nobody hangs the transferred call up."""
    play = Play.talking()
    play.on(reply(1000))
    play.on(TRANSFER)
    play.wait(1.9)
    play.wait(0.2, EndingSettled("transfer", "confirmed"), Transfer("+15550009"))
    play.on([SpeechStarted(), StopRequested(), ControlAnswered("hang_up", succeeded=True)])
    assert play.is_in(Phase.ENDING)
    play.on(ControlAnswered("transfer", succeeded=True), CloseAgent(), HangUp("transferred"))


@pytest.mark.parametrize("event", [CallerLeft("redirected"), CallerLost("1000")])
def test_media_that_ends_after_a_transfer_was_asked_for_was_transferred(
    event: CallerLeft | CallerLost,
) -> None:
    """The carrier may end the stream before it answers."""
    play = Play.talking()
    play.on(TRANSFER)
    play.wait(1.1, Transfer("+15550009"))
    play.on(event, CloseAgent(), HangUp("transferred"))


def test_a_transfer_that_fails_is_told_to_the_agent() -> None:
    """The conversation goes on, and the agent knows why."""
    play = Play.talking()
    play.on(TRANSFER)
    play.wait(1.1, Transfer("+15550009"))
    ask = AskReply("The transfer did not work: busy. Tell the caller and go on.")
    play.on(
        ControlAnswered("transfer", succeeded=False, detail="busy"),
        EndingSettled("transfer", "cancelled"),
        ask,
    )
    assert play.is_in(Phase.TALKING)
    play.on(ControlAnswered("transfer", succeeded=True))


def test_a_transfer_that_the_carrier_never_answers_has_failed() -> None:
    """Waiting is bounded."""
    play = Play.talking()
    play.on(TRANSFER)
    play.wait(1.1, Transfer("+15550009"))
    ask = AskReply("The transfer did not work: the carrier did not answer. Tell the caller and go on.")
    play.wait(15, ask)


def test_an_agent_lost_during_a_transfer_is_opened_when_it_fails() -> None:
    """And is told of the failure once it is there."""
    play = Play.talking()
    play.on(TRANSFER)
    play.wait(1.1, Transfer("+15550009"))
    play.on(AgentLost("1006", "renew"))
    play.on(ControlAnswered("transfer", succeeded=False, detail="busy"), OpenAgent("main"))
    assert play.is_in(Phase.AGENT_LOST)
    ask = AskReply("The transfer did not work: busy. Tell the caller and go on.")
    play.on(AgentReady("s2"), ask)


def test_a_transfer_fails_when_nobody_is_left_to_talk_to() -> None:
    """Then the house says so and hangs up."""
    play = Play.talking()
    play.on(TRANSFER)
    play.wait(1.1, Transfer("+15550009"))
    play.on(AgentLost("out of order", "fallback"))
    play.on(AgentLost("again"))
    play.on(ControlAnswered("transfer", succeeded=False, detail="busy"), OpenAgent("spare"))
    last = Play.talking(terms(*play.terms.agents[:1]))
    last.on(TRANSFER)
    last.wait(1.1, Transfer("+15550009"))
    last.on(AgentLost("out of order", "fallback"))
    last.on(ControlAnswered("transfer", succeeded=False, detail="busy"), Clip("apology", 2000.0))
    last.wait(2.1, CloseAgent(), HangUp("agent_lost"))


def test_a_transfer_asked_while_the_agent_is_being_reached_waits_for_its_attempt() -> None:
    """When it fails, the attempt that is under way goes on."""
    play = Play.talking()
    play.on(AgentLost("1006"), OpenAgent("main", "token"))
    play.on(TRANSFER, Transfer("+15550009"))
    play.on(ControlAnswered("transfer", succeeded=False, detail="busy"))
    play.on(
        AgentReady("s", resumed=True), AskReply("The transfer did not work: busy. Tell the caller and go on.")
    )


def test_a_transfer_while_the_caller_is_away_keeps_the_window_for_coming_back() -> None:
    """The phone call may live on although its media broke; when the transfer fails the caller may return."""
    play = Play.talking(terms(return_s=10))
    play.on(CallerLost("1006"))
    play.on(TRANSFER, Transfer("+15550009"))
    play.wait(12)
    assert play.is_in(Phase.ENDING)
    play.on(ControlAnswered("transfer", succeeded=False, detail="x"), ...)
    assert play.is_in(Phase.ENDED)
    again = Play.talking()
    again.on(CallerLost("1006"))
    again.on(TRANSFER, Transfer("+15550009"))
    again.on(ControlAnswered("transfer", succeeded=False, detail="x"), ...)
    again.on(CallerReturned(INFO))
    assert again.is_in(Phase.TALKING)
