"""Twilio over HTTP: proven webhooks, the documents that answer them, and requests for a live call.

Owns the section ``adapters.twilio``, TwiML, and what is read from webhooks and asked of the REST interface
(reference: carriers, 2.1, 2.6 and 2.7). Refuses to send anything: it writes requests, the runtime carries them out.
"""

import base64
import re
from typing import Final, Literal, cast
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element, SubElement, tostring  # only writes; nothing from outside is parsed

from gateway.adapters.twilio_signature import form_fields, form_of, reason_to_refuse
from gateway.commands import Command, HangUp, Transfer
from gateway.contracts import Document, HttpRequest, Invitation, Knock, Visit
from gateway.errors import NotProven, WireError
from gateway.events import CallInfo
from gateway.settings import AdapterSettings, Secrets

_HTTP: Final = re.compile(r"https?://[^\s/?#@]+(/\S*)?\Z")


class TwilioSettings(AdapterSettings, frozen=True, kw_only=True):
    """The section ``adapters.twilio``."""

    account_sid: str = ""
    """Account (or subaccount) that owns the calls; empty accepts any, and cannot hang up or transfer."""
    auth_token: Secrets = ()
    """The account's auth token, or two of them while it is rotated; API keys never sign."""
    rest: str = "https://api.twilio.com"
    """REST interface; regions have their own, such as ``https://api.dublin.ie1.twilio.com``."""
    require_token: bool = True
    """Whether a media socket needs our one-time token besides Twilio's signature."""

    def __post_init__(self) -> None:
        """Refuse an address that no request can be sent to.

        Raises:
            ValueError: in one sentence, without the place.
        """
        if not _HTTP.match(self.rest):
            raise ValueError("`rest` is no address of a REST interface; it begins with https:// or http://")


_OVER: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_WORTH_ROUTING_BY: Final = frozenset(
    {"Direction", "ForwardedFrom", "CallerName", "StirVerstat", "SipDomain", "StreamEvent", "StreamError"}
)
_LONGEST_PARAMETER: Final = 499  # name and value together stay under 500 characters (2.1)
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_E164: Final = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
_SIP: Final = re.compile(r"sips?:[^\s<>\"\x00-\x1f]{1,250}", re.IGNORECASE)


def authorize(knock: Knock, settings: TwilioSettings, _now: float) -> str:
    """Check the signature of a webhook or upgrade; "" or a word from `twilio_signature.REASONS`."""
    return reason_to_refuse(knock, settings.auth_token, settings.account_sid)


_SID: Final = re.compile(r"CA[0-9A-Za-z]{1,32}", re.ASCII)
_PARTY: Final = re.compile(
    r"\+?[0-9*#]{1,20}|\+?[A-Z]{0,16}|\+?[A-Z]?[a-z][a-z0-9-]{0,15}"
    r"|(?i:sips?|client|whatsapp|conference):(?:(?!(?:From|To)(?:City|Country|State|Zip))[^\s\x00-\x1f]){1,400}",
    re.ASCII,
)
"""A number, a word such as ``anonymous`` or nothing at all, or the address of something that is no telephone."""
_STATUS: Final = re.compile(r"[a-z-]{0,20}")
_ONCE: Final = frozenset({"AccountSid", "CallSid", "CallStatus", "From", "To", *_WORTH_ROUTING_BY})


def _ambiguity(fields: list[tuple[str, str]], kind: str) -> str:
    """What of a form could have been cut otherwise under the same signature; empty for one that Twilio sends.

    Twilio signs names and values strung together, so whoever captured one signature could move the cuts between them,
    or say a pair twice.
    """
    names = [name for name, _ in fields if name in _ONCE]
    if len(names) > len(set(names)):
        return "a parameter comes twice"
    given = dict(fields)
    if not _SID.fullmatch(given["CallSid"]):
        return "CallSid is no id of a call"
    for name in ("From", "To"):
        if name in given and not _PARTY.fullmatch(given[name]):
            return f"{name} is no party of a call"
        if name not in given and kind == "call":
            return f"{name} is missing"
    if not _STATUS.fullmatch(given.get("CallStatus", "")):
        return "CallStatus is no state of a call"
    return "" if given.get("To") or kind != "call" else "To is empty"


