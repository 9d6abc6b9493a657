"""The server side of the Voice Agent API: browsers, native apps, any client that is written for the provider.

Owns the wire's messages both ways and does what the live service does (reference: Voice Agent API, 13.7): its error
codes, which of them are fatal, its close codes, its order of events. What the machine changed nothing in passes
through as the text that came, but for the provider's session id, in whose place ours stands. Refuses to know what a
route lets a client set: every `session.update` that the service would take is the machine's to weigh.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.adapters.api_events import UNREADABLE, type_of
from gateway.adapters.browser_session import ClientSession
from gateway.adapters.browser_words import FAULT, POLICY, Words
from gateway.adapters.session_update import Fixed, Refused, first_update, later_update, read_update
from gateway.audio import PCM_24K, AudioFormat, level_dbfs
from gateway.commands import Command
from gateway.contracts import Adapter, Upgrade
from gateway.errors import WireError
from gateway.events import (
    CallerAnsweredTool,
    CallerAudio,
    CallerConfigured,
    CallerForwarded,
    CallerHeard,
    CallerLeft,
    CallerPrompted,
    CallInfo,
    CallStarted,
    Event,
)
from gateway.hookspecs import hookimpl
from gateway.settings import AdapterSettings, Settings

NAME: Final = "browser"
LEAD_MS: Final = 250.0
"""How far ahead of the client's ear we send; the provider itself is 110 ms ahead (5.3)."""
_OWN_QUERY: Final = frozenset({"token", "caller", "callee"})


class BrowserSettings(AdapterSettings, frozen=True, kw_only=True):
    """The section ``adapters.browser``."""

    origins: tuple[str, ...] = ()
    """Origins whose pages may connect, such as ``https://www.example.com``; none named means all with a proof."""
    show_tools: bool = False
    """Whether clients with a minted token are told what the route's tools are asked and answer; others always are."""


class _Sound(Struct):
    type: str
    audio: bytes | None = None


class _Resume(Struct):
    session_id: str


class _Prompt(Struct):
    instructions: str | None = None


class _Result(Struct):
    call_id: str
    result: str
    is_error: bool = False


class _Played(Struct):
    reply_id: str
    ms: float


_SOUND: Final = msgspec.json.Decoder(_Sound)
_RESUME: Final = msgspec.json.Decoder(_Resume)
_PROMPT: Final = msgspec.json.Decoder(_Prompt)
_RESULT: Final = msgspec.json.Decoder(_Result)
_PLAYED: Final = msgspec.json.Decoder(_Played)


