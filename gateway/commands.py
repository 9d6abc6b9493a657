"""Every command and fact: what the machine wants done, and what the house keeps of a conversation.

A command is a wish, named in the imperative. Facts are remembered in the journal beside the events. The rules of
`gateway.events` for audio and times hold here too.
"""

from typing import Literal

import msgspec

from gateway.events import AnyEvent, wire_name


class Command(msgspec.Struct, frozen=True, gc=False, tag=wire_name):
    """Something the machine wants done."""


class Fact(msgspec.Struct, frozen=True, tag=wire_name):
    """Something the house knows about the conversation and keeps."""


# Facts


class ReplyHeard(Fact, frozen=True):
    """How much of a reply reached the caller's ear; once per reply that had audio."""

    reply_id: str
    """The reply, or ``clip:NAME`` for a house sound."""
    sent_ms: float
    """Sent towards the caller."""
    heard_ms: float
    """Played to the caller."""
    cut_ms: float
    """Known to us and never heard: sent and cleared, or never sent."""
    confirmed: bool
    """True when the carrier's marks said so, False when estimated by pace."""
    interrupted: bool
    """Whether the caller cut it off."""
    audible_from_ms: float | None = None
    """Position of the first audible sample heard; None when nothing audible was."""


class GapClosed(Fact, frozen=True):
    """An agent was lost and the conversation goes on."""

    gap_ms: float
    """From the loss to the next agent's readiness."""
    rung: str
    """``token``, ``key``, ``new`` or ``fallback``: what brought it back."""
    agent: str
    """Name of the agent that goes on."""


class CaughtUp(Fact, frozen=True):
    """The caller's kept audio has been passed on after a gap."""

    kept_ms: float
    """Passed on late."""
    dropped_ms: float
    """Too old, never passed on."""


class EndingSettled(Fact, frozen=True):
    """What became of a decided ending."""

    kind: str
    """``hang_up`` or ``transfer``."""
    outcome: Literal["confirmed", "estimated", "unconfirmed", "cancelled"]
    """Last words heard by marks or by pace; waited in vain; or the caller interrupted."""


class WatchdogFired(Fact, frozen=True):
    """Something that should have happened did not."""

    kind: Literal[
        "no_ready",
        "deaf_agent",
        "stalled_reply",
        "silent_reply",
        "unheard_caller",
        "lost_mark",
        "silent_line",
    ]
    """Which watch it was."""
    detail: str = ""
    """For people."""


class Oddity(Fact, frozen=True):
    """A peer did what its reference says cannot happen; it was ignored."""

    event: str
    """Wire name of the event."""
    why: str
    """For people."""


class NoteTaken(Fact, frozen=True):
    """A tool left a note in the journal."""

    text: str
    """As given."""


class CallEnded(Fact, frozen=True):
    """The call is over; always the last fact."""

    reason: str
    """``caller_left``, ``agent_hung_up``, ``transferred``, ``caller_lost``, ``agent_lost``, ``limit``,
    ``silence``, ``stopped``, ``refused`` (a client's session could not begin as it wanted) or ``bug``."""
    detail: str = ""
    """For people."""


AnyFact = ReplyHeard | GapClosed | CaughtUp | EndingSettled | WatchdogFired | Oddity | NoteTaken | CallEnded

# Commands to the caller


class Play(Command, frozen=True):
    """Send a piece of a reply to the caller; at most 20 ms, in order."""

    reply_id: str
    """The reply it belongs to."""
    audio: bytes
    """In the call's format."""


class PlayClip(Command, frozen=True):
    """Send a piece of a house sound to the caller."""

    clip: str
    """Name of the sound."""
    at_ms: float
    """Where the piece begins in the sound."""
    ms: float
    """How long it is."""


class Mark(Command, frozen=True):
    """Ask the carrier to say when everything sent so far has been played."""

    name: str
    """To be returned in `CallerHeard`."""


class Clear(Command, frozen=True):
    """Drop everything that the caller's side has buffered."""


class Tell(Command, frozen=True):
    """Show the caller's client an event of the agent, where its dialect has words for it."""

    event: AnyEvent
    """An event of the agent."""


class TellHeard(Command, frozen=True):
    """Tell the caller's client how much of a reply was heard, where its dialect has words for it."""

    fact: ReplyHeard
    """What was heard."""


class SendDigits(Command, frozen=True):
    """Send telephone keys towards the caller."""

    digits: str
    """0 to 9, * and #."""


class HangUp(Command, frozen=True):
    """End the caller's side; exactly once per call."""

    reason: str
    """For people."""


class Transfer(Command, frozen=True):
    """Hand the caller over to another number; the call's media ends with it."""

    target: str
    """Number in E.164 form, or what the carrier takes."""


# Commands to the agent


class HeardLine(msgspec.Struct, frozen=True):
    """One line of the conversation as both sides know it."""

    speaker: Literal["user", "agent"]
    """Who said it."""
    text: str
    """What was said; of the agent's words only those that were heard."""


class OpenAgent(Command, frozen=True):
    """Open a session with an agent."""

    agent: str
    """Name in the configuration."""
    rung: Literal["new", "token", "key"] = "new"
    """A new session, or resuming the lost one with its resume token or with the key."""
    after_s: float = 0.0
    """Wait before trying; the runtime adds some jitter."""
    history: tuple[HeardLine, ...] = ()
    """The conversation so far, for a new session in the middle of a call (no greeting then)."""
    session: str = ""
    """JSON text of the fields that the caller's client has set besides the route's; empty when there are none."""


class Configure(Command, frozen=True):
    """Change the agent's session."""

    session: str
    """JSON text of the fields to change."""
    by_client: bool = False
    """Whether the caller's client wants it: its fields lie over the route's, its tools stand beside them."""


class SendAudio(Command, frozen=True):
    """Let the agent hear the caller."""

    audio: bytes
    """In the call's format."""


class SendResult(Command, frozen=True):
    """Give the agent a tool's result."""

    tool_call_id: str
    """As given in the call."""
    result: str
    """Text for the agent, JSON."""
    failed: bool = False
    """Whether the tool failed."""


class AskReply(Command, frozen=True):
    """Ask the agent to speak."""

    instructions: str
    """Guidance for this reply; may be empty."""
    raw: str = ""
    """The message of the client that asks, where the agent may be given that."""


class Forward(Command, frozen=True):
    """Pass a client's message on to the agent as it is."""

    raw: str
    """The message."""


class CloseAgent(Command, frozen=True):
    """End the agent's session; nothing is billed after its answer."""


# Commands to the house


class RunTool(Command, frozen=True):
    """Run one of our tools."""

    tool_call_id: str
    """To be given back with the result."""
    name: str
    """Name of the tool."""
    arguments: str
    """JSON text of an object."""


class AbandonTool(Command, frozen=True):
    """Nobody waits for this tool's answer any more."""

    tool_call_id: str
    """As given in the call."""
    cancel: bool = False
    """Cut it short; only for tools that are declared cancellable."""


class Remember(Command, frozen=True):
    """Keep a fact in the journal."""

    fact: AnyFact
    """What to keep."""


CallerCommand = Play | PlayClip | Mark | Clear | Tell | TellHeard | SendDigits | HangUp | Transfer
AgentCommand = Configure | SendAudio | SendResult | AskReply | Forward | CloseAgent

AnyCommand = CallerCommand | AgentCommand | OpenAgent | RunTool | AbandonTool | Remember


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line of a call's journal."""

    at: float
    """Monotonic seconds of the process that wrote it."""
    item: AnyEvent | AnyCommand
    """What happened or was wished."""
