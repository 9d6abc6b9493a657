"""The table of a call's turns: who said what, what of it was heard, and how long everything took.

Owns the look on a terminal, without one, and as rows for JSON. Refuses to compute: latencies are defined in
`gateway.observers.turns`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.observers.transcript import UNKNOWN, TranscriptLine, transcript_of
from gateway.observers.turns import ToolUse, Turn

WIDTH: Final = 100
"""Columns where there is no terminal that says how many it has."""
_LATENCIES: Final = {
    "answer": "user_bot_latency_ms",
    "turn end": "end_of_turn_delay_ms",
    "audible": "first_audible_ms",
    "barge-in": "barge_in_ms",
}
"""Those that the table shows, by the word for them."""
_SPEAKERS: Final = {"user": ("caller", "cyan"), "agent": ("agent", "green"), "house": ("house", "magenta")}
_LEGEND: Final = (
    "answer: the caller stopped to the first audible sample sent. turn end: the caller stopped to the agent's commit. "
    "audible: commit to first audible sample sent. barge-in: the agent's signal to our clear. heard/sent: "
    "of the reply's sound, by the carrier's marks or estimated by pace."
)


def turn_rows(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """One row per turn, of plain values in milliseconds; None is what was not seen."""
    return [_row(turn) for turn in turns]


def turn_table(turns: Sequence[Turn], *, color: bool = False) -> Table:
    """The table; unheard words are struck through, or in brackets without colour."""
    table = Table(box=box.SIMPLE_HEAD, caption=_LEGEND, caption_justify="left", pad_edge=False)
    table.add_column("turn", justify="right", no_wrap=True)
    table.add_column("who said what", ratio=1, overflow="fold")
    table.add_column("latency ms", no_wrap=True)
    table.add_column("heard/sent ms", justify="right", no_wrap=True)
    table.add_column("by", no_wrap=True)
    table.add_column("tools", max_width=24, overflow="fold")
    for turn in turns:
        table.add_row(
            str(turn.number),
            who_said_what(turn, color=color),
            "\n".join(f"{name} {value}" for name, value in latencies(turn).items()),
            heard_of_sent(turn),
            _known_by(turn),
            Text("\n".join(_tool(tool) for tool in turn.tools)),  # its name is the agent's: never markup
            end_section=True,
        )
    return table


def print_turns(turns: Sequence[Turn], console: Console | None = None) -> None:
    """Print the table, plain and `WIDTH` columns wide where there is no terminal."""
    if console is None:
        console = Console()
        console = console if console.is_terminal else Console(width=WIDTH)
    color = console.is_terminal and console.color_system is not None
    console.print(turn_table(turns, color=color), width=None if console.is_terminal else WIDTH)


def _row(turn: Turn) -> dict[str, Any]:
    return {
        "turn": turn.number,
        "greeting": turn.is_greeting,
        "caller": turn.user_text,
        "keys": turn.keys,
        "agent": [
            {"reply_id": line.reply_id, "heard": line.heard.strip(), "unheard": line.unheard.strip()}
            for line in transcript_of([turn])
            if line.speaker == "agent"
        ],
        "interrupted": turn.was_interrupted,
        "user_bot_latency_ms": _round(turn.user_bot_latency_ms),
        "speech_delay_ms": _round(turn.speech_delay_ms),
        "end_of_turn_delay_ms": _round(turn.end_of_turn_delay_ms),
        "transcript_ms": _round(turn.transcript_ms),
        "first_audio_ms": _round(turn.first_audio_ms),
        "first_audible_ms": _round(turn.first_audible_ms),
        "barge_in_ms": _round(turn.barge_in_ms),
        "gap_ms": _round(turn.gap_ms),
        "duration_ms": _round(turn.duration_ms),
        "sent_ms": _round(turn.sent_ms),
        "heard_ms": _round(turn.heard_ms),
        "cut_ms": _round(turn.cut_ms),
        "known_by": _known_by(turn),
        "tools": [
            {
                "name": tool.name,
                "outcome": tool.outcome,
                "duration_ms": _round(tool.duration_ms),
                "answer_ms": _round(tool.answer_ms),
                "abandoned": tool.abandoned,
            }
            for tool in turn.tools
        ],
    }


def _round(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 1)


def who_said_what(turn: Turn, *, color: bool = False) -> Text:
    """The words of a turn, a line for each speaker."""
    return Text("\n").join(_words(line, color=color) for line in transcript_of([turn]))


def latencies(turn: Turn) -> dict[str, str]:
    """The latencies that were seen, in milliseconds."""
    seen = {name: getattr(turn, attribute) for name, attribute in _LATENCIES.items()}
    seen["gap"] = turn.gap_ms if turn.gaps else None
    return {name: f"{value_ms:.0f}" for name, value_ms in seen.items() if value_ms is not None}


def heard_of_sent(turn: Turn) -> str:
    """What was heard of what was sent; empty until that is known."""
    return f"{turn.heard_ms:.0f}/{turn.sent_ms:.0f}" if _settled(turn) else ""


def _words(line: TranscriptLine, *, color: bool) -> Text:
    speaker, style = _SPEAKERS[line.speaker]
    text = Text.assemble((f"{speaker}: ", style if color else ""))
    if not line.known:
        return text.append(f"{line.text.strip()} ({UNKNOWN})")
    text.append(line.heard.strip())
    if unheard := line.unheard.strip():
        text.append(" " if line.heard.strip() else "")
        text.append(unheard if color else f"[{unheard}]", "strike dim" if color else "")
    return text


def _settled(turn: Turn) -> bool:
    return any(reply.settled for reply in turn.replies)


def _known_by(turn: Turn) -> str:
    """``marks`` where the carrier said what was heard, ``pace`` where it is estimated."""
    ways = {"marks" if reply.confirmed else "pace" for reply in turn.replies if reply.settled}
    return "+".join(sorted(ways))


def _tool(tool: ToolUse) -> str:
    """Name, outcome and duration of a tool."""
    duration_ms = tool.duration_ms
    if tool.informational:
        outcome = "by the provider"
    elif duration_ms is None:
        outcome = "abandoned" if tool.abandoned else "running"
    else:
        outcome = f"{tool.outcome} {duration_ms:.0f} ms" + (", abandoned" if tool.abandoned else "")
    return f"{tool.name}: {outcome}"
