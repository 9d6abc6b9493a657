"""The messages that the offline agent writes, from the reference (section 4), and what carries them."""

import time
from typing import Any, Protocol

import msgspec


def message(kind: str, **fields: Any) -> str:
    """One event as JSON text, with its ``timestamp`` (float, Unix seconds)."""
    return msgspec.json.encode({"type": kind, **fields, "timestamp": time.time()}).decode()


class Connection(Protocol):
    """What a session needs of its connection."""

    def send(self, text: str) -> None:
        """Send a message, without waiting."""

    def refuse(
        self, code: str, reason: str, *, param: str | None = None, session_id: str | None = None
    ) -> None:
        """Send a ``session.error``."""

    def close(self, code: int, reason: str = "") -> None:
        """Close once everything was sent."""

    async def room(self) -> None:
        """Wait until messages are being read again."""
