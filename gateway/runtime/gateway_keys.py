"""How gateway keys are written in the configuration: as they are, or as the hash of one that only its owner knows.

Owns the two forms, what makes one of them unusable, and how a key that somebody shows is compared with them. Refuses
what its owner may do (`gateway.server.door`).
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from gateway.settings import Secret

SHORTEST: Final = 16
"""Characters that a key must have at least: so many random letters and digits cannot be guessed over a network."""
HASHED: Final = "sha256:"
"""What a hash begins with; the digest follows in hexadecimal."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)

_Owner = TypeVar("_Owner")


def is_hashed(key: Secret) -> bool:
    """Whether a configured key is the hash of one, which nobody can show."""
    return key.reveal().startswith(HASHED)


def why_no_key(key: Secret) -> str:
    """Say what is wrong with a configured key and what to do; empty when it is good."""
    text = key.reveal()
    if is_hashed(key):
        if _DIGEST.fullmatch(text.removeprefix(HASHED)):
            return ""
        return (
            "sha256: must be followed by 64 hexadecimal digits; make them with "
            '`printf %s "$TALKPATH_KEY" | sha256sum`'
        )
    if text and len(text) < SHORTEST:
        return f"has fewer than {SHORTEST} characters, and could be guessed; make one with `openssl rand -hex 32`"
    return ""


class KeyRing(Generic[_Owner]):
    """Keys by their digests, so that all are compared in the same time, whatever their length and form."""

    def __init__(self, keys: Iterable[tuple[_Owner, Iterable[Secret]]]) -> None:
        self._digests = [(owner, _digest(key)) for owner, secrets in keys for key in secrets if key]

    def owner(self, given: str) -> _Owner | None:
        """Whose key somebody shows; None where it is nobody's. Every key is compared, so that time tells nothing."""
        shown = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        found: _Owner | None = None
        for owner, digest in self._digests:
            if hmac.compare_digest(digest, shown) and given and found is None:
                found = owner
        return found


def _digest(key: Secret) -> bytes:
    text = key.reveal()
    if is_hashed(key):
        hexadecimal = text.removeprefix(HASHED)
        # One that is unusable matches no digest.
        return bytes.fromhex(hexadecimal) if _DIGEST.fullmatch(hexadecimal) else b""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
