"""What a client of the Voice Agent API may write into `session.update`, judged as the service judges it.

Every dialect in which clients send one reads it here, the first and all later ones. Owns the shapes, ranges and fixed fields of the reference's sections 3.1 and 9, and the code, sentence and place of
each complaint (section 6.1). Refuses to know what a route lets a client set, and to judge what changes from month to
month: voices, languages and unknown nested fields are the provider's to judge.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat

Json = dict[str, Any]

FORMATS: Final = {"audio/pcm": PCM_24K, "audio/pcmu": MULAW_8K, "audio/pcma": ALAW_8K}
"""The three formats of the API by their names (5.1)."""
FIELDS: Final = (
    "agent_id", "system_prompt", "greeting", "input", "output", "tools", "webhook", "llm", "pre_connect_requests",
)  # fmt: skip
"""Keys that the service takes directly under `session`; any other is refused by it (3.1)."""

_RANGES: Final = {
    "vad_threshold": (0, 1),
    "min_silence": (50, 10_000),
    "max_silence": (50, 10_000),
    "interruption_delay": (0, 1000),
}
_CHOICES: Final = {
    "transcription_mode": ("min_latency", "balanced", "max_accuracy"),
    "voice_focus": ("near-field", "far-field"),
}


class _Update(msgspec.Struct):
    session: Json = {}


_UPDATE: Final = msgspec.json.Decoder(_Update)


class Refused(Exception):  # noqa: N818 - a fact about an update, in the house's words
    """A `session.update` that is not taken over, with the fields of the `session.error` that says so."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Fixed(msgspec.Struct):
    """What the first update settles for the rest of the session."""

    greeting: str | None = None
    voice: str | None = None
    hears: AudioFormat = PCM_24K
    """Format of the client's sound."""
    speaks: AudioFormat = PCM_24K
    """Format of the agent's sound towards the client."""


def read_update(message: str) -> Json:
    """The fields of a `session.update`, not judged yet.

    Raises:
        UNREADABLE: when they are no object.
    """
    return _UPDATE.decode(message).session


def first_update(session: Json) -> Fixed:
    """Judge the first update of a session, and say what it settles.

    Raises:
        Refused: when the service would refuse it; every code but ``invalid_format`` ends the connection.
    """
    _check(session)
    if "agent_id" in session:
        if len(session) > 1:
            raise Refused(
                "invalid_value", "agent_id is mutually exclusive with other session fields", "agent_id"
            )
        _text(session["agent_id"], "agent_id")
        return Fixed()
    given_in, given_out = session.get("input") or {}, session.get("output") or {}
    return Fixed(
        greeting=session.get("greeting"),
        voice=given_out.get("voice"),
        hears=_format(given_in.get("format"), "input"),
        speaks=_format(given_out.get("format"), "output"),
    )


def later_update(session: Json, fixed: Fixed) -> None:
    """Judge an update of a session that has begun.

    Raises:
        Refused: when the service would refuse it; the session goes on as it was.
    """
    if "agent_id" in session:
        raise Refused(
            "agent_id_not_first", "agent_id can only be set on the first session.update", "agent_id"
        )
    # Even a voice that does not exist is told to be fixed, so this comes first (3.1).
    given_in, given_out = _part(session, "input"), _part(session, "output")
    changes = {
        "greeting": session.get("greeting", fixed.greeting) != fixed.greeting,
        "output.voice": given_out.get("voice", fixed.voice) != fixed.voice,
        "input.type": given_in.get("type", "audio") != "audio",
        "output.type": given_out.get("type", "audio") != "audio",
    }
    for path, changed in changes.items():
        if changed and not (path == "greeting" and session["greeting"] is None):
            raise _immutable(path)
    _check(session)
    for side, given, audio in (("input", given_in, fixed.hears), ("output", given_out, fixed.speaks)):
        if given.get("format") is not None and _format(given["format"], side) != audio:
            raise _immutable(f"{side}.format")


def update_beside_address(session: Json) -> None:
    """Judge an update of a client whose sound its address has settled, and whose agent has begun without it.

    Raises:
        Refused: when the service would refuse it; the session goes on as it was.
    """
    for side in ("input", "output"):
        if _part(session, side).get("format") is not None:
            raise _immutable(f"{side}.format")
    later_update(session, Fixed())


def format_fields(audio: AudioFormat) -> Json:
    """A format as the service echoes it."""
    name = next(name for name, known in FORMATS.items() if known == audio)
    return {"encoding": name, "sample_rate": audio.rate_hz}


def _immutable(path: str) -> Refused:
    return Refused("immutable_field", f"'{path}' cannot be changed after the first session.update", path)


def _part(session: Json, side: str) -> Mapping[str, Any]:
    given = session.get(side)
    return given if isinstance(given, dict) else {}


def _check(session: Json) -> None:
    for name in session:
        if name not in FIELDS:
            raise Refused("invalid_value", f"Unknown field '{name[:100]}' in session", name[:100])
    if "greeting" in session and session["greeting"] is None:
        raise Refused("invalid_format", "Invalid message format for type 'session.update'", "greeting")
    for name in ("system_prompt", "greeting"):
        _text(session.get(name, ""), name)
    if session.get("llm"):
        raise Refused("invalid_value", "BYO LLM config is not allowed on session.update", "llm")
    _side(session.get("input", {}), "input")
    _side(session.get("output", {}), "output")
    _tools(session.get("tools", []))
    if session.get("webhook") is not None:
        _webhook(session["webhook"])


