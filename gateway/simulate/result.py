"""What came of a simulated call: the facts a judge of the gateway needs, all on the caller's side.

Owns the shapes only. All moments are seconds since the call was answered, on the caller's one clock.
"""

import msgspec

from gateway.audio import AudioFormat
from gateway.simulate.ear import Interval
from gateway.simulate.playback import PlayedMark


class Note(msgspec.Struct, frozen=True):
    """One thing that happened, told to the observer as it happens."""

    at_s: float
    """When it was told: notes are in order, and a silence is known only after a while."""
    kind: str
    """``answered`` ``socket`` ``said`` ``pressed`` ``heard`` ``silent`` ``clear`` ``mark`` ``event`` ``document``
    ``warning`` ``ended``."""
    text: str
    """A line for people."""


class Message(msgspec.Struct, frozen=True):
    """A message that the gateway sent."""

    at_s: float
    """When it was read."""
    kind: str
    """``audio``, or the name of the dialect's message."""
    text: str
    """The message itself; empty for audio."""
    size_bytes: int
    """Bytes of audio, or characters of text."""


class ClearHeard(msgspec.Struct, frozen=True):
    """The gateway told the caller's side to stop playing."""

    at_s: float
    """When."""
    discarded_ms: float
    """Audio that was sent and never heard."""
    received_bytes: int
    """How much of `CallResult.received_audio` had come before it."""


class CallWarning(msgspec.Struct, frozen=True):
    """Something a real carrier would complain about."""

    at_s: float
    """When."""
    code: int
    """The carrier's number for it; 0 where it has none."""
    text: str
    """A sentence."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance of ours and what followed, measured from audio and clocks alone."""

    label: str
    """What was said."""
    spoken: Interval
    """Our own speech, from its first to its last audible moment."""
    over: bool
    """The agent was audible when we began."""
    answered_at_s: float | None = None
    """First audible sample of the answer."""
    latency_ms: float | None = None
    """End of our speech to `answered_at_s`; negative when the agent did not wait for the end."""
    clear_after_ms: float | None = None
    """When we talked over the agent: our first sound to the clear."""
    silent_after_ms: float | None = None
    """When we talked over the agent: our first sound to its last."""


class Pacing(msgspec.Struct, frozen=True):
    """How punctual the simulated caller itself was; above 2 ms its other numbers are too coarse for a benchmark."""

    frames: int = 0
    """Frames sent."""
    late_p99_ms: float = 0.0
    """99th percentile of how late a frame was sent."""
    late_max_ms: float = 0.0
    """The latest frame."""


class CallResult(msgspec.Struct, kw_only=True):
    """Everything that can be known of a call on the caller's side."""

    end_reason: str
    """``caller_hung_up`` ``unanswered`` ``max_seconds`` ``agent_hung_up`` ``carrier_hung_up`` ``transferred``
    ``rejected`` ``socket_killed`` ``refused`` ``failed``."""
    failure: str | None = None
    """Why the call failed, in a sentence."""
    refused_status: int | None = None
    """HTTP status with which the webhook or the upgrade was refused."""
    close_code: int | None = None
    """WebSocket close code of the last media socket; 1006 where none was received."""
    close_reason: str = ""
    """What the gateway said when it closed."""
    format: AudioFormat
    """Format of the line both ways."""
    duration_s: float = 0.0
    """From the answer to the end."""
    turns: list[Turn] = []
    """Our utterances in order."""
    unsaid: list[str] = []
    """Utterances that were never begun."""
    first_heard_s: float | None = None
    """First audible sample of the call."""
    heard: list[Interval] = []
    """When the agent could be heard."""
    spoken: list[Interval] = []
    """When the caller could be heard."""
    dead_air: list[Interval] = []
    """Stretches of two seconds and more in which nobody could be heard."""
    longest_silence_ms: float = 0.0
    """The longest stretch in which nobody could be heard."""
    most_queued_ms: float = 0.0
    """The most audio that ever waited in the carrier's buffer."""
    received_audio: bytes = b""
    """The agent's audio as it came, every byte in order."""
    heard_audio: bytes = b""
    """What reached the ear from the answer on, silence included, in the line's format."""
    sent_audio: bytes = b""
    """Our audio as it was sent, every byte in order."""
    said_audio: bytes = b""
    """What the caller said from the answer on, sent or not, in the line's format."""
    clears: list[ClearHeard] = []
    """Clears in order."""
    marks: list[PlayedMark] = []
    """Marks in the order in which they came back."""
    messages: list[Message] = []
    """What the gateway sent, in order."""
    events: list[dict[str, object]] = []
    """Events of the Voice Agent API that a client got, in order."""
    warnings: list[CallWarning] = []
    """What a real carrier would complain about."""
    socket_gaps: list[Interval] = []
    """Between the loss of one media socket and the start of the next."""
    sockets: int = 0
    """Media sockets that were opened."""
    documents: list[str] = []
    """Call documents (TwiML) that were carried out."""
    carrier_said: list[str] = []
    """Texts and sounds that documents had the carrier play."""
    dialled: list[str] = []
    """Where documents sent the call."""
    pacing: Pacing = Pacing()
    """How punctual we were."""

    @property
    def agent_was_heard(self) -> bool:
        """Anything audible reached the ear."""
        return bool(self.heard)
