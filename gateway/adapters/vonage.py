"""Calls from Vonage: the wire of a websocket endpoint, and the adapter's registration.

Owns the messages of the media socket (reference: carriers, 3.2 and 3.3) and the rule that every message to it is
exactly one frame. Refuses sound of any kind but 16-bit PCM at 8, 16 or 24 kHz. Which call a socket belongs to is
never believed from the socket itself, but from the upgrade. What Vonage says and hears over HTTP is in
`vonage_http`.
"""

import contextlib
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from gateway.adapters.vonage_http import (
    NAME,
    RATES_HZ,
    REGION_URL,
    VonageSettings,
    answer,
    authorize,
    control,
    goodbye,
    number,
    serial,
    visit,
)
from gateway.audio import PCM_8K, PCM_24K, AudioFormat, level_dbfs
from gateway.commands import Clear, Command, Mark, Play
from gateway.contracts import Adapter, Upgrade
from gateway.errors import WireError
from gateway.events import CallerAudio, CallerHeard, CallerLeft, CallerPressed, CallInfo, CallStarted, Event
from gateway.hookspecs import hookimpl
from gateway.settings import Settings

FRAME_MS: Final = 20.0
"""The length of every message of sound, both ways."""
HELD_BYTES: Final = PCM_24K.frame_bytes(2000)
"""Sound that is kept while the first message is not there yet; older sound is dropped."""
HUNG_UP: Final = 1000
"""The code with which Vonage closes the socket of a call that is over."""
MOST_NOTICES: Final = 1024
"""Notices whose answer is waited for; an older one is forgotten."""

# The wire, as Vonage sends it (3.2).


class _Message(Struct, tag_field="event"):
    pass


class _Connected(_Message, tag="websocket:connected"):
    content_type: str = field(name="content-type")
    token: Raw = Raw()


class _Dtmf(_Message, tag="websocket:dtmf"):
    digit: str | int | None = None
    dtmf: Raw = Raw()  # other forms that were seen in the field: {"digit": "5"} and "5"


class _Payload(Struct):
    name: str


class _Notify(_Message, tag="websocket:notify"):
    payload: _Payload


class _Cleared(_Message, tag="websocket:cleared"):
    pass


class _Disconnected(
    _Message, tag="websocket:disconnected"
):  # no vendor page knows these two, code in the field does
    pass


class _HungUp(_Message, tag="websocket:hangup"):
    pass


class _Peek(Struct):
    event: str


_MESSAGES: Final = msgspec.json.Decoder(_Connected | _Dtmf | _Notify | _Cleared | _Disconnected | _HungUp)
_PEEK: Final = msgspec.json.Decoder(_Peek)
_NULL: Final = Raw(b"null")
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])  # what is in them need not be built to be left out
_KEY: Final = msgspec.json.Decoder(dict[str, str | int])
_EVENTS: Final = frozenset(
    f"websocket:{name}" for name in ("connected", "dtmf", "notify", "cleared", "disconnected", "hangup")
)
_DIGITS: Final = re.compile(r"[0-9*#]+")
_CONTENT_TYPE: Final = re.compile(r'audio/l16\s*;\s*rate\s*=\s*"?(\d{4,5})"?', re.IGNORECASE | re.ASCII)
_NO_PARAMETERS: Final = frozenset({"event", "content-type", "call_uuid", "token", REGION_URL})
# msgspec reports bad JSON and wrong types as its own error, deep nesting and lone surrogates as Python's
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class VonageCodec:
    """One media socket: its messages to events, and our commands to frames, ``notify`` and ``clear``."""

    def __init__(self, upgrade: Upgrade, _settings: VonageSettings) -> None:
        self._upgrade = upgrade
        self._audio: AudioFormat | None = None
        self._frame_bytes = 0
        self._rest = b""  # half a sample
        self._held: deque[bytes] = deque()  # sound that came before the first message
        self._held_bytes = 0
        self._notices: dict[str, None] = {}  # whose answer is waited for, in order

    def decode(self, message: str | bytes) -> list[Event]:
        """Read a message; kinds that Vonage may add one day give no event.

        Raises:
            WireError: for what Vonage never sends, in one sentence.
        """
        if isinstance(message, bytes):
            if self._audio is None:
                self._hold(message)  # a frame may come first (3.2)
                return []
            return self._sound(message, self._audio)
        try:
            wire = _MESSAGES.decode(message)
        except _UNREADABLE as error:
            return _explain(message, error)
        if isinstance(wire, _Connected):
            return self._begin(wire, message)
        if self._audio is None:
            raise WireError("the socket has not begun: `websocket:connected` comes first")
        match wire:
            case _Notify(_Payload(name)):
                return self._noticed(name)
            case _Dtmf():
                return [CallerPressed(_digit(wire))]
            case _Disconnected() | _HungUp():
                return [CallerLeft("the carrier says that the socket's call is over")]
        return []

    def encode(self, command: Command) -> list[str | bytes]:
        """Write a command; before the first message nobody knows the size of a frame."""
        if self._audio is None:
            return []
        match command:
            case Play(audio=audio):
                # all but the last piece of a reply are whole frames already
                return [audio] if len(audio) == self._frame_bytes else list(self._frames(audio))
            case Mark(name):
                while len(self._notices) >= MOST_NOTICES:
                    del self._notices[next(iter(self._notices))]
                self._notices[name] = None
                return [_json({"action": "notify", "payload": {"name": name}})]
            case Clear():
                # whether Vonage answers notices that it has dropped is not known; nobody waits for them any more
                self._notices.clear()
                return ['{"action":"clear"}']
        return []

    def refuse(self, _sentence: str) -> list[str | bytes]:
        """Say nothing: Vonage takes sound, ``notify`` and ``clear``."""
        return []

    def closed(self, code: int, _reason: str = "") -> list[Event]:
        """Say what the end of the socket means: closed in due form, there being no stop message, the caller hung up."""
        if self._audio is None or code != HUNG_UP:
            return []  # it broke, and the call may go on over another one
        return [CallerLeft("the carrier closed the socket")]

    def _begin(self, wire: _Connected, message: str) -> list[Event]:
        if self._audio is not None:
            raise WireError("the socket has begun already; a second `websocket:connected` is refused")
        fields, upgrade = _FIELDS.decode(message), self._upgrade
        call_uuid = fields.get("call_uuid", _NULL)
        if upgrade.carrier_call_id and call_uuid != _NULL and _text(call_uuid) != upgrade.carrier_call_id:
            raise WireError("`call_uuid` is not the call that this socket was opened for", fatal=True)
        audio = _format(wire.content_type)
        self._audio, self._frame_bytes = audio, audio.frame_bytes(FRAME_MS)
        started = CallStarted(
            CallInfo(
                call_id=upgrade.call_id,
                adapter=NAME,
                audio=audio,
                caller=upgrade.caller,
                callee=upgrade.callee,
                carrier_call_id=upgrade.carrier_call_id,
                parameters={**_parameters(fields), **upgrade.parameters},
            )
        )
        held, self._held = self._held, deque()
        return [started, *(event for sound in held for event in self._sound(sound, audio))]

    def _hold(self, sound: bytes) -> None:
        self._held.append(sound)
        self._held_bytes += len(sound)
        while self._held_bytes > HELD_BYTES:
            self._held_bytes -= len(self._held.popleft())

    def _sound(self, sound: bytes, audio: AudioFormat) -> list[Event]:
        if (
            self._rest or len(sound) & 1
        ):  # no frame has half a sample; a wrong one must not turn the rest into noise
            sound = self._rest + sound
            whole = len(sound) & ~1
            sound, self._rest = sound[:whole], sound[whole:]
        return [CallerAudio(sound, level_dbfs(sound, audio))] if sound else []

    def _frames(self, sound: bytes) -> Iterator[bytes]:
        """Cut sound into frames; the last one is filled up with silence.

        The core cuts every caller's replies into frames, but fills none up: of the wires that we speak this one alone
        drops the socket for a short one (3.3), on the others the silence would be heard as a gap for nothing.
        """
        size = self._frame_bytes
        for at in range(0, len(sound), size):
            yield sound[at : at + size].ljust(size, b"\0")

    def _noticed(self, name: str) -> list[Event]:
        if name not in self._notices:
            return []  # from before a clear, or not ours
        del self._notices[name]
        return [CallerHeard(name)]


