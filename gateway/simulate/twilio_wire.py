"""Twilio's media stream messages, both ways, written from the reference (carriers 2.2 and 2.3).

Owns the shapes and types of one stream and the carrier's strictness towards what it is sent. Refuses sockets
and clocks. Numbers are strings and strings are numbers exactly where Twilio has them so.
"""

from typing import Any

import msgspec

INVALID_MESSAGE = 31951
BINARY_MESSAGE = 31950


class _Payload(msgspec.Struct, forbid_unknown_fields=True):
    payload: bytes


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Media(msgspec.Struct, tag_field="event", tag="media", forbid_unknown_fields=True, rename="camel"):
    """Audio to play."""

    stream_sid: str
    """The stream it is for."""
    media: _Payload
    """mu-law, 8000 Hz."""


class Mark(msgspec.Struct, tag_field="event", tag="mark", forbid_unknown_fields=True, rename="camel"):
    """A mark to send back when what is before it was played."""

    stream_sid: str
    """The stream it is for."""
    mark: _Name
    """Its name."""


class Clear(msgspec.Struct, tag_field="event", tag="clear", forbid_unknown_fields=True, rename="camel"):
    """Stop playing and forget what is queued."""

    stream_sid: str
    """The stream it is for."""


class Refused(msgspec.Struct, frozen=True):
    """A message that has no effect but a warning in Twilio's debugger."""

    code: int
    """Twilio's number for it."""
    text: str
    """What was wrong, in a sentence."""


_SENT = msgspec.json.Decoder(Media | Mark | Clear)


class StreamWire:
    """The messages of one stream; counts them as Twilio does."""

    def __init__(self, stream_sid: str, call_sid: str, account_sid: str) -> None:
        self.stream_sid = stream_sid
        self._call = {"accountSid": account_sid, "callSid": call_sid}
        self._sequence = 0
        self._chunk = 0

    def connected(self) -> str:
        """Write the first message of a socket."""
        return _json({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, parameters: dict[str, str]) -> str:
        """Write the second message, with the document's ``<Parameter>`` values."""
        body = {
            "accountSid": self._call["accountSid"],
            "streamSid": self.stream_sid,
            "callSid": self._call["callSid"],
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": parameters,
        }
        return self._message("start", {"start": body})

    def media(self, audio: bytes, at_ms: int) -> str:
        """Write the caller's voice; ``at_ms`` counts from the start of the stream."""
        self._chunk += 1
        media = {"track": "inbound", "chunk": str(self._chunk), "timestamp": str(at_ms), "payload": audio}
        return self._message("media", {"media": media})

    def dtmf(self, digit: str) -> str:
        """Write a pressed key."""
        return self._message("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}})

    def mark(self, name: str) -> str:
        """Write a mark that comes back."""
        return self._message("mark", {"mark": {"name": name}})

    def stop(self) -> str:
        """Write the last message."""
        return self._message("stop", {"stop": self._call})

    def read(self, message: str | bytes) -> Media | Mark | Clear | Refused:
        """Read what the gateway sent; anything the real carrier would not accept is `Refused`."""
        if isinstance(message, bytes):
            return Refused(BINARY_MESSAGE, f"a binary message of {len(message)} bytes was sent")
        try:
            sent: Media | Mark | Clear = _SENT.decode(message)
        except (msgspec.DecodeError, UnicodeError) as error:
            return Refused(INVALID_MESSAGE, f"the message is not valid ({error}): {message[:120]}")
        if sent.stream_sid != self.stream_sid:
            return Refused(INVALID_MESSAGE, f"the message is for another stream: {message[:120]}")
        if isinstance(sent, Mark) and not sent.mark.name:
            return Refused(INVALID_MESSAGE, "the mark has no name")
        return sent

    def _message(self, event: str, body: dict[str, Any]) -> str:
        self._sequence += 1
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.stream_sid}
        return _json(head | body)


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()  # bytes become base64
