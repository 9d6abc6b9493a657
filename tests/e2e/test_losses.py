"""Losing a side in the middle of a call: each call goes on or ends politely, and the gap is told."""

import asyncio

import pytest
from figures import tell
from losses import (
    APOLOGY,
    CALLER_CUT,
    CALLER_GONE,
    NOBODY,
    NORTH,
    READING,
    REFUSED,
    REFUSED_IN_TOOL,
    REPLACED,
    RESTARTED,
    RESUMED,
    RESUMED_IN_SPEECH,
    RESUMED_IN_TOOL,
    RETURN_S,
    SOUTH,
    TALKED_OVER,
    Told,
    lose_everything,
)
from sounds import heard_of_clip_ms, heard_twice_ms, missing_stretch_ms, replay_of
from speech import hearing_needed
from together import Outcomes

from gateway.audio import MULAW_8K
from gateway.runtime.clips import load_clip

pytestmark = hearing_needed
HOLD, SORRY = (load_clip("", name, MULAW_8K) for name in ("hold", "apology"))
APOLOGY_WORDS = "Sorry, nobody can be reached at the moment. Please call again later. Goodbye."
LONGEST_BACKOFF_S = 5.0 * 1.25
"""Pause before an attempt, with its jitter."""
LADDER_S = 9.0
"""Every rung of an agent that is gone for good, with its pauses."""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Outcomes[Told]:
    """All calls, made at the same time."""
    return asyncio.run(lose_everything(tmp_path_factory.mktemp("losses")))


def goes_on(told: Told, name: str, rung: str, within_ms: float) -> None:
    """The gap was bridged once and in time, nothing was said twice, and the caller was understood and answered."""
    (gap,) = told.story.gaps
    hold_ms = heard_of_clip_ms(HOLD, told.result.heard_audio)
    tell(
        "agent lost",
        f"{name}: gap {gap.gap_ms:.0f} ms, {gap.rung} → {gap.agent}, hold heard {hold_ms:.0f} ms",
    )
    assert gap.rung == rung
    assert gap.gap_ms < within_ms
    assert told.result.end_reason == "caller_hung_up"
    assert told.result.warnings == []
    assert "caller: go forward ten meters" in told.words
    assert told.driven == 1
    assert heard_twice_ms(told.result.heard_audio, MULAW_8K, HOLD, SORRY) == 0


def ends_politely(told: Told, name: str) -> None:
    """The gateway ended the call by itself, after words that were heard."""
    hold_ms = heard_of_clip_ms(HOLD, told.result.heard_audio)
    tell(
        "agent lost for good",
        f"{name}: call ended {told.result.duration_s:.1f} s after it began, hold heard {hold_ms:.0f} ms, "
        f"longest silence {told.result.longest_silence_ms:.0f} ms",
    )
    assert told.result.end_reason == "agent_hung_up"
    assert hold_ms > 500
    assert told.result.warnings == []


def test_callee_prefix_leads_to_its_region(calls: Outcomes[Told]) -> None:
    """Of two agent servers each hears the calls to its own numbers, and no others."""
    north, south = calls[NORTH], calls[SOUTH]
    for told in (north, south):
        (session,) = told.sessions
        assert told.result.sent_audio.startswith(bytes(session.audio))
        assert told.result.agent_was_heard
    assert "caller: go forward ten meters" in north.words
    assert "caller: ten of clubs" in south.words
    assert (north.driven, south.driven) == (1, 0)


def test_dropped_socket_is_resumed(calls: Outcomes[Told]) -> None:
    """A session whose socket dropped in the middle of a sentence goes on with its resume token."""
    told = calls[RESUMED]
    goes_on(told, "socket dropped, resume accepted", "token", 1000)
    (session,) = told.sessions
    assert session.connections == 2
    assert "agent: Welcome to the house of many" in told.words
    assert "please be patient.]" in told.words


def test_words_spoken_during_the_gap_arrive(calls: Outcomes[Told]) -> None:
    """What the caller says while the socket is gone is caught up, and understood as one sentence."""
    told = calls[RESUMED_IN_SPEECH]
    goes_on(told, "dropped while the caller spoke", "token", 1000)
    (session,) = told.sessions
    lost_ms = missing_stretch_ms(told.result.sent_audio, bytes(session.audio), MULAW_8K)
    tell(
        "agent lost",
        f"dropped while the caller spoke: {max(0, lost_ms):.0f} ms lost, {max(0, -lost_ms):.0f} ms told again",
    )
    assert -400 <= lost_ms <= 20


def test_dropped_during_a_tool(calls: Outcomes[Told]) -> None:
    """A tool that runs while the socket drops is run once, and its result reaches the resumed session."""
    told = calls[RESUMED_IN_TOOL]
    goes_on(told, "dropped while a tool ran", "token", 1000)
    assert told.words.endswith("agent: Going forward ten meters.")