def first_token(message: str | bytes) -> str | None:
    """Our one-time token among the headers of the call document, which stand in the first text; None before it.

    Raises:
        WireError: as `VonageCodec.decode` does.
    """
    if isinstance(message, bytes):
        return None
    try:
        wire = _MESSAGES.decode(message)
    except _UNREADABLE as error:
        _explain(message, error)
        return None
    if not isinstance(wire, _Connected):
        return None
    return _text(wire.token) or ""


def _format(content_type: str) -> AudioFormat:
    found = _CONTENT_TYPE.fullmatch(content_type.strip())
    rate_hz = int(found[1]) if found else 0
    if rate_hz not in RATES_HZ:
        rates = ", ".join(map(str, RATES_HZ))
        raise WireError(f"`content-type` must be audio/l16;rate= one of {rates}", fatal=True)
    return AudioFormat(PCM_8K.encoding, rate_hz)


def _parameters(fields: Mapping[str, Raw]) -> dict[str, str]:
    """What the call document's headers hold besides our own, as far as it is a single value."""
    return {
        name: _text(value) or bytes(value).decode().strip('"')
        for name, value in fields.items()
        if name not in _NO_PARAMETERS and bytes(value)[:1] not in (b"{", b"[", b"n")
    }


def _text(value: Raw) -> str | None:
    return msgspec.json.decode(value, type=str) if bytes(value).startswith(b'"') else None


def _digit(wire: _Dtmf) -> str:
    digit: object = wire.digit
    if digit is None:
        given = bytes(wire.dtmf)
        with contextlib.suppress(*_UNREADABLE):
            digit = _KEY.decode(given).get("digit") if given.startswith(b"{") else given.decode().strip('"')
    if not _DIGITS.fullmatch(text := str(digit)):
        raise WireError("`digit` is not one of 0 to 9, * and #")
    return text


def _explain(message: str, error: Exception) -> list[Event]:
    """Say what is wrong with a message that could not be read, or let one pass that Vonage has added."""
    try:
        seen = _PEEK.decode(message)
    except _UNREADABLE:
        raise WireError("the message is no JSON object with an `event`") from error
    if seen.event not in _EVENTS:
        return []
    raise WireError(f"the `{seen.event}` message cannot be read: {error}") from error


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@hookimpl
def register_adapters(settings: Settings) -> list[Adapter]:  # noqa: ARG001 - the hook names it
    """Bring the adapter ``vonage``."""
    return [
        Adapter(
            name=NAME,
            codec=VonageCodec,
            settings=VonageSettings,
            proof="carrier",
            authorize=authorize,
            first_token=first_token,
            serial=serial,
            number=number,
            visit=visit,
            answer=answer,
            goodbye=goodbye,
            control=control,
            marks=True,
            clears=True,
            steady=True,
        )
    ]
