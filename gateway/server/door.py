"""Who may come in: carriers by their signature and our one-time token, everybody else by a gateway key.

Owns proof, and the origin that carriers must have signed. Refuses routes and limits (`calls`), and to tell a
stranger which proof was wrong: every refusal has the same answer, the reason goes to counters and the log.
Sources: contract, section 3; carriers reference 1.2, 1.12, 2.5.
"""

import ipaddress
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from msgspec import Struct

from gateway.contracts import Adapter, Knock, MediaPass, Store
from gateway.runtime.gateway_keys import KeyRing
from gateway.server.manners import Manners, too_often
from gateway.settings import AdapterSettings, Settings

Right = Literal["connect", "tokens", "calls", "provider"]

NOT_LET_IN: Final = "This request came without valid proof of who sent it.\n"
"""The one answer to every kind of missing or wrong proof."""

_PASSED_ON: Final = frozenset(
    {"via", "x-real-ip", "cf-connecting-ip", "x-envoy-external-address", "x-appengine-user-ip", "cdn-loop"}
)


class Guest(Struct, frozen=True):
    """Somebody who has proven who they are."""

    name: str
    """The key's name, the carrier's, or ``this machine``; for the log."""
    routes: tuple[str, ...] = ()
    """Names of the only routes they may use; none named means all."""
    calls: int | None = None
    """How many calls they may have at once."""
    media_pass: MediaPass | None = None
    """What their one-time token stands for."""
    admitted_by: Literal["key", "token", "machine"] = "key"
    """Whether a client has shown a key, a token that was minted, or only that it is on this machine."""
    session_s: float | None = None
    """Longest call that their token allows."""
    claims: Mapping[str, str] = {}
    """What the key's owner has said of them when their token was minted."""
    returns_to: str = ""
    """The only call that they may go on with, where they have shown its resume token."""


class Refusal(Struct, frozen=True):
    """Nobody we know."""

    code: str
    """Short name of the reason, for counters."""
    detail: str = ""
    """For the log; never shown to the peer."""
    retry_after_s: float = 0.0
    """Where somebody asks too often: when they may come again. They are told that alone, and the log has no line of it."""


def not_let_in(refusal: Refusal) -> web.Response:
    """Make the answer to missing or wrong proof, which is one and the same; or to too many of them."""
    if refusal.retry_after_s:
        return too_often(refusal.retry_after_s)
    return web.Response(status=403, text=NOT_LET_IN)


