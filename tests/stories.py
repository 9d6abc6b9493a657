"""Recorded calls as the test suite keeps them: a journal that is always written alike, and its story for people."""

import sys
from collections.abc import Iterable, Iterator

import pytest

from gateway.commands import Entry
from gateway.events import AgentSaid, AnyEvent, CallerAudio, CallerHeard, ReplyAudio, TimeReached
from gateway.observers.journal_file import Journal, LineWriter
from gateway.runtime.replay import Replay, Step, replay
from gateway.runtime.replay_turns import compare
from gateway.runtime.replay_words import one_in_words

BATCH_S = 1.0
"""How much of a call is written at once, so that a change touches the lines of its second alone."""
UNTOLD = (CallerAudio, ReplyAudio, CallerHeard, TimeReached)
"""Events that come by the hundred and say nothing to people."""


def change_constant(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    """Change a constant of the conversation, in whichever of its modules it is used."""
    modules = [module for path, module in sys.modules.items() if path.startswith("gateway.call.")]
    found = [module for module in modules if getattr(module, name, value) != value]
    assert found, f"{name} is no constant of the conversation any more; seed another change"
    for module in found:
        monkeypatch.setattr(module, name, value)


def accepted(journal: Journal) -> list[bytes]:
    """The lines of a journal in which the same things happen and today's commands are the recorded ones."""
    again = replay(journal)
    assert not again.failure, again.failure
    writer = LineWriter(journal.header)
    lines = [writer.begin(again.began_at)]
    for batch in _batches(list(_entries(again.replayed))):
        lines += writer.write(batch)
    return lines


def story(journal: Journal) -> str:
    """A recorded call for people: what happened (<) and what was commanded (>), in milliseconds and by turns."""
    again = replay(journal)
    comparison = compare(again)
    header = journal.header
    told: list[tuple[float, int, str]] = []
    for turn in comparison.turns:
        if turn.recorded:
            words = f"turn {turn.number}  caller: {turn.recorded.user_text or turn.recorded.keys or '-'}"
            told.append((_ms(again, turn.recorded.began_at), 0, f"\n{words}\n"))
        told += [(change.at_ms, 2, f"  > {change.recorded}") for change in turn.changes if change.recorded]
    for step in again.recorded:
        if not isinstance(step.event, UNTOLD) and not _is_word(step.event):
            told.append((_ms(again, step.at), 1, f"< {one_in_words(step.event)}"))
    lines = [f"{header.call.adapter}, route {header.terms.route}, {header.form}, words: {header.words}\n"]
    for at_ms, kind, text in sorted(told, key=lambda line: line[:2]):
        lines.append(text if kind == 0 else f"{at_ms:9.0f} {text}")
    return "\n".join(lines) + "\n"


def _is_word(event: AnyEvent) -> bool:
    return isinstance(event, AgentSaid) and not event.final


def _ms(again: Replay, at: float) -> float:
    return round((at - again.began_at) * 1000, 3)


def _entries(steps: Iterable[Step]) -> Iterator[Entry]:
    for step in steps:
        yield Entry(step.at, step.event)
        for command in step.commands:
            yield Entry(step.at, command)


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Entries by the second in which they happened."""
    batch: list[Entry] = []
    for entry in entries:
        if batch and int(entry.at / BATCH_S) != int(batch[0].at / BATCH_S):
            yield batch
            batch = []
        batch.append(entry)
    yield batch
