"""One media socket of a call under test: it speaks at real time, plays what comes, and answers marks and clears.

Owns the connection, its clock, and the record of what was sent and what came. What messages mean is the speaker's.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import cycle

from msgspec import Struct
from websockets.exceptions import ConnectionClosed

from gateway.certify.speaker import ClearAsked, Heard, MarkAsked, Message, Ready, Sound, Speaker, Way, Wrong
from gateway.simulate.browser_playback import PlayedReplies
from gateway.simulate.media_socket import MediaSocket, open_socket
from gateway.simulate.playback import PlaybackBuffer, PlayedMark

FRAME_MS = 20
TICK_S = 0.004


class ClearSeen(Struct, frozen=True):
    """A clear that came."""

    at: float
    """When, on the monotonic clock."""
    received_bytes: int
    """Sound that had come until then."""
    dropped_ms: float
    """Sound that it dropped."""


class Line:
    """One open connection; get it from `open_line`."""

    def __init__(self, speaker: Speaker, socket: MediaSocket) -> None:
        self.speaker = speaker
        self.received = bytearray()
        """The agent's sound, byte for byte."""
        self.sent = bytearray()
        """The caller's sound."""
        self.clears: list[ClearSeen] = []
        self.wrong: list[str] = []
        """What a carrier would not have accepted; the first hundred."""
        self.ready = asyncio.Event()
        self.closed = asyncio.Event()
        self.holds_marks = False
        """Keep marks that are reached or dropped for `take_held`."""
        self.late_ms = 0.0
        """How late this machine let the caller's clock be, at worst."""
        self.last_reply_id = ""
        """Whose sound came last, where the dialect says so."""
        self.buffer = PlaybackBuffer(speaker.audio, time.monotonic())
        self.buffer.limit_ms = speaker.buffer_ms
        self._socket = socket
        self._voice: deque[bytes] = deque()
        self._due = time.monotonic()
        self._held: list[PlayedMark] = []
        self._replies = PlayedReplies()
        self._report_at = 0.0
        self._reads = asyncio.Event()
        self._reads.set()

    @property
    def close_code(self) -> int | None:
        """With which code the gateway closed."""
        return self._socket.close_code

    @property
    def queued_ms(self) -> float:
        """Sound that came and was not played yet."""
        self._return(self.buffer.advance(time.monotonic()))
        return self.buffer.queued_ms

    async def send(self, *messages: Message) -> None:
        """Send messages as they are."""
        for message in messages:
            await self._socket.send(message)

    def speak(self, voice: bytes, sizes: Iterable[int] = ()) -> None:
        """Say this at real time, in messages of these sizes over and over; 20 ms each where none are given."""
        given = cycle(list(sizes) or [self.speaker.audio.frame_bytes(FRAME_MS)])
        at = 0
        while at < len(voice):
            size = next(given)
            self._voice.append(voice[at : at + size])
            at += size

    @property
    def is_speaking(self) -> bool:
        """Whether something is still to be said."""
        return bool(self._voice)

    def stop_reading(self) -> None:
        """Leave what comes unread."""
        self._reads.clear()

    def read_on(self) -> None:
        """Read again."""
        self._reads.set()

    def take_held(self) -> list[Message]:
        """Hold no more marks; gives what a slow network would bring for those that were held."""
        held, self._held, self.holds_marks = self._held, [], False
        return [message for mark in held for message in self.speaker.played(mark.name)]

    def kill(self) -> None:
        """Cut the connection without a word."""
        self._socket.kill()

    async def close(self) -> None:
        """Close in the orderly way."""
        await self._socket.close()

    # At work

    async def run(self) -> None:
        """Speak, play and listen until the connection is gone."""
        async with asyncio.TaskGroup() as group:
            clock = group.create_task(self._keep_time())
            try:
                await self._listen()
            finally:
                clock.cancel()
                self.closed.set()

    async def _keep_time(self) -> None:
        self._due = before = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self.late_ms = max(self.late_ms, (now - before - TICK_S) * 1000)
            before = now
            self._return(self.buffer.advance(now))
            await self._say_marks()
            if now >= self._report_at:
                self._report_at = now + self.speaker.report_every_s
                for reply_id, ms in self._replies.advance(self.buffer.queued_ms):
                    await self.send(*self.speaker.progress(reply_id, ms))
            while self._due <= now and (self.ready.is_set() or not self.speaker.says_ready):
                await self._say_next()
            if not self.ready.is_set() and self.speaker.says_ready:
                self._due = now

    async def _say_next(self) -> None:
        audio = self.speaker.audio
        piece = self._voice.popleft() if self._voice else audio.silence(FRAME_MS)
        self._due += audio.ms(len(piece)) / 1000
        self.sent += piece
        await self.send(self.speaker.speak(piece))

    async def _listen(self) -> None:
        messages = self._socket.messages()
        while True:
            await self._reads.wait()
            try:
                message = await anext(messages)
            except StopAsyncIteration:
                return
            for heard in self.speaker.read(message):
                await self._take(heard)

    async def _take(self, heard: Heard) -> None:
        now = time.monotonic()
        match heard:
            case Ready():
                self.ready.set()
            case Sound(audio, reply_id):
                self.received += audio
                self.last_reply_id = reply_id
                self._return(self.buffer.append(audio, now))
                self._replies.queue(reply_id, self.speaker.audio.ms(len(audio)))
            case MarkAsked(name):
                self._return(self.buffer.mark(name, now))
            case ClearAsked():
                reached, cleared = self.buffer.clear(now)
                self._replies.advance(cleared.discarded_ms)
                self._replies.clear()
                self.clears.append(ClearSeen(now, len(self.received), cleared.discarded_ms))
                self._return([*reached, *cleared.marks])
                await self.send(*self.speaker.cleared())
            case Wrong(sentence) if len(self.wrong) < 100:
                self.wrong.append(sentence)
        await self._say_marks()

    def _return(self, marks: list[PlayedMark]) -> None:
        self._held.extend(marks)

    async def _say_marks(self) -> None:
        if self.holds_marks:
            return
        held, self._held = self._held, []
        for mark in held:
            await self.send(*self.speaker.played(mark.name, dropped=mark.discarded))


@asynccontextmanager
async def open_line(speaker: Speaker, way: Way) -> AsyncIterator[Line]:
    """Open a connection and say what is said first; it is cut at the end, however far it came.

    Raises:
        SocketError: when it cannot be opened.
    """
    socket = await open_socket(way.url, way.headers, None)
    line = Line(speaker, socket)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_quietly(line))
        try:
            await line.send(*speaker.begin())
            yield line
        except Exception as error:  # noqa: BLE001 - raised below, not in a group
            failure = error
        finally:
            line.kill()
            running.cancel()
    if failure is not None:
        raise failure


async def _quietly(line: Line) -> None:
    try:
        await line.run()
    except ConnectionClosed:
        return
