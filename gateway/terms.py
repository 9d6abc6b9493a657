"""The terms of a call: everything that its machine is told of the world, and what its route is chosen by.

Owns the values only; `gateway.runtime.terms` reduces a configuration to terms. Those are the journal's first entry.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from gateway.audio import AudioFormat
from gateway.places import Place


class Circumstances(Struct, frozen=True):
    """What a route may be chosen by besides who calls whom."""

    key: str = ""
    """Name of the gateway key with which a client comes, or with which its token was minted; empty for carriers."""
    claims: Mapping[str, str] = {}
    """What the key's owner has said of the client when its token was minted."""
    at: float = 0.0
    """Unix time of the call."""


class AgentTerms(Struct, frozen=True):
    """What the conversation needs to know of an agent."""

    name: str
    """Name in the configuration."""
    region: str = ""
    """Its region; empty for agents in this process."""
    tool_results: Literal["immediate", "after_reply"] = "immediate"
    """When results are sent."""
    keep_s: float = 5.0
    """Newest seconds of the caller kept while it is away."""
    rate: float = 1.5
    """Speed of catching up."""
    ready_s: float = 10.0
    """Longest time until its session is ready."""
    tries: int = 3
    """Attempts before the next agent."""
    resume_s: float = 25.0
    """How long resuming is tried; 0 when it cannot resume."""
    deaf_s: float = 12.0
    """Seconds of unanswered voice until its session is replaced."""
    stalled_reply_s: float = 15.0
    """Silence of an unfinished reply until it counts as ended."""
    introduces_itself: bool = False
    """Whether it greets by itself when it takes over from another agent, and must not be told to go on."""
    interruptible: bool = True
    """False when the session says ``interrupt_response: false``."""
    tools: frozenset[str] = frozenset()
    """Names of the tools that the route gives it, ours and the provider's; no client may declare one of them."""


class CallTerms(Struct, frozen=True):
    """Everything that the machine of one call knows of the world; in the journal's first entry."""

    agents: tuple[AgentTerms, ...]
    """The ladder: the route's agent, then its fallbacks."""
    audio: AudioFormat
    """Format of the call."""
    route: str = ""
    """Name of the route."""
    marks: bool = False
    """Whether the far end says what it has played."""
    marks_at_will: bool = False
    """Whether it only says so if it likes to: marks are believed from the first one that comes back."""
    clears: bool = False
    """Whether the far end can drop what it has buffered."""
    steady: bool = False
    """Whether the far end's sound never pauses, so that a line on which nothing comes is broken."""
    lead_ms: float = 200.0
    """How far ahead of the caller's ear we send."""
    closing_leaves: bool = False
    """Whether a broken connection of the caller ends the call."""
    dtmf: Literal["ignore", "text"] = "ignore"
    """Whether the agent is told which keys were pressed."""
    client_may: frozenset[str] = frozenset()
    """Session fields, or parts of them as in ``input.keyterms``, that a client of the Voice Agent API may set."""
    anybody: bool = False
    """Whether the client came with a minted token, which whoever has the page may have."""
    webhooks: frozenset[Place] = frozenset()
    """Where a webhook that the client sets may lead: what the books of the call's regions list."""
    speaks_api: bool = False
    """Whether the caller is such a client throughout: it is told everything in the API's order, and may come back."""
    cancellable: frozenset[str] = frozenset()
    """Names of tools that may be cut short."""
    clips: Mapping[str, float] = {}
    """House sounds by name, with their length in milliseconds."""
    call_s: float = 3600.0
    """Longest call."""
    silence_s: float = 60.0
    """Longest time in which nobody says anything."""
    return_s: float = 30.0
    """How long a call waits for its caller."""
    goodbye_s: float = 20.0
    """How long an ending waits for the last words."""
