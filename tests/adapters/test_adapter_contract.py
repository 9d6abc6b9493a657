"""What every adapter must do, whoever wrote it: start, talk, clear, and refuse what it cannot read."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import wires

from gateway.commands import Clear, Command, HangUp, Mark, Play, Tell
from gateway.contracts import Codec
from gateway.errors import WireError
from gateway.events import AgentReady, CallerAudio, CallInfo, CallStarted, Event

NAMES = sorted(wires.adapters())
SIZES = (160, 2, 1, 3, 1366, 320, 0, 6400)


class Probe(msgspec.Struct):
    """How a test speaks an adapter's wire, written from its reference."""

    beginning: tuple[wires.Message, ...]
    """Messages until the call has started."""
    hear: Callable[[bytes], wires.Message]
    """Message that carries the caller's audio."""
    sound: Callable[[wires.Message], bytes]
    """Audio that a message to the caller carries."""
    frame_bytes: int = 1
    """Size of which every message to the caller is one; the end of a reply is filled up with silence."""


def twilio_sound(message: wires.Message) -> bytes:
    read = json.loads(message)
    assert (read["event"], read["streamSid"]) == ("media", "MZ1")
    return base64.b64decode(read["media"]["payload"], validate=True)


def twilio_hear(audio: bytes) -> str:
    payload = base64.b64encode(audio).decode()
    return json.dumps(
        {"event": "media", "streamSid": "MZ1", "media": {"track": "inbound", "payload": payload}}
    )


def raw_sound(message: wires.Message) -> bytes:
    assert isinstance(message, bytes)
    return message


def api_hear(audio: bytes) -> str:
    return json.dumps({"type": "input.audio", "audio": base64.b64encode(audio).decode()})


def api_sound(message: wires.Message) -> bytes:
    read = json.loads(message)
    assert (read["type"], read["reply_id"]) == ("reply.audio", "r")
    return base64.b64decode(read["data"], validate=True)


MULAW = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
PROBES = {
    "twilio": Probe(
        beginning=(
            json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}),
            json.dumps(
                {"event": "start", "streamSid": "MZ1", "start": {"callSid": "CA1", "mediaFormat": MULAW}}
            ),
        ),
        hear=twilio_hear,
        sound=twilio_sound,
    ),
    "pcm": Probe(beginning=(), hear=lambda audio: audio, sound=raw_sound),
    "browser": Probe(
        beginning=(json.dumps({"type": "session.update", "session": {}}),), hear=api_hear, sound=api_sound
    ),
    "vonage": Probe(
        beginning=(json.dumps({"event": "websocket:connected", "content-type": "audio/l16;rate=16000"}),),
        hear=lambda audio: audio,
        sound=raw_sound,
        frame_bytes=640,
    ),
}


def begin(name: str) -> tuple[Codec, CallInfo]:
    """A connection whose call has started."""
    codec = wires.new_codec(name)
    events: list[Event] = list(getattr(codec, "opening", list)())
    for message in PROBES[name].beginning:
        events += codec.decode(message)
    (started,) = events
    assert isinstance(started, CallStarted)
    codec.encode(Tell(AgentReady("sess_1")))
    return codec, started.info


def test_every_adapter_is_probed() -> None:
    """An adapter without a probe is not tested here, so it must not exist."""
    assert sorted(PROBES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_call_starts_once(name: str) -> None:
    """The first event is the call's, with our id and the adapter's name."""
    _, info = begin(name)
    assert (info.call_id, info.adapter) == ("call-1", name)


@pytest.mark.parametrize("name", NAMES)
def test_token_is_no_fact_of_the_call(name: str) -> None:
    """A spent token is not passed on."""
    codec = wires.new_codec(name, {"upgrade": {"query": {"token": "minted"}}})
    events: list[Any] = list(getattr(codec, "opening", list)())
    for message in PROBES[name].beginning:
        events += codec.decode(message)
    assert "minted" not in repr(events)


@pytest.mark.parametrize("name", NAMES)
def test_audio_of_the_caller_arrives_unchanged(name: str) -> None:
    """Every byte of the caller is heard, in order, in whole samples."""
    codec, info = begin(name)
    noise = random.Random(1)  # noqa: S311 - repeatable noise
    sent, heard = b"", b""
    for size in SIZES * 5:
        piece = noise.randbytes(size)
        sent += piece
        for event in codec.decode(PROBES[name].hear(piece)):
            assert isinstance(event, CallerAudio)
            assert len(event.audio) % info.audio.sample_bytes == 0
            assert -100 <= event.level <= 0.1
            heard += event.audio
    assert heard == sent[: len(heard)]
    assert len(sent) - len(heard) < info.audio.sample_bytes


@pytest.mark.parametrize("name", NAMES)
def test_audio_of_the_agent_arrives_unchanged(name: str) -> None:
    """Every byte of the agent is sent, in order; where a message is a frame, each is whole."""
    codec, info = begin(name)
    frame_bytes = PROBES[name].frame_bytes
    noise = random.Random(2)  # noqa: S311 - repeatable noise
    pieces = [noise.randbytes(size * info.audio.sample_bytes) for size in SIZES]
    sent = [PROBES[name].sound(message) for piece in pieces for message in codec.encode(Play("r", piece))]
    whole = [piece + b"\0" * (-len(piece) % frame_bytes) for piece in pieces]
    assert b"".join(sent) == b"".join(whole)
    assert frame_bytes == 1 or {len(message) for message in sent} == {frame_bytes}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("command", "promised"), [(Clear(), "clears"), (Mark("1:20"), "marks")], ids=["clear", "mark"]
)
def test_adapter_can_do_what_it_says(name: str, command: Command, promised: str) -> None:
    """Clearing and marking have words exactly where the adapter says so."""
    codec, _ = begin(name)
    adapter = wires.adapters()[name]
    asked_for = promised == "marks" and adapter.marks_at_will  # such a far end says it unasked
    assert bool(codec.encode(command)) == (getattr(adapter, promised) and not asked_for)


@pytest.mark.parametrize("name", NAMES)
def test_ending_needs_no_words(name: str) -> None:
    """Hanging up may be encoded at any time, before the start too."""
    codec, _ = begin(name)
    assert isinstance(codec.encode(HangUp("bye")), list)
    assert isinstance(wires.new_codec(name).encode(HangUp("bye")), list)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("message", ["", "hello", "[]", "null", "{}", '{"event":7,"type":7}'])
def test_bad_message_changes_nothing(name: str, message: str) -> None:
    """What cannot be read is refused with a sentence, and the call goes on."""
    codec, _ = begin(name)
    with pytest.raises(WireError, match=r"\w+ \w+"):
        codec.decode(message)
    (event,) = codec.decode(PROBES[name].hear(b"\x01\x02"))
    assert isinstance(event, CallerAudio)
    assert event.audio == b"\x01\x02"


@pytest.mark.parametrize("name", NAMES)
def test_refusal_can_be_asked_for(name: str) -> None:
    """Every codec says a refusal in its dialect, or nothing where that has no words for it."""
    codec, _ = begin(name)
    refuse: Any = codec
    assert isinstance(refuse.refuse("the message cannot be read"), list)


@pytest.mark.parametrize("name", NAMES)
def test_section_may_be_left_out(name: str) -> None:
    """An adapter works without a section in the configuration, as far as it needs no secret."""
    adapter = wires.adapters()[name]
    assert adapter.token_needed(adapter.settings()) in (True, False)
