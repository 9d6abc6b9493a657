"""Sockets that say whatever a test wants, after a proper introduction, and what a gateway makes of it."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from live_gateway import TOKEN
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.simulate.twilio_http import (
    Addresses,
    CallIdentity,
    TwilioRequests,
    open_session,
    resolve_stream,
)
from gateway.simulate.twilio_signature import sign, stream_url_to_sign
from gateway.simulate.twiml import read_twiml


class Invited(Struct, frozen=True):
    """A media socket that a webhook has invited."""

    url: str
    """With its one-time token."""
    call_sid: str
    """The call that it belongs to."""

    @property
    def headers(self) -> dict[str, str]:
        """With the signature."""
        return {"X-Twilio-Signature": sign(TOKEN, stream_url_to_sign(self.url))}


async def invited(gateway_url: str, caller: str, callee: str) -> Invited:
    """Announce a call by a signed webhook, and read where its media goes."""
    identity = CallIdentity(
        call_sid="CA" + secrets.token_hex(16),
        account_sid="AC" + "0" * 32,
        caller=caller,
        callee=callee,
        extra_fields={},
    )
    addresses = Addresses(gateway_url, None)
    async with open_session() as session:
        document, base = await TwilioRequests(session, addresses, identity, TOKEN).ask(
            addresses.voice, "ringing"
        )
    stream = next(verb for verb in read_twiml(document) if verb.name == "Connect").child("Stream")
    assert stream is not None
    return Invited(resolve_stream(base, stream.attributes["url"]), identity.call_sid)


@asynccontextmanager
async def opened(url: str, headers: dict[str, str] | None = None) -> AsyncIterator["RawSocket"]:
    """Open a socket and say nothing yet."""
    async with connect(
        url, additional_headers=headers, compression=None, proxy=None, max_size=None, ping_interval=None
    ) as socket:
        yield RawSocket(socket)


class RawSocket:
    """One socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.stream_sid = "MZ" + secrets.token_hex(16)
        self.texts: list[dict[str, Any]] = []
        """What the gateway said as text, audio apart."""

    async def say(self, message: str | bytes | dict[str, Any], times: int = 1) -> None:
        """Send a message, or several of the kind, as long as anybody listens."""
        text = json.dumps(message) if isinstance(message, dict) else message
        try:
            for _ in range(times):
                await self._socket.send(text)
        except ConnectionClosed:
            return

    def start(self, call_sid: str, **changes: Any) -> dict[str, Any]:
        """Twilio's `start`."""
        fields = {
            "accountSid": "AC" + "0" * 32,
            "streamSid": self.stream_sid,
            "callSid": call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {},
        }
        return self.message("start", sequenceNumber="1", start={**fields, **changes})

    def media(self, payload: object = "/////w==", **changes: Any) -> dict[str, Any]:
        """Twilio's `media`."""
        media = {"track": "inbound", "chunk": "1", "timestamp": "20", "payload": payload}
        return self.message("media", sequenceNumber="2", media=media, **changes)

    def message(self, event: str, **fields: Any) -> dict[str, Any]:
        """Any of Twilio's messages."""
        return {"event": event, "streamSid": self.stream_sid, **fields}

    async def begin(self, call_sid: str) -> None:
        """Say what begins a stream."""
        await self.say({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        await self.say(self.start(call_sid))

    async def listen(self, until: str = "") -> tuple[int, str]:
        """Take what comes until a text of this type or event, or the close; gives the close code and reason."""
        try:
            while True:
                message = await self._socket.recv()
                if isinstance(message, str):
                    self.texts.append(json.loads(message))
                    if until and until in {self.texts[-1].get("type"), self.texts[-1].get("event")}:
                        return 0, ""
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
