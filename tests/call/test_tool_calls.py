"""When a tool runs, and when the agent is given its result."""

import timeit

import pytest
from play import Play, reply, reply_audio, terms

from gateway.call.conversation import GO_ON
from gateway.call.tools import MEMORY, MOST_OPEN, TOO_MANY, ToolLedger
from gateway.commands import AbandonTool, AskReply, Clear, OpenAgent, RunTool, SendResult, Tell, WatchdogFired
from gateway.events import (
    AgentLost,
    AgentReady,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    ToolFinished,
)
from gateway.terms import AgentTerms

CALLED = ToolCalled("t1", "stock", '{"item":"rye"}')
RUN = RunTool("t1", "stock", '{"item":"rye"}')
FINISHED = ToolFinished("t1", '{"left":3}')
RESULT = SendResult("t1", '{"left":3}')
PATIENT = terms(AgentTerms("main", tool_results="after_reply"))


def asked(play: Play) -> Play:
    """The agent asks for a tool in a reply of its own."""
    play.on(ReplyStarted("r1"))
    play.on(CALLED, RUN)
    return play


def test_a_result_goes_to_the_agent_at_once() -> None:
    """By the immediate policy a result is sent while the reply that asked for it is still in progress."""
    asked(Play.talking()).on(FINISHED, RESULT)


def test_by_the_other_policy_a_result_waits_for_the_end_of_the_reply() -> None:
    """After the reply, and not while the caller speaks, whichever of result and reply comes first."""
    play = asked(Play.talking(PATIENT))
    play.on(FINISHED)
    play.on(ReplyEnded("r1"), RESULT)
    play = asked(Play.talking(PATIENT))
    play.on(ReplyEnded("r1"))
    play.on(SpeechStarted())
    play.on(FINISHED)
    play.on(SpeechStopped(), RESULT)


def test_an_interruption_drops_what_its_reply_asked_for() -> None:
    """Held results go, running tools are abandoned, and their answers are not passed on."""
    play = asked(Play.talking(PATIENT))
    play.on([ToolCalled("t2", "book", "{}"), *reply_audio(1000)], RunTool("t2", "book", "{}"))
    play.on(FINISHED)
    play.wait(0.2)
    play.on(SpeechStarted(), Clear())
    play.on(ReplyEnded("r1", interrupted=True), AbandonTool("t2"))
    play.on([ToolFinished("t2", "{}"), SpeechStopped(), ReplyStarted("r2"), ReplyEnded("r2")])


def test_an_immediate_result_waits_while_it_is_open_whether_its_reply_was_interrupted() -> None:
    """Between our cut and the agent's word about it nothing is sent; afterwards by what the agent says."""
    for interrupted, expected in ((True, []), (False, [RESULT])):
        play = asked(Play.talking())
        play.on(reply_audio(1000))
        play.wait(0.2)
        play.on(SpeechStarted(), Clear())
        play.on(FINISHED)
        play.on(ReplyEnded("r1", interrupted=interrupted), *expected)


def test_only_a_cancellable_tool_is_cut_short() -> None:
    """A half-made booking is worse than an unheard answer."""
    play = asked(Play.talking(terms(cancellable=frozenset({"stock"}))))
    play.on(ReplyEnded("r1", interrupted=True), AbandonTool("t1", cancel=True))


def test_interrupting_the_tail_of_a_finished_reply_keeps_its_tools() -> None:
    """The agent was not interrupted: it still waits for the answer."""
    play = asked(Play.talking())
    play.on([*reply_audio(1000), ReplyEnded("r1")])
    play.wait(0.2)
    play.on(SpeechStarted(), Clear())
    play.on(FINISHED, RESULT)


def test_a_tool_of_the_provider_is_never_answered() -> None:
    """An informational call is shown to the caller's client and runs nothing."""
    play = Play.talking()
    called = ToolCalled("t9", "crm", "{}", informational=True)
    play.on(called, Tell(called))


def test_a_repeated_call_runs_nothing_and_may_repeat_the_answer() -> None:
    """The same id again: the answer once more while the agent has not shown that it has it."""
    play = asked(Play.talking())
    play.on(CALLED)
    play.on(FINISHED, RESULT)
    play.on(CALLED, RESULT)
    play.on(ReplyStarted("r2"))
    play.on(CALLED)


def test_after_a_resumption_only_what_was_not_taken_is_sent_again() -> None:
    """A later reply shows that a result was taken; one that was sent into the void goes again."""
    play = asked(Play.talking())
    play.on(FINISHED, RESULT)
    play.on(ReplyStarted("r2"))
    play.on(
        [ReplyEnded("r1"), ReplyEnded("r2"), ToolCalled("t2", "stock", "{}")], RunTool("t2", "stock", "{}")
    )
    play.on(ToolFinished("t2", "{}"), SendResult("t2", "{}"))
    play.wait(0.5)
    play.on(AgentLost("1006"), OpenAgent("main", "token"))
    play.on(AgentReady("s", resumed=True), SendResult("t2", "{}"))


