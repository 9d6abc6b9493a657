"""Turns that are still being folded; `record` makes what others may keep.

Owns what is remembered of a turn and a reply between two entries of the journal. Refuses to decide what belongs
where, which `gateway.observers.turn_fold` does; pure like it.
"""

from typing import Final

from msgspec import Struct, field

from gateway.commands import ReplyHeard
from gateway.observers.turns import Clip, Gap, Reply, ToolUse, Turn, Utterance
from gateway.words import ReplyWords

_PLAYS: Final = 1500
"""Pieces of a reply whose sending is remembered: half a minute, longer than any silence in front."""


class ReplyDraft(Struct):
    """A reply so far."""

    turn: "TurnDraft"
    reply_id: str
    started_at: float
    words: ReplyWords
    first_audio_at: float | None = None
    received_ms: float = 0.0
    audible_from_ms: float | None = None
    sent: list[tuple[float, float]] = field(default_factory=list)
    """Of each piece sent: when, and where in the reply it ends."""
    ended_at: float | None = None
    interrupted: bool = False
    fact: ReplyHeard | None = None

    @property
    def audible_sent_at(self) -> float | None:
        """As in `Reply`."""
        place = self.audible_from_ms
        if self.fact is not None and self.fact.audible_from_ms is not None:
            place = self.fact.audible_from_ms
        if place is None:
            return None
        return next((at for at, end_ms in self.sent if end_ms > place), None)

    def is_early(self, earliest: float) -> bool:
        """Whether it may answer words that are told only now: just started, and neither heard of nor ended."""
        return self.audible_from_ms is None and self.ended_at is None and self.started_at >= earliest

    def note_sent(self, at: float, ms: float) -> None:
        """A piece of it was sent to the caller."""
        if len(self.sent) < _PLAYS:
            self.sent.append((at, (self.sent[-1][1] if self.sent else 0.0) + ms))

    def record(self) -> Reply:
        """What is known of it."""
        fact = self.fact
        heard, unheard = self.words.split_by(fact) if fact else ("", self.words.text)
        return Reply(
            reply_id=self.reply_id,
            started_at=self.started_at,
            first_audio_at=self.first_audio_at,
            audible_sent_at=self.audible_sent_at,
            ended_at=self.ended_at,
            interrupted=self.interrupted or bool(fact and fact.interrupted),
            settled=fact is not None,
            sent_ms=fact.sent_ms if fact else 0.0,
            heard_ms=fact.heard_ms if fact else 0.0,
            cut_ms=fact.cut_ms if fact else 0.0,
            confirmed=fact is not None and fact.confirmed,
            text=self.words.text,
            heard=heard,
            unheard=unheard,
            estimated=bool(heard and unheard) and not self.words.timed,
            source=self.words.source,
        )


class TurnDraft(Struct):
    """A turn so far."""

    began_at: float
    ended_at: float
    user: bool = False
    """Whether the caller spoke or pressed a key in it."""
    audible: bool = False
    """Whether sound of one of its replies has come."""
    speech_started_at: float | None = None
    speech_stopped_at: float | None = None
    caller_started_at: float | None = None
    caller_stopped_at: float | None = None
    committed_at: float | None = None
    understood_at: float | None = None
    interrupted_at: float | None = None
    cleared_at: float | None = None
    utterances: list[Utterance] = field(default_factory=list)
    keys: str = ""
    replies: list[ReplyDraft] = field(default_factory=list)
    tools: dict[str, ToolUse] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether it was a noise only."""
        return not (self.utterances or self.keys or self.replies or self.tools or self.gaps or self.clips)

    def record(self, number: int) -> Turn:
        """What is known of it, under its number in the call."""
        return Turn(
            number=number,
            began_at=self.began_at,
            ended_at=self.ended_at,
            speech_started_at=self.speech_started_at,
            speech_stopped_at=self.speech_stopped_at,
            caller_started_at=self.caller_started_at,
            caller_stopped_at=self.caller_stopped_at,
            committed_at=self.committed_at,
            understood_at=self.understood_at,
            interrupted_at=self.interrupted_at if self.cleared_at is not None else None,
            cleared_at=self.cleared_at,
            utterances=tuple(self.utterances),
            keys=self.keys,
            replies=tuple(reply.record() for reply in self.replies),
            tools=tuple(self.tools.values()),
            gaps=tuple(self.gaps),
            clips=tuple(self.clips),
        )
