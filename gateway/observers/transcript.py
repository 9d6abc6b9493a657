"""The transcript of a call, with what was not heard marked as such.

Owns the lines that people read, in the order in which they were begun. Refuses to decide which words belong to which
turn (`gateway.observers.turn_fold`) and where a reply was cut (`gateway.words`). Keeps nothing beyond its call:
whoever makes it says what becomes of the lines.
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal

from msgspec import Struct

from gateway.commands import AskReply, Entry, Remember, ReplyHeard
from gateway.contracts import Observer, ObserverKind
from gateway.events import AgentSaid, CallerPrompted, CallInfo, UserSaid
from gateway.observers.turn_fold import TurnFold
from gateway.observers.turns import Clip, Reply, Turn, Utterance
from gateway.observers.typed_words import TypedWords
from gateway.terms import CallTerms

STRUCK: Final = "\x1b[9;2m{}\x1b[0m"
"""Struck through and faint, for terminals."""
UNKNOWN: Final = "how much was heard is not known"
"""Said of a reply whose sound went out and whose playback was never settled."""
BRACKETS: Final = "[{}]"
"""For everything else."""


class TranscriptLine(Struct, frozen=True):
    """One utterance, reply or house sound."""

    at: float
    """When it began, in monotonic seconds as in the journal."""
    speaker: Literal["user", "agent", "house"]
    """Who is heard."""
    text: str
    """All of it, spoken or not; of a house sound its name."""
    heard: str
    """What the caller heard of it; what the caller said itself counts as heard."""
    unheard: str
    """What the caller did not hear; ``heard`` and ``unheard`` add up to ``text``."""
    reply_id: str = ""
    """Of the agent's lines."""
    interrupted: bool = False
    """Whether the caller cut it off."""
    estimated: bool = False
    """Whether the place of the cut in the words is an estimate, for want of word times."""
    confirmed: bool = False
    """Whether the carrier's marks said what was heard; else it is estimated by pace."""
    known: bool = True
    """Whether it is known what the caller heard: not of a reply at whose sound the process or its journal ends."""
    source: Literal["final", "partial", "deltas", "keys", "clip"] = "final"
    """The agent's final text, a text that was never called final, words joined by us, keys, a house sound."""

    def render(self, *, color: bool = False) -> str:
        """One line for people; unheard words are struck through, or in brackets without colour."""
        text = self.heard.strip() if self.known else self.text.strip()
        if self.known and (unheard := self.unheard.strip()):
            text = f"{text} {(STRUCK if color else BRACKETS).format(unheard)}".lstrip()
        speaker = {"user": "caller", "agent": "agent", "house": "house"}[self.speaker]
        notes = ["cut estimated"] if self.estimated else []
        notes += [] if self.known else [UNKNOWN]
        notes += (
            ["playback estimated"] if self.speaker != "user" and self.heard and not self.confirmed else []
        )
        return f"{speaker}: {text}" + (f" ({', '.join(notes)})" if notes else "")


def transcript_of(turns: Iterable[Turn]) -> list[TranscriptLine]:
    """The lines of some turns; replies without words and house sounds that nobody heard are left out."""
    lines: list[TranscriptLine] = []
    for turn in turns:
        said = [_spoken(utterance) for utterance in turn.utterances]
        if turn.keys:
            at = turn.committed_at if turn.committed_at is not None else turn.began_at
            said.append(TranscriptLine(at, "user", turn.keys, turn.keys, "", source="keys"))
        answers = [_answered(reply) for reply in turn.replies if reply.text.strip()]
        answers += [_sounded(clip) for clip in turn.clips if clip.heard_ms > 0]
        # the transcript may come after the start of its reply: within a turn the caller comes first
        lines += said + sorted(answers, key=lambda line: line.at)
    return lines


def render_transcript(lines: Iterable[TranscriptLine], *, color: bool = False) -> str:
    """All lines for people."""
    return "\n".join(line.render(color=color) for line in lines)


