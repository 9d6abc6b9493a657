"""The playground at ``/``, and the ES module ``/talkpath.js`` that other sites may use.

Owns the addresses of the files in ``web/``, the security policy they are served under, and what the page is told
before it calls: whether this gateway would take a call from it, and whether a token is needed. Refuses calls and
tokens, which are `clients` and `tokens`; nothing here asks for proof, because nothing here is a secret.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from gateway.settings import Settings

FOLDER: Final = Path(__file__).parent / "web"
PAGE: Final = "index.html"
MODULE: Final = re.compile(r"talkpath(-[a-z]+)?\.js")
"""Files that other sites may import; the rest belongs to the page."""

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HOST: Final = re.compile(r"[a-z0-9.-]+(:[0-9]+)?|\[[0-9a-f:.]+\](:[0-9]+)?", re.IGNORECASE)
_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "worker-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGE_HEADERS: Final = {
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_MODULE_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

Way = Literal["open", "token", "closed", "absent"]
"""Whether the page may call: as it is, with a token, not from where it is, or not at all."""


class _File(Struct, frozen=True):
    body: bytes
    etag: str
    content_type: str
    headers: dict[str, str]


class Playground:
    """Serves the page; ``is_local`` says whether a request is this machine's own, which needs no key while there is none."""

    def __init__(
        self, settings: Settings, adapters: Iterable[str], is_local: Callable[[web.Request], bool]
    ) -> None:
        self._settings = settings
        self._takes_browsers = "browser" in adapters
        self._is_local = is_local
        self._files = {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in _TYPES}

    def routes(self) -> list[web.RouteDef]:
        """Addresses of the page, unless `server.playground` is off, and of the module."""
        names = (name for name in self._files if name != PAGE)
        if not self._settings.server.playground:
            return [web.get(f"/{name}", self.handle_file) for name in names if MODULE.fullmatch(name)]
        return [
            web.get("/", self.handle_page),
            web.get("/playground.json", self.handle_way),
            *(web.get(f"/{name}", self.handle_file) for name in names),
        ]

    async def handle_page(self, request: web.Request) -> web.Response:
        """Answer with the page."""
        policy = {**_POLICY, "connect-src": self._connect_src(request)}
        said = "; ".join(f"{name} {value}" for name, value in policy.items())
        return self._answer(request, PAGE, {**_PAGE_HEADERS, "Content-Security-Policy": said})

    async def handle_file(self, request: web.Request) -> web.Response:
        """Answer with one of the other files."""
        return self._answer(request, request.path.removeprefix("/"), {})

    async def handle_way(self, request: web.Request) -> web.Response:
        """Say whether the page may call."""
        body = msgspec.json.encode({"door": self._way(request)})
        headers = {**_HEADERS, "Cache-Control": "no-store"}
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _way(self, request: web.Request) -> Way:
        if not self._takes_browsers:
            return "absent"
        if self._settings.access.keys:
            return "token"
        return "open" if self._is_local(request) else "closed"

    def _answer(self, request: web.Request, name: str, headers: dict[str, str]) -> web.Response:
        file = self._files[name]
        headers = {**_HEADERS, **file.headers, **headers, "ETag": f'"{file.etag}"'}
        if any(tag.value in (file.etag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)

    def _connect_src(self, request: web.Request) -> str:
        """Where the page may connect to: its own origin, named for browsers that do not count ``ws:`` to it."""
        hosts = {
            urlsplit(self._settings.server.public_url).netloc,
            *request.headers.getall(hdrs.HOST, [])[:1],
        }
        # A Host is anybody's to invent, and must not bring another directive with it.
        named = (host for host in sorted(hosts) if _HOST.fullmatch(host))
        return " ".join(["'self'", *(f"ws://{host} wss://{host}" for host in named)])


def _read(path: Path) -> _File:
    body = path.read_bytes()
    etag = hashlib.sha256(body).hexdigest()[:32]
    headers = _MODULE_HEADERS if MODULE.fullmatch(path.name) else {}
    return _File(body, etag, _TYPES[path.suffix], headers)
