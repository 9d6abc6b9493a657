"""JSON Web Tokens as Vonage makes and reads them, written from RFC 7515 without our library."""

import base64
import functools
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

SECRET = "the-account's-signature-secret"
NOW = 1_700_000_000.0


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(body: bytes = b"", *, now: float = NOW, jti: str = "jti-1", **more: Any) -> dict[str, Any]:
    """Claims of a signed webhook; a value of None leaves the claim out."""
    claims: dict[str, Any] = {
        "iat": int(now),
        "jti": jti,
        "iss": "Vonage",
        "api_key": "a1b2c3d",
        "application_id": "app-1",
        "payload_hash": hashlib.sha256(body).hexdigest() if body else None,
        **more,
    }
    return {name: value for name, value in claims.items() if value is not None}


def token(claims: Any, secret: str = SECRET, alg: str = "HS256", **header: Any) -> str:
    """A token signed with HMAC, whatever its header says."""
    head = encoded(json.dumps({"alg": alg, "typ": "JWT", **header}).encode())
    text = f"{head}.{encoded(json.dumps(claims).encode())}"
    return f"{text}.{encoded(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


@functools.cache
def application_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Private key of an application, the same for all tests."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem_of(key: Any) -> str:
    """A private key as Vonage's dashboard gives it."""
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "ascii")


def read_application_token(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that the application's key signed; raises InvalidSignature for any other."""
    signed, _, signature = text.rpartition(".")
    application_key().public_key().verify(
        decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    head, _, claims = signed.partition(".")
    return json.loads(decoded(head)), json.loads(decoded(claims))
