"""What differs between a recorded call and its replay, turn by turn.

Owns to which turn a command belongs and when two calls are the same: when every command has come at the same moment
and in the same order. Refuses printing (`gateway.cli.replay_table`).
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from gateway.audio import AudioFormat
from gateway.commands import (
    AbandonTool,
    Clear,
    Entry,
    Play,
    Remember,
    ReplyHeard,
    RunTool,
    SendResult,
    Tell,
    TellHeard,
)
from gateway.events import AgentSaid, ReplyEnded, ReplyStarted, ToolCalled
from gateway.observers.turn_fold import fold_turns
from gateway.observers.turns import Turn
from gateway.runtime.replay import Replay, Step
from gateway.runtime.replay_words import Stretch, Timed, in_words, stretches

START: Final = 0
"""Number under which stands what comes before the first turn."""
_SHIFT_S: Final = 5.0
"""How far away a command is looked for that has moved in time."""


class Difference(Struct, frozen=True):
    """Where two calls part."""

    turn: int
    """Number of the turn."""
    at_ms: float
    """Moment, from the beginning of the call."""
    recorded: str
    """What was commanded; empty for nothing."""
    replayed: str
    """What is commanded today; empty for nothing."""


class Change(Struct, frozen=True):
    """A stretch of commands of a turn, on both sides."""

    kind: Literal["same", "changed", "only recorded", "only replayed"]
    """Whether both sides have it, and have it alike."""
    at_ms: float
    """When it begins, from the beginning of the call; a changed one where it begins to differ."""
    recorded: str
    """The stretch as it was recorded."""
    replayed: str
    """The stretch as it is today."""


class ReplayedTurn(Struct, frozen=True):
    """A turn of the recorded call beside today's."""

    number: int
    """From 1, as in the recorded call; `START` for what comes before the first."""
    recorded: Turn | None
    """The turn; None before the first."""
    replayed: Turn | None
    """What it becomes today; None when nothing of it is left."""
    commands: int
    """How many were recorded."""
    changes: Sequence[Change]
    """All its commands, in the order in which they begin."""
    first: Difference | None
    """Where it begins to differ; None when it does not."""


class Comparison(Struct, frozen=True):
    """A recorded call beside its replay."""

    turns: Sequence[ReplayedTurn]
    """What comes before the first turn, then all turns."""
    commands: int
    """How many were recorded."""
    first: Difference | None
    """Where the calls part; None when they do not."""
    failure: str
    """What today's code raised; empty when nothing."""

    @property
    def is_same(self) -> bool:
        """Whether today's code does what was recorded."""
        return self.first is None and not self.failure


def compare(replay: Replay) -> Comparison:
    """Compare command by command."""
    recorded, replayed = _timed(replay, replay.recorded), _timed(replay, replay.replayed)
    if replay.breaks_off:
        replayed = _as_far_as_known(recorded, replayed, replay.recorded[-1].at)
    frame = _Frame(replay)
    first = frame.first(recorded, replayed)
    own, today = frame.sort(recorded), frame.sort(replayed)
    turns = [frame.turn(number, own[number], today[number]) for number in range(len(own))]
    if first and not any(turn.first for turn in turns):  # the order of two turns at one moment
        turns[first.turn] = replace(turns[first.turn], first=first)
    return Comparison(turns, len(recorded), first, replay.failure)


def _timed(replay: Replay, steps: Iterable[Step]) -> list[Timed]:
    return [Timed(step.at, c, replay.key(c)) for step in steps for c in step.commands]


def _as_far_as_known(recorded: list[Timed], replayed: list[Timed], end: float) -> list[Timed]:
    """Without the commands of the last step that were perhaps not written any more."""
    further = replayed[len(recorded) :]
    return replayed[: len(recorded)] if all(timed.at >= end for timed in further) else replayed


def _entries(steps: Iterable[Step]) -> Iterable[Entry]:
    for step in steps:
        yield Entry(step.at, step.event)
        for command in step.commands:
            yield Entry(step.at, command)