class Transcript:
    """Reads a call's words; tells each line once, as soon as nothing about it can change any more."""

    def __init__(self, tell: Callable[[TranscriptLine], None] | None = None) -> None:
        self._fold = TurnFold()
        self._tell = tell
        self._told: set[str] = set()
        self._told_items: set[str] = set()
        self._typed = TypedWords()
        self.wants: tuple[type, ...] = self._fold.wants

    def see(self, entry: Entry) -> None:
        """Take note of an entry."""
        self._fold.see(entry)
        if self._tell is None:
            return
        match entry.item:
            case UserSaid(text=text, final=True, item_id=item_id) if text.strip():
                if not item_id or item_id not in self._told_items:
                    self._told_items.add(item_id)
                    self._tell(_spoken(Utterance(entry.at, text, True, item_id)))
            case CallerPrompted() | AskReply() as item:
                if words := self._typed.of(item):
                    self._tell(_spoken(Utterance(entry.at, words, final=True)))
            case Remember(fact=ReplyHeard(reply_id=reply_id)):
                self._tell_reply(self._fold.reply(reply_id))
            case AgentSaid(reply_id=reply_id, final=True):  # after an interruption the text follows the fact
                reply = self._fold.reply(reply_id)
                self._tell_reply(reply if reply and reply.settled else None)

    def close(self) -> None:
        """The call is over: tell of the replies that had words and no sound."""
        for turn in self._fold.turns:
            for reply in turn.replies:
                self._tell_reply(reply)

    @property
    def turns(self) -> list[Turn]:
        """The turns so far."""
        return self._fold.turns

    @property
    def lines(self) -> list[TranscriptLine]:
        """The transcript so far."""
        return transcript_of(self._fold.turns)

    def _tell_reply(self, reply: Reply | None) -> None:
        if self._tell and reply and reply.text.strip() and reply.reply_id not in self._told:
            self._told.add(reply.reply_id)
            self._tell(_answered(reply))


def transcript_kind(
    tell: Callable[[CallInfo, TranscriptLine], None] | None = None,
    done: Callable[[CallInfo, list[Turn], list[TranscriptLine]], None] | None = None,
) -> ObserverKind:
    """An observer kind that hands every call's lines on as they settle, and its turns and transcript at the end."""

    def watch(info: CallInfo, _terms: CallTerms) -> Observer:
        return _Handing(info, tell, done)

    return ObserverKind("transcript", watch)


class _Handing(Transcript):
    """A transcript that is handed on when its call ends."""

    def __init__(
        self,
        info: CallInfo,
        tell: Callable[[CallInfo, TranscriptLine], None] | None,
        done: Callable[[CallInfo, list[Turn], list[TranscriptLine]], None] | None,
    ) -> None:
        super().__init__((lambda line: tell(info, line)) if tell else None)
        self._info = info
        self._done = done

    def close(self) -> None:
        super().close()
        if self._done:
            self._done(self._info, self.turns, self.lines)


def _spoken(said: Utterance) -> TranscriptLine:
    return TranscriptLine(
        said.at, "user", said.text, said.text, "", source="final" if said.final else "partial"
    )


def _answered(reply: Reply) -> TranscriptLine:
    return TranscriptLine(
        at=reply.started_at,
        speaker="agent",
        text=reply.text,
        heard=reply.heard,
        unheard=reply.unheard,
        reply_id=reply.reply_id,
        interrupted=reply.interrupted,
        estimated=reply.estimated,
        confirmed=reply.confirmed,
        known=reply.settled or reply.audible_sent_at is None,
        source="final" if reply.source == "final" else "deltas",
    )


def _sounded(clip: Clip) -> TranscriptLine:
    return TranscriptLine(
        clip.at,
        "house",
        clip.name,
        clip.name,
        "",
        confirmed=clip.confirmed,
        source="clip",
        reply_id=f"clip:{clip.name}",
    )
