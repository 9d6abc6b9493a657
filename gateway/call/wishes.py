"""What the agent is to be told, kept while it is away.

Owns the bounds, and what a session that takes over must be told again: configuration holds for the rest of the
call, a wish for a reply is said once, and so is what passes through here without being understood.
"""

from typing import Final

from gateway.commands import AskReply, Configure, Forward

MOST_WISHES: Final = 4
"""Wishes for a reply that are kept; older ones would answer a conversation that has gone on."""
MOST_CONFIGURATIONS: Final = 32
"""Changes of the session that are kept."""
MOST_FORWARDED: Final = 32
"""Messages that are not for us and are kept."""
FORWARDED_CHARACTERS: Final = 65_536
"""Their length, all together."""


class Wishes:
    """Configuration, wishes for replies and what is not for us, on their way to an agent."""

    def __init__(self) -> None:
        self._wishes: list[str] = []
        self._forwarded: list[str] = []
        self._configurations: list[Configure] = []
        self._told = 0

    def ask(self, instructions: str) -> None:
        """The agent shall say something once it is back."""
        self._wishes = [*self._wishes, instructions][-MOST_WISHES:]

    def forward(self, message: str) -> None:
        """The agent shall have a message once it is back; the oldest make room for it."""
        if len(message) > FORWARDED_CHARACTERS:
            return
        self._forwarded.append(message)
        while len(self._forwarded) > MOST_FORWARDED or sum(map(len, self._forwarded)) > FORWARDED_CHARACTERS:
            del self._forwarded[0]

    def configure(self, wish: Configure, *, told: bool) -> None:
        """The session shall be so from here on; ``told`` when the session in force knows already."""
        self._configurations.append(wish)
        self._told += told
        if len(self._configurations) > MOST_CONFIGURATIONS:
            del self._configurations[0]
            self._told = max(0, self._told - 1)

    def configurations(self, *, resumed: bool) -> list[Configure]:
        """What a session that begins, or goes on, has not been told; a new one knows nothing of it."""
        untold = self._configurations[self._told if resumed else 0 :]
        self._told = len(self._configurations)
        return untold

    def forwarded(self) -> list[Forward]:
        """What is not for us and was kept, once."""
        messages = [Forward(message) for message in self._forwarded]
        self._forwarded.clear()
        return messages

    def reply(self, first: str = "") -> list[AskReply]:
        """One wish out of all that were kept: each would be answered by a reply of its own."""
        wishes = [first, *self._wishes] if first else self._wishes
        self._wishes = []
        return [AskReply(" ".join(wish for wish in wishes if wish))] if wishes else []
