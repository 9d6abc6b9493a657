"""Tells which words of a call its caller typed.

Owns that they are told once, although a typed line stands in a journal twice: in what the client asks for, and in what
the agent is asked for, which alone says it of a client whose instructions pass on as words. Refuses to decide to which
turn they belong (`gateway.observers.turn_fold`); pure like it.
"""

from gateway.client_rules import as_typed, typed
from gateway.commands import AskReply
from gateway.events import CallerPrompted


class TypedWords:
    """Reads the wishes for replies of one call."""

    def __init__(self) -> None:
        self._prompted = ""  # instructions that may yet be passed on as words

    def of(self, item: CallerPrompted | AskReply) -> str:
        """The words that this entry is the first to say were typed; empty where it is a wish for a reply alone."""
        before, words, _ = typed(item.instructions)
        if isinstance(item, CallerPrompted):
            self._prompted = "" if before else item.instructions
            return words.strip() if before else ""
        prompted, self._prompted = self._prompted, ""
        return prompted.strip() if before and as_typed(prompted) == item.instructions else ""
