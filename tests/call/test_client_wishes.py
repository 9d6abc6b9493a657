"""Plays with a client of the Voice Agent API: what it sets, and what an agent says to that."""

import json
from typing import Any

import pytest
from client_play import ASK, client_terms, kinds, ours, started, talking, told, update, with_tool
from play import INFO, Play, reply

from gateway.call.conversation import Phase
from gateway.call.wishes import FORWARDED_CHARACTERS, MOST_FORWARDED
from gateway.commands import AskReply, CallEnded, Clear, CloseAgent, Configure, Forward, HangUp, OpenAgent
from gateway.events import (
    AgentLost,
    AgentReady,
    AgentRefused,
    CallerConfigured,
    CallerForwarded,
    CallerPrompted,
    CallStarted,
    SpeechStarted,
)


def test_an_agent_is_opened_with_what_the_client_may_set() -> None:
    """The first agent gets all of it; the notice about the rest comes after the session is ready."""
    play = Play(client_terms(client_may=frozenset({"system_prompt", "greeting"})))
    opened = started(play, system_prompt="x", greeting="Hello.", tools=[], output={"voice": "alba"})
    assert json.loads(opened.session) == {"system_prompt": "x", "greeting": "Hello."}
    assert told(play) == []
    play.on(AgentReady("session-1"))
    assert kinds(told(play)) == ["AgentReady", "AgentForwarded"]
    assert ours(told(play)[1]) == {
        "type": "talkpath.notice",
        "code": "field_kept",
        "fields": ["output.voice", "tools"],
        "message": "the route keeps its own output.voice, tools",
    }


def test_a_session_that_is_renewed_knows_what_the_client_set() -> None:
    """A new session is opened with it and told what came later; one that is resumed is told nothing twice."""
    play = talking({"system_prompt": "x", "greeting": "Hello."})
    later = Configure('{"system_prompt":"y"}', by_client=True)
    play.on(CallerConfigured(update(system_prompt="y")), later)
    play.on(
        AgentLost("broken"), OpenAgent("main", "token", session='{"system_prompt":"y","greeting":"Hello."}')
    )
    play.on(AgentReady("session-1", resumed=True))
    play.on(AgentLost("gone", "renew"), ...)
    play.on(AgentReady("session-2"), later)


def test_an_agent_that_takes_over_has_the_clients_prompt_and_its_own_greeting() -> None:
    """The fallback gets the prompt and the tools of the client."""
    play = talking({"system_prompt": "x", "greeting": "Hello."})
    (opened,) = [c for c in play.on(AgentLost("out", "fallback"), ...) if isinstance(c, OpenAgent)]
    assert (opened.agent, opened.session) == ("spare", '{"system_prompt":"x"}')


def test_what_nobody_will_answer_is_answered_here() -> None:
    """An update of which nothing passes, or that comes while no agent is there, has its `session.updated` at once."""
    play = talking(client_may=frozenset({"system_prompt"}))
    play.on(CallerConfigured(update(greeting="Hello.")))
    assert [ours(event)["type"] for event in told(play, 1)] == ["talkpath.notice", "session.updated"]
    play.on(CallerConfigured(update(system_prompt="x")), Configure('{"system_prompt":"x"}', by_client=True))
    assert len(told(play)) == 3
    play.on(AgentLost("broken"), ...)
    play.on(CallerConfigured(update(system_prompt="y")))
    assert ours(told(play)[-1]) == {"type": "session.updated", "changes": {"system_prompt": "y"}}


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"tools": [{"type": "function", "name": "hang_up"}]}, "invalid_value", "tools[0].name"),
        ({"agent_id": "agent_1"}, "agent_not_found", "agent_id"),
    ],
)
def test_a_session_that_cannot_be_as_the_client_wants_does_not_begin(
    session: Any, code: str, param: str
) -> None:
    """The client is told why, no agent is opened, and the call is over."""
    play = Play(client_terms())
    ended = CallEnded("refused", code)
    play.on(CallStarted(INFO, update(**session)), CloseAgent(), HangUp("refused"), ended)
    (error,) = map(ours, told(play))
    assert (error["type"], error["code"], error["param"]) == ("session.error", code, param)
    assert play.is_in(Phase.ENDED)


