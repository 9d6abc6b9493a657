"""The report of a run, as data: what was measured, beside what, on which machine.

Owns its shape, which `--json` prints, and what is derived from windows: the best one and the ratio to the floor.
"""

from msgspec import Struct

from gateway.simulate.load.figures import Window, best_of
from gateway.simulate.load.generator import Burst
from gateway.simulate.load.plan import Plan

FLOOR = "haproxy"
"""The system to which others are compared."""


class StepReport(Struct, frozen=True, kw_only=True):
    """One system at one number of calls."""

    over: str
    """``plain`` or ``tls``: how the agent was reached."""
    calls: int
    """Calls at once."""
    system: str
    """Its name."""
    problem: str = ""
    """Why there are no figures; empty when there are."""
    behind: bool = False
    """Whether the system did not keep up; then what a frame cost is too little, and has no ratio."""
    void: bool = False
    """Whether the generator was too late in every window."""
    best: Window | None = None
    """The window that counts: the cheapest that is not void, or of void ones the least late."""
    cpu_ratio: float | None = None
    """Processor time per frame beside HAProxy's in this run; None without a sound figure of either."""
    memory_per_call_bytes: int = 0
    """Resident memory over that without a call, per call."""
    clears: int = 0
    """How often a caller's playback was emptied."""
    lost: int = 0
    """Calls whose media socket was gone at the end."""
    house_sounds: int = 0
    """Messages with sound of the system's own, such as an apology."""
    refused: int = 0
    """Messages that a carrier would not have accepted."""
    windows: list[Window] = []
    """All windows, in order."""


class BurstReport(Struct, frozen=True, kw_only=True):
    """One system under calls that all start at once."""

    over: str
    """``plain`` or ``tls``."""
    system: str
    """Its name."""
    problem: str = ""
    """Why there are no figures; empty when there are."""
    figures: Burst | None = None
    """How long the starts took."""


class Report(Struct, kw_only=True):
    """A whole run."""

    began: str
    """When, in UTC."""
    machine: dict[str, str]
    """On what."""
    plan: Plan
    """What was asked for."""
    notes: list[str]
    """What makes the figures less than they should be."""
    steps: list[StepReport] = []
    """Every step of every system."""
    bursts: list[BurstReport] = []
    """Every burst of every system."""

    @property
    def is_worth_something(self) -> bool:
        """Whether any step has a figure that may be believed."""
        return any(step.best is not None and not step.void for step in self.steps)


def chosen(windows: list[Window]) -> tuple[Window | None, bool]:
    """The window that stands for a step, and whether it is void all the same."""
    best = best_of(windows)
    if best is not None or not windows:
        return best, False
    return min(windows, key=lambda window: window.late.p99_ms), True


def ratio(step: StepReport, steps: list[StepReport]) -> float | None:
    """A step's processor time per frame as a multiple of the floor's at the same load in the same run."""
    floor = next(
        (
            one
            for one in steps
            if one.system == FLOOR and (one.over, one.calls) == (step.over, step.calls) and not one.void
        ),
        None,
    )
    if floor is None or floor.best is None or not floor.best.cpu_us or floor.behind:
        return None
    if step.best is None or step.void or step.behind:
        return None
    return round(step.best.cpu_us / floor.best.cpu_us, 2)
