"""What the end-to-end tests measured, to be printed at the end of the run for whoever reads its log."""

from collections.abc import Iterable

LINES: list[str] = []
"""In the order in which they were told."""


def tell(topic: str, text: str) -> None:
    """Keep one line of figures."""
    LINES.append(f"{topic:<26} {text}")


def percentile(values: Iterable[float], share: float) -> float:
    """The value that ``share`` of all do not exceed, by the nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def spread(values: Iterable[float]) -> str:
    """Median, 99th percentile and maximum of some milliseconds, in words."""
    ranked = sorted(values)
    p50, p99 = percentile(ranked, 0.5), percentile(ranked, 0.99)
    return f"p50 {p50:.2f}, p99 {p99:.2f}, max {ranked[-1]:.2f} ms of {len(ranked)}"
