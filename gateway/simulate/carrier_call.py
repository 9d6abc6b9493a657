"""What every simulated carrier call has: a phone that is paced, one media socket at a time, and what interrupts it.

Owns the time of a call and the faults to order that concern its sockets. Refuses webhooks, documents and wires,
which each carrier has of its own.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gateway.audio import AudioFormat
from gateway.simulate.clock import Clock
from gateway.simulate.ear import Interval
from gateway.simulate.phone import Observer, Phone, Tick, gap_note
from gateway.simulate.script import CallerFaults, CallScript

LEFT_OPEN_S = 3.0  # longer than an orderly close may take


class CallOver(Exception):  # noqa: N818 - a fact, not a fault
    """The call has ended; ``failure`` says in a sentence what went wrong, if anything did."""

    def __init__(self, reason: str, failure: str | None = None, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.failure, self.status = reason, failure, status


class MediaStream(Protocol):
    """An open media socket of a carrier."""

    async def send_tick(self, tick: Tick) -> None:
        """Send what one frame's time brought."""

    async def read(self) -> None:
        """Take what the gateway sends until the socket closes."""

    async def end(self) -> None:
        """Stop from the carrier's side."""

    def kill(self) -> None:
        """Cut the connection."""


class CarrierCall:
    """One call; a carrier adds how it begins, what its documents mean and how its sockets speak."""

    def __init__(
        self,
        audio_format: AudioFormat,
        *,
        script: CallScript | None,
        observer: Observer | None,
        faults: CallerFaults | None,
        clock: Clock | None,
    ) -> None:
        self._script = script or CallScript()
        self._observer = observer
        self._faults = faults or CallerFaults()
        self._clock = clock or Clock()
        self._interrupted = asyncio.Event()
        self._hang_up_reason: str | None = None
        self._next_document: tuple[str, str] | None = None  # a document, or the address of one
        self._stream: MediaStream | None = None
        self._kills = list(self._faults.kill_socket_at_s)
        self._killed = False
        self._lost_at_s: float | None = None
        self.phone = Phone(audio_format, self._script, self._clock.now(), observer)

    def hang_up(self, reason: str = "caller_hung_up") -> None:
        """End the call from the carrier's side, as soon as the flow can."""
        self._hang_up_reason = self._hang_up_reason or reason
        self._interrupted.set()

    def redirect(self, *, document: str = "", url: str = "") -> None:
        """Stop the stream and carry out another document, as a REST update does."""
        self._next_document = (document, url)
        self._interrupted.set()

    def _pick_up(self, audio_format: AudioFormat, who: str) -> None:
        """The call is answered: its time begins."""
        self.phone = Phone(audio_format, self._script, self._clock.now(), self._observer)
        self.phone.note("answered", who, self._clock.now())

    async def _pace(self) -> None:
        """Take and send one frame every 20 ms until cancelled."""
        while True:
            await self._clock.sleep_until(self.phone.next_frame_at)
            now = self._clock.now()
            tick = self.phone.tick(now)
            if self._stream is not None:
                await self._stream.send_tick(tick)
                if self._kills and self.phone.at_s(now) >= self._kills[0]:
                    self._kills.pop(0)
                    self._killed = True
                    self._stream.kill()
            if (reason := self.phone.ending(now)) is not None:
                self.hang_up(reason)

    @contextmanager
    def _streaming(self, stream: MediaStream) -> Iterator[None]:
        """Send the voice over a stream that is open, until it is not."""
        self._note_open()
        self._stream, self._killed = stream, False
        try:
            yield
        finally:
            self._stream = None
            self.phone.lose_line(self._clock.now())
            self._lost_at_s = self.phone.at_s(self._clock.now())

    async def _until_closed(self, stream: MediaStream) -> None:
        """Wait until the gateway or the network closes the stream, or the carrier has to."""
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(stream.read())
                interruption = group.create_task(self._interrupted.wait())
                await asyncio.wait({reader, interruption}, return_when=asyncio.FIRST_COMPLETED)
                if not reader.done():
                    await stream.end()
                    await asyncio.wait({reader}, timeout=LEFT_OPEN_S)
                    if not reader.done():
                        self.phone.warn(
                            0, "the gateway left the socket open after the stop", self._clock.now()
                        )
                        stream.kill()
                reader.cancel()
                interruption.cancel()
        except asyncio.CancelledError:
            stream.kill()  # nobody would read it any more, and the gateway would wait for an answer to its close
            raise

    async def _stay(self, seconds: float) -> None:
        """Stay on the line, unless something interrupts that."""
        async with asyncio.TaskGroup() as group:
            interruption = group.create_task(self._interrupted.wait())
            pause = group.create_task(self._clock.sleep(seconds))
            await asyncio.wait({interruption, pause}, return_when=asyncio.FIRST_COMPLETED)
            interruption.cancel()
            pause.cancel()

    def _diversion(self) -> tuple[str, str] | None:
        """The document, or the address of one, that takes the place of the one in force.

        Raises:
            CallOver: when the call is to end instead.
        """
        if self._hang_up_reason is not None:
            raise CallOver(self._hang_up_reason)
        if self._next_document is None:
            return None
        following, self._next_document = self._next_document, None
        self._interrupted.clear()
        return following

    def _note_open(self) -> None:
        now = self._clock.now()
        self.phone.result.sockets += 1
        self.phone.note("socket", f"media stream {self.phone.result.sockets} is open", now)
        if self._lost_at_s is not None:
            gap = Interval(self._lost_at_s, self.phone.at_s(now))
            self.phone.result.socket_gaps.append(gap)
            self.phone.note("socket", gap_note(gap), now)
