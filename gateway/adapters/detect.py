"""Which adapter is this? From the upgrade request and at most two messages.

Owns the signs by which kinds of clients are told apart on the unified address (contract, section 2; reference:
carriers, 2.4, 2.9, 3.4 and 4 to 15), also those that are known and not served, and the sentence of every refusal.
Grants nothing: whatever is recognised here, the adapter's own proof is asked for afterwards. What a peer says is
compared, and never repeated.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from gateway.contracts import Knock

MOST_MESSAGES: Final = 2
"""Messages that may be looked at; whoever is unknown then stays unknown."""

# msgspec reports bad JSON and wrong types as its own error, deep nesting and lone surrogates as Python's
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class Recognised(Struct, frozen=True):
    """The client speaks a dialect of ours, as it seems; further messages do not change that."""

    adapter: str
    """Name of the adapter."""
    why: str
    """Name of the sign."""


class NeedMore(Struct, frozen=True):
    """It is not known yet; the next message may tell."""

    why: str
    """What was seen so far."""
    sentence: str
    """The refusal, should nothing more come."""
    soon: bool = False
    """Whether a client that is served here would send what is missing at once."""


class Refused(Struct, frozen=True):
    """The client is one that is not served here, or one that nobody knows."""

    why: str
    """Name of the sign, or of what was missing."""
    sentence: str
    """For the peer; fits into a close frame."""


class _Words(
    Struct,
    rename={
        "event_type": "eventType",
        "stream_sid": "streamSid",
        "session_id": "sessionId",
        "call_sid": "callSid",
        "sample_rate": "sampleRate",
        "mix_type": "mixType",
    },
):
    """What a text message of any dialect may be known by."""

    event: Any = None
    type: Any = None
    event_type: Any = None
    kind: Any = None
    label: Any = None
    version: Any = None
    protocol: Any = None
    start: Any = None
    stream_sid: Any = None
    stream_id: Any = None
    session_id: Any = None
    call_sid: Any = None
    sample_rate: Any = None
    mix_type: Any = None

    @property
    def is_connected(self) -> bool:
        """Whether it is the greeting of Twilio and of those who took it over."""
        return bool(self.event == "connected")

    def starts(self, *names: str) -> bool:
        """Whether it is a ``start`` whose description has texts of these names."""
        told = self.start if isinstance(self.start, dict) else {}
        return self.event == "start" and all(isinstance(told.get(name), str) for name in names)


class _Head:
    """What an upgrade request may be known by."""

    def __init__(self, upgrade: Knock) -> None:
        self.headers = upgrade.headers
        offered = upgrade.headers.get("sec-websocket-protocol", "")
        self.subprotocols = {name.strip().lower() for name in offered.split(",")}
        self.query = {name for name, _ in parse_qsl(upgrade.query, keep_blank_values=True)}

    @property
    def issuer(self) -> object:
        """Who says to have issued the bearer's JSON Web Token; nothing of it is checked."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        claims = token.strip().split(".")[1:2] if scheme.lower() == "bearer" else []
        try:
            return _ISSUED.decode(base64.urlsafe_b64decode(claims[0] + "==")).iss if claims else None
        except (*_UNREADABLE, binascii.Error, ValueError):
            return None


class _Issued(Struct):
    iss: Any = None


_ISSUED: Final = msgspec.json.Decoder(_Issued)
_WORDS: Final = msgspec.json.Decoder(_Words)
_Look = TypeVar("_Look")


class Sign(Struct, Generic[_Look], frozen=True):
    """One look of one kind of client."""

    why: str
    """Its name, for the log."""
    look: str
    """What it is, for the table in the documentation."""
    fits: Callable[[_Look], bool]
    """Whether an upgrade or message has it."""
    adapter: str = ""
    """The adapter that serves such clients; empty for those that are not served."""
    stranger: str = ""
    """Name of a kind of client that is known and not served."""

    @property
    def meaning(self) -> Recognised | Refused:
        """What follows from it."""
        if self.adapter:
            return Recognised(self.adapter, self.why)
        no_adapter = f"This looks like {self.stranger}, for which there is no adapter here."
        return Refused(self.why, _INSTEAD.get(self.stranger, no_adapter))


_OPENAI: Final = "OpenAI's Realtime API"
_RELAY: Final = "Twilio ConversationRelay"
_ASTERISK: Final = "Asterisk's chan_websocket"
_GENESYS: Final = "Genesys AudioHook"
_AZURE: Final = "Azure Communication Services"
_INSTEAD: Final = {
    _OPENAI: f"{_OPENAI} is not spoken here; speak the Voice Agent API, and begin with session.update.",
    _RELAY: f"{_RELAY} carries text, not sound; lead the call here with <Connect><Stream>.",
}
"""Sentences that say more than that there is no adapter."""


