"""The caller's line: when it last gave a sign, when it broke, and what follows for what was sent over it.

Owns what a silence means on a line whose far end sounds all the time: what was sent since then has not arrived. On any
other line a silence means nothing by itself; only a break does, or being told that even answers to pings stay away.
Knows nothing of what was sent.
"""

from typing import Final

NEVER: Final = float("inf")
STALL_S: Final = 0.1
"""How long nothing may come from a far end that sounds all the time before its ear is not believed to go on."""
ASKING_S: Final = 1.5
"""How long a carrier takes at most to come back when its connection broke without our knowing; one that takes longer
learned of it late, and went on playing what it had got."""


class Line:
    """The line of one call, over all its connections."""

    __slots__ = ("is_quiet", "lost_at", "sign_at")

    def __init__(self) -> None:
        self.sign_at = NEVER
        """When the far end last sounded; never set where it may pause."""
        self.lost_at = NEVER
        """When its connection broke."""
        self.is_quiet = False
        """Whether answers that should have come have not: nothing shows that what is sent arrives."""

    def ear_goes_until(self, now: float) -> float:
        """Up to when the ear is believed to have listened."""
        return min(now, self.sign_at + STALL_S, self.lost_at)

    def is_stalled(self, now: float) -> bool:
        """Whether nothing comes that should."""
        return self.is_quiet or now > self.sign_at + STALL_S

    def played_on(self, now: float) -> bool:
        """Whether the far end, which is back now on another connection, went on playing what it had got on the last.

        It does until it learns of the break. As a rule that is when we do, as whoever sends all the time does; where
        the line had fallen silent before, it played all the while.
        """
        if self.lost_at == NEVER:
            return now > self.sign_at + ASKING_S
        return self.lost_at > self.sign_at + STALL_S

    def is_back(self, now: float, *, steady: bool) -> None:
        """The call goes on over another connection."""
        self.sign_at = now if steady else NEVER
        self.lost_at = NEVER
        self.is_quiet = False