def test_refused_resume_begins_a_new_session(calls: Outcomes[Told]) -> None:
    """When the provider refuses to resume, a new session takes over at once and greets nobody again."""
    told = calls[REFUSED]
    goes_on(told, "socket dropped, resume refused", "new", 2000)
    assert len(told.sessions) == 2
    assert told.words.count("Welcome") == 1
    update = next(m for m in told.sessions[1].messages if m["type"] == "session.update")
    assert "You: Welcome to the house of many" in update["session"]["system_prompt"]
    assert "patient" not in update["session"]["system_prompt"]  # what nobody heard was not said


def test_refused_during_a_tool(calls: Outcomes[Told]) -> None:
    """A tool that runs while its session is lost is run once, and the new session is told of its result."""
    told = calls[REFUSED_IN_TOOL]
    goes_on(told, "resume refused while a tool ran", "new", 2000)
    asked = [m for m in told.sessions[1].messages if m["type"] == "reply.create"]
    assert sum("drive" in m["instructions"] for m in asked) == 1
    assert not [m for m in told.sessions[1].messages if m["type"] == "tool.result"]


def test_killed_process_is_found_again(calls: Outcomes[Told]) -> None:
    """An agent whose process is killed and started again takes over as soon as it listens; meanwhile: the hold sound."""
    told = calls[RESTARTED]
    tell("agent lost", f"process killed and started again: nobody listened for {told.away_s * 1000:.0f} ms")
    goes_on(told, "process killed, started again", "new", (told.away_s + LONGEST_BACKOFF_S) * 1000)
    assert heard_of_clip_ms(HOLD, told.result.heard_audio) > 0


def test_killed_for_good_goes_on_with_the_fallback(calls: Outcomes[Told]) -> None:
    """When an agent never comes back its fallback answers instead, and understands the caller."""
    told = calls[REPLACED]
    goes_on(told, "process killed for good", "fallback", LADDER_S * 1000)
    assert told.story.gaps[0].agent == "offline"
    assert heard_of_clip_ms(HOLD, told.result.heard_audio) > 500


def test_killed_for_good_ends_with_an_apology(calls: Outcomes[Told]) -> None:
    """A fallback that only apologises is heard to its last word, once, and hangs up."""
    told = calls[APOLOGY]
    ends_politely(told, "fallback apologises")
    apologies = [line for line in told.lines if line.speaker == "agent" and "Sorry" in line.text]
    assert [line.heard for line in apologies] == [APOLOGY_WORDS]
    assert heard_twice_ms(told.result.heard_audio, MULAW_8K, HOLD) == 0


def test_talking_over_the_apology(calls: Outcomes[Told]) -> None:
    """A caller who talks over the apology is not left alone on a silent line."""
    told = calls[TALKED_OVER]
    ends_politely(told, "caller talks over the apology")
    assert "Sorry, nobody can be reached" in told.words


def test_killed_without_any_fallback(calls: Outcomes[Told]) -> None:
    """Without a fallback the caller hears the hold sound, then all of the apology, and is hung up on."""
    told = calls[NOBODY]
    ends_politely(told, "no fallback, apology clip")
    assert told.story.end == "agent_lost"
    assert SORRY in told.result.heard_audio


def test_caller_comes_back(calls: Outcomes[Told]) -> None:
    """When the caller's media socket dies Twilio asks again, and what was not heard is heard on the next stream."""
    told = calls[CALLER_CUT]
    replay = replay_of(READING, told.result.heard_audio)
    (gap,) = told.result.socket_gaps
    tell(
        "caller's socket killed",
        f"back after {(gap.end_s - gap.start_s) * 1000:.0f} ms; of {len(READING) // 8} ms missing "
        f"{replay.missing_ms:.0f}, heard twice {replay.repeated_ms:.0f} ms",
    )
    assert told.result.sockets == 2
    assert gap.end_s - gap.start_s < 0.5
    assert replay.missing_ms == 0
    assert replay.repeated_ms <= 100
    assert "[" not in told.words


def test_caller_never_comes_back(calls: Outcomes[Told]) -> None:
    """A caller who does not come back is waited for, then the agent's session is ended."""
    told = calls[CALLER_GONE]
    assert told.story.end == "caller_lost"
    lost, ended = told.story.entries[0].at, told.story.entries[-1].at
    tell("caller's socket killed", f"never back: ended {ended - lost:.1f} s after the call began")
    assert RETURN_S <= ended - lost <= RETURN_S + 4
    assert told.sessions[0].messages[-1] == {"type": "session.end"}
