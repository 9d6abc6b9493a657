"""Turns: what a call's journal says about each exchange; every latency is defined here, once.

Owns the records and the definitions. Refuses input and output, clocks and logging; `gateway.observers.turn_fold`
makes the records. Moments are monotonic seconds as in the journal, durations milliseconds; what was not seen
is None, and so is a latency whose end lies before its beginning.
"""

from msgspec import Struct


def _ms(begin: float | None, end: float | None) -> float | None:
    """Milliseconds from one moment to another; None when one is missing or they are the wrong way round."""
    if begin is None or end is None or end < begin:
        return None
    return (end - begin) * 1000


class Utterance(Struct, frozen=True):
    """Words of the caller as the agent understood them, or as they were typed."""

    at: float
    """First news of it."""
    text: str
    """As last told."""
    final: bool
    """Whether the agent called it final; typed words always are."""
    item_id: str = ""
    """The agent's name for it; empty for typed words."""


class ToolUse(Struct, frozen=True):
    """One call of a tool."""

    tool_call_id: str
    """The agent's name for it."""
    name: str
    """Name of the tool."""
    called_at: float
    """`ToolCalled`."""
    finished_at: float | None = None
    """`ToolFinished`, or the answer of a client that runs the tool itself."""
    answered_at: float | None = None
    """`SendResult`, the first."""
    outcome: str = ""
    """As in `ToolFinished`; empty while it runs and for tools that the provider runs."""
    abandoned: bool = False
    """Whether its answer was not wanted any more."""
    informational: bool = False
    """Whether the provider runs it."""

    @property
    def duration_ms(self) -> float | None:
        """From `ToolCalled` to the tool's end."""
        return _ms(self.called_at, self.finished_at)

    @property
    def answer_ms(self) -> float | None:
        """From `ToolCalled` to the moment at which its result was given to the agent."""
        return _ms(self.called_at, self.answered_at)


class Gap(Struct, frozen=True):
    """A stretch without an agent that was bridged."""

    at: float
    """When it closed."""
    gap_ms: float
    """From the loss to the next agent's readiness."""
    rung: str
    """What brought it back."""
    agent: str
    """Name of the agent that goes on."""


class Clip(Struct, frozen=True):
    """A house sound."""

    at: float
    """When its playback was settled."""
    name: str
    """Name of the sound."""
    heard_ms: float
    """What the caller heard of it."""
    confirmed: bool
    """Whether the carrier said so."""


class Reply(Struct, frozen=True):
    """One reply of the agent; a turn may have several, and some of them silent."""

    reply_id: str
    """The agent's name for it."""
    started_at: float
    """`ReplyStarted`, or the first sign of a reply that was never announced."""
    first_audio_at: float | None = None
    """First `ReplyAudio`, silent or not."""
    audible_sent_at: float | None = None
    """`Play` of the piece that holds the first audible sample.

    Its place is `ReplyHeard.audible_from_ms`, else the beginning of the first `ReplyAudio` at or above
    `AUDIBLE_DBFS`. None for a reply that stayed silent for its first half minute."""
    ended_at: float | None = None
    """`ReplyEnded`, the first."""
    interrupted: bool = False
    """Whether the agent or the ledger says that the caller cut it off."""
    settled: bool = False
    """Whether its playback is known; what follows is, until then, zero."""
    sent_ms: float = 0.0
    """Sent towards the caller."""
    heard_ms: float = 0.0
    """Played to the caller."""
    cut_ms: float = 0.0
    """Known to us and never heard."""
    confirmed: bool = False
    """Whether the carrier's marks said so; else it is estimated by pace."""
    text: str = ""
    """The words as composed, spoken or not."""
    heard: str = ""
    """The words that the caller heard."""
    unheard: str = ""
    """The words that the caller did not hear; all of them until the playback is known."""
    estimated: bool = False
    """Whether the place of the cut in the words is estimated."""
    source: str = ""
    """Where the words come from: ``final`` or ``deltas``; empty when there are none."""


