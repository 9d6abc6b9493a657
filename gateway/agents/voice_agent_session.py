"""What an agent's session is opened with: its section of the configuration and its first message.

Owns the settings of ``kind: voice_agent``, the choice of audio format and the fields of `session.update`. Refuses
the wire's events, which are the codec's. The provider's own fields (voices, key terms, prompts) are passed on
as they were written and are listed nowhere; only what the provider refuses as a whole is refused here too.
Sources: Voice Agent API reference, sections 3.1, 5.1 and 9.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat
from gateway.commands import HeardLine, OpenAgent
from gateway.contracts import AgentCall
from gateway.settings import AgentSettings, Secrets
from gateway.tools import Tool

SESSION_FIELDS: Final = ("system_prompt", "greeting", "input", "output", "tools", "webhook")
"""Keys that the provider takes directly under an inline `session` (3.1); any other is refused by it."""

HISTORY_CHARACTERS: Final = 24_000
"""Newest part of a conversation that a rebuilt session is told; no limit of the prompt is published."""

_ENCODINGS: Final = {"pcm16": "audio/pcm", "mulaw": "audio/pcmu", "alaw": "audio/pcma"}
_STORED_AUDIO: Final = {"pcm": PCM_24K, "pcmu": MULAW_8K, "pcma": ALAW_8K}

# Silences in ms. Setting them switches the provider's adaptive pacing and its waiting for whole numbers and
# addresses off for the rest of the session (3.1). `standard` is the schema's own default, `fast` the provider's
# published pair for voice agents on its streaming product, `deliberate` twice the standard.
_TURN_DETECTION: Final[dict[str, dict[str, int]]] = {
    "fast": {"min_silence": 400, "max_silence": 1280},
    "standard": {"min_silence": 1000, "max_silence": 3000},
    "deliberate": {"min_silence": 2000, "max_silence": 6000},
}

GO_ON: Final = (
    "This phone conversation is already under way and you have just been reconnected to it. Go on from where it "
    "stands: do not greet the caller again, do not introduce yourself again, and do not ask again for what was "
    "already said."
)
"""What an agent is told that takes a conversation over."""


class VoiceAgentSettings(AgentSettings, frozen=True, kw_only=True):
    """An agent of the Voice Agent API."""

    api_key: Secrets
    """Key of the account, or several while they are rotated; the first is used. Empty while no route leads here."""
    agent_id: str = ""
    """A stored agent, instead of `session`; its own tools and settings apply."""
    agent_audio: Literal["pcm", "pcmu", "pcma"] = "pcm"
    """Format that the stored agent was made with; nothing but its id may be sent, so we cannot choose it."""

    def __post_init__(self) -> None:
        """Refuse what the provider would refuse in the middle of a call.

        Raises:
            ValueError: in one sentence, without the place.
        """
        if self.agent_id and (self.session or self.turn_detection):
            raise ValueError(
                "`agent_id` cannot stand beside `session` or `turn_detection`; change the stored agent, or leave the id out"
            )
        if not self.agent_id and self.agent_audio != "pcm":
            raise ValueError(
                "`agent_audio` belongs to `agent_id`; without one the format is chosen for you, leave it out"
            )
        check_session(self.session, self.tools)


def check_session(session: Mapping[str, Any], tools: Iterable[str] = ()) -> None:
    """Refuse an inline session that the provider is known to refuse, or that contradicts what we add.

    Raises:
        ValueError: in one sentence, without the place.
    """
    for name in session:
        if name == "agent_id":
            raise ValueError(
                "`session.agent_id` is in the wrong place; write `agent_id` beside `session`, not in it"
            )
        if name not in SESSION_FIELDS:
            allowed = ", ".join(SESSION_FIELDS)
            raise ValueError(f"`session.{name}` is refused by the provider; use only {allowed}")
    for name in ("system_prompt", "greeting"):
        if not isinstance(session.get(name, ""), str):
            raise ValueError(f"`session.{name}` must be a text; leave it out where there is none")  # noqa: TRY004 - a settings struct refuses by ValueError
    for name in ("input", "output"):
        _check_side(name, session.get(name, {}))
    declared = session.get("tools", [])
    if not isinstance(declared, list) or not all(isinstance(tool, dict) for tool in declared):
        raise ValueError("`session.tools` must be a list of tool definitions")
    if twice := {str(tool.get("name")) for tool in declared} & set(tools):
        raise ValueError(f"tool {min(twice)!r} is in `session.tools` and in `tools`; keep one of them")


def _check_side(name: str, side: Any) -> None:
    """Check `session.input` or `session.output`."""
    if not isinstance(side, dict):
        raise ValueError(f"`session.{name}` must be a mapping; leave it out where there is nothing to set")  # noqa: TRY004 - a settings struct refuses by ValueError
    if "format" in side:
        raise ValueError(f"`session.{name}.format` is chosen to suit the caller's line; leave it out")
    if side.get("type", "audio") != "audio":
        raise ValueError(f"`session.{name}.type` can only be 'audio'; leave it out")
    if not isinstance(side.get("turn_detection") or {}, dict):
        raise ValueError(f"`session.{name}.turn_detection` must be a mapping")  # noqa: TRY004 - as above


def interruptible(settings: AgentSettings) -> bool:
    """Whether the caller may interrupt: false only where the session says ``interrupt_response: false``."""
    heard = settings.session.get("input")
    detection = heard.get("turn_detection") if isinstance(heard, dict) else None
    return not isinstance(detection, dict) or detection.get("interrupt_response") is not False


def negotiate(caller: AudioFormat) -> AudioFormat:
    """Format on the provider's wire for a caller's format.

    G.711 passes through untouched, everything else becomes 24 kHz PCM: with any other rate the provider is deaf
    or fails after ten seconds, without saying why (5.1).
    """
    return caller if caller in (MULAW_8K, ALAW_8K) else PCM_24K


def declared_tools(settings: AgentSettings) -> frozenset[str]:
    """Names of the tools that an agent's section declares inline."""
    declared = settings.session.get("tools", [])
    return frozenset(str(tool.get("name")) for tool in declared if isinstance(tool, dict))