def _by_header(why: str, *names: str, adapter: str = "", stranger: str = "") -> "Sign[_Head]":
    there = {name.lower() for name in names}
    look = "header " + " or ".join(f"`{name}`" for name in names)
    return Sign(why, look, lambda head: not there.isdisjoint(head.headers), adapter, stranger)


def _by_subprotocol(why: str, *names: str, adapter: str = "", stranger: str = "") -> "Sign[_Head]":
    look = "subprotocol " + " or ".join(f"`{name}`" for name in names)
    return Sign(why, look, lambda head: not head.subprotocols.isdisjoint(names), adapter, stranger)


UPGRADE_SIGNS: Final[tuple[Sign[_Head], ...]] = (
    _by_header("genesys_header", "Audiohook-Organization-Id", "Audiohook-Session-Id", stranger=_GENESYS),
    _by_header("azure_header", "x-ms-call-connection-id", "x-ms-call-correlation-id", stranger=_AZURE),
    _by_header("signalwire_header", "X-SignalWire-Signature", stranger="SignalWire"),
    _by_header("plivo_header", "X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3", stranger="Plivo"),
    _by_header("telnyx_header", "telnyx-signature-ed25519", stranger="Telnyx"),
    _by_subprotocol("jambonz_subprotocol", "audio.jambonz.org", "ws.jambonz.org", stranger="jambonz"),
    _by_subprotocol("asterisk_subprotocol", "media", stranger=_ASTERISK),
    _by_subprotocol("freeswitch_subprotocol", "audio.drachtio.org", stranger="FreeSWITCH's mod_audio_fork"),
    _by_header("openai_header", "OpenAI-Beta", stranger=_OPENAI),
    Sign(
        "openai_subprotocol",
        "subprotocol `realtime` or one that begins with `openai-`",
        lambda head: any(name == "realtime" or name.startswith("openai-") for name in head.subprotocols),
        stranger=_OPENAI,
    ),
    _by_header("twilio_header", "X-Twilio-Signature", adapter="twilio"),
    Sign(
        "twilio_user_agent",
        "User-Agent that begins with `Twilio.TmeWs`",
        lambda head: head.headers.get("user-agent", "").startswith("Twilio.TmeWs"),
        adapter="twilio",
    ),
    _by_subprotocol("twilio_subprotocol", "audio.twilio.com", adapter="twilio"),
    Sign(
        "vonage_bearer",
        "`Authorization: Bearer` with a JSON Web Token whose `iss` is `Vonage`",
        lambda head: head.issuer == "Vonage",
        adapter="vonage",
    ),
    Sign(
        "query",
        "`encoding` or `sample_rate` in the query",
        lambda head: not head.query.isdisjoint(("encoding", "sample_rate")),
        adapter="pcm",
    ),
)
"""Signs of an upgrade request; the first that fits decides."""

_API_TYPES: Final = (
    "session.update",
    "session.resume",
    "session.end",
    "input.audio",
    "reply.create",
    "reply.cancel",
    "tool.result",
    "conversation.message",
)
_OPENAI_TYPES: Final = ("input_audio_buffer.", "conversation.item.", "response.create", "response.cancel")

