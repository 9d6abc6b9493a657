"""The picture of growth: processor time per frame and delay against the number of calls.

Owns what is drawn; pygal draws it. A step that is void or failed leaves a gap.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import pygal
from pygal.style import Style

from gateway.simulate.load.figures import Window
from gateway.simulate.load.report import Report

WIDTH: Final = 620
HEIGHT: Final = 400
_ROOT: Final = re.compile(r"^(?:<\?xml[^>]*>\s*)?<svg ")
_STYLE: Final = Style(
    background="white",
    plot_background="white",
    colors=("#7f7f7f", "#ff7f0e", "#2ca02c", "#1f77b4"),
    font_family="sans-serif",
    title_font_size=15,
    label_font_size=11,
    major_label_font_size=11,
    legend_font_size=12,
)


def growth(report: Report) -> str:
    """One SVG: a row of charts for processor time and one for delay, a column for each way to reach the agent."""
    rows: tuple[tuple[str, Callable[[Window], float], bool], ...] = (
        ("µs of processor per frame there and back", lambda window: window.cpu_us, False),
        ("ms of delay, p99 of the slower way", lambda window: window.delay_p99_ms, True),
    )
    charts = []
    for row, (title, figure, is_log) in enumerate(rows):
        for column, over in enumerate(report.plan.over):
            drawn = _chart(report, over, f"{title}, {over}", figure, is_log=is_log)
            place = f'<svg x="{column * WIDTH}" y="{row * HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            charts.append(_ROOT.sub(place, drawn, count=1))
    width, height = WIDTH * len(report.plan.over), HEIGHT * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n' + "\n".join(charts) + "\n</svg>\n"
    )


def _chart(report: Report, over: str, title: str, figure: Callable[[Window], float], *, is_log: bool) -> str:
    chart: Any = pygal.Line(
        title=title,
        x_title="calls at once",
        style=_STYLE,
        width=WIDTH,
        height=HEIGHT,
        js=[],
        logarithmic=is_log,
        range=None if is_log else (0, _most(report, over, figure)),
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        show_minor_x_labels=True,
        dots_size=2.5,
    )
    chart.x_labels = list(map(str, report.plan.calls))
    for system in report.plan.systems:
        figures = {
            step.calls: figure(step.best)
            for step in report.steps
            if step.over == over and step.system == system and step.best is not None and not step.void
        }
        chart.add(system, [figures.get(calls) for calls in report.plan.calls])
    drawn: str = chart.render(is_unicode=True)
    return drawn


def _most(report: Report, over: str, figure: Callable[[Window], float]) -> float:
    return max((figure(step.best) for step in report.steps if step.over == over and step.best), default=1.0)
