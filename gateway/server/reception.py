"""Takes a call in: chooses its route and takes a place for it.

Owns the way from "who calls whom over what" to a booked `Call`, the same for webhooks and for sockets. Refuses
proof (`door`) and HTTP.
"""

import time
from typing import Final

import msgspec
from msgspec import Struct

from gateway.audio import MULAW_8K
from gateway.contracts import Adapter, Parts, Route, Visit
from gateway.events import CallInfo
from gateway.runtime.routing import ConfiguredRoutes, named_route, narrowed
from gateway.server.call import Booking, Call
from gateway.server.calls import Busy, CallRegistry
from gateway.server.door import Guest
from gateway.settings import Settings
from gateway.terms import Circumstances


class NoRoute(Struct, frozen=True):
    """The configuration has no place for this call."""

    sentence: str
    """For the peer."""


class Reception:
    """Takes calls in for one generation of settings and plugins."""

    def __init__(self, settings: Settings, parts: Parts, registry: CallRegistry) -> None:
        self._settings: Final = settings
        self._parts: Final = parts
        self._registry: Final = registry

    async def receive(
        self,
        call_id: str,
        adapter: Adapter,
        guest: Guest,
        visit: Visit,
        *,
        route_name: str = "",
        agent: str = "",
        session_id: str = "",
        resume_token: str = "",
    ) -> Call | Busy | NoRoute:
        """Choose the route, by name where the address names one, and take a place for `access.token_s`.

        An ``agent`` that a client names is a wish: the first route to it that takes this call, else any.
        """
        info = CallInfo(
            call_id=call_id,
            adapter=adapter.name,
            audio=MULAW_8K,  # not negotiated yet; routes do not depend on it
            caller=visit.caller,
            callee=visit.callee,
            carrier_call_id=visit.carrier_call_id,
            parameters=dict(visit.parameters),
        )
        told = Circumstances(
            key="" if adapter.proof == "carrier" else guest.name, claims=guest.claims, at=time.time()
        )
        route = self._route_to(agent, info, guest, told) or self._route(info, guest, route_name, told)
        if isinstance(route, NoRoute):
            return route
        booking = Booking(
            adapter=adapter.name,
            route=route,
            caller=visit.caller,
            callee=visit.callee,
            carrier_call_id=info.carrier_call_id,
            parameters=info.parameters,
            owner="" if adapter.proof == "carrier" else guest.name,
            owner_calls=guest.calls,
            admitted_by="" if adapter.proof == "carrier" else guest.admitted_by,
            session_id=session_id,
            resume_token=resume_token,
        )
        return await self._registry.book(call_id, booking, self._settings.access.token_s)

    def _route_to(self, agent: str, info: CallInfo, guest: Guest, told: Circumstances) -> Route | None:
        names = guest.routes or [route.name for route in self._settings.routes]
        mine = tuple(r for r in self._settings.routes if r.agent == agent and r.name in names)
        if not mine:
            return None
        found = self._parts.route_call(info, msgspec.structs.replace(self._settings, routes=mine), told)
        return found if found is not None and found.settings in mine else None

    def _route(self, info: CallInfo, guest: Guest, route_name: str, told: Circumstances) -> Route | NoRoute:
        # A key that may use some routes only is served by the first of those that matches.
        settings = narrowed(self._settings, guest.routes)
        if route_name:
            kinds = ConfiguredRoutes(self._parts.agents)
            found = named_route(route_name, settings, kinds.is_remote)
            names = ", ".join(route.name for route in settings.routes) or "none"
            return found or NoRoute(f"There is no route {route_name!r}; there are: {names}.")
        found = self._parts.route_call(info, settings, told)
        if guest.routes and (found is None or found.settings.name not in guest.routes):
            return NoRoute(_limited(guest.routes))
        if found is None:
            return NoRoute("No route takes this call; add one to `routes` in the configuration.")
        return found


def _limited(routes: tuple[str, ...]) -> str:
    """Why a key that may use some routes only gets none, though another route might take the call."""
    if len(routes) == 1:
        return f"This key is limited to the route {routes[0]}, which does not take this call."
    return f"This key is limited to the routes {', '.join(routes)}, and none of them takes this call."
