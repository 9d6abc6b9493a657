"""How often somebody may ask: strangers by their address, keys by their name, and what is answered to too much of it.

Owns what counts. A request counts for its address until its proof is found good: whoever has one of a carrier or a key
is never held up by strangers who share the address, however many they are. Sockets that come with a minted token go on
counting, since such a token is anybody's who has the page. Refuses proof (`door`), and to remember more addresses than
`limits.per_address.addresses`.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from msgspec import Struct

from gateway.server.allowances import WINDOW_S, Allowances
from gateway.server.client_address import ClientAddresses
from gateway.server.threshold import vouch_for
from gateway.settings import Settings

log: Final = logging.getLogger("talkpath.door")

TOO_OFTEN: Final = "There were too many requests like this one. Please come again later.\n"
TOO_MANY: Final = 429
MOST_KEYS: Final = 10_000

Kind = Literal["upgrades", "requests"]


class Asking(Struct):
    """One request, and what is known of whoever sent it."""

    address: str
    """By which it is counted."""
    kind: Kind
    """What it counts as."""
    wait_s: float
    """Seconds after which its address may ask for the like again; 0 while it may."""
    is_counted: bool = True
    """Whether it still counts for its address."""
    is_proven: bool = False
    """Whether it has shown a valid proof."""


ASKING: Final = web.RequestKey("asking", Asking)


class Manners:
    """Allowances of one port; ``refused`` counts reasons."""

    def __init__(
        self, settings: Settings, refused: Counter[str], now: Callable[[], float] = time.monotonic
    ) -> None:
        strangers, keys = settings.limits.per_address, settings.limits.per_key
        self._now = now
        self._refused = refused
        self._addresses = ClientAddresses(settings.server.trusted_proxies)
        self._asked: dict[str, Allowances] = {
            "upgrades": Allowances(strangers.upgrades, strangers.addresses),
            "requests": Allowances(strangers.requests, strangers.addresses),
        }
        self._wrong = Allowances(strangers.wrong_proofs, strangers.addresses)
        self._by_key: dict[str, Allowances] = {
            "upgrades": Allowances(keys.upgrades, MOST_KEYS),
            "tokens": Allowances(keys.tokens, MOST_KEYS),
            "requests": Allowances(keys.requests, MOST_KEYS),
        }
        self._told = Allowances(1, strangers.addresses)

    def middleware(self) -> Middleware:
        """Count every request, and answer those of strangers who ask too often."""

        @web.middleware
        async def mind(request: web.Request, handler: Handler) -> web.StreamResponse:
            asking = request[ASKING] = self._ask(request)
            response = await handler(request)
            if asking.is_proven or not asking.wait_s or response.prepared or response.status == TOO_MANY:
                return response
            self._refused["address_limit"] += 1
            return too_often(asking.wait_s)

        return mind

    def _ask(self, request: web.Request) -> Asking:
        now = self._now()
        address = self._addresses.of(request)
        kind: Kind = "upgrades" if _is_upgrade(request) else "requests"
        wait_s = self._asked[kind].take(address, now)
        if wait_s:
            self._tell(f"limits.per_address.{kind}", f"the address {address}", now)
        return Asking(address, kind, wait_s, is_counted=not wait_s)

    def malformed(self, request: web.BaseRequest) -> web.Response | None:
        """Count a connection on which no valid HTTP came, as a request; gives the answer to one too many."""
        now = self._now()
        address = self._addresses.of(request)
        wait_s = self._asked["requests"].take(address, now)
        if not wait_s:
            return None
        self._refused["address_limit"] += 1
        self._tell("limits.per_address.requests", f"the address {address}", now)
        return too_often(wait_s)

    def vouch(self, request: web.Request, *, by_token: bool = False) -> None:
        """Take note that a request has shown a valid proof: it counts for its address no longer."""
        vouch_for(request)
        asking: Asking | None = request.get(ASKING)
        if asking is None:
            return
        asking.is_proven = True
        if asking.is_counted and not by_token:
            asking.is_counted = False
            self._asked[asking.kind].give_back(asking.address)

    def wrong_proof(self, request: web.Request) -> float:
        """Count a proof that was none; gives the seconds after which its address may ask again, 0 while it may."""
        asking: Asking | None = request.get(ASKING)
        if asking is None or asking.is_proven:
            return 0.0
        now = self._now()
        if not asking.wait_s and (wait_s := self._wrong.take(asking.address, now)):
            self._refused["address_limit"] += 1
            self._tell("limits.per_address.wrong_proofs", f"the address {asking.address}", now)
            return wait_s
        if asking.wait_s:
            self._refused["address_limit"] += 1
        return asking.wait_s

    def hurry(self, request: web.Request) -> float:
        """Seconds after which a request would be heard that shows no proof; 0 where that is now."""
        asking: Asking | None = request.get(ASKING)
        if asking is None or asking.is_proven:
            return 0.0
        wait_s = asking.wait_s or self._wrong.wait_s(asking.address, self._now())
        if wait_s:
            self._refused["address_limit"] += 1
        return wait_s

    def crowd(self, request: web.Request) -> float:
        """Seconds that a socket with a minted token must wait, because too many came from its address; else 0."""
        asking: Asking | None = request.get(ASKING)
        if asking is None or not asking.wait_s:
            return 0.0
        self._refused["address_limit"] += 1
        return asking.wait_s

    def key(self, request: web.Request, name: str, right: str) -> float:
        """Use one of a key's own allowance; gives the seconds after which it may ask again, 0 while it may."""
        now = self._now()
        kind = "upgrades" if _is_upgrade(request) else "tokens" if right == "tokens" else "requests"
        wait_s = self._by_key[kind].take(name, now)
        if wait_s:
            self._refused["key_limit"] += 1
            self._tell(f"limits.per_key.{kind}", f"the key {name}", now)
        return wait_s

    def _tell(self, limit: str, whose: str, now: float) -> None:
        """Say it in the log, once a minute; a line for each request would be a flood of its own."""
        if not self._told.take(f"{limit} {whose}", now):
            log.warning(
                "%s is reached by %s; what is over it is refused, and counted without a line", limit, whose
            )


def too_often(wait_s: float) -> web.Response:
    """Make the answer to whoever asks too often; it says nothing about proof."""
    return web.Response(status=TOO_MANY, text=TOO_OFTEN, headers={"Retry-After": str(retry_after_s(wait_s))})


def _is_upgrade(request: web.Request) -> bool:
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"


def retry_after_s(wait_s: float) -> int:
    """Whole seconds for a header field."""
    return max(1, min(math.ceil(wait_s), int(WINDOW_S)))
