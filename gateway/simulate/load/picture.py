"""The picture of growth: processor time per frame and delay against the number of calls.

Owns what is drawn; pygal draws it. A step that is void or failed leaves a gap in its line.
"""

import math
import re
import sys
from collections.abc import Callable
from typing import Any, Final

import pygal
from pygal.style import Style

from gateway.simulate.load.figures import Window
from gateway.simulate.load.report import Report

# pygal leaves a finder of the old kind behind, about which Python 3.11 warns at every import that fails; it serves
# maps only, which are not drawn here
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

WIDTH: Final = 620
HEIGHT: Final = 400
_LEAST: Final = 0.1
"""Where a logarithmic axis begins."""
_ROOT: Final = re.compile(r"^(?:<\?xml[^>]*>\s*)?<svg ")
_SCRIPT: Final = re.compile(r"<script.*?</script>", re.DOTALL)
_STYLE: Final = Style(
    background="white",
    plot_background="white",
    colors=("#7f7f7f", "#ff7f0e", "#2ca02c", "#1f77b4"),
    guide_stroke_color="#dddddd",
    major_guide_stroke_color="#dddddd",
    font_family="sans-serif",
    title_font_family="sans-serif",
    title_font_size=14,
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
            drawn = _chart(report, over, f"{title}, {over.replace('tls', 'TLS')}", figure, is_log=is_log)
            place = f'<svg x="{column * WIDTH}" y="{row * HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            charts.append(_ROOT.sub(place, _SCRIPT.sub("", drawn), count=1))  # a picture needs no script
    width, height = WIDTH * len(report.plan.over), HEIGHT * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n' + "\n".join(charts) + "\n</svg>\n"
    )


def _chart(report: Report, over: str, title: str, figure: Callable[[Window], float], *, is_log: bool) -> str:
    figures = [
        # pygal's own logarithm would bend the calls' axis too, and close gaps
        (step.system, step.calls, math.log10(max(_LEAST, figure(step.best))) if is_log else figure(step.best))
        for step in report.steps
        if step.over == over and step.best is not None and not step.void
    ]
    most = max((value for _, _, value in figures), default=1.0)
    chart: Any = pygal.XY(
        title=title,
        x_title="calls at once",
        style=_STYLE,
        width=WIDTH,
        height=HEIGHT,
        js=[],
        y_labels=_decades(most) if is_log else None,
        range=(math.log10(_LEAST), max(most, 0.0)) if is_log else (0, most),
        xrange=(0, max(report.plan.calls)),
        x_labels=report.plan.calls,
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        allow_interruptions=True,
        dots_size=2.5,
    )
    for system in report.plan.systems:
        at = {calls: value for name, calls, value in figures if name == system}
        chart.add(system, [(calls, at.get(calls)) for calls in report.plan.calls])
    drawn: str = chart.render(is_unicode=True)
    return drawn


def _decades(most: float) -> list[dict[str, Any]]:
    """Labels of a logarithmic axis up to the logarithm of the largest value."""
    first, last = round(math.log10(_LEAST)), max(0, math.ceil(most))
    return [{"value": power, "label": f"{10.0**power:g}"} for power in range(first, last + 1)]
