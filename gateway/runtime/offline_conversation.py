"""One session of the offline agent: hears, asks its script, speaks, calls tools; lives on while its socket is away.

Owns the turn-taking of the server side (reference sections 2.2 to 2.8): commit, reply, barge-in, tool calls, endings.
Refuses to know the transport: a connection is whatever has ``send``, ``refuse``, ``close`` and ``room``.
"""

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from gateway.agents.offline import (
    HANG_UP_TOOL,
    Action,
    CallTool,
    HangUp,
    OfflineDialogue,
    OfflineSettings,
    Say,
    Script,
)
from gateway.audio import AudioFormat
from gateway.runtime.hearing import Ear, Hearing, SpeechBegan, SpeechEnded
from gateway.runtime.offline_config import Refused, SessionConfig
from gateway.runtime.offline_messages import Connection, message
from gateway.runtime.offline_mouth import Mouth, new_id
from gateway.runtime.offline_reply import Wanted
from gateway.runtime.speaking import Speaking

NOT_UNDERSTOOD: Final = "(not understood)"
"""Stands in the transcript for speech that fits no phrase."""
_MOST_UTTERANCES: Final = 8
_MOST_TOOL_CALLS: Final = 64
_QUIET_S: Final = 0.8  # without any sound from the caller, what was said so far is taken as said


