"""The provider's REST interface as clients of ours see it: our agents listed, the rest passed to its regional host.

Owns ``/v1/agents`` and ``/v1/sessions``: which agents a key may reach, in the provider's shapes (reference: Voice
Agent API, 8.1), and the passing on of every other request for keys with ``may: provider``, with the key of the agent's
own account and to no other host than its region's (contract, sections 2 and 3). Refuses to follow redirects and to
understand what it passes on.
"""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Struct
from yarl import URL

from gateway.runtime.book import Book, book_of
from gateway.runtime.egress import Egress, Errand, NotListedError
from gateway.runtime.routing import address_book, fallbacks
from gateway.server.access_log import log_line
from gateway.server.door import Door, Guest, Refusal, Right, not_let_in
from gateway.settings import AgentSettings, Secrets, Settings

AGENT_HEADER: Final = "Talkpath-Agent"
"""Names the agent whose account and region are meant, where a key has several."""
ANSWER_S: Final = 30.0
ANSWER_BYTES: Final = 8_388_608
"""Largest answer that is passed on."""
_THERE: Final = ("Accept", "Content-Type", "Idempotency-Key")
_BACK: Final = ("Content-Type", "Retry-After", "X-Request-Id")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REFUSALS: Final = {
    "key_missing": (401, "missing_authorization", "Authorization header is required"),
    "key_unknown": (401, "unauthorized", "Invalid API key"),
    "key_may_not": (403, "unauthorized", "This key has no right to do that; give it `may: [{right}]`"),
}
_ADAPTER: Final = "browser"


class _Account(Struct, frozen=True):
    """Where requests of a key go."""

    agent: str
    rest: str
    key: str
    book: Book


