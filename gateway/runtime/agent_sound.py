"""The sound between an agent's wire and a call: format and frames.

Owns conversion with the filter's state carried from message to message, and the cutting of replies into frames.
Refuses to decide what is played: a reply's frames come out whoever listens.
"""

from typing import Final

from gateway.audio import AudioFormat, Converter, level_dbfs
from gateway.events import Event, ReplyAudio, ReplyEnded, ReplyStarted

FRAME_MS: Final = 20.0
"""Size into which an agent's sound is cut."""


class AgentSound:
    """The sound of an agent's wire, in the call's format and in frames, both ways.

    The frames of a reply follow each other without a gap whatever the size of the agent's chunks. Its last one,
    which may be shorter, comes with its end; an interruption forgets what is left of it.
    """

    def __init__(self, wire: AudioFormat, call: AudioFormat) -> None:
        self.wire = wire
        """Format on the wire."""
        self._call = call
        self.is_same = wire == call
        """Whether both formats are one, and nothing is converted."""
        self._frame_bytes = call.frame_bytes(FRAME_MS)
        self._to_call = Converter(wire, call)
        self._to_wire = Converter(call, wire)
        self._reply_id: str | None = None  # the reply whose sound the filter and the rest hold
        self._rest = b""

    def events(self, event: Event) -> list[Event]:
        """Turn an event of the wire into events of the call."""
        if type(event) is ReplyAudio:  # fifty times a second
            before = [] if event.reply_id == self._reply_id else self._begin(event.reply_id)
            if self.is_same and not self._rest and len(event.audio) == self._frame_bytes:
                return [*before, event]
            return [*before, *self._cut(event.reply_id, self._to_call.feed(event.audio), last=False)]
        match event:
            case ReplyStarted(reply_id=reply_id) if reply_id != self._reply_id:
                return [*self._begin(reply_id), event]
            case ReplyEnded(reply_id=reply_id, interrupted=interrupted):
                # the end of an earlier reply may come twice, and in the middle of the next one (13.2)
                if reply_id not in ("", self._reply_id):
                    return [event]
                return [*self._end(interrupted=interrupted), event]
            case _:
                return [event]

    def convert(self, audio: bytes) -> bytes:
        """Turn the caller's sound into the wire's; the filter may hold it all back for now."""
        return audio if self.is_same else self._to_wire.feed(audio)

    def _begin(self, reply_id: str) -> list[Event]:
        tail = self._end(interrupted=False)
        self._reply_id = reply_id
        return tail

    def _end(self, *, interrupted: bool) -> list[Event]:
        reply_id, self._reply_id = self._reply_id, None
        tail: list[Event] = []
        if reply_id is not None and not interrupted:
            tail = self._cut(reply_id, self._to_call.flush(), last=True)
        self._to_call.reset()
        self._rest = b""
        return tail

    def _cut(self, reply_id: str, audio: bytes, *, last: bool) -> list[Event]:
        audio = self._rest + audio
        size = self._frame_bytes
        end = len(audio) if last else len(audio) // size * size
        self._rest = audio[end:]
        pieces = (audio[at : min(at + size, end)] for at in range(0, end, size))
        return [ReplyAudio(reply_id, piece, level_dbfs(piece, self._call)) for piece in pieces]
