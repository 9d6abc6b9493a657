"""The section `agents`: what every kind of agent has. Each kind extends `AgentSettings` with fields of its own."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from gateway.settings.section import Seconds, Section


class CatchUpSettings(Section, frozen=True, kw_only=True):
    """What happens to the caller's words while the agent is away."""

    keep_s: Annotated[float, Meta(ge=0, le=30)] = 5.0
    """Newest seconds kept."""
    rate: Annotated[float, Meta(ge=1, le=4)] = 1.5
    """Speed at which they are passed on, after a burst of at most one second."""


class AgentSettings(Section, frozen=True, kw_only=True):
    """What every kind of agent has; each kind adds its own fields."""

    kind: str
    """``voice_agent``, ``offline``, or one that a plugin registers."""
    region: str = "us"
    """``us``, ``eu`` or a name from `regions`."""
    session: dict[str, Any] = field(default_factory=dict)
    """The provider's session fields, sent as they are in `session.update`."""
    turn_detection: Literal["fast", "standard", "deliberate"] | None = None
    """Profile over `session.input.turn_detection`; None leaves the provider's adaptive mode on."""
    tools: tuple[str, ...] = ()
    """Names of the tools that this agent may call."""
    tool_results: Literal["immediate", "after_reply"] = "immediate"
    """When a result is sent: at once, or after the reply in progress."""
    catch_up: CatchUpSettings = CatchUpSettings()
    """What happens to the caller's words while the agent is away."""
    clips: dict[str, str] = field(default_factory=dict)
    """House sounds by name (``hold``, ``apology``): WAV files; built-in ones by default."""
    fallback: str = ""
    """Agent that takes over when this one cannot be reached."""
    ready_s: Seconds = 10
    """How long the agent may take until its session is ready."""
    sessions_per_minute: Annotated[int, Meta(ge=1, le=100_000)] = 100
    """New sessions that this process begins in a minute with one key on one host; a busy minute adds a tenth."""
    queue_s: Annotated[float, Meta(ge=0, le=120)] = 20
    """How long a new session may wait for its turn, besides ``ready_s``; when it would be longer, the fallback takes over."""
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """How many failures of this agent bring the next one; a session that is lost for the first time is none."""
    resume_s: Annotated[float, Meta(gt=0, le=30)] = 25
    """How long a lost session is tried to be resumed; the provider keeps it for 30 s."""
    deaf_s: Annotated[float, Meta(ge=2, le=120)] = 12
    """Seconds of the caller's voice without any sign from the agent after which its session is replaced."""
    stalled_reply_s: Annotated[float, Meta(ge=2, le=120)] = 15
    """Silence of an unfinished reply after which it counts as ended."""
    lost_after_s: Annotated[float, Meta(ge=1, le=120)] | None = 6.0
    """Seconds in which nothing comes from its connection, not even the answer to a ping, after which that counts as
    lost; null never. An agent that has never answered a ping is not held to it."""
