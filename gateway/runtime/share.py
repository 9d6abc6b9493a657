"""How fast one connection is read, so that no peer takes the turns of other calls.

Owns two bounds: after `TURN` messages the loop turns, whoever else waits for it; and what comes faster than the
connection's rate for longer than `PATIENCE_S` stays unread for a while, in the kernel's buffers, and so with its
sender. Refuses to drop anything: a peer that was held up catches up, at its rate.
"""

from typing import Final

TURN: Final = 10.0
"""Messages that are read one after the other: a millisecond of work, three where each runs a tool."""
MESSAGE_BYTES: Final = 1024
"""A message counts once more for each so many bytes."""
MESSAGE_VALUES: Final = 32
"""A text of more than `MESSAGE_BYTES` counts once more for each so many values: it is they that make it dear."""
PATIENCE_S: Final = 4.0
"""How far a peer may be ahead of its rate: a reply in one burst, a call that was held up on its way."""
LONGEST_S: Final = 1.0
"""Longest time that a connection stays unread, however long its last message was."""


class Share:
    """The allowance of one connection."""

    __slots__ = ("_at", "_left", "_rate", "turn_left")

    def __init__(self, messages_s: float) -> None:
        self._rate = messages_s
        self._left = PATIENCE_S * messages_s
        self.turn_left = TURN
        """Messages, or what counts as much, that are left of this turn; below 1 it is over, and `pause_s` must be asked
        before the next message is read."""
        self._at = 0.0

    def take(self, size_bytes: int, values: int = 0) -> None:
        """Take note of a message that was read; ``values`` of a long one that is text."""
        self.turn_left -= 1 + size_bytes / MESSAGE_BYTES + values / MESSAGE_VALUES

    def pause_s(self, now: float) -> float:
        """How long to leave the connection unread; 0, for one turn of the loop, where it is within its rate."""
        earned = (now - self._at) * self._rate
        left = min(PATIENCE_S * self._rate, self._left + earned) - (TURN - self.turn_left)
        self._left = max(left, -LONGEST_S * self._rate)
        self._at, self.turn_left = now, TURN
        return 0.0 if self._left >= 0 else -self._left / self._rate
