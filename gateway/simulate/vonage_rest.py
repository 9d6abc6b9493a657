"""A small Vonage REST API on a loopback port, for tests: it hangs up and transfers the simulated calls under way.

Owns ``PUT /v1/calls/{uuid}`` with a token of the application (reference: carriers 3.7), at its own address and at a
region's below it. Everything else is answered 404, as Vonage does. It makes the application's key itself.
"""

import time
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.simulate.ncco import NccoError, read_ncco
from gateway.simulate.vonage_jwt import why_no_application_token

REGION = "/region"


class CallIds(Protocol):
    """What the API must know of a call."""

    @property
    def call_uuid(self) -> str:
        """Id of the telephone's leg."""


class LiveCall(Protocol):
    """A simulated call that the API can end or redirect."""

    @property
    def identity(self) -> CallIds:
        """Which call it is."""

    def hang_up(self, reason: str = "caller_hung_up") -> None:
        """End it."""

    def redirect(self, *, document: str = "", url: str = "") -> None:
        """Give it another document."""


class RestRequest(msgspec.Struct, frozen=True):
    """A request that was made."""

    path: str
    """Its path."""
    body: Any
    """Its JSON."""
    status: int
    """What it was answered."""
    detail: str = ""
    """What was wrong with it."""


class VonageRest:
    """The API as an async context manager; ``url`` is what the gateway is configured with as ``rest``."""

    def __init__(self, application_id: str = "app-of-a-test", key: rsa.RSAPrivateKey | None = None) -> None:
        self.application_id = application_id
        self.url = ""
        self.requests: list[RestRequest] = []
        self.failing_next: list[int] = []
        """HTTP statuses with which the next requests fail, in order."""
        self._key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._calls: dict[str, LiveCall] = {}
        self._runner: web.AppRunner | None = None

    @property
    def region_url(self) -> str:
        """Address of the region that owns the calls, where one is told in the webhook."""
        return self.url + REGION

    @property
    def private_key(self) -> str:
        """The application's private key in PEM form, for the gateway."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode()

    def register(self, call: LiveCall) -> None:
        """Take a call under control from now on."""
        self._calls[call.identity.call_uuid] = call

    def forget(self, call: LiveCall) -> None:
        """The call is finished: the API no longer finds it."""
        self._calls.pop(call.identity.call_uuid, None)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            body = None
        status, detail = self._decide(request, body)
        self.requests.append(RestRequest(request.path, body, status, detail))
        if status == 204:
            return web.Response(status=204)
        return web.json_response({"type": "BAD_REQUEST", "error_title": detail}, status=status)

    def _decide(self, request: web.Request, body: Any) -> tuple[int, str]:
        if self.failing_next:
            return self.failing_next.pop(0), "an internal error has occurred"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        why = why_no_application_token(token, self._key.public_key(), self.application_id, time.time())
        if scheme != "Bearer" or why:
            return 401, why or "there is no token"
        prefix = "/v1/calls/"
        path = request.path.removeprefix(REGION)
        call = self._calls.get(path.removeprefix(prefix))
        if request.method != "PUT" or not path.startswith(prefix) or call is None:
            return 404, "not found"
        if request.content_type != "application/json" or not isinstance(body, dict):
            return 400, "the body is no JSON object"
        return _carry_out(call, body)


def _carry_out(call: LiveCall, body: dict[str, Any]) -> tuple[int, str]:
    if body == {"action": "hangup"}:
        call.hang_up("carrier_hung_up")
        return 204, ""
    destination = body.get("destination")
    if (
        body.get("action") != "transfer"
        or not isinstance(destination, dict)
        or destination.get("type") != "ncco"
    ):
        return 400, "the action is none that this carrier knows"
    document = msgspec.json.encode(destination.get("ncco")).decode()
    try:
        read_ncco(document)
    except NccoError as error:
        return 400, str(error)
    call.redirect(document=document)
    return 204, ""
