"""Calls end politely: the last words are heard first, and then nobody is left on the line."""

import pytest
from figures import tell
from goodbyes import (
    CALLER_LEAVES,
    GOODBYE_S,
    LATE_MARKS,
    LATE_S,
    NO_MARKS,
    PLAIN,
    REST_FAILS,
    TALKED_OVER,
    WITH_REST,
    Ended,
    run_goodbyes,
)
from speech import hearing_needed
from together import Outcomes

from gateway.audio import MULAW_8K
from gateway.commands import EndingSettled

pytestmark = hearing_needed
GOODBYE = "agent: Goodbye, and thank you for calling."
COMPLETED = {"Status": "completed"}
AFTER_THE_LAST_WORD_S = 2.5


@pytest.fixture(scope="module")
def calls() -> Outcomes[Ended]:
    """All of them, made at the same time."""
    return run_goodbyes()


def heard_to_the_end(ended: Ended, name: str, outcome: str) -> None:
    """The whole goodbye reached the ear before the gateway ended the call."""
    goodbye = list(ended.story.heard.values())[-1]
    sound = ended.result.received_audio[-MULAW_8K.frame_bytes(goodbye.sent_ms) :]
    last_word_s = ended.result.heard[-1].end_s
    tell(
        "goodbye",
        f"{name}: {outcome}, last word at {last_word_s:.1f} s, call over {ended.result.duration_s - last_word_s:.1f} s later",
    )
    assert [fact.outcome for fact in ended.story.facts(EndingSettled)][-1] == outcome
    assert sound in ended.result.heard_audio
    assert goodbye.cut_ms == 0
    assert ended.lines[-1].render().startswith(GOODBYE)
    assert ended.result.duration_s - last_word_s < AFTER_THE_LAST_WORD_S
    assert ended.story.end == "agent_hung_up"
    assert ended.result.warnings == []
    assert ended.messages[-1] == "session.end"


def test_hang_up_waits_for_the_goodbye(calls: Outcomes[Ended]) -> None:
    """The tool `hang_up` is committed when the goodbye was heard; Twilio then asks what follows and is told to hang up."""
    ended = calls[PLAIN]
    heard_to_the_end(ended, "hang_up", "confirmed")
    assert ended.result.end_reason == "agent_hung_up"
    assert "<Hangup" in ended.result.documents[-1]
    assert ended.result.carrier_said == []
    assert ended.requests == []


def test_hang_up_by_rest(calls: Outcomes[Ended]) -> None:
    """With REST credentials the carrier is also told to end the call; that it is over already is fine."""
    ended = calls[WITH_REST]
    heard_to_the_end(ended, "hang_up by REST", "confirmed")
    (request,) = ended.requests
    assert request.fields == COMPLETED
    assert request.status in (200, 404)


def test_rest_that_fails(calls: Outcomes[Ended]) -> None:
    """A REST interface that fails does not keep the caller on the line."""
    ended = calls[REST_FAILS]
    heard_to_the_end(ended, "REST fails", "confirmed")
    assert {request.status for request in ended.requests} == {500}
    assert len(ended.requests) <= 5
    assert "<Hangup" in ended.result.documents[-1]


def test_talking_over_the_goodbye_keeps_the_call(calls: Outcomes[Ended]) -> None:
    """Who talks over the goodbye is listened to and answered; the next goodbye ends the call."""
    ended = calls[TALKED_OVER]
    heard_to_the_end(ended, "goodbye talked over, then said again", "confirmed")
    assert [fact.outcome for fact in ended.story.facts(EndingSettled)] == ["cancelled", "confirmed"]
    words = "\n".join(line.render() for line in ended.lines)
    assert "caller: ten of clubs" in words
    assert "agent: I heard ten of clubs." in words


def test_marks_that_never_come(calls: Outcomes[Ended]) -> None:
    """Without any returned mark the end of the goodbye is estimated, and the transcript says so."""
    ended = calls[NO_MARKS]
    heard_to_the_end(ended, "no marks", "estimated")
    assert ended.lines[-1].render().endswith("(playback estimated)")
    assert ended.result.duration_s - ended.result.heard[-1].end_s < GOODBYE_S


def test_marks_that_come_late(calls: Outcomes[Ended]) -> None:
    """Late marks are waited for."""
    ended = calls[LATE_MARKS]
    heard_to_the_end(ended, f"marks {LATE_S} s late", "confirmed")
    assert ended.result.duration_s - ended.result.heard[-1].end_s > LATE_S


def test_caller_who_leaves_is_not_hung_up_on(calls: Outcomes[Ended]) -> None:
    """When the caller hangs up the agent's session is ended and the carrier is asked for nothing."""
    ended = calls[CALLER_LEAVES]
    assert ended.story.end == "caller_left"
    assert ended.requests == []
    assert ended.messages[-1] == "session.end"
