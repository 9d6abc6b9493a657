"""A simulated client of the raw PCM dialect: binary frames both ways, and the conversation's events.

Owns the client's side of contract section 5 (raw PCM). Its playback buffer is unbounded and plays at real
time, as a program with a loudspeaker has it; ``talkpath.clear`` empties it.
"""

import asyncio
from typing import Final

import msgspec

from gateway.audio import AudioFormat, Encoding
from gateway.simulate.address import socket_address
from gateway.simulate.api_lines import event_line
from gateway.simulate.clock import Clock
from gateway.simulate.media_socket import MediaSocket, Slicer, SocketError, open_socket
from gateway.simulate.phone import Observer, Phone
from gateway.simulate.result import CallResult
from gateway.simulate.script import CallerFaults, CallScript

ENCODINGS: Final[dict[str, Encoding]] = {"pcm_s16le": "pcm16", "pcm_mulaw": "mulaw", "pcm_alaw": "alaw"}
RATES_HZ = (8000, 16000, 24000, 44100, 48000)
PATH = "/v1/ws/pcm"
FAREWELL_S = 5.0
CLEAR = "talkpath.clear"


class PcmCaller:
    """One call of a raw PCM client; `run` once."""

    def __init__(
        self,
        url: str,
        *,
        rate_hz: int = 16000,
        encoding: str = "pcm_s16le",
        events: bool = True,
        script: CallScript | None = None,
        key: str | None = None,
        caller: str | None = None,
        callee: str | None = None,
        observer: Observer | None = None,
        faults: CallerFaults | None = None,
        clock: Clock | None = None,
    ) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(
                f"{encoding!r} is no encoding of this dialect; use one of {', '.join(ENCODINGS)}"
            )
        if rate_hz not in RATES_HZ:
            raise ValueError(
                f"{rate_hz} Hz is no rate of this dialect; use one of {', '.join(map(str, RATES_HZ))}"
            )
        query = {"encoding": encoding, "sample_rate": str(rate_hz)}
        if events:
            query["events"] = "1"
        query |= {name: value for name, value in (("caller", caller), ("callee", callee)) if value}
        self._url = socket_address(url, PATH, query)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._format = AudioFormat(ENCODINGS[encoding], rate_hz)
        self._script = script or CallScript()
        self._observer = observer
        self._faults = faults or CallerFaults()
        self._clock = clock or Clock()
        self._slicer = Slicer(self._faults.frame_bytes)
        self._kills = list(self._faults.kill_socket_at_s)
        self._hang_up_reason: str | None = None
        self._interrupted = asyncio.Event()
        self._behind = False
        self.phone = Phone(self._format, self._script, self._clock.now(), observer)

    def hang_up(self, reason: str = "caller_hung_up") -> None:
        """End the call from the client's side, as soon as the flow can."""
        self._hang_up_reason = self._hang_up_reason or reason
        self._interrupted.set()

    async def run(self) -> CallResult:
        """Make the call; gives what came of it, also when it was refused."""
        try:
            socket = await open_socket(self._url, self._headers, "talkpath-call")
        except SocketError as refused:
            self.phone.result.refused_status = refused.status
            reason = "refused" if refused.status else "failed"
            return self.phone.finish(reason, self._clock.now(), str(refused))
        self.phone = Phone(self._format, self._script, self._clock.now(), self._observer)
        self.phone.result.sockets = 1
        self.phone.note("answered", "the socket is open", self._clock.now())
        async with asyncio.TaskGroup() as group:
            pacer = group.create_task(self._pace(socket))
            reader = group.create_task(self._read(socket))
            interruption = group.create_task(self._interrupted.wait())
            await asyncio.wait({reader, interruption}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await self._take_leave(socket, reader)
            for task in (pacer, reader, interruption):
                task.cancel()
        result = self.phone.result
        result.close_code, result.close_reason = socket.close_code, socket.close_reason
        return self._finish()

    def _finish(self) -> CallResult:
        result = self.phone.result
        reason = self._hang_up_reason or "agent_hung_up"
        failure = None
        if self._hang_up_reason is None and result.close_code not in (1000, 1001, 1005):
            reason = "failed"
            failure = (
                f"the socket was closed with {result.close_code}: {result.close_reason or 'no reason given'}"
            )
        return self.phone.finish(reason, self._clock.now(), failure)

    async def _take_leave(self, socket: MediaSocket, reader: asyncio.Task[None]) -> None:
        """Say that the call is over, wait for the gateway to close, then close."""
        if not self._faults.close_without_stop and self._hang_up_reason != "socket_killed":
            await socket.send('{"type":"session.end"}')
            await asyncio.wait({reader}, timeout=FAREWELL_S)
        if not reader.done():
            await socket.close()
            await asyncio.wait({reader}, timeout=FAREWELL_S)

    async def _pace(self, socket: MediaSocket) -> None:
        """Take and send one frame every 20 ms until cancelled."""
        while True:
            await self._clock.sleep_until(self.phone.next_frame_at)
            now = self._clock.now()
            tick = self.phone.tick(now)
            for piece in self._slicer.cut(tick.audio):
                if await socket.send(piece):
                    self.phone.sent(piece)
                elif socket.behind and not self._behind:
                    self._behind = True
                    self.phone.warn(0, "the gateway reads too slowly; caller audio is dropped", now)
            if self._kills and self.phone.at_s(now) >= self._kills[0]:
                self._kills.pop(0)
                self.hang_up("socket_killed")
                socket.kill()
            if (reason := self.phone.ending(now)) is not None:
                self.hang_up(reason)

    async def _read(self, socket: MediaSocket) -> None:
        async for message in socket.messages():
            now = self._clock.now()
            if isinstance(message, bytes):
                self.phone.hear(message, now)
            else:
                self._take_text(message, now)
            if self._faults.read_every_s:
                await self._clock.sleep(self._faults.read_every_s)

    def _take_text(self, text: str, now: float) -> None:
        try:
            event = msgspec.json.decode(text, type=dict[str, object])
        except msgspec.DecodeError as error:
            self.phone.warn(0, f"a text frame is no JSON object ({error}): {text[:120]}", now)
            return
        kind = str(event.get("type", ""))
        self.phone.message(kind, text, now)
        if kind == CLEAR:
            self.phone.clear(now)
            return
        self.phone.result.events.append(event)
        if (line := event_line(event)) is not None:
            self.phone.note("event", line, now)
