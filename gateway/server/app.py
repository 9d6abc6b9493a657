"""Builds the public and the admin application of one process.

Owns what stands at which address, and the order in which the process comes down: first the calls, then their
sockets, then what they shared. Refuses to listen (`gateway.cli.serve`) and to know what a runner is made of
(`opening`).
"""

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from msgspec import Struct

from gateway.contracts import Store
from gateway.redaction import REDACTION
from gateway.runtime.plugins import Generation
from gateway.server.answer import Answering
from gateway.server.api import CallsApi
from gateway.server.calls import CallRegistry, RunnerMaker
from gateway.server.client_door import ClientDoor
from gateway.server.clients import ClientSockets
from gateway.server.door import Door
from gateway.server.headers import Headers
from gateway.server.health import Health
from gateway.server.playground import Playground
from gateway.server.provider_api import ProviderApi
from gateway.server.reception import Reception
from gateway.server.sockets import MediaSockets
from gateway.server.tokens import TokenApi

REGISTRY: Final = web.AppKey("registry", CallRegistry)
DOOR: Final = web.AppKey("door", Door)

BODY_BYTES: Final = 65_536
"""Largest body of a webhook or API request; carriers send a few KiB."""

PACKED: Final = "Bodies are not unpacked here; send it as it is, without Content-Encoding.\n"

PUBLIC_ADDRESSES: Final = "clients call at /v1/ws/{adapter}, carriers at /twilio/voice or /vonage/answer, once `adapters` names them"
ADMIN_ADDRESSES: Final = "the admin port has /healthz and /readyz"


class Apps(Struct, frozen=True):
    """The applications of one process, and the calls behind them."""

    public: web.Application
    """For carriers and clients; its clean-up ends the calls."""
    admin: web.Application
    """For operators and probes."""
    registry: CallRegistry
    """The calls; drain it before the applications are cleaned up."""


def build_app(generation: Generation, *, store: Store, make_runner: RunnerMaker) -> Apps:
    """Put everything at its address; set up and clean up both applications in one and the same task."""
    settings, parts = generation.settings, generation.parts
    # Only what the configuration names is served; a registered adapter alone opens no door.
    adapters = {name: parts.adapters[name] for name in settings.adapters if name in parts.adapters}
    registry = CallRegistry(settings, store, make_runner)
    door = Door(settings, store)
    reception = Reception(settings, parts, registry)
    client_door = ClientDoor(settings, store, door, registry.find_returning)
    sockets = MediaSockets(
        settings.server,
        adapters,
        store=store,
        door=door,
        registry=registry,
        reception=reception,
        clients=ClientSockets(settings, door, client_door, registry, reception),
        client_door=client_door,
    )
    answering = Answering(
        adapters.values(),
        store=store,
        door=door,
        registry=registry,
        reception=reception,
        token_s=settings.access.token_s,
    )
    headers = Headers(settings)
    public = web.Application(
        client_max_size=BODY_BYTES,
        middlewares=[door.manners.middleware(), headers.middleware(), _in_words(PUBLIC_ADDRESSES)],
    )
    public.on_response_prepare.append(headers.add)
    public[REGISTRY] = registry
    public[DOOR] = door
    public.add_routes([*sockets.routes(), *answering.routes(), *CallsApi(door, registry).routes()])
    public.add_routes([*TokenApi(door, client_door).routes(), *ProviderApi(settings, door).routes()])
    public.add_routes(Playground(settings, adapters, door.is_local).routes())
    public.cleanup_ctx.append(_calls)
    public.on_shutdown.append(_cut_off)
    admin = web.Application(client_max_size=BODY_BYTES, middlewares=[_in_words(ADMIN_ADDRESSES)])
    admin.on_response_prepare.append(headers.add)
    admin.add_routes(Health(registry).routes())
    return Apps(public, admin, registry)


async def _calls(app: web.Application) -> AsyncIterator[None]:
    async with app[REGISTRY]:
        yield


async def _cut_off(app: web.Application) -> None:
    app[REGISTRY].cut_off()


def _in_words(what_is_there: str) -> Middleware:
    """Give a wrong address, method or size its sentence, in which stands what there is instead."""

    @web.middleware
    async def answer_in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            return web.Response(status=415, text=PACKED)
        if (request.content_length or 0) > BODY_BYTES:
            return _too_large()  # before any of it has come
        try:
            return _redacted(await handler(request))
        except web.HTTPNotFound:
            return web.Response(status=404, text=f"There is nothing at this address; {what_is_there}.\n")
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            text = f"Use {allowed} at this address.\n"
            return web.Response(status=405, text=text, headers={"Allow": allowed})
        except web.HTTPRequestEntityTooLarge:
            return _too_large()

    return answer_in_words


def _too_large() -> web.Response:
    text = f"The body is larger than {BODY_BYTES} bytes, which no webhook or request here needs.\n"
    response = web.Response(status=413, text=text)
    response.force_close()
    return response


def _redacted(response: web.StreamResponse) -> web.StreamResponse:
    """An error without secrets in its words; other answers hold what was asked for."""
    if isinstance(response, web.Response) and response.status >= 400 and isinstance(response.body, bytes):
        text = response.body.decode("utf-8", "surrogateescape")
        cleaned = REDACTION.without_secrets(text)
        if cleaned != text:
            response.body = cleaned.encode("utf-8", "surrogateescape")
    return response
