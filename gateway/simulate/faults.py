"""Faults that the stand-alone provider shows to order, each as its reference section describes it.

Owns what a fault does to the messages of one connection. Refuses sockets: it is told each message and says what to
pass on; `gateway.simulate.provider` closes and aborts.
"""

import base64
import re
from typing import Any, Final

import msgspec

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat
from gateway.errors import ConfigError

_FORMATS: Final = {"audio/pcm": PCM_24K, "audio/pcmu": MULAW_8K, "audio/pcma": ALAW_8K}
_STALL_AFTER_MS: Final = 500
_HELD_MS: Final = 400
_RATE_TOLERANCE_S: Final = 1.0
GARBAGE: Final = ("this is not JSON", "[]", '{"type":"session.updated"')
"""What ``bad-first-answer`` sends before the first proper message."""


class Fault(msgspec.Struct, frozen=True):
    """One kind of fault that can be ordered."""

    name: str
    value: str
    """What its value means: ``S`` seconds, ``K`` which one, ``N`` how many; empty if it takes none."""
    default: float | None
    """The value without ``=``; ``None`` where one must be given."""
    line: str
    """One line for ``--help``."""


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("drop-after", "S", None, "abort the TCP connection S seconds after ready, once per session; a resume is accepted"),
        Fault("refuse-resume", "", 0, "answer session.resume with session_not_found and leave the socket open"),
        Fault("late-ready", "S", None, "send session.ready S seconds late"),
        Fault("no-ready", "", 0, "never send session.ready"),
        Fault("duplicate-done", "", 0, "send every reply.done twice"),
        Fault("silent-reply", "K", 2, "the K-th reply is digital silence without text (all are counted: a greeting, and one that only calls a tool)"),
        Fault("merged-reply", "K", 1, "split the K-th turn of the caller in two, with a held, silent reply between them"),
        Fault("rate-violation", "", 0, "enforce real time: sound more than 1 s ahead of the clock is dropped with audio_rate_violation (seen only where sound comes faster than real time)"),
        Fault("close-1011", "S", None, "internal_error and close 1011, S seconds after ready, once per session"),
        Fault("at-capacity", "N", 0, "refuse the first N connections with at_capacity and 1008 (without N: all)"),
        Fault("session-rate", "N", None, "refuse each connection above N in any 60 seconds with at_capacity and 1008, as one that comes too fast"),
        Fault("bad-first-answer", "", 0, "send garbage before session.updated"),
        Fault("deaf", "", 0, "ignore the caller's sound"),
        Fault("stall-reply", "K", 2, "the K-th reply stops after half a second and is never done"),
        Fault("omit-agent-transcript", "", 0, "leave out every transcript.agent"),
    )
}  # fmt: skip
_NUMBERS: Final = {
    "S": (re.compile(r"[0-9]{1,6}(\.[0-9]+)?"), "seconds above 0"),
    "K": (re.compile(r"[0-9]{1,6}"), "a whole number from 1"),
    "N": (re.compile(r"[0-9]{1,6}"), "a whole number from 1"),
}
"""What the value of a fault looks like, and the words for it."""


def read_faults(orders: list[str] | tuple[str, ...]) -> dict[str, float]:
    """Read orders such as ``drop-after=3``; names with their values.

    Raises:
        ConfigError: naming each order that is not known, lacks its value or has one that cannot be used.
    """
    found: dict[str, float] = {}
    problems = []
    for order in orders:
        name, has_value, value = order.partition("=")
        fault = FAULTS.get(name)
        if fault is None:
            problems.append(f"--fault {order}: there is no such fault; known are {', '.join(FAULTS)}")
        elif has_value and not fault.value:
            problems.append(f"--fault {order}: {name} takes no value; write --fault {name}")
        elif not has_value and fault.default is None:
            problems.append(f"--fault {order}: {name} needs a value; write --fault {name}=5")
        elif not has_value:
            found[name] = fault.default or 0.0
        else:
            shape, words = _NUMBERS[fault.value]
            if shape.fullmatch(value) and float(value) > 0:
                found[name] = float(value)
            else:
                problems.append(f"--fault {order}: {name} takes {words}; write --fault {name}=5")
    if problems:
        raise ConfigError(*problems)
    return found


