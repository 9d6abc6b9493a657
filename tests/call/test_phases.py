"""The table of phases, row by row."""

import pytest
from play import INFO, Clip, Play, caller_audio, reply, terms

from gateway.call.conversation import Phase
from gateway.commands import AbandonTool as Abandon
from gateway.commands import (
    CallEnded,
    Clear,
    CloseAgent,
    HangUp,
    OpenAgent,
    ReplyHeard,
    RunTool,
    WatchdogFired,
)
from gateway.events import (
    AgentLost,
    AgentQueued,
    AgentReady,
    AgentRefused,
    CallerForwarded,
    CallerLeft,
    CallerLost,
    CallerReturned,
    CallStarted,
    EndingAsked,
    ReplyStarted,
    SpeechStarted,
    StopRequested,
    TimeReached,
    ToolCalled,
)
from gateway.terms import AgentTerms

ENDED = [CloseAgent(), HangUp("caller_left")]


def test_a_call_waits_connects_and_talks() -> None:
    """A call that starts opens its first agent, and talks once that is ready."""
    play = Play()
    assert play.is_in(Phase.WAITING)
    assert not play.has_deadline()
    play.on(TimeReached())
    play.on(CallStarted(INFO), OpenAgent("main"))
    assert play.is_in(Phase.CONNECTING)
    assert play.has_deadline()
    play.on(AgentReady("s"))
    assert play.is_in(Phase.TALKING)
    assert play.machine.agent == "main"


def test_an_agent_that_is_not_ready_in_time_is_tried_again_with_backoff_then_the_next() -> None:
    """The dial ladder: the same agent with growing pauses, the route's next agent, then the apology."""
    play = Play()
    play.on(CallStarted(INFO), OpenAgent("main"))
    play.wait(10, OpenAgent("main", after_s=0.25))
    fired = WatchdogFired("no_ready", "agent main was not ready in time")
    play.wait(10.25, fired, OpenAgent("main", after_s=0.5))
    play.wait(10.5, OpenAgent("spare"))
    assert play.machine.agent == "spare"
    play.on(AgentRefused("unauthorized"), Clear(), Clip("apology", 2000.0))
    assert play.is_in(Phase.ENDING)
    play.until(Phase.ENDED)
    assert play.items(CallEnded, HangUp) == [HangUp("agent_lost"), CallEnded("agent_lost")]


def test_the_first_wait_is_filled_with_the_hold_sound() -> None:
    """An agent that takes its time is waited for with the hold sound, which stops when it is ready."""
    play = Play()
    play.on(CallStarted(INFO), OpenAgent("main"))
    play.wait(1.9)
    play.wait(0.2, Clip("hold", 2020.0))
    play.on(AgentReady("s"), Clear())
    assert [f.reply_id for f in play.items(ReplyHeard)] == ["clip:hold"]
    play.wait(10)


def test_an_agent_whose_turn_has_not_come_has_its_whole_time_after_that() -> None:
    """A session that waits to begin is not late; its caller hears the hold sound, and may leave."""
    play = Play()
    play.on(CallStarted(INFO), OpenAgent("main"))
    play.on(AgentQueued(15.0))
    play.wait(2.1, Clip("hold", 2020.0))
    play.wait(22.8, ...)
    assert not play.items(WatchdogFired)
    assert play.items(OpenAgent) == [OpenAgent("main")]
    fired = WatchdogFired("no_ready", "agent main was not ready in time")
    play.wait(0.2, fired, OpenAgent("main", after_s=0.25))


def test_an_agent_that_refuses_for_good_gives_way_at_once() -> None:
    """A refusal that asks for another agent is not tried again."""
    play = Play()
    play.on(CallStarted(INFO), OpenAgent("main"))
    play.on(AgentRefused("invalid_value"), OpenAgent("spare"))
    play.on(AgentLost("its socket closed after that", "retry"), OpenAgent("spare", after_s=0.25))


def test_losing_either_side_does_not_end_a_call() -> None:
    """A lost agent and a lost caller are phases with a deadline, and both may come back."""
    play = Play.talking()
    play.on(AgentLost("1006"), OpenAgent("main", "token"))
    assert play.is_in(Phase.AGENT_LOST)
    play.on(AgentReady("s", resumed=True))
    assert play.is_in(Phase.TALKING)
    play.on(CallerLost("1006"))
    assert play.is_in(Phase.CALLER_LOST)
    play.on(CallerReturned(INFO))
    assert play.is_in(Phase.TALKING)


def test_a_caller_who_does_not_return_ends_the_call() -> None:
    """After the window for coming back the call is over, with the agent there or not."""
    play = Play.talking(terms(return_s=12))
    play.on(CallerLost("1006"))
    play.wait(11.9)
    play.on(AgentLost("1006", "renew"))
    assert play.is_in(Phase.CALLER_LOST)
    play.wait(0.2, CloseAgent(), HangUp("caller_lost"))
    assert play.is_in(Phase.ENDED)
    assert not play.has_deadline()


