"""Calls from Vonage: spoken exchanges at every rate, not one wrong or missing frame, and polite ends."""

import asyncio

import pytest
from figures import tell
from sounds import gaps_in, still_ms_allowed
from speech import hearing_needed
from vonage_calls import (
    BY_REST,
    CUT,
    IN_REGION,
    RATES_HZ,
    READING_S,
    READING_SEED,
    TARGET,
    TRANSFERRED,
    WITHOUT_REST,
    Ended,
    Exact,
    Seen,
    exact_vonage_calls,
    expected,
    noise,
    vonage_everywhere,
)

from gateway.audio import PCM_24K
from gateway.commands import EndingSettled

SHORT_S = 20.0
TEN_MINUTES_S = 600.0
UNDER_WAY_MS = 250.0
"""What may be on its way to the agent, or in the filter, when the caller hangs up."""
TWICE_MS = 500.0
"""Between two marks nobody knows what was heard; it is rather heard twice than never."""
SILENT_WITHIN_MS = 2500.0
"""Recognition of speech that talks over the agent is the agent's; ours is what comes after."""


@pytest.fixture(scope="module")
def seen() -> Seen:
    """All of it at the same time."""
    return asyncio.run(vonage_everywhere(SHORT_S))


@hearing_needed
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_spoken_exchange_with_an_interruption(seen: Seen, rate_hz: int) -> None:
    """`talkpath call --as vonage` presses a key, talks over the answer, is understood and answered; no frame is wrong."""
    spoken = seen.spoken[str(rate_hz)]
    assert spoken.code == 0, spoken.complaint
    report = spoken.report
    pressed, said = report["turns"]
    tell(
        "vonage exchange",
        f"{rate_hz} Hz: told to stop {said['clear_after_ms']:.0f} ms after the first sound over the agent, silent after "
        f"{said['silent_after_ms']:.0f} ms, answered {said['latency_ms']:.0f} ms after the last word",
    )
    assert report["format"] == {"encoding": "pcm16", "rate_hz": rate_hz}
    assert report["warnings"] == []
    assert report["sockets"] == 1
    assert report["end_reason"] == "caller_hung_up"
    assert not pressed["over"]
    assert said["over"]
    assert said["silent_after_ms"] < SILENT_WITHIN_MS
    assert said["latency_ms"] > 0
    (clear,) = report["clears"]
    assert clear["discarded_ms"] > 0
    assert set(report["messages"]) == {"audio", "notify", "clear"}
    assert "go forward ten meters" in spoken.journal
    assert "Going forward ten meters." in spoken.journal


def passes_exactly(exact: Exact, line: str) -> None:
    """Every sample of either side arrived at the other, once and in order, and every message was one frame."""
    result = exact.result
    audio = result.format
    frames = [message for message in result.messages if message.kind == "audio"]
    gaps = gaps_in(result.received_audio, result.heard_audio, audio)
    tell(
        "vonage frames",
        f"{line}: {len(frames)} frames to the caller, {len(exact.arrived) // 960} from it, most {result.most_queued_ms:.0f} "
        f"ms waiting, caller punctual to {result.pacing.late_p99_ms:.1f} ms, gaps {[round(ms) for _, ms in gaps]} ms",
    )
    assert result.warnings == []
    assert result.sockets == 1
    assert {frame.size_bytes for frame in frames} == {audio.frame_bytes(20)}
    assert result.received_audio == expected(exact.said, audio)
    assert exact.sent.startswith(exact.arrived)
    assert PCM_24K.ms(len(exact.sent) - len(exact.arrived)) <= UNDER_WAY_MS
    assert sum(ms for _, ms in gaps) <= still_ms_allowed(result)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_no_frame_is_dropped_or_misplaced(seen: Seen, rate_hz: int) -> None:
    """For twenty seconds both sides speak at once; each hears the other sample by sample, converted with carried state."""
    passes_exactly(seen.exact[str(rate_hz)], f"{rate_hz} Hz")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes_without_a_dropped_or_misplaced_frame() -> None:
    """Calls of ten minutes at each rate, at the same time, lose and misplace nothing."""
    calls = asyncio.run(exact_vonage_calls(TEN_MINUTES_S))
    for rate_hz in RATES_HZ:
        passes_exactly(calls[str(rate_hz)], f"ten minutes at {rate_hz} Hz")


def ended_by_the_agent(ended: Ended) -> None:
    """The goodbye was heard to its end before the call was ended."""
    assert ended.story.end == "agent_hung_up"
    assert [fact.outcome for fact in ended.story.facts(EndingSettled)] == ["confirmed"]
    assert list(ended.story.heard.values())[-1].cut_ms == 0
    assert ended.result.warnings == []
    assert ended.result.failure is None
    assert len(ended.result.documents) == 1
    assert ended.result.carrier_said == []


@hearing_needed
@pytest.mark.parametrize(("name", "path"), [(BY_REST, "/v1/calls/"), (IN_REGION, "/region/v1/calls/")])
def test_hang_up_by_rest(seen: Seen, name: str, path: str) -> None:
    """The telephone's leg is hung up with a token of the application, where the call's webhook says it is controlled."""
    ended = seen.ended[name]
    ended_by_the_agent(ended)
    (request,) = ended.requests
    assert request.path.startswith(path)
    assert request.body == {"action": "hangup"}
    assert request.status in (204, 404), request.detail


@hearing_needed
def test_hang_up_without_rest(seen: Seen) -> None:
    """Without credentials the socket is closed, nothing follows it, and Vonage completes the call."""
    ended = seen.ended[WITHOUT_REST]
    ended_by_the_agent(ended)
    assert ended.result.end_reason == "agent_hung_up"
    assert ended.requests == []


def test_transfer(seen: Seen) -> None:
    """A transfer gives the telephone's leg another document, and the end of the socket disturbs nothing."""
    ended = seen.ended[TRANSFERRED]
    assert ended.result.end_reason == "transferred"
    assert ended.result.dialled == [TARGET.removeprefix("+")]
    assert ended.result.warnings == []
    assert ended.story.end == "transferred"
    (request,) = ended.requests
    assert (request.status, request.body["action"]) == (204, "transfer")


def test_a_cut_socket_is_invited_again(seen: Seen) -> None:
    """When the connection breaks in the middle of a reply Vonage is led back; what was not heard is said again."""
    ended = seen.ended[CUT]
    result = ended.result
    sound = expected(noise(READING_S, READING_SEED, 24_000), result.format)
    size = result.format.frame_bytes(20)
    heard = [result.heard_audio.count(sound[at : at + size]) for at in range(0, len(sound), size)]
    (gap,) = result.socket_gaps
    tell(
        "vonage cut",
        f"away for {(gap.end_s - gap.start_s) * 1000:.0f} ms, frames never heard whole {heard.count(0)}, "
        f"heard twice {heard.count(2)}, caller punctual to {result.pacing.late_max_ms:.1f} ms",
    )
    assert result.sockets == 2
    assert result.warnings == []
    assert ended.story.end == "caller_left"
    assert [fact.cut_ms for fact in ended.story.heard.values()] == [0]
    # the frame in the ear when the socket broke is heard in part; when this process stands still, both ends do
    assert heard.count(0) * 20 <= still_ms_allowed(result)
    assert sum(times - 1 for times in heard if times) * 20 <= TWICE_MS
