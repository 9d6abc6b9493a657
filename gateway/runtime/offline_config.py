"""The configuration of one offline session: what ``session.update`` may say, and the echo of it.

Owns the rules of the reference's sections 3.1, 4.2 and 9 for a server: which keys exist, which are fixed after the
first update, what is echoed as null. Refuses to judge voices and languages: it only looks at shapes.
`gateway.adapters.session_update` judges the same fields for our clients and is not shared on purpose: this is the
provider against which the adapter is tested, and one misreading in both would pass every test.
"""

from typing import Any, Final, TypeGuard

import msgspec

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat

_KEYS: Final = {
    "agent_id", "system_prompt", "greeting", "input", "output", "tools", "webhook", "llm", "pre_connect_requests",
}  # fmt: skip
_FORMATS: Final = {"audio/pcm": PCM_24K, "audio/pcmu": MULAW_8K, "audio/pcma": ALAW_8K}
_INPUT: Final = (
    "turn_detection", "keyterms", "transcription_mode", "continuous_partials", "transcription_prompt",
    "language_codes", "voice_focus", "voice_focus_threshold",
)  # fmt: skip
_DETECTION_RANGES: Final = {
    "vad_threshold": (0, 1),
    "min_silence": (50, 10000),
    "max_silence": (50, 10000),
    "interruption_delay": (0, 1000),
}
_MODES: Final = ("min_latency", "balanced", "max_accuracy")

Json = dict[str, Any]


