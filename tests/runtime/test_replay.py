"""How time passes in a replay, and what is done with journals that are not whole."""

from collections.abc import Iterable

import pytest
from play import caller_audio, reply, terms

from gateway.audio import MULAW_8K
from gateway.call.machine import CallMachine
from gateway.commands import AnyCommand, CallEnded, Clear, Entry, Mark, Remember
from gateway.events import (
    AgentReady,
    AnyEvent,
    CallerLeft,
    CallerPressed,
    CallInfo,
    CallStarted,
    SpeechStarted,
    TimeReached,
    UserSaid,
)
from gateway.observers.journal_file import Journal, JournalHeader, LineWriter, read_journal
from gateway.runtime.replay import replay
from gateway.runtime.replay_turns import START, Comparison, compare

INFO = CallInfo("c1", "twilio", MULAW_8K)
TERMS = terms(dtmf="text")
HEADER = JournalHeader(INFO, TERMS, {"talkpath": "1"}, 0.0, "full", words=True)
LATE_S = 0.004
"""How late the clock of the recorded calls was."""


class Recorder:
    """Drives a call by a clock that is always a little late, and keeps its journal."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.now = 1000.0
        self._machine = CallMachine(TERMS)
        self.on(CallStarted(INFO)).wait(0.5).on(AgentReady("s"))

    def on(self, *events: AnyEvent) -> "Recorder":
        for event in events:
            commands = self._machine.receive(event, self.now)
            self.entries += [Entry(self.now, item) for item in (event, *commands)]
        return self

    def wait(self, seconds: float) -> "Recorder":
        until = self.now + seconds
        while (due := self._machine.deadline) is not None and due + LATE_S <= until:
            self.now = due + LATE_S
            self.on(TimeReached(due))
        self.now = until
        return self

    @property
    def journal(self) -> Journal:
        return Journal(HEADER, self.entries)


def conversation() -> Recorder:
    """A greeting that is interrupted, a pause, a reply."""
    call = Recorder().on(*reply(3000, "r1")).wait(1.0).on(SpeechStarted(), UserSaid("stop", final=True))
    call.wait(2.0).on(caller_audio(), *reply(500, "r2")).wait(3.0)
    return call.on(CallerLeft("hung up"))


def compared(journal: Journal, make: type[CallMachine] = CallMachine) -> Comparison:
    return compare(replay(journal, machine=make))


def without(entries: Iterable[Entry], kind: type) -> list[Entry]:
    return [entry for entry in entries if not isinstance(entry.item, kind)]


def test_an_unchanged_machine_does_the_same_however_late_the_clock_was() -> None:
    """What was served late is served as late again."""
    journal = conversation().journal
    assert any(isinstance(entry.item, TimeReached) for entry in journal.entries)
    comparison = compared(journal)
    assert comparison.is_same
    assert comparison.commands == len(
        [e for e in journal.entries if type(e.item).__module__ == "gateway.commands"]
    )
    assert len(comparison.turns) == 3


def test_a_deadline_may_be_served_by_another_event() -> None:
    """An event that came before the clock was looked at took the deadline's commands with it."""
    call = Recorder().on(CallerPressed("1"))
    call.now += 1.3  # the pause after the keys is over, and nobody has looked
    call.on(caller_audio())
    assert compared(call.journal).is_same


class Impatient(CallMachine):
    """Wants to be told the time as often as it can."""

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        commands = super().receive(event, now)
        if self.deadline is not None:
            self.deadline = min(self.deadline, now + 0.05)
        return commands


def test_being_told_the_time_more_often_is_no_difference_when_nothing_comes_of_it() -> None:
    """A machine may be woken for nothing; only what it commands counts."""
    call = Recorder().on(CallerPressed("1")).wait(5.0)
    assert compared(call.journal, Impatient).is_same


class OutOfTime(CallMachine):
    """Has a deadline that never moves."""

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        commands = super().receive(event, now)
        self.deadline = 1001.5
        return commands


