"""A leg whose peer is watched: one that falls silent is broken off, and what it may not have received is told.

Owns where the pulse beats: beside the writing, for as long as the connection lives. What counts as silence is the
pulse's; what a lost connection means is the machine's.
"""

import asyncio
from collections import deque

import aiohttp
import msgspec
from aiohttp import web

from gateway.contracts import Codec
from gateway.events import AgentLost, AnyEvent
from gateway.runtime.agent_sound import AgentSound
from gateway.runtime.legs import LegBounds, WebSocketLeg
from gateway.runtime.pulse import Pulse
from gateway.runtime.wires import WebSocketWire


class WatchedLeg(WebSocketLeg):
    """A leg over a WebSocket of aiohttp, with a pulse unless ``lost_after_s`` is None."""

    def __init__(
        self,
        socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse | WebSocketWire,
        codec: Codec,
        *,
        bounds: LegBounds | None = None,
        sound: AgentSound | None = None,
        lost_after_s: float | None = None,
        asks: bool = True,
    ) -> None:
        super().__init__(socket, codec, bounds=bounds, sound=sound)
        self._pulse: Pulse | None = None
        if lost_after_s is not None and isinstance(self._wire, WebSocketWire):
            self._pulse = Pulse(self._wire, lost_after_s, asks=asks)

    async def write(self) -> None:
        """Send what is posted, and feel the peer's pulse, until the connection is gone or closed."""
        if self._pulse is None:
            await super().write()
            return
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._pulse.watch())
            try:
                await super().write()
            finally:
                watch.cancel()

    def _end_reading(self) -> None:
        super()._end_reading()
        if self._pulse is not None and (unheard_s := self._pulse.unheard_s()):
            self._read = deque(_with_loss(event, unheard_s * 1000) for event in self._read)


def _with_loss(event: AnyEvent, unheard_ms: float) -> AnyEvent:
    if isinstance(event, AgentLost):
        return msgspec.structs.replace(event, unheard_ms=round(unheard_ms, 1))
    return event