class BrowserCodec:
    """One connection of a client of the Voice Agent API.

    Its first event says what the connection is for: a new call, or with `resumes` one that goes on. For one that goes
    on call `go_on` before the next message.
    """

    def __init__(self, upgrade: Upgrade, settings: BrowserSettings) -> None:
        self.resumes = ""
        """The session that the client wants to go on with."""
        self._upgrade = upgrade
        self._words = Words(upgrade.clock, shows_tools=settings.show_tools or upgrade.admitted_by != "token")
        self._complaint: Refused | None = None
        self._half = b""  # half a sample

    # From the client

    def decode(self, message: str | bytes) -> list[Event]:
        """Read a message.

        Raises:
            WireError: when the service would answer it with an error; `refuse` then writes that error.
        """
        if isinstance(message, bytes):
            raise self._refusal("invalid_format", "Invalid JSON format.")
        try:
            if self.session is not None and (sound := self._sound(message, self.session.fixed)) is not None:
                return sound
            kind = type_of(message)
        except UNREADABLE as error:
            raise self._refusal("invalid_format", "Invalid JSON format.") from error
        try:
            if self.session is None:
                return self._first(kind, message)
            return self._event(kind, message, self.session)
        except Refused as refused:
            raise self._refusal(refused.code, refused.message, refused.param) from refused
        except UNREADABLE as error:
            message = f"Invalid message format for type '{kind[:100]}'"
            raise self._refusal("invalid_format", message) from error

    def _sound(self, message: str, fixed: Fixed) -> list[Event] | None:
        """Read a message as sound, which nearly every one is; None for any other, and for one with mistakes."""
        try:
            given = _SOUND.decode(message)
        except msgspec.ValidationError:
            return None
        if given.type != "input.audio" or given.audio is None:
            return None
        audio, hears = given.audio, fixed.hears
        if hears.sample_bytes == 2:
            audio = self._half + audio
            whole = len(audio) & ~1
            audio, self._half = audio[:whole], audio[whole:]
        return [CallerAudio(audio, level_dbfs(audio, hears))] if audio else []

    def _first(self, kind: str, message: str) -> list[Event]:
        match kind:
            case "session.update":
                asked = read_update(message)
                fixed = first_update(asked)
                self._words.session = ClientSession(self._upgrade, asked, fixed)
                return [CallStarted(self._info(fixed), message)]
            case "session.resume":
                self.resumes = _RESUME.decode(message).session_id or "?"
                return [CallStarted(self._info(Fixed()), message)]
            case "session.end":
                return [CallerLeft("the client ended the session")]
            case "input.audio":
                return []  # discarded before the session is ready (2.1)
        if kind.startswith("talkpath."):
            return []
        raise self._refusal("invalid_format", f"Send session.update or session.resume before '{kind[:100]}'")

    def _event(self, kind: str, message: str, session: ClientSession) -> list[Event]:
        match kind:
            case "session.update":
                asked = read_update(message)
                later_update(asked, session.fixed)
                session.ask(asked)
                return [CallerConfigured(message)]
            case "session.end":
                return [CallerLeft("the client ended the session")]
            case "input.audio":
                raise self._bad_sound(message)
            case "tool.result":
                answer = _RESULT.decode(message)
                return [CallerAnsweredTool(answer.call_id, answer.result, answer.is_error)]
            case "reply.create":
                return [CallerPrompted(_PROMPT.decode(message).instructions or "", message)]
            case "talkpath.played":
                played = _PLAYED.decode(message)
                mark, further_ms = self._words.playback.played(played.reply_id, played.ms)
                return [CallerHeard(mark, further_ms)] if mark else []
            case "session.resume":
                raise self._refusal("invalid_format", "session.resume must be the first message")
        if kind.startswith("talkpath."):
            return []  # ours, and optional; the agent's provider would not know it
        if kind.startswith("session."):
            # The service knows no other, and such a message counts as one that cannot be read.
            raise self._refusal("invalid_format", f"Unknown message type: {kind[:100]}")
        return [CallerForwarded(message)]

    def _bad_sound(self, message: str) -> WireError:
        given = msgspec.json.decode(message, type=dict[str, Any]).get("audio")
        if isinstance(given, str):
            return self._refusal("invalid_audio", "Invalid audio data")
        return self._refusal("invalid_format", "Invalid message format for type 'input.audio'")

    def _info(self, fixed: Fixed) -> CallInfo:
        upgrade = self._upgrade
        query = {name: value for name, value in upgrade.query.items() if name not in _OWN_QUERY}
        return CallInfo(
            call_id=upgrade.call_id,
            adapter=NAME,
            audio=fixed.speaks,
            caller=upgrade.caller,
            callee=upgrade.callee,
            carrier_call_id=upgrade.carrier_call_id,
            parameters={**query, **upgrade.parameters},
        )

    def _refusal(self, code: str, message: str, param: str | None = None) -> WireError:
        """The error to raise; what is wrong with a first update ends the connection (13.7)."""
        self._complaint = Refused(code, message, param)
        fatal = code == "internal_error" or (self.session is None and code != "invalid_format")
        if fatal:
            self._words.close_code = FAULT if code == "internal_error" else POLICY
        return WireError(" ".join(message.split())[:300], fatal=fatal)

    def refuse(self, sentence: str) -> list[str | bytes]:
        """Say as the service does what was wrong with the message that was just refused."""
        complaint, self._complaint = self._complaint or Refused("invalid_format", sentence), None
        return [self._words.error(complaint.code, complaint.message, complaint.param)]

    # The connection

    @property
    def session(self) -> ClientSession | None:
        """What is known of the client's session; the codec of its next connection is given it."""
        return self._words.session

    @property
    def close_code(self) -> int | None:
        """The code with which the service closes after what was said last; None for an ordinary close."""
        return self._words.close_code

    @property
    def hears(self) -> AudioFormat:
        """Format of the client's sound, which may be another than that of the call."""
        return self.session.fixed.hears if self.session else PCM_24K

    @property
    def speaks(self) -> AudioFormat:
        """Format of the call, and of what the client is sent."""
        return self.session.fixed.speaks if self.session else PCM_24K

    def go_on(self, session: ClientSession) -> None:
        """This connection goes on with a session that began on another one."""
        self._words.session = session
        self._words.returned = True
        if self._upgrade.admitted_by == "token":
            session.hide()

    def turn_away(self, code: str, message: str) -> list[str | bytes]:
        """Say why this connection is not taken; `close_code` then says how to close it."""
        self._words.close_code = POLICY
        return [self._words.error(code, message)]

    def closing(self, code: int) -> list[str | bytes]:
        """Say what the service says before it closes for a fault of its own, where nothing has been said."""
        return self._words.farewell("bug") if code == FAULT else []

    # To the client

    def encode(self, command: Command) -> list[str | bytes]:
        """Write a command; nothing but errors and the end is said before the session is ready."""
        return self._words.of(command)


@hookimpl
def register_adapters(settings: Settings) -> list[Adapter]:  # noqa: ARG001 - the hook names it
    """Bring the adapter ``browser``."""
    return [
        Adapter(
            name=NAME,
            codec=BrowserCodec,
            settings=BrowserSettings,
            proof="key",
            marks=True,
            marks_at_will=True,
            clears=True,
            lead_ms=LEAD_MS,
            in_band=True,
        )
    ]
