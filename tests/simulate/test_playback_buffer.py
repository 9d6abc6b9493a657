"""The playback buffer that stands for a carrier's: real time, marks, clears, what the ear got."""

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio import ALAW_8K, MULAW_8K, PCM_16K, PCM_44K, AudioFormat
from gateway.simulate.playback import PlaybackBuffer

STARTED_AT = 1234.5
SPEECH = b"\x10"


def buffer(audio_format: AudioFormat = MULAW_8K) -> PlaybackBuffer:
    return PlaybackBuffer(audio_format, STARTED_AT)


def names(marks: Any) -> list[str]:
    return [mark.name for mark in marks]


def test_audio_is_heard_at_real_time_with_silence_around_it() -> None:
    """Audio sent in one burst is heard from the moment it came, at real time, with silence before and after."""
    line = buffer()
    line.append(SPEECH * 800, STARTED_AT + 0.05)
    assert line.queued_ms == 100
    line.advance(STARTED_AT + 0.10)
    assert line.queued_ms == 50
    line.advance(STARTED_AT + 0.20)
    assert line.heard == b"\xff" * 400 + SPEECH * 800 + b"\xff" * 400


def test_a_mark_comes_back_when_the_audio_before_it_was_heard() -> None:
    """A mark between two pieces of audio comes back at the sample where the second begins."""
    line = buffer()
    line.append(SPEECH * 160, STARTED_AT)
    assert line.mark("one", STARTED_AT) == []
    line.append(SPEECH * 161, STARTED_AT)
    line.mark("two", STARTED_AT)
    assert line.advance(STARTED_AT + 159 / 8000) == []
    (one,) = line.advance(STARTED_AT + 160 / 8000)
    assert (one.name, one.at_s, one.discarded) == ("one", 0.02, False)
    (two,) = line.advance(STARTED_AT + 5)
    assert two.at_s == 321 / 8000


def test_a_mark_with_nothing_before_it_comes_back_at_once() -> None:
    """A mark that finds an empty queue is returned by the same call."""
    line = buffer()
    (mark,) = line.mark("now", STARTED_AT + 0.25)
    assert mark.at_s == 0.25


def test_a_clear_discards_audio_and_returns_its_marks() -> None:
    """After a clear nothing queued is heard, and every pending mark comes back as discarded, in order."""
    line = buffer()
    line.append(SPEECH * 8000, STARTED_AT)
    line.mark("a", STARTED_AT)
    line.append(SPEECH * 8000, STARTED_AT)
    line.mark("b", STARTED_AT)
    reached, cleared = line.clear(STARTED_AT + 0.5)
    assert reached == []
    assert cleared.discarded_ms == 1500
    assert [(mark.name, mark.at_s, mark.discarded) for mark in cleared.marks] == [
        ("a", 0.5, True),
        ("b", 0.5, True),
    ]
    line.append(b"\x20" * 80, STARTED_AT + 0.6)
    line.advance(STARTED_AT + 0.7)
    assert line.heard == SPEECH * 4000 + b"\xff" * 800 + b"\x20" * 80 + b"\xff" * 720


def test_a_clear_returns_marks_that_were_reached_apart_from_those_it_discarded() -> None:
    """A mark that was passed before the clear is not called discarded."""
    line = buffer()
    line.append(SPEECH * 80, STARTED_AT)
    line.mark("heard", STARTED_AT)
    line.append(SPEECH * 800, STARTED_AT)
    line.mark("lost", STARTED_AT)
    reached, cleared = line.clear(STARTED_AT + 0.02)
    assert names(reached) == ["heard"]
    assert names(cleared.marks) == ["lost"]


def test_half_samples_wait_for_their_other_half() -> None:
    """16-bit audio may be split inside a sample without a click."""
    line = buffer(PCM_16K)
    line.append(b"\x01\x02\x03", STARTED_AT)
    line.append(b"\x04", STARTED_AT)
    line.advance(STARTED_AT + 3 / 16000)
    assert line.heard == b"\x01\x02\x03\x04\x00\x00"


STEPS = st.one_of(
    st.tuples(st.just("audio"), st.integers(0, 1500)),
    st.tuples(st.just("mark"), st.integers(0, 0)),
    st.tuples(st.just("clear"), st.integers(0, 0)),
    st.tuples(st.just("wait"), st.integers(0, 200)),
)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=40), audio_format=st.sampled_from([MULAW_8K, ALAW_8K, PCM_16K, PCM_44K])
)
def test_what_goes_in_is_heard_or_discarded_once(
    steps: list[tuple[str, int]], audio_format: AudioFormat
) -> None:
    """Each byte is heard or discarded once, in order, at its time; each mark comes back once and not before its audio."""
    line = PlaybackBuffer(audio_format, STARTED_AT)
    now, given_marks, back, model_heard = STARTED_AT, 0, [], bytearray()
    queue: list[bytes | str] = []
    for kind, size in steps:
        if kind == "audio":
            piece = bytes([len(model_heard) % 90 + 1]) * (size * audio_format.sample_bytes)
            back += names(line.append(piece, now))
            queue += [
                piece[at : at + audio_format.sample_bytes]
                for at in range(0, len(piece), audio_format.sample_bytes)
            ]
        elif kind == "mark":
            queue.append(str(given_marks))
            back += names(line.mark(str(given_marks), now))
            given_marks += 1
        elif kind == "clear":
            reached, cleared = line.clear(now)
            back += names(reached) + names(cleared.marks)
            queue.clear()
        now += size / 1000 if kind == "wait" else 0
        for mark in line.advance(now):
            back.append(mark.name)
            assert mark.at_s <= now - STARTED_AT + 1e-6
        samples = math.floor((now - STARTED_AT) * audio_format.rate_hz + 1e-6)
        while len(model_heard) < samples * audio_format.sample_bytes:
            while queue and isinstance(queue[0], str):
                queue.pop(0)
            first = queue.pop(0) if queue else audio_format.silence(1)[: audio_format.sample_bytes]
            assert isinstance(first, bytes)
            model_heard += first
        while queue and isinstance(queue[0], str):
            queue.pop(0)
        assert line.heard == bytes(model_heard)
        waiting = [one for one in queue if isinstance(one, str)]
        assert back == [str(number) for number in range(given_marks) if str(number) not in waiting]
