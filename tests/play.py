"""A tiny language for plays: conversations written as a script of events, waits and what must follow.

`Play` drives one machine in its own time. `FarEnd` is an exact model of a carrier's playback buffer, written from
the reference (carriers, 1.4 to 1.6) and not from our ledger.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from gateway.audio import MULAW_8K, AudioFormat
from gateway.call.conversation import Phase
from gateway.call.machine import CallMachine
from gateway.commands import AnyCommand, Clear, Mark, OpenAgent, Remember, Tell, TellHeard
from gateway.commands import Play as PlayPiece
from gateway.commands import PlayClip as PlayClipPiece
from gateway.events import (
    AgentReady,
    AnyEvent,
    CallerAudio,
    CallerHeard,
    CallInfo,
    CallStarted,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    TimeReached,
)
from gateway.terms import AgentTerms, CallTerms

INFO = CallInfo("call-1", "twilio", MULAW_8K, caller="+15550001", callee="+15550002")
LOUD, SILENT = -20.0, -100.0


class Heard(NamedTuple):
    """Consecutive pieces of one reply that were sent, as one item of a script."""

    reply_id: str
    ms: float


class Clip(NamedTuple):
    """Consecutive pieces of one house sound that were sent, as one item of a script."""

    name: str
    ms: float


Item = Any
"""A command, a fact that is remembered, `Heard` or `Clip`."""
QUIET = {Tell, TellHeard, Mark, Heard, Clip}
"""Left out of comparisons unless a script names one of that type; facts are too."""


def terms(*agents: AgentTerms, **changes: Any) -> CallTerms:
    """Terms of a call over a carrier with marks and clears, with a fallback agent."""
    fields: dict[str, Any] = {
        "agents": agents or (AgentTerms("main"), AgentTerms("spare")),
        "audio": MULAW_8K,
        "marks": True,
        "clears": True,
        "lead_ms": 2000.0,
        "clips": {"hold": 3000.0, "apology": 2000.0},
    }
    return CallTerms(**(fields | changes))


def sound(ms: float, *, loud: bool = True, audio: AudioFormat = MULAW_8K, start_ms: float = 0) -> bytes:
    """Bytes that differ from place to place, or digital silence."""
    if not loud:
        return audio.silence(ms)
    size = audio.frame_bytes(ms)
    first = int(start_ms * audio.bytes_per_ms)
    return bytes((at // 8) % 96 for at in range(first, first + size))


def reply_audio(
    ms: float, reply_id: str = "r1", *, loud: bool = True, chunk_ms: float = 20, start_ms: float = 0
) -> list[AnyEvent]:
    """A stretch of a reply in chunks."""
    whole = sound(ms, loud=loud, start_ms=start_ms)
    size = MULAW_8K.frame_bytes(chunk_ms)
    level = LOUD if loud else SILENT
    return [ReplyAudio(reply_id, whole[at : at + size], level) for at in range(0, len(whole), size)]


def reply(ms: float, reply_id: str = "r1", *, silence_ms: float = 0) -> list[AnyEvent]:
    """A whole reply in one burst, perhaps with silence in front."""
    quiet = reply_audio(silence_ms, reply_id, loud=False) if silence_ms else []
    return [ReplyStarted(reply_id), *quiet, *reply_audio(ms, reply_id), ReplyEnded(reply_id)]


def caller_audio(ms: float = 20, level: float = SILENT, tag: int = 0) -> CallerAudio:
    """A frame of the caller; the tag tells frames apart."""
    return CallerAudio(tag.to_bytes(4, "big") + bytes(MULAW_8K.frame_bytes(ms) - 4), level)


class FarEnd:
    """A carrier that plays what it gets, in order, at real time, and says so by marks."""

    def __init__(self, *, clears: bool = True, answers: bool = True, latency_s: float = 0.0) -> None:
        self.clears = clears
        self.answers = answers
        self.latency_s = latency_s
        self.dry_at = 0.0
        self.stretches: list[tuple[float, float, str, bytes]] = []  # begins at, ends at, whose, what
        self.marks: list[tuple[float, str]] = []

    def take(self, command: AnyCommand, now: float) -> None:
        """Carry out a command."""
        match command:
            case PlayPiece(reply_id=whose, audio=audio):
                self._buffer(now, MULAW_8K.ms(len(audio)), whose, audio)
            case PlayClipPiece(clip=clip, ms=ms):
                self._buffer(now, ms, f"clip:{clip}", b"")
            case Mark(name=name) if self.answers:
                self.marks.append((max(now, self.dry_at) + self.latency_s, name))
            case Clear() if self.clears:
                self.drop(now)
                self.marks = [(min(at, now + self.latency_s), name) for at, name in self.marks]

    def drop(self, now: float) -> None:
        """What is buffered will never be played."""
        kept = []
        for begins, ends, whose, audio in self.stretches:
            if begins < now:
                played = audio[: MULAW_8K.frame_bytes((min(ends, now) - begins) * 1000)]
                kept.append((begins, min(ends, now), whose, played))
        self.stretches = kept
        self.dry_at = min(self.dry_at, now)

    def heard_ms(self, whose: str, now: float) -> float:
        """How much of a sound has been played."""
        return sum(
            (min(ends, now) - begins) * 1000
            for begins, ends, of, _ in self.stretches
            if of == whose and begins < now
        )

    def heard(self, whose: str) -> bytes:
        """The sound itself, in the end."""
        return b"".join(audio for _, _, of, audio in self.stretches if of == whose)

    def buffered_ms(self, now: float) -> float:
        """What is still to be played."""
        return max(0.0, self.dry_at - now) * 1000

    def returned(self, until: float) -> tuple[float, str] | None:
        """The next mark that comes back by then."""
        due = [mark for mark in self.marks if mark[0] <= until]
        if not due:
            return None
        self.marks.remove(due[0])
        return due[0]

    def _buffer(self, now: float, ms: float, whose: str, audio: bytes) -> None:
        begins = max(now, self.dry_at)
        self.dry_at = begins + ms / 1000
        self.stretches.append((begins, self.dry_at, whose, audio))


class Play:
    """One conversation on stage."""

    def __init__(
        self, call_terms: CallTerms | None = None, *, strict: bool = True, far_end: FarEnd | None = None
    ) -> None:
        self.terms = call_terms or terms()
        self.machine = CallMachine(self.terms, strict=strict)
        self.far_end = far_end or FarEnd(clears=self.terms.clears, answers=self.terms.marks)
        self.now = 100.0
        self.commands: list[AnyCommand] = []
        self.steps = 0

    @classmethod
    def talking(cls, call_terms: CallTerms | None = None, **options: Any) -> "Play":
        """A play that begins with both sides connected."""
        play = cls(call_terms, **options)
        play.on(CallStarted(INFO), OpenAgent(play.machine.agent))
        play.on(AgentReady("session-1"))
        return play

    def is_in(self, phase: Phase) -> bool:
        """Whether the conversation is in this phase."""
        return self.machine.phase is phase

    def has_deadline(self) -> bool:
        """Whether the machine wants to be told when some time has come."""
        return self.machine.deadline is not None

    def on(self, event: AnyEvent | Iterable[AnyEvent], *expected: Item) -> list[AnyCommand]:
        """Let one or more things happen now; compare what follows, unless nothing is expected by name.

        `Ellipsis` as the only expectation compares nothing; no expectation means that nothing but what is
        ordinarily left out may follow.
        """
        events: Iterable[AnyEvent] = event if isinstance(event, Iterable) else [event]
        commands = [command for each in events for command in self._step(each)]
        self._compare(commands, expected)
        return commands

    def wait(self, seconds: float, *expected: Item) -> list[AnyCommand]:
        """Let time pass: deadlines are kept, marks come back."""
        until = self.now + seconds
        commands: list[AnyCommand] = []
        while not self.is_in(Phase.ENDED):
            deadline = self.machine.deadline
            mark = self.far_end.returned(min(until, deadline if deadline is not None else until))
            if mark is not None:
                self.now = max(self.now, mark[0])
                commands += self._step(CallerHeard(mark[1]))
            elif deadline is not None and deadline <= until:
                assert deadline > self.now, f"the deadline {deadline} is not after {self.now}"
                self.now = deadline
                commands += self._step(TimeReached())
            else:
                break
        self.now = until
        self._compare(commands, expected)
        return commands

    def until(self, phase: Phase, limit_s: float = 120.0) -> list[AnyCommand]:
        """Let time pass until a phase is reached."""
        start = self.now
        commands: list[AnyCommand] = []
        while not self.is_in(phase):
            assert self.now - start < limit_s, f"{self.machine.phase} after {limit_s} s, not {phase}"
            deadline = self.machine.deadline
            commands += self.wait(max(0.001, (deadline or self.now + limit_s) - self.now), ...)
        return commands

    def items(self, *kinds: type) -> list[Item]:
        """Everything of these types that followed so far, facts included."""
        return [item for item in _items(self.commands) if type(item) in kinds]

    def _step(self, event: AnyEvent) -> list[AnyCommand]:
        self.steps += 1
        commands = self.machine.receive(event, self.now)
        for command in commands:
            self.far_end.take(command, self.now)
        self.commands += commands
        return commands

    @staticmethod
    def _compare(commands: list[AnyCommand], expected: tuple[Item, ...]) -> None:
        if expected == (...,):
            return
        named = {type(item) for item in expected}
        seen = [i for i in _items(commands) if type(i) in named or not _is_quiet(i)]
        assert seen == list(expected), f"\nfollowed {seen}\nexpected {list(expected)}"


def _is_quiet(item: Item) -> bool:
    return type(item) in QUIET or type(item).__name__ in {
        "ReplyHeard", "GapClosed", "CaughtUp", "EndingSettled", "WatchdogFired", "Oddity", "NoteTaken", "CallEnded",
    }  # fmt: skip


def _items(commands: list[AnyCommand]) -> list[Item]:
    items: list[Item] = []
    for command in commands:
        match command:
            case Remember(fact=fact):
                items.append(fact)
            case PlayPiece(reply_id=reply_id, audio=audio):
                _lengthen(items, Heard(reply_id, MULAW_8K.ms(len(audio))))
            case PlayClipPiece(clip=clip, ms=ms):
                _lengthen(items, Clip(clip, ms))
            case _:
                items.append(command)
    return items


def _lengthen(items: list[Item], piece: Heard | Clip) -> None:
    """Pieces of one sound are one item, marks between them or not."""
    at = next((n for n in range(len(items) - 1, -1, -1) if type(items[n]) is not Mark), -1)
    if at >= 0 and type(items[at]) is type(piece) and items[at][0] == piece[0]:
        items[at] = type(piece)(piece[0], round(items[at][1] + piece[1], 3))
    else:
        items.append(piece)