def test_a_clash_in_a_later_update_ends_nothing() -> None:
    """The error is told, nothing of the update holds, the tools before it stay the client's."""
    play = with_tool()
    tools = [{"type": "function", "name": "hang_up"}]
    play.on(CallerConfigured(update(system_prompt="x", tools=tools)))
    assert ours(told(play)[-1])["code"] == "invalid_value"
    play.on(ASK)
    assert told(play)[-1] == ASK


def test_what_an_agent_refuses_of_the_client_ends_its_session() -> None:
    """A voice that does not exist is the client's mistake: it is told, and no fallback is tried."""
    play = Play(client_terms())
    started(play, output={"voice": "nobody"})
    refused = AgentRefused("invalid_value", "Invalid voice 'nobody'.")
    play.on(refused, CloseAgent(), HangUp("refused"))
    assert told(play) == [refused]


@pytest.mark.parametrize("code", ["unauthorized", "at_capacity", "internal_error"])
def test_what_an_agent_refuses_of_the_route_is_the_routes_matter(code: str) -> None:
    """A wrong key of ours leads to the fallback, whatever the client set."""
    play = Play(client_terms())
    started(play, output={"voice": "alba"})
    play.on(AgentRefused(code, "", "fallback"), OpenAgent("spare", session='{"output":{"voice":"alba"}}'))


def test_a_route_that_is_wrong_by_itself_falls_back() -> None:
    """Where the client has set nothing, a bad session is the route's."""
    play = Play(client_terms())
    started(play)
    play.on(AgentRefused("invalid_value", "", "fallback"), OpenAgent("spare"))


def test_a_client_may_forbid_interruptions() -> None:
    """With `interrupt_response: false` speech does not stop the agent, until the client says otherwise."""
    play = talking({"input": {"turn_detection": {"interrupt_response": False}}})
    play.on(reply(3000), ...)
    play.wait(1, ...)
    play.on(SpeechStarted())
    play.on(CallerConfigured(update(input={"turn_detection": {"interrupt_response": True}})), ...)
    play.on(SpeechStarted(), Clear())


def test_a_prompt_reaches_the_agent_as_it_came() -> None:
    """`reply.create` goes on with what else stands in it."""
    play = talking()
    raw = '{"type":"reply.create","instructions":"Go on.","new":1}'
    play.on(CallerPrompted("Go on.", raw), AskReply("Go on.", raw))


def test_what_is_forwarded_waits_for_the_agent() -> None:
    """Messages that come before an agent is there, or while it is away, reach it once, in order, before it is asked to speak."""
    play = Play(client_terms())
    started(play)
    note = '{"type":"conversation.message","role":"user","content":"x"}'
    play.on(CallerForwarded(note))
    play.on(CallerPrompted("Go on.", '{"type":"reply.create","instructions":"Go on."}'))
    play.on(CallerForwarded('{"type":"new"}'))
    play.on(AgentReady("session-1"), Forward(note), Forward('{"type":"new"}'), AskReply("Go on."))
    play.on(AgentLost("broken"), ...)
    play.on(CallerForwarded(note))
    play.on(AgentReady("session-1", resumed=True), Forward(note))
    play.on(AgentLost("gone", "renew"), ...)
    play.on(AgentReady("session-2"))


def test_what_is_forwarded_does_not_wait_without_end() -> None:
    """The newest messages are kept, by their number and by their size."""
    play = Play(client_terms())
    started(play)

    def wish(text: str) -> str:
        return f'{{"type":"new","x":"{text}"}}'

    for number in range(MOST_FORWARDED + 2):
        play.on(CallerForwarded(wish(str(number))))
    kept = [Forward(wish(str(number))) for number in range(2, MOST_FORWARDED + 2)]
    play.on(AgentReady("session-1"), *kept)
    play.on(AgentLost("broken"), ...)
    half = "x" * (FORWARDED_CHARACTERS // 2 - len(wish("")) - 1)
    for sign in "abc":
        play.on(CallerForwarded(wish(half + sign)))
    play.on(CallerForwarded(wish("x" * FORWARDED_CHARACTERS)))
    play.on(AgentReady("session-1", resumed=True), Forward(wish(half + "b")), Forward(wish(half + "c")))