def knock_of(request: web.Request, body: bytes = b"", origin: str = "") -> Knock:
    """A request as adapters see it, before anything in it is believed."""
    path, _, query = request.raw_path.partition("?")
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), value)
    return Knock(request.method, path, query, headers, body, origin)


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, is this machine's own."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def host_name(authority: str) -> str:
    """Host of ``host:port`` in lower case; empty when it is not one."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return ""
    plain = not parts.path and not parts.query and not parts.fragment and "@" not in authority
    return (parts.hostname or "") if plain else ""


class Door:
    """Checks proof for one generation of settings; ``refused`` counts reasons."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._keys = KeyRing((key, key.key) for key in settings.access.keys)
        self.refused: Counter[str] = Counter()
        self.manners = Manners(settings, self.refused)

    def adapter_settings(self, adapter: Adapter) -> AdapterSettings:
        """The adapter's section, or its defaults."""
        return self._settings.adapters.get(adapter.name) or adapter.settings()

    def origin(self, request: web.Request) -> str:
        """Public origin that the peer must have used; empty when it cannot be known.

        A `Host` that anybody may invent is believed only where it names this machine.
        """
        if url := self._settings.server.public_url:
            return url.rstrip("/")
        host = _only(request, hdrs.HOST)
        return f"http://{host}" if is_loopback(host_name(host)) else ""

    def admit_webhook(self, request: web.Request, body: bytes, adapter: Adapter) -> Knock | Refusal:
        """Check a carrier's signature on a webhook; the knock may then be read."""
        knock = knock_of(request, body, self.origin(request))
        refusal = self._unsigned(knock, adapter)
        if refusal:
            return self.turn_down(request, refusal)
        self.manners.vouch(request)
        return knock

    async def admit_socket(self, request: web.Request, adapter: Adapter, token: str) -> Guest | Refusal:
        """Check everything that a carrier's media socket must prove, before any of it is read."""
        return self.admit_upgrade(request, adapter) or await self.spend(adapter, token)

    def admit_upgrade(self, request: web.Request, adapter: Adapter) -> Refusal | None:
        """Check a carrier's signature on an upgrade; what is then still missing is the token."""
        origin = self.origin(request).replace("http", "ws", 1)
        refusal = self._unsigned(knock_of(request, origin=origin), adapter)
        if refusal:
            return self.turn_down(request, refusal)
        self.manners.vouch(request)
        return None

    async def spend(self, adapter: Adapter, token: str) -> Guest | Refusal:
        """Use up the one-time token of a carrier's socket whose signature was good; empty where it brought none."""
        if not token:
            needed = adapter.token_needed(self.adapter_settings(adapter))
            return self._count(Refusal("token_missing")) if needed else Guest(adapter.name)
        media_pass = await self._store.spend(token, adapter.name)
        if media_pass is None:
            return self._count(Refusal("token_unknown", "unknown, used or too old"))
        if media_pass.adapter != adapter.name:
            return self._count(Refusal("token_misplaced", f"minted for {media_pass.adapter}"))
        return Guest(adapter.name, media_pass=media_pass)

    def admit_key(self, request: web.Request, right: Right) -> Guest | Refusal:
        """Check a gateway key, or with none configured that the request comes from this machine."""
        if not self._settings.access.keys:
            if reason := self._from_elsewhere(request):
                return self.turn_down(request, Refusal("not_local", reason))
            self.manners.vouch(request)
            return Guest("this machine", admitted_by="machine")
        given = _shown_key(request)
        owner = self._keys.owner(given)
        if owner is None:
            return self.turn_down(request, Refusal("key_unknown" if given else "key_missing"))
        if right not in owner.may:
            return self.turn_down(request, Refusal("key_may_not", f"{owner.name} has no right {right!r}"))
        self.manners.vouch(request)
        if wait_s := self.manners.key(request, owner.name, right):
            return Refusal("key_limit", retry_after_s=wait_s)
        return Guest(owner.name, owner.routes, owner.calls)

    def hurry(self, request: web.Request) -> float:
        """Seconds after which somebody may open a socket that must be listened to first; 0 where they may now."""
        if self._settings.access.keys and self._keys.owner(_shown_key(request)):
            return 0.0  # whose it is will be asked once more, when it is known whose dialect it speaks
        return self.manners.hurry(request)

    def _unsigned(self, knock: Knock, adapter: Adapter) -> Refusal | None:
        if adapter.authorize is None:  # the adapter's own check forbids it; fail closed all the same
            return Refusal("no_proof", f"adapter {adapter.name!r} cannot check signatures")
        if not knock.origin:
            return Refusal(
                "no_origin", "set server.public_url: carriers sign the address under which they reach us"
            )
        reason = adapter.authorize(knock, self.adapter_settings(adapter), time.time())
        return Refusal("signature", reason) if reason else None

    def _from_elsewhere(self, request: web.Request) -> str:
        """Say why a request cannot be shown to come from this machine; empty when it can."""
        if self._settings.server.public_url:
            return "server.public_url is set and no keys are"
        if not is_loopback(request.remote or ""):
            return "the peer is not this machine"
        if not is_loopback(host_name(_only(request, hdrs.HOST))):
            return "the Host is not this machine"
        if not request.raw_path.startswith("/"):
            return "it names another host in its first line"
        for name in request.headers:
            if _says_passed_on(name.lower()):
                return f"it was passed on ({name.lower()})"
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if origins and not (len(origins) == 1 and _is_own_page(origins[0])):
            return "its page is not from this machine"
        return ""

    def is_local(self, request: web.Request) -> bool:
        """Whether a request shows that it comes from this machine, which is proof enough while there are no keys."""
        return not self._from_elsewhere(request)

    def refuse(self, code: str) -> Refusal:
        """Take note of a proof that turned out to be none after it was let in."""
        return self._count(Refusal(code))

    def turn_down(self, request: web.Request, refusal: Refusal) -> Refusal:
        """Count a proof that was none, for its reason and for the address that it came from."""
        if wait_s := self.manners.wrong_proof(request):
            return Refusal("address_limit", retry_after_s=wait_s)
        return self._count(refusal)

    def _count(self, refusal: Refusal) -> Refusal:
        self.refused[refusal.code] += 1
        return refusal


def _only(request: web.Request, name: str) -> str:
    """Value of a header that must come once; a doubled one counts as none, since others may read the other."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ""


def _shown_key(request: web.Request) -> str:
    given = _only(request, hdrs.AUTHORIZATION)
    scheme, _, rest = given.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else given


def _is_own_page(origin: str) -> bool:
    scheme, found, authority = origin.partition("://")
    return bool(found) and scheme in ("http", "https") and is_loopback(host_name(authority))


def _says_passed_on(name: str) -> bool:
    """Whether a header field is one by which proxies say for whom they ask; each has its own name for it."""
    name = name.replace("_", "-")
    return (
        "forwarded" in name
        or name.endswith("client-ip")
        or name.startswith("x-original-")
        or name in _PASSED_ON
    )
