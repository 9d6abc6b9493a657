"""Raw PCM clients: binary frames both ways, and on request the Voice Agent API's events as text.

Owns the dialect of contract section 5: what the address may ask for, the few text messages that every client has,
and with ``events=1`` the events that are not audio; those that are not the agent's own text carry the time of the
clock that comes with the upgrade. Refuses to guess a format. The agent's session id, its resume
token and its configuration are never shown: a client knows the call by our own id.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.adapters.api_events import UNREADABLE, json_text, type_of, written
from gateway.adapters.session_update import Refused, read_update, update_beside_address
from gateway.audio import AudioFormat, Encoding, level_dbfs
from gateway.commands import Clear, Command, HangUp, Play, Tell, TellHeard
from gateway.contracts import Adapter, Upgrade
from gateway.errors import WireError
from gateway.events import (
    AgentForwarded,
    AgentReady,
    AgentWarned,
    CallerAnsweredTool,
    CallerAudio,
    CallerConfigured,
    CallerForwarded,
    CallerLeft,
    CallerPrompted,
    CallInfo,
    CallStarted,
    Event,
    ToolCalled,
)
from gateway.hookspecs import hookimpl
from gateway.settings import AdapterSettings, Settings

NAME: Final = "pcm"
ENCODINGS: Final[Mapping[str, Encoding]] = {
    "pcm_s16le": "pcm16",
    "linear16": "pcm16",
    "l16": "pcm16",
    "pcm16": "pcm16",
    "s16le": "pcm16",
    "pcm_mulaw": "mulaw",
    "mulaw": "mulaw",
    "ulaw": "mulaw",
    "pcmu": "mulaw",
    "pcm_alaw": "alaw",
    "alaw": "alaw",
    "pcma": "alaw",
}
"""Names of encodings in the address: ours, and those of peers (reference: carriers, 14)."""
RATES_HZ: Final = (8000, 16000, 24000, 44100, 48000)
"""Rates that an address may ask for."""

_OWN_QUERY: Final = frozenset(
    {"encoding", "sample_rate", "sample-rate", "rate", "events", "caller", "callee", "token"}
)
_LONGEST_HEADER: Final = 4096


class PcmSettings(AdapterSettings, frozen=True, kw_only=True):
    """The section ``adapters.pcm``."""

    origins: tuple[str, ...] = ()
    """Pages that may connect, as their origins; empty lets every page in that shows proof."""
    show_tools: bool = False
    """Whether clients with a minted token are told what the route's tools are asked; others always are."""


class _Sound(Struct):
    audio: bytes


class _Prompt(Struct):
    instructions: str | None = None


class _Result(Struct):
    call_id: str
    result: str
    is_error: bool = False


_SOUND: Final = msgspec.json.Decoder(_Sound)
_PROMPT: Final = msgspec.json.Decoder(_Prompt)
_RESULT: Final = msgspec.json.Decoder(_Result)


