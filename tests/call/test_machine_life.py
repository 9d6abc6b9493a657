"""Any interleaving of what both sides and the house can send, judged by what must hold in every call."""

import os
import secrets

import hypothesis
import pytest
from any_call import INFO, PAUSES_S, STEP_BYTES, Judge, World, terms_of
from figures import tell
from hypothesis import strategies as st

from gateway.call.conversation import Phase
from gateway.call.machine import CallMachine
from gateway.commands import AnyCommand
from gateway.events import AnyEvent, CallerHeard, CallerLeft, CallStarted, TimeReached

SEQUENCES = int(os.environ.get("TALKPATH_SEQUENCES", "10000"))
SEED = int(os.environ.get("TALKPATH_SEED") or secrets.randbelow(2**32))
"""Printed at the end of the run; give it again to repeat the same sequences."""


def play_out(tape: bytes) -> None:
    """Play a tape to the end of the call, judge every step, and replay it."""
    call_terms = terms_of(tape)
    world = World(call_terms)
    machine = CallMachine(call_terms)
    judge = Judge(machine, call_terms, world.far_end)
    journal: list[tuple[float, AnyEvent, list[AnyCommand]]] = []

    def step(event: AnyEvent, now: float) -> None:
        commands = machine.receive(event, now)
        world.see(event, commands, now)
        judge.judge(event, now, commands)
        journal.append((now, event, commands))

    def let_pass(now: float, until: float) -> float:
        while machine.phase is not Phase.ENDED:
            due = machine.deadline if machine.deadline is not None else float("inf")
            if mark := world.far_end.returned(min(until, due)):
                now = max(now, mark[0])
                if tape[0] & 128 == 0 or len(journal) % 3:  # some carriers lose marks
                    step(CallerHeard(mark[1]), now)
            elif due <= until:
                now = due
                step(TimeReached(), now)
            else:
                break
        return until

    now = 1000.0
    if tape[1] != 0:
        step(CallStarted(INFO), now)
    for at in range(2, len(tape) - STEP_BYTES + 1, STEP_BYTES):
        op, choice, pause = tape[at], tape[at + 1], tape[at + 2]
        for event in world.events(op, choice):
            step(event, now)
        if pause == 255:
            now += 61.0  # the clock jumps: a suspended machine, a debugger
        else:
            now = let_pass(now, now + PAUSES_S[pause % 16])
    if machine.phase is Phase.WAITING:
        step(CallerLeft("never came"), now)
    steps = len(journal)
    let_pass(now, now + 100_000.0)
    assert machine.phase is Phase.ENDED, "driven by its deadlines alone a call ends"
    assert len(journal) - steps < 8000, "and does not spin"
    step(TimeReached(), now + 100_001.0)
    again = CallMachine(call_terms)
    for moment, event, commands in journal:
        assert again.receive(event, moment) == commands, "a replay is equal"


def prove(sequences: int) -> None:
    """Play so many tapes; a failing one is shrunk and printed."""

    @hypothesis.settings(
        max_examples=sequences,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.binary(min_size=50, max_size=170))
    def any_tape(tape: bytes) -> None:
        play_out(tape)

    tell("orders of events", f"{sequences} sequences, TALKPATH_SEED={SEED}")
    hypothesis.seed(SEED)(any_tape)()


@pytest.mark.no_cover  # tracing would take five minutes; the plays show the branches
@pytest.mark.timeout(600)
def test_what_must_hold_holds_in_any_order_of_events() -> None:
    """Whatever both sides and the house send, and when: every call keeps the rules and comes to an end."""
    prove(min(SEQUENCES, 10_000))


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.timeout(3600)
def test_what_must_hold_holds_in_many_more_orders_of_events() -> None:
    """The same, ten times as often."""
    prove(max(SEQUENCES, 100_000))
