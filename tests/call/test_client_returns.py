"""Plays with a client of the Voice Agent API: what it finds when it returns, and who it is told answers."""

import msgspec
import pytest
from client_play import ASK, MAY, all_told, client_terms, kinds, ours, started, talking, told, with_tool
from play import INFO, Play, reply_audio, terms

from gateway.commands import RunTool, SendResult
from gateway.events import (
    AgentLost,
    AgentReady,
    AgentRefused,
    CallerAnsweredTool,
    CallerHeard,
    CallerLost,
    CallerReturned,
    ReplyEnded,
    ReplyStarted,
    ToolCalled,
    ToolFinished,
    UserSaid,
)
from gateway.terms import AgentTerms


def test_a_client_that_returns_finds_everything_as_it_was() -> None:
    """The session is ready again, what happened meanwhile is told in order, the unheard sound is sent again."""
    play = talking()
    play.on([ReplyStarted("r1"), *reply_audio(2000), ReplyEnded("r1")], ...)
    play.wait(1.0, ...)
    play.on(CallerLost("broken"))
    play.far_end.drop(play.now)
    before = len(told(play))
    play.on(
        [UserSaid("Wait", final=True), ReplyStarted("r2"), *reply_audio(300, "r2"), ReplyEnded("r2")], ...
    )
    assert len(told(play)) == before
    play.wait(5, ...)
    play.on(CallerReturned(INFO), ...)
    assert told(play, before) == [
        AgentReady("session-1"),
    ]
    play.wait(3, ...)
    assert told(play, before + 1) == [
        ReplyEnded("r1"),
        UserSaid("Wait", final=True),
        ReplyStarted("r2"),
        ReplyEnded("r2"),
    ]
    assert abs(play.far_end.heard_ms("r1", play.now) - 2000) <= 250
    assert play.far_end.heard_ms("r2", play.now) == pytest.approx(300)


def test_a_tool_call_that_was_not_answered_is_repeated() -> None:
    """Once per return, whether the client had seen it or not; an answered one is not."""
    play = with_tool()
    other = msgspec.structs.replace(ASK, tool_call_id="t2")
    play.on([ASK, other], ...)
    play.on(CallerAnsweredTool("t2", "{}"), ...)
    play.on(CallerLost("broken"))
    missed = msgspec.structs.replace(ASK, tool_call_id="t3")
    play.on(missed, ...)
    before = len(told(play))
    play.on(CallerReturned(INFO), ...)
    assert told(play, before) == [AgentReady("session-1"), ASK, missed]


def test_a_client_that_returns_before_it_was_missed() -> None:
    """A second connection takes over at once: ready, and the tool calls that wait."""
    play = with_tool()
    play.on(ASK)
    before = len(told(play))
    play.on(CallerReturned(INFO), ...)
    assert told(play, before) == [AgentReady("session-1"), ASK]


def test_a_client_that_returns_before_the_agent_was_ready() -> None:
    """There is nothing to say yet; the session is ready when the agent is."""
    play = Play(client_terms())
    started(play)
    play.on(CallerLost("broken"))
    play.on(CallerReturned(INFO))
    assert told(play) == []
    play.on(AgentReady("session-1"))
    assert told(play) == [AgentReady("session-1")]


def test_a_client_is_told_who_answers() -> None:
    """Name and region of the agent when the session is ready, and of the one that takes over."""
    agents = (AgentTerms("main", region="eu", tries=1), AgentTerms("spare", region="us"))
    play = Play(terms(*agents, speaks_api=True, client_may=MAY))
    started(play)
    play.on(AgentReady("session-1"))
    assert ours(all_told(play)[-1]) == {"type": "talkpath.agent", "agent": "main", "region": "eu"}
    play.on(AgentRefused("unauthorized"), ...)
    play.on(AgentReady("session-2"), ...)
    assert ours(all_told(play)[-1]) == {"type": "talkpath.agent", "agent": "spare", "region": "us"}
    before = len(all_told(play))
    play.on(AgentLost("broken"), ...)
    play.on(AgentReady("session-2", resumed=True), ...)
    assert kinds(all_told(play)[before:]) == ["AgentReady"], "it is the same one"


def test_a_client_is_told_how_the_tools_of_the_route_end() -> None:
    """Their calls are informational to it, and so are their ends; the agent has its result all the same."""
    play = talking()
    play.on(ToolCalled("t1", "hang_up", "{}"), RunTool("t1", "hang_up", "{}"))
    play.on(ToolFinished("t1", '{"done":true}'), SendResult("t1", '{"done":true}'))
    called, finished = told(play, 1)
    assert called.informational
    assert finished == ToolFinished("t1", '{"done":true}')
    telephone = Play.talking()
    telephone.on(ToolCalled("t1", "hang_up", "{}"), RunTool("t1", "hang_up", "{}"))
    telephone.on(ToolFinished("t1", "{}"), SendResult("t1", "{}"))
    assert kinds(told(telephone, 1)) == ["ToolCalled"], "a telephone has no use for it"


def test_callers_without_such_a_client_are_told_as_before() -> None:
    """On a telephone nothing is kept, held or repeated."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(2000), ReplyEnded("r1")], ...)
    assert kinds(told(play, 1)) == ["ReplyStarted", "ReplyEnded"]
    play.on(CallerHeard("0:20"))
    play.on(CallerLost("broken"))
    play.on(UserSaid("Hm", final=True))
    assert kinds(told(play, 3)) == ["UserSaid"]
    play.on(CallerReturned(INFO), ...)
    assert len(told(play)) == 4
