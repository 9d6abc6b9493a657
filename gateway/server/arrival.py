"""A media socket that has come and is nobody's yet: not opened at first, then open and read a little.

Owns how a socket is opened, how much is heard of one that has proven nothing, and how it is turned away: by status
while it is not open, by close code afterwards, with the same sentence. Refuses to know what was said; the leg that
takes the socket over is given all of it once more.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Literal

from aiohttp import web
from msgspec import Struct

from gateway.runtime.legs import LegBounds
from gateway.runtime.wires import WebSocketWire, open_wire
from gateway.server.manners import TOO_MANY, TOO_OFTEN, retry_after_s
from gateway.server.threshold import wait_turn
from gateway.settings import ServerSettings

# A peer drops the connection when we pick a subprotocol that it did not offer; aiohttp picks from its offer only.
SUBPROTOCOLS: Final = ("audio.twilio.com", "media", "audio.drachtio.org", "audio.jambonz.org")

STRANGER_BYTES: Final = 262_144
"""Longest message that is read of a socket which has proven nothing; prompts of many pages are shorter."""

_CLOSE_CODES: Final = {413: 1009, 429: 1013, 503: 1013}
"""Close codes for statuses; 1008 for all others."""


Heard = Literal["heard", "nothing", "gone", "too_long"]
"""What came of listening: a message, nothing in time, the end of the connection, or too much."""


class TurnedAway(Struct, frozen=True):
    """Why a socket is not taken."""

    status: int
    """HTTP status, where it was not opened yet."""
    why: str
    """Short name of the reason, for the log."""
    sentence: str
    """For the peer."""
    detail: str = ""
    """For the log, where that is another one."""
    headers: Mapping[str, str] = {}
    """Header fields, where it was not opened yet."""

    @classmethod
    def for_haste(cls, wait_s: float) -> "TurnedAway":
        """Refuse a socket because there are too many of its kind."""
        return cls(TOO_MANY, "limit", TOO_OFTEN.strip(), headers={"Retry-After": str(retry_after_s(wait_s))})

    @property
    def close_code(self) -> int:
        """Close code, where it was opened."""
        return _CLOSE_CODES.get(self.status, 1008)


class Arrival:
    """One media socket until a leg takes it over; ``heartbeat_s`` is None because our ping timeout would end calls."""

    def __init__(
        self, request: web.Request, server: ServerSettings, heartbeat_s: float | None = None
    ) -> None:
        self.request = request
        self.heard: list[str | bytes] = []
        """What it has said so far."""
        self.until: float | None = None
        """The loop's time by which it must have said what it comes for; None before it is open."""
        self._server = server
        self._wire: WebSocketWire | None = None
        self._socket = web.WebSocketResponse(
            timeout=server.close_s,
            autoping=True,
            heartbeat=heartbeat_s,
            protocols=SUBPROTOCOLS,
            compress=False,  # base64 audio barely shrinks; it would only cost time
            max_msg_size=server.message_bytes + 1,  # aiohttp refuses a message of just this size
        )

    @property
    def is_upgrade(self) -> bool:
        """Whether the request asks for a WebSocket at all."""
        return self._socket.can_prepare(self.request).ok

    @property
    def patience_s(self) -> float:
        """How long it may take to say what it comes for."""
        return self._server.first_message_s

    @property
    def is_open(self) -> bool:
        """Whether the upgrade was answered."""
        return self._wire is not None

    async def open(self) -> bool:
        """Answer the upgrade, unless that was done; False when the peer has gone before."""
        if self._wire is None:
            try:
                await self._socket.prepare(self.request)
            except ConnectionError:
                return False
            self.until = asyncio.get_running_loop().time() + self._server.first_message_s
            self._wire = open_wire(self._socket, LegBounds().messages_s)
        return True

    async def hear(self, within_s: float | None = None) -> Heard:
        """Open it and read one message more, within what is left of `server.first_message_s` and perhaps sooner."""
        if not await self.open() or self._wire is None or self.until is None:
            return "gone"
        by = self.until if within_s is None else min(self.until, asyncio.get_running_loop().time() + within_s)
        try:
            async with asyncio.timeout_at(by):
                message = await self._wire.receive_little(STRANGER_BYTES)
        except TimeoutError:
            await wait_turn(self.request)  # many may fall silent at the same moment
            return "nothing"
        if message is None:
            return "too_long" if self._wire.close_code == 1009 else "gone"
        self.heard.append(message)
        return "heard"

    def hand_over(self) -> WebSocketWire:
        """Give the open socket away as a wire that begins with all that was heard."""
        if self._wire is None:
            raise RuntimeError("a socket can be handed over once it is open")
        self._wire.give_again(self.heard)
        return self._wire

    async def turn_away(self, refusal: TurnedAway) -> web.StreamResponse:
        """Refuse it in words; closing takes bounded time."""
        if self._wire is None:
            return web.Response(status=refusal.status, text=refusal.sentence + "\n", headers=refusal.headers)
        try:
            async with asyncio.timeout(self._server.close_s):
                await self._wire.close(refusal.close_code, refusal.sentence)
        except (TimeoutError, ConnectionError):
            pass
        return self._socket

    @property
    def response(self) -> web.StreamResponse:
        """What to give back to the server when all is over."""
        return web.Response() if self._wire is None else self._socket
