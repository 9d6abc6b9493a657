"""Callers of the adapter ``browser``: clients of the Voice Agent API (its reference, 3 and 13.7)."""

import base64
import json
from urllib.parse import quote

from dialect import DEEP, STEEP, TOO_MANY, Dialect, Message, Way, Wrong, text, truncated

MULAW = {"type": "audio", "format": {"encoding": "audio/pcmu"}}
UPDATE = text(type="session.update", session={"input": MULAW, "output": MULAW})


async def _browser_way(gateway_url: str, caller: str, callee: str) -> Way:
    query = f"caller={quote(caller)}&callee={quote(callee)}"
    return Way(f"{gateway_url.replace('http', 'ws', 1)}/v1/ws/browser?{query}")


def _sound(_way: Way, sound: bytes) -> str:
    return text(type="input.audio", audio=base64.b64encode(sound).decode())


def _heard(message: Message) -> bytes:
    if isinstance(message, bytes) or '"reply.audio"' not in message:
        return b""
    read = json.loads(message)
    return base64.b64decode(read["data"]) if read["type"] == "reply.audio" else b""


def _browser_wrong(way: Way) -> dict[str, Wrong]:
    sound = _sound(way, bytes(160))
    no_json = "Invalid JSON format."
    return {
        "truncated": Wrong([truncated(sound)], no_json),
        "nested": Wrong(["[" * DEEP], TOO_MANY),
        "nested less": Wrong(["[" * STEEP], no_json),
        "nested in a message": Wrong([sound[:-1] + ',"x":' + "[" * DEEP], TOO_MANY),
        "mistyped: a list": Wrong(["[1, 2, 3]"], no_json),
        "mistyped: type": Wrong([text(type=7)], no_json),
        "mistyped: sound": Wrong([text(type="input.audio", audio=[1, 2])], "type 'input.audio'"),
        "mistyped: no sound": Wrong([text(type="input.audio")], "type 'input.audio'"),
        "mistyped: result": Wrong([text(type="tool.result", call_id="t1", result={})], "type 'tool.result'"),
        "mistyped: played": Wrong([text(type="talkpath.played", reply_id=5, ms="x")], "type 'talkpath.played'"),
        "mistyped: session": Wrong([text(type="session.update", session=[])], "type 'session.update'"),
        "mistyped: format": Wrong([text(type="session.update", session={"input": {"format": "mulaw"}})], "JSON object", True),
        "mistyped: silence": Wrong([text(type="session.update", session={"input": {"turn_detection": {"min_silence": -1}}})], "min_silence"),
        "base64: wrong letters": Wrong([text(type="input.audio", audio="!!!!")], "Invalid audio data"),
        "base64: truncated": Wrong([text(type="input.audio", audio="/////w=")], "Invalid audio data"),
        "UTF-8: lone surrogate": Wrong(['{"type":"\\ud800"}'], no_json),
        "wrong kind of frame": Wrong([b"\xff" * 160], no_json),
        "contradictory: resumes in the call": Wrong([text(type="session.resume", session_id="sess_x")], "must be the first message"),
        "contradictory: resumes another's": Wrong([text(type="session.resume", session_id="sess_" + "0" * 24)], "", True),
        "contradictory: another format": Wrong([text(type="session.update", session={"input": {"format": {"encoding": "audio/pcma"}}})], "cannot be changed"),
        "contradictory: stored agent and more": Wrong([text(type="session.update", session={"agent_id": "a", "greeting": "b"})], "mutually exclusive", True),
        "contradictory: another dialect": Wrong([text(type="session.begin")], "Unknown message type"),
        "out of order: prompt first": Wrong([text(type="reply.create")], "Send session.update", True),
    }  # fmt: skip


BROWSER = Dialect(
    adapter="browser",
    section="{}",
    invite=_browser_way,
    begin=lambda _way: [UPDATE],
    sound=_sound,
    extras=lambda _way: [
        text(type="input.audio", audio=""),
        text(type="talkpath.played", reply_id="no such reply", ms=-1e308),
        text(type="talkpath.weather", rain=True),
        text(type="session.update", session={}),
        text(type="session.update", session={"system_prompt": "Be somebody else."}),
        text(type="tool.result", call_id="nobody asked", result="so what"),
        text(type="reply.cancel"),
        text(type="weather", rain=True),
    ],
    end=lambda _way: text(type="session.end"),
    heard=_heard,
    played=lambda _way, _message: None,
    wrong=_browser_wrong,
    tells=True,
    is_carrier=False,
    begins_late=False,
)