class Conversation:
    """One session; `run` carries it, `receive` feeds it, `end` ends it."""

    def __init__(
        self,
        *,
        session_id: str,
        script: Script,
        settings: OfflineSettings,
        hearing: Hearing,
        speaking: Speaking,
        greet: bool = False,
    ) -> None:
        self.session_id = session_id
        self.resume_token = secrets.token_urlsafe(32)
        self._script = script
        self._settings = settings
        self._greets = greet or script.file.after_greeting is not None
        self._hearing = hearing
        self._dialogue = OfflineDialogue(script)
        self._config = SessionConfig(session_id, script.file.greeting)
        self._connection: Connection | None = None
        self._ready = False
        self._began_at = time.time()
        self._ended = asyncio.Event()
        self._ear: Ear | None = None
        self._discarding = False
        self._utterances: asyncio.Queue[SpeechEnded] = asyncio.Queue(_MOST_UTTERANCES)
        self._mouth = Mouth(self, self._config, settings, speaking)
        self._tool_calls: dict[str, tuple[int | None, bool]] = {}
        self._not_held = asyncio.Event()
        self._not_held.set()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def input_format(self) -> AudioFormat:
        """How the caller's sound arrives."""
        return self._config.input_format

    # The connection

    def attach(self, connection: Connection) -> None:
        """Go on over this connection; a session that was ready says so again (reference 2.7)."""
        if self._connection is not None and self._connection is not connection:
            self._connection.close(1000, "resumed on another connection")
            self._mouth.drop()
            self._cancel("no_input")
        self._connection = connection
        self._cancel("grace")
        if self._ready:
            self._send_ready()
            self._await_input()

    def detach(self, connection: Connection) -> None:
        """The connection is gone; the session waits for the next one, but not for long."""
        if self._connection is not connection:
            return
        self._connection = None
        self._mouth.drop()
        self._cancel("no_input")
        if self._ready and not self._ended.is_set():
            self._at("grace", self._settings.grace_s, self._ended.set)
        else:
            self._ended.set()

    def end(self, code: int, reason: str) -> None:
        """End the session and close its connection."""
        if self._connection is not None:
            self._connection.close(code, reason)
        self._ended.set()

    def fail(self) -> None:
        """End it as the service ends a session in which it failed itself (reference 6.2)."""
        self._refuse("internal_error", "Internal service error")
        self.end(1011, "internal error")

    async def run(self) -> None:
        """Speak and listen until the session has ended."""
        try:
            async with asyncio.TaskGroup() as group:
                children = [group.create_task(self._mouth.run()), group.create_task(self._listen())]
                await self._ended.wait()
                for child in children:
                    child.cancel()
        finally:
            self._ended.set()
            for name in list(self._timers):
                self._cancel(name)
            if self._ear is not None:
                self._hearing.close_ear()
                self._ear = None

    # Messages

    def receive(self, kind: str, received: dict[str, Any]) -> None:
        """Take one message of the client."""
        if self._ended.is_set():
            return
        if kind == "session.update":
            self._update(received)
            return
        if kind == "session.end":
            self._finish()
            return
        handler = self._handlers().get(kind)
        if handler is None:
            self._refuse("invalid_format", f"Unknown message type: {kind[:100]}")
        elif not self._ready:
            if kind != "input.audio":  # sound before ready is discarded (reference 2.1)
                self._malformed(kind)
        elif not handler(received):
            self._malformed(kind)

    def _handlers(self) -> dict[str, Callable[[dict[str, Any]], bool]]:
        """What to do with each kind of message; ``False`` means it is malformed."""
        return {
            "input.audio": self._hear,
            "tool.result": self._take_result,
            "reply.create": self._create_reply,
            "reply.cancel": self._cancel_reply,
            "conversation.message": self._take_note,
        }

    def _malformed(self, kind: str) -> None:
        self._refuse("invalid_format", f"Invalid message format for type '{kind}'")

    def _update(self, received: dict[str, Any]) -> None:
        session = received.get("session", {})
        if not isinstance(session, dict):
            self._malformed("session.update")
            return
        try:
            self._config.update(session, self._settings.agents)
        except Refused as refused:
            self._refuse(refused.code, refused.message, refused.param)
            if not self._ready and refused.code != "invalid_format":
                self.end(1008, refused.code)
            return
        self._dialogue.tools = frozenset(self._config.tools)
        self.send("session.updated", config=self._config.echo())
        if not self._config.plausible:
            self._at("wrong_rate", self._settings.wrong_rate_close_s, self.fail)
        elif not self._ready:
            self._start()

    def _start(self) -> None:
        self._ready = True
        self._ear = self._hearing.open_ear(self._config.input_format, self._settings.commit_delay_s)
        self._at("expiry", self._settings.session_s, self._expire)
        self._send_ready()
        # a script that acts by itself speaks first even where the session is to listen first
        greeting = self._config.greeting or (self._script.file.greeting if self._greets else "")
        actions: list[Action] = [Say(greeting)] if greeting else []
        self._act([*actions, *self._dialogue.started()], greeting=True)

    def _send_ready(self) -> None:
        self.send(
            "session.ready",
            session_id=self.session_id,
            config=self._config.echo(),
            expires_at=int(self._began_at + self._settings.session_s),
            resume_token=self.resume_token,
        )

    def _finish(self) -> None:
        self.send(
            "session.ended",
            session_duration_seconds=time.time() - self._began_at,
            audio_duration_seconds=None,
        )
        self.end(1000, "session ended")

    def _expire(self) -> None:
        self._refuse("session_expired", "Session duration limit reached")
        self.end(1008, "session expired")

    def _take_note(self, received: dict[str, Any]) -> bool:
        return received.get("role") in ("user", "system") and isinstance(received.get("content"), str)

    def _create_reply(self, received: dict[str, Any]) -> bool:
        instructions = received.get("instructions")
        if instructions is not None and not isinstance(instructions, str):
            return False
        if self._mouth.reply is not None and self._mouth.reply.greeting:
            self._mouth.interrupt()  # it replaces the greeting (reference 3.6)
        self._act(self._dialogue.instructed(instructions or ""))
        return True

    def _cancel_reply(self, received: dict[str, Any]) -> bool:
        if self._mouth.reply is not None and received.get("reply_id") == self._mouth.reply.reply_id:
            self._mouth.interrupt()
        return isinstance(received.get("reply_id"), str)

    # Hearing

    def _hear(self, received: dict[str, Any]) -> bool:
        audio = received.get("audio")
        if not isinstance(audio, str):
            return False
        try:
            sound = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            self._refuse("invalid_audio", "Invalid audio data")
            return True
        if self._ear is not None:
            self._notice(self._ear.feed(sound))
            if self._ear.speaking:
                self._at("quiet", _QUIET_S, self._hear_nothing)
        return True

    def _hear_nothing(self) -> None:
        if self._ear is not None:
            self._notice(self._ear.finish())

    def _notice(self, found: list[SpeechBegan | SpeechEnded]) -> None:
        for event in found:
            if isinstance(event, SpeechBegan):
                self._speech_began()
            elif self._discarding:
                self._discarding = False
            elif not self._utterances.full():
                self._utterances.put_nowait(event)

    def _speech_began(self) -> None:
        self._cancel("no_input")
        reply = self._mouth.reply
        if reply is None:
            self.send("input.speech.started")
        elif reply.greeting and self._config.greeting_uninterruptible:
            self._discarding = True
        elif self._config.interruptible:
            self.send("input.speech.started")
            self._mouth.interrupt()
            self._mouth.forget()

    async def _listen(self) -> None:
        """Recognise utterances one after the other and answer them."""
        while True:
            utterance = await self._utterances.get()
            text = await self._hearing.recognise(utterance.pcm, self._script.grammar)
            await self._not_held.wait()  # while a tool holds the line, turns are withheld (reference 2.6)
            item_id = new_id("msg")
            words = (text or NOT_UNDERSTOOD).split()
            for count in range(1, len(words) + 1):
                self.send("transcript.user.delta", item_id=item_id, text=" ".join(words[:count]))
            self.send("input.speech.stopped")
            self.send("transcript.user", item_id=item_id, text=" ".join(words))
            self._act(self._dialogue.heard(text) if text else self._dialogue.not_understood())

    # Speaking

    @property
    def connected(self) -> bool:
        """Whether a client is there."""
        return self._connection is not None

    async def room(self) -> None:
        """Wait until the client reads."""
        if self._connection is not None:
            await self._connection.room()

    def reply_ended(self, after_s: float) -> None:
        """A reply is complete: from when it was played, the caller is expected to speak."""
        self._await_input(after_s)

    def _act(self, actions: list[Action], *, greeting: bool = False) -> None:
        """Make one reply of the script's actions."""
        text = " ".join(action.text for action in actions if isinstance(action, Say))
        calls = tuple(action for action in actions if not isinstance(action, Say))
        if HANG_UP_TOOL not in self._config.tools:
            calls = tuple(call for call in calls if not isinstance(call, HangUp))
        if text or calls:
            self._cancel("no_input")
            self._mouth.want(Wanted(text, calls, greeting))
        else:
            self._await_input()

    # Tools

    def call(self, call: CallTool | HangUp) -> None:
        """Call a tool that the session declares; others are left out."""
        name, arguments, key = HANG_UP_TOOL, dict[str, Any](), None
        if isinstance(call, CallTool):
            name, arguments, key = call.name, call.arguments, call.key
        tool = self._config.tools.get(name)
        if tool is None or len(self._tool_calls) >= _MOST_TOOL_CALLS:
            return
        call_id = new_id("call")
        self._tool_calls[call_id] = (key, tool.hold)
        if tool.hold:
            self._not_held.clear()
        self._at(call_id, tool.timeout_s, lambda: self._answer(call_id, "", failed=True))
        self.send("tool.call", call_id=call_id, name=name, arguments=tool.typed(arguments))

    def _take_result(self, received: dict[str, Any]) -> bool:
        call_id, result = received.get("call_id"), received.get("result")
        if not isinstance(call_id, str) or not isinstance(result, str):
            return False
        self._answer(call_id, result, failed=received.get("is_error") is True)
        return True

    def _answer(self, call_id: str, result: str, *, failed: bool) -> None:
        """A tool has answered or run out of time; an unknown call is no news (reference 13.7)."""
        if call_id not in self._tool_calls:
            return
        key, _ = self._tool_calls.pop(call_id)
        self._cancel(call_id)
        if not any(hold for _, hold in self._tool_calls.values()):
            self._not_held.set()
        if key is not None:
            self._act(self._dialogue.tool_result(key, result, failed=failed))

    # The clock

    def _await_input(self, after_s: float = 0.0) -> None:
        """Expect the caller to say something from now on."""
        rule = self._script.file.no_input
        if (rule.say or rule.finally_) and self._mouth.idle and not self._tool_calls:
            self._at("no_input", max(0.0, after_s) + rule.after_s, self._hear_no_input)

    def _hear_no_input(self) -> None:
        if self._connection is not None and self._utterances.empty():
            self._act(self._dialogue.no_input())

    def _at(self, name: str, after_s: float, do: Callable[[], None]) -> None:
        self._cancel(name)
        if not self._ended.is_set():
            self._timers[name] = asyncio.get_running_loop().call_later(after_s, self._fire, name, do)

    def _fire(self, name: str, do: Callable[[], None]) -> None:
        self._timers.pop(name, None)
        do()

    def _cancel(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def send(self, kind: str, **fields: Any) -> None:
        """Send an event to the client, if it is there."""
        if self._connection is not None:
            self._connection.send(message(kind, **fields))

    def _refuse(self, code: str, reason: str, param: str | None = None) -> None:
        if self._connection is not None:
            self._connection.refuse(
                code, reason, param=param, session_id=self.session_id if self._ready else None
            )
