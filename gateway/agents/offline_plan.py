"""The plan of ``kind: offline``: an agent that lives in this process and needs no network and no key.

Owns its settings and how it is asked for. Refuses hearing, speaking and its script, which are the runtime's. The
offline agent speaks the Voice Agent API as JSON text, so its connection has that API's codec.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from gateway.agents.voice_agent import VoiceAgentCodec
from gateway.agents.voice_agent_session import check_session, wire_audio
from gateway.contracts import AgentCall, AgentKind, Local
from gateway.hookspecs import hookimpl
from gateway.settings import AgentSettings

SERVICE: Final = "offline"
"""Name of the service in the runtime."""


class OfflineAgentSettings(AgentSettings, frozen=True, kw_only=True):
    """An agent that follows a script."""

    script: Annotated[str, Meta(min_length=1)] = "default"
    """A built-in script, or a script file."""
    profile: Literal["realtime", "burst"] = "realtime"
    """Whether it sends a reply at the pace of speech, or all at once."""

    tools: tuple[str, ...] = ("hang_up",)
    """Names of the tools that its script may call; its goodbyes end the call by `hang_up`."""

    def __post_init__(self) -> None:
        """Refuse a session that its dialect does not have.

        Raises:
            ValueError: in one sentence, without the place.
        """
        check_session(self.session, self.tools)


class OfflineOptions(Struct, frozen=True):
    """What the service is told besides the dialect's own first message."""

    script: str
    """As in the settings."""
    greet: bool
    """Whether a `session.update` without ``greeting`` means the script's own; false in the middle of a call."""
    profile: Literal["realtime", "burst"] = "realtime"
    """As in the settings."""


def plan(call: AgentCall) -> Local:
    """Plan a session with the offline agent.

    Its first message carries ``greeting`` only where the configuration has one: without it the script's own greeting
    is spoken, also when it takes over from another agent in the middle of a call. When its own session is replaced
    ``greeting`` is the empty string and `OfflineOptions.greet` is false: it says nothing until the caller does.
    """
    settings: OfflineAgentSettings = call.settings
    greet = call.opening.rung == "new" and not (call.opening.history and call.memory.session_id)
    return Local(
        service=SERVICE,
        options=OfflineOptions(settings.script, greet, settings.profile),
        codec=VoiceAgentCodec(call, greets_unasked=True),
        audio=wire_audio(call),
    )


@hookimpl
def register_agents() -> list[AgentKind]:
    """Bring ``kind: offline``."""
    return [AgentKind("offline", OfflineAgentSettings, plan, remote=False)]
