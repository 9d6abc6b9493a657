"""What today's configuration would tell the machine of a recorded call."""

from gateway.contracts import Route
from gateway.errors import ConfigError
from gateway.observers.journal_file import JournalHeader
from gateway.runtime.clips import load_clips
from gateway.runtime.plugins import Generation
from gateway.runtime.routing import ConfiguredRoutes, named_route
from gateway.runtime.terms import call_terms
from gateway.terms import CallTerms


def todays_terms(generation: Generation, header: JournalHeader, route_name: str = "") -> CallTerms:
    """Terms of a recorded call under another configuration: those of the route of the same name, or of another.

    Raises:
        ConfigError: when there is no such route, or the call's adapter is not installed.
    """
    adapter = generation.parts.adapters.get(header.call.adapter)
    if adapter is None:
        raise ConfigError(
            f"the call came over the adapter {header.call.adapter}, which is not installed; install it"
        )
    route = _route(generation, route_name or header.terms.route)
    clips = load_clips(generation.settings.agents[route.agents[0]], header.call.audio)
    return call_terms(generation, adapter, route, header.call, clips)


def _route(generation: Generation, name: str) -> Route:
    settings = generation.settings
    route = named_route(name, settings, ConfiguredRoutes(generation.parts.agents).is_remote)
    if route is None:
        known = ", ".join(one.name for one in settings.routes)
        raise ConfigError(f"there is no route {name or '(without a name)'}; choose one with --route: {known}")
    return route