def _side(given: object, side: str) -> None:
    if not isinstance(given, dict):
        raise Refused("invalid_value", f"'{side}' must be an object", side)
    for name, value in given.items():
        _nested(name, value, f"{side}.{name}")


def _nested(name: str, value: Any, path: str) -> None:
    """Judge one field of `input` or `output`; null is the provider's own value, an unknown field its matter."""
    if value is None:
        return
    match name, path.partition(".")[0]:
        case "format", side:
            _format(value, side)
        case "type", _ if value != "audio":
            raise Refused("invalid_value", f"'{path}' must be 'audio'", path)
        case "voice", "output" if not isinstance(value, str) or not value.strip():
            raise Refused("invalid_value", f"Invalid voice '{str(value)[:100]}'", path)
        case "volume", "output" if not (_is_number(value) and 0 <= value <= 100):
            raise Refused("invalid_value", f"'{path}' must be between 0 and 100", path)
        case "turn_detection", "input":
            _turn_detection(value, path)
        case (("transcription_mode" | "voice_focus"), "input") if value not in _CHOICES[name]:
            raise Refused("invalid_value", f"'{path}' must be one of: {', '.join(_CHOICES[name])}", path)
        case "voice_focus_threshold", "input" if not (_is_number(value) and 0 <= value <= 1):
            raise Refused("invalid_value", f"'{path}' must be between 0 and 1", path)
        case "transcription_prompt", "input" if not isinstance(value, str) or len(value) > 1750:
            raise Refused("invalid_value", f"'{path}' must be a string of at most 1750 characters", path)
        case (("keyterms" | "language_codes"), "input") if not _is_texts(value) or len(value) > 100:
            raise Refused("invalid_value", f"'{path}' must be a list of at most 100 strings", path)


def _format(value: object, side: str) -> AudioFormat:
    if value is None:
        return PCM_24K
    if not isinstance(value, dict):
        raise Refused("invalid_value", "Audio format must be a JSON object", "format")
    name = value.get("encoding", "audio/pcm")
    if not isinstance(name, str) or name not in FORMATS:
        known = ", ".join(FORMATS)
        raise Refused(
            "invalid_value",
            f"Invalid encoding '{str(name)[:100]}'. Must be one of: {known}",
            f"{side}.format.encoding",
        )
    rate_hz = value.get("sample_rate", 24_000)
    path = f"{side}.format.sample_rate"
    if name == "audio/pcm" and rate_hz != 24_000:
        if isinstance(rate_hz, bool) or not isinstance(rate_hz, int):
            raise Refused("invalid_value", f"'{path}' must be an integer", path)
        # What the service says about any other rate, though it takes ten seconds to find out (5.1).
        raise Refused("internal_error", "Internal service error", path)
    return FORMATS[name]


def _turn_detection(value: object, path: str) -> None:
    if not isinstance(value, dict):
        raise Refused("invalid_value", f"'{path}' must be an object", path)
    for name, (low, high) in _RANGES.items():
        given = value.get(name)
        if given is not None and not (_is_number(given) and low <= given <= high):
            unit = "" if name == "vad_threshold" else " ms"
            raise Refused(
                "invalid_value", f"'{path}.{name}' must be between {low} and {high}{unit}", f"{path}.{name}"
            )
    shortest, longest = value.get("min_silence"), value.get("max_silence")
    if shortest is not None and longest is not None and shortest >= longest:
        raise Refused("invalid_value", f"'{path}.min_silence' must be strictly less than 'max_silence'", path)
    if not isinstance(value.get("interrupt_response", True), bool | None):
        raise Refused("invalid_value", f"'{path}.interrupt_response' must be a boolean", path)


def _tools(value: object) -> None:
    if not isinstance(value, list):
        raise Refused("invalid_value", "'tools' must be a list", "tools")
    names: set[str] = set()
    for place, tool in enumerate(value):
        name = _tool(tool, f"tools[{place}]")
        if name in names:
            raise Refused("invalid_value", f"'tools' names '{name[:100]}' twice", f"tools[{place}].name")
        names.add(name)


def _tool(tool: object, path: str) -> str:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise Refused("invalid_value", f"'{path}.type' must be 'function'", f"{path}.type")
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise Refused("invalid_value", f"'{path}.name' must be a non-empty string", f"{path}.name")
    parameters = tool.get("parameters") or {}
    if not isinstance(parameters, dict) or not isinstance(parameters.get("properties", {}), dict):
        raise Refused(
            "invalid_value", f"'{path}.parameters.properties' must be an object", f"{path}.parameters"
        )
    timeout_s = tool.get("timeout_seconds")
    if timeout_s is not None and not (_is_number(timeout_s) and 1 <= timeout_s <= 300):
        path = f"{path}.timeout_seconds"
        raise Refused("invalid_value", f"'{path}' must be between 1 and 300", path)
    if tool.get("execution_mode") not in (None, "interactive", "hold"):
        path = f"{path}.execution_mode"
        raise Refused("invalid_value", f"'{path}' must be 'interactive' or 'hold'", path)
    if tool.get("http") is not None:
        path = f"{path}.http"
        raise Refused("invalid_value", f"'{path}' is for stored agents only", path)
    return name


def _webhook(value: object) -> None:
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("url"), str)
        or not _is_texts(value.get("events"))
        or value.keys() - {"url", "events", "secret"}
    ):
        raise Refused(
            "invalid_webhook", "'webhook' must have 'url' and 'events', and may have 'secret'", "webhook"
        )


def _text(value: object, path: str) -> None:
    if not isinstance(value, str):
        raise Refused("invalid_value", f"'{path}' must be a string", path)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
