"""Whether a figure grows: a line through its samples, and how much of it is noise."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple


class Slope(NamedTuple):
    """A straight line through samples."""

    first: float
    """The first sample."""
    last: float
    """The last one."""
    per_thousand: float
    """Growth for a thousand calls."""
    noise_per_thousand: float
    """Three standard errors of that growth."""

    @property
    def is_zero(self) -> bool:
        """Whether the growth is no more than noise, or there is none."""
        return self.per_thousand <= self.noise_per_thousand


def slope(calls: Sequence[float], values: Sequence[float]) -> Slope:
    """Fit a line by least squares; at least three samples."""
    count = len(calls)
    mean_x, mean_y = sum(calls) / count, sum(values) / count
    width = sum((x - mean_x) ** 2 for x in calls)
    per_call = sum((x - mean_x) * (y - mean_y) for x, y in zip(calls, values, strict=True)) / width
    left = sum((y - mean_y - per_call * (x - mean_x)) ** 2 for x, y in zip(calls, values, strict=True))
    error = sqrt(left / (count - 2) / width)
    return Slope(values[0], values[-1], per_call * 1000, 3 * error * 1000)
