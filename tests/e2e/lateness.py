"""How late this process was, and when: both ends of every call and the gateway between them share one loop.

A comparator: what a busy machine takes from everybody, it takes from a timer that does nothing else as well.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STEP_S = 0.01
ORDINARY_S = 0.003
"""What a timer may be late without any reason."""


class Lateness:
    """When a timer that does nothing was late, and by how much."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []

    def lost_ms(self, from_at: float, to_at: float) -> float:
        """All that was lost between two moments of the loop's time, in milliseconds."""
        return sum(late for at, late in self._late if from_at <= at and at - late <= to_at) * 1000

    def worst_ms(self, from_at: float, to_at: float) -> float:
        """The longest stretch that was lost."""
        return (
            max((late for at, late in self._late if from_at <= at and at - late <= to_at), default=0) * 1000
        )

    async def watch(self) -> None:
        """Look at the clock all the time, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + STEP_S
            await asyncio.sleep(STEP_S)
            if (late := loop.time() - due) > ORDINARY_S:
                self._late.append((loop.time(), late))


@asynccontextmanager
async def watched_clock() -> AsyncIterator[Lateness]:
    """Watch the clock meanwhile."""
    lateness = Lateness()
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(lateness.watch())
        yield lateness
        watch.cancel()
