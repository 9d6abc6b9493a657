"""What is noted of every frame while a window is measured, as cheaply as possible.

Owns the raw numbers of one window: frames that went out in it, and frames that arrived until a moment after it.
What they mean is `figures`'.
"""

from array import array

from msgspec import Struct

from gateway.simulate.load.stamps import MASK


class Arrival(Struct, frozen=True):
    """A frame at the end of its way."""

    call: int
    """Whose it is."""
    sent_ns: int
    """When it went out."""
    delay_ns: int
    """How long it was on its way."""


class Direction:
    """Frames from one end to the other."""

    def __init__(self) -> None:
        self.sent = 0
        """Frames that went out in the window."""
        self._calls = array("H")
        self._delays_ns = array("q")
        self._arrived_ns = array("q")

    def arrive(self, call: int, sent_ns: int, now_ns: int) -> None:
        """Note a frame's arrival; ``sent_ns`` as its stamp has it."""
        self._calls.append(call)
        self._delays_ns.append((now_ns - sent_ns) & MASK)
        self._arrived_ns.append(now_ns)

    def within(self, begin_ns: int, end_ns: int) -> list[Arrival]:
        """The frames that arrived of those that went out in this time."""
        rows = zip(self._calls, self._delays_ns, self._arrived_ns, strict=True)
        return [
            Arrival(call, arrived - delay, delay)
            for call, delay, arrived in rows
            if begin_ns <= arrived - delay < end_ns
        ]


class Notes:
    """Both directions, and how late the generator itself was."""

    def __init__(self) -> None:
        self.sending = False
        """Whether what goes out now belongs to the window."""
        self.arriving = False
        """Whether arrivals are noted."""
        self.clear()

    def clear(self) -> None:
        """Begin anew; what was noted stays with whoever took it."""
        self.to_agent = Direction()
        self.to_caller = Direction()
        self.late_ns = array("q")
        """How long after its planned moment each frame went out."""

    def take(self) -> "Notes":
        """Give what was noted, and begin anew; to make figures of it takes long, and belongs in no window."""
        taken = Notes()
        taken.to_agent, taken.to_caller, taken.late_ns = self.to_agent, self.to_caller, self.late_ns
        self.clear()
        return taken

    def send(self, direction: Direction, due_ns: int, now_ns: int) -> None:
        """Note that a frame of the window goes out."""
        direction.sent += 1
        self.late_ns.append(now_ns - due_ns)
