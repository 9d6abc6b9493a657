"""The messages of the Voice Agent API as a client needs them: how each is read and written.

Owns the tolerances of the wire where its sources disagree (Voice Agent API reference, sections 3, 4 and 13.2).
Refuses state and meaning, which are the codec's. Any field may be absent or null; one of a wrong type raises
`msgspec.ValidationError`, a message that cannot be used without it `WireError`.
"""

from binascii import b2a_base64
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from gateway.audio import AudioFormat, level_dbfs
from gateway.commands import SendResult
from gateway.errors import WireError
from gateway.events import AgentSaid, ReplyAudio, ReplyEnded, ReplyStarted, ToolCalled, UserSaid

ECHO_BYTES: Final = 131_072
"""Longest echo of a session that is looked into; to build all of a megabyte could take a third of a second."""


class _Head(Struct):
    """Enough to know what a message is."""

    type: str | None = None


class SessionMessage(Struct):
    """`session.ready` (4.2) and `session.updated` (4.1)."""

    session_id: str | None
    resume_token: str | None
    config: Any
    """The echo of the whole session; its shape is not promised, so it is read with `text_of` and the like."""


class _Session(Struct):
    session_id: str | None = None
    resume_token: str | None = None
    config: Raw = Raw()


class ErrorMessage(Struct):
    """`session.error` (4.13), `error`, `reply.error` (4.11), and errors without a type."""

    code: str | None = None
    message: str | None = None


class _Words(Struct):
    """The four transcript messages (4.4, 4.5, 4.8, 4.9)."""

    item_id: str | None = None
    reply_id: str | None = None
    text: str | None = None
    delta: str | None = None
    interrupted: bool | None = None
    start_ms: float | None = None
    end_ms: float | None = None


class _Reply(Struct):
    """`reply.started` (4.6) and `reply.done` (4.10)."""

    reply_id: str | None = None
    status: str | None = None


class _Audio(Struct):
    """`reply.audio` (4.7): `data`, or `audio` as some clients read it; the bytes decode themselves."""

    type: str | None = None
    reply_id: str | None = None
    data: bytes | None = None
    audio: bytes | None = None


class _Tool(Struct):
    """`tool.call` (4.12): `arguments`, or `args` as before May 2026."""

    call_id: str | None = None
    name: str | None = None
    arguments: Raw = Raw()
    args: Raw = Raw()


_HEAD: Final = msgspec.json.Decoder(_Head)
_SESSION: Final = msgspec.json.Decoder(_Session)
_ERROR: Final = msgspec.json.Decoder(ErrorMessage)
_WORDS: Final = msgspec.json.Decoder(_Words)
_REPLY: Final = msgspec.json.Decoder(_Reply)
_AUDIO: Final = msgspec.json.Decoder(_Audio)
_TOOL: Final = msgspec.json.Decoder(_Tool)


def type_of(raw: str) -> str | None:
    """Type of a message; None when it has none."""
    return _HEAD.decode(raw).type


def read_sound(raw: str, audio: AudioFormat) -> ReplyAudio | None:
    """Read a message as `reply.audio`, which nearly every one is; None for any other, and for one with mistakes."""
    try:
        message = _AUDIO.decode(raw)
    except msgspec.ValidationError:
        return None
    if message.type != "reply.audio" or not message.data:
        return None
    return ReplyAudio(message.reply_id or "", message.data, level_dbfs(message.data, audio))


def read_session(raw: str) -> SessionMessage:
    """Read `session.ready` or `session.updated`; an echo beyond all measure counts as none."""
    message = _SESSION.decode(raw)
    echo = message.config if 0 < len(bytes(message.config)) <= ECHO_BYTES else b"null"
    return SessionMessage(message.session_id, message.resume_token, msgspec.json.decode(echo))


def read_error(raw: str) -> ErrorMessage:
    """Read an error of any type."""
    return _ERROR.decode(raw)


