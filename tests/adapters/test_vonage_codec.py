import json
from itertools import pairwise

from gateway.adapters.vonage import HELD_BYTES, MOST_NOTICES, VonageCodec, first_token
from gateway.adapters.vonage_http import VonageSettings
from gateway.commands import Clear, Mark, Play
from gateway.contracts import Upgrade
from gateway.events import CallerAudio, CallerHeard, CallerLeft, CallStarted


def connected(rate_hz: int = 8000, **headers: str) -> str:
    return json.dumps(
        {"event": "websocket:connected", "content-type": f"audio/l16;rate={rate_hz}", **headers}
    )


def notify(name: str) -> str:
    return json.dumps({"event": "websocket:notify", "payload": {"name": name}})


def begun(rate_hz: int = 8000, **headers: str) -> VonageCodec:
    codec = VonageCodec(Upgrade("call-1"), VonageSettings())
    codec.decode(connected(rate_hz, **headers))
    return codec


def test_token_of_the_headers_is_shown() -> None:
    """A token that a document's headers brought can be read from the first text, and is no fact of the call."""
    assert first_token(b"\0" * 640) is None
    assert first_token(notify("1:20")) is None
    assert first_token(connected(token="one-time")) == "one-time"
    assert first_token(connected()) == ""
    (started,) = VonageCodec(Upgrade("call-1"), VonageSettings()).decode(connected(token="one-time"))
    assert "one-time" not in repr(started)


def test_every_message_is_one_frame() -> None:
    """Whatever the size of what is played, messages are whole frames, and only the last one is filled up."""
    for rate_hz, frame_bytes in ((8000, 320), (16000, 640), (24000, 960)):
        codec = begun(rate_hz)
        for size in range(0, 3 * frame_bytes + 3, 2):
            sound = bytes(number % 255 + 1 for number in range(size))
            sent = codec.encode(Play("r", sound))
            joined = b"".join(message for message in sent if isinstance(message, bytes))
            assert {len(message) for message in sent} <= {frame_bytes}
            assert joined == sound + bytes(-size % frame_bytes)


def test_sound_before_the_first_message_is_bounded() -> None:
    """The newest two seconds of what comes too early are kept, in order."""
    codec = VonageCodec(Upgrade("call-1"), VonageSettings())
    early = [number.to_bytes(2, "little") * 480 for number in range(500)]
    for frame in early:
        assert codec.decode(frame) == []
    started, *sounds = codec.decode(connected(24000))
    assert isinstance(started, CallStarted)
    kept = b"".join(sound.audio for sound in sounds if isinstance(sound, CallerAudio))
    assert len(kept) == HELD_BYTES
    assert kept == b"".join(early)[-HELD_BYTES:]


def test_notices_that_are_never_answered_are_bounded() -> None:
    """The newest ones are still believed when their answers come, the oldest are forgotten."""
    codec = begun()
    names = [f"0:{number}" for number in range(MOST_NOTICES + 10)]
    for name in names:
        codec.encode(Mark(name))
    heard = [codec.decode(notify(name)) for name in names]
    assert heard[:10] == [[]] * 10
    assert heard[10:] == [[CallerHeard(name)] for name in names[10:]]


def test_clear_cancels_notices_and_not_later_ones() -> None:
    """After a clear only notices of what is played since then count."""
    codec = begun()
    codec.encode(Mark("0:20"))
    codec.encode(Clear())
    codec.encode(Mark("1:20"))
    assert codec.decode(notify("0:20")) == []
    assert codec.decode(notify("1:20")) == [CallerHeard("1:20")]


def test_codecs_share_nothing() -> None:
    """Each connection has a codec of its own."""
    codecs = [begun(rate_hz) for rate_hz in (8000, 16000, 24000)]
    sizes = [len(codec.encode(Play("r", b"\1\0"))[0]) for codec in codecs]
    assert all(later > sooner for sooner, later in pairwise(sizes))


def test_only_a_close_in_due_form_is_a_hang_up() -> None:
    """The socket of a caller who hung up is closed with 1000; one that broke, or never began, says nothing."""
    assert [type(event) for event in begun().closed(1000)] == [CallerLeft]
    for code in (1001, 1005, 1006, 1008, 1011):
        assert begun().closed(code, "reason") == []
    assert VonageCodec(Upgrade("call-1"), VonageSettings()).closed(1000) == []
