"""Calls from Twilio: the wire of bidirectional Media Streams, and the adapter's registration.

Owns the messages of `<Connect><Stream>` (reference: carriers, 2.2 and 2.3). Refuses anything that is not mu-law at
8000 Hz, and ConversationRelay, which carries text. Which call a stream belongs to is never believed from the
stream itself, but from the upgrade. What Twilio says and hears over HTTP is in `twilio_http`.
"""

import binascii
import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from gateway.adapters.twilio_http import TwilioSettings, answer, authorize, control, goodbye, visit
from gateway.audio import MULAW_8K, level_dbfs
from gateway.commands import Clear, Command, Mark, Play
from gateway.contracts import Adapter, Upgrade
from gateway.errors import WireError
from gateway.events import CallerAudio, CallerHeard, CallerLeft, CallerPressed, CallInfo, CallStarted, Event
from gateway.hookspecs import hookimpl
from gateway.settings import Settings

NAME: Final = "twilio"

# The wire, as Twilio sends it (2.2). Sequence and chunk numbers are not needed, so they are not read.


class _Message(Struct, tag_field="event", rename="camel", gc=False):
    stream_sid: Annotated[str, Meta(min_length=1)]


class _Sound(Struct, gc=False):
    payload: bytes
    track: str = "inbound"


class _Media(_Message, tag="media"):
    media: _Sound


class _MediaFormat(Struct, rename="camel"):
    encoding: str
    sample_rate: int | float | str
    channels: int | float | str = 1


class _Stream(Struct, rename="camel"):
    call_sid: str
    media_format: _MediaFormat
    stream_sid: str = ""
    custom_parameters: dict[str, str] | None = None


class _Start(_Message, tag="start"):
    start: _Stream


class _Key(Struct):
    digit: str
    track: str = "inbound_track"


class _Dtmf(_Message, tag="dtmf"):
    dtmf: _Key


class _Name(Struct):
    name: str


class _Mark(_Message, tag="mark"):
    mark: _Name


class _Stop(_Message, tag="stop"):
    pass


class _Connected(Struct, tag_field="event", tag="connected"):
    protocol: str = "Call"


class _Peek(Struct):
    event: Raw = Raw()  # whatever it is, it need not be built to see that it is no text
    type: Raw = Raw()


_MESSAGES: Final = msgspec.json.Decoder(_Media | _Mark | _Dtmf | _Start | _Stop | _Connected)
_PEEK: Final = msgspec.json.Decoder(_Peek)
_EVENTS: Final = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})
_STREAM: Final = re.compile(r"MZ[0-9a-f]{32}")
_DIGITS: Final = re.compile(r"[0-9*#]+")
# msgspec reports bad JSON and wrong types as its own error, deep nesting and lone surrogates as Python's
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class TwilioCodec:
    """One media stream: its messages to events, and our commands to ``media``, ``mark`` and ``clear``."""

    def __init__(self, upgrade: Upgrade, _settings: TwilioSettings) -> None:
        self._upgrade = upgrade
        self._play_prefix = ""
        self.stream_sid = ""
        """Twilio's id of the stream; empty until its ``start``."""

    @property
    def comes_once(self) -> str:
        """What a stream without a token is known by when it comes again; empty where Twilio would not name one so."""
        return self.stream_sid if _STREAM.fullmatch(self.stream_sid) else ""

    def decode(self, message: str | bytes) -> list[Event]:
        """Read a message; kinds that Twilio may add one day give no event.

        Raises:
            WireError: for what Twilio never sends, in one sentence.
        """
        if isinstance(message, bytes):
            raise WireError("a media stream has text messages only, and this one is binary")
        try:
            wire = _MESSAGES.decode(message)
        except _UNREADABLE as error:
            return _explain(message, error)
        if type(wire) is _Media and wire.stream_sid == self.stream_sid:  # fifty times a second
            audio = wire.media.payload
            if wire.media.track != "inbound" or not audio:
                return []  # our own voice, or no sound at all
            return [CallerAudio(audio, level_dbfs(audio, MULAW_8K))]
        if isinstance(wire, _Connected):
            return _greet(wire)
        if isinstance(wire, _Start):
            return [self._start(wire)]
        if not self.stream_sid:
            raise WireError("the stream has not started: `connected` and `start` come first")
        if wire.stream_sid != self.stream_sid:
            raise WireError("the message carries the streamSid of another stream")
        match wire:
            case _Mark(mark=_Name(name)):
                return [CallerHeard(name)]
            case _Dtmf(dtmf=_Key(digit, track)) if not track.startswith("outbound"):
                if not _DIGITS.fullmatch(digit):
                    raise WireError("`dtmf.digit` is not one of 0 to 9, * and #")
                return [CallerPressed(digit)]
            case _Stop():
                return [CallerLeft("the phone call ended or was redirected")]
        return []

    def encode(self, command: Command) -> list[str | bytes]:
        """Write a command; before the stream has started nothing can be addressed to it."""
        if not self.stream_sid:
            return []
        match command:
            case Play(audio=audio):
                payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
                return [f'{self._play_prefix}{payload}"}}}}']
            case Mark(name):
                return [_json({"event": "mark", "streamSid": self.stream_sid, "mark": {"name": name}})]
            case Clear():
                return [_json({"event": "clear", "streamSid": self.stream_sid})]
        return []

    def refuse(self, _sentence: str) -> list[str | bytes]:
        """Say nothing: Twilio takes three kinds of messages and warns about any other (31951)."""
        return []

    def _start(self, wire: _Start) -> CallStarted:
        stream, upgrade = wire.start, self._upgrade
        if self.stream_sid:
            raise WireError("the stream has started already; a second `start` is refused")
        if stream.stream_sid not in ("", wire.stream_sid):
            raise WireError("`start` names its stream by two different streamSids")
        if upgrade.carrier_call_id and stream.call_sid != upgrade.carrier_call_id:
            raise WireError("`start.callSid` is not the call that this socket was opened for", fatal=True)
        sound = stream.media_format
        if (
            sound.encoding != "audio/x-mulaw"
            or _whole(sound.sample_rate) != 8000
            or _whole(sound.channels) != 1
        ):
            raise WireError(
                "`start.mediaFormat` must be audio/x-mulaw with 8000 Hz and 1 channel", fatal=True
            )
        self.stream_sid = wire.stream_sid
        self._play_prefix = f'{{"event":"media","streamSid":{_json(wire.stream_sid)},"media":{{"payload":"'
        parameters = {**(stream.custom_parameters or {}), **upgrade.parameters}
        parameters.pop("token", None)  # spent; whoever reads a call's facts has no use for it
        return CallStarted(
            CallInfo(
                call_id=upgrade.call_id,
                adapter=NAME,
                audio=MULAW_8K,
                caller=upgrade.caller,
                callee=upgrade.callee,
                carrier_call_id=upgrade.carrier_call_id,
                parameters=parameters,
            )
        )


