"""The agent's events in the Voice Agent API's words, for callers that speak it (reference: section 4).

Owns the messages for events that came from no such message, and the reading of a message's type. Refuses sessions
and sound, which each dialect has in its own way.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.events import (
    AgentSaid,
    Event,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    ToolFinished,
    UserSaid,
)

# msgspec reports bad JSON and wrong types as its own error, deep nesting and lone surrogates as Python's
UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)
"""Errors of a text that is no JSON, or not of the shape it should have."""

TOOL: Final = "talkpath.tool"
"""Type of our own message about a tool that is not the client's to answer: its call, later its end."""


class _Peek(Struct):
    type: str


_PEEK: Final = msgspec.json.Decoder(_Peek)


def type_of(raw: str) -> str:
    """Type of a message.

    Raises:
        UNREADABLE: when it has none.
    """
    return _PEEK.decode(raw).type


def written(event: Event) -> dict[str, Any] | None:
    """Event of an agent in the Voice Agent API's words; None for the others."""
    match event:
        case SpeechStarted():
            return {"type": "input.speech.started"}
        case SpeechStopped():
            return {"type": "input.speech.stopped"}
        case UserSaid(text, final, item_id):
            kind = "transcript.user" if final else "transcript.user.delta"
            return {"type": kind, "item_id": item_id, "text": text}
        case ReplyStarted(reply_id):
            return {"type": "reply.started", "reply_id": reply_id}
        case AgentSaid(reply_id, text, True, interrupted):
            return {
                "type": "transcript.agent",
                "reply_id": reply_id,
                "text": text,
                "interrupted": interrupted,
            }
        case AgentSaid(reply_id, word, start_ms=start_ms, end_ms=end_ms):
            times = {"start_ms": start_ms, "end_ms": end_ms}
            return {"type": "transcript.agent.delta", "reply_id": reply_id, "delta": word, **times}
        case ReplyEnded(reply_id, interrupted):
            status = "interrupted" if interrupted else "completed"
            return {"type": "reply.done", "reply_id": reply_id, "status": status}
        case ToolCalled(tool_call_id, name, arguments):
            return {
                "type": "tool.call",
                "call_id": tool_call_id,
                "name": name,
                "arguments": _object(arguments),
            }
        case ToolFinished(tool_call_id, result, outcome=outcome):
            return {"type": TOOL, "call_id": tool_call_id, "outcome": outcome, "result": _object(result)}
    return None


def json_text(value: Any) -> str:
    """A value as JSON text."""
    return msgspec.json.encode(value).decode()


def _object(text: str) -> Any:
    """Arguments of a tool as the object that they are; text that is none stays text."""
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        return text
