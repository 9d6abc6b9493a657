"""Webhooks of carriers: answers a call with the document that leads it to our media socket, and what follows.

Owns what a caller meets after the stream: a call whose socket died is invited again, one that ended is hung up,
one that broke by our fault is told so; nobody hears silence. Refuses to read a webhook before its signature was
checked. Sources: contract, section 2; carriers reference 2.1, 2.6; field reference 18.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, Literal

from aiohttp import hdrs, web
from msgspec import Struct

from gateway.contracts import Adapter, Document, Invitation, Knock, MediaPass, Store, Visit
from gateway.errors import NotProven, WireError
from gateway.redaction import mask_number
from gateway.server.access_log import log_line
from gateway.server.call import Call
from gateway.server.calls import Busy, CallRegistry, new_call_id
from gateway.server.door import Door, Guest, Refusal, not_let_in
from gateway.server.reception import NoRoute, Reception
from gateway.server.spent_proofs import SpentProofs

BODY_S: Final = 10.0
"""How long a webhook's body may take; carriers give up on us after 15."""

APOLOGY: Final = "We are sorry, something went wrong on our side. Please call again."
"""Said to a caller whose call broke by our fault, or could not be kept connected."""

Kind = Literal["call", "after", "status"]


class WebhookPaths(Struct, frozen=True):
    """Where a carrier's webhooks come in, below ``/{adapter}``."""

    call: str = "voice"
    """A new call; a route's name may follow."""
    after: str = "after"
    """What follows the stream."""
    status: str = "status"
    """News of a call; the same as ``after`` where the carrier has one address for both."""
    methods: tuple[str, ...] = (hdrs.METH_POST,)
    """HTTP methods of a new call's webhook."""


PATHS: Final[Mapping[str, WebhookPaths]] = {
    "twilio": WebhookPaths(),
    "vonage": WebhookPaths("answer", "event", "event", (hdrs.METH_POST, hdrs.METH_GET)),
}
"""Carriers whose words differ from the usual ones have a line here."""


