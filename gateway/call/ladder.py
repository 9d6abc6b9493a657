"""Which agent is tried next, how, and when: the ladder of resuming, renewing and falling back.

Owns the order (reference: Voice Agent API, 2.7): the lost session with its resume token, once with the key,
then a new session, then the route's next agent. Dialling is the runtime's.
"""

from typing import Final

from gateway.commands import HeardLine, OpenAgent
from gateway.events import Remedy
from gateway.terms import AgentTerms

RESUME_TRIES: Final = 5
"""Attempts to reach a lost session before another agent takes over, when there is one."""
SETTLED_S: Final = 10.0
"""A session that lived this long was a success; one that is lost again sooner counts as a failed try."""


class Ladder:
    """The agents of one call, in the order in which they are tried."""

    def __init__(self, agents: tuple[AgentTerms, ...]) -> None:
        self._agents = agents
        self._index = 0
        self._tries = 0  # attempts on this rung that failed
        self._lost_again = 0  # sessions in a row that came back and were lost at once
        self._was_lost = False
        self._rung = "new"
        self._lost_at = 0.0
        self._ready_at = float("-inf")

    @property
    def agent(self) -> AgentTerms:
        """The agent in turn."""
        return self._agents[self._index]

    @property
    def rung(self) -> str:
        """How it is being opened: ``token``, ``key``, ``new``, or ``fallback`` for a later agent."""
        return "fallback" if self._index and self._rung == "new" else self._rung

    def first(self) -> OpenAgent:
        """Begin with the first agent."""
        return OpenAgent(self.agent.name)

    def ready(self, now: float) -> None:
        """The attempt succeeded."""
        self._ready_at = now

    def session_lost(self, remedy: Remedy, now: float, history: tuple[HeardLine, ...]) -> OpenAgent | None:
        """A session that was ready is gone; None when nobody is left.

        The first loss is no failure, however early it comes: the session itself lives on and can be resumed.
        """
        self._lost_at = now
        self._tries = 0
        self._lost_again = self._lost_again + 1 if self._was_lost and now - self._ready_at < SETTLED_S else 0
        self._was_lost = True
        if remedy == "fallback" or (self._lost_again and self._lost_again >= self.agent.tries):
            return self._next(history)
        self._rung = "token" if remedy == "resume" and self.agent.resume_s > 0 else "new"
        return self._open(history)

    def attempt_failed(self, remedy: Remedy, now: float, history: tuple[HeardLine, ...]) -> OpenAgent | None:
        """An attempt to open an agent failed; None when nobody is left."""
        self._tries += 1
        if remedy == "fallback":
            return self._next(history)
        if self._rung == "new":
            return self._next(history) if self._tries >= self.agent.tries else self._open(history)
        expired = now - self._lost_at >= self.agent.resume_s
        if remedy == "retry" and not expired:
            # The host cannot be reached: a new session there could not either, another agent could.
            give_up = self._tries >= RESUME_TRIES and self._has_next
            return self._next(history) if give_up else self._open(history)
        self._rung = "key" if remedy == "resume" and self._rung == "token" and not expired else "new"
        self._tries = 0
        return self._open(history)

    @property
    def _has_next(self) -> bool:
        return self._index + 1 < len(self._agents)

    def _next(self, history: tuple[HeardLine, ...]) -> OpenAgent | None:
        if not self._has_next:
            return None
        self._index += 1
        self._tries = self._lost_again = 0
        self._was_lost = False
        self._rung = "new"
        return self._open(history)

    def _open(self, history: tuple[HeardLine, ...]) -> OpenAgent:
        failures = self._tries + self._lost_again  # the first loss is made good at once
        delay_s = min(0.25 * 2 ** (failures - 1), 5.0) if failures else 0.0
        if self._rung == "new":
            return OpenAgent(self.agent.name, after_s=delay_s, history=history)
        return OpenAgent(self.agent.name, "key" if self._rung == "key" else "token", delay_s)