def test_an_agent_lost_while_the_caller_is_away_is_opened_when_the_caller_returns() -> None:
    """Nobody pays for an agent that nobody talks to."""
    play = Play.talking()
    play.on(CallerLost("1006"))
    play.on(AgentLost("1006", "renew"))
    play.wait(5)
    play.on(CallerReturned(INFO), OpenAgent("main"))
    assert play.is_in(Phase.AGENT_LOST)


def test_a_carrier_whose_socket_is_the_call_ends_with_it() -> None:
    """Where a closed connection ends the call, losing it is leaving."""
    play = Play.talking(terms(closing_leaves=True))
    play.on(CallerLost("closed"), *ENDED)


def test_an_ending_goes_back_to_talking_when_the_caller_interrupts() -> None:
    """A hang-up that was decided is cancelled by the caller's voice."""
    play = Play.talking()
    play.on(EndingAsked("hang_up"))
    assert play.is_in(Phase.ENDING)
    play.on(SpeechStarted())
    assert play.is_in(Phase.TALKING)


def test_whoever_hangs_up_everything_ends_exactly_once() -> None:
    """The caller's leaving abandons running tools, closes the agent and hangs up; nothing follows."""
    play = Play.talking()
    play.on(ReplyStarted("r1"))
    play.on(ToolCalled("t1", "book", "{}"), RunTool("t1", "book", "{}"))
    play.on(CallerLeft("hung up"), Abandon("t1"), *ENDED)
    play.on([CallerLeft("again"), StopRequested(), SpeechStarted(), TimeReached()])
    assert play.is_in(Phase.ENDED)


@pytest.mark.parametrize("event", [CallerLeft("x"), CallerLost("x"), StopRequested()])
def test_a_call_that_never_started_can_end(event: CallerLeft | CallerLost | StopRequested) -> None:
    """Whatever ends a connection before its call began leaves nothing behind."""
    play = Play()
    play.on(event, ...)
    assert play.is_in(Phase.ENDED)
    assert play.items(HangUp)


def test_a_stop_is_said_politely() -> None:
    """A process that goes away cuts the agent short, apologises and hangs up; speaking does not stop that."""
    play = Play.talking()
    play.on(reply(4000))
    play.wait(1)
    play.on(StopRequested("drained"), Clear(), Clip("apology", 2000.0))
    play.on(SpeechStarted())
    play.on(StopRequested("again"))
    play.on(reply(500, "r2"))
    play.on(ToolCalled("t1", "book", "{}"))
    play.wait(2.2, CloseAgent(), HangUp("stopped"))
    assert play.items(ReplyHeard)[0].interrupted is False


def test_a_call_has_a_longest_duration() -> None:
    """At the limit the caller hears why and the call ends, whoever is speaking."""
    play = Play.talking(terms(call_s=30, clips={"goodbye": 1000.0, "apology": 500.0}))
    play.wait(30, Clip("goodbye", 1000.0))
    play.wait(1.1, CloseAgent(), HangUp("limit"))


def test_a_limit_reached_while_the_caller_is_away_ends_at_once() -> None:
    """Nobody is there to hear a goodbye."""
    play = Play.talking(terms(call_s=30))
    play.wait(10)
    play.on(CallerLost("1006"))
    play.wait(20, CloseAgent(), HangUp("limit"))


def test_without_house_sounds_a_call_ends_silently() -> None:
    """A house without an apology still hangs up."""
    play = Play.talking(terms(AgentTerms("only"), clips={}))
    play.on(AgentLost("gone", "fallback"), CloseAgent(), HangUp("agent_lost"))


def test_what_cannot_happen_is_counted_and_ignored() -> None:
    """Anomalies change nothing; tests that run strictly fail on them."""
    play = Play(strict=False)
    play.on([ReplyStarted("r1"), AgentReady("s")])
    play.on(CallStarted(INFO), OpenAgent("main"))
    play.on([CallStarted(INFO), ReplyStarted("r1"), SpeechStarted()])
    assert play.machine.anomalies == 5
    play.on(AgentReady("s"))
    play.on(AgentReady("s"))
    play.on([CallerLost("1006"), CallerLost("again"), caller_audio(), CallerForwarded("{}")])
    assert play.machine.anomalies == 8
    play.on(AgentLost("1006"))
    play.on(CallerReturned(INFO), OpenAgent("main", "token"))
    play.on(CallerForwarded("{}"))
    play.wait(0.75, Clip("hold", 2020.0))
    assert play.machine.anomalies == 8
    with pytest.raises(AssertionError, match="no agent was asked for"):
        Play.talking().on(AgentReady("s"))
