"""One line in the log for every webhook and every media socket.

Owns the shape of the line and what must not stand in it: numbers are masked; paths and queries, in which
one-time tokens travel, never enter. Refuses to know what the values mean.
"""

import json
import logging
import re
from typing import Final

access: Final = logging.getLogger("talkpath.access")

_PLAIN = re.compile(r"[^\s\"=]+")
_DIGITS = re.compile(r"\d")


def mask_number(number: str) -> str:
    """Hide the middle of a number: ``+14155555309`` is ``+1415•••5309``."""
    if not number:
        return ""
    if len(_DIGITS.findall(number)) < 10 or not re.fullmatch(r"\+?\d+", number):
        return number[:2] + "•••"
    return f"{number[:5]}•••{number[-4:]}"


def log_line(what: str, **fields: object) -> None:
    """Write one line: what it was, then ``name=value`` pairs; empty values are left out."""
    # Quoting as JSON keeps a peer's line breaks from forging a second line.
    pairs = (f"{name}={_shown(str(value))}" for name, value in fields.items() if value not in ("", None))
    access.info("%s %s", what, " ".join(pairs))


def _shown(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and value.isprintable()
    return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())
