"""A caller's socket as a leg, with a threshold before its first event.

Owns the patience with a socket that opens and says nothing (no runner is woken and no agent opened for it), how much
faster than time its sound may come, and, where no token was spent, the check that the stream is new. Refuses everything after the first event: from then on
the leg is the runner's business.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from gateway.audio import AudioFormat, Converter
from gateway.contracts import Codec
from gateway.events import AnyEvent, CallerAudio, CallStarted, Event, PulseChanged
from gateway.runtime.legs import LegBounds
from gateway.runtime.pieces import PIECE_BYTES
from gateway.runtime.sound_share import SoundShare
from gateway.runtime.text_bounds import bound_values
from gateway.runtime.watched_leg import WatchedLeg
from gateway.runtime.wires import WebSocketWire
from gateway.settings import ServerSettings

POLICY: Final = 1008
"""WebSocket close code: the peer did not keep a rule."""


class CallerLeg(WatchedLeg):
    """A leg that is closed when its peer says nothing in time, or is not welcome; `cross` before iterating.

    A ``steady`` peer, which sounds all the time, is watched by its sound, any other one by its answers to pings. ``until``
    is the loop's time by which something must be said, where the socket has been open for a while.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse | WebSocketWire,
        codec: Codec,
        server: ServerSettings,
        *,
        is_welcome: Callable[[], Awaitable[bool]] | None = None,
        steady: bool = False,
        until: float | None = None,
    ) -> None:
        super().__init__(
            socket,
            codec,
            bounds=LegBounds(wire_errors=server.wire_errors, close_s=server.close_s),
            lost_after_s=server.lost_after_s,
            asks=not steady,
        )
        self.crossed = False
        """Whether a call has begun on this leg, or gone on."""
        self._events = super().__aiter__()
        self._first: AnyEvent | None = None
        self._converter: Converter | None = None
        # The first event of such a dialect is ours, not a message of the peer.
        self._unheard = hasattr(codec, "opening")
        self._sound_share = SoundShare(server.audio_ahead_s, self._loop.time())
        self._bytes_ms = math.inf  # until the format of the call's sound is known
        self._may_convert = hasattr(codec, "hears")
        for event in self._read:
            self._learn_format(event)
        self._limit_s = server.first_message_s
        self._until = until or asyncio.get_running_loop().time() + self._limit_s
        self._is_welcome = is_welcome

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed the connection."""
        return not (self._gone or self._closing)

    @property
    def first(self) -> AnyEvent | None:
        """The first event, from when the leg was crossed until it is iterated; it may be replaced until then."""
        return self._first

    @first.setter
    def first(self, event: AnyEvent) -> None:
        self._first = event

    async def cross(self) -> bool:
        """Wait for the first event; False when the leg was closed instead, or ended by itself."""
        if self.crossed:
            return True
        self._first = await self._next_in_time()
        if self._first is None:
            return False
        if self._is_welcome is not None and not await self._is_welcome():
            await self.close(POLICY, "this stream was here before")
            return False
        self.crossed = True
        return True

    async def write(self) -> None:
        """Send what is posted; meanwhile tell of a line on which even answers to pings stay away."""
        if self._pulse is None:
            await super().write()
            return
        self._pulse.on_quiet = self._tell_quiet
        try:
            await super().write()
        finally:
            self._pulse.on_quiet = None  # or they would keep each other

    def _tell_quiet(self, unproven_s: float) -> None:
        if self.tell is not None and not self._gone:
            self.tell(PulseChanged(round(unproven_s * 1000, 1)))

    async def say(self, messages: list[str | bytes]) -> None:
        """Send what nobody has posted, before the leg is anybody's; a peer that is gone or does not read is left."""
        try:
            async with asyncio.timeout(self._bounds.send_s):
                for message in messages:
                    await self._wire.send(message)
        except (ConnectionError, TimeoutError):
            pass

    async def turn_away(self, code: str, message: str) -> None:
        """Refuse the peer in its own dialect, and close."""
        await self.say(self.codec.turn_away(code, message))  # type: ignore[attr-defined]
        await self.close(POLICY, code)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Flush and close, with the last word and the close code that the dialect has for it."""
        if not self._closing and (closing := getattr(self.codec, "closing", None)):
            await self.say(closing(code))
        await super().close(code, reason)

    async def _shut(self, code: int, reason: str, until: float | None = None) -> None:
        await super()._shut(getattr(self.codec, "close_code", None) or code, reason, until)

    def _decode(self, message: str | bytes) -> list[Event]:
        if isinstance(message, str) and len(message) > PIECE_BYTES:
            bound_values(message)
        return super()._decode(message)

    def _events_of(self, event: Event) -> Sequence[AnyEvent]:
        if type(event) is not CallerAudio:
            self._learn_format(event)
            return (event,)  # type: ignore[return-value]
        if self._may_convert and (heard := self._converted(event.audio)) is not None:
            event = msgspec.structs.replace(event, audio=heard)
        self._sound_share.hear(len(event.audio) / self._bytes_ms)
        return (event,) if event.audio else ()  # the filter may hold it

    def _learn_format(self, event: object) -> None:
        if isinstance(event, CallStarted):
            self._bytes_ms = event.info.audio.bytes_per_ms

    def _converted(self, audio: bytes) -> bytes | None:
        """The caller's sound in the call's format, where its own is another one; None where it is the same."""
        hears: AudioFormat | None = getattr(self.codec, "hears", None)
        speaks: AudioFormat | None = getattr(self.codec, "speaks", None)
        if speaks is not None:
            self._bytes_ms = speaks.bytes_per_ms  # of a call that goes on, nothing says so anew
        if hears is None or speaks is None or hears == speaks:
            return None
        if self._converter is None:
            self._converter = Converter(hears, speaks)
        return self._converter.feed(audio)

    def __aiter__(self) -> AsyncIterator[AnyEvent]:
        """Give the events in order, once; ends when the connection has."""
        return self

    def __anext__(self) -> Awaitable[AnyEvent]:
        return self._early_event() if self._unheard or self._first is not None else self.next_event()

    async def _early_event(self) -> AnyEvent:
        if (first := self._first) is not None:
            self._first = None
            return first
        event = await self._next_in_time()
        self._unheard = False
        if event is None:
            raise StopAsyncIteration
        return event

    async def _next_in_time(self) -> AnyEvent | None:
        self._is_awaited = True
        try:
            async with asyncio.timeout_at(self._until):
                return await anext(self._events, None)
        except TimeoutError:
            await self.close(POLICY, f"nothing of a call came within {self._limit_s:g} s")
            return None
        finally:
            self._is_awaited = False
