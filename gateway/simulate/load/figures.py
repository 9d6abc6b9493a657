"""From raw numbers to figures: percentiles, what a frame cost, and whether a window may be believed.

Owns every definition in the benchmark's report. Refuses to measure.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from gateway.simulate.load.arrivals import Arrival, Notes
from gateway.simulate.load.pace import Grid
from gateway.simulate.load.stamps import FRAME_NS

LATE_LIMIT_MS: Final = 2.0
"""Lateness of the generator (p99) beyond which a window is void."""


LOST_SHARE: Final = 0.01
"""Part of the callers' frames that may be missing."""


class Spread(Struct, frozen=True):
    """How a quantity is spread, in milliseconds; all zero where there was none."""

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
    """The smallest value that at least this share of all do not exceed."""
    rank = -(-round(share * 10_000) * len(ordered) // 10_000)
    return ordered[max(0, rank - 1)]


class Window(Struct, frozen=True, kw_only=True):
    """What one window of a step has shown."""

    seconds: float
    """How long it was."""
    cpu_us: float
    """Processor time of the system per frame there and back: one of the caller and one of the agent."""
    core_share: float
    """Part of a core that the system used."""
    to_agent: Spread
    """Delay of the caller's frames, from one end to the other."""
    to_caller: Spread
    """Delay of the agent's frames."""
    pacing: Spread
    """How far the agent's frames reach the caller off the 20 ms grid on which they were planned."""
    probe: Spread
    """How long the system's health page took to answer, where it has one."""
    late: Spread
    """How late the generator itself sent."""
    sent_to_agent: int
    """Frames of callers that went out."""
    sent_to_caller: int
    """Frames of agents that went out."""
    missing_to_agent: int
    """Frames of callers that had not arrived a moment after the window."""
    missing_to_caller: int
    """Frames of agents that had not, those that an interruption cut off included."""
    generator_share: float
    """Part of its own core that the generator used."""

    @property
    def is_void(self) -> bool:
        """Whether the generator was too late to judge anybody else."""
        return self.late.p99_ms > LATE_LIMIT_MS

    @property
    def is_behind(self) -> bool:
        """Whether the system no longer keeps up: half of the frames are a frame's time late, or it loses some.

        Waiting frames are handled together, so that each of them looks cheaper than it is.
        """
        late_ms = max(self.to_agent.median_ms, self.to_caller.median_ms)
        lost = self.missing_to_agent > self.sent_to_agent * LOST_SHARE
        return late_ms > FRAME_NS / 1e6 or lost

    @property
    def delay_p99_ms(self) -> float:
        """The worse of the two ways."""
        return max(self.to_agent.p99_ms, self.to_caller.p99_ms)


class Used(Struct, frozen=True):
    """What was used between two moments."""

    begin_ns: int
    end_ns: int
    system_cpu_ns: int
    own_cpu_ns: int


def window_of(notes: Notes, grid: Grid, used: Used, probes_ns: Sequence[int]) -> Window:
    """Make a window's figures."""
    seconds = (used.end_ns - used.begin_ns) / 1e9
    pairs = (notes.to_agent.sent + notes.to_caller.sent) / 2
    to_agent = notes.to_agent.within(used.begin_ns, used.end_ns)
    to_caller = notes.to_caller.within(used.begin_ns, used.end_ns)
    return Window(
        seconds=round(seconds, 3),
        cpu_us=round(used.system_cpu_ns / 1000 / pairs, 2) if pairs else 0.0,
        core_share=round(used.system_cpu_ns / 1e9 / seconds, 4),
        to_agent=spread([frame.delay_ns for frame in to_agent]),
        to_caller=spread([frame.delay_ns for frame in to_caller]),
        pacing=spread(pacing_errors_ns(to_caller, grid)),
        probe=spread(probes_ns),
        late=spread(notes.late_ns),
        sent_to_agent=notes.to_agent.sent,
        sent_to_caller=notes.to_caller.sent,
        missing_to_agent=max(0, notes.to_agent.sent - len(to_agent)),
        missing_to_caller=max(0, notes.to_caller.sent - len(to_caller)),
        generator_share=round(used.own_cpu_ns / 1e9 / seconds, 4),
    )


def pacing_errors_ns(frames: Sequence[Arrival], grid: Grid) -> list[int]:
    """How far each frame of an agent came off its call's 20 ms grid, when the usual delay is taken off."""
    after_due = [
        frame.sent_ns + frame.delay_ns - grid.due_ns(frame.sent_ns, grid.agent_slot(frame.call))
        for frame in frames
    ]
    if not after_due:
        return []
    usual = percentile(sorted(after_due), 0.5)
    return [abs(late - usual) for late in after_due]


def best_of(windows: Sequence[Window]) -> Window | None:
    """The window with the least processor time per frame among those that are not void."""
    sound = [window for window in windows if not window.is_void]
    return min(sound, key=lambda window: window.cpu_us, default=None)
