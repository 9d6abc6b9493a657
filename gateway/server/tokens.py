"""Tokens for browsers: ``GET /v1/token``, with the provider's parameters, ranges, answers and errors.

Owns the HTTP side of minting (reference: Voice Agent API, 7.1 and 7.2, as it answers live). What a token is good for,
and that it is good for one socket only, is `client_door`'s.
"""

import re
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from gateway.server.access_log import log_line
from gateway.server.client_door import ClientDoor, bearer
from gateway.server.door import Door, Refusal, not_let_in

_RANGES: Final = {"expires_in_seconds": (1, 600), "max_session_duration_seconds": (60, 10_800)}
CLAIM: Final = "claim."
"""What the names of query parameters begin with that say something of the client, for routes to ask for."""
CLAIMS: Final = 16
"""Most claims of one token."""
CLAIM_CHARACTERS: Final = 256
"""Longest value of a claim."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CLAIM: Final = (
    f"A claim has a name of 1 to 64 letters, digits, _, . or -, and at most {CLAIM_CHARACTERS} characters"
)
_INTEGER: Final = "Input should be a valid integer, unable to parse string as an integer"
_STATUS: Final = {"key_missing": 422, "key_unknown": 404, "key_may_not": 403}
"""Statuses of refusals; 403 where the provider has no such case."""


class TokenApi:
    """Mints tokens for keys with ``may: tokens``."""

    def __init__(self, door: Door, clients: ClientDoor) -> None:
        self._door = door
        self._clients = clients

    def routes(self) -> list[web.RouteDef]:
        """Where tokens are minted."""
        return [web.get("/v1/token", self.handle, allow_head=False)]

    async def handle(self, request: web.Request) -> web.Response:
        """Mint a token, or say as the provider does why not."""
        guest = self._door.admit_key(request, "tokens")
        if isinstance(guest, Refusal) and guest.retry_after_s:
            return not_let_in(guest)
        if isinstance(guest, Refusal):
            status = _STATUS.get(guest.code, 403)
            log_line("token", request, status=status, why=guest.code, detail=guest.detail)
            return _json(_complaint(guest.code, request), status)
        wanted, wrong = _read(request)
        if wrong:
            log_line("token", request, status=422, who=guest.name, why="parameters")
            return _json({"detail": wrong}, 422)
        expires_s = wanted["expires_in_seconds"]
        session_s = wanted.get("max_session_duration_seconds")
        token = await self._clients.mint(guest, expires_s, session_s, _claims(request))
        log_line("token", request, status=200, who=guest.name)
        return _json({"token": token, "expires_in_seconds": expires_s}, 200)


def _complaint(code: str, request: web.Request) -> dict[str, Any]:
    """The body of a refusal; the provider tells bad keys from missing ones."""
    if code == "key_missing" and not bearer(request):
        return {
            "detail": [
                {
                    "type": "missing",
                    "loc": ["header", "authorization"],
                    "msg": "Field required",
                    "input": None,
                }
            ]
        }
    if code in ("key_missing", "key_unknown"):
        return {"detail": "Invalid API key"}
    if code == "key_may_not":
        return {"detail": "This key may not mint tokens; give it the right `tokens`"}
    return {"detail": "Only this machine may ask while no keys are configured"}


def _read(request: web.Request) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The parameters, and everything that is wrong with them."""
    wanted: dict[str, int] = {}
    wrong: list[dict[str, Any]] = []
    for name, (low, high) in _RANGES.items():
        given = request.query.get(name)
        if given is None:
            if name == "expires_in_seconds":
                wrong.append(
                    {"type": "missing", "loc": ["query", name], "msg": "Field required", "input": None}
                )
            continue
        place = {"loc": ["query", name], "input": given[:100]}
        number = _whole(given)
        if number is None:
            wrong.append({"type": "int_parsing", **place, "msg": _INTEGER})
        elif number < low:
            told = f"Input should be greater than or equal to {low}"
            wrong.append({"type": "greater_than_equal", **place, "msg": told, "ctx": {"ge": low}})
        elif number > high:
            told = f"Input should be less than or equal to {high}"
            wrong.append({"type": "less_than_equal", **place, "msg": told, "ctx": {"le": high}})
        else:
            wanted[name] = number
    return wanted, wrong + _wrong_claims(request)


def _claims(request: web.Request) -> dict[str, str]:
    """What is said of the client: ``claim.NAME=VALUE``, the first of each name."""
    return {
        name.removeprefix(CLAIM): request.query[name]
        for name in dict.fromkeys(request.query)
        if name.startswith(CLAIM)
    }


def _wrong_claims(request: web.Request) -> list[dict[str, Any]]:
    """What is wrong with the claims: they are few and short, since a token is kept until it is used."""
    claims = _claims(request)
    wrong = [
        {"type": "value_error", "loc": ["query", f"{CLAIM}{name}"[:100]], "msg": _CLAIM, "input": value[:100]}
        for name, value in claims.items()
        if not _NAME.fullmatch(name) or len(value) > CLAIM_CHARACTERS
    ]
    if len(claims) > CLAIMS:
        told = f"At most {CLAIMS} claims are taken"
        wrong.append({"type": "too_long", "loc": ["query"], "msg": told, "input": str(len(claims))})
    return wrong


def _whole(text: str) -> int | None:
    digits = text.strip().removeprefix("-").removeprefix("+")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        return None
    return int(text)


def _json(value: object, status: int) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store"},
    )
