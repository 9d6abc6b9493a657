"""Drives the events of a journal through today's machine.

Owns time in a replay: the events of both sides and of the house come when they came, and the machine's own deadlines
when they are due. Refuses to judge what differs (`gateway.runtime.replay_turns`), and to let the other sides answer:
after a first difference they go on as they did in the recorded call.

A recorded `TimeReached` says which deadline it served, so one that today's machine shares comes as late as the clock was
that day; any other deadline is served at its moment. A deadline that had passed when another event came was served by
that event, if the same commands come of it; else the machine has one that the recorded one did not have.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Final, cast, get_args

from msgspec import Struct
from msgspec.structs import replace

from gateway.call.machine import CallMachine
from gateway.commands import AnyCommand, CallEnded, Entry, HangUp, Remember
from gateway.events import AnyEvent, TimeReached
from gateway.observers.journal_file import Journal
from gateway.observers.journal_words import without_words
from gateway.terms import CallTerms

TICKS: Final = 1000
"""How often in a row the machine may be told the time without reaching a later deadline."""
_EVENTS: Final = get_args(AnyEvent)

MakeMachine = Callable[[CallTerms], CallMachine]
Key = Callable[[AnyCommand], object]
"""What must be equal of two commands."""


class Step(Struct, frozen=True):
    """An event and what the machine wanted done."""

    at: float
    """Its moment, in the clock of the journal."""
    event: AnyEvent
    """What happened."""
    commands: Sequence[AnyCommand]
    """What was wished, in order."""


class Replay(Struct, frozen=True):
    """A recorded call and what today's machine makes of it."""

    journal: Journal
    """The record."""
    terms: CallTerms
    """What today's machine was told."""
    recorded: list[Step]
    """What happened, and what was commanded."""
    replayed: list[Step]
    """The same events, and what is commanded today."""
    key: Key
    """What must be equal of two commands for the call to be the same."""
    breaks_off: bool
    """Whether commands of the last recorded step may be missing from the journal."""
    failure: str = ""
    """What today's code raised, and at which event; empty when nothing."""

    @property
    def began_at(self) -> float:
        """The moment from which milliseconds are counted."""
        return self.recorded[0].at if self.recorded else 0.0


def replay(journal: Journal, terms: CallTerms | None = None, machine: MakeMachine = CallMachine) -> Replay:
    """Replay a journal up to its end, or to the first entry that is missing from it.

    Args:
        journal: The record.
        terms: What the machine is told instead of what it was told that day.
        machine: Makes the machine.

    Raises:
        ValueError: when the journal holds no event, or begins with a command.
    """
    whole = journal.hole is None
    steps = _steps(journal.entries[: journal.hole])
    if whole:
        steps = _without_epitaph(steps)
    key = _key(journal)
    play = _Play(machine(terms or journal.header.terms), key)
    play.through(steps)
    return Replay(
        journal=journal,
        terms=terms or journal.header.terms,
        recorded=steps,
        replayed=play.steps,
        key=key,
        breaks_off=not (whole and journal.is_whole),
        failure=play.failure,
    )


def _steps(entries: Iterable[Entry]) -> list[Step]:
    steps: list[Step] = []
    commands: list[AnyCommand] = []
    for entry in entries:
        item = entry.item
        if isinstance(item, _EVENTS):
            commands = []
            steps.append(Step(entry.at, item, commands))
        elif not steps:
            raise ValueError("the journal begins with a command; its beginning is missing")
        else:
            commands.append(cast("AnyCommand", item))
    if not steps:
        raise ValueError("the journal holds no event; the call was over before it began")
    return steps


def _without_epitaph(steps: list[Step]) -> list[Step]:
    """Leave out the end that the runner notes where the machine did not come to one: after a bug, or cut off."""
    *others, last = steps
    match [None, None, *last.commands][-2:]:
        case [HangUp(), Remember(fact=CallEnded())]:
            return steps
        case [_, Remember(fact=CallEnded())]:
            return [*others, replace(last, commands=last.commands[:-1])]
    return steps


def _key(journal: Journal) -> Key:
    header = journal.header

    def key(command: AnyCommand) -> object:
        kept = command if header.words else without_words(command)
        audio = getattr(kept, "audio", None)
        if audio is not None and header.form == "compact":
            return (type(kept), getattr(kept, "reply_id", ""), len(audio))
        return kept

    return key


class _Play:
    """One run of a machine through recorded steps."""

    def __init__(self, machine: CallMachine, key: Key) -> None:
        self._machine = machine
        self._key = key
        self._parted = False  # whether anything has differed: then the rest need not be taken so literally
        self.steps: list[Step] = []
        self.failure = ""

    def through(self, steps: Iterable[Step]) -> None:
        """Take all of them; the first exception ends it."""
        for step in steps:
            try:
                self._take(step)
            except Exception as error:  # noqa: BLE001 - what is replayed may be any version of the machine
                name = type(step.event).__name__
                self.failure = f"{type(error).__name__} at {name}: {error}"
                return

    def _take(self, step: Step) -> None:
        """Let time pass up to a recorded step, then take its event."""
        served = step.event.due_at if isinstance(step.event, TimeReached) else None
        ticks, before = 0, 0.0
        while (due := self._due(step.at)) is not None and served not in (due, 0.0):
            if served is None and self._serves(step):
                return
            self._parted |= bool(self._receive(due, TimeReached(due)))
            ticks = ticks + 1 if due <= before else 0
            if ticks > TICKS:
                raise RuntimeError("the machine's deadline stays in the past")
            before = due
        if served and due is None:
            self._parted |= bool(step.commands)
            return  # a deadline that today's machine does not have
        commands = self._receive(step.at, step.event)
        self._parted = self._parted or not self._same(commands, step.commands)

    def _due(self, at: float) -> float | None:
        """The machine's deadline, if it has passed by then."""
        due = self._machine.deadline
        return due if due is not None and due <= at else None

    def _serves(self, step: Step) -> bool:
        """Take an event that came later than a deadline, if that is how the deadline was served that day."""
        if self._parted and len(step.commands) <= 1:
            return False  # nothing came of it but the answer to the event
        trial = deepcopy(self._machine)
        commands = trial.receive(step.event, step.at)
        if not self._same(commands, step.commands):
            return False
        self._machine = trial
        self.steps.append(Step(step.at, step.event, commands))
        return True

    def _same(self, commands: Sequence[AnyCommand], others: Sequence[AnyCommand]) -> bool:
        return len(commands) == len(others) and list(map(self._key, commands)) == list(map(self._key, others))

    def _receive(self, at: float, event: AnyEvent) -> Sequence[AnyCommand]:
        commands = self._machine.receive(event, at)
        self.steps.append(Step(at, event, commands))
        return commands
