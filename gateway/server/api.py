"""Live calls over HTTP, for keys with ``may: calls``.

Owns ``GET /v1/calls``, ``GET /v1/calls/{call_id}`` and ``DELETE /v1/calls/{call_id}``. Refuses dialling out.
A key that may use some routes only sees and ends the calls of those.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from gateway.server.access_log import log_line
from gateway.server.call import Call
from gateway.server.calls import CallRegistry
from gateway.server.door import Door, Guest, Refusal, not_let_in

_OF_A_CONTACT: Final = ("host", "address", "port", "purpose", "region", "refused")


class HostShown(Struct, frozen=True):
    """A connection that was begun for a call, or refused."""

    at: datetime
    """When."""
    host: str
    """Name."""
    address: str
    """IP address; empty when it was refused before one was asked for."""
    port: int
    """Port."""
    purpose: str
    """What for."""
    region: str
    """Region whose book lists it; empty when none of the call's regions does."""
    refused: bool
    """Whether it was not let through."""


class CallShown(Struct, frozen=True):
    """A call as the API shows it."""

    call_id: str
    """Ours."""
    adapter: str
    """Name of the caller's dialect."""
    route: str
    """Name of the route."""
    agent: str
    """Name of the agent in force."""
    phase: str
    """``invited`` until its socket is there, then the conversation's phase."""
    caller: str
    """Calling party; empty when unknown."""
    callee: str
    """Called party; empty when unknown."""
    carrier_call_id: str
    """The carrier's id; empty where there is none."""
    started_at: datetime
    """When it was booked."""
    duration_s: float
    """Seconds since then."""
    hosts: tuple[HostShown, ...] | UnsetType = UNSET
    """Whom the gateway has contacted for it, in order; of one call only."""


class CallsApi:
    """Lists and ends live calls."""

    def __init__(self, door: Door, registry: CallRegistry) -> None:
        self._door = door
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Addresses of live calls."""
        return [
            web.get("/v1/calls", self._guarded(self._list)),
            web.get("/v1/calls/{call_id}", self._guarded(self._show)),
            web.delete("/v1/calls/{call_id}", self._guarded(self._hang_up)),
        ]

    def _guarded(
        self, answer: Callable[[web.Request, Guest], web.Response]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            guest = self._door.admit_key(request, "calls")
            if isinstance(guest, Refusal):
                if not guest.retry_after_s:
                    log_line(
                        "api", request, method=request.method, status=403, why=guest.code, detail=guest.detail
                    )
                return not_let_in(guest)
            response = answer(request, guest)
            log_line("api", request, method=request.method, status=response.status, who=guest.name)
            return response

        return handle

    def _list(self, _request: web.Request, guest: Guest) -> web.Response:
        shown = [_shown(call) for call in self._registry.listing() if _is_theirs(call, guest)]
        return _json({"calls": shown})

    def _show(self, request: web.Request, guest: Guest) -> web.Response:
        call = self._find(request, guest)
        return _json(replace(_shown(call), hosts=_hosts(call))) if call else _not_here()

    def _hang_up(self, request: web.Request, guest: Guest) -> web.Response:
        call = self._find(request, guest)
        if call is None:
            return _not_here()
        call.hang_up(f"asked by {guest.name}")
        return _json(_shown(call), status=202)

    def _find(self, request: web.Request, guest: Guest) -> Call | None:
        call = self._registry.find(request.match_info["call_id"])
        return call if call is not None and _is_theirs(call, guest) else None


def _is_theirs(call: Call, guest: Guest) -> bool:
    return not guest.routes or call.booking.route.settings.name in guest.routes


def _shown(call: Call) -> CallShown:
    booking = call.booking
    return CallShown(
        call_id=call.call_id,
        adapter=booking.adapter,
        route=booking.route.settings.name,
        agent=call.runner.agent if call.runner else booking.route.agents[0],
        phase=call.phase,
        caller=booking.caller,
        callee=booking.callee,
        carrier_call_id=booking.carrier_call_id,
        started_at=datetime.fromtimestamp(call.opened_at, UTC),
        duration_s=round(call.age_s, 3),
    )


def _hosts(call: Call) -> tuple[HostShown, ...]:
    return tuple(
        HostShown(datetime.fromtimestamp(at, UTC), *(getattr(contact, name) for name in _OF_A_CONTACT))
        for at, contact in (call.runner.contacts if call.runner else ())
    )


def _not_here() -> web.Response:
    return _json({"code": "not_found", "message": "There is no such live call here."}, status=404)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
