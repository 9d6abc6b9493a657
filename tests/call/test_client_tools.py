"""Plays with a client of the Voice Agent API: its tools, and those of the route."""

from client_play import ASK, told, with_tool
from play import INFO, Play, reply_audio

from gateway.commands import AbandonTool, AskReply, RunTool, SendResult
from gateway.events import (
    AgentLost,
    AgentReady,
    CallerAnsweredTool,
    CallerLost,
    CallerReturned,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    ToolCalled,
    ToolFinished,
)


def waits(play: Play) -> bool:
    return play.machine._tools.running


def test_a_tool_of_the_client_is_answered_by_the_client() -> None:
    """It is called by name, nothing is run here, and its answer goes to the agent once."""
    play = with_tool()
    play.on(ReplyStarted("r1"))
    play.on(ASK)
    assert told(play)[-1] == ASK
    play.on(CallerAnsweredTool("t1", "{}"), SendResult("t1", "{}"))
    play.on(CallerAnsweredTool("t1", '{"again":1}'))


def test_a_tool_of_the_route_is_run_here_and_not_the_clients_to_answer() -> None:
    """The client is told of it as informational, and what it answers to it, or to nothing, is ignored."""
    play = with_tool()
    play.on(ToolCalled("t2", "hang_up", "{}"), RunTool("t2", "hang_up", "{}"))
    assert told(play)[-1].informational
    before = len(told(play))
    play.on(CallerAnsweredTool("t2", "{}"))
    play.on(CallerAnsweredTool("never called", "{}"))
    assert len(told(play)) == before


def test_a_call_that_is_repeated_is_told_once() -> None:
    """Whoever's tool it is: the client has it, and a second one would look like another call."""
    play = with_tool()
    play.on(ASK)
    play.on(ToolCalled("t2", "hang_up", "{}"), RunTool("t2", "hang_up", "{}"))
    before = len(told(play))
    play.on(ASK)
    play.on(ToolCalled("t2", "hang_up", "{}"))
    assert len(told(play)) == before


def test_a_client_that_returns_sees_what_the_tools_of_the_route_did() -> None:
    """Their calls and ends wait for it, in order; its own calls are told when it is back, while unanswered."""
    play = with_tool()
    play.on(CallerLost("gone"), ...)
    play.on(ToolCalled("t2", "hang_up", "{}"), ...)
    play.on(ToolFinished("t2", "{}"), ...)
    play.on(ASK, ...)
    before = len(told(play))
    play.on(CallerReturned(INFO), ...)
    tools = [event for event in told(play)[before:] if isinstance(event, ToolCalled | ToolFinished)]
    assert [event.tool_call_id for event in tools] == ["t2", "t2", "t1"]
    assert tools[-1] == ASK


def test_an_interruption_throws_the_clients_answer_away() -> None:
    """An answer to a tool of an interrupted reply goes nowhere, and nothing is abandoned that does not run here."""
    play = with_tool()
    play.on([ReplyStarted("r1"), *reply_audio(1000), ASK], ...)
    commands = play.on([SpeechStarted(), ReplyEnded("r1", interrupted=True)], ...)
    assert not [command for command in commands if isinstance(command, AbandonTool)]
    play.on(CallerAnsweredTool("t1", "{}"))


def test_a_client_that_never_answers_holds_nothing_up() -> None:
    """After its own limit and a little more, the call goes on as if the tool had not been called."""
    play = with_tool(silence_s=40.0)
    play.on(ASK)
    play.wait(24)
    assert waits(play)
    play.wait(2)
    assert not waits(play)
    play.on(CallerAnsweredTool("t1", "{}"))


def test_an_answer_that_comes_while_the_agent_is_away_is_kept() -> None:
    """A session that is resumed gets it; a new one is told of it in words."""
    play = with_tool()
    play.on(ASK)
    play.on(AgentLost("broken"), ...)
    play.on(CallerAnsweredTool("t1", '{"n":1}'))
    play.on(AgentReady("session-1", resumed=True), SendResult("t1", '{"n":1}'))
    again = with_tool()
    again.on(ASK)
    again.on(AgentLost("gone", "renew"), ...)
    again.on(CallerAnsweredTool("t1", '{"n":1}'))
    commands = again.on(AgentReady("session-2"), ...)
    assert any(isinstance(command, AskReply) and '{"n":1}' in command.instructions for command in commands)