def fault_table() -> str:
    """All faults, one line each."""
    rows = [
        (fault.name + (f"={fault.value}" if fault.value else ""), fault.line) for fault in FAULTS.values()
    ]
    return "\n".join(f"{name:<24}{line}" for name, line in rows)


class FaultyWire:
    """The messages of one connection as the ordered faults leave them."""

    def __init__(self, faults: dict[str, float]) -> None:
        self._faults = faults
        self._format: AudioFormat = PCM_24K
        self._replies = 0
        self._turns = 0
        self._reply_ms = 0.0
        self._first_sound_s: float | None = None
        self._sound_s = 0.0
        self._answered = False
        self._unready = False

    def outgoing(self, text: str) -> list[str]:
        """What is sent instead of a message of the agent."""
        if not self._faults or self._unready:
            return [] if self._unready else [text]
        sent: dict[str, Any] = msgspec.json.decode(text)
        kind = sent["type"]
        before: list[str] = []
        if not self._answered and "bad-first-answer" in self._faults:
            before = list(GARBAGE)
        self._answered = True
        if kind == "session.updated":
            self._format = _FORMATS[sent["config"]["output"]["format"]["encoding"]]
        if kind == "session.ready" and "no-ready" in self._faults:
            self._unready = True
            return before
        if kind == "reply.started":
            self._replies += 1
            self._reply_ms = 0.0
        if kind == "transcript.user":
            self._turns += 1
            before += self._merged(sent)
        return before + self._reply(kind, sent, text)

    def _reply(self, kind: str, sent: dict[str, Any], text: str) -> list[str]:
        faults = self._faults
        if "reply_id" not in sent:
            return [text]
        if faults.get("stall-reply") == self._replies:
            if kind == "reply.audio":
                self._reply_ms += self._format.ms(len(base64.b64decode(sent["data"])))
            if self._reply_ms > _STALL_AFTER_MS:
                return []
        if faults.get("silent-reply") == self._replies:
            if kind.startswith("transcript."):
                return []
            if kind == "reply.audio":
                return [_message(sent | {"data": self._silence(sent["data"])})]
        if kind == "transcript.agent" and "omit-agent-transcript" in faults:
            return []
        return [text, text] if kind == "reply.done" and "duplicate-done" in faults else [text]

    def _silence(self, data: str) -> str:
        size = len(base64.b64decode(data))
        return base64.b64encode(self._format.silence(self._format.ms(size) + 1)[:size]).decode()

    def _merged(self, sent: dict[str, Any]) -> list[str]:
        """A turn committed too early, and the reply to it that nobody hears (reference 2.4)."""
        if self._faults.get("merged-reply") != self._turns:
            return []
        words = sent["text"].split()
        ids = {"reply_id": f"resp_held_{self._turns}", "item_id": f"msg_held_{self._turns}"}
        stamp = {"timestamp": sent["timestamp"]}
        silence = base64.b64encode(self._format.silence(_HELD_MS)).decode()
        events: list[dict[str, Any]] = [
            {"type": "transcript.user", "item_id": f"{sent['item_id']}_part", "text": " ".join(words[: len(words) // 2])},
            {"type": "reply.started", **ids},
            {"type": "reply.audio", "reply_id": ids["reply_id"], "data": silence},
            {"type": "transcript.agent", **ids, "text": "This was never spoken.", "interrupted": False},
            {"type": "reply.done", "reply_id": ids["reply_id"], "status": "completed"},
            {"type": "input.speech.stopped"},
        ]  # fmt: skip
        return [_message(event | stamp) for event in events]

    def incoming(self, received: dict[str, Any], now: float, size_s: float) -> str | None:
        """The code of the error with which a message of the client is refused; empty to drop it quietly, ``None`` to pass it.

        ``size_s`` is the length of its sound, 0 where it has none.
        """
        kind = received.get("type")
        if kind == "session.resume" and "refuse-resume" in self._faults:
            return "session_not_found"
        if kind != "input.audio":
            return None
        if "deaf" in self._faults:
            return ""
        if "rate-violation" in self._faults:
            if self._first_sound_s is None:
                self._first_sound_s = now
            if self._sound_s + size_s > now - self._first_sound_s + _RATE_TOLERANCE_S:
                return "audio_rate_violation"
            self._sound_s += size_s
        return None


def _message(fields: dict[str, Any]) -> str:
    return msgspec.json.encode(fields).decode()
