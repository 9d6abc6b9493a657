"""Callers of the adapter ``pcm``, with events (contract, 5)."""

from urllib.parse import quote

from dialect import DEEP, STEEP, TOO_MANY, Dialect, Way, Wrong, text, truncated


async def _pcm_way(gateway_url: str, caller: str, callee: str) -> Way:
    query = f"encoding=pcm_mulaw&sample_rate=8000&events=1&caller={quote(caller)}&callee={quote(callee)}"
    return Way(f"{gateway_url.replace('http', 'ws', 1)}/v1/ws/pcm?{query}")


def _pcm_wrong(_way: Way) -> dict[str, Wrong]:
    sound = text(type="input.audio", audio="/////w==")
    unread = "`input.audio` message cannot be read"
    return {
        "truncated": Wrong([truncated(sound)], "JSON objects with a `type`"),
        "nested": Wrong(["[" * DEEP], TOO_MANY),
        "nested less": Wrong(["[" * STEEP], "JSON objects with a `type`"),
        "nested in a message": Wrong([sound[:-1] + ',"x":' + "[" * DEEP], TOO_MANY),
        "mistyped: audio": Wrong([text(type="input.audio", audio=[1, 2])], unread),
        "mistyped: type": Wrong([text(type=7)], "JSON objects with a `type`"),
        "mistyped: a list": Wrong(["[1, 2, 3]"], "JSON objects with a `type`"),
        "mistyped: no type": Wrong([text(event="media")], "JSON objects with a `type`"),
        "mistyped: instructions": Wrong(
            [text(type="reply.create", instructions={})], "`reply.create` message"
        ),
        "mistyped: result": Wrong(
            [text(type="tool.result", call_id="t1", result={})], "`tool.result` message"
        ),
        "base64: wrong letters": Wrong([text(type="input.audio", audio="!!!!")], unread),
        "base64: truncated": Wrong([text(type="input.audio", audio="/////w=")], unread),
        "UTF-8: lone surrogate": Wrong(['{"type":"\\ud800"}'], "JSON objects with a `type`"),
        "wrong kind of frame": Wrong(["\x7f" * 160], "JSON objects with a `type`"),
        "contradictory: resumes a session": Wrong(
            [text(type="session.resume", session_id="s")], "cannot resume"
        ),
    }


PCM = Dialect(
    adapter="pcm",
    section="{}",
    invite=_pcm_way,
    begin=lambda _way: [],
    sound=lambda _way, sound: sound,
    extras=lambda _way: [
        text(type="input.audio", audio=""),
        text(type="talkpath.played", reply_id="no such reply", ms=-1e308),
        text(type="session.update", session={"system_prompt": 5, "input": [], "nonsense": None}),
        text(type="session.update"),
        text(type="session.update", session="none"),
        text(type="tool.result", call_id="nobody asked", result="so what"),
        text(type="reply.cancel"),
        text(type="weather", rain=True),
        b"",
    ],
    end=lambda _way: text(type="session.end"),
    heard=lambda message: message if isinstance(message, bytes) else b"",
    played=lambda _way, _message: None,
    wrong=_pcm_wrong,
    tells=True,
    is_carrier=False,
    begins_late=False,
)
