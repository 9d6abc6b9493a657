"""What this machine says of a process: the processor time it used, its memory; and which core it runs on.

Owns what is read from Linux's kernel. Refuses other systems in a sentence, as nothing else tells it as exactly.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CannotMeasure(Exception):  # noqa: N818 - a fact about this machine
    """The benchmark cannot be run here; one sentence that says why and what to do."""


def cores() -> list[int]:
    """Cores that this process may use.

    Raises:
        CannotMeasure: elsewhere than on Linux.
    """
    if sys.platform != "linux":
        raise CannotMeasure(
            "the load benchmark reads /proc and pins processes to cores, so it runs on Linux only"
        )
    return sorted(os.sched_getaffinity(0))


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(map(int, task.read_text().split()))
    return found


def cpu_ns(pid: int) -> int:
    """Processor time of a process, all its threads, user and system, in nanoseconds.

    The same sum as utime + stime in ``/proc/<pid>/stat``, which rounds it to 10 ms: the kernel's clock of that
    process, as clock_getcpuclockid(3) names it.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run, and start processes, on one core for the length of a ``with``."""
    before = os.sched_getaffinity(0)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, before)