class ProviderApi:
    """Lists agents and passes requests on, for one generation of settings."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._settings = settings
        self._door = door
        self._since = datetime.now(UTC).isoformat()

    def routes(self) -> list[web.RouteDef]:
        """Addresses in the provider's name."""
        listed = [
            web.get("/v1/agents", self._list, allow_head=False),
            web.get("/v1/agents/{agent}", self._show, allow_head=False),
        ]
        passed = [
            web.route(method, path, self._pass_on)
            for path in ("/v1/agents", "/v1/agents/{agent}", "/v1/agents/{agent}/{rest:.+}")
            for method in _METHODS
            if method != "GET" or "rest" in path
        ]
        sessions = [
            web.route(method, path, self._pass_on)
            for path in ("/v1/sessions", "/v1/sessions/{rest:.+}")
            for method in _METHODS
        ]
        return [*listed, *passed, *sessions]

    # Ours

    async def _list(self, request: web.Request) -> web.Response:
        guest = self._door.admit_key(request, "connect")
        if isinstance(guest, Refusal):
            return self._refused(request, guest, "connect")
        limit, begin = request.query.get("limit", "50"), request.query.get("cursor") or "0"
        if not (_is_number(limit) and 1 <= int(limit) <= 200):
            return _error(422, "validation_error", "limit must be between 1 and 200", "limit")
        if not _is_number(begin):
            return _error(422, "validation_error", "cursor is none that was given out", "cursor")
        names = list(self._reachable(guest))
        end = int(begin) + int(limit)
        more = end < len(names)
        shown = [self._head(name) for name in names[int(begin) : end]]
        log_line("provider", request, method="GET", status=200, who=guest.name)
        cursor = {"next_cursor": str(end) if more else ""}
        return _json({"agents": shown, "has_more": more, "response_metadata": cursor})

    async def _show(self, request: web.Request) -> web.Response:
        guest = self._door.admit_key(request, "connect")
        if isinstance(guest, Refusal):
            return self._refused(request, guest, "connect")
        name = request.match_info["agent"]
        if name not in self._reachable(guest):
            return await self._pass_on(request)
        session = self._settings.agents[name].session
        output = session.get("output") or {}
        log_line("provider", request, method="GET", status=200, who=guest.name)
        return _json(
            {
                **self._head(name),
                "system_prompt": session.get("system_prompt", ""),
                "greeting": session.get("greeting"),
                "voice": {"voice_id": output.get("voice", "")},
                "input": {"type": "audio", **(session.get("input") or {})},
                "output": {"type": "audio", **output},
                "tools": session.get("tools") or [],
            }
        )

    def _head(self, name: str) -> dict[str, str]:
        return {"id": name, "name": name, "created_at": self._since, "updated_at": self._since}

    def _reachable(self, guest: Guest) -> dict[str, None]:
        """Names of the agents that a key may be answered by over the browser's dialect, in the order of the routes."""
        return {
            route.agent: None
            for route in self._settings.routes
            if (not guest.routes or route.name in guest.routes)
            and (not route.match.adapter or _ADAPTER in route.match.adapter)
        }

    # The provider's

    async def _pass_on(self, request: web.Request) -> web.Response:
        guest = self._door.admit_key(request, "provider")
        if isinstance(guest, Refusal):
            return self._refused(request, guest, "provider")
        account = self._account(guest, request.headers.get(AGENT_HEADER, ""))
        if account is None:
            sentence = "no agent of this key has an account with the provider, or none of that name"
            return _error(404, "agent_not_found", sentence)
        url = _address(account.rest, request.raw_path)
        if url is None:
            return _error(404, "not_found", "there is no such address")
        response = await self._fetch(request, url, account)
        log_line(
            "provider",
            request,
            method=request.method,
            status=response.status,
            who=guest.name,
            agent=account.agent,
        )
        return response

    async def _fetch(self, request: web.Request, url: URL, account: _Account) -> web.Response:
        headers = {name: request.headers[name] for name in _THERE if name in request.headers}
        body = await request.read()
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        try:
            async with (
                Egress() as egress,
                egress.request(
                    Errand(account.book, "agent"),
                    request.method,
                    url,
                    headers={**headers, "Authorization": f"Bearer {account.key}"},
                    data=body or None,
                    timeout=timeout,
                ) as answer,
            ):
                told = await answer.content.read(ANSWER_BYTES + 1)
                if len(told) > ANSWER_BYTES or not answer.content.at_eof() or 300 <= answer.status < 400:
                    return _error(502, "internal_error", "the provider's answer cannot be passed on")
                back = {name: answer.headers[name] for name in _BACK if name in answer.headers}
                return web.Response(status=answer.status, body=told, headers=back)
        except NotListedError as error:
            return _error(502, "internal_error", str(error))
        except TimeoutError:
            return _error(504, "internal_error", f"the provider did not answer within {ANSWER_S:g} s")
        except aiohttp.ClientError as error:
            return _error(502, "internal_error", f"the provider was not reached ({type(error).__name__})")

    def _account(self, guest: Guest, named: str) -> _Account | None:
        """The account and the region of the first agent on a key's routes that has any, or of the one named."""
        book = address_book(self._settings)
        for name, agent in self._of_routes(guest):
            keys: Secrets = getattr(agent, "api_key", ())
            region = book.get(agent.region)
            if keys and region and region.rest and named in ("", name):
                return _Account(
                    name, region.rest, keys[0].reveal(), book_of(region, self._settings, agent.region)
                )
        return None

    def _of_routes(self, guest: Guest) -> Iterator[tuple[str, AgentSettings]]:
        for route in self._settings.routes:
            if not guest.routes or route.name in guest.routes:
                for name in fallbacks(route.agent, self._settings.agents):
                    yield name, self._settings.agents[name]

    def _refused(self, request: web.Request, refusal: Refusal, right: Right) -> web.Response:
        if refusal.retry_after_s:
            return not_let_in(refusal)
        status, code, message = _REFUSALS.get(
            refusal.code, (403, "unauthorized", "Only this machine may ask while no keys are configured")
        )
        log_line(
            "provider", request, method=request.method, status=status, why=refusal.code, detail=refusal.detail
        )
        return _error(status, code, message.replace("{right}", right))


def _address(rest: str, raw_path: str) -> URL | None:
    """The address of a request at a regional host; None where it could be read as another one."""
    path, _, query = raw_path.partition("?")
    tail = path.removeprefix("/v1")
    plain = tail.isascii() and tail.isprintable() and not set("\\%@#;") & set(tail)
    steps = tail.split("/")[1:]
    if not plain or not tail.startswith("/") or any(step in ("", ".", "..") for step in steps):
        return None
    return URL(f"{rest.rstrip('/')}{tail}{'?' + query if query else ''}", encoded=True)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _error(status: int, code: str, message: str, param: str | None = None) -> web.Response:
    """An error in the provider's shape (6.4)."""
    request_id = f"req_{secrets.token_hex(12)}"
    errors = [{"message": message, "param": param}]
    body: dict[str, Any] = {
        "code": code,
        "message": message,
        "param": param,
        "request_id": request_id,
        "errors": errors,
        "detail": message,
    }
    response = _json(body, status)
    response.headers["X-Request-Id"] = request_id
    return response


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
