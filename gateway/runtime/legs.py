"""Legs: one side's connection, as events to read and commands to post.

Owns the outbox, its bounds and its order, the sound's conversion towards an agent, and how long a connection
may take to close. Knows no conversation: what a lost connection means is the machine's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import aiohttp
import msgspec
from aiohttp import web

from gateway.audio import AudioFormat, Converter, level_dbfs
from gateway.contracts import Codec
from gateway.errors import WireError
from gateway.events import (
    AnyEvent,
    Clear,
    Command,
    Event,
    Mark,
    Play,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SendAudio,
)

FRAME_MS: Final = 20.0
"""Size into which an agent's sound is cut."""
MERGE_BYTES: Final = 9600
"""Most audio that is sent to an agent in one message when some had to wait: 200 ms at 24 kHz."""
UNREADABLE_CODE: Final = 1008
"""Close code for a peer that sends what its dialect does not know."""


class LegBounds(msgspec.Struct, frozen=True):
    """What a connection may cost."""

    wire_errors: int = 10
    """Unreadable messages in a row after which it is closed."""
    send_s: float = 10.0
    """How long the peer may take to read what was sent, before it counts as gone."""
    close_s: float = 5.0
    """How long flushing and closing may take."""
    audio_s: float | None = None
    """Seconds of `SendAudio` that may wait; older audio is dropped. None drops nothing."""
    first_message_s: float | None = None
    """How long a new connection may say nothing."""


class Wire(Protocol):
    """A connection that carries messages; any library, or none."""

    close_code: int
    """1006 until the peer or we have closed it."""
    close_reason: str

    async def receive(self) -> str | bytes | None:
        """Wait for a message; None once the connection is gone."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send a message; raises ConnectionError when that is impossible."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close; closing again does nothing."""
        ...


