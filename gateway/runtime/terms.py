"""What the machine of a call is told: route, agents and adapter, reduced to what the conversation needs.

Owns that reduction, so that the machine never sees a configuration. Also says what an agent's plan needs.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.agents.voice_agent_session import declared_tools, interruptible
from gateway.commands import OpenAgent
from gateway.contracts import Adapter, AgentCall, Dial, Local, Route, SessionMemory
from gateway.errors import ConfigError
from gateway.events import CallInfo
from gateway.places import Place
from gateway.runtime.book import joined_book
from gateway.runtime.plugins import Generation
from gateway.runtime.routing import ConfiguredRoutes, address_book, regions_of
from gateway.settings import AgentSettings, RegionSettings, RouteSettings
from gateway.terms import AgentTerms, CallTerms
from gateway.tools import Tool

LEAD_WITH_CLEAR_MS: Final = 2000.0
"""How far ahead of the caller's ear we send where the far end can drop it again."""
LEAD_WITHOUT_CLEAR_MS: Final = 200.0
"""The same where it cannot."""
KEYS_ONLY: Final = frozenset({"agent_id", "webhook"})
"""Fields that a client with a minted token may set only where the route's ``token_may`` names them."""
NOWHERE: Final = RegionSettings(voice_agent="")
"""The address book of agents in this process."""


def covered(name: str, names: Iterable[str]) -> bool:
    """Whether a field, or the part of one, is among these fields or inside one of them."""
    return name in names or name.partition(".")[0] in names


def call_terms(
    generation: Generation, adapter: Adapter, route: Route, info: CallInfo, clips: Mapping[str, bytes]
) -> CallTerms:
    """Terms of one call."""
    settings = generation.settings
    limits = settings.limits
    client_may = frozenset(_client_may(route.settings, info))
    if settings.agents[route.agents[0]].kind == "offline":
        client_may -= {"agent_id"}  # nothing is stored behind it
    agents = tuple(_agent_terms(generation, name) for name in route.agents)
    cancellable = {t.name for name in route.agents for t in tools_of(generation, name) if t.cancellable}
    return CallTerms(
        agents=agents,
        audio=info.audio,
        route=route.settings.name,
        marks=adapter.marks,
        marks_at_will=adapter.marks_at_will,
        clears=adapter.clears,
        lead_ms=_lead_ms(adapter),
        steady=adapter.steady,
        closing_leaves=adapter.closing_leaves,
        dtmf=route.settings.dtmf,
        client_may=client_may,
        anybody=info.admitted_by == "token",
        webhooks=_webhooks(generation, route) if "webhook" in client_may else frozenset(),
        speaks_api=adapter.in_band,
        cancellable=frozenset(cancellable),
        clips={name: info.audio.ms(len(audio)) for name, audio in clips.items()},
        call_s=min(limits.call_s, info.session_s or limits.call_s),
        silence_s=limits.silence_s,
        return_s=limits.return_s,
        goodbye_s=limits.goodbye_s,
    )


def _client_may(route: RouteSettings, info: CallInfo) -> tuple[str, ...]:
    """What this client may set: one with a minted token is anybody, and may never do more than one with a key."""
    if info.admitted_by != "token":
        return route.client_may
    if route.token_may is not None:
        return tuple(name for name in route.token_may if covered(name, route.client_may))
    return tuple(name for name in route.client_may if name not in KEYS_ONLY)


def _webhooks(generation: Generation, route: Route) -> frozenset[Place]:
    """Where the calls of a route may tell of themselves."""
    is_remote = ConfiguredRoutes(generation.parts.agents).is_remote
    regions = regions_of(route, generation.settings, is_remote)
    return joined_book(generation.settings, regions).places["webhooks"]


def _lead_ms(adapter: Adapter) -> float:
    if adapter.lead_ms is not None:
        return adapter.lead_ms
    return LEAD_WITH_CLEAR_MS if adapter.clears else LEAD_WITHOUT_CLEAR_MS


def tools_of(generation: Generation, agent: str) -> tuple[Tool, ...]:
    """The tools that an agent may call."""
    tools = generation.parts.tools
    return tuple(tools[name] for name in generation.settings.agents[agent].tools if name in tools)


def agent_plan(
    generation: Generation, info: CallInfo, opening: OpenAgent, memory: SessionMemory
) -> tuple[AgentCall, Dial | Local]:
    """How to reach an agent for this call.

    Raises:
        ConfigError: when its region has no address book.
    """
    settings = generation.settings.agents[opening.agent]
    kind = generation.parts.agents[settings.kind]
    call = AgentCall(
        name=opening.agent,
        settings=settings,
        region=_region(generation, settings) if kind.remote else NOWHERE,
        info=info,
        tools=tools_of(generation, opening.agent),
        opening=opening,
        memory=memory,
    )
    return call, kind.plan(call)


def _region(generation: Generation, settings: AgentSettings) -> RegionSettings:
    book = address_book(generation.settings)
    if settings.region not in book:
        raise ConfigError(f"region {settings.region!r} is unknown; add it to regions")
    return book[settings.region]


def _agent_terms(generation: Generation, name: str) -> AgentTerms:
    settings = generation.settings.agents[name]
    remote = generation.parts.agents[settings.kind].remote
    return AgentTerms(
        name=name,
        region=settings.region if remote else "",
        tool_results=settings.tool_results,
        keep_s=settings.catch_up.keep_s,
        rate=settings.catch_up.rate,
        ready_s=settings.ready_s,
        tries=settings.tries,
        resume_s=settings.resume_s,
        deaf_s=settings.deaf_s,
        stalled_reply_s=settings.stalled_reply_s,
        introduces_itself=not remote,
        interruptible=interruptible(settings),
        tools=frozenset(tool.name for tool in tools_of(generation, name)) | declared_tools(settings),
    )
