"""A small Twilio REST API on a loopback port, for tests: it updates the simulated calls that are under way.

Owns ``POST /2010-04-01/Accounts/{AC}/Calls/{CA}.json`` with Basic auth (reference: carriers 2.7). Everything else
is answered 404, as Twilio does.
"""

import base64
import hmac
from types import TracebackType
from typing import Protocol, Self

import msgspec
from aiohttp import web

NOT_FOUND = 20404
NOT_AUTHENTICATED = 20003
NOT_IN_PROGRESS = 21220
NO_CHANGE = 21218


class CallIds(Protocol):
    """What the API must know of a call."""

    @property
    def call_sid(self) -> str:
        """``CA`` and 32 hex digits."""


class LiveCall(Protocol):
    """A simulated call that the API can end or redirect."""

    @property
    def identity(self) -> CallIds:
        """Which call it is."""

    def hang_up(self, reason: str = "caller_hung_up") -> None:
        """End it."""

    def redirect(self, *, document: str = "", url: str = "") -> None:
        """Give it another document, or the address of one."""


class RestRequest(msgspec.Struct, frozen=True):
    """A request that was made."""

    path: str
    """Its path."""
    fields: dict[str, str]
    """Its form fields."""
    status: int
    """What it was answered."""


class TwilioRest:
    """The API as an async context manager; ``url`` is what the gateway is configured with as ``rest``."""

    def __init__(self, account_sid: str = "AC" + "0" * 32, auth_token: str = "secret") -> None:  # noqa: S107 - a test's
        self._account_sid = account_sid
        self._auth_token = auth_token
        self._calls: dict[str, LiveCall] = {}
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.requests: list[RestRequest] = []
        self.failing_next: list[int] = []
        """HTTP statuses with which the next requests fail, in order."""

    def register(self, call: LiveCall) -> None:
        """Take a call under control from now on."""
        self._calls[call.identity.call_sid] = call

    def forget(self, call: LiveCall) -> None:
        """The call is finished: the API no longer finds it."""
        self._calls.pop(call.identity.call_sid, None)

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
        fields = {name: str(value) for name, value in (await request.post()).items()}
        status, body = self._decide(request, fields)
        self.requests.append(RestRequest(request.path, fields, status))
        return web.json_response(body, status=status)

    def _decide(self, request: web.Request, fields: dict[str, str]) -> tuple[int, dict[str, object]]:
        if self.failing_next:
            status = self.failing_next.pop(0)
            return _problem(status, 20500, "An internal server error has occurred")
        if not self._proven(request):
            return _problem(401, NOT_AUTHENTICATED, "Authenticate")
        prefix = f"/2010-04-01/Accounts/{self._account_sid}/Calls/"
        call_sid = request.path.removeprefix(prefix).removesuffix(".json")
        call = self._calls.get(call_sid)
        if request.method != "POST" or prefix + call_sid + ".json" != request.path or call is None:
            return _problem(404, NOT_FOUND, f"The requested resource {request.path} was not found")
        if fields.get("Status") == "completed":
            call.hang_up("carrier_hung_up")
            return 200, {"sid": call_sid, "account_sid": self._account_sid, "status": "completed"}
        if "Status" in fields:
            return _problem(
                400, NOT_IN_PROGRESS, "Unable to update record. Call is not in the expected state"
            )
        if bool(fields.get("Twiml")) == bool(fields.get("Url")):
            return _problem(400, NO_CHANGE, "Exactly one of Status, Twiml and Url is needed")
        call.redirect(document=fields.get("Twiml", ""), url=fields.get("Url", ""))
        return 200, {"sid": call_sid, "account_sid": self._account_sid, "status": "in-progress"}

    def _proven(self, request: web.Request) -> bool:
        expected = base64.b64encode(f"{self._account_sid}:{self._auth_token}".encode()).decode()
        return hmac.compare_digest(
            request.headers.get("Authorization", "").encode(), f"Basic {expected}".encode()
        )


def _problem(status: int, code: int, message: str) -> tuple[int, dict[str, object]]:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return status, {"code": code, "message": message, "more_info": more, "status": status}
