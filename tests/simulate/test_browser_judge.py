"""The judge of servers of the Voice Agent API: silent about what the live service sends, and about nothing else."""

from typing import Any

import pytest

from gateway.simulate.browser_judge import Judge

FORMAT = {"encoding": "audio/pcm", "sample_rate": 24000}
CONFIG: dict[str, Any] = {
    "id": "s",
    "system_prompt": "",
    "greeting": None,
    "input": {"format": FORMAT},
    "output": {"format": FORMAT},
    "tools": [],
}
UPDATED: dict[str, Any] = {"type": "session.updated", "config": CONFIG}
READY: dict[str, Any] = {
    "type": "session.ready",
    "session_id": "s",
    "resume_token": "t",
    "expires_at": 5,
    "config": CONFIG,
}
ENDED = {"type": "session.ended", "session_duration_seconds": 1.0, "audio_duration_seconds": None}


def dated(event: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": 1.5, **event}


def judged(*events: dict[str, Any], ready: bool = True) -> list[str]:
    """Complaints about messages that come after the session is ready."""
    judge = Judge()
    before = [UPDATED, READY] if ready else []
    for event in before:
        assert judge.see(dated(event)) == []
    return [complaint for event in events for complaint in judge.see(dated(event))]


def reply(kind: str, reply_id: str = "r", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "reply_id": reply_id, **fields}


STARTED = reply("reply.started")
AUDIO = reply("reply.audio", data="AAAA")
SAID = reply("transcript.agent", text="Hello.", interrupted=False)
DONE = reply("reply.done", status="completed")


def test_a_session_of_the_service_is_above_reproach() -> None:
    """A greeting, a turn, a tool, an interruption, an unknown event and the end give no complaint."""
    talk = [
        STARTED, AUDIO, SAID, DONE, {"type": "input.speech.started"}, {"type": "transcript.user", "text": "Hi."},
        reply("reply.started", "q"), reply("reply.audio", "q", data=""), {"type": "tool.call", "call_id": "c", "arguments": {}},
        reply("transcript.agent", "q", text="", interrupted=True), reply("reply.done", "q", status="interrupted"),
        {"type": "session.error", "code": "invalid_format", "message": "No."}, {"type": "something.new"}, ENDED,
    ]  # fmt: skip
    assert judged(*talk) == []


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([{"kind": "x"}], "a message without type"),
        ([{"type": "reply.started", "reply_id": "r", "timestamp": "now"}], "without a float timestamp"),
        ([AUDIO], "of a reply that was not started"),
        ([STARTED, DONE, AUDIO], "reply.audio of a reply that is done"),
        ([STARTED, STARTED], "started twice"),
        ([reply("reply.started", "")], "without reply_id"),
        ([STARTED, reply("reply.audio")], "without data"),
        ([STARTED, DONE, SAID], "after its reply.done"),
        ([STARTED, reply("transcript.agent", text="x")], "without text or interrupted"),
        ([DONE], "reply.done of a reply that was not started"),
        ([STARTED, DONE, DONE], "came twice"),
        ([STARTED, reply("reply.done")], "without a known status"),
        ([{"type": "tool.call", "call_id": "c", "arguments": "{}"}], "arguments that are no object"),
        ([{"type": "transcript.user"}], "transcript.user without text"),
        ([{"type": "session.error", "code": "UNAUTHORIZED", "message": ""}], "lower-case code"),
        ([{"type": "session.ended"}], "without its durations"),
        ([ENDED, STARTED], "after session.ended"),
        ([READY], "a second session.ready"),
        ([{**READY, "session_id": "other"}], "another session_id"),
        ([{"type": "session.updated"}], "without its configuration"),
        ([{"type": "session.updated", "config": {**CONFIG, "input": {}}}], "without input.format"),
    ],
)
def test_what_the_service_never_sends_is_complained_of(events: list[Any], complaint: str) -> None:
    """Each departure from the reference has its sentence."""
    assert any(complaint in found for found in judged(*events))


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([READY], "before session.updated"),
        ([STARTED], "reply.started before session.ready"),
        ([UPDATED, {**READY, "config": {**CONFIG, "greeting": "Hi."}}], "different configurations"),
        ([UPDATED, {**READY, "resume_token": ""}], "without session_id or resume_token"),
        ([UPDATED, {**READY, "expires_at": None}], "without expires_at"),
    ],
)
def test_a_session_must_begin_as_the_service_begins_it(events: list[Any], complaint: str) -> None:
    """Updated, then ready, with the same configuration, an id, a token and an end."""
    assert any(complaint in found for found in judged(*events, ready=False))


def test_a_session_that_goes_on_is_ready_once_more() -> None:
    """After a new socket there is no update but the same session, and a reply may be told again."""
    judge = Judge()
    for event in (UPDATED, READY, STARTED, AUDIO, DONE):
        assert judge.see(dated(event)) == []
    judge.reconnect()
    for event in (READY, STARTED, AUDIO, DONE):
        assert judge.see(dated(event)) == []
    judge.reconnect()
    assert judge.see(dated(UPDATED)) == ["session.updated in answer to session.resume"]


@pytest.mark.parametrize(
    ("code", "ready", "fatal"),
    [
        ("unauthorized", False, True),
        ("invalid_value", False, True),
        ("invalid_value", True, False),
        ("invalid_format", False, False),
        ("session_expired", True, True),
    ],
)
def test_it_knows_which_errors_are_fatal(code: str, ready: bool, fatal: bool) -> None:
    """Some errors end a session whenever they come, some only as the answer to the first update."""
    judge = Judge()
    for event in [UPDATED, READY] if ready else []:
        judge.see(dated(event))
    judge.see(dated({"type": "session.error", "code": code, "message": ""}))
    assert (judge.fatal is not None) == fatal