MESSAGE_SIGNS: Final[tuple[Sign[_Words], ...]] = (
    Sign(
        "signalwire_connected",
        "`event: connected` with `protocol: Call` and a `version` that begins with `0.`",
        lambda said: said.is_connected and said.protocol == "Call" and str(said.version).startswith("0."),
        stranger="SignalWire or another clone of Twilio",
    ),
    Sign(
        "twilio_connected",
        "`event: connected` with any other `protocol`",
        lambda said: said.is_connected and isinstance(said.protocol, str),
        adapter="twilio",
    ),
    Sign(
        "vonage_connected",
        "`event: websocket:connected`",
        lambda said: said.event == "websocket:connected",
        adapter="vonage",
    ),
    Sign(
        "voice_agent_type",
        "`type: session.update` or `session.resume`, or another `type` that clients of the Voice Agent API send",
        lambda said: said.type in _API_TYPES,
        adapter="browser",
    ),
    Sign(
        "openai_type",
        "`type: input_audio_buffer.…`, `conversation.item.…`, `response.create` or `response.cancel`",
        lambda said: isinstance(said.type, str) and said.type.startswith(_OPENAI_TYPES),
        stranger=_OPENAI,
    ),
    Sign(
        "conversation_relay",
        "`type: setup` with a `sessionId`",
        lambda said: said.type == "setup" and isinstance(said.session_id, str),
        stranger=_RELAY,
    ),
    Sign(
        "telnyx_start",
        "`event: start` with `stream_id` or `start.call_control_id`, perhaps after `connected` without `protocol`",
        lambda said: said.starts("call_control_id") or (said.starts() and isinstance(said.stream_id, str)),
        stranger="Telnyx",
    ),
    Sign(
        "exotel_start",
        "`event: start` with `start.stream_sid` and `start.call_sid`, perhaps after `connected` without `protocol`",
        lambda said: said.starts("stream_sid", "call_sid"),
        stranger="Exotel",
    ),
    Sign(
        "plivo_start",
        "`event: start` with `start.callId` and `start.streamId`",
        lambda said: said.starts("callId", "streamId"),
        stranger="Plivo or its clone Vobiz",
    ),
    Sign(
        "twilio_start",
        "`event: start` with `streamSid` and `start.callSid`, perhaps after `connected` without `protocol`",
        lambda said: said.starts("callSid") and isinstance(said.stream_sid, str),
        adapter="twilio",
    ),
    Sign(
        "bandwidth_start", "`eventType: start`", lambda said: said.event_type == "start", stranger="Bandwidth"
    ),
    Sign(
        "genesys_open",
        '`type: open` with `version: "2"`',
        lambda said: said.type == "open" and said.version == "2",
        stranger=_GENESYS,
    ),
    Sign(
        "azure_metadata",
        "`kind: AudioMetadata`",
        lambda said: isinstance(said.kind, str) and said.kind.lower() == "audiometadata",
        stranger=_AZURE,
    ),
    Sign(
        "asterisk_media_start",
        "`event: MEDIA_START`, or text that begins with `MEDIA_START`",
        lambda said: said.event == "MEDIA_START",
        stranger=_ASTERISK,
    ),
    Sign(
        "jambonz_metadata",
        "`callSid`, `sampleRate` and `mixType` without `event` and `type`",
        lambda said: (
            said.event is said.type is None and None not in (said.call_sid, said.sample_rate, said.mix_type)
        ),
        stranger="jambonz",
    ),
    Sign("rtvi_label", "`label: rtvi-ai`", lambda said: said.label == "rtvi-ai", stranger="an RTVI client"),
)
"""Signs of a text message; the first that fits decides."""

_AFTER_CONNECTED: Final = frozenset({"telnyx_start", "exotel_start", "twilio_start"})

NOTHING: Final = NeedMore(
    "nothing",
    "Nothing came that tells the kind of client; use the address of an adapter, such as /v1/ws/pcm.",
)
BINARY: Final = NeedMore(
    "bare_binary",
    "Bare binary tells no format; use /v1/ws/pcm, or name encoding and sample_rate in the address.",
    soon=True,
)
CONNECTED: Final = NeedMore(
    "connected_alone", "`connected` names no protocol and no `start` says whose it is; use /v1/ws/twilio."
)
UNKNOWN: Final = NeedMore(
    "unknown_words", "This kind of client is not known; use the address of an adapter, such as /v1/ws/pcm."
)
CONTRADICTION: Final = Refused(
    "contradiction",
    "The first messages are of two kinds of clients; use the address of one, such as /v1/ws/pcm.",
)


def recognise(upgrade: Knock, messages: Sequence[str | bytes]) -> Recognised | NeedMore | Refused:
    """Say whose client this is, from its upgrade request and what it has said so far; proves nothing.

    On `NeedMore` call again with one message more; with `MOST_MESSAGES` that answer does not come.
    """
    head = _Head(upgrade)
    for sign in UPGRADE_SIGNS:
        if sign.fits(head):
            return sign.meaning
    so_far = NOTHING
    for message in messages[:MOST_MESSAGES]:
        found = _read(message)
        if so_far is CONNECTED and found.why not in _AFTER_CONNECTED:
            return CONTRADICTION
        if not isinstance(found, NeedMore):
            return found
        so_far = found
    return so_far if len(messages) < MOST_MESSAGES else Refused(so_far.why, so_far.sentence)


def _read(message: str | bytes) -> Recognised | NeedMore | Refused:
    if isinstance(message, bytes):
        return BINARY  # a carrier's first frame may come before its words (3.2, 8.1)
    try:
        said = _WORDS.decode(message)
    except _UNREADABLE:
        said = _Words(event="MEDIA_START" if message.startswith("MEDIA_START ") else None)
    for sign in MESSAGE_SIGNS:
        if sign.fits(said):
            return sign.meaning
    return CONNECTED if said.is_connected else UNKNOWN
