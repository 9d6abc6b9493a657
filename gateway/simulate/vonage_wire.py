"""Vonage's media socket messages, both ways, written from the reference (carriers 3.2 and 3.3).

Owns the shapes of one socket and the carrier's strictness towards what it is sent. Refuses sockets and clocks.
"""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.audio import AudioFormat
from gateway.simulate.script import FRAME_MS

KEY_MS = 260


class Notify(Struct, tag_field="action", tag="notify", forbid_unknown_fields=True):
    """A payload to give back when what is before it was played."""

    payload: dict[str, Any]
    """Any JSON object."""


class Clear(Struct, tag_field="action", tag="clear", forbid_unknown_fields=True):
    """Forget what is queued."""


class WrongFrame(Struct, frozen=True):
    """Sound of a size for which the carrier drops the socket."""

    text: str
    """What the carrier logs."""


class Refused(Struct, frozen=True):
    """A message that has no effect."""

    text: str
    """What was wrong, in a sentence."""


_SENT = msgspec.json.Decoder(Notify | Clear)


class SocketWire:
    """The messages of one socket."""

    def __init__(self, content_type: str, rate_hz: int, headers: dict[str, Any]) -> None:
        self.format = AudioFormat("pcm16", rate_hz)
        self.frame_bytes = self.format.frame_bytes(FRAME_MS)
        self._content_type = content_type
        self._headers = headers

    def connected(self) -> str:
        """Write the first message, with the document's headers at its top level."""
        first = {"event": "websocket:connected", "content-type": self._content_type}
        return _json(first | self._headers)

    def dtmf(self, digit: str) -> str:
        """Write a pressed key."""
        return _json({"event": "websocket:dtmf", "digit": digit, "duration": KEY_MS})

    def cleared(self) -> str:
        """Answer a clear."""
        return _json({"event": "websocket:cleared"})

    def notified(self, payload: str) -> str:
        """Answer a notice, whose payload is given as JSON text."""
        return _json({"event": "websocket:notify", "payload": msgspec.Raw(payload.encode())})

    def read(self, message: str | bytes) -> bytes | Notify | Clear | WrongFrame | Refused:
        """Read what the gateway sent; sound comes back as it is when it is one frame."""
        if isinstance(message, bytes):
            if len(message) != self.frame_bytes:
                return WrongFrame(f"unexpected frame size {len(message)}, when required {self.frame_bytes}")
            return message
        try:
            sent: Notify | Clear = _SENT.decode(message)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            return Refused(f"the message is not valid ({error}): {message[:120]}")
        return sent


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