def test_a_tool_that_finishes_while_the_agent_is_away_is_answered_afterwards() -> None:
    """The resumed session gets the result itself."""
    play = asked(Play.talking())
    play.on(AgentLost("1006"), OpenAgent("main", "token"))
    play.on(FINISHED)
    play.on(AgentReady("s", resumed=True), RESULT)


def test_a_new_session_is_told_of_results_in_words_and_once() -> None:
    """It never asked, so it is told what was asked and answered, in one message; no tool runs again."""
    play = asked(Play.talking())
    play.on(ToolCalled("t2", "price", "{}"), RunTool("t2", "price", "{}"))
    play.on([FINISHED, ToolFinished("t2", '{"eur":4}')], RESULT, SendResult("t2", '{"eur":4}'))
    play.on(AgentLost("1006", "renew"), OpenAgent("main"))
    commands = play.on(AgentReady("s2"), ...)
    (ask,) = [command for command in commands if isinstance(command, AskReply)]
    assert '{"left":3}' in ask.instructions
    assert '{"eur":4}' in ask.instructions
    play.on(CALLED)
    play.on(ReplyStarted("r9"))
    play.wait(1)


def test_a_reply_with_a_tool_running_is_not_stalled() -> None:
    """However long a tool takes, and a silent line while it runs is not a dead one."""
    play = asked(Play.talking(terms(AgentTerms("main", stalled_reply_s=5), silence_s=8)))
    play.wait(30)
    play.on(FINISHED, RESULT)
    play.wait(4.9)
    play.wait(0.2, WatchdogFired("stalled_reply", "r1"), AskReply(GO_ON))


def test_a_result_that_waits_for_a_stalled_reply_gets_out() -> None:
    """A reply that never ends does not hold a result for ever."""
    play = asked(Play.talking(terms(AgentTerms("main", tool_results="after_reply", stalled_reply_s=5))))
    play.on(FINISHED)
    play.wait(5.1, RESULT)


@pytest.mark.parametrize("finished", [ToolFinished("t8", "{}"), FINISHED])
def test_answers_that_nobody_waits_for_are_dropped(finished: ToolFinished) -> None:
    """An unknown tool call, or one answered twice."""
    play = asked(Play.talking())
    play.on(FINISHED, RESULT)
    play.on(finished)


def test_finished_calls_are_forgotten_and_running_ones_are_not() -> None:
    """Memory is bounded; a tool that runs is remembered however many came after it."""
    play = asked(Play.talking())
    for n in range(300):
        play.on(ToolCalled(f"x{n}", "stock", "{}"), ...)
        play.on(ToolFinished(f"x{n}", "{}"), ...)
        play.on(reply(20, f"q{n}"), ...)
        play.wait(0.1)
    assert len(play.machine._tools._calls) <= 256
    play.on(CALLED)
    play.on(FINISHED, RESULT)


def test_a_storm_of_tool_calls_is_answered_and_not_run() -> None:
    """An agent may have so many tools open; what it asks for beyond is told so at once, and costs no memory."""
    play = Play.talking()
    for n in range(MOST_OPEN):
        play.on(ToolCalled(f"x{n}", "stock", "{}"), RunTool(f"x{n}", "stock", "{}"))
    for n in range(1000):
        play.on(ToolCalled(f"y{n}", "stock", "{}"), SendResult(f"y{n}", TOO_MANY, failed=True))
    assert len(play.machine._tools._calls) == MOST_OPEN
    play.on(ToolCalled("x0", "stock", "{}"))
    play.on(ToolFinished("x0", "{}"), SendResult("x0", "{}"))
    play.on(ToolCalled("z", "stock", "{}"), RunTool("z", "stock", "{}"))


def test_results_that_were_never_taken_are_forgotten_too() -> None:
    """An agent that asks and never replies cannot fill the memory."""
    play = Play.talking()
    for n in range(600):
        play.on(ToolCalled(f"x{n}", "stock", "{}"), ...)
        play.on(ToolFinished(f"x{n}", "{}"), SendResult(f"x{n}", "{}"))
    assert len(play.machine._tools._calls) <= MEMORY


def test_calls_that_are_over_cost_nothing() -> None:
    """However many calls are remembered, what is asked of them at every step takes no longer."""

    def ledger_of(calls: int) -> ToolLedger:
        ledger = ToolLedger(frozenset())
        for number in range(calls):
            ledger.called(ToolCalled(f"t{number}", "track", "{}"), "r1")
            ledger.finished(ToolFinished(f"t{number}", "{}"))
            ledger.release()
            ledger.shown()
        return ledger

    def step_s(ledger: ToolLedger) -> float:
        def step() -> object:
            ledger.expire(1.0)
            return ledger.running, ledger.pending, ledger.expires_at, ledger.unanswered, ledger.release()

        return min(timeit.repeat(step, number=100, repeat=20))

    assert step_s(ledger_of(MEMORY)) < 3 * step_s(ledger_of(0))
