"""What is noted of every frame while a window is measured, as cheaply as possible.

Owns the raw numbers of one window. What they mean is `figures`'.
"""

from array import array
from typing import Final

_MASK: Final = (1 << 56) - 1


class Direction:
    """Frames that arrived at one end: whose, when sent, when arrived."""

    def __init__(self) -> None:
        self.sent = 0
        """Frames that went out while it was noting."""
        self.calls = array("H")
        """Call of each frame that arrived."""
        self.delays_ns = array("q")
        """From sending to arrival."""
        self.arrived_ns = array("q")
        """When it arrived."""


class Notes:
    """Both directions and the generator's own lateness; notes only while ``noting``."""

    def __init__(self) -> None:
        self.noting = False
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.to_agent = Direction()
        self.to_caller = Direction()
        self.late_ns = array("q")
        """How long after its planned moment each frame went out."""

    def arrive(self, direction: Direction, stamp: tuple[int, int], now_ns: int) -> None:
        """Note a frame's arrival."""
        call, sent_ns = stamp
        direction.calls.append(call)
        direction.delays_ns.append((now_ns - sent_ns) & _MASK)
        direction.arrived_ns.append(now_ns)

    def send(self, direction: Direction, due_ns: int, now_ns: int) -> None:
        """Note that a frame goes out."""
        direction.sent += 1
        self.late_ns.append(now_ns - due_ns)
