"""What the caller's client is told of replies, and when: the end of a reply after its sound, and no word of it twice.

Owns the order in which a client that speaks the Voice Agent API sees events (reference: 13.7): agents may send a whole
reply at once, sound goes out at the pace of speech, and an interruption cuts off what the agent thinks it has said.
While the client is away everything waits for it. For callers without such a client nothing is kept.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.commands import ReplyHeard
from gateway.events import AgentSaid, AnyEvent, ReplyEnded, ReplyStarted, ToolCalled

MOST_KEPT: Final = 2000
"""Events that wait; the oldest go when there are more."""
MOST_REPLIES: Final = 64
"""Replies that are remembered."""

_OF_REPLIES: Final = (ReplyStarted, AgentSaid, ReplyEnded)

Waits = Callable[[str], bool]
"""Whether sound of a reply waits to be sent."""


class Telling:
    """The events of one call on their way to its client."""

    def __init__(self, *, in_step: bool) -> None:
        self._in_step = in_step
        self._kept: deque[AnyEvent] = deque(maxlen=MOST_KEPT)
        self._open: dict[str, None] = {}  # replies that the client knows and that have not ended for it
        self._over: dict[str, None] = {}  # replies whose end it was told
        self._never: dict[str, None] = {}  # replies that were cut off before the client knew of them

    def tell(self, event: AnyEvent, waits: Waits, *, away: bool) -> list[AnyEvent]:
        """Take an event; gives what may be told now."""
        if not self._in_step:
            return [event]
        if isinstance(event, _OF_REPLIES) and event.reply_id in self._never:
            return []
        if away and isinstance(event, ToolCalled) and not event.informational:
            return []  # what is unanswered is told again when the client is back
        if away or (isinstance(event, _OF_REPLIES) and (self._kept or self._is_early(event, waits))):
            self._kept.append(event)
            return []
        return self._told(event)

    def release(self, waits: Waits) -> list[AnyEvent]:
        """What may be told by now; not asked for while the client is away."""
        told: list[AnyEvent] = []
        while self._kept and not self._is_early(self._kept[0], waits):
            told += self._told(self._kept.popleft())
        return told

    def again(self, waits: Waits) -> list[AnyEvent]:
        """What must be told before sound is sent again that the client has dropped: its reply is not over after all."""
        again = [reply_id for reply_id in self._over if waits(reply_id)]
        self._kept.extendleft(ReplyEnded(reply_id) for reply_id in reversed(again))
        return [told for reply_id in again for told in self._told(ReplyStarted(reply_id))]

    def cut(self, facts: list[ReplyHeard], words: Callable[[ReplyHeard], str], *, by_agent: bool) -> None:
        """The caller hears no more of these replies: tell it so, in the words that were heard.

        With ``by_agent`` the agent itself will still say how a reply ended that it has not ended yet.
        """
        for fact in facts if self._in_step else ():
            if fact.reply_id in self._open:
                self._shorten(fact, words, by_agent=by_agent)
            elif not fact.reply_id.startswith("clip:"):
                self._forget(fact.reply_id)

    def unended(self) -> list[str]:
        """Replies whose end the client has not been told, and is not about to be."""
        ending = {event.reply_id for event in self._kept if isinstance(event, ReplyEnded)}
        began = [event.reply_id for event in self._kept if isinstance(event, ReplyStarted)]
        return [reply_id for reply_id in (*self._open, *began) if reply_id not in ending]

    def _shorten(self, fact: ReplyHeard, words: Callable[[ReplyHeard], str], *, by_agent: bool) -> None:
        """What is kept of a reply is told as it was heard; it ends here where the agent has ended it."""
        is_ended = not by_agent
        kept: list[AnyEvent] = []
        for event in self._kept:
            if isinstance(event, ReplyEnded) and event.reply_id == fact.reply_id:
                is_ended = True
            elif isinstance(event, AgentSaid) and event.reply_id == fact.reply_id and event.final:
                kept.append(AgentSaid(fact.reply_id, words(fact), final=True, interrupted=True))
            else:
                kept.append(event)
        if is_ended:
            place = next((n for n, event in enumerate(kept) if isinstance(event, ReplyStarted)), len(kept))
            kept.insert(place, ReplyEnded(fact.reply_id, interrupted=True))
        self._kept = deque(kept, maxlen=MOST_KEPT)

    def _forget(self, reply_id: str) -> None:
        self._kept = deque(
            (e for e in self._kept if not (isinstance(e, _OF_REPLIES) and e.reply_id == reply_id)), MOST_KEPT
        )
        _note(self._never, reply_id)

    def _told(self, event: AnyEvent) -> list[AnyEvent]:
        if isinstance(event, ReplyStarted):
            self._over.pop(event.reply_id, None)
            _note(self._open, event.reply_id)
        elif isinstance(event, ReplyEnded):
            self._open.pop(event.reply_id, None)
            if event.reply_id in self._over:
                return []
            _note(self._over, event.reply_id)
        return [event]

    @staticmethod
    def _is_early(event: AnyEvent, waits: Waits) -> bool:
        """Whether an event tells of the end of what has not been sent yet."""
        is_end = isinstance(event, ReplyEnded) or (isinstance(event, AgentSaid) and event.final)
        return is_end and waits(event.reply_id)  # type: ignore[union-attr]


def _note(replies: dict[str, None], reply_id: str) -> None:
    replies[reply_id] = None
    while len(replies) > MOST_REPLIES:
        del replies[next(iter(replies))]
