"""Reads the NCCO that a gateway answers with, as strictly as a carrier that must carry it out.

Owns the actions a voice gateway may use and their rules (reference: carriers 3.1): exactly one endpoint in a
connect, a rate that there is, headers within 512 bytes, numbers without a plus. Refuses whatever it does not know.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

MAX_DOCUMENT_BYTES = 65536
HEADERS_BYTES = 512
RATES_HZ = (8000, 16000, 24000)

_Text = Annotated[str, Meta(min_length=1)]
_Number = Annotated[str, Meta(pattern=r"^[1-9]\d{1,14}$")]
_Urls = Annotated[list[Annotated[str, Meta(pattern=r"^https?://[^/\s]+")]], Meta(min_length=1, max_length=1)]


class NccoError(Exception):
    """The document cannot be carried out; one sentence that says why."""


class Authorization(Struct, forbid_unknown_fields=True):
    """How the socket's upgrade is proven."""

    type: Literal["vonage", "custom"]
    """By the carrier's token, or by ``value``."""
    value: str = ""
    """The header, word for word."""


class Socket(
    Struct,
    tag_field="type",
    tag="websocket",
    rename={"content_type": "content-type"},
    forbid_unknown_fields=True,
):
    """A media socket of the gateway."""

    uri: Annotated[str, Meta(pattern=r"^wss?://[^/\s]+")]
    """Where it is."""
    content_type: Annotated[str, Meta(pattern=r"^audio/l16;rate=\d+$")]
    """What is sent over it."""
    headers: dict[str, Any] = {}
    """Given back in its first message and in its events."""
    authorization: Authorization | None = None
    """How its upgrade is proven."""

    @property
    def rate_hz(self) -> int:
        """Samples per second."""
        return int(self.content_type.partition("=")[2])


class Phone(Struct, tag_field="type", tag="phone", forbid_unknown_fields=True):
    """A telephone."""

    number: _Number
    """In E.164 form, without a plus."""


class Sip(Struct, tag_field="type", tag="sip", forbid_unknown_fields=True):
    """A SIP address."""

    uri: Annotated[str, Meta(pattern=r"^sips?:\S+$")]
    """The address."""


class Connect(Struct, tag_field="action", tag="connect", rename="camel", forbid_unknown_fields=True):
    """Bring somebody into the call."""

    endpoint: Annotated[list[Socket | Phone | Sip], Meta(min_length=1, max_length=1)]
    """Whom: exactly one."""
    from_: _Number | None = msgspec.field(name="from", default=None)
    """The number that is shown."""
    event_type: Literal["synchronous"] | None = None
    """Whether the answer to an event may be another document."""
    event_url: _Urls | None = None
    """Where events go."""
    event_method: Literal["POST", "GET"] = "POST"
    """How they go there."""
    timeout: Annotated[int, Meta(ge=1, le=7200)] = 60
    """Seconds to ring."""
    limit: Annotated[int, Meta(ge=1, le=7200)] = 7200
    """Longest call in seconds."""


class Talk(Struct, tag_field="action", tag="talk", rename="camel", forbid_unknown_fields=True):
    """Say a sentence."""

    text: Annotated[str, Meta(min_length=1, max_length=1500)]
    """What to say."""
    language: _Text = "en-US"
    """In which language."""
    style: int = 0
    """By which voice."""


Action = Connect | Talk
_DOCUMENT = msgspec.json.Decoder(list[Action])


def read_ncco(document: str) -> list[Action]:
    """Read the actions of a document in order.

    Raises:
        NccoError: when it is no NCCO that this carrier can carry out.
    """
    if len(document.encode()) > MAX_DOCUMENT_BYTES:
        raise NccoError(f"the document is longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        actions: list[Action] = _DOCUMENT.decode(document)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise NccoError(f"the document is no NCCO that this carrier knows ({error})") from error
    for action in actions:
        if isinstance(action, Connect) and isinstance(socket := action.endpoint[0], Socket):
            _check(socket)
    return actions


def _check(socket: Socket) -> None:
    if socket.rate_hz not in RATES_HZ:
        raise NccoError(f"a media socket cannot have {socket.content_type}")
    size = len(msgspec.json.encode(socket.headers))
    if size > HEADERS_BYTES:
        raise NccoError(f"the headers of the media socket have {size} bytes, more than {HEADERS_BYTES}")
    if socket.authorization and (socket.authorization.type == "custom") != bool(socket.authorization.value):
        raise NccoError("a custom authorization needs a value, and only that one has it")
