"""One media socket of a simulated Vonage call: from ``websocket:connected`` to its close.

Owns the socket and what passes over it, the carrier's strictness included: one wrong frame and the socket is
dropped, more than 3072 frames do not fit, a clear leaves notices unanswered. Refuses documents and webhooks.
"""

from collections import deque

import msgspec

from gateway.simulate.clock import Clock
from gateway.simulate.media_socket import MediaSocket, Slicer, open_socket
from gateway.simulate.ncco import Socket
from gateway.simulate.phone import Phone, Tick
from gateway.simulate.playback import PlayedMark
from gateway.simulate.script import FRAME_MS, CallerFaults
from gateway.simulate.vonage_wire import Clear, Notify, Refused, SocketWire, WrongFrame

BUFFER_FRAMES = 3072
"""What the carrier buffers for playing."""


class VonageStream:
    """One socket; `open` it, feed it ticks, `read` it until it closes, or `end` it."""

    def __init__(self, phone: Phone, clock: Clock, faults: CallerFaults, endpoint: Socket) -> None:
        self._phone = phone
        self._clock = clock
        self._faults = faults
        self._wire = SocketWire(endpoint.content_type, endpoint.rate_hz, endpoint.headers)
        self._slicer = Slicer(faults.frame_bytes)
        self._socket: MediaSocket | None = None
        self._returning: deque[tuple[float, PlayedMark]] = deque()
        self._overrun_ms = 0.0
        self._behind = False
        phone.limit_buffer(BUFFER_FRAMES * FRAME_MS)

    async def open(self, url: str, authorization: str) -> None:
        """Open the socket and send the message that begins it, or a frame of sound first when that is ordered.

        Raises:
            SocketError: when it cannot be opened.
        """
        headers = {"Authorization": authorization} if authorization else {}
        self._socket = await open_socket(url, headers, None)
        if self._faults.sound_first:
            await self._send(self._wire.format.silence(FRAME_MS))
        await self._send(self._wire.connected())

    async def send_tick(self, tick: Tick) -> None:
        """Send what one frame's time brought: answers to notices, a key, the voice."""
        await self._answer_notices(tick.marks)
        if tick.digit:
            await self._send(self._wire.dtmf(tick.digit))
        for piece in self._slicer.cut(tick.audio):
            if await self._send(piece):
                self._phone.sent(piece)

    async def read(self) -> None:
        """Take what the gateway sends until the socket closes."""
        socket = self._open_socket
        async for message in socket.messages():
            await self._take(message)
            if self._faults.read_every_s:
                await self._clock.sleep(self._faults.read_every_s)
        self._phone.result.close_code = socket.close_code
        self._phone.result.close_reason = socket.close_reason
        reason = f" ({socket.close_reason})" if socket.close_reason else ""
        self._phone.note(
            "socket", f"the media socket was closed, {socket.close_code}{reason}", self._clock.now()
        )

    async def end(self) -> None:
        """Close the socket from the carrier's side; there is no word for it."""
        await self._open_socket.close()

    def kill(self) -> None:
        """Cut the connection."""
        self._phone.note("socket", "the media connection is cut", self._clock.now())
        self._open_socket.kill()

    @property
    def _open_socket(self) -> MediaSocket:
        if self._socket is None:
            raise RuntimeError("the socket was not opened")
        return self._socket

    async def _take(self, message: str | bytes) -> None:
        now = self._clock.now()
        match self._wire.read(message):
            case bytes(frame):
                await self._answer_notices(self._phone.hear(frame, now))
                if self._phone.overrun_ms > self._overrun_ms:
                    self._overrun_ms = self._phone.overrun_ms
                    self._phone.warn(0, f"more than {BUFFER_FRAMES} frames wait; one is lost", now)
                return
            case WrongFrame(text):
                self._phone.warn(0, text, now)
                self._open_socket.kill()
            case Notify(payload):
                name = msgspec.json.encode(payload).decode()
                self._phone.message("notify", str(message), now)
                await self._answer_notices(self._phone.mark(name, now))
            case Clear():
                self._phone.message("clear", str(message), now)
                await self._answer_notices(self._phone.clear(now))
                await self._send(self._wire.cleared())
            case Refused(text):
                self._phone.message("refused", str(message), now)
                self._phone.warn(0, text, now)

    async def _answer_notices(self, marks: list[PlayedMark]) -> None:
        if self._faults.withhold_marks:
            return
        now = self._clock.now()
        # what a clear has discarded was never played, so nobody is told of it
        self._returning.extend(
            (now + self._faults.late_marks_s, mark) for mark in marks if not mark.discarded
        )
        while self._returning and self._returning[0][0] <= now:
            _, mark = self._returning.popleft()
            self._phone.mark_returned(mark, now)
            await self._send(self._wire.notified(mark.name))

    async def _send(self, message: str | bytes) -> bool:
        sent = await self._open_socket.send(message)
        if not sent and self._open_socket.behind and not self._behind:
            self._behind = True
            self._phone.warn(0, "the gateway reads too slowly; caller audio is dropped", self._clock.now())
        return sent