class PcmCodec:
    """One connection of a raw PCM client.

    There is no start message: call `opening` when the socket is open.

    Raises:
        WireError: when the address asks for a format that the dialect does not have; names what it has.
    """

    def __init__(self, upgrade: Upgrade, settings: PcmSettings) -> None:
        query = upgrade.query
        self._format = _format(query)
        by_token = upgrade.admitted_by == "token"
        said = {} if by_token else query  # whoever holds a minted token is anybody, and not believed
        self._shows_events = _switch(query, "events")
        self._shows_tools = settings.show_tools or not by_token  # those of the route, at work
        self._clock = upgrade.clock
        self._info = CallInfo(
            call_id=upgrade.call_id,
            adapter=NAME,
            audio=self._format,
            caller=upgrade.caller or said.get("caller", ""),
            callee=upgrade.callee or said.get("callee", ""),
            carrier_call_id=upgrade.carrier_call_id,
            parameters={
                **{name: value for name, value in said.items() if name not in _OWN_QUERY},
                **upgrade.parameters,
            },
            admitted_by=upgrade.admitted_by,
            session_s=upgrade.session_s if by_token else None,
        )
        self._head: bytes | None = b""  # the first bytes, until it is clear that they are no WAV header
        self._rest = b""  # half a sample
        self._complaint: Refused | None = None

    def opening(self) -> list[Event]:
        """Events of a connection that has just been opened."""
        return [CallStarted(self._info)]

    def decode(self, message: str | bytes) -> list[Event]:
        """Read a message: audio of any size, or one of the few texts.

        Raises:
            WireError: when the text cannot be read or is not for this dialect, in one sentence.
        """
        if isinstance(message, bytes):
            return self._sound(message)
        try:
            kind = type_of(message)
        except UNREADABLE as error:
            raise WireError(
                "text messages are JSON objects with a `type`; send audio as binary messages"
            ) from error
        if kind == "session.end":
            return [CallerLeft("the client ended the session")]
        if not self._shows_events:
            raise WireError(
                "only `session.end` is understood as text here; add events=1 to the address to send events"
            )
        try:
            return self._event(kind, message)
        except Refused as refused:
            self._complaint = refused
            raise WireError(" ".join(refused.message.split())[:300]) from refused
        except UNREADABLE as error:
            raise WireError(f"the `{kind}` message cannot be read: {error}") from error

    def encode(self, command: Command) -> list[str | bytes]:
        """Write a command: audio as binary; everything else but a clear only for clients that asked for events."""
        match command:
            case Play(audio=audio):
                return [audio]
            case Clear():
                return [json_text({"type": "talkpath.clear"})]
            case Tell(event) if self._shows_events:
                return self._told(event)
            case TellHeard(fact) if self._shows_events:
                heard = {
                    name: getattr(fact, name)
                    for name in ("reply_id", "heard_ms", "sent_ms", "confirmed", "interrupted")
                }
                return [json_text({"type": "talkpath.heard", **heard})]
            case HangUp() if self._shows_events:
                return [self._dated({"type": "session.ended"})]
        return []

    def refuse(self, sentence: str) -> list[str | bytes]:
        """Say in the dialect that a message was not understood; only clients that asked for events are told."""
        complaint, self._complaint = self._complaint, None
        if not self._shows_events:
            return []
        code, param = (complaint.code, complaint.param) if complaint else ("invalid_format", None)
        error = {"type": "session.error", "code": code, "message": sentence}
        return [self._dated({**error, "param": param} if param else error)]

    def _event(self, kind: str, message: str) -> list[Event]:
        match kind:
            case "input.audio":
                return self._sound(_SOUND.decode(message).audio)
            case "reply.create":
                return [CallerPrompted(_PROMPT.decode(message).instructions or "", message)]
            case "tool.result":
                answer = _RESULT.decode(message)
                return [CallerAnsweredTool(answer.call_id, answer.result, answer.is_error)]
            case "session.update":
                update_beside_address(read_update(message))
                return [CallerConfigured(message)]
            case "session.resume":
                raise WireError(
                    "a raw PCM connection cannot resume a session; open a new one and begin again"
                )
        if kind.startswith("talkpath."):
            return []  # ours, and optional; the agent's provider would not know it
        return [CallerForwarded(message)]

    def _told(self, event: Event) -> list[str | bytes]:
        """Messages of the Voice Agent API that show an agent's event (reference: Voice Agent API, 4)."""
        match event:
            case AgentReady():
                # the original holds the provider's session id and resume token, and the route's configuration
                return [self._dated({"type": "session.ready", "session_id": self._info.call_id})]
            case ToolCalled(informational=True) if not self._shows_tools:
                return []
            case AgentWarned(code, message):
                return [self._dated({"type": "session.error", "code": code, "message": message})]
            case AgentForwarded(raw):
                return [] if _is_about_session(raw) else [raw]
            case _ if raw := getattr(event, "raw", ""):
                return [raw]
        fields = written(event)
        return [self._dated(fields)] if fields else []

    def _dated(self, message: dict[str, Any]) -> str:
        """A message of that API that nobody wrote but we: it carries its time (13.7)."""
        return json_text({**message, "timestamp": round(self._clock(), 3)})

    def _sound(self, audio: bytes) -> list[Event]:
        if self._head is not None:
            audio = self._without_header(self._head + audio)
        if self._format.sample_bytes == 2:
            audio = self._rest + audio
            whole = len(audio) & ~1
            audio, self._rest = audio[:whole], audio[whole:]
        if not audio:
            return []
        return [CallerAudio(audio, level_dbfs(audio, self._format))]

    def _without_header(self, audio: bytes) -> bytes:
        """Strip a WAV header, which some clients send although the audio is raw; waits until it is complete."""
        start = _header_bytes(audio)
        if start is None and len(audio) < _LONGEST_HEADER:
            self._head = audio
            return b""
        self._head = None
        return audio[start or 0 :]


def _header_bytes(audio: bytes) -> int | None:
    """Size of the WAV header in front of ``audio``, 0 when there is none; None while that cannot be told."""
    if not audio.startswith(b"RIFF"[: len(audio)]) or audio[8:12] != b"WAVE"[: len(audio[8:12])]:
        return 0
    at = 12
    while len(audio) >= at + 8:
        if audio[at : at + 4] == b"data":
            return at + 8
        size = int.from_bytes(audio[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return None


def _format(query: Mapping[str, str]) -> AudioFormat:
    name = query.get("encoding", "pcm_s16le").strip().lower()
    if name not in ENCODINGS:
        raise WireError(f"encoding {name[:40]!r} is not known here; use pcm_s16le, pcm_mulaw or pcm_alaw")
    given = (query[key] for key in ("sample_rate", "sample-rate", "rate") if key in query)
    rate = next(given, "16000").strip()
    if rate not in map(str, RATES_HZ):
        raise WireError(f"sample_rate {rate[:40]!r} is not offered; use {', '.join(map(str, RATES_HZ))}")
    return AudioFormat(ENCODINGS[name], int(rate))


def _switch(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "0").strip().lower()
    if value not in ("0", "1", "false", "true"):
        raise WireError(f"{name}={value[:40]!r} is neither 0 nor 1; use {name}=1 to switch it on")
    return value in ("1", "true")


def _is_about_session(raw: str) -> bool:
    """Whether a forwarded message belongs to the agent's own session, which clients do not see into."""
    try:
        return type_of(raw).startswith("session.")
    except UNREADABLE:
        return True


@hookimpl
def register_adapters(settings: Settings) -> list[Adapter]:  # noqa: ARG001 - the hook names it
    """Bring the adapter ``pcm``."""
    return [
        Adapter(
            name=NAME,
            codec=PcmCodec,
            settings=PcmSettings,
            proof="key",
            clears=True,
            closing_leaves=True,
        )
    ]
