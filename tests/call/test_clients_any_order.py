"""Any interleaving of what a client, its agent and the house can send: what a client sees must always make sense."""

import os
import secrets
from collections import Counter

import hypothesis
import msgspec
import pytest
from any_call import INFO, PAUSES_S, STEP_BYTES, World, terms_of
from figures import tell
from hypothesis import strategies as st

from gateway.call.conversation import Phase
from gateway.call.machine import CallMachine
from gateway.commands import AnyCommand, HangUp, Play, RunTool, SendResult, Tell
from gateway.events import (
    AgentReady,
    AnyEvent,
    CallerAnsweredTool,
    CallerConfigured,
    CallerHeard,
    CallerLeft,
    CallerLost,
    CallerReturned,
    CallStarted,
    ReplyEnded,
    ReplyStarted,
    TimeReached,
    ToolCalled,
)
from gateway.terms import CallTerms

SEQUENCES = int(os.environ.get("TALKPATH_SEQUENCES", "10000"))
SEED = int(os.environ.get("TALKPATH_SEED") or secrets.randbelow(2**32))
BEGIN = '{"session":{"tools":[{"type":"function","name":"look","timeout_seconds":20}]}}'


def client_terms(tape: bytes) -> CallTerms:
    """The terms that a tape chooses, for a client."""
    return msgspec.structs.replace(
        terms_of(tape),
        speaks_api=True,
        marks_at_will=True,
        closing_leaves=False,
        client_may=frozenset({"system_prompt", "tools", "input"}),
    )


class Client:
    """What a client knows by what it is told."""

    def __init__(self) -> None:
        self.away = False
        self.open: set[str] = set()
        self.begun: Counter[str] = Counter()
        self.ended: set[str] = set()
        self.asked: set[str] = set()
        self.answered: set[str] = set()
        self.taken: set[str] = set()
        self.over = False

    def see(self, event: AnyEvent, commands: list[AnyCommand]) -> None:
        """One step of the machine, as the client sees it."""
        if isinstance(event, CallerLost):
            self.away = True
        if isinstance(event, CallerReturned):
            self.away = False
        if isinstance(event, CallerAnsweredTool) and not self.away and event.tool_call_id in self.asked:
            self.answered.add(event.tool_call_id)
        for command in commands:
            assert not self.over or not isinstance(command, Tell | Play), "nothing after the end"
            match command:
                case Tell(told):
                    assert not self.away, "nobody is told anything who is away"
                    self._told(told)
                case Play(reply_id=reply_id):
                    assert reply_id not in self.ended, "no sound of a reply that is done"
                case RunTool(tool_call_id=tool_call_id, name=name):
                    self.taken.add(tool_call_id)
                    assert name != "look", "a client's tool is not run here"
                case SendResult(tool_call_id=tool_call_id) if tool_call_id in self.asked:
                    assert tool_call_id in self.answered, "an answer of the client, or none"
                case HangUp():
                    self.over = True

    def _told(self, event: AnyEvent) -> None:
        match event:
            case ReplyStarted(reply_id):
                self.open.add(reply_id)
                self.ended.discard(reply_id)
            case ReplyEnded(reply_id):
                assert reply_id not in self.ended, "a reply is done once"
                self.open.discard(reply_id)
                self.ended.add(reply_id)
            case ToolCalled(tool_call_id, name, informational=False):
                assert name == "look", "only its own tools are the client's to answer"
                assert tool_call_id not in self.answered, "an answered call is not repeated"
                assert tool_call_id not in self.taken, "a call that is run here is nobody else's"
                self.asked.add(tool_call_id)


class ClientWorld(World):
    """A world in which the caller is a client that answers its tools."""

    def __init__(self, call_terms: CallTerms, client: Client) -> None:
        super().__init__(call_terms)
        self.client = client

    def events(self, op: int, choice: int) -> list[AnyEvent]:
        waiting = sorted(self.client.asked - self.client.answered)
        if waiting and op % 8 == 3:
            return [CallerAnsweredTool(waiting[choice % len(waiting)], "{}")]
        if op % 32 == 9:
            detection = f'{{"interrupt_response":{"true" if choice & 1 else "false"}}}'
            return [CallerConfigured(f'{{"session":{{"input":{{"turn_detection":{detection}}}}}}}')]
        return super().events(op, choice)


def play_out(tape: bytes) -> None:
    """Play a tape to the end of the call, judge every step, and replay it."""
    call_terms, client = client_terms(tape), Client()
    world = ClientWorld(call_terms, client)
    machine = CallMachine(call_terms)
    journal: list[tuple[float, AnyEvent, list[AnyCommand]]] = []

    def step(event: AnyEvent, now: float) -> None:
        commands = machine.receive(event, now)
        world.see(event, commands, now)
        client.see(event, commands)
        journal.append((now, event, commands))
        deadline = machine.deadline
        assert deadline is None or now < deadline < float("inf")

    def let_pass(now: float, until: float) -> float:
        while machine.phase is not Phase.ENDED:
            due = machine.deadline if machine.deadline is not None else float("inf")
            if mark := world.far_end.returned(min(until, due)):
                now = max(now, mark[0])
                step(CallerHeard(mark[1]), now)
            elif due <= until:
                now = due
                step(TimeReached(), now)
            else:
                break
        return until

    now = 1000.0
    step(CallStarted(INFO, BEGIN), now)
    step(AgentReady("s"), now)
    for at in range(2, len(tape) - STEP_BYTES + 1, STEP_BYTES):
        op, choice, pause = tape[at], tape[at + 1], tape[at + 2]
        for event in world.events(op, choice):
            step(event, now)
        now = let_pass(now, now + PAUSES_S[pause % 16])
    let_pass(now, now + 100_000.0)
    if machine.phase is not Phase.ENDED:
        step(CallerLeft("done"), now + 100_001.0)
    again = CallMachine(call_terms)
    for moment, event, commands in journal:
        assert again.receive(event, moment) == commands, "a replay is equal"


@pytest.mark.no_cover  # tracing would take minutes; the plays show the branches
@pytest.mark.timeout(600)
def test_what_a_client_sees_makes_sense_in_any_order_of_events() -> None:
    """Nothing is told twice, too late, to nobody or of another's tools, whatever happens and when."""

    @hypothesis.settings(
        max_examples=min(SEQUENCES, 10_000),
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.binary(min_size=50, max_size=170))
    def any_tape(tape: bytes) -> None:
        play_out(tape)

    tell("orders of a client's events", f"{min(SEQUENCES, 10_000)} sequences, TALKPATH_SEED={SEED}")
    hypothesis.seed(SEED)(any_tape)()
