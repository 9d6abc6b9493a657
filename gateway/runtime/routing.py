"""Chooses the route of a call and the ladder of agents behind it.

Owns matching (first match wins) and residency: a remote agent of another region is never on a ladder unless the
route allows that region by name. Refuses I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from gateway.contracts import AgentKind, Route
from gateway.events import CallInfo
from gateway.hookspecs import hookimpl
from gateway.settings import (
    BUILT_IN_REGIONS,
    AgentSettings,
    MatchSettings,
    RegionSettings,
    RouteSettings,
    Settings,
)

IsRemote = Callable[[AgentSettings], bool]
"""Whether an agent's audio leaves this process."""


def always_remote(_agent: AgentSettings) -> bool:
    """The careful answer where kinds of agents are not known."""
    return True


def address_book(settings: Settings) -> Mapping[str, RegionSettings]:
    """All regions by name, built-in and configured."""
    return {**BUILT_IN_REGIONS, **settings.regions}


def matches(pattern: str, text: str) -> bool:
    """Whether a text is what the pattern says: exact, or a prefix with ``*``."""
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern


def covers(match: MatchSettings, other: MatchSettings) -> bool:
    """Whether every call that meets the other conditions meets these too."""
    pairs = ((match.adapter, other.adapter), (match.caller, other.caller), (match.callee, other.callee))
    return all(
        not wide or "*" in wide or (narrow and all(_is_within(pattern, wide) for pattern in narrow))
        for wide, narrow in pairs
    )


def _is_within(pattern: str, patterns: Iterable[str]) -> bool:
    """Whether all that a pattern matches is matched by one of the others."""
    return any(
        pattern == wide or (wide.endswith("*") and pattern.removesuffix("*").startswith(wide[:-1]))
        for wide in patterns
    )


def mismatch(match: MatchSettings, info: CallInfo) -> str:
    """Why a call does not meet the conditions; empty when it does."""
    for name, patterns, text in (
        ("adapter", match.adapter, info.adapter),
        ("caller", match.caller, info.caller),
        ("callee", match.callee, info.callee),
    ):
        if patterns and not any(matches(pattern, text) for pattern in patterns):
            return f"the {name} {text or '(unknown)'} is none of {', '.join(patterns)}"
    return ""


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


def ladder(route: RouteSettings, settings: Settings, is_remote: IsRemote = always_remote) -> tuple[str, ...]:
    """The agents of a route in the order in which they are tried."""
    kept_out = strangers(route, settings, is_remote)
    return tuple(name for name in fallbacks(route.agent, settings.agents) if name not in kept_out)


def explain_mismatches(info: CallInfo, settings: Settings) -> list[str]:
    """Per route that does not match, why: ``name: reason``."""
    return [f"{route.name}: {why}" for route in settings.routes if (why := mismatch(route.match, info))]


def choose_route(info: CallInfo, settings: Settings, is_remote: IsRemote = always_remote) -> Route | None:
    """The first route whose conditions the call meets; None when there is none and the call must be refused."""
    for route in settings.routes:
        if not mismatch(route.match, info):
            return named_route(route.name, settings, is_remote, why=_why(route.match, info))
    return None


def named_route(
    name: str, settings: Settings, is_remote: IsRemote = always_remote, why: str = ""
) -> Route | None:
    """A route by its name, as where the address names it; None when there is no such route or agent."""
    for route in settings.routes:
        if route.name == name and (agents := ladder(route, settings, is_remote)):
            return Route(settings=route, agents=agents, why=why or f"the address names the route {name}")
    return None


def _why(match: MatchSettings, info: CallInfo) -> str:
    met = [
        f"the {name} {text} matches {next(pattern for pattern in patterns if matches(pattern, text))}"
        for name, patterns, text in (
            ("adapter", match.adapter, info.adapter),
            ("caller", match.caller, info.caller),
            ("callee", match.callee, info.callee),
        )
        if patterns
    ]
    return " and ".join(met) or "it takes every call that no route before it took"


class ConfiguredRoutes:
    """The last to be asked for a route: ``routes`` in the configuration."""

    def __init__(self, kinds: Mapping[str, AgentKind]) -> None:
        self._kinds = kinds

    def is_remote(self, agent: AgentSettings) -> bool:
        """Whether an agent's audio leaves this process."""
        kind = self._kinds.get(agent.kind)
        return kind is None or kind.remote

    @hookimpl(trylast=True)
    def route_call(self, info: CallInfo, settings: Settings) -> Route | None:
        """Walk the configured routes."""
        return choose_route(info, settings, self.is_remote)