def client_fields(call: AgentCall) -> dict[str, Any]:
    """What the caller's client has set of this session."""
    return msgspec.json.decode(call.opening.session, type=dict[str, Any]) if call.opening.session else {}


def stored_agent(call: AgentCall) -> str:
    """Id of the stored agent that this call is for; "" when its session is given inline.

    A client may have named one where the route lets it.
    """
    if named := client_fields(call).get("agent_id"):
        return str(named)
    return call.settings.agent_id if isinstance(call.settings, VoiceAgentSettings) else ""


def wire_audio(call: AgentCall) -> AudioFormat:
    """Format of this call's connection; a stored agent has chosen its own."""
    if stored_agent(call):
        return _STORED_AUDIO[getattr(call.settings, "agent_audio", "pcm")]
    return negotiate(call.info.audio)


def format_fields(audio: AudioFormat) -> dict[str, Any]:
    """A format in the provider's words; the rate only where it means something (6.3)."""
    fields: dict[str, Any] = {"encoding": _ENCODINGS[audio.encoding]}
    if audio.encoding == "pcm16":
        fields["sample_rate"] = audio.rate_hz
    return fields


def format_clash(config: Any, audio: AudioFormat) -> str:
    """Say in a sentence where the session in force has another audio format than the wire; "" where it agrees.

    What the echo leaves out is taken as agreed.
    """
    ours = format_fields(audio)
    for name in ("input", "output"):
        side = config.get(name) if isinstance(config, dict) else None
        theirs = side.get("format") if isinstance(side, dict) else None
        if not isinstance(theirs, dict):
            continue
        for key, value in ours.items():
            if theirs.get(key) not in (None, value):
                return (
                    f"the session's {name}.format.{key} is {theirs[key]!r} but this connection carries {value!r}; "
                    "for a stored agent set `agent_audio` to the format it was made with"
                )
    return ""


