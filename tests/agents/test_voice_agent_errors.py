"""Failures of the Voice Agent API: the table of codes and closes, walked through the codec at every moment."""

from typing import Any

import msgspec
import pytest
import wires

from gateway.agents.voice_agent import VoiceAgentCodec
from gateway.agents.voice_agent_errors import CLOSES, CODES, Phase, close_rule
from gateway.commands import CloseAgent, OpenAgent
from gateway.errors import WireError
from gateway.events import AgentLost, AgentRefused, AgentWarned, Event

PHASES: tuple[Phase, ...] = ("opening", "resuming", "live")

# Section 6.1 of the reference, with the names of older docs, and section 6.2.
PUBLISHED_CODES = {
    *(
        "unauthorized",
        "agent_not_found",
        "agent_id_not_first",
        "invalid_value",
        "invalid_config",
        "invalid_webhook",
    ),
    *("invalid_format", "invalid_audio", "audio_rate_violation", "immutable_field", "session_not_found"),
    *("session_forbidden", "session_expired", "at_capacity", "concurrency_exceeded", "internal_error"),
    *("forbidden", "server_error", "agent_init_failed", "agent_timeout"),
}
PUBLISHED_CLOSES = {1000, 1005, 1006, 1008, 1011, 3005, 3006, 3007, 3008, 3009}


def codec_in(phase: Phase, rung: Any = "token") -> VoiceAgentCodec:
    memory = {"session_id": "sess_1", "resume_token": "token-1"} if phase == "resuming" else {}
    codec = wires.new_codec("voice_agent", {"settings": {"api_key": ["key"]}, "memory": memory})
    assert isinstance(codec, VoiceAgentCodec)
    codec.encode(OpenAgent("main", rung if phase == "resuming" else "new"))
    if phase == "live":
        codec.decode('{"type":"session.ready","session_id":"sess_1"}')
    return codec


def error(code: str) -> str:
    message = {
        "type": "session.error",
        "code": code,
        "message": "the words",
        "session_id": None,
        "param": None,
    }
    return msgspec.json.encode(message).decode()


def remedies(events: list[Event]) -> list[str]:
    return [event.remedy for event in events if isinstance(event, AgentLost | AgentRefused)]


def test_table_covers_every_published_code() -> None:
    """Every error code and close code of the reference has a decision and the clause behind it."""
    assert set(CODES) == PUBLISHED_CODES
    assert set(CLOSES) == PUBLISHED_CLOSES
    assert all(rule.clause for rule in CODES.values())
    assert all(rule.clause for rule in CLOSES.values())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_error_code_leads_to_its_decision(code: str, phase: Phase, spelling: Any) -> None:
    """Each code, in any case and at any moment, is either a warning or one refusal that the close does not repeat."""
    codec = codec_in(phase)
    wire = error(spelling(code))
    decision = CODES[code].at(phase)
    if decision == "ignore":
        assert codec.decode(wire) == [AgentWarned(code, "the words", wire)]
        assert len(codec.closed(1008)) == 1
    else:
        assert codec.decode(wire) == [AgentRefused(code, "the words", decision)]
        assert codec.closed(1008) == []
        assert codec.closed(1011) == []


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", [*sorted(CLOSES), 1001, 1012, 4000])
def test_close_code_leads_to_its_decision(code: int, phase: Phase) -> None:
    """Each close, at any moment, is exactly one loss or one refusal, and never a second one."""
    codec = codec_in(phase)
    rule = close_rule(code)
    (event,) = codec.closed(code)
    assert isinstance(event, AgentRefused if rule.refused else AgentLost)
    assert event.remedy == rule.at(phase)
    assert codec.closed(code) == []


@pytest.mark.parametrize("code", sorted(CODES))
def test_nothing_resumes_after_the_key(code: str) -> None:
    """A refusal on the last way to resume a session never asks for another one."""
    for event in codec_in("resuming", "key").decode(error(code)):
        assert not isinstance(event, AgentRefused) or event.remedy != "resume"


