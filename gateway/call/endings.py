"""Endings as transactions: decided, then committed once the last words were heard, or cancelled.

Owns when a hang-up or a transfer may be carried out. A time limit that passes never counts as "heard": it
commits as unconfirmed, and says so.
"""

from typing import Final, Literal

from gateway.commands import EndingSettled
from gateway.events import EndingAsked

AFTERWORD_S: Final = 1.0
"""Quiet in which the agent may still add a last reply: after a tool's result it takes 0.2 s to begin one
(reference: Voice Agent API, 2.9)."""

Outcome = Literal["confirmed", "estimated", "unconfirmed"]


class Ending:
    """A decided ending."""

    def __init__(self, asked: EndingAsked, reason: str, now: float, limit_s: float, *, firm: bool) -> None:
        self.asked = asked
        self.reason = reason
        """As in `CallEnded`."""
        self.firm = firm
        """Decided by the house: the caller cannot cancel it by speaking, and the agent is not waited for."""
        self.committed = False
        """A transfer that the carrier has been asked for."""
        self._expires_at = now + limit_s
        self._quiet_at: float | None = None

    def outcome(self, now: float, *, quiet: bool, confirmed: bool) -> Outcome | None:
        """Whether the ending is due, and how sure it is that the last words were heard.

        Args:
            now: The moment.
            quiet: Whether nothing is said, nothing is on its way and nothing is waited for.
            confirmed: Whether the last thing heard was confirmed by a mark.
        """
        if now >= self._expires_at:
            return "unconfirmed"
        if not quiet:
            self._quiet_at = None
            return None
        if self._quiet_at is None:
            self._quiet_at = now
        if now < self._due_at(self._quiet_at):
            return None
        return "confirmed" if confirmed else "estimated"

    def cancelled(self) -> EndingSettled:
        """The caller spoke before it was committed."""
        return EndingSettled(self.asked.kind, "cancelled")

    @property
    def deadline(self) -> float | None:
        """When `outcome` may change by time alone."""
        if self.committed:
            return None
        if self._quiet_at is None:
            return self._expires_at
        return min(self._expires_at, self._due_at(self._quiet_at))

    def _due_at(self, quiet_at: float) -> float:
        return quiet_at if self.firm else quiet_at + AFTERWORD_S
