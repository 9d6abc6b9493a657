"""Who is speaking: two facts, one derived answer.

Owns the caller's side of the question (does the agent hear the caller speak?) and the agent's (what is known
of its replies?). What was sent and heard of a reply is the playback ledger's.
"""

from enum import StrEnum
from typing import Final

MEMORY: Final = 64
"""Replies remembered after they ended, to recognise their late audio."""


class Holder(StrEnum):
    """Who has the floor."""

    NOBODY = "nobody"
    CALLER = "caller"
    AGENT = "agent"


class Reply:
    """A reply that the agent has begun."""

    __slots__ = ("audible", "last_sign_at", "reply_id", "started_at", "tool_called", "worded")

    def __init__(self, reply_id: str, now: float) -> None:
        self.reply_id = reply_id
        self.started_at = now
        self.last_sign_at = now
        self.audible = False
        self.worded = False
        self.tool_called = False

    @property
    def said_nothing(self) -> bool:
        """Whether it had neither sound nor words nor purpose."""
        return not (self.audible or self.worded or self.tool_called)


class Floor:
    """The floor of one call."""

    def __init__(self) -> None:
        self.user_speaking = False
        """Whether the agent has heard the caller begin and not yet stop."""
        self.replies: dict[str, Reply] = {}
        """Replies begun and not ended, in order."""
        self._gone: dict[str, None] = {}

    def begin(self, reply_id: str, now: float) -> None:
        """A reply has begun; a second beginning of the same one changes nothing."""
        if reply_id in self.replies or reply_id in self._gone:
            return
        self.replies[reply_id] = Reply(reply_id, now)
        if len(self.replies) > MEMORY:
            self.end(next(iter(self.replies)))

    def end(self, reply_id: str) -> Reply | None:
        """A reply has ended; None when it had already, or never began."""
        self._forget(reply_id)
        return self.replies.pop(reply_id, None)

    def drop(self, reply_id: str) -> None:
        """Whatever still comes of this reply is late."""
        self._forget(reply_id)

    def abandon_all(self) -> None:
        """The agent is gone; nothing more comes of any reply."""
        for reply_id in list(self.replies):
            self.end(reply_id)
        self.user_speaking = False

    def is_late(self, reply_id: str) -> bool:
        """Whether sound of this reply must not be played any more."""
        return reply_id in self._gone

    def sign(self, reply_id: str, now: float) -> Reply | None:
        """Something came of a reply; gives it, or None when it is not in progress."""
        if reply := self.replies.get(reply_id):
            reply.last_sign_at = now
        return reply

    @property
    def current(self) -> str:
        """The reply in progress, for agents that do not name it in each message; empty when there is none."""
        return next(reversed(self.replies), "")

    def holder(self, *, playing: bool) -> Holder:
        """Who has the floor; ``playing`` says whether the caller still has something to listen to."""
        if self.user_speaking:
            return Holder.CALLER
        return Holder.AGENT if playing or self.is_expecting else Holder.NOBODY

    @property
    def is_expecting(self) -> bool:
        """Whether a reply is in progress that may still be heard."""
        return any(reply_id not in self._gone for reply_id in self.replies)

    @property
    def is_cutting(self) -> bool:
        """Whether a reply was cut off here of which the agent has not yet said how it ended."""
        return any(reply_id in self._gone for reply_id in self.replies)

    def _forget(self, reply_id: str) -> None:
        self._gone[reply_id] = None
        while len(self._gone) > MEMORY:
            del self._gone[next(iter(self._gone))]