def read_reply_audio(raw: str, audio: AudioFormat) -> list[ReplyAudio]:
    """Read `reply.audio`; an empty one is no event."""
    message = _AUDIO.decode(raw)
    sound = message.audio if message.data is None else message.data
    if sound is None:
        raise WireError("a reply.audio without `data`; nothing can be played")
    return [ReplyAudio(message.reply_id or "", sound, level_dbfs(sound, audio))] if sound else []


def read_reply_started(raw: str) -> ReplyStarted:
    """Read `reply.started`."""
    return ReplyStarted(_REPLY.decode(raw).reply_id or "", raw)


def read_reply_ended(raw: str) -> ReplyEnded:
    """Read `reply.done`: old frames have no status; `cancelled` and `failed` are not the caller's doing (13.2, 18)."""
    message = _REPLY.decode(raw)
    return ReplyEnded(message.reply_id or "", (message.status or "").lower() == "interrupted", raw)


def read_user_said(raw: str, *, final: bool) -> UserSaid:
    """Read `transcript.user` or its delta, which carries the whole text so far, as `text` or `delta` (13.2, 15)."""
    words = _WORDS.decode(raw)
    return UserSaid(_either(words.text, words.delta), final, words.item_id or "", raw)


def read_agent_said(raw: str, *, final: bool) -> AgentSaid:
    """Read `transcript.agent` or its delta, which carries one word; its white space is kept (4.8)."""
    words = _WORDS.decode(raw)
    text = _either(words.text, words.delta) if final else _either(words.delta, words.text)
    start_ms = None if words.start_ms is None else int(words.start_ms)
    end_ms = None if words.end_ms is None else int(words.end_ms)
    return AgentSaid(words.reply_id or "", text, final, bool(words.interrupted), start_ms, end_ms, raw)


def read_tool_called(raw: str, informational: frozenset[str]) -> ToolCalled:
    """Read `tool.call`; `informational` names the tools that the provider runs itself."""
    message = _TOOL.decode(raw)
    if not message.call_id or not message.name:
        raise WireError("a tool.call without `call_id` or `name`; it cannot be answered")
    arguments = _arguments(bytes(message.arguments)) or _arguments(bytes(message.args)) or "{}"
    return ToolCalled(message.call_id, message.name, arguments, message.name in informational, raw)


def text_of(config: Any, name: str) -> str:
    """A text in the echo of a session, "" where it is not one."""
    value = config.get(name) if isinstance(config, dict) else None
    return value if isinstance(value, str) else ""


def http_tools_of(config: Any) -> frozenset[str] | None:
    """Names of the tools that the provider runs itself (4.12); None when the echo does not say."""
    tools = config.get("tools") if isinstance(config, dict) else None
    if not isinstance(tools, list):
        return None
    return frozenset(
        text_of(tool, "name") for tool in tools if isinstance(tool, dict) and tool.get("http") is not None
    )


def write(message: dict[str, Any]) -> str:
    """Write any message."""
    return msgspec.json.encode(message).decode()


def write_audio(audio: bytes) -> str:
    """Write `input.audio` (3.4)."""
    return f'{{"type":"input.audio","audio":"{b2a_base64(audio, newline=False).decode("ascii")}"}}'


def write_result(command: SendResult) -> str:
    """Write `tool.result`, whose result is a text even where that text is JSON (3.5)."""
    return write(
        {
            "type": "tool.result",
            "call_id": command.tool_call_id,
            "result": command.result,
            "is_error": command.failed,
        }
    )


def write_ask_reply(instructions: str) -> str:
    """Write `reply.create`; without instructions the agent just speaks next (3.6)."""
    return write({"type": "reply.create"} | ({"instructions": instructions} if instructions else {}))


def write_update(session: dict[str, Any] | Raw) -> str:
    """Write `session.update`, under the key `session`: under another name it would be ignored (3.1)."""
    return write({"type": "session.update", "session": session})


def _either(first: str | None, second: str | None) -> str:
    return (second or "") if first is None else first


def _arguments(given: bytes) -> str:
    """Arguments as JSON text, "" for none; a string is that text itself, whose errors the tool will explain."""
    if given[:1] == b'"':
        given = msgspec.json.decode(given, type=str).strip().encode()
    return "" if given == b"null" else given.decode()
