"""The server side of the Voice Agent API for the offline agent, without a transport: text in, text out.

Owns connections, the sessions behind them and the 30 seconds in which a dropped one may be resumed. Refuses keys
(whoever has the socket proves the client) and any wire: it writes its messages from the reference (sections 2 to 6).
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from gateway.agents.offline import OfflineSettings, Script
from gateway.runtime.hearing import Hearing
from gateway.runtime.offline_conversation import Conversation
from gateway.runtime.offline_messages import message
from gateway.runtime.offline_script import read_script
from gateway.runtime.speaking import Speaking

__all__ = ["OfflineSession", "OfflineSessions", "OfflineSettings"]

_LOG: Final = logging.getLogger(__name__)
_OUTBOX_MESSAGES: Final = 20_000
"""A peer that lets this many messages wait (minutes of speech in a burst) reads no more: its session is dropped."""
_ROOM_MESSAGES: Final = 1000
_MESSAGE_CHARACTERS: Final = 1 << 20


class ConnectionOptions(msgspec.Struct, frozen=True):
    """What a connection is told besides the dialect's messages."""

    script: Script
    """The script of a session that begins on it."""
    profile: Literal["realtime", "burst"]
    """The pace of its replies."""
    greet: bool
    """Whether a ``session.update`` without ``greeting`` means the script's own."""


