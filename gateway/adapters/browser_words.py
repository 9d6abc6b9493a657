"""What a client of the Voice Agent API is told, message by message.

Owns the writing half of one connection: what passes through as it came, what is rewritten because it would show the
session behind ours, what is said at the end. Nothing but errors and the end is said before the session is ready.
"""

from binascii import b2a_base64
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from gateway.adapters.api_events import TOOL, UNREADABLE, json_text, type_of, written
from gateway.adapters.browser_playback import Playback
from gateway.adapters.browser_session import ClientSession
from gateway.adapters.session_update import Json
from gateway.commands import Clear, Command, HangUp, Mark, Play, ReplyHeard, Tell, TellHeard
from gateway.events import (
    AgentForwarded,
    AgentReady,
    AgentRefused,
    AgentWarned,
    Event,
    ToolCalled,
    ToolFinished,
)

ENDED: Final = 1000
POLICY: Final = 1008
FAULT: Final = 1011
"""Close codes (6.2)."""
_FAREWELLS: Final = {
    "limit": ("session_expired", "Session duration limit reached", POLICY),
    "agent_lost": ("internal_error", "Internal service error", FAULT),
    "bug": ("internal_error", "Internal service error", FAULT),
    "refused": ("", "", POLICY),  # why has been said
}
"""Ends of a call that the service tells as an error, with the close code; all others are `session.ended`."""
_WITHOUT_END: Final = frozenset({"agent_lost", "bug", "refused"})
"""Those after which there is no `session.ended`."""


class _Told(Struct):
    config: Any = None
    changes: Json | None = None
    code: str = ""
    message: str = ""
    param: str | None = None


_TOLD: Final = msgspec.json.Decoder(_Told)


