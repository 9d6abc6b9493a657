"""Header fields that answers carry for browsers' sake, and which pages of other sites may read answers.

Owns what holds for every answer: nothing is guessed, framed, kept or run, unless whoever made the answer says
otherwise (`playground` does, for its page). Of other sites' pages, those may read answers below ``/v1`` that the
section of an adapter names in ``origins``; there are no cookies here, so what a page reads is what its key or token
may. Refuses to let anybody in: an origin is no proof.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.settings import AdapterSettings, Settings

SERVER: Final = "Talkpath"
"""How the server names itself; aiohttp's own word would tell versions."""
_ALWAYS: Final = {
    "Server": SERVER,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SHOWN: Final = ("text/html", "text/plain", "application/json", "text/xml", "application/octet-stream")
"""Kinds of answers that a browser could show as a page."""
_SWITCHED: Final = 101
_SECURE: Final = "max-age=31536000"
"""A year in which browsers open the public address over TLS only."""
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Talkpath-Agent",
    "Access-Control-Max-Age": "600",
}
_READABLE: Final = "Retry-After, X-Request-Id"


class Headers:
    """Adds header fields to the answers of one application."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(map(plain_origin, _named(settings.adapters.values()))) - {""}
        self._is_secure = settings.server.public_url.startswith("https://")

    async def add(self, request: web.Request, response: web.StreamResponse) -> None:
        """Complete an answer that is about to be sent; a signal of aiohttp's."""
        headers = response.headers
        headers["Server"] = SERVER
        if response.status == _SWITCHED:
            return
        for name, value in _ALWAYS.items():
            headers.setdefault(name, value)
        if response.content_type in _SHOWN:
            headers.setdefault("Content-Security-Policy", _POLICY)
        if self._is_secure:
            headers.setdefault("Strict-Transport-Security", _SECURE)
        if self._origins and request.path.startswith("/v1/"):
            headers["Vary"] = "Origin"
            if origin := self._may_read(request):
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = _READABLE

    def middleware(self) -> Middleware:
        """Answer browsers that ask whether a page may ask."""

        @web.middleware
        async def permit(request: web.Request, handler: Handler) -> web.StreamResponse:
            asks = (
                request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
            )
            if asks and request.path.startswith("/v1/") and self._may_read(request):
                return web.Response(status=204, headers=_PREFLIGHT)
            return await handler(request)

        return permit

    def _may_read(self, request: web.Request) -> str:
        """The page's origin as it wrote it, where it is one that is named; else empty."""
        origins = request.headers.getall(hdrs.ORIGIN, [])
        return origins[0] if len(origins) == 1 and plain_origin(origins[0]) in self._origins else ""


def plain_origin(origin: str) -> str:
    """Scheme and authority of an origin in lower case, to compare it; empty where it is none."""
    try:
        parts = urlsplit(origin.strip().lower())
    except ValueError:  # such as a bracket that does not close
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _named(adapters: Iterable[AdapterSettings]) -> Iterable[str]:
    return (origin for adapter in adapters for origin in getattr(adapter, "origins", ()))
