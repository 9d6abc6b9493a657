"""What a failure of the Voice Agent API asks for: one table of error codes and one of close codes.

Owns the decisions and the clause of the reference behind each. Refuses to act: the codec turns a decision into
an event, the machine carries it out. A code means different things at different moments: in answer to the first
`session.update`, in answer to a resumption, or in the middle of a conversation.
"""

from typing import Final, Literal

from msgspec import Struct

from gateway.events import Remedy

Decision = Remedy | Literal["ignore"]
"""The same again later, the same session (or the next way to resume it), a new session, another agent, go on."""
Phase = Literal["opening", "resuming", "live"]
"""Waiting for the answer to `session.update`, to `session.resume`, or neither."""


class Rule(Struct, frozen=True):
    """What one code asks for, by the moment at which it arrives."""

    opening: Decision
    """Before a new session is ready."""
    resuming: Decision
    """Before a lost session is back."""
    live: Decision
    """During the conversation."""
    clause: str
    """Where the reference says so, and what decided where it does not."""

    def at(self, phase: Phase) -> Decision:
        """What to do at this moment."""
        return {"opening": self.opening, "resuming": self.resuming, "live": self.live}[phase]


class CloseRule(Struct, frozen=True):
    """What a close code asks for when no fatal error came before it, by the moment at which it arrives."""

    opening: Remedy
    """Before a new session is ready."""
    resuming: Remedy
    """Before a lost session is back."""
    live: Remedy
    """During the conversation."""
    clause: str
    """Where the reference says so."""
    refused: bool = False
    """Whether the agent said no, rather than got lost."""

    def at(self, phase: Phase) -> Remedy:
        """What to do at this moment."""
        return {"opening": self.opening, "resuming": self.resuming, "live": self.live}[phase]


_BAD_CREDENTIAL: Final = Rule(
    "fallback", "resume", "fallback", "6.1: new credential only; 2.7: after the token the key"
)
_BAD_SESSION: Final = Rule("fallback", "renew", "ignore", "6.1: fatal on the first update, later not")
_NEVER_FATAL: Final = Rule("ignore", "ignore", "ignore", "6.1: not fatal")
_GONE: Final = Rule("renew", "renew", "renew", "6.1, 2.7: rejected in-band or with 1008; a new session")
_FULL: Final = Rule("retry", "retry", "ignore", "6.1: at the handshake; retry with backoff")

CODES: Final[dict[str, Rule]] = {
    "unauthorized": _BAD_CREDENTIAL,
    "forbidden": _BAD_CREDENTIAL,  # older docs, upper case
    "agent_not_found": _BAD_SESSION,
    "invalid_value": _BAD_SESSION,
    "invalid_config": _BAD_SESSION,
    "invalid_webhook": _BAD_SESSION,
    "invalid_format": Rule(
        "fallback",
        "renew",
        "ignore",
        "6.1: the socket stays open, but a first message so answered never becomes ready",
    ),
    "agent_id_not_first": _NEVER_FATAL,
    "invalid_audio": _NEVER_FATAL,
    "audio_rate_violation": _NEVER_FATAL,
    "immutable_field": _NEVER_FATAL,
    "session_not_found": _GONE,
    "session_forbidden": _GONE,
    "session_expired": _GONE,
    "at_capacity": _FULL,
    "concurrency_exceeded": _FULL,
    "internal_error": Rule(
        "retry", "resume", "resume", "6.1, 6.2: 1011, retry once; a live session is worth a resumption"
    ),
    # Names of older docs (6.1, below the table).
    "server_error": Rule("retry", "resume", "ignore", "6.1: capacity, or an update that failed; retryable"),
    "agent_init_failed": Rule("fallback", "renew", "ignore", "6.1: not among the retryable codes"),
    "agent_timeout": Rule(
        "retry", "resume", "ignore", "6.1: no ready within 10 s, as our own watch would say"
    ),
}
"""Every `session.error.code`, in lower case; compare with `error_rule`."""

# A connection that breaks before a resumption was answered says nothing about the session: the same again.
_DROP: Final = CloseRule(
    "retry", "retry", "resume", "2.8: a close without session.ended or fatal error is a drop"
)
_STAFF_FATAL: Final = CloseRule("fallback", "fallback", "fallback", "6.2: staff list as fatal", refused=True)

CLOSES: Final[dict[int, CloseRule]] = {
    1000: _DROP,  # the clean end after session.ended never comes here
    1005: _DROP,
    1006: _DROP,
    1008: CloseRule(
        "fallback",
        "resume",
        "renew",
        "6.2: by code; without one credential, refusal or expiry by moment",
        refused=True,
    ),
    1011: CloseRule(
        "retry", "resume", "resume", "6.2: docs know it without payload; 2.7: staff resume on it"
    ),
    3005: CloseRule("retry", "retry", "resume", "6.2: transient server cancel"),
    3006: _STAFF_FATAL,
    3007: _STAFF_FATAL,
    3008: _STAFF_FATAL,
    3009: _STAFF_FATAL,
}
"""Every close code that the reference knows; others are drops, see `close_rule`."""


def error_rule(code: str) -> Rule:
    """Rule of an error code in any case; an unknown one is reported and decides nothing until a close follows."""
    return CODES.get(code.lower(), _NEVER_FATAL)


def close_rule(code: int) -> CloseRule:
    """Rule of a close code; an unknown one is a drop."""
    return CLOSES.get(code, _DROP)