class Refused(Exception):  # noqa: N818 - a fact about an update, in the house's words
    """An update that is not taken over: ``code``, ``message`` and ``param`` of the ``session.error`` to send."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class ToolConfig(msgspec.Struct, frozen=True):
    """What the session needs to know of one declared tool."""

    name: str
    timeout_s: float
    hold: bool
    texts: frozenset[str] = frozenset()
    """Names of the parameters that are declared as strings."""

    def typed(self, arguments: Json) -> Json:
        """The arguments as declared: a number that was heard is written out where a string is wanted."""
        return {
            name: str(value) if name in self.texts and _is_number(value) else value
            for name, value in arguments.items()
        }


class SessionConfig:
    """The resolved configuration of one session."""

    def __init__(self, session_id: str, default_greeting: str = "") -> None:
        self._session_id = session_id
        self._default_greeting = default_greeting
        self._config: Json = {
            "system_prompt": "",
            "greeting": None,
            "input": {"type": "audio", "format": {"encoding": "audio/pcm", "sample_rate": 24000}}
            | dict.fromkeys(_INPUT),
            "output": {
                "type": "audio",
                "voice": "offline",
                "format": {"encoding": "audio/pcm", "sample_rate": 24000},
                "volume": None,
            },
            "tools": [],
        }
        self._started = False

    def update(self, session: Json, agents: tuple[str, ...] | None) -> None:
        """Take over an update; the first one starts the session.

        Raises:
            Refused: and nothing of the update was taken over.
        """
        if "config" in session:
            raise Refused("invalid_value", "Unknown field 'config'", "config")
        for key in session:
            if key not in _KEYS:
                raise Refused("invalid_value", f"Unknown field '{key}' in session", str(key))
        if "greeting" in session and session["greeting"] is None:
            raise Refused("invalid_format", "Invalid message format for type 'session.update'", "greeting")
        if "agent_id" in session:
            self._stored(session, agents)
        if session.get("llm"):
            raise Refused("invalid_value", "BYO LLM config is not allowed on session.update", "llm")
        updated = dict(self._config)
        for key in ("system_prompt", "greeting"):
            if key in session:
                updated[key] = _text(session[key], key)
        if self._started and updated["greeting"] != self._config["greeting"]:
            raise _immutable("greeting")
        updated["input"] = self._side("input", session.get("input", {}))
        updated["output"] = self._side("output", session.get("output", {}))
        if "tools" in session:
            updated["tools"] = _tools(session["tools"])
        self._config = updated
        self._started = True

    def _stored(self, session: Json, agents: tuple[str, ...] | None) -> None:
        if self._started:
            raise Refused(
                "agent_id_not_first", "agent_id can only be set on the first session.update", "agent_id"
            )
        if len(session) > 1:
            raise Refused(
                "invalid_value", "agent_id is mutually exclusive with other session fields", "agent_id"
            )
        agent_id = _text(session["agent_id"], "agent_id")
        if agents is not None and agent_id not in agents:
            raise Refused("agent_not_found", "Agent not found", "agent_id")
        self._config["greeting"] = self._default_greeting or None

    def _side(self, side: str, given: object) -> Json:
        if not isinstance(given, dict):
            raise Refused("invalid_value", f"'{side}' must be an object", side)
        before: Json = self._config[side]
        after = dict(before)
        for key, value in given.items():
            if key not in before:
                continue  # unknown keys below the top level are ignored (reference 3.1)
            after[key] = _checked(side, key, value)
            fixed = key in {"format", "type"} or (side == "output" and key == "voice")
            if self._started and fixed and after[key] != before[key]:
                raise _immutable(f"{side}.{key}")
        return after

    def echo(self) -> Json:
        """The whole configuration as the service echoes it."""
        return {"id": self._session_id} | self._config | {"llm": [], "pre_connect_requests": []}

    @property
    def greeting(self) -> str:
        """What to say first; empty to listen first."""
        return self._config["greeting"] or ""

    @property
    def plausible(self) -> bool:
        """Whether the rates can work: PCM has 24 kHz only (reference 5.1)."""
        return all(
            form["encoding"] != "audio/pcm" or form["sample_rate"] == 24000
            for form in (self._config["input"]["format"], self._config["output"]["format"])
        )

    @property
    def input_format(self) -> AudioFormat:
        """How the caller's sound arrives."""
        return _FORMATS[self._config["input"]["format"]["encoding"]]

    @property
    def output_format(self) -> AudioFormat:
        """How the agent's sound is sent."""
        return _FORMATS[self._config["output"]["format"]["encoding"]]

    @property
    def volume(self) -> float:
        """Factor for the agent's sound, 0 to 1."""
        volume = self._config["output"]["volume"]
        return 1.0 if volume is None else volume / 100

    @property
    def interruptible(self) -> bool:
        """Whether the caller may interrupt."""
        return (self._config["input"]["turn_detection"] or {}).get("interrupt_response") is not False

    @property
    def greeting_uninterruptible(self) -> bool:
        """Whether speech during the greeting is discarded."""
        named = (self._config["input"]["turn_detection"] or {}).get("uninterruptible_turns")
        return isinstance(named, list) and "greeting" in named

    @property
    def tools(self) -> dict[str, ToolConfig]:
        """The tools that the client answers, by name."""
        return {
            tool["name"]: ToolConfig(
                tool["name"],
                tool["timeout_seconds"],
                tool["execution_mode"] == "hold",
                frozenset(name for name, kind in _properties(tool).items() if kind == "string"),
            )
            for tool in self._config["tools"]
            if tool["http"] is None
        }


def _properties(tool: Json) -> Json:
    """The declared type of each parameter, where it has one."""
    properties = (tool["parameters"] or {}).get("properties", {})
    return {name: shape.get("type") for name, shape in properties.items() if isinstance(shape, dict)}


def _immutable(path: str) -> Refused:
    return Refused("immutable_field", f"'{path}' cannot be changed after the first session.update", path)


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise Refused("invalid_value", f"'{path}' must be a string", path)
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _checked(side: str, key: str, value: object) -> Any:
    path = f"{side}.{key}"
    match key:
        case "format":
            return _format(value)
        case "type" if value not in {"audio", "text"}:
            raise Refused("invalid_value", f"'{path}' must be 'audio'", path)
        case "voice" if not isinstance(value, str) or not value.strip():
            raise Refused("invalid_value", f"Invalid voice '{value}'", path)
        case "volume" if value is not None and not (_is_number(value) and 0 <= value <= 100):
            raise Refused("invalid_value", f"'{path}' must be between 0 and 100", path)
        case "turn_detection" if value is not None:
            return _turn_detection(value)
        case "transcription_mode" if value is not None and value not in _MODES:
            raise Refused("invalid_value", f"'{path}' must be one of: {', '.join(_MODES)}", path)
        case "transcription_prompt" if value is not None and (
            not isinstance(value, str) or len(value) > 1750
        ):
            raise Refused("invalid_value", f"'{path}' must be a string of at most 1750 characters", path)
        case "keyterms" if value is not None and (not isinstance(value, list) or len(value) > 100):
            raise Refused("invalid_value", f"'{path}' must be a list of at most 100 strings", path)
    return value


