import logging

import msgspec
import pytest

from gateway.audio import MULAW_8K
from gateway.commands import (
    AnyCommand,
    CallEnded,
    EndingSettled,
    Entry,
    GapClosed,
    NoteTaken,
    Oddity,
    OpenAgent,
    Remember,
    WatchdogFired,
)
from gateway.events import (
    AgentLost,
    AgentReady,
    AgentRefused,
    AnyEvent,
    CallerLost,
    CallInfo,
    CallStarted,
    UserSaid,
)
from gateway.observers.log import MAX_ANOMALIES, CallLog, register_observers
from gateway.redaction import mask_number, mask_numbers
from gateway.terms import AgentTerms, CallTerms

INFO = CallInfo("c1", "twilio", MULAW_8K, caller="+14155235309", callee="+442071838750")
TERMS = CallTerms(agents=(AgentTerms("main"),), audio=MULAW_8K, route="default")


def lines(
    caplog: pytest.LogCaptureFixture, *items: AnyEvent | AnyCommand, terms: CallTerms = TERMS
) -> list[str]:
    caplog.set_level(logging.INFO, "talkpath.calls")
    [kind] = register_observers()
    observer = kind.watch(INFO, terms)
    assert isinstance(observer, CallLog)
    for at, item in enumerate(items):
        if isinstance(item, observer.wants):
            observer.see(Entry(float(at), item))
    observer.close()
    return [record.getMessage() for record in caplog.records]


def test_a_call_has_a_line_for_its_start_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """Numbers are masked, and the same fields are on the record for structured handlers."""
    start, end = lines(caplog, CallStarted(INFO), Remember(CallEnded("caller_left")))
    assert start == (
        "call.started call_id=c1 adapter=twilio route=default agent=main caller=+1415•••5309 callee=+4420•••8750 "
        "audio=mulaw@8000"
    )
    assert end == "call.ended call_id=c1 reason=caller_left duration_s=1.0 anomalies=0"
    fields = vars(caplog.records[1])["fields"]
    assert (vars(caplog.records[1])["event"], fields["reason"]) == ("call.ended", "caller_left")


def test_every_agent_that_takes_the_call_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that takes over before any other was ever reached, with the provider's id of its session."""
    said = lines(
        caplog, OpenAgent("main"), AgentLost("refused", "retry"), OpenAgent("spare"), AgentReady("sess_1")
    )
    assert "agent.ready call_id=c1 agent=spare rung=new session_id=sess_1" in said


def test_a_client_that_leaves_by_closing_is_no_anomaly(caplog: pytest.LogCaptureFixture) -> None:
    """Where a closed socket ends the call, closing it is how callers hang up."""
    leaves = msgspec.structs.replace(TERMS, closing_leaves=True)
    said = lines(caplog, CallerLost("closed"), Remember(CallEnded("caller_left")), terms=leaves)
    assert said == ["call.ended call_id=c1 reason=caller_left duration_s=1.0 anomalies=0"]


def test_each_anomaly_has_a_line_without_content(caplog: pytest.LogCaptureFixture) -> None:
    """What people said and noted is not in the log, and numbers in sentences are masked."""
    said = lines(
        caplog,
        CallStarted(INFO),
        UserSaid("my secret", final=True),
        Remember(NoteTaken("my secret")),
        Remember(Oddity("reply.ended", "no reply\nto +1 415 523 5309")),
        Remember(WatchdogFired("deaf_agent", "12 s")),
        AgentLost("closed"),
        Remember(GapClosed(812.4, "token", "main")),
        AgentRefused("unauthorized", "my secret"),
        Remember(EndingSettled("hang_up", "confirmed")),
        Remember(CallEnded("bug", "KeyError")),
    )
    assert said[1:] == [
        "oddity call_id=c1 what=reply.ended why='no reply\\nto +1415•••5309'",
        "watchdog.fired call_id=c1 kind=deaf_agent detail='12 s'",
        "agent.lost call_id=c1 reason=closed remedy=resume",
        "gap.closed call_id=c1 gap_ms=812 rung=token agent=main",
        "agent.refused call_id=c1 code=unauthorized remedy=fallback",
        "ending.settled call_id=c1 kind=hang_up outcome=confirmed",
        "call.ended call_id=c1 reason=bug detail=KeyError duration_s=9.0 anomalies=5",
    ]
    assert [record.levelname for record in caplog.records[-2:]] == ["INFO", "ERROR"]


def test_a_call_that_never_said_that_it_ended_was_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """The last line is written in any case."""
    assert (
        lines(caplog, CallStarted(INFO))[-1] == "call.ended call_id=c1 reason=bug duration_s=0.0 anomalies=0"
    )


def test_a_peer_that_does_everything_wrong_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Further anomalies are counted, one line says that they are not shown."""
    said = lines(caplog, CallStarted(INFO), *(Remember(Oddity("x", str(n))) for n in range(500)))
    assert len(said) == MAX_ANOMALIES + 3
    assert said[-2] == f"anomalies.muted call_id=c1 after={MAX_ANOMALIES}"
    assert said[-1].endswith("anomalies=500")


@pytest.mark.parametrize(
    ("party", "masked"),
    [
        ("+14155235309", "+1415•••5309"),
        ("+1 (415) 523-5309", "+1415•••5309"),
        ("5235309", "52•••09"),
        ("112", "•••"),
        ("alice", "a•••"),
        ("", ""),
    ],
)
def test_parties_are_masked(party: str, masked: str) -> None:
    """Enough remains to tell calls apart, not to call back."""
    assert mask_number(party) == masked


def test_numbers_in_sentences_are_masked() -> None:
    """Short figures stay."""
    assert (
        mask_numbers("transferred to +4420 7183 8750 after 12 s") == "transferred to +4420•••8750 after 12 s"
    )


def test_ids_are_not_taken_for_numbers() -> None:
    """Digits within an id stay as they are; a number in a sentence does not."""
    reply = "resp_2a08725e4a5d677c5a2be5890390312390e4b8"
    assert mask_numbers(f"{reply} to +14155235309") == f"{reply} to +1415•••5309"
