"""How much sound of one caller is taken: a burst, and from then on hardly more than time passes.

Owns the bound, which is one of sound and not of bytes, so that it is the same for every format. Refuses to drop
anything: what comes too early stays unread, in the kernel's buffers, and so with its sender, until its time has come.
"""

from typing import Final

RATE: Final = 1.1
"""Sound that may come per second, in seconds: real time, and enough for clocks that differ and for catching up."""
LONGEST_S: Final = 1.0
"""Longest pause at one go; whoever reads looks up in between."""


class SoundShare:
    """The allowance of one caller's connection, ``ahead_s`` of sound at most."""

    __slots__ = ("_ahead_ms", "_at", "_most_ms", "may_be_spent")

    def __init__(self, ahead_s: float, now: float) -> None:
        self._most_ms = ahead_s * 1000
        self._ahead_ms = 0.0
        self._at = now
        self.may_be_spent = False
        """Whether `pause_s` must be asked; while not, no clock need be looked at."""

    def hear(self, sound_ms: float) -> None:
        """Take note of sound that has come."""
        self._ahead_ms += sound_ms
        self.may_be_spent = self._ahead_ms > self._most_ms

    def pause_s(self, now: float) -> float:
        """How long to leave the connection unread; 0 while its sound is no further ahead than it may be."""
        self._ahead_ms = max(0.0, self._ahead_ms - (now - self._at) * 1000 * RATE)
        self._at = now
        over_ms = self._ahead_ms - self._most_ms
        self.may_be_spent = over_ms > 0
        return min(over_ms / (1000 * RATE), LONGEST_S) if over_ms > 0 else 0.0