class Turn(Struct, frozen=True):
    """A user utterance with the reply to it; one without user words is a greeting or a reply asked for.

    Speech that comes before any reply of the turn was audible belongs to the same turn: the agent merges it
    (reference: Voice Agent API, 2.4).
    """

    number: int
    """From 1."""
    began_at: float
    """First sign of it."""
    ended_at: float
    """Last sign of it, playback included."""
    speech_started_at: float | None = None
    """`SpeechStarted`, the first of the turn."""
    speech_stopped_at: float | None = None
    """`SpeechStopped`, the last one before an audible reply."""
    caller_started_at: float | None = None
    """When the caller really began, by the level of its audio.

    Arrival of the first audible frame of the stretch of sound in which the agent noticed the speech; a stretch ends
    after 700 ms below `AUDIBLE_DBFS`."""
    caller_stopped_at: float | None = None
    """When the caller really stopped, by the level of its audio.

    Arrival of the last frame at or above `AUDIBLE_DBFS` before `committed_at`; None when there was none since the turn
    before. A noisy line delays it, so it never makes a latency look longer than it was."""
    committed_at: float | None = None
    """When the agent took the caller's turn as finished.

    The first of `SpeechStopped`, final `UserSaid` and `ReplyStarted` since the caller last began to speak: their order
    varies. For a turn without user words, the `AgentReady` or `AskReply` that led to it; for keys and for typed lines, the
    last of them."""
    understood_at: float | None = None
    """Final `UserSaid`, the last."""
    interrupted_at: float | None = None
    """The agent's signal that the caller cuts in: `SpeechStarted` or `ReplyEnded` (interrupted), what came first."""
    cleared_at: float | None = None
    """The `Clear` that followed that signal."""
    utterances: tuple[Utterance, ...] = ()
    """What the caller said, in order."""
    keys: str = ""
    """Telephone keys that the caller pressed."""
    replies: tuple[Reply, ...] = ()
    """What the agent answered, in order."""
    tools: tuple[ToolUse, ...] = ()
    """What it called meanwhile."""
    gaps: tuple[Gap, ...] = ()
    """Losses of the agent that ended in this turn."""
    clips: tuple[Clip, ...] = ()
    """House sounds that ended in this turn."""

    @property
    def user_text(self) -> str:
        """All that the caller said."""
        return " ".join(utterance.text for utterance in self.utterances)

    @property
    def heard_text(self) -> str:
        """All that the caller heard of the agent."""
        return " ".join(reply.heard.strip() for reply in self.replies if reply.heard)

    @property
    def is_greeting(self) -> bool:
        """Whether the agent speaks without having been spoken to."""
        return not self.utterances and not self.keys and self.speech_started_at is None

    @property
    def was_interrupted(self) -> bool:
        """Whether the caller cut a reply of the turn off."""
        return any(reply.interrupted for reply in self.replies)

    @property
    def audible_sent_at(self) -> float | None:
        """When the first audible sample of any of its replies was sent to the caller."""
        return min((r.audible_sent_at for r in self.replies if r.audible_sent_at is not None), default=None)

    @property
    def duration_ms(self) -> float:
        """From the first to the last sign of the turn."""
        return (self.ended_at - self.began_at) * 1000

    @property
    def speech_delay_ms(self) -> float | None:
        """From the caller's first audible frame to `SpeechStarted`: how long the agent took to notice."""
        return _ms(self.caller_started_at, self.speech_started_at)

    @property
    def end_of_turn_delay_ms(self) -> float | None:
        """From the caller's last audible frame to the commit: how long the agent waited for more."""
        return _ms(self.caller_stopped_at, self.committed_at)

    @property
    def transcript_ms(self) -> float | None:
        """From the commit to the final transcript."""
        return _ms(self.committed_at, self.understood_at)

    @property
    def first_audio_ms(self) -> float | None:
        """From the commit to the first `ReplyAudio`, silent or not."""
        firsts = [r.first_audio_at for r in self.replies if r.first_audio_at is not None]
        return _ms(self.committed_at, min(firsts, default=None))

    @property
    def first_audible_ms(self) -> float | None:
        """From the commit to the first audible sample sent to the caller."""
        return _ms(self.committed_at, self.audible_sent_at)

    @property
    def user_bot_latency_ms(self) -> float | None:
        """From the caller's last audible frame to the first audible sample sent to the caller."""
        return _ms(self.caller_stopped_at, self.audible_sent_at)

    @property
    def barge_in_ms(self) -> float | None:
        """From the agent's signal that the caller cuts in to our `Clear`."""
        return _ms(self.interrupted_at, self.cleared_at)

    @property
    def gap_ms(self) -> float:
        """Time without an agent."""
        return sum(gap.gap_ms for gap in self.gaps)

    @property
    def sent_ms(self) -> float:
        """Sent to the caller, of all replies."""
        return sum(reply.sent_ms for reply in self.replies)

    @property
    def heard_ms(self) -> float:
        """Heard by the caller, of all replies."""
        return sum(reply.heard_ms for reply in self.replies)

    @property
    def cut_ms(self) -> float:
        """Never heard by the caller, of all replies."""
        return sum(reply.cut_ms for reply in self.replies)