class Words:
    """The messages of one connection; `session` is set once it is known which session it is."""

    def __init__(self, clock: Callable[[], float], *, shows_tools: bool) -> None:
        self.session: ClientSession | None = None
        """What is known of the client's session."""
        self.close_code: int | None = None
        """The code with which the service closes after what was said last; None for an ordinary close."""
        self.returned = False
        """Whether this connection goes on with a session, and has not said so yet."""
        self.playback: Final = Playback()
        self._clock = clock
        self._shows_tools = shows_tools  # those of the route, at work

    def of(self, command: Command) -> list[str | bytes]:
        """Write a command."""
        match command:
            case Tell(event):
                return self._tell(event)
            case HangUp(reason):
                return self.farewell(reason)
        if self.session is None or not self.session.is_ready:
            return []
        match command:
            case Play(reply_id, audio):
                return self._play(reply_id, audio, self.session)
            case Mark(name):
                self.playback.mark(name)
            case Clear():
                self.playback.clear()
                return [self.dated({"type": "talkpath.clear"})]
            case TellHeard(fact):
                return self._heard(fact)
        return []

    def error(self, code: str, message: str, param: str | None = None) -> str:
        """Write a `session.error` (4.13)."""
        session_id = self.session.session_id if self.session else None
        fields = {"code": code, "message": message, "session_id": session_id, "param": param}
        return self.dated({"type": "session.error", **fields})

    def farewell(self, reason: str) -> list[str | bytes]:
        """Say how the session ended (2.8), unless an error has said so."""
        if self.close_code is not None:
            return []
        code, message, self.close_code = _FAREWELLS.get(reason, ("", "", ENDED))
        said: list[str | bytes] = [self.error(code, message)] if code else []
        if reason not in _WITHOUT_END:
            lasted_s = self._clock() - self.session.began_at if self.session else 0.0
            ended = {
                "type": "session.ended",
                "session_duration_seconds": round(max(0.0, lasted_s), 3),
                "audio_duration_seconds": None,
            }
            said.append(self.dated(ended))
        return said

    def dated(self, message: Json) -> str:
        """A message that nobody wrote but we: it carries its time (13.7)."""
        return json_text({**message, "timestamp": round(self._clock(), 3)})

    def _play(self, reply_id: str, audio: bytes, session: ClientSession) -> list[str | bytes]:
        shown, is_new = self.playback.play(reply_id, session.fixed.speaks.ms(len(audio)))
        started = [self.dated({"type": "reply.started", "reply_id": shown})] if is_new else []
        data = b2a_base64(audio, newline=False).decode("ascii")
        now = round(self._clock(), 3)
        sound = f'{{"type":"reply.audio","reply_id":{json_text(shown)},"data":"{data}","timestamp":{now}}}'
        return [*started, sound]

    def _heard(self, fact: ReplyHeard) -> list[str | bytes]:
        shown, ended = self.playback.heard(fact.reply_id)
        heard = {
            "type": "talkpath.heard",
            "reply_id": shown,
            "heard_ms": fact.heard_ms,
            "sent_ms": fact.sent_ms,
            "confirmed": fact.confirmed,
            "interrupted": fact.interrupted,
        }
        said: list[str | bytes] = [self.dated(heard)]
        if ended:
            status = "interrupted" if fact.cut_ms > 0 else "completed"
            said.append(self.dated({"type": "reply.done", "reply_id": shown, "status": status}))
        return said

    def _tell(self, event: Event) -> list[str | bytes]:
        if self.session is None:
            return []
        match event:
            case AgentReady():
                return self._ready(event, self.session)
            case AgentRefused(code, message):
                self.close_code = POLICY
                return [self.error(code, message)]
            case ToolCalled(informational=True) | ToolFinished():
                return self._tool(event)
            case AgentForwarded(raw):
                return self._forward(raw, self.session)
            case AgentWarned(code, message, raw):
                return [self._ours(raw, self.session) if raw else self.error(code, message)]
            case _ if raw := getattr(event, "raw", ""):
                return [self._ours(raw, self.session)]
        fields = written(event)
        return [self.dated(fields)] if fields else []

    def _tool(self, event: ToolCalled | ToolFinished) -> list[str | bytes]:
        """Say in words of our own what a tool does that is not the client's: one `tool.call` it would answer."""
        fields = written(event) if self._shows_tools else None
        return [self.dated({**fields, "type": TOOL})] if fields else []

    def _ready(self, event: AgentReady, session: ClientSession) -> list[str | bytes]:
        session.provider_id = event.session_id
        session.learn(_config_of(event.raw))
        if session.is_ready and not self.returned:
            return []  # another session has taken over behind ours
        config = session.shown()
        said: list[str | bytes] = []
        if not self.returned:
            said.append(self.dated({"type": "session.updated", "config": config}))
        ready = {
            "type": "session.ready",
            "session_id": session.session_id,
            "config": config,
            "expires_at": session.expires_at,
            "resume_token": session.resume_token,
        }
        session.is_ready, self.returned = True, False
        return [*said, self.dated(ready)]

    def _forward(self, raw: str, session: ClientSession) -> list[str | bytes]:
        try:
            kind = type_of(raw)
        except UNREADABLE:
            return []
        if kind == "session.updated":
            if not session.is_ready:
                return []  # told with `session.ready`
            told = _TOLD.decode(raw)
            session.learn(told.config)
            session.change(told.changes or {})
            return [self.dated({"type": kind, "config": session.shown()})]
        if kind == "session.error":  # the machine's; an agent's comes as a warning
            told = _TOLD.decode(raw)
            return [self.error(told.code, told.message, told.param)]
        if kind in ("session.ready", "session.ended"):
            return []
        if kind.startswith("talkpath."):
            return [self.dated(msgspec.json.decode(raw))]
        return [self._ours(raw, session)]

    @staticmethod
    def _ours(raw: str, session: ClientSession) -> str:
        """A message of the agent as it came, with our session id in the place of the provider's."""
        theirs = session.provider_id
        return raw.replace(theirs, session.session_id) if theirs and theirs in raw else raw


def _config_of(raw: str) -> Any:
    """The configuration in a message about a session; None where there is none."""
    try:
        return _TOLD.decode(raw).config if raw else None
    except UNREADABLE:
        return None