def _format(value: object) -> Json:
    if not isinstance(value, dict):
        raise Refused("invalid_value", "Audio format must be a JSON object", "format")
    encoding = value.get("encoding", "audio/pcm")
    if not isinstance(encoding, str) or encoding not in _FORMATS:
        raise Refused(
            "invalid_value",
            f"Invalid encoding '{encoding}'. Must be one of: {', '.join(_FORMATS)}",
            "format.encoding",
        )
    if encoding != "audio/pcm":
        return {"encoding": encoding, "sample_rate": 8000}
    rate = value.get("sample_rate", 24000)
    if isinstance(rate, bool) or not isinstance(rate, int):
        raise Refused("invalid_value", "'format.sample_rate' must be an integer", "format.sample_rate")
    return {"encoding": encoding, "sample_rate": rate}


def _turn_detection(value: object) -> Json:
    path = "input.turn_detection"
    if not isinstance(value, dict):
        raise Refused("invalid_value", f"'{path}' must be an object", path)
    for key, (low, high) in _DETECTION_RANGES.items():
        given = value.get(key)
        if given is not None and not (_is_number(given) and low <= given <= high):
            unit = "" if key == "vad_threshold" else " ms"
            raise Refused(
                "invalid_value", f"'{path}.{key}' must be between {low} and {high}{unit}", f"{path}.{key}"
            )
    shortest, longest = value.get("min_silence"), value.get("max_silence")
    if shortest is not None and longest is not None and shortest >= longest:
        raise Refused("invalid_value", f"'{path}.min_silence' must be strictly less than 'max_silence'", path)
    if not isinstance(value.get("interrupt_response", True), bool):
        raise Refused("invalid_value", f"'{path}.interrupt_response' must be a boolean", path)
    return value


def _tools(value: object) -> list[Json]:
    if not isinstance(value, list):
        raise Refused("invalid_value", "'tools' must be a list", "tools")
    tools = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(value)]
    if len({tool["name"] for tool in tools}) < len(tools):
        raise Refused("invalid_value", "'tools' names a tool twice", "tools")
    return tools


def _tool(tool: object, path: str) -> Json:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise Refused("invalid_value", f"'{path}.type' must be 'function'", f"{path}.type")
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise Refused("invalid_value", f"'{path}.name' must be a non-empty string", f"{path}.name")
    parameters = tool.get("parameters", {})
    if not isinstance(parameters, dict) or not isinstance(parameters.get("properties", {}), dict):
        raise Refused(
            "invalid_value", f"'{path}.parameters.properties' must be an object", f"{path}.parameters"
        )
    given: Any = tool.get("timeout_seconds")
    timeout = 120 if given is None else given
    if not _is_number(timeout) or not 1 <= timeout <= 300:
        raise Refused(
            "invalid_value", f"'{path}.timeout_seconds' must be between 1 and 300", f"{path}.timeout_seconds"
        )
    mode = tool.get("execution_mode") or "interactive"
    if mode not in ("interactive", "hold"):
        raise Refused("invalid_value", f"'{path}.execution_mode' must be 'interactive' or 'hold'", path)
    return {
        "type": "function",
        "name": name,
        "description": tool.get("description", ""),
        "parameters": parameters,
        "timeout_seconds": timeout,
        "execution_mode": mode,
        "http": tool.get("http"),
        "response_instructions": tool.get("response_instructions"),
        "deployment_id": None,
        "session_update": None,
        "image_tag": None,
    }
