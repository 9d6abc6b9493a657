"""What a case of abuse is, and what may come of one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from dialect import Dialect
from hosts import AgentDeed, AgentHost
from peers import Peer

PROTOCOL, TEXT_BROKEN, POLICY, TOO_BIG = 1002, 1007, 1008, 1009


@dataclass(frozen=True)
class GoesOn:
    """The call goes on as if nothing had happened: a question is heard and its answer too."""

    within_s: float = 20.0


@dataclass(frozen=True)
class Told:
    """The peer is closed, with this code and a sentence that holds these words."""

    code: int
    words: str = ""
    within_s: float = 10.0


@dataclass(frozen=True)
class TurnedAway:
    """The request is answered with this status and a sentence that holds these words, or not at all (0)."""

    status: int
    words: str = ""


@dataclass(frozen=True)
class Dropped:
    """The gateway lets go of the connection although the peer holds on to it."""

    within_s: float = 8.0


@dataclass(frozen=True)
class Left:
    """The peer is gone, and nobody is to be told."""


@dataclass(frozen=True)
class GoesOnAnew:
    """The call goes on with a new connection to the agent."""

    within_s: float = 20.0


@dataclass(frozen=True)
class Ends:
    """No agent is left: the caller hears the apology, and is closed with 1000."""

    within_s: float = 25.0


CallerOutcome = GoesOn | Told | TurnedAway | Dropped | Left
AgentOutcome = GoesOn | GoesOnAnew | Ends | Left
CallerDeed = Callable[[Peer], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class CallerCase:
    """Something that a caller's side does."""

    name: str
    does: str
    """What the peer does, for people."""
    answer: str
    """What the gateway answers, for people."""
    deed: CallerDeed
    then: CallerOutcome
    loud: bool = False
    """Whether it is work for the gateway, so that it runs alone."""
    slow: bool = False
    """Whether it takes longer than `make test` should."""
    own: bool = False
    """Whether only one dialect has it."""
    suits: Callable[[Dialect], bool] = lambda _dialect: True
    """Which dialects can do it at all."""
    side: Literal["caller"] = "caller"


@dataclass(frozen=True, kw_only=True)
class AgentCase:
    """Something that an agent does; the caller is good."""

    name: str
    does: str
    """What the agent does, for people."""
    answer: str
    """What the gateway makes of it, for people."""
    deed: AgentDeed
    then: AgentOutcome
    loud: bool = False
    """Whether it is work for the gateway, so that it runs alone."""
    slow: bool = False
    """Whether it takes longer than `make test` should."""
    also: Callable[[Peer, AgentHost], str] = lambda _peer, _host: ""
    """What else must be true then: empty, or a sentence about what is not."""
    side: Literal["agent"] = "agent"

    @property
    def number(self) -> str:
        """The number at which this agent is called."""
        return "a-" + "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


Case = CallerCase | AgentCase
