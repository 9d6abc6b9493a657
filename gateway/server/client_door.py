"""Who may come in as a client, of the Voice Agent API or raw PCM: a gateway key, a minted token, or one to come back.

Owns the order in which proofs are looked at (reference: Voice Agent API, 1.3), single use of minted tokens, and from
which pages a browser may connect. Refuses the words in which a client is turned away (`clients`), and what a guest may
do once inside.
"""

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import hdrs, web

from gateway.contracts import Adapter, MediaPass, Store
from gateway.server.call import Call
from gateway.server.door import Door, Guest, Refusal
from gateway.server.headers import plain_origin
from gateway.settings import Settings

CLIENTS: Final = ""
"""What stands for an adapter in tokens of clients, which are good on all that are theirs."""
SESSION_S: Final = 10_800.0
"""Longest session of a token that names no other (reference: Voice Agent API, 7.1)."""


class ClientDoor:
    """Lets clients in for one generation of settings; ``by_resume_token`` finds the call that such a token is for."""

    def __init__(
        self, settings: Settings, store: Store, door: Door, by_resume_token: Callable[[str], Call | None]
    ) -> None:
        self._settings = settings
        self._store = store
        self._door = door
        self._by_resume_token = by_resume_token

    async def mint(
        self, guest: Guest, expires_s: float, session_s: float | None, claims: Mapping[str, str]
    ) -> str:
        """Make a token with which one socket may be opened in a guest's name; routes may ask for its claims."""
        minted = MediaPass(
            call_id="",
            adapter=CLIENTS,
            route="",
            key=guest.name,
            session_s=session_s or SESSION_S,
            parameters=claims,
        )
        return await self._store.mint(minted, expires_s)

    async def admit(self, request: web.Request, adapter: Adapter) -> Guest | Refusal:
        """Check everything that a client's socket must prove; a token is used up by it."""
        if request.match_info.get("token"):
            # Nobody mints media tokens for clients; one in the path is a carrier's, tried on another door.
            return self._turn_down(request, "token_misplaced")
        if self._is_foreign_page(request, adapter):
            return self._turn_down(request, "origin", request.headers.get(hdrs.ORIGIN, "")[:200])
        given, token = bearer(request), request.query.get("token", "")
        # a page can set no header on a socket, and shows in the query how it comes back
        proof = given or token
        if adapter.in_band and proof and (call := self._by_resume_token(proof)) is not None:
            self._door.manners.vouch(request)
            admitted_by = call.booking.admitted_by or "key"
            return Guest(call.booking.owner, admitted_by=admitted_by, returns_to=call.call_id)
        if given or not token:
            return self._door.admit_key(request, "connect")
        return await self._spend(request, token)

    async def _spend(self, request: web.Request, token: str) -> Guest | Refusal:
        if wait_s := self._door.manners.crowd(request):
            return Refusal("address_limit", retry_after_s=wait_s)
        minted = await self._store.spend(token, CLIENTS)
        if minted is None:
            return self._turn_down(request, "token_unknown", "unknown, used or too old")
        if minted.key is None:
            return self._turn_down(request, "token_misplaced", f"minted for {minted.adapter}")
        keys = self._settings.access.keys
        if not keys:
            guest = self._door.admit_key(request, "connect")  # whoever minted it was on this machine
            if isinstance(guest, Refusal):
                return guest
            return Guest(
                guest.name, admitted_by="token", session_s=minted.session_s, claims=minted.parameters
            )
        owner = next((key for key in keys if key.name == minted.key and "tokens" in key.may), None)
        if owner is None:
            return self._turn_down(request, "token_orphaned", f"{minted.key} mints no tokens any more")
        self._door.manners.vouch(request, by_token=True)
        if wait_s := self._door.manners.key(request, owner.name, "connect"):
            return Refusal("key_limit", retry_after_s=wait_s)
        return Guest(
            owner.name,
            owner.routes,
            owner.calls,
            admitted_by="token",
            session_s=minted.session_s,
            claims=minted.parameters,
        )

    def _is_foreign_page(self, request: web.Request, adapter: Adapter) -> bool:
        """Whether the socket is opened by a page that the adapter's section does not name."""
        allowed = getattr(self._door.adapter_settings(adapter), "origins", ())
        origins = request.headers.getall(hdrs.ORIGIN, [])
        return bool(allowed and origins) and not (
            len(origins) == 1 and plain_origin(origins[0]) in set(map(plain_origin, allowed)) - {""}
        )

    def _turn_down(self, request: web.Request, code: str, detail: str = "") -> Refusal:
        return self._door.turn_down(request, Refusal(code, detail))


def bearer(request: web.Request) -> str:
    """What stands in ``Authorization``, raw or behind ``Bearer`` in any case; empty when it is not there just once."""
    values = request.headers.getall(hdrs.AUTHORIZATION, [])
    given = values[0].strip() if len(values) == 1 else ""
    scheme, _, rest = given.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else given
