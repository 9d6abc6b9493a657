"""Vonage's JSON Web Tokens, made and read as Vonage does (reference: carriers 3.6 and 3.7).

Written apart from the gateway's check, from RFC 7515, without the library that the gateway uses for it.
"""

import base64
import hashlib
import hmac
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


def sign(secret: str, claims: dict[str, Any]) -> str:
    """Give the token of a signed webhook or upgrade."""
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{text}.{_encoded(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def body_hash(body: bytes) -> str:
    """Give the claim by which a token proves a body."""
    return hashlib.sha256(body).hexdigest()


def why_no_application_token(token: str, key: RSAPublicKey, application_id: str, now: float) -> str:
    """Why a token does not open the REST interface; empty when it does."""
    text, _, signature = token.rpartition(".")
    header, _, claims = text.partition(".")
    try:
        head, said = _read(header), _read(claims)
        if head.get("alg") != "RS256":
            return "the token is not signed with RS256"
        key.verify(_decoded(signature), text.encode(), PKCS1v15(), hashes.SHA256())
    except (ValueError, msgspec.MsgspecError):
        return "the token cannot be read"
    except InvalidSignature:
        return "the token is not signed by the application"
    if said.get("application_id") != application_id:
        return "the token is another application's"
    if not isinstance(said.get("jti"), str) or not said["jti"]:
        return "the token has no number"
    if not said.get("iat", now + 1) <= now <= said.get("exp", now - 1):
        return "the token is not good at this time"
    return ""


def _part(value: dict[str, Any]) -> str:
    return _encoded(msgspec.json.encode(value))


def _read(part: str) -> dict[str, Any]:
    return msgspec.json.decode(_decoded(part), type=dict[str, Any])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