class _Frame:
    """The turns of the recorded call, in which both sides are sorted."""

    def __init__(self, replay: Replay) -> None:
        self._began_at = replay.began_at
        self._audio: AudioFormat = replay.terms.audio
        self._recorded = fold_turns(_entries(replay.recorded))
        self._replayed = {turn.began_at: turn for turn in fold_turns(_entries(replay.replayed))}
        self._starts = [turn.began_at for turn in self._recorded]
        self._replies = {r.reply_id: turn.number for turn in self._recorded for r in turn.replies}
        self._tools = {tool.tool_call_id: turn.number for turn in self._recorded for tool in turn.tools}
        both = (*self._replayed.values(), *self._recorded)
        self._clears = {t.cleared_at: self._at(t.began_at) for t in both if t.cleared_at is not None}

    def sort(self, commands: Iterable[Timed]) -> list[list[Timed]]:
        """Commands by the number of the turn to which they belong."""
        found: list[list[Timed]] = [[] for _ in range(len(self._recorded) + 1)]
        for timed in commands:
            found[self._number(timed)].append(timed)
        return found

    def turn(self, number: int, recorded: list[Timed], replayed: list[Timed]) -> ReplayedTurn:
        """One turn on both sides."""
        own = self._recorded[number - 1] if number != START else None
        return ReplayedTurn(
            number=number,
            recorded=own,
            replayed=self._replayed.get(own.began_at) if own else None,
            commands=len(recorded),
            changes=list(self._changes(recorded, replayed)),
            first=self.first(recorded, replayed),
        )

    def first(self, recorded: Sequence[Timed], replayed: Sequence[Timed]) -> Difference | None:
        """Where two sequences begin to differ."""
        for place, (before, after) in enumerate(zip_longest(recorded, replayed)):
            if before is None or after is None or before.at != after.at or before.key != after.key:
                return self._difference(recorded[place:], replayed[place:])
        return None

    # Which turn

    def _number(self, timed: Timed) -> int:
        number: int | None = None
        match timed.command:
            case (
                Play(reply_id=of)
                | TellHeard(fact=ReplyHeard(reply_id=of))
                | Remember(fact=ReplyHeard(reply_id=of))
                | Tell(event=ReplyStarted(reply_id=of) | AgentSaid(reply_id=of) | ReplyEnded(reply_id=of))
            ):
                number = self._replies.get(of)
            case (
                RunTool(tool_call_id=of)
                | SendResult(tool_call_id=of)
                | AbandonTool(tool_call_id=of)
                | Tell(event=ToolCalled(tool_call_id=of))
            ):
                number = self._tools.get(of)
            case Clear():
                number = self._clears.get(timed.at)
        return self._at(timed.at) if number is None else number

    def _at(self, at: float) -> int:
        """The turn that had begun last."""
        return bisect_right(self._starts, at)

    # What differs

    def _difference(self, recorded: Sequence[Timed], replayed: Sequence[Timed]) -> Difference:
        """What is told of two sequences whose first commands differ."""
        before, after = (side[0] if side else None for side in (recorded, replayed))
        if before and after and before.at == after.at:
            # one of them may only be missing, or only be new
            if any(timed.key == after.key for timed in recorded if timed.at == after.at):
                after = None
            elif any(timed.key == before.key for timed in replayed if timed.at == before.at):
                before = None
        elif before and after:
            before, after = (before, None) if before.at < after.at else (None, after)
        if before is None and after is None:
            raise ValueError("two sequences that are the same do not differ")
        there = before or replayed[0]
        return Difference(
            turn=self._number(there),
            at_ms=self._ms(there.at),
            recorded=in_words([before], self._audio) if before else self._elsewhere(replayed, recorded),
            replayed=in_words([after], self._audio) if after else self._elsewhere(recorded, replayed),
        )

    def _elsewhere(self, side: Sequence[Timed], other: Sequence[Timed]) -> str:
        """What became of the first command of a side on the other side: moved in time, or nothing."""
        moved = _moved(side, other)
        return f"{in_words(side[:1], self._audio)}, {moved}" if moved else ""

    def _changes(self, recorded: list[Timed], replayed: list[Timed]) -> Iterable[Change]:
        before, after = stretches(recorded), stretches(replayed)
        names, names_today = ([stretch.name for stretch in side] for side in (before, after))
        matcher = SequenceMatcher(None, names, names_today, autojunk=False)
        for kind, low, high, low_after, high_after in matcher.get_opcodes():
            if kind == "equal":
                for own, today in zip(before[low:high], after[low_after:high_after], strict=True):
                    yield self._change(own, today)
                continue
            for own in before[low:high]:
                yield Change("only recorded", self._ms(own.commands[0].at), self._words(own), "")
            for today in after[low_after:high_after]:
                yield Change("only replayed", self._ms(today.commands[0].at), "", self._words(today))

    def _change(self, own: Stretch, today: Stretch) -> Change:
        words, words_today = self._words(own), self._words(today)
        first = self.first(own.commands, today.commands)
        if first is None:
            return Change("same", self._ms(own.commands[0].at), words, words_today)
        if words == words_today and (moved := _moved(own.commands, today.commands)):
            words_today = f"{words_today}, {moved}"
        return Change("changed", first.at_ms, words, words_today)

    def _words(self, stretch: Stretch) -> str:
        return in_words(stretch.commands, self._audio)

    def _ms(self, at: float) -> float:
        return round((at - self._began_at) * 1000, 3)


def _moved(side: Sequence[Timed], other: Sequence[Timed]) -> str:
    """Where the first command of a side stands on the other one; empty where it does not."""
    command = side[0]
    paired = {timed.at for timed in side if timed.key == command.key}
    for timed in other:
        if timed.key == command.key and timed.at not in paired and abs(timed.at - command.at) <= _SHIFT_S:
            distance_ms = abs(timed.at - command.at) * 1000
            return f"{distance_ms:.6g} ms {'later' if timed.at > command.at else 'earlier'}"
    return ""
