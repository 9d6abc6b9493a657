"""The agent's end of a call under load: a server of the Voice Agent API that answers by the clock.

Owns the messages of one session (reference: Voice Agent API, sections 2 to 4), replies at real time with the stamp
spliced into ready bytes, and barge-ins. Knows which call a session belongs to from the first stamped frame of the
caller. Where a system forwards the carrier's messages as they are, it reads those.
"""

import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from gateway.simulate.load.arrivals import Notes
from gateway.simulate.load.stamps import read_stamps, rest_text, stamp_text
from gateway.simulate.load.turns import Cycle

VOICE: Final = 0x9F
_AUDIO: Final = b'"audio":"'
_PAYLOAD: Final = b'"payload":"'
_TEXT: Final = WSMsgType.TEXT
_USER_TEXT: Final = "I would like two loaves of rye, please."
_AGENT_TEXT: Final = "Sure, two loaves of rye. Would you like them sliced, or as they are?"

Met = Callable[["AgentEnd", int], None]
"""Told once per session: this session is the agent of that call."""


class AgentEnd(WSListener):
    """One session; `tick` sends what the agent says at this place of the cycle."""

    def __init__(self, cycle: Cycle, notes: Notes, met: Met) -> None:
        self._cycle = cycle
        self._notes = notes
        self._met = met
        self._transport: WSTransport | None = None
        self._session_id = "sess_" + secrets.token_hex(16)
        self._reply_id = ""
        self._replies = 0
        self._head = self._tail = b""
        self._call: int | None = None
        self.updated_ns = 0
        """When the first message came; 0 before."""
        self.heard_ns = 0
        """When the caller's first frame came; 0 before."""

    @property
    def is_open(self) -> bool:
        """Whether the session lives."""
        return self._transport is not None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Say nothing before the client does (13.7)."""
        self._transport = transport

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """The session is gone."""
        self._transport = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take the caller's sound, or do as the client says."""
        text = frame.get_payload_as_bytes()
        at = text.find(_AUDIO)
        if at >= 0 and text.startswith(b'{"type":"input.audio"'):
            at += len(_AUDIO)
        elif (at := text.find(_PAYLOAD)) >= 0:
            at += len(_PAYLOAD)
        else:
            self._obey(transport, frame, text)
            return
        now_ns = time.monotonic_ns()
        sound = text[at : text.index(b'"', at)]
        stamps = read_stamps(sound)
        if self._call is None and stamps:
            self._call, self.heard_ns = stamps[0][0], now_ns
            self._met(self, self._call)
        notes = self._notes
        if notes.arriving:
            for call, sent_ns in stamps:
                notes.to_agent.arrive(call, sent_ns, now_ns)

    def tick(self, place: int, due_ns: int) -> None:
        """Say what this place of the cycle asks for."""
        transport = self._transport
        if transport is None or self._call is None:
            return
        for name in self._cycle.events[place]:
            self._act(name)
        if not self._reply_id or not self._cycle.agent_speaks[place]:
            return
        now_ns = time.monotonic_ns()
        transport.send(_TEXT, self._head + stamp_text(self._call, now_ns) + self._tail)
        notes = self._notes
        if notes.sending:
            notes.send(notes.to_caller, due_ns, now_ns)

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
        if not self.updated_ns:
            self.updated_ns = time.monotonic_ns()
        message = msgspec.json.decode(text)
        match message.get("type"):
            case "session.update":
                config = {**message.get("session", {}), "id": self._session_id}
                self._say({"type": "session.updated", "config": config})
                self._say(
                    {
                        "type": "session.ready",
                        "session_id": self._session_id,
                        "expires_at": int(time.time()) + 3595,
                        "resume_token": "",
                        "config": config,
                    }
                )
            case "session.resume":  # nothing outlives its socket here; the client begins anew (2.7)
                why = "Session not found or grace window has expired"
                self._say({"type": "session.error", "code": "session_not_found", "message": why})
                transport.send_close(WSCloseCode.POLICY_VIOLATION, b"session_not_found")
            case "session.end":
                self._say({"type": "session.ended", "session_duration_seconds": 0.0})
                transport.send_close()

    def _act(self, name: str) -> None:
        reply = {"reply_id": self._reply_id, "item_id": "msg_" + self._reply_id}
        match name:
            case "speech.started" | "speech.stopped":
                self._say({"type": "input." + name})
            case "user.delta" | "user":
                kind = "transcript." + name
                self._say({"type": kind, "item_id": "msg_" + self._session_id, "text": _USER_TEXT})
            case "reply.started":
                self._begin_reply()
            case "agent.deltas" if self._reply_id:
                for n, word in enumerate(_AGENT_TEXT.split()):
                    self._say(
                        {"type": "transcript.agent.delta", **reply, "delta": word + " "}
                        | {"start_ms": n * 200, "end_ms": n * 200 + 180}
                    )
            case "agent" | "agent.interrupted" if self._reply_id:
                cut = name == "agent.interrupted"
                said = _AGENT_TEXT[:24] if cut else _AGENT_TEXT
                self._say({"type": "transcript.agent", **reply, "text": said, "interrupted": cut})
            case "reply.done" | "reply.interrupted" if self._reply_id:
                status = "completed" if name == "reply.done" else "interrupted"
                self._say({"type": "reply.done", "reply_id": self._reply_id, "status": status})
                self._reply_id = ""

    def _begin_reply(self) -> None:
        self._replies += 1
        self._reply_id = f"resp_{self._session_id[5:25]}{self._replies:012x}"
        self._head = f'{{"type":"reply.audio","reply_id":"{self._reply_id}","data":"'.encode()
        self._tail = rest_text(VOICE) + b'","timestamp":%.6f}' % time.time()
        self._say({"type": "reply.started", "reply_id": self._reply_id, "item_id": "msg_" + self._reply_id})

    def _say(self, message: dict[str, object]) -> None:
        if self._transport is not None:
            self._transport.send(_TEXT, msgspec.json.encode({**message, "timestamp": time.time()}))
