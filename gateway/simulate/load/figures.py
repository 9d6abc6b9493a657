"""From raw numbers to figures: percentiles, what a frame cost, and whether a window may be believed.

Owns every definition in the benchmark's report. Refuses to measure.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from gateway.simulate.load.arrivals import Direction, Notes
from gateway.simulate.load.pace import Grid

LATE_LIMIT_MS = 2.0
"""Lateness of the generator (p99) beyond which a window is void."""


class Spread(Struct, frozen=True):
    """How a quantity is spread, in milliseconds; all zero when there was none."""

    median_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    worst_ms: float = 0.0


def spread(values_ns: Sequence[int]) -> Spread:
    """Order nanoseconds by size."""
    if not values_ns:
        return Spread()
    ordered = sorted(values_ns)
    return Spread(*(round(percentile(ordered, share) / 1e6, 4) for share in (0.5, 0.95, 0.99, 1.0)))


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that this share of all does not exceed."""
    return ordered[max(0, -(-round(share * 10_000) * len(ordered) // 10_000) - 1)]


class Window(Struct, frozen=True, kw_only=True):
    """What one window of a step has shown."""

    seconds: float
    """How long it was."""
    cpu_us: float
    """Processor time of the system per frame there and back."""
    core_share: float
    """Part of a core that the system used."""
    to_agent: Spread
    """Delay of the caller's frames."""
    to_caller: Spread
    """Delay of the agent's frames."""
    pacing: Spread
    """How far the agent's frames reach the caller off the 20 ms grid."""
    late: Spread
    """How late the generator itself sent."""
    probe: Spread
    """How long the system's health page took to answer, where it has one."""
    sent_to_agent: int
    sent_to_caller: int
    missing_to_agent: int
    """Frames of the caller that did not arrive within the window and a moment after."""
    missing_to_caller: int
    """Frames of the agent that did not, interruptions included."""
    generator_share: float
    """Part of its own core that the generator used."""

    @property
    def is_void(self) -> bool:
        """Whether the generator was too late to judge anybody else."""
        return self.late.p99_ms > LATE_LIMIT_MS


def window_of(
    notes: Notes, grid: Grid, *, seconds: float, cpu_ns: int, own_cpu_ns: int, probes_ns: Sequence[int]
) -> Window:
    """Make a window's figures."""
    pairs = (notes.to_agent.sent + notes.to_caller.sent) / 2
    return Window(
        seconds=seconds,
        cpu_us=round(cpu_ns / 1000 / pairs, 2) if pairs else 0.0,
        core_share=round(cpu_ns / 1e9 / seconds, 4),
        to_agent=spread(notes.to_agent.delays_ns),
        to_caller=spread(notes.to_caller.delays_ns),
        pacing=spread(pacing_errors(notes.to_caller, grid)),
        late=spread(notes.late_ns),
        probe=spread(probes_ns),
        sent_to_agent=notes.to_agent.sent,
        sent_to_caller=notes.to_caller.sent,
        missing_to_agent=max(0, notes.to_agent.sent - len(notes.to_agent.calls)),
        missing_to_caller=max(0, notes.to_caller.sent - len(notes.to_caller.calls)),
        generator_share=round(own_cpu_ns / 1e9 / seconds, 4),
    )


def pacing_errors(direction: Direction, grid: Grid) -> list[int]:
    """How far each frame came off the 20 ms grid of its call, when a usual delay is taken off."""
    after_due = [
        arrived - grid.due_ns(arrived - delay, grid.agent_slot(call))
        for call, delay, arrived in zip(
            direction.calls, direction.delays_ns, direction.arrived_ns, strict=True
        )
    ]
    if not after_due:
        return []
    usual = percentile(sorted(after_due), 0.5)
    return [abs(late - usual) for late in after_due]


def best(windows: Sequence[Window]) -> Window | None:
    """The window with the least processor time per frame among those that are not void."""
    sound = [window for window in windows if not window.is_void]
    return min(sound, key=lambda window: window.cpu_us, default=None)


def as_json(figures: object) -> bytes:
    """Figures as JSON."""
    return msgspec.json.encode(figures)
