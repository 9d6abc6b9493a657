"""Shows what came of a simulated call: lines as it happens, tables afterwards, or one JSON document."""

from collections import Counter
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from gateway.simulate.measure import ALERT_P99_MS, RELIABLE_P99_MS
from gateway.simulate.result import CallResult, Note

_STYLES = {
    "said": "cyan",
    "pressed": "cyan",
    "heard": "green",
    "silent": "green",
    "warning": "yellow",
    "mark": "dim",
}
_STYLES |= {"clear": "magenta", "event": "bold", "ended": "bold"}
_AUDIO_FIELDS = ("received_audio", "heard_audio", "sent_audio", "said_audio")


def note_line(note: Note) -> Text:
    """One line about something that just happened."""
    return Text(f"{note.at_s:7.2f} s  {note.kind:<9}{note.text}", style=_STYLES.get(note.kind, ""))


def summary(result: CallResult) -> dict[str, Any]:
    """All that is known of the call as one JSON object; sound and raw messages appear as sizes and counts."""
    document: dict[str, Any] = msgspec.to_builtins(result)
    for name in _AUDIO_FIELDS:
        del document[name]
        document[f"{name}_bytes"] = len(getattr(result, name))
    document["messages"] = dict(Counter(message.kind for message in result.messages))
    document["agent_was_heard"] = result.agent_was_heard
    document["pacing_is_reliable"] = result.pacing.late_p99_ms <= RELIABLE_P99_MS
    return {name: _rounded(value) for name, value in document.items()}


def _rounded(value: Any) -> Any:
    """The same with numbers to the microsecond; what lies behind that is the clock's noise."""
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {name: _rounded(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner) for inner in value]
        case _:
            return value


def tables(result: CallResult) -> list[Table | Text]:
    """Turns with their latencies, then the call as a whole, then warnings."""
    shown: list[Table | Text] = []
    if result.turns:
        shown.append(_turns_table(result))
    if result.pacing.frames:
        shown.append(_call_table(result))
    shown += [Text(f"warning at {one.at_s:.2f} s: {one.text}", style="yellow") for one in result.warnings]
    if result.unsaid:
        shown.append(Text(f"never said: {', '.join(result.unsaid)}", style="yellow"))
    if result.pacing.late_p99_ms >= ALERT_P99_MS:
        late = f"this machine was busy and sent the caller's frames up to {result.pacing.late_p99_ms:.0f} ms late (99th percentile)"
        shown.append(Text(f"{late}; the latencies above are as uncertain as that", style="yellow"))
    return shown


def _turns_table(result: CallResult) -> Table:
    table = Table(
        title="turns, as the caller measured them",
        caption="clear and silent: from our first sound over the agent",
    )
    for name in ("caller", "said at", "answer after", "clear after", "silent after"):
        table.add_column(name, justify="left" if name == "caller" else "right", no_wrap=name != "caller")
    for turn in result.turns:
        table.add_row(
            Text(turn.label + (" (over the agent)" if turn.over else "")),
            f"{turn.spoken.start_s:.2f} to {turn.spoken.end_s:.2f} s",
            _ms(turn.latency_ms, "no answer"),
            _ms(turn.clear_after_ms, "no clear" if turn.over else ""),
            _ms(turn.silent_after_ms, ""),
        )
    return table


def _call_table(result: CallResult) -> Table:
    table = Table(title="the call", show_header=False)
    heard_s = sum(interval.end_s - interval.start_s for interval in result.heard)
    first = "never" if result.first_heard_s is None else f"{result.first_heard_s:.2f} s after the answer"
    rows = {
        "ended": result.end_reason.replace("_", " "),
        "lasted": f"{result.duration_s:.1f} s",
        "agent first heard": first,
        "agent heard": f"{heard_s:.1f} s",
        "longest silence": f"{result.longest_silence_ms:.0f} ms",
        "dead air": ", ".join(f"{gap.start_s:.1f} to {gap.end_s:.1f} s" for gap in result.dead_air) or "none",
        "clears": ", ".join(f"{one.at_s:.2f} s ({one.discarded_ms:.0f} ms unheard)" for one in result.clears),
        "marks returned": str(len(result.marks)) if result.marks else "",
        "media sockets lost": ", ".join(
            f"{(gap.end_s - gap.start_s) * 1000:.0f} ms" for gap in result.socket_gaps
        ),
        "carrier said": "; ".join(result.carrier_said),
        "sent on to": ", ".join(result.dialled),
        "most waiting at the carrier": f"{result.most_queued_ms:.0f} ms",
        "own frames late": f"{result.pacing.late_p99_ms:.2f} ms (p99), {result.pacing.late_max_ms:.2f} ms at most",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value))
    return table


def _ms(value: float | None, missing: str) -> str:
    return missing if value is None else f"{value:.0f} ms"
