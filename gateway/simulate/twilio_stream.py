"""One media stream of a simulated Twilio call: a socket from ``connected`` to ``stop``.

Owns the socket and what passes over it, the carrier's strictness included. Refuses call documents and
webhooks; `twilio.py` has those.
"""

import secrets
from collections import deque

from gateway.simulate.clock import Clock
from gateway.simulate.media_socket import MediaSocket, Slicer, open_socket
from gateway.simulate.phone import Phone, Tick
from gateway.simulate.playback import PlayedMark
from gateway.simulate.script import CallerFaults
from gateway.simulate.twilio_http import CallIdentity
from gateway.simulate.twilio_wire import Clear, Mark, Media, Refused, StreamWire

USER_AGENT = "Twilio.TmeWs/1.0"
READ_TOO_SLOWLY = 31930


class TwilioStream:
    """One stream; `open` it, feed it ticks, `read` it until it closes, or `end` it."""

    def __init__(self, phone: Phone, clock: Clock, faults: CallerFaults, identity: CallIdentity) -> None:
        self.stream_sid = "MZ" + secrets.token_hex(16)
        self._phone = phone
        self._clock = clock
        self._faults = faults
        self._wire = StreamWire(self.stream_sid, identity.call_sid, identity.account_sid)
        self._slicer = Slicer(faults.frame_bytes)
        self._socket: MediaSocket | None = None
        self._opened_ms = 0
        self._returning: deque[tuple[float, PlayedMark]] = deque()
        self._dropped = False

    async def open(self, url: str, signature: str, parameters: dict[str, str]) -> None:
        """Open the socket and send the two messages that begin a stream.

        Raises:
            SocketError: when it cannot be opened.
        """
        headers = {"X-Twilio-Signature": signature, "Accept-Encoding": "gzip"}
        self._socket = await open_socket(url, headers, USER_AGENT)
        self._opened_ms = int(self._phone.at_s(self._clock.now()) * 1000)
        await self._send(self._wire.connected())
        await self._send(self._wire.start(parameters))

    async def send_tick(self, tick: Tick) -> None:
        """Send what one frame's time brought: marks, a key, the voice."""
        await self._return_marks(tick.marks)
        if tick.digit:
            await self._send(self._wire.dtmf(tick.digit))
        for piece in self._slicer.cut(tick.audio):
            at_ms = max(0, tick.at_ms - self._opened_ms)
            if await self._send(self._wire.media(piece, at_ms)):
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
            "socket", f"the media stream was closed, {socket.close_code}{reason}", self._clock.now()
        )

    async def end(self) -> None:
        """Stop the stream from the carrier's side; the socket is then closed, unless ordered otherwise."""
        if not self._faults.close_without_stop:
            await self._send(self._wire.stop())
        if not self._faults.stop_without_close:
            await self._open_socket.close()

    def kill(self) -> None:
        """Cut the connection."""
        self._phone.note("socket", "the media connection is cut", self._clock.now())
        self._open_socket.kill()

    @property
    def _open_socket(self) -> MediaSocket:
        if self._socket is None:
            raise RuntimeError("the stream was not opened")
        return self._socket

    async def _take(self, message: str | bytes) -> None:
        now = self._clock.now()
        sent = self._wire.read(message)
        match sent:
            case Media():
                await self._return_marks(self._phone.hear(sent.media.payload, now))
                return
            case Mark():
                marks = self._phone.mark(sent.mark.name, now)
            case Clear():
                marks = self._phone.clear(now)
            case Refused():
                self._phone.warn(sent.code, sent.text, now)
                marks = []
        kind = "refused" if isinstance(sent, Refused) else type(sent).__name__.lower()
        self._phone.message(kind, message if isinstance(message, str) else "", now)
        await self._return_marks(marks)

    async def _return_marks(self, marks: list[PlayedMark]) -> None:
        if self._faults.withhold_marks:
            return
        now = self._clock.now()
        self._returning.extend((now + self._faults.late_marks_s, mark) for mark in marks)
        while self._returning and self._returning[0][0] <= now:
            _, mark = self._returning.popleft()
            self._phone.mark_returned(mark, now)
            await self._send(self._wire.mark(mark.name))

    async def _send(self, text: str) -> bool:
        sent = await self._open_socket.send(text)
        if not sent and self._open_socket.behind and not self._dropped:
            self._dropped = True
            self._phone.warn(
                READ_TOO_SLOWLY, "the gateway reads too slowly; caller audio is dropped", self._clock.now()
            )
        return sent
