"""When each frame goes out: an absolute grid over 20 ms, and the timer that keeps to it.

Owns the arithmetic of the schedule, where a late tick never moves the next one, and a periodic kernel timer:
an event loop's own timers round to milliseconds. Linux only, as the whole benchmark.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from typing import Final

from gateway.simulate.load.stamps import FRAME_NS

MOST_SLOTS: Final = 40
"""Half a millisecond between two slots."""
_MONOTONIC: Final = 1
_NONBLOCK_CLOEXEC: Final = 0o2000000 | 0o4000
_ABSOLUTE: Final = 1


class Grid:
    """Moments ``begin + n * step``; a call's frames go out in every n that falls into its slot."""

    def __init__(self, begin_ns: int, slots: int) -> None:
        self.begin_ns = begin_ns
        self.slots = slots
        self.step_ns = FRAME_NS // slots

    def at_ns(self, tick: int) -> int:
        """The moment of a tick, whatever happened before it."""
        return self.begin_ns + tick * self.step_ns

    def caller_slot(self, call: int) -> int:
        """In which slot of the 20 ms the caller of a call speaks."""
        return call % self.slots

    def agent_slot(self, call: int) -> int:
        """In which slot its agent does: half a frame later, so that the two ends take turns."""
        return (call + self.slots // 2) % self.slots

    def due_ns(self, sent_ns: int, slot: int) -> int:
        """The moment for which a frame of this slot, sent at ``sent_ns`` less than 20 ms late, was planned."""
        phase = self.begin_ns + slot * self.step_ns
        return sent_ns - (sent_ns - phase) % FRAME_NS


def slots_for(calls: int) -> int:
    """How many slots so many calls are spread over; divides 20 ms evenly."""
    return next(
        slots for slots in (40, 32, 25, 20, 16, 10, 8, 5, 4, 2, 1) if slots <= max(1, min(calls, MOST_SLOTS))
    )


class Ticker:
    """Calls ``on_tick(tick)`` for every tick that is due, in order, until closed."""

    def __init__(self, grid: Grid, on_tick: Callable[[int], None]) -> None:
        self._grid = grid
        self._on_tick = on_tick
        self._next = 0
        self._loop = asyncio.get_running_loop()
        self._fd = _periodic_timer(grid.begin_ns, grid.step_ns)
        self._loop.add_reader(self._fd, self._ring)

    def close(self) -> None:
        """Stop."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        while self._grid.at_ns(self._next) <= time.monotonic_ns():
            self._on_tick(self._next)
            self._next += 1


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Interval(ctypes.Structure):
    _fields_ = (("every", _Moment), ("first", _Moment))


def _periodic_timer(first_ns: int, every_ns: int) -> int:
    """A file descriptor that can be read at ``first_ns`` and every ``every_ns`` after (Python has it from 3.13)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
    order = _Interval(
        _Moment(*divmod(every_ns, 1_000_000_000)),
        _Moment(*divmod(first_ns, 1_000_000_000)),
    )
    if fd < 0 or libc.timerfd_settime(fd, _ABSOLUTE, ctypes.byref(order), None) < 0:
        raise OSError(ctypes.get_errno(), "the kernel gives no timer")
    return int(fd)