class OfflineSession:
    """One connection of a client: hand every text message to `receive`, send on every text that it iterates.

    The iteration ends when the session does; then `close_code` and `close_reason` say how to close the socket.
    """

    def __init__(self, sessions: "OfflineSessions", options: ConnectionOptions) -> None:
        self.options = options
        """How a session that begins here is to be."""
        self.close_code: int | None = None
        self.close_reason = ""
        self.conversation: Conversation | None = None
        """The session on this connection, once configured or resumed."""
        self._sessions = sessions
        self._outbox: deque[str] = deque()
        self._changed = asyncio.Event()
        self._read = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether nothing will be sent any more beyond what waits."""
        return self.close_code is not None

    async def receive(self, text: str | bytes) -> None:
        """Take one message; nothing a peer sends raises."""
        if self.closed:
            return
        try:
            self._receive(text)
        except Exception:  # noqa: BLE001 - a bug of ours ends this session, as the service's own do
            _LOG.exception("an offline session failed")
            self.refuse("internal_error", "Internal service error")
            self.close(1011, "internal error")

    def _receive(self, text: str | bytes) -> None:
        if isinstance(text, bytes) or len(text) > _MESSAGE_CHARACTERS:
            self.refuse("invalid_format", "Invalid JSON format.")
            return
        try:
            received: Any = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self.refuse("invalid_format", "Invalid JSON format.")
            return
        kind = received.get("type") if isinstance(received, dict) else None
        if not isinstance(kind, str):
            self.refuse("invalid_format", "Invalid JSON format.")
        elif self.conversation is not None:
            self.conversation.receive(kind, received)
        elif kind == "session.resume":
            self._resume(received)
        elif kind == "session.update":
            self._sessions.open(self).receive(kind, received)
        elif kind == "session.end":
            self.send(message("session.ended", session_duration_seconds=0.0, audio_duration_seconds=None))
            self.close(1000, "session ended")
        elif kind == "input.audio":
            pass  # discarded before ready (reference 2.1)
        else:
            self.refuse("invalid_format", f"Send session.update or session.resume before '{kind}'")

    def _resume(self, received: dict[str, Any]) -> None:
        session_id = received.get("session_id")
        if not isinstance(session_id, str):
            self.refuse("invalid_format", "Invalid message format for type 'session.resume'")
        elif (found := self._sessions.find(session_id)) is None:
            self.refuse(
                "session_not_found", "Session not found or grace window has expired", session_id=session_id
            )
            self.close(1008, "session not found")
        else:
            found.attach(self)
            self.conversation = found

    def send(self, text: str) -> None:
        """Put a message behind those that wait."""
        if self.closed:
            return
        self._outbox.append(text)
        self._changed.set()
        if len(self._outbox) > _OUTBOX_MESSAGES:
            self._outbox.clear()
            self.close(1008, "messages are not read")

    def refuse(
        self, code: str, reason: str, *, param: str | None = None, session_id: str | None = None
    ) -> None:
        """Send a ``session.error``."""
        self.send(message("session.error", code=code, message=reason, param=param, session_id=session_id))

    def close(self, code: int, reason: str = "") -> None:
        """Close after what waits was sent; only the first close counts."""
        if not self.closed:
            self.close_code, self.close_reason = code, reason
            self._changed.set()
            self._read.set()

    async def disconnect(self) -> None:
        """The socket is gone: a session that was not ended may be resumed for a while."""
        self.close(1006, "connection lost")
        conversation, self.conversation = self.conversation, None
        if conversation is not None:
            conversation.detach(self)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while not self._outbox:
            if self.closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        self._read.set()
        return self._outbox.popleft()

    async def room(self) -> None:
        """Wait until so many messages were read that a reply may go on."""
        while len(self._outbox) > _ROOM_MESSAGES and not self.closed:
            self._read.clear()
            await self._read.wait()


class OfflineSessions:
    """All offline sessions of one process, with the ears and the voice they share.

    Use it as ``async with``; leaving it ends every session.
    """

    def __init__(
        self,
        *,
        script: Script | str = "default",
        settings: OfflineSettings | None = None,
        offline_calls: int = 8,
        hearing: Hearing | None = None,
        speaking: Speaking | None = None,
    ) -> None:
        """``script`` is a script, a shipped one's name or a file; at most ``offline_calls`` sessions hear at once."""
        self.script = read_script(script) if isinstance(script, str) else script
        self.settings = settings or OfflineSettings()
        self.hearing = hearing or Hearing(sessions=offline_calls)
        self.speaking = speaking or Speaking()
        self._scripts: dict[str, Script] = {}
        self._conversations: dict[str, Conversation] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stack = AsyncExitStack()

    @property
    def hears(self) -> bool:
        """Whether anybody can be heard; else sessions play and take digits."""
        return self.hearing.enabled

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.hearing.running(self.script.grammar))
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for conversation in list(self._conversations.values()):
            conversation.end(1001, "going away")
        await self._stack.aclose()  # not given the error: a task group would wrap it

    def connect(
        self,
        *,
        script: Script | str | None = None,
        profile: Literal["realtime", "burst"] | None = None,
        greet: bool = False,
    ) -> OfflineSession:
        """A new connection; it has no session until its first message asks for one.

        What is left out is as in all sessions here. With ``greet`` a session without a greeting of its own begins
        with the script's; else it listens first, as the service does.

        Raises:
            ConfigError: when the script cannot be used.
        """
        if isinstance(script, str):
            if script not in self._scripts:
                self._scripts[script] = read_script(script)
            script = self._scripts[script]
        options = ConnectionOptions(script or self.script, profile or self.settings.profile, greet)
        return OfflineSession(self, options)

    def open(self, connection: OfflineSession) -> Conversation:
        """Begin a session on a connection."""
        if self._group is None:
            raise RuntimeError("OfflineSessions must be entered with 'async with' before it is used")
        conversation = Conversation(
            session_id=f"sess_{secrets.token_hex(16)}",
            script=connection.options.script,
            settings=msgspec.structs.replace(self.settings, profile=connection.options.profile),
            greet=connection.options.greet,
            hearing=self.hearing,
            speaking=self.speaking,
        )
        connection.conversation = conversation
        conversation.attach(connection)
        self._conversations[conversation.session_id] = conversation
        self._group.create_task(self._run(conversation))
        return conversation

    def find(self, session_id: str) -> Conversation | None:
        """A session that was dropped and may be resumed, or is still connected elsewhere."""
        return self._conversations.get(session_id)

    def accepts_resume_token(self, token: str) -> bool:
        """Whether a token was given out by a session that can still be resumed."""
        given = token.encode(errors="replace")
        return any(
            secrets.compare_digest(found.resume_token.encode(), given)
            for found in self._conversations.values()
        )

    async def _run(self, conversation: Conversation) -> None:
        try:
            await conversation.run()
        except Exception:  # noqa: BLE001 - one session's bug must not end the others
            _LOG.exception("an offline session failed")
            conversation.fail()
        finally:
            del self._conversations[conversation.session_id]
