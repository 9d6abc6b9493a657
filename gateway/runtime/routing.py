"""Chooses the route of a call and the ladder of agents behind it.

Owns the order (first match wins; `conditions` says what matches) and residency: a remote agent of another region is
never on a ladder unless the route allows that region by name. Refuses I/O.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from gateway.contracts import AgentKind, Route
from gateway.events import CallInfo
from gateway.hookspecs import hookimpl
from gateway.runtime.conditions import mismatch, why_met
from gateway.settings import (
    BUILT_IN_REGIONS,
    AgentSettings,
    RegionSettings,
    RouteSettings,
    Settings,
)
from gateway.terms import Circumstances

NOTHING_TOLD: Final = Circumstances()
"""Of calls about which nothing but who calls whom is known."""

IsRemote = Callable[[AgentSettings], bool]
"""Whether an agent's audio leaves this process."""


def always_remote(_agent: AgentSettings) -> bool:
    """The careful answer where kinds of agents are not known."""
    return True


def address_book(settings: Settings) -> Mapping[str, RegionSettings]:
    """All regions by name, built-in and configured; a section with a built-in name adds to that one."""
    return BUILT_IN_REGIONS | {
        name: _added(BUILT_IN_REGIONS[name], region) if name in BUILT_IN_REGIONS else region
        for name, region in settings.regions.items()
    }


def _added(built_in: RegionSettings, region: RegionSettings) -> RegionSettings:
    """A built-in region as its section changes it; one that names its own address keeps nothing of the built-in."""
    if region.voice_agent:
        return region
    # field by field: a section that has problems is a stand-in with the same fields
    fields = {name: getattr(region, name) for name in RegionSettings.__struct_fields__}
    addresses = {"voice_agent": built_in.voice_agent, "rest": region.rest or built_in.rest}
    return RegionSettings(**fields | addresses)


def narrowed(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings as a key sees them that may use routes of these names only; with no names, all."""
    if not names:
        return settings
    return replace(settings, routes=tuple(route for route in settings.routes if route.name in names))


def fallbacks(name: str, agents: Mapping[str, AgentSettings]) -> Iterator[str]:
    """An agent, its fallback, that one's fallback and so on; ends where it would begin again."""
    seen: set[str] = set()
    while name in agents and name not in seen:
        seen.add(name)
        yield name
        name = agents[name].fallback


def home_region(route: RouteSettings, settings: Settings, is_remote: IsRemote) -> str:
    """The region in which calls of a route live: that of the first remote agent; empty when there is none."""
    for name in fallbacks(route.agent, settings.agents):
        if is_remote(settings.agents[name]):
            return settings.agents[name].region
    return ""


def strangers(route: RouteSettings, settings: Settings, is_remote: IsRemote = always_remote) -> list[str]:
    """Agents behind a route that live in a region which the route does not allow."""
    allowed = {home_region(route, settings, is_remote), *route.allow_regions}
    return [
        name
        for name in fallbacks(route.agent, settings.agents)
        if is_remote(settings.agents[name]) and settings.agents[name].region not in allowed
    ]


def regions_of(route: Route, settings: Settings, is_remote: IsRemote) -> tuple[str, ...]:
    """The only regions that a call of a route may reach: where it lives, then those that the route allows."""
    home = next((a.region for a in map(settings.agents.get, route.agents) if a and is_remote(a)), "")
    return tuple(dict.fromkeys(name for name in (home, *route.settings.allow_regions) if name))


def ladder(route: RouteSettings, settings: Settings, is_remote: IsRemote = always_remote) -> tuple[str, ...]:
    """The agents of a route in the order in which they are tried."""
    kept_out = strangers(route, settings, is_remote)
    return tuple(name for name in fallbacks(route.agent, settings.agents) if name not in kept_out)


def explain_mismatches(
    info: CallInfo, settings: Settings, circumstances: Circumstances = NOTHING_TOLD
) -> list[str]:
    """Per route that does not match, why: ``name: reason``."""
    reasons = {route.name: mismatch(route.match, info, circumstances) for route in settings.routes}
    return [f"{name}: {why}" for name, why in reasons.items() if why]


def choose_route(
    info: CallInfo,
    settings: Settings,
    is_remote: IsRemote = always_remote,
    circumstances: Circumstances = NOTHING_TOLD,
) -> Route | None:
    """The first route whose conditions the call meets; None when there is none and the call must be refused."""
    for route in settings.routes:
        if not mismatch(route.match, info, circumstances):
            why = why_met(route.match, info, circumstances)
            return named_route(route.name, settings, is_remote, why=why)
    return None


def named_route(
    name: str, settings: Settings, is_remote: IsRemote = always_remote, why: str = ""
) -> Route | None:
    """A route by its name, as where the address names it; None when there is no such route or agent."""
    for route in settings.routes:
        if route.name == name and (agents := ladder(route, settings, is_remote)):
            return Route(settings=route, agents=agents, why=why or f"the address names the route {name}")
    return None


class ConfiguredRoutes:
    """The last to be asked for a route: ``routes`` in the configuration."""

    def __init__(self, kinds: Mapping[str, AgentKind]) -> None:
        self._kinds = kinds

    def is_remote(self, agent: AgentSettings) -> bool:
        """Whether an agent's audio leaves this process."""
        kind = self._kinds.get(agent.kind)
        return kind is None or kind.remote

    @hookimpl(trylast=True)
    def route_call(self, info: CallInfo, settings: Settings, circumstances: Circumstances) -> Route | None:
        """Walk the configured routes."""
        return choose_route(info, settings, self.is_remote, circumstances)
