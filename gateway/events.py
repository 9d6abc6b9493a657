"""Every event: the vocabulary in which both sides of a call and the house say what happened.

An event is a fact, named in the past tense, and a value. Audio is always in the call's own format (`CallInfo.audio`):
a leg whose wire speaks another one converts. Times are milliseconds in fields ending in ``_ms``; the moment of an
event is not in it but in its `Entry`.
"""

import re
from typing import Literal

import msgspec

from gateway.audio import AudioFormat


def wire_name(class_name: str) -> str:
    """Name under which a class is written: ``ReplyStarted`` is ``reply.started``."""
    return re.sub(r"(?<!^)(?=[A-Z])", ".", class_name).lower()


class Event(msgspec.Struct, frozen=True, gc=False, tag=wire_name):
    """Something that has happened."""


class CallInfo(msgspec.Struct, frozen=True):
    """Who calls whom, over what; fixed when the call starts."""

    call_id: str
    """Ours, from the verified webhook or made at the door."""
    adapter: str
    """Name of the caller's dialect."""
    audio: AudioFormat
    """Format of all audio events and commands of this call."""
    caller: str = ""
    """Number or name of the calling party, as the verified carrier says; empty when unknown."""
    callee: str = ""
    """Number or name that was called."""
    carrier_call_id: str = ""
    """The carrier's own id of the call, from the verified webhook; used to hang up and to transfer."""
    parameters: dict[str, str] = {}
    """What the call document or the client's query added."""
    admitted_by: Literal["", "carrier", "key", "token", "machine"] = ""
    """What the door let the client in for, ``machine`` being that it is on this one and there are no keys; empty for carriers."""
    session_s: float | None = None
    """Longest call that the caller's token allows; None where it says nothing."""


Remedy = Literal["retry", "resume", "renew", "fallback"]
"""What an agent's failure asks for: the same again later, the same session, a new session, another agent."""


# Events from the caller


class CallStarted(Event, frozen=True):
    """The caller's media is open; always the first event of a call."""

    info: CallInfo
    """Who calls whom, over what."""
    raw: str = ""
    """The client's first `session.update`; empty in dialects without one."""


class CallerAudio(Event, frozen=True):
    """A piece of what the caller's side sounds like."""

    audio: bytes
    """In the call's format, any size."""
    level: float
    """Loudness in dBFS, -100 for digital silence."""


class CallerPressed(Event, frozen=True):
    """Keys were pressed on the telephone."""

    digits: str
    """0 to 9, * and #, in order."""


class CallerHeard(Event, frozen=True):
    """The carrier returned a mark: what was sent before it was played, or discarded by a clear."""

    mark: str
    """Name as given to `Mark`."""
    further_ms: float = 0.0
    """What was played of the sound behind the mark, where the far end says so."""


class CallerLost(Event, frozen=True):
    """The caller's connection broke; the call may come back."""

    reason: str
    """For people: what broke."""


class CallerReturned(Event, frozen=True):
    """The caller's media is open again on a new connection; nothing sent on the old one is still buffered."""

    info: CallInfo
    """As the new connection tells it; the call keeps its first one."""


class PulseChanged(Event, frozen=True):
    """The caller's line went quiet, an answer to our pings being overdue and nothing else coming; or it is heard again."""

    unproven_ms: float
    """For how long nothing has shown that what is sent arrives, what was sent before having arrived; 0 when it is heard again."""


class CallerLeft(Event, frozen=True):
    """The caller hung up, or the client ended the session."""

    reason: str
    """For people: how."""


class CallerConfigured(Event, frozen=True):
    """A client asked to change the session (`session.update`)."""

    raw: str
    """The message."""


class CallerPrompted(Event, frozen=True):
    """A client asked for a reply (`reply.create`)."""

    instructions: str
    """One-shot guidance; may be empty."""
    raw: str = ""
    """The message."""


class CallerAnsweredTool(Event, frozen=True):
    """A client answered a tool call of a tool that it declared (`tool.result`)."""

    tool_call_id: str
    """As given in the call."""
    result: str
    """Text for the agent, normally JSON."""
    failed: bool = False
    """The client's `is_error`."""


class CallerForwarded(Event, frozen=True):
    """A client sent a message of a type that we do not know; it goes to the agent as it is."""

    raw: str
    """The message."""


# Events from the agent


class AgentReady(Event, frozen=True):
    """The agent's session is open and takes audio."""

    session_id: str
    """The provider's, for resuming and for reading the session back."""
    resumed: bool = False
    """Whether this is the session that was lost."""
    raw: str = ""
    """The message."""


class SpeechStarted(Event, frozen=True):
    """The agent hears the caller speak; while it speaks itself, it has decided to be interrupted."""

    raw: str = ""
    """The message."""


class SpeechStopped(Event, frozen=True):
    """The agent takes the caller's turn as finished."""

    raw: str = ""
    """The message."""


class UserSaid(Event, frozen=True):
    """What the agent understood of the caller's words."""

    text: str
    """The whole utterance so far; replaces what came before for the same item."""
    final: bool
    """Whether it will not change any more."""
    item_id: str = ""
    """Groups one utterance."""
    raw: str = ""
    """The message."""


class ReplyStarted(Event, frozen=True):
    """The agent begins a reply; it may stay silent for seconds, or for ever."""

    reply_id: str
    """New for each reply."""
    raw: str = ""
    """The message."""


class ReplyAudio(Event, frozen=True):
    """A piece of a reply's sound, of any size, at any pace."""

    reply_id: str
    """The reply it belongs to; empty from agents that do not say."""
    audio: bytes
    """In the call's format."""
    level: float
    """Loudness in dBFS, -100 for digital silence."""


