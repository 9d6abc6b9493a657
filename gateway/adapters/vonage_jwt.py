"""The proofs between Vonage and us, both JSON Web Tokens: of signed webhooks and upgrades, and of our REST requests.

Owns which claims are believed and which key signs (reference: carriers, 3.6 and 3.7). Refuses whatever is not
proven, with a word from `REASONS`. Time comes from the caller; the library's own look at the clock is off.
"""

import hashlib
import hmac
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.types import Options
from jwt.warnings import InsecureKeyLengthWarning

from gateway.contracts import Knock
from gateway.settings import Secrets

REASONS: Final = (
    "no_secret",
    "no_token",
    "unreadable_token",
    "wrong_algorithm",
    "wrong_signature",
    "wrong_issuer",
    "wrong_account",
    "wrong_application",
    "no_serial",
    "no_time",
    "too_old",
    "too_early",
    "expired",
    "no_body_hash",
    "wrong_body_hash",
)
"""Every reason that `reason_to_refuse` gives; short enough for a metric's label."""

AGE_S: Final = 300.0
"""How old a token may be."""
SKEW_S: Final = 30.0
"""How far Vonage's clock and ours may differ."""
OUR_TOKEN_S: Final = 900
"""How long a token of ours is good, as in Vonage's own libraries."""
LONGEST_SERIAL: Final = 200

_ISSUER: Final = "Vonage"
_UNTIMED: Final[Options] = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def reason_to_refuse(
    knock: Knock, secrets: Secrets, now: float, *, application_id: str = "", api_key: str = ""
) -> str:
    """Check the token of a request; "" when it is Vonage's, else one of `REASONS`.

    A webhook with a body must name the body's hash. ``application_id`` and ``api_key`` must be the token's when they
    are not empty, the first as far as the token names one.
    """
    usable = [secret.reveal() for secret in secrets if secret]
    if not usable:
        return "no_secret"
    token = _bearer(knock)
    if not token:
        return "no_token"
    claims = _claims(token, usable)
    if isinstance(claims, str):
        return claims
    if claims.get("iss") != _ISSUER:
        return "wrong_issuer"
    if api_key and claims.get("api_key") != api_key:
        return "wrong_account"
    if application_id and claims.get("application_id", application_id) != application_id:
        return "wrong_application"
    if not _is_serial(claims.get("jti")):
        return "no_serial"
    return _untimely(claims, now) or _unlike_body(claims, knock.body)


def serial(knock: Knock) -> str:
    """The serial number of a token that `reason_to_refuse` has found good."""
    claims = jwt.decode(_bearer(knock), options={**_UNTIMED, "verify_signature": False})
    return str(claims["jti"])


def application_token(application_id: str, private_key: str, now: float, number: str) -> str:
    """Token for a REST request, good from ``now``; ``number`` must be another one each time."""
    issued = int(now)
    claims = {"application_id": application_id, "iat": issued, "exp": issued + OUR_TOKEN_S, "jti": number}
    with _keys_as_they_are():
        return jwt.encode(claims, private_key, algorithm="RS256")


def is_private_key(pem: str) -> bool:
    """Whether a text is an RSA private key that can sign as it is."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):  # TypeError: it has a passphrase
        return False
    except Exception:  # noqa: BLE001 - the library has errors of its own for keys that nobody supports
        return False
    return isinstance(key, RSAPrivateKey)


def _bearer(knock: Knock) -> str:
    scheme, _, token = knock.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _claims(token: str, secrets: list[str]) -> dict[str, Any] | str:
    """Claims of a token that one of the secrets signed, or the reason why there are none."""
    if not token.isascii():
        return "unreadable_token"
    reason, claims = "wrong_signature", None
    with _keys_as_they_are():
        for secret in secrets:
            # every secret is tried, so that the time taken does not tell which was the right one
            try:
                found = jwt.decode(token, secret, algorithms=["HS256"], options=_UNTIMED)
                claims = claims or found
            except jwt.InvalidSignatureError:
                pass
            except jwt.InvalidAlgorithmError:
                reason = "wrong_algorithm"
            except jwt.InvalidTokenError:
                reason = "unreadable_token"
            except jwt.PyJWTError:
                pass  # a secret that is none, such as a key in PEM form
    return claims or reason


def _is_serial(number: object) -> bool:
    return isinstance(number, str) and 0 < len(number) <= LONGEST_SERIAL


def _moment(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def _untimely(claims: Mapping[str, Any], now: float) -> str:
    issued = _moment(claims.get("iat"))
    if issued is None:
        return "no_time"
    if not now - issued <= AGE_S + SKEW_S:
        return "too_old"
    if not issued - now <= SKEW_S:
        return "too_early"
    expires = _moment(claims.get("exp"))
    return "expired" if expires is not None and not now - expires <= SKEW_S else ""


def _unlike_body(claims: Mapping[str, Any], body: bytes) -> str:
    """Compare the hash of the body: a GET and an upgrade have none."""
    if not body:
        return ""
    told = claims.get("payload_hash")
    if not isinstance(told, str) or not told:
        return "no_body_hash"
    proven = False
    for form in _forms(body):
        digest = hashlib.sha256(form).hexdigest()
        proven |= hmac.compare_digest(digest.encode(), told.lower().encode("utf-8", "replace"))
    return "" if proven else "wrong_body_hash"


def _forms(body: bytes) -> Iterator[bytes]:
    """What may have been hashed: the body, and its JSON without spacing, as Vonage's support page says."""
    yield body
    try:
        yield msgspec.json.format(body, indent=-1)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return


@contextmanager
def _keys_as_they_are() -> Iterator[None]:
    """Take the length of a key as Vonage gives it; the library warns of short ones at every use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        yield
