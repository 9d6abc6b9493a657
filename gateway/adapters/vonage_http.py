"""Vonage over HTTP: proven webhooks, the call documents (NCCO) that answer them, and requests for a live call.

Owns the section ``adapters.vonage``, NCCOs, and what is read from webhooks and asked of the REST interface
(reference: carriers, 3.1 and 3.5 to 3.7). Refuses to send anything: it writes requests, the runtime carries them
out. A call is the leg of the telephone; the media socket is a leg of its own, whose events say what follows it.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from gateway.adapters.vonage_jwt import application_token, is_private_key, reason_to_refuse, serial
from gateway.commands import Command, HangUp, Transfer
from gateway.contracts import Document, HttpRequest, Invitation, Knock, Visit
from gateway.errors import WireError
from gateway.events import CallInfo
from gateway.settings import AdapterSettings, Secret, Secrets

__all__ = [
    "NAME",
    "RATES_HZ",
    "REGION_URL",
    "VonageSettings",
    "answer",
    "authorize",
    "control",
    "goodbye",
    "serial",
    "visit",
]

NAME: Final = "vonage"
RATES_HZ: Final = (8000, 16000, 24000)
"""Rates of a media socket."""
REGION_URL: Final = "region_url"
"""Name of the webhook's field that says which REST interface owns the call."""
LONGEST_ID: Final = 128
"""Vonage's are of 36 characters."""
HEADERS_BYTES: Final = 512
"""What the headers of a websocket endpoint may hold, as JSON."""


class VonageSettings(AdapterSettings, frozen=True, kw_only=True):
    """The section ``adapters.vonage``."""

    application_id: str = ""
    """Application that owns the calls; empty accepts any, and cannot hang up or transfer."""
    private_key_file: str = ""
    """File with the application's private key (PEM), which signs REST requests; read at the start."""
    private_key: Secret = Secret("")
    """The private key itself, where no file is wanted."""
    signature_secret: Secrets = ()
    """The account's signature secret, or two of them while it is rotated; the API secret never signs."""
    api_key: str = ""
    """The account's API key, which webhooks must name; empty accepts any that the secret signs."""
    rate_hz: Literal[8000, 16000, 24000] = 16000
    """Samples per second of the media socket; at 24000 nothing is resampled."""
    rest: str = "https://api.nexmo.com"
    """REST interface, unless the webhook of a call names its region's."""

    def __post_init__(self) -> None:
        """Refuse a private key that cannot sign."""
        if self.private_key and not is_private_key(self.private_key.reveal()):
            raise ValueError(
                "`private_key` must be an RSA private key in PEM form without a passphrase, "
                "as Vonage's dashboard gives one for an application"
            )


_OVER: Final = frozenset({"completed", "busy", "cancelled", "failed", "rejected", "timeout", "unanswered"})
_SOCKET_GONE: Final = (_OVER - {"completed"}) | {"disconnected"}
_WORTH_ROUTING_BY: Final = frozenset({REGION_URL, "conversation_uuid", "endpoint_type"})
_REST_DOMAINS: Final = (".vonage.com", ".nexmo.com")
_E164: Final = re.compile(r"[1-9]\d{6,14}", re.ASCII)
_SIP: Final = re.compile(r"sips?:[^\s<>\"\x00-\x1f]{1,250}", re.IGNORECASE)


def authorize(knock: Knock, settings: VonageSettings, now: float) -> str:
    """Check the token of a webhook or upgrade; "" or a word from `vonage_jwt.REASONS`."""
    return reason_to_refuse(
        knock,
        settings.signature_secret,
        now,
        application_id=settings.application_id,
        api_key=settings.api_key,
    )


def visit(knock: Knock, kind: str) -> Visit:
    """Read a webhook that `authorize` has proven: the answer webhook as ``call``, events as what they mean.

    Raises:
        WireError: when it cannot be read, or a call names no id.
    """
    fields = _fields(knock)
    return _call(fields) if kind == "call" else _event(fields, knock.query)


def answer(invitation: Invitation, settings: VonageSettings) -> Document:
    """NCCO that connects the call to our media socket and asks us what follows when that ends or never comes.

    The socket comes last: what stood behind it would run while it is up. Parameters that do not fit are left out:
    Vonage would refuse the whole document.
    """
    headers = {"call_uuid": invitation.carrier_call_id, "token": invitation.token}
    for name, value in invitation.parameters.items():
        fuller = {name: value, **headers}
        if len(msgspec.json.encode(fuller)) <= HEADERS_BYTES:
            headers = fuller
    endpoint = {
        "type": "websocket",
        "uri": invitation.media_url,
        "content-type": f"audio/l16;rate={settings.rate_hz}",
        "headers": headers,
        "authorization": {"type": "vonage"},
    }
    # events of the socket's leg carry its own id; should they lack our headers, the address says whose leg it is
    asked_at = f"{invitation.after_url}?call_uuid={quote(invitation.carrier_call_id, safe='')}"
    connect = {
        "action": "connect",
        "eventType": "synchronous",
        "eventUrl": [asked_at],
        "eventMethod": "POST",
        "endpoint": [endpoint],
    }
    return _ncco(connect)


