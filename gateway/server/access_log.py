"""One line in the log for every webhook, API request and media socket, with the address that it came from.

Owns the shape of the line and what must not stand in it: numbers are masked; paths and queries, in which
one-time tokens travel, never enter. Refuses to know what the values mean.
"""

import json
import logging
import re
from typing import Final

from aiohttp import http_exceptions, web

from gateway.observers.audit import note_access
from gateway.server.client_address import CLIENT

access: Final = logging.getLogger("talkpath.access")

_PLAIN = re.compile(r"[^\s\"=]+")


def log_line(what: str, request: web.Request | None, /, **fields: object) -> None:
    """Write one line: what it was, then ``name=value`` pairs; empty values are left out.

    Of a request, ``from`` says where it came from; None is for what no request is to blame for.
    """
    if request is not None:
        fields["from"] = request.get(CLIENT, "unknown")
    # Quoting as JSON keeps a peer's line breaks from forging a second line.
    pairs = (f"{name}={_shown(str(value))}" for name, value in fields.items() if value not in ("", None))
    access.info("%s %s", what, " ".join(pairs))
    note_access(what, fields)


def _shown(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and value.isprintable()
    return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())


class HideMalformed(logging.Filter):
    """Keeps requests that could not be parsed from writing themselves, keys and all, into the log.

    They come before any proof, so each is one quiet line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, without its traceback when that holds a peer's bytes."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, http_exceptions.HttpProcessingError):
            record.msg, record.args = "a request was refused: it is not valid HTTP", ()
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True
