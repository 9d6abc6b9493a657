"""Legs: one side's connection, as events to read and commands to post.

Owns the outbox, its bounds and its order, and how long a connection may take to close. Knows no conversation:
what a lost connection means is the machine's.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import aiohttp
from aiohttp import web

from gateway.commands import Clear, Command, Mark, Play, SendAudio
from gateway.contracts import Codec
from gateway.errors import WireError
from gateway.events import AnyEvent, CallerLeft, CallStarted, Event
from gateway.redaction import REDACTION
from gateway.runtime.agent_sound import AgentSound
from gateway.runtime.bell import Bell
from gateway.runtime.leg_bounds import LegBounds
from gateway.runtime.pieces import PIECE_BYTES, cut_up
from gateway.runtime.reading import Reading
from gateway.runtime.sound_share import SoundShare
from gateway.runtime.wires import LocalSession, LocalWire, WebSocketWire, Wire, open_wire

__all__ = ["LegBounds", "LocalSession", "LocalWire", "WebSocketLeg", "WebSocketWire", "Wire", "WireLeg"]

MESSAGE_MS: Final = 200.0
"""Most audio in one message to an agent (reference: Voice Agent API, 1.2)."""
_BEGIN_OR_END: Final = frozenset({CallStarted, CallerLeft})
UNREADABLE_CODE: Final = 1008
"""Close code for a peer that sends what its dialect does not know."""


class WireLeg:
    """A side's connection: a wire and the codec that speaks its dialect.

    `write` must run beside the reading for as long as the leg lives. What a codec raises besides `WireError` is a
    bug, and comes out of the reading or of `write`.
    """

    def __init__(
        self, wire: Wire, codec: Codec, *, bounds: LegBounds | None = None, sound: AgentSound | None = None
    ) -> None:
        self.codec = codec
        self.dropped_ms = 0.0
        """Audio that was dropped because the peer did not read."""
        self.wire_errors = 0
        """Messages that the codec could not read."""
        self.last_error = ""
        """What was wrong with the last of them."""
        self._wire = wire
        self._bounds = bounds or LegBounds()
        self._sound = sound
        self._loop = asyncio.get_running_loop()
        # Reading
        self._read: deque[AnyEvent] = deque(_ask_codec(codec, "opening"))
        self._pieces: list[Event] = []  # what is left of a long message
        self._first_by: float | None = None
        self._heard = self._bounds.first_message_s is None
        self._over = False
        self._sound_share = SoundShare(math.inf, 0.0)  # no bound; a leg that has one puts its own here
        self._errors_in_a_row = 0
        # what the next message means, where that is known
        self._decoded: list[Event] | Exception | None = None
        self.take: Callable[[AnyEvent], bool] | None = None
        """Takes an event where it is heard, save a call's first and last; False leaves it to who reads. Never raises."""
        self.tell: Callable[[AnyEvent], None] | None = None
        """Is told what the connection itself shows of its peer, at any time. Never raises."""
        self._is_awaited = False  # somebody waits for the next event for a limited time: it must reach them
        wire.hear = self._hear_at_once
        # Writing
        self._outbox: deque[tuple[float, Command]] = deque()
        self._waiting_bytes = 0
        wire_audio, limit_s = (sound.wire if sound else None), self._bounds.audio_s
        self._message_bytes = wire_audio.frame_bytes(MESSAGE_MS) if wire_audio else 0
        self._limit_bytes = wire_audio.frame_bytes(limit_s * 1000) if wire_audio and limit_s else None
        self._writing = False
        self._resting = False  # the writer waits for something to send
        self._sending_since: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._wake = Bell()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._closing = self._gone = False
        self._our_code: int | None = None

    @property
    def ended_with(self) -> int:
        """The close code with which the connection ended, whoever sent it; 1006 where it broke."""
        return self._our_code or self._wire.close_code

    @property
    def close_code(self) -> int:
        """The code with which the peer closed the connection; 1006 without one."""
        return self._wire.close_code

    @property
    def close_reason(self) -> str:
        """The peer's reason, or what broke."""
        return self._wire.close_reason

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed the connection."""
        return not (self._gone or self._closing)

    # Reading

    def __aiter__(self) -> AsyncIterator[AnyEvent]:
        """Give the events in order; ends when the connection has. Whoever reads next goes on from there."""
        return Reading(self.next_event)

    async def next_event(self) -> AnyEvent:
        """Wait for an event; raises StopAsyncIteration when the connection has ended."""
        while not self._read:
            if pause_s := self._sound_share.pause_s(self._loop.time()):
                await asyncio.sleep(pause_s)
            elif self._pieces:
                await asyncio.sleep(0)  # a long message is more than a moment's work: others come in between
                self._read.extend(self._events_of(self._pieces.pop(0)))
            elif self._over:
                raise StopAsyncIteration
            else:
                await self._read_message()
        return self._read.popleft()

    async def _read_message(self) -> None:
        message = await (self._wire.receive() if self._heard else self._first_message())
        if message is None:
            self._end_reading()
            return
        try:
            events = self._decode(message)
        except WireError as error:
            await self._answer(error)
            return
        self._errors_in_a_row = 0
        if len(message) <= PIECE_BYTES:
            for event in events:
                self._read.extend(self._events_of(event))
        else:
            self._pieces.extend(piece for event in events for piece in cut_up(event))
        if getattr(self.codec, "ended", False):  # nothing more will come, whoever closes
            await self._shut(1000, "")
            self._end_reading()

    def _decode(self, message: str | bytes) -> list[Event]:
        decoded, self._decoded = self._decoded, None
        if isinstance(decoded, Exception):
            raise decoded
        return self.codec.decode(message) if decoded is None else decoded

    def _hear_at_once(self, message: str | bytes) -> bool:
        """Let events be taken where they are heard; False leaves the message, or what is left of it, to who reads."""
        take = self.take
        if (
            take is None
            or self._is_awaited
            or not self._heard
            or len(message) > PIECE_BYTES
            or (self._sound_share.may_be_spent and self._sound_share.pause_s(self._loop.time()))
        ):
            return False
        try:
            events = self.codec.decode(message)
        except Exception as error:  # noqa: BLE001 - whoever reads answers it, or raises it
            self._decoded = error
            return False
        self._errors_in_a_row = 0
        read = self._read
        for event in events:
            for told in self._events_of(event):
                if read or type(told) in _BEGIN_OR_END or not take(told):
                    read.append(told)
        if read or getattr(self.codec, "ended", False):
            self._decoded = []
            return False
        return True

    def _events_of(self, event: Event) -> Sequence[AnyEvent]:
        """What an event of the wire is in the call."""
        return self._sound.events(event) if self._sound else (event,)  # type: ignore[return-value]

    async def _first_message(self) -> str | bytes | None:
        limit_s = self._bounds.first_message_s
        if self._first_by is None and limit_s is not None:
            self._first_by = self._loop.time() + limit_s
        try:
            async with asyncio.timeout_at(self._first_by):
                message = await self._wire.receive()
        except TimeoutError:
            why = f"nothing was said for {limit_s:g} s after the connection opened"
            await self._shut(UNREADABLE_CODE, why)
            return None
        self._heard = True
        return message

    def _end_reading(self) -> None:
        self._over = self._gone = True
        self._wire.hear = None  # or they would keep each other
        self._wake.ring()
        self._read.extend(_ask_codec(self.codec, "closed", self.close_code, self.close_reason))

    async def _answer(self, error: WireError) -> None:
        """Tell the peer what was wrong; after a fatal one, or too many in a row, close."""
        sentence = self.last_error = REDACTION.without_secrets(str(error))
        self.wire_errors += 1
        self._errors_in_a_row += 1 if not error.fatal else self._bounds.wire_errors
        try:
            # sent from here, not posted: who sends nonsense and does not read our answers is not read either
            async with asyncio.timeout(self._bounds.send_s):
                for message in _ask_codec(self.codec, "refuse", sentence):
                    is_text = isinstance(message, str)
                    await self._wire.send(REDACTION.without_secrets(message) if is_text else message)
        except (ConnectionError, TimeoutError):
            self._errors_in_a_row = self._bounds.wire_errors
        if self._errors_in_a_row >= self._bounds.wire_errors:
            await self._shut(UNREADABLE_CODE, sentence)
            self._end_reading()

    # Writing

    def post(self, command: Command) -> None:
        """Hand over a command; never waits and never raises for the peer's sake.

        It is sent at once when nothing waits and the peer reads; else `write` does it in its turn.
        """
        if self._gone or self._closing:
            return
        fits = True
        if type(command) is SendAudio and (sound := self._sound):
            if not sound.is_same:
                command = SendAudio(sound.convert(command.audio))
                if not command.audio:
                    return  # the filter holds it
            fits = len(command.audio) <= self._message_bytes
        wire = self._wire
        if not (fits and self._resting and not self._outbox and wire.takes_at_once):
            self._queue(command)
            return
        try:
            for message in self.codec.encode(command):
                wire.send_at_once(message)
        except ConnectionError:
            pass  # who reads learns of it too

    def _queue(self, command: Command) -> None:
        now = self._loop.time()
        if isinstance(command, SendAudio) and self._sound:
            self._post_audio(command, self._sound, now)
        elif isinstance(command, Clear):
            # what waits here was never sent: the clear must not queue behind it
            waits = (item for item in self._outbox if not isinstance(item[1], Play | Mark))
            self._outbox = deque([(now, command), *waits])
        else:
            self._outbox.append((now, command))
        if not self._outbox:
            return
        self._flushed.clear()
        self._wake.ring()
        if self._watch is None:
            self._watch = self._loop.call_at(now + self._bounds.send_s, self._look_after)

    def _post_audio(self, command: SendAudio, sound: AgentSound, now: float) -> None:
        audio, size = command.audio, self._message_bytes
        if len(audio) <= size:
            self._outbox.append((now, command))
        else:
            for at in range(0, len(audio), size):
                self._outbox.append((now, SendAudio(audio[at : at + size])))
        self._waiting_bytes += len(audio)
        if self._limit_bytes is not None and self._waiting_bytes > self._limit_bytes:
            self._drop_oldest(sound, self._limit_bytes)

    def _drop_oldest(self, sound: AgentSound, limit_bytes: int) -> None:
        kept: deque[tuple[float, Command]] = deque()
        for item in self._outbox:
            if self._waiting_bytes > limit_bytes and isinstance(item[1], SendAudio):
                self._waiting_bytes -= len(item[1].audio)
                self.dropped_ms += sound.wire.ms(len(item[1].audio))
            else:
                kept.append(item)
        self._outbox = kept

    def _look_after(self) -> None:
        """A peer that does not read is as gone as one that hung up; one timer per leg, not one per message."""
        self._watch = None
        waits = [self._outbox[0][0]] if self._outbox else []
        if self._sending_since is not None:
            waits.append(self._sending_since)
        if not waits or self._patience is None:
            return
        gone_at = min(waits) + self._bounds.send_s
        if self._loop.time() < gone_at:
            self._watch = self._loop.call_at(gone_at, self._look_after)
        else:
            self._patience.reschedule(self._loop.time())

    async def write(self) -> None:
        """Send what is posted, in order, until the connection is gone or closed; only one at a time does."""
        if self._writing:
            return
        self._writing = True
        try:
            async with asyncio.timeout(None) as patience:
                self._patience = patience
                try:
                    await self._send_outbox()
                finally:
                    self._patience = None
        except (ConnectionError, TimeoutError):
            await self._shut(1011, "what was sent was not read in time")
        finally:
            self._writing = False
            self._flushed.set()
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None

    async def _send_outbox(self) -> None:
        while not self._gone:
            while self._outbox and not self._gone:
                command = self._take()
                for message in self.codec.encode(command):
                    await self._wire.send(message)
            self._sending_since = None
            self._flushed.set()
            if self._closing:
                return
            self._resting = True
            await self._wake.wait()
            self._resting = False

    def _take(self) -> Command:
        self._sending_since, command = self._outbox.popleft()
        if not isinstance(command, SendAudio) or self._sound is None:
            return command
        # frames go out one by one as they come; only what already waits is merged
        audio = command.audio
        while self._outbox and isinstance(after := self._outbox[0][1], SendAudio):
            if len(audio) + len(after.audio) > self._message_bytes:
                break
            audio += after.audio
            self._outbox.popleft()
        self._waiting_bytes -= len(audio)
        return command if audio is command.audio else SendAudio(audio)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Flush and close, in bounded time; closing again does nothing."""
        if self._closing:
            return
        self._closing = True
        self._wake.ring()
        until = self._loop.time() + self._bounds.close_s
        try:
            async with asyncio.timeout_at(until - self._bounds.close_s / 2):
                await self._flushed.wait()
        except TimeoutError:
            pass
        finally:
            await self._shut(code, reason, until)

    async def _shut(self, code: int, reason: str, until: float | None = None) -> None:
        if not self._gone:
            self._our_code = code
        self._gone = True
        self._wire.hear = None
        self._wake.ring()
        try:
            async with asyncio.timeout_at(until or self._loop.time() + self._bounds.close_s):
                await self._wire.close(code, reason)
        except (TimeoutError, ConnectionError):
            pass


class WebSocketLeg(WireLeg):
    """A leg over a WebSocket of aiohttp, or over the wire of one that was read before."""

    def __init__(
        self,
        socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse | WebSocketWire,
        codec: Codec,
        *,
        bounds: LegBounds | None = None,
        sound: AgentSound | None = None,
    ) -> None:
        bounds = bounds or LegBounds()
        wire = socket if isinstance(socket, WebSocketWire) else open_wire(socket, bounds.messages_s)
        super().__init__(wire, codec, bounds=bounds, sound=sound)


def _ask_codec(codec: Codec, name: str, *arguments: object) -> list[Any]:
    """What a codec says to something that not every dialect has words for: ``opening``, ``closed``, ``refuse``."""
    method: Callable[..., list[Any]] | None = getattr(codec, name, None)
    return method(*arguments) if method else []