class Broken(CallMachine):
    """Has a bug."""

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        if isinstance(event, UserSaid):
            raise KeyError("r9")
        return super().receive(event, now)


@pytest.mark.parametrize(
    ("make", "told"), [(OutOfTime, "stays in the past"), (Broken, "KeyError at UserSaid: 'r9'")]
)
def test_code_that_fails_is_told_as_such(make: type[CallMachine], told: str) -> None:
    """The replay ends there, and is not the same."""
    comparison = compared(conversation().journal, make)
    assert told in comparison.failure
    assert not comparison.is_same


def test_a_call_that_a_bug_ended_is_the_same_once_the_bug_is_gone_and_fails_until_then() -> None:
    """What the runner notes of such an end is not the machine's."""
    call = conversation()
    at = next(place for place, entry in enumerate(call.entries) if isinstance(entry.item, UserSaid))
    broken = [*call.entries[: at + 1], Entry(call.entries[at].at, Remember(CallEnded("bug")))]
    comparison = compared(Journal(HEADER, broken))
    assert comparison.first, "today the event is answered"
    assert comparison.first.recorded == ""
    assert "KeyError" in compared(Journal(HEADER, broken), Broken).failure


def test_a_call_that_was_cut_off_is_replayed_as_far_as_it_went() -> None:
    """The end that the runner notes does not count, as the machine came to none."""
    entries = Recorder().on(*reply(500)).wait(0.3).entries
    cut_off = [*entries, Entry(entries[-1].at, Remember(CallEnded("stopped")))]
    assert compared(Journal(HEADER, cut_off)).is_same


@pytest.mark.parametrize("missing", range(1, 4))
def test_what_was_not_written_any_more_is_no_difference(missing: int) -> None:
    """A process was killed between an event and the last of its commands."""
    entries = Recorder().on(*reply(500)).entries
    comparison = compared(Journal(HEADER, entries[:-missing]))
    assert comparison.is_same
    assert comparison.commands


def test_a_journal_with_a_hole_is_replayed_up_to_it() -> None:
    """What follows the hole cannot be judged."""
    entries = conversation().entries
    writer = LineWriter(HEADER)
    half = len(entries) // 2
    lines = [
        writer.begin(0.0),
        *writer.write(entries[:half]),
        writer.lose(0.0, 9),
        *writer.write(entries[half:]),
    ]
    again = replay(read_journal(lines))
    assert compare(again).is_same
    assert sum(1 + len(step.commands) for step in again.recorded) == half


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [([], "holds no event"), ([Entry(0.0, Clear())], "begins with a command")],
)
def test_what_cannot_be_replayed_is_refused(entries: list[Entry], sentence: str) -> None:
    """In one sentence."""
    with pytest.raises(ValueError, match=sentence):
        replay(Journal(HEADER, entries))


class Doubtful(CallMachine):
    """Marks the beginning of the call."""

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        more: list[AnyCommand] = [Mark("first")] if isinstance(event, CallStarted) else []
        return [*super().receive(event, now), *more]


def test_what_comes_before_the_first_turn_has_a_place_of_its_own() -> None:
    """A difference while the agent is reached belongs to no turn."""
    comparison = compared(conversation().journal, Doubtful)
    assert comparison.first
    assert (comparison.first.turn, comparison.first.recorded, comparison.first.replayed) == (
        START,
        "",
        "mark first",
    )
    assert [turn.first is None for turn in comparison.turns] == [False, True, True]


class Reversed(CallMachine):
    """Commands the same at the same moment, the other way round."""

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        return super().receive(event, now)[::-1]


def test_another_order_at_one_moment_is_a_difference() -> None:
    """The order of commands is part of what is promised."""
    call = Recorder().on(*reply(3000, "r1")).wait(1.0).on(SpeechStarted())
    comparison = compared(call.journal, Reversed)
    assert not comparison.is_same
    assert any(turn.first for turn in comparison.turns)
