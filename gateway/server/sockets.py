"""Media sockets: finds the adapter, checks the door, and attaches the socket to its call.

Owns ``/v1/ws``, ``/v1/ws/{adapter}`` and ``/v1/ws/{adapter}/{token}``. Before proof was given it reads at most two
messages: where they must tell whose the socket is (`recognition`), or bring the token that the address lacks.
Sources: contract, section 2; carriers reference 1.9, 2.4 and 15.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from gateway.contracts import Adapter, Codec, Store, Upgrade, Visit
from gateway.errors import WireError
from gateway.redaction import mask_number
from gateway.server.access_log import log_line
from gateway.server.arrival import Arrival, TurnedAway
from gateway.server.call import Call
from gateway.server.caller_leg import CallerLeg
from gateway.server.calls import Busy, CallRegistry, new_call_id
from gateway.server.client_door import ClientDoor
from gateway.server.clients import ClientSockets
from gateway.server.door import NOT_LET_IN, Door, Guest, Refusal
from gateway.server.manners import TOO_MANY
from gateway.server.reception import NoRoute, Reception
from gateway.server.recognition import read_token, recognise_arrival
from gateway.settings import ServerSettings

STREAM_SEEN_S: Final = 86_400.0
"""How long a stream let in by its signature alone is remembered, so that its upgrade cannot be played again."""


class MediaSockets:
    """Handles upgrades; ``heartbeat_s`` is None because our own ping timeout would end healthy calls."""

    def __init__(
        self,
        server: ServerSettings,
        adapters: Mapping[str, Adapter],
        *,
        store: Store,
        door: Door,
        registry: CallRegistry,
        reception: Reception,
        clients: ClientSockets,
        client_door: ClientDoor,
        heartbeat_s: float | None = None,
    ) -> None:
        self._server = server
        self._adapters = adapters
        self._store = store
        self._door = door
        self._registry = registry
        self._reception = reception
        self._clients = clients
        self._client_door = client_door
        self._heartbeat_s = heartbeat_s

    def routes(self) -> list[web.RouteDef]:
        """Addresses of media sockets."""
        return [
            web.get("/v1/ws", self.handle, allow_head=False),
            web.get("/v1/ws/{adapter}", self.handle, allow_head=False),
            web.get("/v1/ws/{adapter}/{token}", self.handle, allow_head=False),
        ]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Let a socket in and keep it until it has ended."""
        name = request.match_info.get("adapter", "")
        if name and name not in self._adapters:
            return _sentence(404, f"There is no such adapter here; there are: {self._named()}.")
        arrival = Arrival(request, self._server, self._heartbeat_s)
        if not arrival.is_upgrade:
            return _sentence(
                426, "This address speaks WebSocket; open it with ws:// or wss://.", Upgrade="websocket"
            )
        adapter = self._adapters[name] if name else await self._recognise(arrival)
        if isinstance(adapter, TurnedAway):
            return await self._turn_away(arrival, adapter, recognised="nobody")
        if adapter.in_band:
            return await self._clients.attend(arrival, adapter)
        guest = await self._admit(arrival, adapter)
        if isinstance(guest, TurnedAway):
            return await self._turn_away(arrival, guest, adapter=adapter.name)
        ended = await self._let_in(arrival, adapter, guest)
        if isinstance(ended, TurnedAway):
            return await self._turn_away(arrival, ended, adapter=adapter.name, who=guest.name)
        return ended

    async def _recognise(self, arrival: Arrival) -> Adapter | TurnedAway:
        wait_s = self._door.hurry(arrival.request)
        found = await recognise_arrival(arrival, wait_s)
        if isinstance(found, TurnedAway):
            return found
        if (adapter := self._adapters.get(found.adapter)) is not None:
            return adapter
        if wait_s:
            return TurnedAway.for_haste(wait_s)
        sentence = f"This looks like {found.adapter}, and there are only: {self._named()}."
        return TurnedAway(404, "not_configured", sentence)

    async def _admit(self, arrival: Arrival, adapter: Adapter) -> Guest | TurnedAway:
        """Check everything that a media socket must prove; a token that is not in the address may be in its words."""
        request, token = arrival.request, arrival.request.match_info.get("token", "")
        guest: Guest | Refusal
        if adapter.proof == "key":
            guest = await self._client_door.admit(request, adapter)
        elif token or adapter.first_token is None:
            guest = await self._door.admit_socket(request, adapter, token)
        elif (refusal := self._door.admit_upgrade(request, adapter)) is not None:
            guest = refusal
        else:
            found = await read_token(arrival, adapter.first_token)
            if isinstance(found, TurnedAway):
                return found
            guest = await self._door.spend(adapter, found)
        if isinstance(guest, Refusal) and guest.retry_after_s:
            return TurnedAway.for_haste(guest.retry_after_s)
        if isinstance(guest, Refusal):
            return TurnedAway(403, guest.code, NOT_LET_IN.strip(), guest.detail)
        return guest

    async def _turn_away(self, arrival: Arrival, refusal: TurnedAway, **known: str) -> web.StreamResponse:
        """Refuse a socket in words, which are the same for every proof that is none."""
        is_open = arrival.is_open
        if refusal.status == TOO_MANY:
            return await arrival.turn_away(refusal)  # a line for each would be a flood of its own
        log_line(
            "socket",
            arrival.request,
            **known,
            status=101 if is_open else refusal.status,
            close=refusal.close_code if is_open else None,
            why=refusal.why,
            detail=refusal.detail if refusal.status == 403 else refusal.sentence,
        )
        return await arrival.turn_away(refusal)

    async def _let_in(
        self, arrival: Arrival, adapter: Adapter, guest: Guest
    ) -> web.StreamResponse | TurnedAway:
        request, media_pass = arrival.request, guest.media_pass
        by_token = adapter.proof == "key" and guest.admitted_by == "token"
        upgrade = Upgrade(
            call_id=media_pass.call_id if media_pass else new_call_id(),
            query=dict(request.query),
            caller=media_pass.caller if media_pass else "",
            callee=media_pass.callee if media_pass else "",
            carrier_call_id=media_pass.carrier_call_id if media_pass else "",
            parameters=media_pass.parameters if media_pass else {},
            admitted_by=guest.admitted_by if adapter.proof == "key" else "carrier",
            session_s=guest.session_s or Upgrade.session_s,
            clock=time.time,
        )
        try:
            codec = adapter.codec(upgrade, self._door.adapter_settings(adapter))
        except WireError as error:
            return TurnedAway(400, "format", str(error))
        if media_pass is None:
            # A client with a key may say who calls whom; a carrier's stream is not believed that, nor is anybody who
            # has been given a token.
            said = request.query if adapter.proof == "key" and not by_token else {}
            visit = Visit("call", "", caller=said.get("caller", ""), callee=said.get("callee", ""))
            call = await self._reception.receive(upgrade.call_id, adapter, guest, visit)
        elif (found := self._registry.find(media_pass.call_id)) is not None:
            if found.booking.route.settings.name != media_pass.route:
                refusal = self._door.refuse("token_misplaced")
                return TurnedAway(403, refusal.code, NOT_LET_IN.strip(), "minted for another route")
            call = found
        else:
            return TurnedAway(410, "call_over", "This call is over.")
        if isinstance(call, Busy):
            return TurnedAway(503, call.code, call.sentence, headers={"Retry-After": "5"})
        if isinstance(call, NoRoute):
            return TurnedAway(404, "no_route", call.sentence)
        return await self._attach(arrival, adapter, guest, codec, call)

    async def _attach(
        self, arrival: Arrival, adapter: Adapter, guest: Guest, codec: Codec, call: Call
    ) -> web.StreamResponse:
        with call.knocking():
            return await self._attend(arrival, adapter, guest, codec, call)

    async def _attend(
        self, arrival: Arrival, adapter: Adapter, guest: Guest, codec: Codec, call: Call
    ) -> web.StreamResponse:
        began = time.monotonic()
        tokenless = guest.media_pass is None
        welcome = self._once(adapter, codec) if tokenless and adapter.proof == "carrier" else None
        leg: CallerLeg | None = None
        heard = False
        try:
            if not await arrival.open():  # gone before it was answered
                return arrival.response
            log_line("joined", arrival.request, call_id=call.call_id, adapter=adapter.name, who=guest.name)
            leg = CallerLeg(
                arrival.hand_over(),
                codec,
                self._server,
                is_welcome=welcome,
                steady=adapter.steady,
                until=arrival.until,
            )
            await self._registry.attach(call, leg)
            heard = leg.crossed
        finally:
            if tokenless and not heard:
                # Nobody but this socket knows of the call; an invited one may still be asked for again.
                call.leave("its socket never said anything")
            log_line(
                "socket",
                arrival.request,
                adapter=adapter.name,
                who=guest.name,
                status=101,
                call_id=call.call_id,
                caller=mask_number(call.booking.caller),
                close=None if leg is None else leg.ended_with,
                wire_errors=None if leg is None else leg.wire_errors or None,
                last_error=None if leg is None else leg.last_error[:200],
                seconds=f"{time.monotonic() - began:.1f}",
            )
        return arrival.response

    def _once(self, adapter: Adapter, codec: Codec) -> Callable[[], Awaitable[bool]]:
        """Check that a stream which only its upgrade's signature vouches for comes for the first time."""

        async def is_new() -> bool:
            stream = getattr(codec, "comes_once", "")
            return bool(stream) and await self._store.first_time(
                f"stream:{adapter.name}:{stream}", STREAM_SEEN_S
            )

        return is_new

    def _named(self) -> str:
        return ", ".join(f"/v1/ws/{known}" for known in sorted(self._adapters))


def _sentence(status: int, sentence: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=sentence + "\n", headers=headers)