class Answering:
    """Handles the webhooks of every adapter that a carrier vouches for."""

    def __init__(
        self,
        adapters: Iterable[Adapter],
        *,
        store: Store,
        door: Door,
        registry: CallRegistry,
        reception: Reception,
        token_s: float,
    ) -> None:
        self._adapters = adapters
        self._store = store
        self._door = door
        self._registry = registry
        self._reception = reception
        self._token_s = token_s
        self._spent = SpentProofs(store)

    def routes(self) -> Iterator[web.RouteDef]:
        """Addresses of the webhooks of all carriers."""
        for adapter in self._adapters:
            if adapter.proof != "carrier":
                continue
            paths = PATHS.get(adapter.name, WebhookPaths())
            here = f"/{adapter.name}"
            for method in paths.methods:
                call = self._handler(adapter, "call")
                yield web.route(method, f"{here}/{paths.call}", call)
                yield web.route(method, f"{here}/{paths.call}/{{route}}", call)
            yield web.post(f"{here}/{paths.after}", self._handler(adapter, "after"))
            if paths.status != paths.after:
                yield web.post(f"{here}/{paths.status}", self._handler(adapter, "status"))

    def _handler(self, adapter: Adapter, kind: Kind) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                async with asyncio.timeout(BODY_S):
                    body = await request.read()
            except TimeoutError:
                return web.Response(status=408, text=f"The body did not come within {BODY_S:g} s.\n")
            except web.RequestPayloadError:
                return web.Response(status=400, text="The body is not what its header fields say.\n")
            knock = self._door.admit_webhook(request, body, adapter)
            if isinstance(knock, Refusal):
                return _turned_away(request, adapter, kind, knock)
            assert adapter.visit is not None  # noqa: S101 - an adapter with a carrier's proof has it
            try:
                visit = adapter.visit(knock, kind)
            except NotProven as error:
                refusal = self._door.turn_down(request, Refusal("signature", f"ambiguous: {error}"))
                return _turned_away(request, adapter, kind, refusal)
            except WireError as error:
                log_line("webhook", request, adapter=adapter.name, kind=kind, status=400, detail=error)
                return web.Response(status=400, text=f"{error}\n")
            response = await self._answer_once(request, adapter, knock, visit)
            if response is None:
                return _turned_away(request, adapter, kind, self._door.refuse("proof_spent"))
            log_line(
                "webhook",
                request,
                adapter=adapter.name,
                kind=visit.kind,
                status=response.status,
                caller=mask_number(visit.caller),
                callee=mask_number(visit.callee),
                carrier_call_id=visit.carrier_call_id,
                over="yes" if visit.over else "",
                detail=visit.detail[:200],
            )
            return response

        return handle

    async def _answer_once(
        self, request: web.Request, adapter: Adapter, knock: Knock, visit: Visit
    ) -> web.Response | None:
        """Answer a proven webhook; None when its proof is good for one request and was used for another."""
        answers = {"call": self._call, "after": self._after, "status": self._status}
        make = partial(answers[visit.kind], request, adapter, visit)
        if adapter.serial is None:
            return await make()
        body = hashlib.sha256(knock.body).hexdigest()
        same = f"{knock.method} {knock.path}?{knock.query} {body}"
        return await self._spent.answer(f"{adapter.name}:{adapter.serial(knock)}", same, make)

    async def _call(self, request: web.Request, adapter: Adapter, visit: Visit) -> web.Response:
        call = self._registry.find_carrier(adapter.name, visit.carrier_call_id)
        if call is not None and not call.ended:
            # Carriers ask twice when an answer was slow, or when their own document leads a live call here again.
            return await self._invite(request, adapter, call)
        if visit.over:
            return _goodbye(adapter)
        route_name = request.match_info.get("route", "")
        taken = await self._reception.receive(
            new_call_id(), adapter, Guest(adapter.name), visit, route_name=route_name
        )
        if isinstance(taken, Busy):
            log_line(
                "no_room",
                request,
                adapter=adapter.name,
                why=taken.code,
                caller=mask_number(visit.caller),
                callee=mask_number(visit.callee),
                carrier_call_id=visit.carrier_call_id,
            )
            return _goodbye(adapter, taken.sentence)
        if isinstance(taken, NoRoute):
            log_line("no_route", request, adapter=adapter.name, detail=taken.sentence)
            if route_name:
                return web.Response(status=404, text=f"{taken.sentence}\n")
            return _goodbye(adapter, "This number is not in service.")
        return await self._document(request, adapter, taken)

    async def _after(self, request: web.Request, adapter: Adapter, visit: Visit) -> web.Response:
        apology = APOLOGY if self._registry.take_apology(adapter.name, visit.carrier_call_id) else ""
        call = self._registry.find_carrier(adapter.name, visit.carrier_call_id)
        if call is not None and not (apology or call.ended or visit.over):
            return await self._invite(request, adapter, call)
        self._registry.told_what_follows(adapter.name, visit.carrier_call_id)
        if call is not None and not (apology or call.ended):
            call.leave("the carrier says that the call is over")
        return _goodbye(adapter, apology)

    async def _status(self, _request: web.Request, adapter: Adapter, visit: Visit) -> web.Response:
        if visit.over:
            self._registry.told_what_follows(adapter.name, visit.carrier_call_id)
            if call := self._registry.find_carrier(adapter.name, visit.carrier_call_id):
                call.leave("the carrier says that the call is over")
        return web.Response(status=204)

    async def _invite(self, request: web.Request, adapter: Adapter, call: Call) -> web.Response:
        """Invite a known call once more, unless its media breaks again and again."""
        if not call.may_return():
            call.leave("its media connection broke too often")
            return _goodbye(adapter, APOLOGY)
        return await self._document(request, adapter, call)

    async def _document(self, request: web.Request, adapter: Adapter, call: Call) -> web.Response:
        booking = call.booking
        media_pass = MediaPass(
            call_id=call.call_id,
            adapter=adapter.name,
            route=booking.route.settings.name,
            caller=booking.caller,
            callee=booking.callee,
            carrier_call_id=booking.carrier_call_id,
            parameters=booking.parameters,
        )
        token = await self._store.mint(media_pass, self._token_s)
        call.expect(self._token_s)
        origin = self._door.origin(request)
        paths = PATHS.get(adapter.name, WebhookPaths())
        invitation = Invitation(
            media_url=f"{origin.replace('http', 'ws', 1)}/v1/ws/{adapter.name}/{token}",
            after_url=f"{origin}/{adapter.name}/{paths.after}",
            status_url=f"{origin}/{adapter.name}/{paths.status}",
            carrier_call_id=booking.carrier_call_id,
            token=token,
        )
        assert adapter.answer is not None  # noqa: S101 - an adapter with a carrier's proof has it
        return _written(adapter.answer(invitation, self._door.adapter_settings(adapter)))


def _turned_away(request: web.Request, adapter: Adapter, kind: Kind, refusal: Refusal) -> web.Response:
    if not refusal.retry_after_s:
        log_line(
            "webhook",
            request,
            adapter=adapter.name,
            kind=kind,
            status=403,
            why=refusal.code,
            detail=refusal.detail,
        )
    return not_let_in(refusal)


def _goodbye(adapter: Adapter, sentence: str = "") -> web.Response:
    """End a phone call politely; a carrier without such a document gets no document."""
    document = adapter.goodbye(sentence) if adapter.goodbye else None
    return _written(document) if document else web.Response(status=204)


def _written(document: Document) -> web.Response:
    return web.Response(text=document.body, content_type=document.content_type, charset="utf-8")