def first_session(call: AgentCall, opening: OpenAgent, *, greets_unasked: bool = False) -> dict[str, Any]:
    """Make the fields of the first `session.update`.

    A stored agent's id must come alone (3.1), so neither tools nor history go with it. A session in the middle of
    a call gets the conversation so far and no greeting. An absent greeting means to the provider that the caller
    speaks first; to an agent that greets from a script of its own (``greets_unasked``) only an empty one does, and
    it gets that only where it has had a session of this call before. What the caller's client has set lies over it.
    """
    if agent_id := stored_agent(call):
        return {"agent_id": agent_id}
    session = _with_client(call, client_fields(call))
    if opening.history:
        session["system_prompt"] = with_history(session.get("system_prompt", ""), opening.history)
        if call.memory.session_id or not greets_unasked:
            session["greeting"] = ""  # who takes over by a script of its own introduces itself
    if not session.get("greeting") and not greets_unasked:
        session.pop("greeting", None)  # the provider refuses null and is not asked what it makes of "" (3.1)
    audio = format_fields(wire_audio(call))
    for name in ("input", "output"):
        session[name] = {**session[name], "type": "audio", "format": audio}
    if not session["tools"]:
        del session["tools"]
    return session


def client_update(call: AgentCall, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Make the fields of a later `session.update` of what the caller's client has changed.

    Of `input` and `output` the changed fields are sent whole, laid over the route's; of `tools` the route's as well,
    because a list takes the place of the one before (3.1).
    """
    laid = _with_client(call, fields)
    changed: dict[str, Any] = {}
    for name, value in fields.items():
        nested = name in ("input", "output") and isinstance(value, dict)
        changed[name] = {key: laid[name][key] for key in value} if nested else laid[name]
    return changed


def _with_client(call: AgentCall, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The route's session, with its turn detection and tools, and over it what a client has set."""
    settings: AgentSettings = call.settings
    route = settings.session
    session: dict[str, Any] = {**route, **fields}
    for name in ("input", "output"):
        session[name] = {**(route.get(name) or {}), **(fields.get(name) or {})}
    # What was written by hand is more particular than a profile, and what the client wrote more than either.
    profile = _TURN_DETECTION[settings.turn_detection] if settings.turn_detection else {}
    by_hand = (route.get("input") or {}).get("turn_detection") or {}
    wanted = (fields.get("input") or {}).get("turn_detection", {})
    detection = {**profile, **by_hand, **(wanted or {})}
    if detection or "turn_detection" in session["input"]:
        session["input"]["turn_detection"] = None if wanted is None else detection
    session["tools"] = [*route.get("tools", []), *map(tool_fields, call.tools), *(fields.get("tools") or [])]
    return session


def tool_fields(tool: Tool) -> dict[str, Any]:
    """Declare one of our tools, flat as the provider wants it (9).

    The provider's limit lies up to a second above ours, so that the agent hears our sentence about a tool that
    took too long rather than having to make up one. A ``$schema`` key would make it send empty arguments.
    """
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": {key: value for key, value in tool.schema().items() if key != "$schema"},
        "timeout_seconds": min(300, max(1, math.floor(tool.timeout_s) + 1)),
    }


def with_history(prompt: str, history: Iterable[HeardLine]) -> str:
    """A prompt for an agent that takes over: the same, that it goes on, and what was said and heard so far.

    Each line of the transcript stays one line, so that nobody can speak in the other's name.
    """
    names = {"user": "Caller", "agent": "You"}
    lines = [f"{names[line.speaker]}: {' '.join(line.text.split())}" for line in history if line.text.strip()]
    story = "\n".join(lines)
    if len(story) > HISTORY_CHARACTERS:
        newest = story[-HISTORY_CHARACTERS:]
        story = newest.partition("\n")[2] or newest  # begin with a whole line
    return (
        f"{prompt}\n\n{GO_ON}\nThe conversation so far, as it was heard:\n{story or '(nothing yet)'}".lstrip()
    )
