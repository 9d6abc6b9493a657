"""The adapter for clients of the Voice Agent API: what ends a connection, what survives one, what is played."""

import json
from typing import Any

import pytest

from gateway.adapters.browser import BrowserCodec, BrowserSettings
from gateway.adapters.browser_playback import MOST_MARKS, Playback
from gateway.commands import HangUp, Mark, Play, Tell
from gateway.contracts import Upgrade
from gateway.errors import WireError
from gateway.events import AgentReady, AgentRefused, CallerHeard, ReplyStarted, ToolCalled, ToolFinished

SECOND = b"\0" * 48_000


def codec(**upgrade: Any) -> BrowserCodec:
    return BrowserCodec(
        Upgrade(**{"call_id": "call_1", "session_id": "sess_1", **upgrade}), BrowserSettings()
    )


def give(to: BrowserCodec, **message: Any) -> list[Any]:
    return to.decode(json.dumps(message))


def said(messages: list[str | bytes]) -> list[Any]:
    return [json.loads(message) for message in messages]


def begun(**session: Any) -> BrowserCodec:
    made = codec(resume_token="rt")
    give(made, type="session.update", session=session)
    made.encode(Tell(AgentReady("sess_p")))
    return made


@pytest.mark.parametrize(
    ("session", "fatal", "close_code"),
    [
        ({"output": {"voice": ""}}, True, 1008),
        ({"unknown": 1}, True, 1008),
        ({"webhook": {}}, True, 1008),
        ({"greeting": None}, False, None),
        ({"input": {"format": {"encoding": "audio/pcm", "sample_rate": 8000}}}, True, 1011),
        ({"output": {"format": {"encoding": "audio/pcm", "sample_rate": 44100}}}, True, 1011),
    ],
)
def test_a_bad_first_update_ends_the_connection_as_the_service_does(
    session: Any, fatal: bool, close_code: int | None
) -> None:
    """Every mistake of the first update closes with 1008, a rate that no agent can hear with 1011, a format error with nothing."""
    made = codec()
    with pytest.raises(WireError) as caught:
        give(made, type="session.update", session=session)
    assert caught.value.fatal is fatal
    assert made.close_code == close_code


def test_a_bad_later_update_ends_nothing() -> None:
    """The same mistake in a later update is told, and the session goes on."""
    made = begun()
    with pytest.raises(WireError) as caught:
        give(made, type="session.update", session={"output": {"volume": 500}})
    assert not caught.value.fatal
    assert made.close_code is None


def test_a_connection_is_refused_in_words_of_the_service() -> None:
    """Whoever is not let in reads why, with the ids null, and is closed with 1008."""
    made = codec()
    (error,) = said(made.turn_away("unauthorized", "Authentication failed"))
    del error["timestamp"]
    assert error == {
        "type": "session.error",
        "code": "unauthorized",
        "message": "Authentication failed",
        "session_id": None,
        "param": None,
    }
    assert made.close_code == 1008


def test_a_session_goes_on_over_another_connection() -> None:
    """The next connection says `session.ready` with the same id, token and configuration, and nothing of an update."""
    first = begun(greeting="Hello.", output={"format": {"encoding": "audio/pcmu"}})
    second = codec(call_id="call_2")
    give(second, type="session.resume", session_id="sess_1")
    assert second.resumes == "sess_1"
    assert second.session is None
    second.go_on(first.session)  # type: ignore[arg-type]
    assert second.hears.encoding == "pcm16"
    (ready,) = said(second.encode(Tell(AgentReady("sess_p"))))
    assert (ready["type"], ready["session_id"], ready["resume_token"]) == ("session.ready", "sess_1", "rt")
    assert ready["config"]["output"]["format"] == {"encoding": "audio/pcmu", "sample_rate": 8000}
    assert second.encode(Tell(AgentReady("sess_q"))) == []
    assert said(second.encode(Play("r", b"\xff")))[0]["data"] == "/w=="


def test_a_token_that_resumes_a_session_sees_no_more_than_a_token_may() -> None:
    """A session that began with a key hides the route's prompt from a connection with a minted token."""
    first = begun()
    first.session.learn({"system_prompt": "secret"})  # type: ignore[union-attr]
    second = codec(call_id="call_2", admitted_by="token")
    second.go_on(first.session)  # type: ignore[arg-type]
    assert "secret" not in str(second.encode(Tell(AgentReady("sess_p"))))


def test_the_providers_id_is_never_shown() -> None:
    """In whatever the agent says, our session id stands where the provider's was."""
    made = begun()
    raw = '{"type":"reply.started","reply_id":"r","session_id":"sess_p"}'
    assert made.encode(Tell(ReplyStarted("r", raw))) == [raw.replace("sess_p", "sess_1")]