def first_token(message: str | bytes) -> str | None:
    """Our one-time token among the parameters of ``start``; None before it.

    Raises:
        WireError: as `TwilioCodec.decode` does.
    """
    if isinstance(message, bytes):
        return None
    try:
        wire = _MESSAGES.decode(message)
    except _UNREADABLE as error:
        _explain(message, error)
        return None
    if isinstance(wire, _Connected):
        _greet(wire)
    if not isinstance(wire, _Start):
        return None
    return (wire.start.custom_parameters or {}).get("token", "")


def _greet(wire: _Connected) -> list[Event]:
    if wire.protocol != "Call":
        raise WireError(
            "this stream does not speak Twilio's protocol `Call`; use the address of its own adapter",
            fatal=True,
        )
    return []


def _explain(message: str, error: Exception) -> list[Event]:
    """Say what is wrong with a message that could not be read, or let one pass that Twilio has added."""
    try:
        seen = _PEEK.decode(message)
        event, kind = _text(seen.event), _text(seen.type)
    except _UNREADABLE:
        raise WireError("the message is not a JSON object") from error
    if event is not None and event not in _EVENTS:
        return []
    if bytes(seen.event) in (b"", b"null") and kind == "setup":
        raise WireError(
            "this is ConversationRelay, which carries text; lead the call here with <Connect><Stream> instead",
            fatal=True,
        ) from error
    if event is None:
        raise WireError("the message has no `event`") from error
    raise WireError(f"the `{event}` message cannot be read: {error}") from error


def _text(value: Raw) -> str | None:
    return msgspec.json.decode(value, type=str) if bytes(value).startswith(b'"') else None


def _whole(number: float | str) -> int:
    """Read a number leniently: carriers and their clones write 8000, "8000" and "8000Hz"; -1 for no number."""
    text = str(number).strip().lower().removesuffix("hz").strip().removesuffix(".0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@hookimpl
def register_adapters(settings: Settings) -> list[Adapter]:  # noqa: ARG001 - the hook names it
    """Bring the adapter ``twilio``."""
    return [
        Adapter(
            name=NAME,
            codec=TwilioCodec,
            settings=TwilioSettings,
            proof="carrier",
            authorize=authorize,
            token_needed=lambda section: section.require_token,
            first_token=first_token,
            visit=visit,
            answer=answer,
            goodbye=goodbye,
            control=control,
            marks=True,
            clears=True,
            steady=True,
        )
    ]