def visit(knock: Knock, kind: str) -> Visit:
    """Read a webhook that `authorize` has proven.

    Raises:
        WireError: when it names no call.
        NotProven: when its signature would be as good for another form.
    """
    fields = dict(form_fields(knock))
    if not (carrier_call_id := fields.get("CallSid", "")):
        raise WireError("the webhook names no CallSid; point only Twilio's voice webhooks at this address")
    if (form := form_of(knock)) and (why := _ambiguity(form, kind)):
        raise NotProven(why)
    return Visit(
        kind=cast("Literal['call', 'after', 'status']", kind),
        carrier_call_id=carrier_call_id,
        caller=fields.get("From", ""),
        callee=fields.get("To", ""),
        over=fields.get("CallStatus") in _OVER,
        parameters={
            name: value
            for name, value in fields.items()
            if value and (name in _WORTH_ROUTING_BY or name.startswith("SipHeader_"))
        },
    )


def answer(invitation: Invitation, _settings: TwilioSettings) -> Document:
    """TwiML that connects the call to our media socket and asks us afterwards what follows.

    A parameter of 500 characters or more is left out: Twilio would refuse the whole document.
    """
    response = Element("Response")
    connect = _add(response, "Connect", action=invitation.after_url, method="POST")
    stream = _add(connect, "Stream", url=invitation.media_url)
    if invitation.status_url:
        stream.set("statusCallback", invitation.status_url)
        stream.set("statusCallbackMethod", "POST")
    for name, value in invitation.parameters.items():
        if len(name) + len(value) <= _LONGEST_PARAMETER:
            _add(stream, "Parameter", name=name, value=value)
    return _document(response)


def goodbye(sentence: str) -> Document:
    """TwiML that hangs up, after saying ``sentence`` unless it is empty."""
    response = Element("Response")
    if sentence:
        _add(response, "Say").text = _NOT_XML.sub("", sentence)
    _add(response, "Hangup")
    return _document(response)


def _add(parent: Element, tag: str, **attributes: str) -> Element:
    return SubElement(parent, tag, {name: _NOT_XML.sub("", text) for name, text in attributes.items()})


def _twiml(response: Element) -> str:
    return tostring(response, encoding="unicode")


def _document(response: Element) -> Document:
    return Document('<?xml version="1.0" encoding="UTF-8"?>' + _twiml(response), "text/xml")


def control(command: Command, info: CallInfo, settings: TwilioSettings, _now: float) -> HttpRequest | None:
    """Request that hangs up or transfers a call; send it as it is.

    None when the settings hold no credentials, the call's id was never verified, or the target of a transfer is
    neither a number in E.164 form nor a SIP address.
    """
    token = next(filter(None, settings.auth_token), None)
    if token is None or not settings.account_sid or not info.carrier_call_id:
        return None
    done_when: tuple[int, ...] = ()
    match command:
        case HangUp():
            form = {"Status": "completed"}
            done_when = (404,)  # error 20404: the call is over already
        case Transfer(target):
            if (dial := _dial(target)) is None:
                return None
            form = {"Twiml": _twiml(dial)}
        case _:
            return None
    account, call = quote(settings.account_sid, safe=""), quote(info.carrier_call_id, safe="")
    credentials = f"{settings.account_sid}:{token.reveal()}".encode()
    return HttpRequest(
        method="POST",
        url=f"{settings.rest.rstrip('/')}/2010-04-01/Accounts/{account}/Calls/{call}.json",
        headers={
            "Authorization": "Basic " + base64.b64encode(credentials).decode("ascii"),
            "Content-Type": "application/x-www-form-urlencoded",
        },
        body=urlencode(form).encode("ascii"),
        done_when=done_when,
    )


def _dial(target: str) -> Element | None:
    """TwiML that dials a number, written with or without the usual punctuation, or a SIP address."""
    response = Element("Response")
    dial = _add(response, "Dial")
    if _SIP.fullmatch(target):
        _add(dial, "Sip").text = target
        return response
    number = re.sub(r"[ ().-]", "", target)
    if not _E164.fullmatch(number):
        return None
    dial.text = number
    return response
