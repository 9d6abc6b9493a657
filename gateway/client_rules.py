"""What a client of the Voice Agent API may hand on to an agent that is not its own, told by names.

Owns two rules. *Fields:* what the API is known to have below `session` passes where the route lets its part pass. What
is not known there passes for clients with a key, so that a field which a provider adds needs no release of ours, unless
it can lead to a host: by its name, by the name of anything in it, or by a text in it that is an address. With a minted
token, which anybody may have, it never passes. *Messages:* what passes on as it came has a type that the API leaves to
the client; a type that resembles one by which sessions are changed is refused, because an agent may read it as that.

Both go by names, and by whether a text is an address, so that `without_values` and `without_content` can take words
away from a message and leave what is decided. Refuses shapes and ranges, which are the dialects' to judge.
"""

import re
import unicodedata
from typing import Any, Final

import msgspec
from msgspec import Struct

TURN_DETECTION: Final = "input.turn_detection"
KNOWN: Final[dict[str, frozenset[str]]] = {
    "input": frozenset(
        {"type", "format", "turn_detection", "keyterms", "transcription_mode", "transcription_prompt"}
        | {"continuous_partials", "language_codes", "voice_focus", "voice_focus_threshold"}
    ),
    TURN_DETECTION: frozenset(
        {"type", "vad_threshold", "min_silence", "max_silence", "interrupt_response"}
        | {"interruption_delay", "uninterruptible_turns"}
    ),
    "output": frozenset({"type", "voice", "format", "volume"}),
    "tools": frozenset(
        {"type", "name", "description", "parameters", "timeout_seconds", "execution_mode"}
        | {"response_instructions"}
    ),
}
"""Fields of each part of a session that a client may write, but for those that can lead to a host (3.1, 9)."""
SCHEMA: Final = "parameters"
"""A tool's schema: the model reads it, nobody asks a host for it, and its names are the client's own."""
INSTRUCTIONS: Final = "response_instructions"
"""What the agent is to say after a tool: two sentences."""
_INSTRUCTED: Final = frozenset({"success", "error"})

_LEADS_OUT: Final = re.compile(
    "http|url|uri|webhook|endpoint|server|host|mcp|callback|proxy|address|domain", re.IGNORECASE
)
_SCHEME: Final = "://"
_DOT: Final = "•"

TYPES: Final = frozenset(
    {"session.update", "session.resume", "session.end", "input.audio", "tool.result", "reply.create"}
    | {"conversation.message", "reply.cancel"}
)
"""Every type of message that the API has for clients (3)."""
PASSED_ON: Final = frozenset({"conversation.message", "reply.cancel"})
"""Those that reach the agent as they came."""
_OF_SESSIONS: Final = ("session.", "agent.")
_CALLER: Final = "user"
_FRAME: Final = 'The caller typed: "{}". Answer that.'
_FRAMED: Final = re.compile('The caller typed: "(.*)"[.] Answer that[.]', re.DOTALL)

Json = dict[str, Any]


# Fields


def passes(part: str, name: str, value: Any, *, anybody: bool, named: bool = False) -> bool:
    """Whether a field of a part of the session may go on to the agent.

    Args:
        part: A key of `KNOWN`.
        name: The field's.
        value: What the client wrote there.
        anybody: Whether the client came with a minted token.
        named: Whether the route names this very field.
    """
    if name in KNOWN[part]:
        return name == SCHEMA or _is_plain(name, value)
    return (named or not anybody) and not leads_out(name, value)


def leads_out(name: str, value: Any) -> bool:
    """Whether a field that nobody here knows can lead to a host."""
    if _LEADS_OUT.search(name):
        return True
    for one in _within(value):
        if isinstance(one, dict) and any(map(_LEADS_OUT.search, one)):
            return True
        if isinstance(one, str) and _SCHEME in one:
            return True
    return False


def _is_plain(name: str, value: Any) -> bool:
    """Whether a field that is known holds nothing with names of its own, but for those that it is known to have."""
    if name == INSTRUCTIONS and isinstance(value, dict):
        return value.keys() <= _INSTRUCTED and not any(isinstance(one, dict) for one in _within(value)[1:])
    return not any(isinstance(one, dict) for one in _within(value))


def _within(value: Any) -> list[Any]:
    """A value and all that is in it, however deep."""
    found, at = [value], 0
    while at < len(found):
        one = found[at]
        found += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        at += 1
    return found


def without_values(part: str, fields: Json) -> Json:
    """Fields of a part of the session with nothing left of their values but what `passes` goes by."""
    return {name: None if name == SCHEMA else _skeleton(part, name, value) for name, value in fields.items()}


def _skeleton(part: str, name: str, value: Any) -> Any:
    """What decides about a field, in the place of its value; the same again of what it gives."""
    if name in KNOWN[part]:
        return None if _is_plain(name, value) else {_DOT: _DOT}
    if value is None:
        return None
    return _SCHEME if leads_out("", value) else _DOT


# Messages


class Message(Struct):
    """What decides about a message that would go on as it came."""

    type: str
    role: Any = None
    content: Any = None
    reply_id: Any = None

    @property
    def is_of_caller(self) -> bool:
        """Whether it speaks for the caller, and gives the agent no instructions."""
        return self.type != "conversation.message" or self.role == _CALLER

    @property
    def bare(self) -> str:
        """The message with the fields that are known, as JSON text."""
        fields = ("reply_id",) if self.type == "reply.cancel" else ("role", "content")
        given = {name: getattr(self, name) for name in fields}
        return msgspec.json.encode({"type": self.type, **given}).decode()


def read_message(raw: str) -> Message | None:
    """Read a message; None when it has no type."""
    try:
        return msgspec.json.decode(raw, type=Message)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def goes_on(kind: str, *, anybody: bool) -> bool:
    """Whether messages of a type that is not ours to answer may go on to the agent."""
    if kind in PASSED_ON:
        return True
    return not anybody and not _resembles(kind)


def _resembles(kind: str) -> bool:
    """Whether a type is one that the API has, or of its sessions and agents, to somebody who reads less exactly."""
    plain = re.sub(r"[\W_]+", ".", unicodedata.normalize("NFKC", kind).casefold()).strip(".")
    return plain in TYPES or f"{plain}.".startswith(_OF_SESSIONS)


def without_content(raw: str) -> str:
    """A message with nothing left but what decides whether it goes on; the same again of what it gives."""
    message = read_message(raw)
    if message is None:
        return ""
    kind = message.type
    if kind not in PASSED_ON:
        kind = f"session.{_DOT}" if _resembles(kind) else _DOT
    role = {} if message.is_of_caller else {"role": _DOT}
    if message.role == _CALLER:
        role = {"role": _CALLER}
    return msgspec.json.encode({"type": kind, **role}).decode()


def as_typed(instructions: str) -> str:
    """Instructions of a client that may give none, as words that the caller typed; the same again of what it gives."""
    if not instructions:
        return ""
    framed = _FRAMED.fullmatch(instructions)
    return _FRAME.format((framed[1] if framed else instructions).replace('"', "'"))


def typed(instructions: str) -> tuple[str, str, str]:
    """Instructions, divided into the words that the caller typed and the frame around them, if there is one."""
    framed = _FRAMED.fullmatch(instructions)
    before, after = _FRAME.split("{}")
    return (before, framed[1], after) if framed else ("", instructions, "")
