"""Any interleaving of what both sides and the house can send, kept in every form and replayed."""

import hypothesis
import pytest
from any_call import INFO, PAUSES_S, STEP_BYTES, World, terms_of
from hypothesis import strategies as st

from gateway.call.conversation import Phase
from gateway.call.machine import CallMachine
from gateway.commands import Entry
from gateway.events import AnyEvent, CallerHeard, CallStarted, TimeReached
from gateway.observers.journal_file import Form, JournalHeader, LineWriter, read_journal
from gateway.runtime.replay import replay

LATENESS_S = (0.0, 0.0, 0.001, 0.003, 0.04)
"""How late the clock of the recorded call was."""


class Recorded:
    """A call as it was driven by a clock that is sometimes late, and its journal."""

    def __init__(self, tape: bytes) -> None:
        self.terms = terms_of(tape)
        self.entries: list[Entry] = []
        self._tape = tape
        self._machine = CallMachine(self.terms)
        self._world = World(self.terms)
        self._play()

    def _play(self) -> None:
        tape = self._tape
        now = self._step(CallStarted(INFO), 1000.0)
        for at in range(2, len(tape) - STEP_BYTES + 1, STEP_BYTES):
            op, choice, pause = tape[at], tape[at + 1], tape[at + 2]
            for event in self._world.events(op, choice):
                now = self._step(event, now)
            now = self._let_pass(now, now + (61.0 if pause == 255 else PAUSES_S[pause % 16]), pause)

    def _let_pass(self, now: float, until: float, pause: int) -> float:
        late_s = LATENESS_S[pause % len(LATENESS_S)]
        while self._machine.phase is not Phase.ENDED:
            due = self._machine.deadline
            if mark := self._world.far_end.returned(min(until, due or until)):
                now = self._step(CallerHeard(mark[1]), max(now, mark[0]))
            elif due is not None and due + late_s <= until:
                now = self._step(TimeReached(due), due + late_s)
            else:
                break  # what is due by now is served by the next event
        return max(now, until)

    def _step(self, event: AnyEvent, now: float) -> float:
        commands = self._machine.receive(event, now)
        self._world.see(event, commands, now)
        self.entries += [Entry(now, event), *(Entry(now, command) for command in commands)]
        return now

    def lines(self, form: Form, *, words: bool) -> list[bytes]:
        writer = LineWriter(JournalHeader(INFO, self.terms, {}, 0.0, form, words))
        return [writer.begin(0.0), *writer.write(self.entries)]


FORMS: tuple[tuple[Form, bool], ...] = (("full", True), ("compact", True), ("compact", False))


@pytest.mark.no_cover
@pytest.mark.parametrize(("form", "words"), FORMS)
def test_every_journal_replays_to_the_same_commands(form: Form, words: bool) -> None:
    """Whatever happens in a call, and however late its clock is: sound and words may be missing, commands are the same."""

    @hypothesis.settings(max_examples=300, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(st.binary(min_size=50, max_size=170))
    def any_tape(tape: bytes) -> None:
        again = replay(read_journal(Recorded(tape).lines(form, words=words)))
        assert not again.failure
        told = [[(step.at, again.key(c)) for c in step.commands] for step in again.replayed]
        assert told == [[(step.at, again.key(c)) for c in step.commands] for step in again.recorded]

    any_tape()
