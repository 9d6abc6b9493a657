"""Callers of the adapter ``twilio``: Media Streams (reference: carriers, 2.2 to 2.4)."""

import base64
import json
from typing import Any

from dialect import DEEP, STEEP, TOO_MANY, Dialect, Message, Way, Wrong, text, truncated
from raw_sockets import invited


async def _twilio_way(gateway_url: str, caller: str, callee: str) -> Way:
    one = await invited(gateway_url, caller, callee)
    return Way(one.url, one.headers, one.call_sid, "MZ" + one.call_sid[2:])


def _twilio_text(way: Way, event: str, **fields: Any) -> str:
    return text(event=event, sequenceNumber="2", streamSid=way.stream, **fields)


def _twilio_start(way: Way, **changes: Any) -> str:
    stream = {
        "accountSid": "AC" + "0" * 32,
        "streamSid": way.stream,
        "callSid": way.call,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {},
    }
    return _twilio_text(way, "start", start={**stream, **changes})


def _twilio_media(way: Way, payload: Any, **changes: Any) -> str:
    media = {"track": "inbound", "chunk": "1", "timestamp": "20", "payload": payload}
    return _twilio_text(way, "media", media={**media, **changes})


def _twilio_sound(way: Way, sound: bytes) -> str:
    return _twilio_media(way, base64.b64encode(sound).decode())


def _twilio_heard(message: Message) -> bytes:
    if isinstance(message, bytes) or '"media"' not in message:
        return b""
    read = json.loads(message)
    return base64.b64decode(read["media"]["payload"]) if read["event"] == "media" else b""


def _twilio_played(way: Way, message: Message) -> str | None:
    if isinstance(message, bytes) or '"mark"' not in message:
        return None
    read = json.loads(message)
    return _twilio_text(way, "mark", mark=read["mark"]) if read["event"] == "mark" else None


HELLO = text(event="connected", protocol="Call", version="1.0.0")


def _twilio_wrong(way: Way) -> dict[str, Wrong]:
    media, unread = _twilio_sound(way, bytes(160)), "`media` message cannot be read"
    elsewhere = Way(way.url, way.headers, way.call, "MZ" + "0" * 32)
    l16 = {"encoding": "audio/l16", "sampleRate": 16000, "channels": 1}
    begun = [HELLO, _twilio_start(way)]
    return {
        "truncated": Wrong([truncated(media)], "not a JSON object"),
        "nested": Wrong(["[" * DEEP], TOO_MANY),
        "nested less": Wrong(["[" * STEEP], "not a JSON object"),
        "nested in a message": Wrong([media[:-1] + ',"x":' + "[" * DEEP], TOO_MANY),
        "mistyped: payload": Wrong([_twilio_media(way, 5)], unread),
        "mistyped: event": Wrong([text(event=7, streamSid=way.stream)], "no `event`"),
        "mistyped: media": Wrong([_twilio_text(way, "media", media=[])], unread),
        "mistyped: a list": Wrong(["[1, 2, 3]"], "not a JSON object"),
        "mistyped: mark": Wrong([_twilio_text(way, "mark", mark={"name": None})], "`mark` message"),
        "mistyped: digit": Wrong([_twilio_text(way, "dtmf", dtmf={"digit": "🤖"})], "0 to 9, * and #"),
        "mistyped: format": Wrong([HELLO, _twilio_start(way, mediaFormat="mulaw")], "`start` message", True),
        "base64: wrong letters": Wrong([_twilio_media(way, "!!!!")], unread),
        "base64: truncated": Wrong([_twilio_media(way, "/////w=")], unread),
        "UTF-8: lone surrogate": Wrong([media.replace("inbound", "\\ud800")], "not a JSON object"),
        "wrong kind of frame": Wrong([b"\xff" * 160], "text messages only"),
        "contradictory: second start": Wrong([_twilio_start(way)], "a second `start`"),
        "contradictory: two streams": Wrong([HELLO, _twilio_start(way, streamSid="MZ1")], "two different", True),
        "contradictory: another stream": Wrong([_twilio_sound(elsewhere, b"\xff")], "another stream"),
        "contradictory: another call": Wrong([HELLO, _twilio_start(way, callSid="CA" + "f" * 32)], "not the call", True),
        "contradictory: another format": Wrong([HELLO, _twilio_start(way, mediaFormat=l16)], "8000 Hz", True),
        "contradictory: another protocol": Wrong([text(event="connected", protocol="Other")], "`Call`", True),
        "contradictory: ConversationRelay": Wrong([text(type="setup", sessionId="VX1")], "ConversationRelay", True),
        "out of order: sound first": Wrong([media], "has not started", True),
        "out of order: keys first": Wrong([_twilio_text(way, "dtmf", dtmf={"digit": "1"})], "has not started", True),
        "out of order: end first": Wrong([_twilio_text(way, "stop")], "has not started", True),
        "out of order: start after start": Wrong([begun[1], *begun], "a second `start`", True),
    }  # fmt: skip


TWILIO = Dialect(
    adapter="twilio",
    section="{auth_token: signed-with-this-by-the-simulated-carrier}",
    invite=_twilio_way,
    begin=lambda way: [HELLO, _twilio_start(way)],
    sound=_twilio_sound,
    extras=lambda way: [
        _twilio_text(way, "mark", mark={"name": "0:1"}),
        _twilio_text(way, "mark", mark={"name": "99:999999999999999999999"}),
        _twilio_text(way, "dtmf", dtmf={"track": "inbound_track", "digit": "1"}),
        _twilio_text(way, "dtmf", dtmf={"track": "outbound_track", "digit": "no digit"}),
        _twilio_media(way, "", track="outbound", timestamp="-1", chunk="1e999"),
        _twilio_media(way, "", timestamp="999999999999999999999999"),
        _twilio_text(way, "weather", rain=True),
        HELLO,
    ],
    end=lambda way: _twilio_text(way, "stop", stop={"accountSid": "AC" + "0" * 32, "callSid": way.call}),
    heard=_twilio_heard,
    played=_twilio_played,
    wrong=_twilio_wrong,
    tells=False,
    is_carrier=True,
    begins_late=True,
)
