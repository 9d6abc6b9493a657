"""The caller's ear and mouth, and what is measured: all pure, on invented time."""

import math
from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio import MULAW_8K, PCM_8K, PCM_44K, AudioFormat, convert, read_wav
from gateway.simulate.ear import Ear, Interval, answer_to, audible_extent
from gateway.simulate.measure import measure_pacing, measure_turns, silences
from gateway.simulate.phone import Phone, record_wav
from gateway.simulate.result import CallResult, ClearHeard, Note
from gateway.simulate.script import CallScript, Spoken, Utterance

RATE_HZ = 8000


def tone(ms: int, rate_hz: int = RATE_HZ) -> bytes:
    samples = (round(8000 * math.sin(2 * math.pi * 440 * at / rate_hz)) for at in range(rate_hz * ms // 1000))
    return array("h", samples).tobytes()


def quiet(ms: int) -> bytes:
    return bytes(RATE_HZ * ms // 1000 * 2)


def spoken_tone(ms: int = 400, **more: object) -> Utterance:
    return Utterance(label="tone", pcm=tone(ms), rate_hz=RATE_HZ, **more)  # type: ignore[arg-type]


def hold_call(
    script: CallScript,
    replies: dict[float, int],
    clears: tuple[float, ...] = (),
    audio_format: AudioFormat = MULAW_8K,
) -> tuple[CallResult, list[Note]]:
    """Run a call in invented time: at each moment of ``replies`` the agent sends that many ms of tone at once."""
    notes: list[Note] = []
    phone = Phone(audio_format, script, 100.0, notes.append)
    due, due_clears = sorted(replies.items()), sorted(clears)
    while True:
        now = phone.next_frame_at
        while due and 100 + due[0][0] <= now:
            at_s, ms = due.pop(0)
            phone.hear(convert(tone(ms), PCM_8K, audio_format), 100 + at_s)
        while due_clears and 100 + due_clears[0] <= now:
            phone.clear(100 + due_clears.pop(0))
        phone.sent(phone.tick(now).audio)
        if (reason := phone.ending(now)) is not None:
            return phone.finish(reason, now), notes


def test_the_first_words_wait_for_the_greeting_to_end() -> None:
    """The caller speaks 0.8 s after the greeting fell silent, and hangs up after the answer."""
    script = CallScript(utterances=(spoken_tone(),))
    result, _ = hold_call(script, {0.2: 1000, 3.0: 500})
    (turn,) = result.turns
    assert 1.99 < turn.spoken.start_s < 2.06
    assert turn.latency_ms is not None
    assert abs(turn.latency_ms - (3.0 - turn.spoken.end_s) * 1000) < 3
    assert not turn.over
    assert result.end_reason == "caller_hung_up"
    assert 4.9 < result.duration_s < 5.1
    assert result.agent_was_heard


def test_a_silent_agent_is_spoken_to_anyway_and_then_given_up() -> None:
    """After the bound the caller speaks; after another without an answer it hangs up."""
    result, _ = hold_call(CallScript(utterances=(spoken_tone(),), patience_s=3), {})
    assert 2.9 < result.turns[0].spoken.start_s < 3.1
    assert result.turns[0].latency_ms is None
    assert result.end_reason == "unanswered"
    assert not result.agent_was_heard
    assert result.longest_silence_ms > 2900


def test_digital_silence_is_not_an_answer() -> None:
    """A reply without sound counts as nothing heard."""
    phone = Phone(MULAW_8K, CallScript(), 0.0, None)
    phone.hear(b"\xff" * 8000, 0.0)
    assert not phone.finish("x", 2.0).agent_was_heard


def test_talking_over_starts_on_the_second_after_the_agent_is_heard() -> None:
    """A barge-in begins its ordered time into the agent's reply, and its clear and silence are measured."""
    script = CallScript(utterances=(spoken_tone(over_after_s=1.0),))
    result, notes = hold_call(script, {0.5: 10_000, 3.0: 300}, clears=(1.9,))
    (turn,) = result.turns
    assert turn.over
    assert 1.5 <= turn.spoken.start_s < 1.53
    assert turn.clear_after_ms is not None
    assert abs(turn.clear_after_ms - (1.9 - turn.spoken.start_s) * 1000) < 1
    assert turn.silent_after_ms is not None
    assert abs(turn.silent_after_ms - turn.clear_after_ms) < 11
    assert turn.latency_ms is not None
    assert result.clears[0].discarded_ms == 8600
    assert any(note.kind == "clear" for note in notes)
    assert [note.at_s for note in notes] == sorted(note.at_s for note in notes)


def test_talking_over_an_agent_that_finished_early_is_an_ordinary_turn() -> None:
    """When the reply is shorter than the order the caller speaks after it."""
    result, _ = hold_call(CallScript(utterances=(spoken_tone(over_after_s=5.0),), patience_s=4), {0.5: 500})
    assert 1.75 < result.turns[0].spoken.start_s < 1.9
    assert not result.turns[0].over


def test_utterances_follow_each_other_when_each_was_answered() -> None:
    """Two utterances and keys are said in order, each after the answer to the one before."""
    keys = Utterance(label="keys", digits="12")
    script = CallScript(utterances=(spoken_tone(), keys, spoken_tone()), linger_s=0.5)
    result, notes = hold_call(script, {0.1: 300, 2.5: 300, 5.0: 300, 8.0: 300})
    assert [turn.label for turn in result.turns] == ["tone", "keys", "tone"]
    starts = [turn.spoken.start_s for turn in result.turns]
    assert [round(start, 1) for start in starts] == [1.2, 3.6, 6.1]
    assert [note.text[-1] for note in notes if note.kind == "pressed"] == ["1", "2"]


def test_a_moment_can_be_ordered_for_an_utterance_and_for_the_end() -> None:
    """Ordered moments are kept to the frame, whatever the agent does."""
    result, _ = hold_call(CallScript(utterances=(spoken_tone(at_s=1.0),), hang_up_at_s=2.0), {0.9: 5000})
    assert abs(result.turns[0].spoken.start_s - 1.0) < 0.011
    assert abs(result.duration_s - 2.0) < 0.021


def test_a_call_does_not_outlast_its_bound() -> None:
    """An agent that never stops talking is left at the bound, and what was not said is named."""
    result, _ = hold_call(CallScript(utterances=(spoken_tone(),), max_s=3.0), {0.1: 10_000})
    assert result.end_reason == "max_seconds"
    assert result.unsaid == ["tone"]


def test_the_recording_has_the_caller_left_and_what_it_heard_right() -> None:
    """The stereo recording holds both sides at their moments, and nothing of what a clear discarded."""
    script = CallScript(utterances=(spoken_tone(at_s=1.0),), hang_up_at_s=3.0)
    result, _ = hold_call(script, {0.5: 2000}, clears=(1.5,), audio_format=PCM_44K)
    recorded = record_wav(result)
    left_format, left = read_wav(recorded)
    assert left_format == PCM_44K
    said = audible_extent(left, PCM_44K)
    assert abs(said.start_s - 1.0) < 0.02
    assert abs(said.end_s - 1.4) < 0.02
    right = array("h", recorded[44:])[1::2].tobytes()
    heard = audible_extent(right, PCM_44K)
    assert abs(heard.start_s - 0.5) < 0.01
    assert abs(heard.end_s - 1.5) < 0.01


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 700), max_size=30),
    lead_ms=st.integers(0, 300),
    sound_ms=st.integers(20, 300),
)
def test_the_ear_finds_sound_to_the_sample_however_it_is_cut(
    cuts: list[int], lead_ms: int, sound_ms: int
) -> None:
    """Where sound begins and ends does not depend on the size of the pieces it comes in."""
    audio = quiet(lead_ms) + array("h", [9000] * (8 * sound_ms)).tobytes() + quiet(100)
    ear = Ear(PCM_8K)
    for size in cuts:
        ear.listen(audio[:size])
        audio = audio[size:]
    ear.listen(audio)
    (interval,) = ear.intervals
    assert abs(interval.start_s - lead_ms / 1000) < 1e-9
    assert abs(interval.end_s - (lead_ms + sound_ms) / 1000) < 1e-9