def test_what_the_agent_refuses_of_the_client_ends_the_connection() -> None:
    """An agent's refusal is told with its code, and closes with 1008 without a second farewell."""
    made = codec()
    give(made, type="session.update", session={})
    (error,) = said(made.encode(Tell(AgentRefused("invalid_value", "Invalid voice 'x'."))))
    assert (error["code"], error["message"]) == ("invalid_value", "Invalid voice 'x'.")
    assert made.encode(HangUp("refused")) == []
    assert made.close_code == 1008


@pytest.mark.parametrize(
    ("reason", "kinds", "close_code"),
    [
        ("caller_left", ["session.ended"], 1000),
        ("agent_hung_up", ["session.ended"], 1000),
        ("silence", ["session.ended"], 1000),
        ("limit", ["session.error", "session.ended"], 1008),
        ("agent_lost", ["session.error"], 1011),
    ],
)
def test_every_end_is_told_as_the_service_tells_it(reason: str, kinds: list[str], close_code: int) -> None:
    """An ordinary end is `session.ended` and 1000, a spent limit 1008, an agent that is gone for good 1011."""
    made = begun()
    assert [message["type"] for message in said(made.encode(HangUp(reason)))] == kinds
    assert made.close_code == close_code
    assert made.closing(1011) == []


def test_a_fault_of_ours_is_told_before_the_close() -> None:
    """A connection that is closed with 1011 has read `internal_error` before."""
    made = begun()
    assert [message["code"] for message in said(made.closing(1011))] == ["internal_error"]
    assert made.closing(1000) == []


def test_what_was_played_answers_the_marks() -> None:
    """Each report answers the newest mark that it has passed, across replies; a report of the whole reply its end."""
    made = begun()
    for name in ("0:1000", "0:2000"):
        made.encode(Play("a", SECOND))
        made.encode(Mark(name))
    made.encode(Play("b", SECOND))
    made.encode(Mark("0:3000"))
    assert give(made, type="talkpath.played", reply_id="a", ms=999.4) == [CallerHeard("0:1000")]
    assert give(made, type="talkpath.played", reply_id="a", ms=1500) == []
    assert give(made, type="talkpath.played", reply_id="b", ms=10) == [CallerHeard("0:2000", further_ms=10)]
    assert give(made, type="talkpath.played", reply_id="b", ms=1000) == [CallerHeard("0:3000")]


def test_a_report_tells_what_was_played_since_the_mark() -> None:
    """What lies between the mark that a report has passed and the place it names goes with the mark."""
    made = begun()
    made.encode(Play("a", SECOND))
    made.encode(Mark("0:1000"))
    made.encode(Play("a", SECOND))
    made.encode(Mark("0:2000"))
    assert give(made, type="talkpath.played", reply_id="a", ms=1120.5) == [
        CallerHeard("0:1000", further_ms=120.5)
    ]


def test_a_report_after_a_clear_proves_nothing() -> None:
    """What a client says of a reply that was in its buffer when it was told to drop that is not believed."""
    playback = Playback()
    playback.play("a", 100)
    playback.mark("0:100")
    playback.clear()
    assert playback.played("a", 100) == ("", 0.0)
    playback.play("a", 100)
    playback.mark("1:100")
    assert playback.played("a", 200) == ("", 0.0)
    playback.play("b", 100)
    playback.mark("1:200")
    assert playback.played("b", 100) == ("1:200", 0.0)


def test_marks_of_a_silent_client_are_forgotten() -> None:
    """A client that never says what it has played costs no memory."""
    playback = Playback()
    for number in range(3 * MOST_MARKS):
        playback.play(f"r{number}", 20)
        playback.mark(str(number))
    assert len(playback._marks) == MOST_MARKS
    assert len(playback._sent_ms) < MOST_MARKS


@pytest.mark.parametrize(
    ("admitted_by", "show_tools", "seen"),
    [("key", False, True), ("token", False, False), ("token", True, True)],
)
def test_who_sees_the_tools_of_the_route(admitted_by: str, show_tools: bool, seen: bool) -> None:
    """Clients with a key do, those with a minted token where the configuration says so."""
    upgrade = Upgrade(call_id="call_1", admitted_by=admitted_by)  # type: ignore[arg-type]
    made = BrowserCodec(upgrade, BrowserSettings(show_tools=show_tools))
    give(made, type="session.update", session={})
    made.encode(Tell(AgentReady("sess_p")))
    called = made.encode(Tell(ToolCalled("t1", "drive", '{"meters":10}', informational=True)))
    ended = made.encode(Tell(ToolFinished("t1", '{"done":true}', outcome="ok")))
    assert bool(called) is bool(ended) is seen