class WebSocketWire:
    """A WebSocket of aiohttp, server's or client's."""

    def __init__(self, socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.close_code = 1006
        self.close_reason = ""

    async def receive(self) -> str | bytes | None:
        """Wait for a message; None once the connection is gone."""
        message = await self._socket.receive()
        if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            return message.data  # type: ignore[no-any-return]
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.close_reason = str(message.extra or "")
        self.close_code = self._socket.close_code or 1006
        return None

    async def send(self, message: str | bytes) -> None:
        """Send a message; raises ConnectionError when the connection is gone."""
        try:
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)
        except (aiohttp.ClientError, RuntimeError) as error:  # aiohttp's words for a closed socket
            raise ConnectionError(str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason of at most 123 bytes."""
        await self._socket.close(code=code, message=reason.encode()[:123])


class LocalSession(Protocol):
    """An agent's session in this process, as `gateway.runtime.offline_session` gives it."""

    close_code: int | None
    close_reason: str

    async def receive(self, text: str) -> None:
        """Take a message."""
        ...

    def __aiter__(self) -> AsyncIterator[str]:
        """Give its messages."""
        ...

    async def disconnect(self) -> None:
        """The connection is gone."""
        ...


class LocalWire:
    """A session in this process, as if it were a connection."""

    def __init__(self, session: LocalSession) -> None:
        self._session = session
        self._messages = aiter(session)
        self.close_code = 1006
        self.close_reason = ""

    async def receive(self) -> str | bytes | None:
        """Wait for a message; None once the session is gone."""
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            self.close_code = self._session.close_code or 1006
            self.close_reason = self._session.close_reason
            return None

    async def send(self, message: str | bytes) -> None:
        """Hand over a message."""
        await self._session.receive(message if isinstance(message, str) else message.decode())

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - nobody reads them in one process
        """Let the session know that nobody listens any more."""
        await self._session.disconnect()


class AgentSound:
    """The sound of an agent's wire, in the call's format and in frames, both ways.

    A reply's filter is flushed at its end and reset at its interruption; the frames of a reply follow each
    other without a gap whatever the size of the agent's chunks.
    """

    def __init__(self, wire: AudioFormat, call: AudioFormat) -> None:
        self.wire = wire
        """Format on the wire."""
        self._call = call
        self._frame_bytes = call.frame_bytes(FRAME_MS)
        self._to_call = Converter(wire, call)
        self._to_wire = Converter(call, wire)
        self._rest = b""

    def events(self, event: Event) -> list[Event]:
        """Turn an event of the wire into events of the call."""
        match event:
            case ReplyAudio(reply_id=reply_id, audio=audio):
                return self._frames(reply_id, self._to_call.feed(audio), last=False)
            case ReplyStarted():
                self._to_call.reset()
                self._rest = b""
                return [event]
            case ReplyEnded(interrupted=False, reply_id=reply_id):
                return [*self._frames(reply_id, self._to_call.flush(), last=True), event]
            case _:
                return [event]

    def command(self, command: SendAudio) -> SendAudio:
        """Turn the caller's sound into the wire's."""
        return SendAudio(self._to_wire.feed(command.audio))

    def _frames(self, reply_id: str, audio: bytes, *, last: bool) -> list[Event]:
        audio = self._rest + audio
        size = self._frame_bytes
        end = len(audio) if last else len(audio) // size * size
        self._rest = audio[end:]
        pieces = (audio[at : min(at + size, end)] for at in range(0, end, size))
        return [ReplyAudio(reply_id, piece, level_dbfs(piece, self._call)) for piece in pieces]


class WireLeg:
    """A side's connection: a wire and the codec that speaks its dialect.

    `write` must run beside the reading for as long as the leg lives.
    """

    def __init__(
        self, wire: Wire, codec: Codec, *, bounds: LegBounds | None = None, sound: AgentSound | None = None
    ) -> None:
        self.codec = codec
        self.dropped_ms = 0.0
        """Audio that was dropped because the peer did not read."""
        self.wire_errors = 0
        """Messages that the codec could not read."""
        self._wire = wire
        self._bounds = bounds or LegBounds()
        self._sound = sound
        self._outbox: deque[Command] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._closing = self._gone = False

    @property
    def close_code(self) -> int:
        """The code with which the connection was closed; 1006 without one."""
        return self._wire.close_code

    @property
    def close_reason(self) -> str:
        """The peer's reason, or ours."""
        return self._wire.close_reason

    # Reading

    async def __aiter__(self) -> AsyncIterator[AnyEvent]:
        """Give the events in order; ends when the connection has."""
        opening: Callable[[], list[Any]] | None = getattr(self.codec, "opening", None)
        for event in opening() if opening else ():
            yield event
        errors_in_a_row = 0
        limit_s = self._bounds.first_message_s
        while (message := await self._next_message(limit_s)) is not None:
            limit_s = None
            try:
                events = self.codec.decode(message)
            except WireError as error:
                self.wire_errors += 1
                errors_in_a_row += 1
                if await self._give_up(errors_in_a_row, str(error)):
                    break
                continue
            errors_in_a_row = 0
            for event in events:
                for piece in self._sound.events(event) if self._sound else (event,):
                    yield piece  # type: ignore[misc]
        self._gone = True
        self._wake.set()
        closed: Callable[[int, str], list[Any]] | None = getattr(self.codec, "closed", None)
        for event in closed(self.close_code, self.close_reason) if closed else ():
            yield event

    async def _next_message(self, limit_s: float | None) -> str | bytes | None:
        try:
            async with asyncio.timeout(limit_s):
                return await self._wire.receive()
        except TimeoutError:
            await self._shut(
                UNREADABLE_CODE, f"nothing was said for {limit_s:g} s after the connection opened"
            )
        except ConnectionError:
            pass
        return None

    async def _give_up(self, errors_in_a_row: int, sentence: str) -> bool:
        """Tell the peer what was wrong; True when it has been told too often."""
        refuse: Callable[[str], list[str | bytes]] | None = getattr(self.codec, "refuse", None)
        try:
            for message in refuse(sentence) if refuse else ():
                await self._send(message)
        except (ConnectionError, TimeoutError):
            return True
        if errors_in_a_row < self._bounds.wire_errors:
            return False
        await self._shut(UNREADABLE_CODE, sentence)
        return True

    # Writing

    def post(self, command: Command) -> None:
        """Hand over a command; never waits and never raises for the peer's sake."""
        if self._gone or self._closing:
            return
        if isinstance(command, SendAudio):
            if self._sound:
                command = self._sound.command(command)
            self._waiting_bytes += len(command.audio)
            self._drop_oldest()
        elif isinstance(command, Clear):
            # what waits here was never sent: the clear must not queue behind it
            self._outbox = deque(c for c in self._outbox if not isinstance(c, Play | Mark))
        self._outbox.append(command)
        self._flushed.clear()
        self._wake.set()

    async def write(self) -> None:
        """Send what is posted, in order, until the connection is gone or closed."""
        while not self._gone:
            while self._outbox and not self._gone:
                command = self._take()
                try:
                    for message in self.codec.encode(command):
                        await self._send(message)
                except (ConnectionError, TimeoutError):
                    # a peer that does not read is as gone as one that hung up
                    self._gone = True
                    await self._shut(1011, "the peer did not read in time")
            self._flushed.set()
            if self._closing:
                return
            self._wake.clear()
            if not self._outbox and not self._gone:
                await self._wake.wait()
        self._flushed.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Flush and close, in bounded time; closing again does nothing."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        try:
            async with asyncio.timeout(self._bounds.close_s):
                await self._flushed.wait()
        except TimeoutError:
            pass
        await self._shut(code, reason)

    async def _send(self, message: str | bytes) -> None:
        async with asyncio.timeout(self._bounds.send_s):
            await self._wire.send(message)

    async def _shut(self, code: int, reason: str) -> None:
        self._gone = True
        self._wake.set()
        try:
            async with asyncio.timeout(self._bounds.close_s):
                await self._wire.close(code, reason)
        except (TimeoutError, ConnectionError):
            pass

    def _take(self) -> Command:
        command = self._outbox.popleft()
        if not isinstance(command, SendAudio):
            return command
        audio = command.audio
        # frames go out one by one as they come; only what already waits is merged
        while self._outbox and isinstance(self._outbox[0], SendAudio) and len(audio) < MERGE_BYTES:
            audio += self._outbox.popleft().audio  # type: ignore[attr-defined]
        self._waiting_bytes -= len(audio)
        return SendAudio(audio)

    def _drop_oldest(self) -> None:
        limit_s = self._bounds.audio_s
        if limit_s is None or self._sound is None:
            return
        wire = self._sound.wire
        while self._waiting_bytes > wire.frame_bytes(limit_s * 1000):
            oldest = next(i for i, c in enumerate(self._outbox) if isinstance(c, SendAudio))
            audio = self._outbox[oldest].audio  # type: ignore[attr-defined]
            del self._outbox[oldest]
            self._waiting_bytes -= len(audio)
            self.dropped_ms += wire.ms(len(audio))


class WebSocketLeg(WireLeg):
    """A leg over a WebSocket of aiohttp."""

    def __init__(
        self,
        socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
        codec: Codec,
        *,
        bounds: LegBounds | None = None,
        sound: AgentSound | None = None,
    ) -> None:
        super().__init__(WebSocketWire(socket), codec, bounds=bounds, sound=sound)
