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
        for kind in generation.parts.observers:
            if kind.lifetime:
                await stack.enter_async_context(kind.lifetime())
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
    from gateway.runtime.offline_script import read_script  # noqa: PLC0415 - as above
    from gateway.runtime.offline_session import OfflineSessions  # noqa: PLC0415 - as above

    for agent in agents:
        read_script(agent.script)  # a wrong one is found now, not by the first caller
    sessions = OfflineSessions(script=agents[0].script, offline_calls=settings.limits.offline_calls)
    # Entered by hand: its task groups would wrap whatever error passes through here in a group.
    await sessions.__aenter__()
    stack.push_async_callback(sessions.__aexit__, None, None, None)

    def connect(options: OfflineOptions) -> LocalSession:
        return sessions.connect(script=options.script, profile=options.profile, greet=options.greet)

    return {SERVICE: connect}
