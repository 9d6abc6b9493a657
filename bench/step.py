"""What one step of the machine costs, beside a comparator in the same run: decoding and encoding a media frame.

Prints microseconds per step, the best of several rounds. Exits 1 when a frame of the caller costs more than its
budget.
"""

import base64
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from gateway.audio import MULAW_8K
from gateway.call.machine import CallMachine
from gateway.events import (
    AgentReady,
    AnyEvent,
    CallerAudio,
    CallInfo,
    CallStarted,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    TimeReached,
)
from gateway.terms import AgentTerms, CallTerms

BUDGET_US: Final = 3.0
ROUNDS: Final = 7
STEPS: Final = 20_000


class Media(msgspec.Struct):
    """The part of a Twilio media message that carries sound."""

    payload: bytes


class Frame(msgspec.Struct):
    """A Twilio media message."""

    event: str
    streamSid: str  # noqa: N815 - the carrier's name
    media: Media


def talking() -> CallMachine:
    """A machine with both sides connected."""
    machine = CallMachine(
        CallTerms(agents=(AgentTerms("main"),), audio=MULAW_8K, marks=True, clears=True, lead_ms=2000)
    )
    machine.receive(CallStarted(CallInfo("bench", "twilio", MULAW_8K)), 0.0)
    machine.receive(AgentReady("s"), 0.0)
    return machine


def microseconds(work: Callable[[], int]) -> float:
    """Best time of one step."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        steps = work()
        best = min(best, (time.perf_counter() - begin) / steps)
    return best * 1e6


def round_trip() -> int:
    """Read and write a media frame."""
    payload = base64.b64encode(bytes(160)).decode()
    text = f'{{"event":"media","streamSid":"MZ{"0" * 32}","media":{{"payload":"{payload}"}}}}'
    decoder, encoder = msgspec.json.Decoder(Frame), msgspec.json.Encoder()
    for _ in range(STEPS):
        encoder.encode(decoder.decode(text))
    return STEPS


def caller_frames(level: float) -> Callable[[], int]:
    """Frames of the caller on their way to the agent."""

    def work() -> int:
        machine = talking()
        frame = CallerAudio(bytes(160), level)
        receive = machine.receive
        now = 0.0
        for _ in range(500):  # ten seconds: then a machine that heard no sign would call its agent deaf
            receive(frame, now)
            now += 0.02
        return 500

    return work


def reply_events() -> Iterator[tuple[float, AnyEvent]]:
    """A minute of replies, each message twice as fast as it is heard."""
    loud = bytes(range(160))
    for n in range(30):
        yield n * 2.0, ReplyStarted(f"r{n}")
        for at in range(95):
            yield n * 2.0 + at / 100, ReplyAudio(f"r{n}", loud, -20.0)
        yield n * 2.0 + 0.96, ReplyEnded(f"r{n}")


def reply_frames() -> int:
    """Replies on their way to the caller, with the deadlines between them."""
    machine = talking()
    steps = 0
    for now, event in reply_events():
        while machine.deadline is not None and machine.deadline < now:
            machine.receive(TimeReached(), machine.deadline)
            steps += 1
        machine.receive(event, now)
        steps += 1
    return steps


def main() -> int:
    """Measure and print."""
    comparator = microseconds(round_trip)
    rows = {
        "msgspec round trip of a media frame": comparator,
        "CallerAudio, a quiet frame": microseconds(caller_frames(-60.0)),
        "CallerAudio, a frame of voice": microseconds(caller_frames(-20.0)),
        "ReplyAudio with its release": microseconds(reply_frames),
    }
    for name, cost in rows.items():
        print(f"{name:40} {cost:7.2f} us  {cost / comparator:6.2f} x")
    worst = max(rows["CallerAudio, a quiet frame"], rows["CallerAudio, a frame of voice"])
    print(f"budget of a CallerAudio step {BUDGET_US} us: {'kept' if worst < BUDGET_US else 'exceeded'}")
    return 0 if worst < BUDGET_US else 1


if __name__ == "__main__":
    sys.exit(main())
