"""Media sockets: recognises the adapter, checks the door, and attaches the socket to its call.

Owns ``/v1/ws``, ``/v1/ws/{adapter}`` and ``/v1/ws/{adapter}/{token}``. Refuses to read a message before proof was
given. Sources: contract, section 2; carriers reference 1.9, 2.4 and 15.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web
from msgspec import Struct

from gateway.contracts import Adapter, Codec, Store, Upgrade, Visit
from gateway.errors import WireError
from gateway.server.access_log import log_line, mask_number
from gateway.server.call import Call
from gateway.server.caller_leg import CallerLeg
from gateway.server.calls import Busy, CallRegistry, new_call_id
from gateway.server.clients import ClientSockets
from gateway.server.door import Door, Guest, Refusal, not_let_in
from gateway.server.reception import NoRoute, Reception
from gateway.settings import ServerSettings

# A peer drops the connection when we pick a subprotocol that it did not offer; aiohttp picks from its offer only.
SUBPROTOCOLS: Final = ("audio.twilio.com", "media", "audio.drachtio.org", "audio.jambonz.org")

STREAM_SEEN_S: Final = 86_400.0
"""How long a stream let in by its signature alone is remembered, so that its upgrade cannot be played again."""


class _Refused(Struct, frozen=True):
    """A socket with proof that is not opened all the same."""

    status: int
    why: str
    """Short name of the reason, for the log."""
    sentence: str
    """For the peer, and for the log."""
    headers: Mapping[str, str] = {}


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
        heartbeat_s: float | None = None,
    ) -> None:
        self._server = server
        self._adapters = adapters
        self._store = store
        self._door = door
        self._registry = registry
        self._reception = reception
        self._clients = clients
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
        name = request.match_info.get("adapter") or _recognise(request)
        adapter = self._adapters.get(name)
        if adapter is None:
            return self._unknown(name)
        if not web.WebSocketResponse(protocols=SUBPROTOCOLS).can_prepare(request).ok:
            return _sentence(
                426, "This address speaks WebSocket; open it with ws:// or wss://.", Upgrade="websocket"
            )
        if adapter.in_band:
            return await self._clients.attend(request, adapter, self._new_socket())
        guest = await self._door.admit_socket(request, adapter, request.match_info.get("token", ""))
        if isinstance(guest, Refusal):
            log_line("socket", adapter=name, status=403, why=guest.code, detail=guest.detail)
            return not_let_in()
        socket = await self._let_in(request, adapter, guest)
        if isinstance(socket, _Refused):
            log_line(
                "socket",
                adapter=name,
                who=guest.name,
                status=socket.status,
                why=socket.why,
                detail=socket.sentence,
            )
            return _sentence(socket.status, socket.sentence, **socket.headers)
        return socket

    async def _let_in(
        self, request: web.Request, adapter: Adapter, guest: Guest
    ) -> web.StreamResponse | _Refused:
        media_pass = guest.media_pass
        upgrade = Upgrade(
            call_id=media_pass.call_id if media_pass else new_call_id(),
            query=dict(request.query),
            caller=media_pass.caller if media_pass else "",
            callee=media_pass.callee if media_pass else "",
            carrier_call_id=media_pass.carrier_call_id if media_pass else "",
            parameters=media_pass.parameters if media_pass else {},
            clock=time.time,
        )
        try:
            codec = adapter.codec(upgrade, self._door.adapter_settings(adapter))
        except WireError as error:
            return _Refused(400, "format", str(error))
        if media_pass is None:
            # A client with a key may say who calls whom; a carrier's stream is not believed that.
            said = request.query if adapter.proof == "key" else {}
            visit = Visit("call", "", caller=said.get("caller", ""), callee=said.get("callee", ""))
            call = await self._reception.receive(upgrade.call_id, adapter, guest, visit)
        elif (found := self._registry.find(media_pass.call_id)) is not None:
            call = found
        else:
            return _Refused(410, "call_over", "This call is over.")
        if isinstance(call, Busy):
            return _Refused(503, call.code, call.sentence, {"Retry-After": "5"})
        if isinstance(call, NoRoute):
            return _Refused(404, "no_route", call.sentence)
        return await self._attach(request, adapter, guest, codec, call)

    async def _attach(
        self, request: web.Request, adapter: Adapter, guest: Guest, codec: Codec, call: Call
    ) -> web.StreamResponse:
        with call.knocking():
            return await self._attend(request, adapter, guest, codec, call)

    async def _attend(
        self, request: web.Request, adapter: Adapter, guest: Guest, codec: Codec, call: Call
    ) -> web.StreamResponse:
        began = time.monotonic()
        socket = self._new_socket()
        tokenless = guest.media_pass is None
        welcome = self._once(adapter, codec) if tokenless and adapter.proof == "carrier" else None
        leg: CallerLeg | None = None
        heard = False
        try:
            try:
                await socket.prepare(request)
            except ConnectionError:  # gone before it was answered
                return web.Response()
            leg = CallerLeg(socket, codec, self._server, is_welcome=welcome, steady=adapter.steady)
            await self._registry.attach(call, leg)
            heard = leg.crossed
        finally:
            if tokenless and not heard:
                # Nobody but this socket knows of the call; an invited one may still be asked for again.
                call.leave("its socket never said anything")
            log_line(
                "socket",
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
        return socket

    def _new_socket(self) -> web.WebSocketResponse:
        return web.WebSocketResponse(
            timeout=self._server.close_s,
            autoping=True,
            heartbeat=self._heartbeat_s,
            protocols=SUBPROTOCOLS,
            compress=False,  # base64 audio barely shrinks; it would only cost time
            max_msg_size=self._server.message_bytes + 1,  # aiohttp refuses a message of just this size
        )

    def _once(self, adapter: Adapter, codec: Codec) -> Callable[[], Awaitable[bool]]:
        """Check that a stream which only its upgrade's signature vouches for comes for the first time."""

        async def is_new() -> bool:
            stream = getattr(codec, "stream_sid", "")
            return bool(stream) and await self._store.first_time(
                f"stream:{adapter.name}:{stream}", STREAM_SEEN_S
            )

        return is_new

    def _unknown(self, name: str) -> web.Response:
        named = ", ".join(f"/v1/ws/{known}" for known in sorted(self._adapters))
        if name:
            return _sentence(404, f"There is no such adapter here; there are: {named}.")
        return _sentence(400, f"The kind of client was not recognised; use the address of one: {named}.")


def _recognise(request: web.Request) -> str:
    """Name of the adapter that an upgrade without one is for; recognising grants no trust."""
    agent = request.headers.get("User-Agent", "")
    if "X-Twilio-Signature" in request.headers or agent.startswith("Twilio.TmeWs"):
        return "twilio"
    if "encoding" in request.query or "sample_rate" in request.query:
        return "pcm"
    return ""


def _sentence(status: int, sentence: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=sentence + "\n", headers=headers)
