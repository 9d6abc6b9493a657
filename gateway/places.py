"""A host and a port, and the address that stands for them.

Owns how such an address is read: in one way only, or not at all. Whether a place may be reached is the books' to say.
"""

from typing import Final
from urllib.parse import urlsplit

Place = tuple[str, int]
"""A host, in lower case, and a port."""

_PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80, "": 443}


def place_of(entry: str) -> Place | None:
    """The place that an entry or an address stands for; None where it cannot be read without doubt."""
    if not entry.isascii() or not entry.isprintable() or set(" \\@*") & set(entry):
        return None
    try:
        parts = urlsplit(entry if "://" in entry else f"//{entry}")
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    if not host or parts.scheme not in _PORTS or ("://" not in entry and (parts.path or parts.query)):
        return None
    return host, port or _PORTS[parts.scheme]


def text_of(place: Place) -> str:
    """A place as an entry that stands for it."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
