"""The carrier's end of a call under load: Twilio's media stream, with marks that return and clears that empty.

Owns the messages of one stream, as ready-made bytes with the stamp spliced in (reference: carriers 2.2 and 2.3), and
the playback that marks wait for. Refuses to parse sound: a frame is found by its key and its length.
"""

import secrets
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from gateway.simulate.load.arrivals import Notes
from gateway.simulate.load.stamps import FRAME_CHARACTERS, FRAME_NS, read_stamps, rest_text, stamp_text
from gateway.simulate.load.turns import Cycle

SILENCE: Final = 0xFF
VOICE: Final = 0x9F
"""About -14 dBFS."""
_PAYLOAD: Final = b'"payload":"'
_DATA: Final = b'"data":"'
_QUIET_REST: Final = rest_text(SILENCE) + b'"}}'
_VOICE_REST: Final = rest_text(VOICE) + b'"}}'
_TEXT: Final = WSMsgType.TEXT


class CarrierEnd(WSListener):
    """One media stream; `tick` sends the caller's next frame."""

    def __init__(self, call: int, call_sid: str, cycle: Cycle, notes: Notes) -> None:
        self.call_sid = call_sid
        """The carrier's id of the call."""
        self._call = call
        self._speaks = cycle.caller_speaks
        self._notes = notes
        self._stream_sid = "MZ" + secrets.token_hex(16)
        self._head = f'","streamSid":"{self._stream_sid}","media":{{"track":"inbound","chunk":"'.encode()
        self._transport: WSTransport | None = None
        self._sequence = 1
        self._chunk = 0
        self._played_until_ns = 0
        self._marks: deque[tuple[int, str]] = deque()
        self.clears = 0
        """How often the gateway emptied the playback."""
        self.house_sounds = 0
        """Messages with sound that is none of the agent's."""
        self.refused = 0
        """Messages that a carrier would not have accepted."""

    @property
    def is_open(self) -> bool:
        """Whether the stream runs."""
        return self._transport is not None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Say who calls, as the carrier does."""
        transport.send(_TEXT, b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
        start = {
            "accountSid": "AC" + "0" * 32,
            "streamSid": self._stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {},
        }
        self._transport = transport
        self._say("start", start)

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """The stream is gone."""
        self._transport = None

    def tick(self, place: int, due_ns: int) -> None:
        """Send the frame at this place of the cycle, and the marks that were reached."""
        if self._transport is None:
            return
        self._chunk += 1
        rest = _VOICE_REST if self._speaks[place] else _QUIET_REST
        now_ns = time.monotonic_ns()
        message = b'{"event":"media","sequenceNumber":"%d%b%d","timestamp":"%d","payload":"%b%b' % (
            self._sequence,
            self._head,
            self._chunk,
            self._chunk * 20,
            stamp_text(self._call, now_ns),
            rest,
        )
        self._transport.send(_TEXT, message)
        self._sequence += 1
        notes = self._notes
        if notes.sending:
            notes.send(notes.to_agent, due_ns, now_ns)
        while self._marks and self._marks[0][0] <= now_ns:
            self._return_mark()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Play a frame, or do as the gateway says."""
        text = frame.get_payload_as_bytes()
        at = text.find(_PAYLOAD)
        if at >= 0:
            at += len(_PAYLOAD)
        elif (at := text.find(_DATA)) >= 0:  # straight from the agent's end
            at += len(_DATA)
        else:
            self._obey(transport, frame, text)
            return
        now_ns = time.monotonic_ns()
        sound = text[at : text.index(b'"', at)]
        stamps = read_stamps(sound)
        self.house_sounds += not stamps
        self._played_until_ns = max(self._played_until_ns, now_ns) + len(sound) * FRAME_NS // FRAME_CHARACTERS
        notes = self._notes
        if notes.arriving:
            for call, sent_ns in stamps:
                notes.to_caller.arrive(call, sent_ns, now_ns)

    def hang_up(self) -> None:
        """Say that the call is over, as the carrier does."""
        if self._transport is not None:
            self._say("stop", {"accountSid": "AC" + "0" * 32, "callSid": self.call_sid})

    def cut(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _obey(self, transport: WSTransport, frame: WSFrame, text: bytes) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
            return
        if frame.msg_type is not WSMsgType.TEXT:
            return
        message = msgspec.json.decode(text)
        match message.get("event"):
            case "mark":
                due_ns = max(self._played_until_ns, time.monotonic_ns())
                self._marks.append((due_ns, message["mark"]["name"]))
            case "clear":
                self.clears += 1
                self._played_until_ns = 0
                while self._marks:
                    self._return_mark()
            case None:  # other messages of the agent's end, forwarded as they are
                pass
            case _:
                self.refused += 1

    def _return_mark(self) -> None:
        _, name = self._marks.popleft()
        self._say("mark", {"name": name})

    def _say(self, event: str, body: Mapping[str, object]) -> None:
        if self._transport is None:
            return
        message = {
            "event": event,
            "sequenceNumber": str(self._sequence),
            "streamSid": self._stream_sid,
            event: body,
        }
        self._sequence += 1
        self._transport.send(_TEXT, msgspec.json.encode(message))