def test_policy_close_on_the_key_rung_asks_for_a_new_session() -> None:
    """A bare 1008 in answer to a resumption moves from the token to the key, and from the key to a new session."""
    assert remedies(codec_in("resuming", "token").closed(1008)) == ["resume"]
    assert remedies(codec_in("resuming", "key").closed(1008)) == ["renew"]


def test_close_is_named_after_the_error_just_before_it() -> None:
    """A 1008 takes its name and words from an error that came right before, and from none that is long past."""
    codec = codec_in("live")
    codec.decode(error("Invalid_Value"))
    assert codec.closed(1008) == [AgentRefused("invalid_value", "the words", "renew")]
    codec = codec_in("live")
    codec.decode(error("invalid_value"))
    codec.decode('{"type":"input.speech.started"}')
    assert codec.closed(1008) == [
        AgentRefused("close_1008", "the agent closed the connection (1008)", "renew")
    ]


def test_close_tells_its_reason() -> None:
    """What the close frame says is kept for people."""
    assert codec_in("live").closed(1006, "no pong") == [
        AgentLost("the connection to the agent closed (1006: no pong)", "resume")
    ]


@pytest.mark.parametrize("code", [1000, 1006, 1008])
def test_close_that_we_asked_for_is_no_event(code: int) -> None:
    """After our session.end neither the answer nor the close nor an error of the goodbye is a failure."""
    codec = codec_in("live")
    assert codec.encode(CloseAgent()) == ['{"type":"session.end"}']
    assert remedies(codec.decode(error("internal_error"))) == []
    ended_too_early = codec.ended
    assert codec.decode('{"type":"session.ended","session_duration_seconds":1.5}') == []
    assert (ended_too_early, codec.ended) == (False, True)
    assert codec.closed(code) == []


def test_end_that_nobody_asked_for_is_one_loss() -> None:
    """A session that the provider ends is lost once: by its message, not again by the close."""
    codec = codec_in("live")
    assert remedies(codec.decode('{"type":"session.ended"}')) == ["renew"]
    assert codec.ended
    assert codec.closed(1000) == []


def test_unreadable_message_changes_nothing() -> None:
    """A message that cannot be read leaves the codec as it was."""
    codec = codec_in("live")
    codec.decode(error("invalid_value"))
    with pytest.raises(WireError):
        codec.decode("{")
    assert codec.closed(1008) == [AgentRefused("invalid_value", "the words", "renew")]


@pytest.mark.parametrize(
    "message", ["[" * 100_000, '{"config":' * 50_000, '{"type":"\ud800"}', '{"type":"\\ud800"}']
)
def test_hostile_text_is_refused(message: str) -> None:
    """Bottomless nesting and broken Unicode are refused like any other unreadable message."""
    with pytest.raises(WireError):
        codec_in("live").decode(message)


@pytest.mark.parametrize(
    ("code", "opening", "resuming", "live"),
    [
        ("unauthorized", "fallback", "resume", "fallback"),
        ("invalid_value", "fallback", "renew", "ignore"),
        ("invalid_format", "fallback", "renew", "ignore"),
        ("audio_rate_violation", "ignore", "ignore", "ignore"),
        ("session_not_found", "renew", "renew", "renew"),
        ("session_expired", "renew", "renew", "renew"),
        ("concurrency_exceeded", "retry", "retry", "ignore"),
        ("internal_error", "retry", "resume", "resume"),
        (1000, "retry", "retry", "resume"),
        (1006, "retry", "retry", "resume"),
        (1008, "fallback", "resume", "renew"),
        (1011, "retry", "resume", "resume"),
        (3005, "retry", "retry", "resume"),
        (3007, "fallback", "fallback", "fallback"),
    ],
)
def test_decision_is_the_one_that_the_reference_asks_for(
    code: str | int, opening: str, resuming: str, live: str
) -> None:
    """The decisions that a call depends on most are written down twice, so that neither changes by accident."""
    rule = CODES[code] if isinstance(code, str) else CLOSES[code]
    assert (rule.opening, rule.resuming, rule.live) == (opening, resuming, live)