def test_short_pauses_join_and_long_ones_part() -> None:
    """A breath belongs to the speech around it; a longer pause ends the stretch."""
    ear = Ear(PCM_8K)
    ear.listen(tone(200) + quiet(200) + tone(200) + quiet(500) + tone(200) + quiet(100))
    rounded = [(round(one.start_s, 2), round(one.end_s, 2)) for one in ear.intervals]
    assert rounded == [(0.0, 0.6), (1.1, 1.3)]


def test_an_answer_begins_after_the_question_did_and_outlasts_it() -> None:
    """The tail of the reply that was talked over is no answer."""
    heard = [Interval(0, 5), Interval(6, 7)]
    assert answer_to(Interval(4, 4.5), heard) == Interval(6, 7)
    assert answer_to(Interval(8, 9), heard) is None


def test_a_turn_ends_where_the_next_begins() -> None:
    """What is heard after the second utterance began answers that one, not the first."""
    said = [
        Spoken(Utterance(label=name), Interval(at, at + 1), over=False)
        for name, at in (("a", 1.0), ("b", 5.0))
    ]
    first, second = measure_turns(said, [Interval(7, 8)], [ClearHeard(7.0, 0, 0)])
    assert first.latency_ms is None
    assert second.latency_ms == 1000


def test_silences_are_what_neither_side_fills() -> None:
    """Overlapping sounds of both sides are taken together; beginning and end count."""
    sounds = [Interval(3, 4), Interval(1, 2), Interval(1.5, 2.5)]
    assert silences(sounds, 6) == [Interval(0, 1), Interval(2.5, 3), Interval(4, 6)]


def test_pacing_names_the_late_frames() -> None:
    """The 99th percentile leaves the single worst of many out, the maximum does not."""
    pacing = measure_pacing([0.0001] * 199 + [0.5])
    assert pacing.frames == 200
    assert pacing.late_p99_ms < 1
    assert pacing.late_max_ms == 500
