"""What people see of a replay: the turns of a recorded call beside today's, or a line per call.

Owns the look, on a terminal and as JSON. Refuses to compare (`gateway.runtime.replay_turns`) and to define latencies
(`gateway.observers.turns`).
"""

import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from gateway.cli.turn_table import heard_of_sent, latencies, turn_rows, who_said_what
from gateway.observers.turns import Turn
from gateway.runtime.replay import Replay
from gateway.runtime.replay_turns import START, Change, Comparison, Difference, ReplayedTurn

MOST_LINES: Final = 14
"""Lines of one turn that are shown; JSON has all."""
_SIGNS: Final = {"only recorded": "-", "only replayed": "+", "changed": "~"}
_LEGEND: Final = (
    "what differs: milliseconds into the call. - commanded then and not today. + commanded today and not then. "
    "~ commanded both times, not alike. Behind an arrow stands today's value."
)


def headline(replay: Replay) -> str:
    """Which call it is, and how it was kept."""
    header = replay.journal.header
    agents = ", ".join(agent.name for agent in replay.terms.agents)
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(header.began_at))
    kept = f"{header.form}, {'with' if header.words else 'without'} words"
    version = header.versions.get("talkpath", "of an unknown version")
    return (
        f"call {header.call.call_id} of {began}, {header.call.adapter}, route {replay.terms.route or '(none)'}, "
        f"agents {agents}; recorded by Talkpath {version}, {kept}"
    )


def notes(replay: Replay) -> Iterator[str]:
    """What must be known of the journal itself."""
    journal = replay.journal
    if journal.torn:
        yield "the last line is cut short: the process was killed while it wrote; it is left out"
    if journal.lost > journal.torn:
        yield (
            f"{journal.lost - journal.torn} entries are missing, because the disk was too slow or the folder full; "
            "the call is replayed up to the first of them"
        )
    elif not journal.is_whole:
        yield "the end of the call is missing; it is replayed as far as it was written"


def verdict(comparison: Comparison) -> str:
    """The result in one sentence."""
    turns = [turn for turn in comparison.turns if turn.number != START]
    said = f"{len(turns)} turn{'s' * (len(turns) != 1)}, {comparison.commands} commands"
    if comparison.is_same:
        return f"The same: {said}."
    differing = sum(turn.first is not None for turn in comparison.turns)
    first = comparison.first
    told = f"Differs first {_where(first)}: {told_of(first)}. {differing} of {said}." if first else ""
    failed = f"Today's code fails: {comparison.failure}." if comparison.failure else ""
    return f"{failed} {told}".strip()


def told_of(first: Difference) -> str:
    """A difference in words."""
    return f"recorded {first.recorded or 'nothing'}; replayed {first.replayed or 'nothing'}"


def _where(first: Difference) -> str:
    place = f"in turn {first.turn}" if first.turn != START else "before the first turn"
    return f"{place}, {first.at_ms / 1000:.3f} s into the call"


def replay_table(comparison: Comparison, *, color: bool = False) -> Table:
    """The turns; those that are the same in one line."""
    table = Table(box=box.SIMPLE_HEAD, caption=_LEGEND, caption_justify="left", pad_edge=False)
    table.add_column("turn", justify="right", no_wrap=True)
    table.add_column("who said what", ratio=2, overflow="fold")
    table.add_column("what differs", ratio=3, overflow="fold")
    table.add_column("heard/sent ms", no_wrap=True)
    table.add_column("latency ms", no_wrap=True)
    for turn in comparison.turns:
        if turn.number == START and turn.first is None:
            continue
        table.add_row(
            str(turn.number) if turn.number != START else "start",
            who_said_what(turn.recorded, color=color) if turn.recorded else "",
            Text("\n".join(_differences(turn))),
            _heard(turn.recorded, turn.replayed),
            _latencies(turn.recorded, turn.replayed),
            end_section=True,
        )
    return table


def _differences(turn: ReplayedTurn) -> Iterator[str]:
    if turn.first is None:
        yield f"nothing ({turn.commands} commands)"
        return
    changes = [change for change in turn.changes if change.kind != "same"]
    if not changes:
        yield f"the order at {turn.first.at_ms:.0f}: {told_of(turn.first)}"
    yield from (_line(change) for change in changes[:MOST_LINES])
    if len(changes) > MOST_LINES:
        yield f"and {len(changes) - MOST_LINES} more, which --json tells"


def _line(change: Change) -> str:
    said = change.recorded or change.replayed
    if change.kind == "changed" and change.recorded != change.replayed:
        said = f"{change.recorded} → {change.replayed}"
    return f"{_SIGNS[change.kind]} {change.at_ms:.0f} {said}"


def _heard(recorded: Turn | None, replayed: Turn | None) -> str:
    before, after = (heard_of_sent(turn) if turn else "" for turn in (recorded, replayed))
    return before if before == after else f"{before or 'none'}\n→ {after or 'none'}"


def _latencies(recorded: Turn | None, replayed: Turn | None) -> str:
    before, after = (latencies(turn) if turn else {} for turn in (recorded, replayed))
    return "\n".join(
        f"{name} {before.get(name, 'none')}"
        + (f" → {after.get(name, 'none')}" if before.get(name) != after.get(name) else "")
        for name in dict.fromkeys((*before, *after))
    )


def as_json(replay: Replay, comparison: Comparison) -> dict[str, Any]:
    """Everything, of plain values."""
    header = replay.journal.header
    return {
        "call_id": header.call.call_id,
        "adapter": header.call.adapter,
        "route": replay.terms.route,
        "agents": [agent.name for agent in replay.terms.agents],
        "recorded_by": header.versions,
        "form": header.form,
        "words": header.words,
        "notes": list(notes(replay)),
        "same": comparison.is_same,
        "failure": comparison.failure,
        "commands": comparison.commands,
        "first_difference": msgspec.to_builtins(comparison.first),
        "turns": [_turn_as_json(turn) for turn in comparison.turns],
    }


def _turn_as_json(turn: ReplayedTurn) -> dict[str, Any]:
    rows = {name: turn_rows([side])[0] if side else None for name, side in _sides(turn).items()}
    return {
        "turn": turn.number,
        "same": turn.first is None,
        "commands": turn.commands,
        "first_difference": msgspec.to_builtins(turn.first),
        "changes": msgspec.to_builtins(turn.changes),
        **rows,
    }


def _sides(turn: ReplayedTurn) -> dict[str, Turn | None]:
    return {"recorded": turn.recorded, "replayed": turn.replayed}
