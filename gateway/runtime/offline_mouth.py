"""The speaking half of one offline session: replies one after the other, at the profile's pace, until interrupted.

Owns the queue of wanted replies, the reply on the wire and its cut (reference sections 2.3, 4.6 to 4.10, 5.3). Refuses to
decide what to say, when to interrupt, and what a tool is: it asks its `Listener`.
"""

import asyncio
import base64
import secrets
from collections import deque
from typing import Any, Final, Protocol

from gateway.agents.offline import CallTool, HangUp, OfflineSettings
from gateway.runtime.offline_config import SessionConfig
from gateway.runtime.offline_reply import Reply, Wanted, encode_speech, words_of
from gateway.runtime.speaking import Speaking

_STEP_S: Final = 0.02  # how often the pace looks at the clock; several small chunks go out together
_MOST_WANTED: Final = 16


class Listener(Protocol):
    """What the mouth needs of its session."""

    @property
    def connected(self) -> bool:
        """Whether anybody is there to speak to."""

    def send(self, kind: str, **fields: Any) -> None:
        """Send an event, if anybody is there."""

    async def room(self) -> None:
        """Wait until the events sent so far are being read."""

    def call(self, call: CallTool | HangUp) -> None:
        """Call a tool, now that what comes before it was said."""

    def reply_ended(self, after_s: float) -> None:
        """A reply is complete; its sound will have been played in ``after_s`` seconds."""


class Mouth:
    """Speaks for one session; `run` carries it."""

    def __init__(
        self, listener: Listener, config: SessionConfig, settings: OfflineSettings, speaking: Speaking
    ) -> None:
        self.reply: Reply | None = None
        """The reply that is being sent."""
        self._listener = listener
        self._config = config
        self._settings = settings
        self._speaking = speaking
        self._wanted: deque[Wanted] = deque(maxlen=_MOST_WANTED)
        self._more = asyncio.Event()
        self._preparing = False
        self._began_s = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is being said and nothing waits to be."""
        return self.reply is None and not self._wanted and not self._preparing

    def want(self, wanted: Wanted) -> None:
        """Say this after all that waits; beyond 16 the oldest is forgotten."""
        self._wanted.append(wanted)
        self._more.set()

    def forget(self) -> None:
        """Say nothing of what waits."""
        self._wanted.clear()

    def drop(self) -> None:
        """Stop without a word: nobody listens any more."""
        self.reply = None
        self.forget()

    def interrupt(self) -> None:
        """Cut the reply: nothing more of it is sent, and its text is what was spoken (reference 2.3)."""
        reply, self.reply = self.reply, None
        if reply is None:
            return
        send = self._listener.send
        if reply.text:
            spoken = reply.spoken_until((_now() - self._began_s) * 1000)
            send(
                "transcript.agent",
                reply_id=reply.reply_id,
                item_id=reply.item_id,
                text=spoken,
                interrupted=True,
            )
        send("reply.done", reply_id=reply.reply_id, status="interrupted")

    async def run(self) -> None:
        """Give the wanted replies one after the other, for ever."""
        while True:
            while not self._wanted:
                self._more.clear()
                await self._more.wait()
            wanted = self._wanted.popleft()
            self._preparing = True
            try:
                reply = await self._prepare(wanted)
            finally:
                self._preparing = False
            if self._listener.connected:
                await self._give(reply, wanted)

    async def _prepare(self, wanted: Wanted) -> Reply:
        settings = self._settings
        target = self._config.output_format
        silence_ms = settings.greeting_silence_ms if wanted.greeting else settings.reply_silence_ms
        if not wanted.greeting:
            await asyncio.sleep(settings.reply_delay_s)
        if not wanted.text:
            sound = target.silence(settings.preamble_ms)
        elif settings.reply_audio:
            sound = settings.reply_audio
        else:
            speech = await self._speaking.speak(wanted.text)
            sound = encode_speech(speech, target, silence_ms, self._config.volume)
        words = words_of(wanted.text, silence_ms, target.ms(len(sound)) - silence_ms)
        return Reply(new_id("resp"), new_id("msg"), wanted.text, words, sound, target, wanted.greeting)

    async def _give(self, reply: Reply, wanted: Wanted) -> None:
        """Send one reply at the profile's pace; stops at once when it was interrupted."""
        listener = self._listener
        self.reply = reply
        self._began_s = _now()
        ids = {"reply_id": reply.reply_id, "item_id": reply.item_id}
        listener.send("reply.started", **ids)
        for word in reply.words:
            listener.send(
                "transcript.agent.delta", **ids, delta=word.text, start_ms=word.start_ms, end_ms=word.end_ms
            )
        if not await self._send_sound(reply):
            return
        if reply.text:
            listener.send("transcript.agent", **ids, text=reply.text, interrupted=False)
        for call in wanted.calls:
            listener.call(call)
        ends_s = self._began_s + reply.duration_ms / 1000
        if self._settings.profile == "realtime":
            await _wait_until(ends_s)
        if self.reply is reply:
            self.reply = None
            listener.send("reply.done", reply_id=reply.reply_id, status="completed")
            listener.reply_ended(max(0.0, ends_s - _now()))

    async def _send_sound(self, reply: Reply) -> bool:
        """Send all chunks; ``False`` if the reply was stopped meanwhile.

        The places are absolute: after a stall the chunks that are due go out at once.
        """
        realtime = self._settings.profile == "realtime"
        began_s = self._began_s - self._settings.lead_ms / 1000
        for at_ms, chunk in reply.chunks():
            due_s = began_s + at_ms / 1000
            if realtime and due_s > _now():
                await asyncio.sleep(_STEP_S)
                await _wait_until(due_s)
            await self._listener.room()
            if self.reply is not reply:
                return False
            self._listener.send("reply.audio", reply_id=reply.reply_id, data=base64.b64encode(chunk).decode())
        return self.reply is reply


async def _wait_until(at_s: float) -> None:
    if (left_s := at_s - _now()) > 0:
        await asyncio.sleep(left_s)


def _now() -> float:
    return asyncio.get_running_loop().time()


def new_id(kind: str) -> str:
    """An opaque id in the service's shape."""
    return f"{kind}_{secrets.token_hex(16)}"
