"""The watches of one call: what should have happened by now and has not.

Owns the clocks; what follows when one runs out is the machine's. A muted line that sends comfort noise must
not look like a conversation, so silence is counted from words and replies, not from sound on the line.
"""

from typing import Final

from gateway.call.floor import Floor
from gateway.terms import AgentTerms

VOICE_DBFS: Final = -40.0
"""Level at which a frame of the caller counts as voice for the deaf-agent watch."""
NUDGE_S: Final = 3.0
"""How long a reply that was silent may be followed by nothing before the agent is asked again."""
UNHEARD_S: Final = 6.0
"""How long a session that was told the caller's words again may give no sign of having heard them."""


class Watch:
    """Clocks of one call; every method takes the moment."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._words_at = 0.0
        self._unanswered_ms = 0.0
        self._was_deaf = False
        self._nudge_at = float("inf")
        self._owed = ""
        self._owed_at = float("inf")

    def words(self, now: float) -> None:
        """Somebody said something, or pressed a key."""
        self._words_at = now

    def agent_sign(self) -> None:
        """The agent has heard the caller, or answers."""
        self._unanswered_ms = 0.0
        self._was_deaf = False
        self._nudge_at = float("inf")
        self._owed_at = float("inf")

    def caller_voice(self, ms: float) -> None:
        """The caller's side sounds like a voice."""
        self._unanswered_ms += ms

    def is_deaf(self, agent: AgentTerms) -> bool:
        """Whether the agent must have heard something by now; only once until it gives a sign."""
        return self._unanswered_ms >= agent.deaf_s * 1000 and not self._was_deaf

    def took_action(self) -> None:
        """The deaf agent's session is being replaced; a second one in a row is not."""
        self._was_deaf = True

    def new_session(self) -> None:
        """Another session begins to listen, and owes nothing."""
        self._unanswered_ms = 0.0
        self._nudge_at = float("inf")
        self._owed_at = float("inf")

    def owe(self, words: str, now: float) -> None:
        """The agent has something to hear; if it gives no sign of it, it shall be asked for these words."""
        self._owed, self._owed_at = words, now + UNHEARD_S

    def owed(self, now: float) -> str:
        """What the agent must be asked for now; once, and else empty."""
        if now < self._owed_at:
            return ""
        self._owed_at = float("inf")
        return self._owed

    def silent_reply(self, now: float) -> None:
        """A reply ended without a word or a sound."""
        self._nudge_at = now + NUDGE_S

    def nudge_due(self, now: float) -> bool:
        """Whether the agent must be asked again; True once."""
        if now < self._nudge_at:
            return False
        self._nudge_at = float("inf")
        return True

    def line_is_silent(self, now: float) -> bool:
        """Whether nobody has said anything for too long."""
        return now >= self.line_due_at

    @staticmethod
    def stalled(floor: Floor, agent: AgentTerms, now: float) -> list[str]:
        """Replies that began and of which nothing comes any more; asked for only while no tool runs."""
        limit_s = agent.stalled_reply_s
        return [r.reply_id for r in floor.replies.values() if now >= r.last_sign_at + limit_s]

    @property
    def line_due_at(self) -> float:
        """When silence on the line runs out."""
        return self._words_at + self._silence_s

    @property
    def nudge_at(self) -> float:
        """When the agent must be asked again."""
        return self._nudge_at

    @property
    def owed_at(self) -> float:
        """When `owed` has something."""
        return self._owed_at

    @staticmethod
    def stall_due_at(floor: Floor, agent: AgentTerms) -> float:
        """When the next reply counts as stalled."""
        signs = (reply.last_sign_at for reply in floor.replies.values())
        return min(signs, default=float("inf")) + agent.stalled_reply_s