def goodbye(sentence: str) -> Document | None:
    """NCCO that says a sentence, after which the call ends; without a sentence there is nothing to say.

    A call whose document has no further action is completed by Vonage (3.5), so no document ends it too, and cannot
    disturb a call that was transferred meanwhile.
    """
    return _ncco({"action": "talk", "text": sentence}) if sentence else None


def control(command: Command, info: CallInfo, settings: VonageSettings, now: float) -> HttpRequest | None:
    """Request that hangs up or transfers a call; send it as it is.

    None when the settings hold no credentials, the call's id was never verified, or the target of a transfer is
    neither a number in E.164 form nor a SIP address.
    """
    if not settings.application_id or not settings.private_key or not info.carrier_call_id:
        return None
    done_when: tuple[int, ...] = ()
    match command:
        case HangUp():
            body: dict[str, Any] = {"action": "hangup"}
            done_when = (404,)  # the call is over already
        case Transfer(target):
            endpoint = _endpoint(target)
            if endpoint is None:
                return None
            connect = {"action": "connect", "endpoint": [endpoint]}
            if _E164.fullmatch(ours := info.callee.removeprefix("+")):
                connect["from"] = ours
            body = {"action": "transfer", "destination": {"type": "ncco", "ncco": [connect]}}
        case _:
            return None
    number = hashlib.sha256(f"{info.call_id} {body['action']} {now!r}".encode()).hexdigest()[:32]
    token = application_token(settings.application_id, settings.private_key.reveal(), now, number)
    return HttpRequest(
        method="PUT",
        url=f"{_rest(info, settings)}/v1/calls/{quote(info.carrier_call_id, safe='')}",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        body=msgspec.json.encode(body),
        done_when=done_when,
    )


def _fields(knock: Knock) -> dict[str, Any]:
    if knock.method == "GET":
        return dict(parse_qsl(knock.query, keep_blank_values=True))
    try:
        return msgspec.json.decode(knock.body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise WireError("the webhook's body is no JSON object") from error


def _call(fields: Mapping[str, Any]) -> Visit:
    call_uuid = _text(fields, "uuid")
    if not 0 < len(call_uuid) <= LONGEST_ID:
        raise WireError(
            "the webhook names no uuid; point only a voice application's answer URL at this address"
        )
    return Visit(
        kind="call",
        carrier_call_id=call_uuid,
        caller=number(_text(fields, "from") or _text(fields, "from_user")),
        callee=number(_text(fields, "to")),
        parameters={
            name: value
            for name, value in fields.items()
            if value
            and isinstance(value, str)
            and (name in _WORTH_ROUTING_BY or name.startswith("SipHeader_"))
        },
        detail=_text(fields, "reason"),
    )


def _event(fields: Mapping[str, Any], query: str) -> Visit:
    """An event of the telephone's leg is news of the call; one of the socket's leg may ask what follows."""
    status, callee = _text(fields, "status"), _text(fields, "to")
    detail = _text(fields, "reason") or _text(fields, "detail")
    if not callee.startswith(("ws://", "wss://")):
        return Visit(
            kind="status",
            carrier_call_id=(_text(fields, "uuid") or _text(fields, "call_uuid"))[:LONGEST_ID],
            caller=number(_text(fields, "from")),
            callee=number(callee),
            over=status in _OVER,
            detail=detail,
        )
    headers = fields.get("headers")
    named = _text(headers, "call_uuid") if isinstance(headers, dict) else ""
    return Visit(
        kind="after" if status in _SOCKET_GONE else "status",
        carrier_call_id=(named or dict(parse_qsl(query)).get("call_uuid", ""))[:LONGEST_ID],
        detail=f"the media socket: {status}" + (f", {detail}" if detail else ""),
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def number(given: str) -> str:
    """A telephone number in the form that routes have: Vonage leaves the plus out (3.5)."""
    return f"+{given}" if _E164.fullmatch(given) else given


def _endpoint(target: str) -> dict[str, str] | None:
    """A number, written with or without the usual punctuation, or a SIP address."""
    if _SIP.fullmatch(target):
        return {"type": "sip", "uri": target}
    number = re.sub(r"[ ().-]", "", target)
    if not number.startswith("+") or not _E164.fullmatch(number[1:]):
        return None
    return {"type": "phone", "number": number[1:]}


def _rest(info: CallInfo, settings: VonageSettings) -> str:
    """Base of the REST interface that owns the call; our token goes to Vonage's hosts only, or to the configured one."""
    told = info.parameters.get(REGION_URL, "")
    try:
        there, ours = urlsplit(told), urlsplit(settings.rest)
        host = there.hostname or ""
    except ValueError:
        return settings.rest.rstrip("/")
    is_vonage = there.scheme == "https" and host.endswith(_REST_DOMAINS) and there.netloc == host
    is_ours = (there.scheme, there.netloc) == (ours.scheme, ours.netloc)
    if (is_vonage or is_ours) and not there.query and not there.fragment:
        return told.rstrip("/")
    return settings.rest.rstrip("/")


def _ncco(*actions: Mapping[str, Any]) -> Document:
    return Document(msgspec.json.encode(actions).decode(), "application/json")
