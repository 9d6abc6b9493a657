import random
from itertools import cycle

import numpy as np
import pytest

from gateway.audio import ALAW_8K, MULAW_8K, PCM_8K, PCM_16K, PCM_24K, PCM_44K, PCM_48K, AudioFormat, convert
from gateway.events import Event, ReplyAudio, ReplyEnded, ReplyStarted, SpeechStarted
from gateway.runtime.agent_sound import AgentSound

CHUNKINGS = {
    "10 ms": [10.0],
    "37.5 ms": [37.5],
    "20 ms": [20.0],
    "mixed": [3.125, 37.5, 10, 200],
    "burst": [1e9],
}
CALLS = [MULAW_8K, ALAW_8K, PCM_8K, PCM_16K, PCM_24K, PCM_44K, PCM_48K]


def tone(audio: AudioFormat, ms: float) -> bytes:
    """A tone of 440 Hz."""
    at = np.arange(int(audio.rate_hz * ms / 1000)) / audio.rate_hz
    pcm = (8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16).tobytes()
    return convert(pcm, AudioFormat("pcm16", audio.rate_hz), audio)


def feed(sound: AgentSound, reply_id: str, audio: bytes, chunking: str) -> list[Event]:
    """A reply's sound in chunks."""
    events: list[Event] = []
    sizes = (max(1, round(sound.wire.bytes_per_ms * ms / 2) * 2) for ms in cycle(CHUNKINGS[chunking]))
    while audio:
        size = next(sizes)
        events += sound.events(ReplyAudio(reply_id, audio[:size], 0.0))
        audio = audio[size:]
    return events


def heard(events: list[Event]) -> bytes:
    return b"".join(event.audio for event in events if isinstance(event, ReplyAudio))


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_frames(call: AudioFormat, chunking: str) -> None:
    """A reply becomes frames of exactly 20 ms and one rest, the same whatever the agent's chunks are."""
    wire = call if call.encoding != "pcm16" else PCM_24K
    sound = AgentSound(wire, call)
    audio = tone(wire, 731)
    events = sound.events(ReplyStarted("r1")) + feed(sound, "r1", audio, chunking)
    events += sound.events(ReplyEnded("r1"))
    frames = [len(event.audio) for event in events if isinstance(event, ReplyAudio)]
    assert set(frames[:-1]) == {call.frame_bytes(20)}
    assert 0 < frames[-1] <= call.frame_bytes(20)
    assert isinstance(events[-1], ReplyEnded)
    assert heard(events) == convert(audio, wire, call)


@pytest.mark.parametrize("audio", [MULAW_8K, ALAW_8K, PCM_24K], ids=str)
@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_equal_formats(audio: AudioFormat, chunking: str) -> None:
    """Between equal formats every byte passes untouched, both ways."""
    sound = AgentSound(audio, audio)
    said = random.Random(7).randbytes(audio.frame_bytes(1234))  # noqa: S311 - repeatable
    events = feed(sound, "r1", said, chunking) + sound.events(ReplyEnded("r1"))
    assert heard(events) == said
    assert sound.convert(said) == said


def test_a_frame_is_not_touched() -> None:
    """A chunk that is one frame already goes on as the event that it was."""
    event = ReplyAudio("r1", bytes(160), -3.5)
    assert AgentSound(MULAW_8K, MULAW_8K).events(event) == [event]


@pytest.mark.parametrize("call", [PCM_8K, PCM_16K, PCM_44K, PCM_48K], ids=str)
def test_caller_to_agent(call: AudioFormat) -> None:
    """The caller's sound is converted with the filter's state carried: as if it had been one piece."""
    sound = AgentSound(PCM_24K, call)
    audio = tone(call, 2000)
    size = call.frame_bytes(20)
    pieces = b"".join(sound.convert(audio[at : at + size]) for at in range(0, len(audio), size))
    whole = convert(audio, call, PCM_24K)
    assert whole.startswith(pieces)
    assert PCM_24K.ms(len(whole) - len(pieces)) < 33


def test_interruption_forgets_the_rest() -> None:
    """After an interruption nothing of the old reply is left in the filter: the next one sounds as if alone."""
    sound = AgentSound(PCM_24K, PCM_16K)
    feed(sound, "r1", tone(PCM_24K, 333), "10 ms")
    ended = ReplyEnded("r1", interrupted=True)
    assert sound.events(ended) == [ended]
    audio = tone(PCM_24K, 200)
    events = [*feed(sound, "r2", audio, "10 ms"), *sound.events(ReplyEnded("r2"))]
    assert heard(events) == convert(audio, PCM_24K, PCM_16K)
    assert {event.reply_id for event in events if isinstance(event, ReplyAudio)} == {"r2"}


def test_late_duplicate_end() -> None:
    """The end of an earlier reply, said again in the middle of the next one, does not disturb that one's sound."""
    sound = AgentSound(PCM_24K, PCM_16K)
    audio = tone(PCM_24K, 400)
    half = len(audio) // 2
    feed(sound, "r1", tone(PCM_24K, 100), "10 ms")
    sound.events(ReplyEnded("r1"))
    events = feed(sound, "r2", audio[:half], "10 ms")
    events += sound.events(ReplyEnded("r1"))
    events += feed(sound, "r2", audio[half:], "10 ms")
    events += sound.events(ReplyEnded("r2"))
    events += sound.events(ReplyEnded("r2"))
    assert heard(events) == convert(audio, PCM_24K, PCM_16K)


def test_reply_that_never_ended() -> None:
    """A reply that begins before the end of the one before lets that one's rest out first, under its own name."""
    sound = AgentSound(MULAW_8K, MULAW_8K)
    feed(sound, "r1", bytes(170), "burst")
    events = sound.events(ReplyStarted("r2"))
    assert events == [ReplyAudio("r1", bytes(10), events[0].level), ReplyStarted("r2")]  # type: ignore[attr-defined]


def test_start_after_sound() -> None:
    """A reply whose start is told after its first sound keeps that sound."""
    sound = AgentSound(MULAW_8K, MULAW_8K)
    events = [*feed(sound, "r1", bytes(150), "burst"), *sound.events(ReplyStarted("r1"))]
    events += [*feed(sound, "r1", bytes(150), "burst"), *sound.events(ReplyEnded("r1"))]
    assert len(heard(events)) == 300


def test_nameless_replies() -> None:
    """Agents that name no reply get their sound through as well."""
    sound = AgentSound(PCM_24K, PCM_8K)
    audio = tone(PCM_24K, 500)
    events = feed(sound, "", audio, "37.5 ms") + sound.events(ReplyEnded(""))
    assert heard(events) == convert(audio, PCM_24K, PCM_8K)


def test_other_events_pass() -> None:
    """Events without sound are not touched."""
    event = SpeechStarted("raw")
    assert AgentSound(PCM_24K, PCM_8K).events(event) == [event]
