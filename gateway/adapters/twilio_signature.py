"""The proof of Twilio's requests: X-Twilio-Signature on webhooks and upgrades (reference: carriers, 2.5).

Owns the addresses that Twilio may have signed and how their parameters are strung together. Refuses whatever
is not proven, with a word from `REASONS`. The signature has no time in it, so a captured upgrade could be played
again: the one-time media token stands against that, not this module.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from gateway.contracts import Knock
from gateway.settings import Secret

REASONS: Final = (
    "no_secret",
    "no_signature",
    "unreadable_form",
    "wrong_account",
    "wrong_body_hash",
    "wrong_signature",
)
"""Every reason that `reason_to_refuse` gives; short enough for a metric's label."""

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 1000
_DEFAULT_PORTS: Final = {"https": "443", "wss": "443", "http": "80", "ws": "80"}
# The https form of an upgrade's address is what a peer signs that got it wrong; it needs the token all the same.
_SCHEMES: Final = {"wss": ("wss", "https"), "ws": ("ws", "http")}


def form_fields(knock: Knock) -> list[tuple[str, str]]:
    """Parameters of a webhook: those of its form, else those of its query.

    Raises:
        ValueError: when there are more than a webhook ever has.
    """
    text = knock.body.decode("utf-8", "replace") if _has_form(knock) else knock.query
    return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)


def form_of(knock: Knock) -> list[tuple[str, str]]:
    """Parameters that the signature covers strung together, without saying where each ends; empty for a query."""
    return form_fields(knock) if _has_form(knock) else []


def reason_to_refuse(knock: Knock, tokens: Sequence[Secret], account_sid: str) -> str:
    """Check a request against the account's auth tokens; "" when it is Twilio's, else one of `REASONS`.

    A webhook must also name ``account_sid`` when that is not empty; an upgrade does not name its account.
    """
    tokens = [token for token in tokens if token]
    if not tokens:
        return "no_secret"
    if not (signature := knock.headers.get("x-twilio-signature", "").strip()):
        return "no_signature"
    try:
        fields = form_fields(knock)
    except ValueError:
        return "unreadable_form"
    accounts = {value for name, value in fields if name == "AccountSid"}
    if account_sid and not _is_upgrade(knock) and accounts != {account_sid}:
        return "wrong_account"
    if not _has_signed_body(knock):
        return "wrong_body_hash"
    signed = _strung(fields) if _has_form(knock) else ""
    offered = signature.encode("utf-8", "replace")
    proven = False
    for token in tokens:
        for address in addresses(knock):
            # every candidate is compared, so that the time taken does not tell which was near
            proven |= hmac.compare_digest(sign(token, address + signed), offered)
    return "" if proven else "wrong_signature"


def sign(token: Secret, text: str) -> bytes:
    """Signature of ``text``, as it stands in the header."""
    digest = hmac.new(token.reveal().encode(), text.encode("utf-8", "replace"), hashlib.sha1)
    return base64.b64encode(digest.digest())


def addresses(knock: Knock) -> Iterator[str]:
    """Give the forms in which Twilio may have written the request's address, the likeliest first.

    Twilio is inconsistent about ports and normalises an empty path to a slash. The query is taken as received,
    never decoded and encoded again.
    """
    origin = urlsplit(knock.origin)
    query = f"?{knock.query}" if knock.query else ""
    path = knock.path or "/"
    paths = (path, path[:-1] if path.endswith("/") else path + "/")
    for scheme in _SCHEMES.get(origin.scheme, (origin.scheme,)):
        for host in _hosts(origin.netloc, _DEFAULT_PORTS.get(scheme, "")):
            for form in paths:
                yield f"{scheme}://{host}{form}{query}"


def _hosts(netloc: str, default_port: str) -> tuple[str, ...]:
    """Host as configured, then without its port or with the default one."""
    host, colon, port = netloc.rpartition(":")
    if colon and port.isdigit():
        return (netloc, host)
    return (netloc, f"{netloc}:{default_port}")


def _strung(fields: list[tuple[str, str]]) -> str:
    """Names and values one after the other: sorted, and each pair once."""
    return "".join(name + value for name, value in sorted(set(fields)))


def _is_upgrade(knock: Knock) -> bool:
    return knock.origin.startswith(("ws:", "wss:"))


def _has_form(knock: Knock) -> bool:
    kind = knock.headers.get("content-type", "").partition(";")[0].strip().lower()
    return knock.method == "POST" and kind == _FORM


def _has_signed_body(knock: Knock) -> bool:
    """Whether the signature covers the body: as a form, by its hash in the query, or because there is none."""
    if _has_form(knock) or not knock.body:
        return True
    hashes = [value for name, value in parse_qsl(knock.query) if name == "bodySHA256"]
    digest = hashlib.sha256(knock.body).hexdigest()
    return len(hashes) == 1 and hmac.compare_digest(
        digest.encode(), hashes[0].lower().encode("utf-8", "replace")
    )
