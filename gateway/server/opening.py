"""Opens the house: what the calls of one process share, built from its configuration and closed in order.

Owns which store, which agents in this process, and that pools and threads are closed after the last call. Refuses
HTTP and the calls themselves.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from gateway.agents.offline_plan import SERVICE, OfflineAgentSettings, OfflineOptions
from gateway.errors import ConfigError
from gateway.runtime.dial import Dialler
from gateway.runtime.house import House
from gateway.runtime.legs import LocalSession
from gateway.runtime.plugins import Generation
from gateway.runtime.store import MemoryStore
from gateway.runtime.toolbox import Toolbox
from gateway.settings import Settings

HEARING_IS_MISSING: Final = "The offline agent plays clips and takes digits only; to let it hear: {command}"


@asynccontextmanager
async def open_house(generation: Generation) -> AsyncIterator[House]:
    """Build what calls share; close it when no call is left.

    Raises:
        ConfigError: when a script is wrong or the store is of a kind that is not here.
    """
    settings = generation.settings
    if settings.store.kind != "memory":
        raise ConfigError(f"store.kind: {settings.store.kind} is not available in this version; use memory")
    toolbox = Toolbox(settings.limits.tool_calls)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(toolbox.close)
        services = await _open_services(settings, stack)
        dialler = await stack.enter_async_context(Dialler(services))
        yield House(generation, MemoryStore(), toolbox, dialler)


def offline_agents(settings: Settings) -> list[OfflineAgentSettings]:
    """The agents that live in this process."""
    return [agent for agent in settings.agents.values() if isinstance(agent, OfflineAgentSettings)]


def missing_hearing(settings: Settings) -> str:
    """A sentence with the command that adds hearing, where an agent needs it and it is missing; else empty."""
    from gateway.runtime import hearing  # noqa: PLC0415 - only where an agent may need it

    if not offline_agents(settings) or hearing.available():
        return ""
    return HEARING_IS_MISSING.format(command=hearing.how_to_add())


async def _open_services(
    settings: Settings, stack: AsyncExitStack
) -> Mapping[str, Callable[[Any], LocalSession]]:
    agents = offline_agents(settings)
    if not agents:
        return {}
    # Synthesis and recognition are dear to import; a gateway without an offline agent does without.
    from gateway.runtime.hearing import Hearing  # noqa: PLC0415
    from gateway.runtime.offline_session import OfflineSessions, OfflineSettings  # noqa: PLC0415
    from gateway.runtime.speaking import Speaking  # noqa: PLC0415

    hearing, speaking = Hearing(sessions=settings.limits.offline_calls), Speaking()
    sessions: dict[tuple[str, str], OfflineSessions] = {}
    for agent in agents:
        if (agent.script, agent.profile) not in sessions:
            sessions[agent.script, agent.profile] = OfflineSessions(
                script=agent.script,
                settings=OfflineSettings(profile=agent.profile),
                hearing=hearing,
                speaking=speaking,
            )
    # Entered when all of them are known to be right: an error within a task group would be wrapped in a group.
    for one in sessions.values():
        await stack.enter_async_context(one)

    def connect(options: OfflineOptions) -> LocalSession:
        return sessions[options.script, options.profile].connect()

    return {SERVICE: connect}