class AgentSaid(Event, frozen=True):
    """The words of a reply: one word at a time, or all of them."""

    reply_id: str
    """The reply they belong to."""
    text: str
    """One word to append, or with `final` the whole reply."""
    final: bool
    """Whether this is the whole reply."""
    interrupted: bool = False
    """Whether the agent cut the text at an interruption."""
    start_ms: int | None = None
    """Where the word begins in the reply's audio, when the agent says."""
    end_ms: int | None = None
    """Where the word ends in the reply's audio, when the agent says."""
    raw: str = ""
    """The message."""


class ReplyEnded(Event, frozen=True):
    """The agent sends no more of this reply; the caller may still be listening to it."""

    reply_id: str
    """The reply that ended."""
    interrupted: bool = False
    """Whether the caller interrupted it."""
    raw: str = ""
    """The message."""


class ToolCalled(Event, frozen=True):
    """The agent wants a tool run."""

    tool_call_id: str
    """To be given back with the result."""
    name: str
    """Name of the tool."""
    arguments: str
    """JSON text of an object."""
    informational: bool = False
    """The provider runs this tool itself; it must not be answered."""
    raw: str = ""
    """The message."""


class AgentWarned(Event, frozen=True):
    """The agent reported an error that does not end its session."""

    code: str
    """The provider's error code, lower case."""
    message: str = ""
    """The provider's words."""
    raw: str = ""
    """The message."""


class AgentForwarded(Event, frozen=True):
    """The agent sent a message of a type that we do not know; clients of its dialect get it as it is."""

    raw: str
    """The message."""


class AgentLost(Event, frozen=True):
    """The connection to the agent broke, or its session ended without our asking."""

    reason: str
    """For people: what broke."""
    remedy: Remedy = "resume"
    """What the loss asks for."""
    unheard_ms: float = 0.0
    """How much of what was sent last may not have arrived; 0 where nobody knows."""


class AgentRefused(Event, frozen=True):
    """The agent said no: to the connection, the configuration, the resumption or to going on."""

    code: str
    """The provider's error code, lower case."""
    message: str = ""
    """The provider's words."""
    remedy: Remedy = "fallback"
    """What the refusal asks for."""


class AgentQueued(Event, frozen=True):
    """A new session of the agent waits for its turn, so as not to be refused for coming too fast."""

    wait_s: float
    """How long, before the time that it has to become ready."""


# Events from the house


class ToolFinished(Event, frozen=True):
    """A tool that we ran has come to its end."""

    tool_call_id: str
    """As given in the call."""
    result: str
    """Text for the agent, JSON; for a failure a sentence in ``{"error": …}``."""
    failed: bool = False
    """Whether it failed."""
    outcome: str = "ok"
    """``ok``, ``error``, ``timeout``, ``invalid_arguments``, ``unknown_tool`` or ``cancelled``."""


class EndingAsked(Event, frozen=True):
    """A tool or an operator wants the call ended, once the last words were heard."""

    kind: Literal["hang_up", "transfer"]
    """How."""
    target: str = ""
    """Number to transfer to."""
    reason: str = ""
    """For people."""


class ReplyAsked(Event, frozen=True):
    """A tool or an operator wants the agent to say something."""

    instructions: str
    """Guidance for one reply."""


class ConfigurationAsked(Event, frozen=True):
    """A tool changed the agent's session from here on."""

    session: str
    """JSON text of the fields to change, as in the provider's `session.update`."""


class NoteAsked(Event, frozen=True):
    """A tool leaves a note in the call's journal."""

    text: str
    """As given."""


class ControlAnswered(Event, frozen=True):
    """The carrier answered a request to hang up or to transfer."""

    action: str
    """``hang_up`` or ``transfer``."""
    succeeded: bool
    """Whether the carrier did it, or it was already so."""
    detail: str = ""
    """For people."""


class HostContacted(Event, frozen=True):
    """A connection was begun for this call, or refused; a conversation goes on as if it had not been said."""

    host: str
    """Name under which the host is listed, or its address where no name is known."""
    address: str
    """IP address that was dialled; empty when it was refused before one was asked for."""
    port: int
    """Port."""
    purpose: str
    """``agent``, ``carrier``, ``tools``, ``telemetry`` or ``webhooks``."""
    region: str
    """Region whose book lists it for that; empty when none of the call's regions does."""
    refused: bool = False
    """Whether it was not let through, so that nothing was sent."""


class StopRequested(Event, frozen=True):
    """The process is going away and the drain time is over, or an operator ends this call."""

    reason: str = "the gateway is stopping"
    """For people."""


class TimeReached(Event, frozen=True):
    """The machine's deadline has come."""

    due_at: float = 0.0
    """The deadline, in the clock of `Entry.at`, so that a reader knows how late the clock was; 0 where nobody says."""


AnyEvent = (
    CallStarted | CallerAudio | CallerPressed | CallerHeard | CallerLost | CallerReturned | PulseChanged | CallerLeft
    | CallerConfigured | CallerPrompted | CallerAnsweredTool | CallerForwarded | AgentReady | SpeechStarted
    | SpeechStopped | UserSaid | ReplyStarted | ReplyAudio | AgentSaid | ReplyEnded | ToolCalled | AgentWarned
    | AgentForwarded | AgentLost | AgentRefused | AgentQueued | ToolFinished | EndingAsked | ReplyAsked
    | ConfigurationAsked | NoteAsked | ControlAnswered | HostContacted | StopRequested | TimeReached
)  # fmt: skip
