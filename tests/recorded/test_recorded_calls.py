"""The recorded calls are replayed, so that a change of behaviour is seen as one. See docs/howto/replay.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace
from stories import accepted, change_constant, story

from gateway.call.machine import CallMachine
from gateway.commands import AnyCommand
from gateway.events import AgentLost, AnyEvent, CallerLost, SpeechStarted
from gateway.observers.journal_file import Journal, read_journal
from gateway.observers.turn_fold import fold_turns
from gateway.observers.turns import Turn
from gateway.runtime.replay import MakeMachine, Replay, replay
from gateway.runtime.replay_turns import Comparison, Difference, compare

FOLDER = Path(__file__).parent
CALLS = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
ADVICE = "behaviour has changed; where that was intended: python tests/recorded/record.py --accept, and review the .txt"


def recorded(name: str) -> Journal:
    return read_journal((FOLDER / f"{name}.jsonl").read_bytes().splitlines())


def turns_of(name: str) -> list[Turn]:
    return fold_turns(recorded(name).entries)


@pytest.mark.parametrize("name", CALLS)
def test_today_every_recorded_call_goes_as_it_went(name: str) -> None:
    """The same commands at the same moments, in every turn."""
    again = replay(recorded(name))
    comparison = compare(again)
    assert comparison.is_same, f"{name}: {comparison.failure or comparison.first}; {ADVICE}"
    assert comparison.commands > 100
    assert again.journal.is_whole


@pytest.mark.parametrize("name", CALLS)
def test_what_people_review_is_what_is_replayed(name: str) -> None:
    """A journal's story stands beside it, and accepting it anew changes nothing but fields that are new."""
    journal = recorded(name)
    assert (FOLDER / f"{name}.txt").read_text() == story(journal), ADVICE
    assert read_journal(accepted(journal)) == journal, ADVICE


def test_the_recorded_calls_have_everything_in_them_that_calls_are_made_of() -> None:
    """Each kind of ending, loss and return, tools, keys and interruptions; with words and without."""
    assert {
        "agent-replaced", "agent-resumed", "barge-in", "caller-gone", "caller-returned", "demo", "keys", "pcm-events",
        "silent-line", "slow-tool",
    } <= set(CALLS)  # fmt: skip
    assert {recorded(name).header.words for name in CALLS} == {True, False}
    assert any(turn.was_interrupted for turn in turns_of("barge-in"))
    assert [tool.name for turn in turns_of("demo") for tool in turn.tools] == ["drive", "hang_up"]


# Seeded changes of the conversation


class DeafInTheTail(CallMachine):
    """Does not let itself be interrupted once a reply has come to its end."""

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        if isinstance(event, SpeechStarted) and not self._floor.replies:
            return []
        return super().receive(event, now)


def deaf_to_interruption(number: int) -> MakeMachine:
    """A machine that misses one of the interruptions."""

    class DeafOnce(CallMachine):
        interruptions = 0

        def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
            self.interruptions += isinstance(event, SpeechStarted)
            if isinstance(event, SpeechStarted) and self.interruptions == number:
                return []
            return super().receive(event, now)

    return DeafOnce


def against(
    name: str, make: MakeMachine = CallMachine, **terms: Any
) -> tuple[Replay, Comparison, Difference]:
    """The replay of a call by something that is not today's machine."""
    journal = recorded(name)
    again = replay(journal, replace(journal.header.terms, **terms), make)
    comparison = compare(again)
    assert not comparison.is_same
    assert comparison.first
    return again, comparison, comparison.first


def test_a_missed_interruption_is_shown_at_the_turn_that_should_have_been_cut() -> None:
    """Nothing is cleared, more is heard of that reply, and the turns before are the same."""
    _, comparison, first = against("barge-in", DeafInTheTail)
    cut = next(turn for turn in turns_of("barge-in") if turn.was_interrupted)
    assert (first.turn, first.recorded, first.replayed) == (cut.number, "clear", "")
    assert cut.cleared_at is not None
    shown = comparison.turns[cut.number]
    assert shown.recorded == cut
    assert shown.replayed
    assert shown.replayed.heard_ms > cut.heard_ms
    assert not shown.replayed.was_interrupted
    assert [change.recorded for change in shown.changes if change.kind == "only recorded"] == ["clear"]


def test_the_turns_before_the_seeded_one_are_the_same() -> None:
    """The second interruption is missed: the first one, and all that was said before, is as it was."""
    _, comparison, first = against("barge-in", deaf_to_interruption(2))
    cut = [turn.number for turn in turns_of("barge-in") if turn.was_interrupted]
    assert (first.turn, first.recorded) == (cut[1], "clear")
    assert [turn.first is None for turn in comparison.turns[: cut[1]]] == [True] * cut[1]


def turn_at(name: str, kind: type) -> int:
    """The turn in which something happened first."""
    at = next(entry.at for entry in recorded(name).entries if isinstance(entry.item, kind))
    return max(turn.number for turn in turns_of(name) if turn.began_at <= at)


class Seed(Struct, frozen=True):
    """A constant of the conversation that somebody has changed."""

    name: str
    """Of the call that shows it."""
    constant: str
    value: float
    turn: Callable[[], int]
    """The turn in which it is felt first."""
    says: str
    """What must be named."""


SEEDS = (
    Seed(
        "demo", "KEY_PAUSE_S", 1.5,
        lambda: next(turn.number for turn in turns_of("demo") if turn.keys == "1"), "ask.reply",
    ),
    Seed(
        "agent-replaced", "HOLD_AFTER_S", 0.5,
        lambda: turn_at("agent-replaced", AgentLost), "play.clip hold",
    ),
    Seed("barge-in", "MARK_EVERY_MS", 500.0, lambda: 1, "mark"),
)  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.constant)
def test_a_change_of_timing_is_shown_where_it_is_felt_first(
    seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pause after keys, another moment for the hold sound, other marks: at the turn in which it matters."""
    change_constant(monkeypatch, seed.constant, seed.value)
    _, comparison, first = against(seed.name)
    assert first.turn == seed.turn()
    assert seed.says in first.recorded + first.replayed
    assert all(one.first is None for one in comparison.turns[: first.turn])


def test_a_deadline_that_nobody_had_is_kept_to_the_millisecond() -> None:
    """A call that waits for its caller for a shorter time ends then, though nothing was recorded at that moment."""
    again, _, first = against("caller-gone", return_s=3.0)
    lost_at = next(step.at for step in again.recorded if isinstance(step.event, CallerLost))
    assert first.at_ms == pytest.approx((lost_at + 3.0 - again.began_at) * 1000, abs=0.01)
    assert "caller_lost" in str([command for step in again.replayed for command in step.commands][-1])


def test_a_deadline_that_moves_out_takes_its_commands_with_it() -> None:
    """A line that may be silent for longer is not hung up on when it was."""
    _, _, first = against("silent-line", silence_s=50.0)
    assert "silent_line" in first.recorded
    assert first.replayed == ""
