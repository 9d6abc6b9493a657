"""The conversation as both sides know it: what the caller said, and of the agent's words those that were heard.

Owns the text from which a lost session is rebuilt. Text may arrive after the sound it belongs to was heard or
cut, so lines are put together only when they are asked for.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from gateway.commands import HeardLine, ReplyHeard
from gateway.events import AgentSaid
from gateway.words import ReplyWords

LINES: Final = 200
"""Newest lines kept."""


class AgentLine:
    """A reply's words, and how much of its sound was heard."""

    __slots__ = ("fact", "words")

    def __init__(self) -> None:
        self.words = ReplyWords()
        self.fact: ReplyHeard | None = None


class History:
    """The lines of one call."""

    def __init__(self) -> None:
        self._lines: deque[str | AgentLine] = deque(maxlen=LINES)
        self._replies: dict[str, AgentLine] = {}
        self.unanswered = False
        """Whether the caller's last words have had no answer yet."""

    def user_said(self, text: str) -> None:
        """The caller finished an utterance."""
        if text.strip():
            self._lines.append(text)
            self.unanswered = True

    def agent_said(self, said: AgentSaid) -> None:
        """Words of a reply arrived, perhaps long after its sound."""
        self._reply(said.reply_id).words.add(said)

    def answered(self) -> None:
        """A reply can be heard."""
        self.unanswered = False

    def heard(self, fact: ReplyHeard) -> None:
        """A reply's sound is done with."""
        if fact.audible_from_ms is not None and not fact.reply_id.startswith("clip:"):
            self._reply(fact.reply_id).fact = fact

    def heard_words(self, fact: ReplyHeard) -> str:
        """The words of a reply of which this was heard."""
        line = self._replies.get(fact.reply_id)
        return line.words.split_by(fact)[0].strip() if line else ""

    def lines(self, outlook: Mapping[str, ReplyHeard]) -> tuple[HeardLine, ...]:
        """What a new session must know; words that nobody heard were never said.

        Args:
            outlook: What will have been heard of the replies that are still on their way.
        """
        lines = []
        expected = {id(self._replies[i]): fact for i, fact in outlook.items() if i in self._replies}
        for line in self._lines:
            if isinstance(line, str):
                lines.append(HeardLine("user", line))
            elif (fact := expected.get(id(line), line.fact)) and (
                text := line.words.split_by(fact)[0].strip()
            ):
                lines.append(HeardLine("agent", text))
        return tuple(lines)

    def _reply(self, reply_id: str) -> AgentLine:
        line = self._replies.get(reply_id)
        if line is None:
            line = self._replies[reply_id] = AgentLine()
            self._lines.append(line)
            if len(self._replies) > LINES:
                del self._replies[next(iter(self._replies))]
        return line
