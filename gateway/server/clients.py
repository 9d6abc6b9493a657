"""Sockets of clients that speak the Voice Agent API: every one is opened, and refused in its own dialect.

Owns what happens between the upgrade and the first event: proof, then the first message, which says whether the socket
begins a call or goes on with one (reference: Voice Agent API, 1.3, 2.7 and 13.7). Nothing of an unproven client is
read. Refuses the conversation, and limits other than by asking for a place.
"""

import secrets
import time
from typing import Final

import msgspec
from aiohttp import web

from gateway.commands import HangUp
from gateway.contracts import Adapter, ClientCodec, Upgrade, Visit
from gateway.events import CallStarted
from gateway.server.access_log import log_line
from gateway.server.arrival import Arrival, TurnedAway
from gateway.server.call import Call
from gateway.server.caller_leg import CallerLeg
from gateway.server.calls import Busy, CallRegistry, new_call_id
from gateway.server.client_door import ClientDoor
from gateway.server.door import Door, Guest, Refusal
from gateway.server.reception import NoRoute, Reception
from gateway.server.threshold import wait_turn
from gateway.settings import Settings

GONE: Final = ("session_not_found", "Session not found or grace window has expired")
FOREIGN: Final = ("session_forbidden", "Session belongs to another account")
STRANGER: Final = ("unauthorized", "Authentication failed")
NOWHERE: Final = ("agent_not_found", "Agent not found")
_BUSY: Final = {"key": "concurrency_exceeded", "caller": "concurrency_exceeded"}
"""Error codes of limits that are one account's; all others are `at_capacity` (6.1)."""


class ClientSockets:
    """Handles sockets of adapters that refuse in band."""

    def __init__(
        self,
        settings: Settings,
        door: Door,
        client_door: ClientDoor,
        registry: CallRegistry,
        reception: Reception,
    ) -> None:
        self._settings = settings
        self._door = door
        self._client_door = client_door
        self._registry = registry
        self._reception = reception

    async def attend(self, arrival: Arrival, adapter: Adapter) -> web.StreamResponse:
        """Open a socket, unless it is, and keep it until it has ended."""
        began = time.monotonic()
        request = arrival.request
        guest = await self._client_door.admit(request, adapter)
        if isinstance(guest, Refusal) and guest.retry_after_s:
            return await arrival.turn_away(TurnedAway.for_haste(guest.retry_after_s))
        upgrade = self._upgrade(request, guest)
        codec: ClientCodec = adapter.codec(upgrade, self._door.adapter_settings(adapter))  # type: ignore[assignment]
        if not await arrival.open():  # gone before it was answered
            return arrival.response
        leg = CallerLeg(arrival.hand_over(), codec, self._settings.server, until=arrival.until)
        call: Call | None = None
        why = ""
        try:
            if isinstance(guest, Refusal):
                why = guest.code
                await leg.turn_away(*STRANGER)
                await wait_turn(request)  # many may be told so, or go, at the same moment
            else:
                placed = await self._place(leg, codec, adapter, guest, upgrade)
                if isinstance(placed, Call):
                    call = placed
                    log_line("joined", request, call_id=call.call_id, adapter=adapter.name, who=guest.name)
                    with call.knocking():
                        await self._registry.attach(call, leg)
                else:
                    why = placed
        finally:
            log_line(
                "socket",
                request,
                adapter=adapter.name,
                who=guest.name if isinstance(guest, Guest) else "",
                status=101,
                why=why,
                detail=guest.detail if isinstance(guest, Refusal) else "",
                call_id=call.call_id if call else "",
                close=leg.ended_with,
                wire_errors=leg.wire_errors or None,
                last_error=leg.last_error[:200],
                seconds=f"{time.monotonic() - began:.1f}",
            )
        return arrival.response

    def _upgrade(self, request: web.Request, guest: Guest | Refusal) -> Upgrade:
        by_token = isinstance(guest, Guest) and guest.admitted_by == "token"
        # A client with a key may say who calls whom; one with a minted token is anybody, and is not believed.
        said = {} if by_token else request.query
        limit_s = self._settings.limits.call_s
        session_s = guest.session_s if isinstance(guest, Guest) else None
        return Upgrade(
            call_id=new_call_id(),
            query=dict(request.query),
            caller=said.get("caller", ""),
            callee=said.get("callee", ""),
            admitted_by=guest.admitted_by if isinstance(guest, Guest) else "key",
            session_id=f"sess_{secrets.token_hex(12)}",
            resume_token=secrets.token_urlsafe(32),
            session_s=min(limit_s, session_s or limit_s),
            clock=time.time,
        )

    async def _place(
        self, leg: CallerLeg, codec: ClientCodec, adapter: Adapter, guest: Guest, upgrade: Upgrade
    ) -> Call | str:
        """The call that the socket is for, once its first message has said so; else why there is none."""
        if not await leg.cross():
            return "silent"
        first = leg.first
        if not isinstance(first, CallStarted):
            await leg.say(codec.encode(HangUp("caller_left")))
            await leg.close()
            return "ended"
        if codec.resumes:
            found = self._find(codec.resumes, guest)
            if isinstance(found, tuple):
                await leg.turn_away(*found)
                return found[0]
            codec.go_on(found.session)
            # It begins nothing: what it says of the call was said when the call began.
            info = found.runner.info if found.runner else None
            leg.first = CallStarted(info or first.info)
            return found
        if guest.returns_to:
            await leg.turn_away(*STRANGER)
            return "token_misplaced"
        info = msgspec.structs.replace(first.info, admitted_by=guest.admitted_by, session_s=guest.session_s)
        leg.first = msgspec.structs.replace(first, info=info)
        return await self._begin(leg, codec, adapter, guest, upgrade)

    async def _begin(
        self, leg: CallerLeg, codec: ClientCodec, adapter: Adapter, guest: Guest, upgrade: Upgrade
    ) -> Call | str:
        visit = Visit("call", "", caller=upgrade.caller, callee=upgrade.callee)
        call = await self._reception.receive(
            upgrade.call_id,
            adapter,
            guest,
            visit,
            agent=codec.session.agent_id,
            session_id=upgrade.session_id,
            resume_token=upgrade.resume_token,
        )
        if isinstance(call, Busy):
            await leg.turn_away(_BUSY.get(call.code, "at_capacity"), call.sentence)
            return call.code
        if isinstance(call, NoRoute):
            await leg.turn_away(*NOWHERE)
            return "no_route"
        call.session = codec.session
        return call

    def _find(self, session_id: str, guest: Guest) -> Call | tuple[str, str]:
        """The call that a client wants to go on with, or the error that it is told."""
        call = self._registry.find_session(session_id)
        if call is None or call.ended or call.session is None:
            return GONE
        if guest.returns_to:
            return call if guest.returns_to == call.call_id else FOREIGN
        # What a key has begun, a token of that key may not take over.
        same = guest.name == call.booking.owner and not (
            guest.admitted_by == "token" and call.booking.admitted_by != "token"
        )
        return call if same else FOREIGN
