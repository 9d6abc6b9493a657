"""The report for people: a line as each step is done, tables at the end.

Owns the words and columns; what they mean is told in ``docs/howto/measure.md``.
"""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from gateway.simulate.load.figures import LATE_LIMIT_MS, Spread, Window
from gateway.simulate.load.report import BurstReport, Report, StepReport

_OVER = {"plain": "plain TCP to the agent", "tls": "TLS to the agent"}


def opening(report: Report) -> Iterator[Text]:
    """What is going to be done."""
    plan = report.plan
    minutes = max(1, round(plan.about_s / 60))
    yield Text(
        f"{plan.rows} measurements, about {minutes} min, each step {plan.runs} x {plan.seconds:g} s; "
        f"{report.machine['processor']}, Python {report.machine['python']}"
    )
    for note in report.notes:
        yield Text(f"Note: {note}", style="yellow")


def line(done: StepReport | BurstReport) -> Text:
    """One thing that was measured."""
    head = f"{done.over:5}  {done.system:18}"
    if done.problem:
        return Text(f"{head} {_where(done)}: {done.problem}", style="yellow")
    if isinstance(done, BurstReport):
        took = done.figures.heard if done.figures else Spread()
        failed = (
            f"; {done.figures.failed} failed: {done.figures.why}"
            if done.figures and done.figures.failed
            else ""
        )
        heard = f"heard after {took.median_ms:.0f} ms, at worst {took.worst_ms:.0f} ms"
        return Text(f"{head} {_where(done)}: {heard}{failed}", style="yellow" if failed else "")
    window = done.best
    if window is None:
        return Text(f"{head} {_where(done)}: nothing", style="yellow")
    beside = f", {done.cpu_ratio:.2f} x haproxy" if done.cpu_ratio is not None else ""
    void = f"; {_void(window)}" if done.void else ""
    behind = "; it does not keep up" if done.behind else ""
    lost = f"; {done.lost} calls were lost" if done.lost else ""
    cost = f"{window.cpu_us:6.1f} µs a frame there and back{beside}"
    figures = f"{cost}, p99 {window.delay_p99_ms:.1f} ms{behind}{lost}{void}"
    return Text(f"{head} {_where(done)}: {figures}", style="yellow" if done.void or done.behind else "")


def _where(done: StepReport | BurstReport) -> str:
    if isinstance(done, StepReport):
        return f"{done.calls:4} calls"
    return f"{done.figures.calls:4} at once" if done.figures else "   burst"


def _void(window: Window) -> str:
    late = window.late
    return f"void: the generator was {late.p99_ms:.1f} ms late (p99, at most {LATE_LIMIT_MS:g} may be)"


def tables(report: Report) -> Iterator[Table | Text]:
    """Everything at the end."""
    for over in report.plan.over:
        if any(step.over == over for step in report.steps):
            yield _costs(report, over)
            yield _delays(report, over)
    if any(burst.figures for burst in report.bursts):
        yield _bursts(report)
    for note in report.notes:
        yield Text(f"Note: {note}", style="yellow")


def _costs(report: Report, over: str) -> Table:
    table = _table(
        f"what it costs, {_OVER[over]}",
        "a frame there and back: one of the caller and one of the agent; late: the generator itself, p99 / worst",
        ("µs a frame", "x haproxy", "core", "KB a call", "late, ms"),
    )
    for step, window in _rows(table, report, over):
        table.add_row(
            str(step.calls),
            step.system + (" (behind)" if step.behind else ""),
            f"{window.cpu_us:.1f}",
            "" if step.cpu_ratio is None else f"{step.cpu_ratio:.2f}",
            f"{window.core_share:.0%}",
            f"{step.memory_per_call_bytes / 1024:.0f}",
            f"{'void: ' if step.void else ''}{_short(window.late.p99_ms)} / {_short(window.late.worst_ms)}",
            end_section=step.system == report.plan.systems[-1],
            style="yellow" if step.void or step.behind else "",
        )
    return table


def _delays(report: Report, over: str) -> Table:
    table = _table(
        f"how long it takes, {_OVER[over]}",
        "ms, median / p99 / worst; off grid: arrival at the caller against the 20 ms grid, p99; health: /healthz",
        ("to agent", "to caller", "off grid", "health", "missing"),
    )
    for step, window in _rows(table, report, over):
        table.add_row(
            str(step.calls),
            step.system + (" (behind)" if step.behind else ""),
            _three(window.to_agent),
            _three(window.to_caller),
            _short(window.pacing.p99_ms),
            _three(window.probe) if window.probe.worst_ms else "",
            _missing(window),
            end_section=step.system == report.plan.systems[-1],
            style="yellow" if step.void or step.behind else "",
        )
    return table


def _table(title: str, caption: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, caption=caption)
    for name in ("calls", "system", *columns):
        table.add_column(name, justify="left" if name == "system" else "right", no_wrap=True)
    return table


def _rows(table: Table, report: Report, over: str) -> Iterator[tuple[StepReport, Window]]:
    """The steps that have figures; the others are written at once."""
    for step in report.steps:
        if step.over != over:
            continue
        if step.best is not None:
            yield step, step.best
        else:
            last = step.system == report.plan.systems[-1]
            table.add_row(str(step.calls), step.system, "none", end_section=last, style="yellow")


def _three(values: Spread) -> str:
    if not values.worst_ms:
        return "none"
    return " / ".join(_short(value) for value in (values.median_ms, values.p99_ms, values.worst_ms))


def _missing(window: Window) -> str:
    if not window.missing_to_agent and not window.missing_to_caller:
        return ""
    to_agent = window.missing_to_agent / max(1, window.sent_to_agent)
    to_caller = window.missing_to_caller / max(1, window.sent_to_caller)
    return f"{to_agent:.1%} + {to_caller:.1%}"


def _short(milliseconds: float) -> str:
    return (
        f"{milliseconds:.2f}"
        if milliseconds < 1
        else f"{milliseconds:.1f}"
        if milliseconds < 100
        else f"{milliseconds:.0f}"
    )


def _bursts(report: Report) -> Table:
    table = Table(
        title=f"{report.plan.burst} calls started in the same moment",
        caption="in ms as median / p95 / worst, from the carrier's first request",
    )
    for name in ("", "system", "socket open", "agent asked", "caller heard", "failed"):
        table.add_column(name, justify="left" if name in {"", "system"} else "right", no_wrap=True)
    for burst in report.bursts:
        figures = burst.figures
        if figures is None:
            table.add_row(burst.over, burst.system, "none", style="yellow")
            continue
        spreads = (figures.opened, figures.updated, figures.heard)
        cells = (
            " / ".join(f"{value:.0f}" for value in (one.median_ms, one.p95_ms, one.worst_ms))
            for one in spreads
        )
        table.add_row(burst.over, burst.system, *cells, f"{figures.failed}" if figures.failed else "")
    return table
