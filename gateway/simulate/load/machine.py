"""What this machine says of a process: the processor time it used, its memory; and which core it runs on.

Owns what is read from Linux's kernel. Refuses other systems in a sentence, as nothing else tells it as exactly.
"""

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from msgspec import Struct

FILES: Final = 16_384
"""Open files that are asked for: two for each call and end."""
_PARTS: Final = ("talkpath", "aiohttp", "uvloop", "msgspec", "picows")


class CannotMeasure(Exception):  # noqa: N818 - a fact about this machine
    """The benchmark, or a part of it, cannot be run here; one sentence that says why and what to do."""


class Cores(Struct, frozen=True):
    """Who runs where."""

    generator: int
    """The core of the load generator."""
    system: int
    """The core of the system under test."""
    note: str = ""
    """What makes figures less than they should be; empty where nothing does."""


def choose_cores() -> Cores:
    """Give generator and system a core each.

    Raises:
        CannotMeasure: elsewhere than on Linux.
    """
    if sys.platform != "linux":
        raise CannotMeasure("the load benchmark reads /proc and pins processes to cores; run it on Linux")
    there = sorted(os.sched_getaffinity(0))
    if len(there) < 2:
        note = "one core only: the generator and the system disturb each other, take no figure for a measure"
        return Cores(there[0], there[0], note)
    if there[-1] in _siblings(there[0]):
        note = "the two cores are two threads of one: whatever runs on one slows the other"
        return Cores(there[-1], there[0], note)
    return Cores(there[-1], there[0])


def _siblings(core: int) -> set[int]:
    """Cores that share this one's units, itself left out."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        parts = path.read_text(encoding="ascii").strip().replace("-", ",").split(",")
    except OSError:
        return set()
    return {int(part) for part in parts if part} - {core}


def open_many_files() -> None:
    """Ask for as many open files as many calls need; processes that are started have them too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def describe() -> dict[str, str]:
    """What the figures were taken on."""
    told = {"processor": _processor(), "kernel": platform.release(), "python": platform.python_version()}
    for name in _PARTS:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            continue
    return told


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def family(pid: int) -> list[int]:
    """A process and all its descendants; empty when it has gone."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found.extend(map(int, (task / "children").read_text(encoding="ascii").split()))
        except OSError:
            continue
    return found


def cpu_ns(pid: int) -> int:
    """Processor time of a process, all its threads, user and system.

    The sum that ``/proc/PID/stat`` has as utime and stime, which are rounded to 10 ms: the kernel's clock of that
    process, with the number that clock_getcpuclockid(3) gives it.

    Raises:
        OSError: when the process has gone.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def memory_bytes(pid: int) -> int:
    """Resident memory of a process.

    Raises:
        OSError: when the process has gone.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run, and start processes, on one core for the length of a ``with``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
