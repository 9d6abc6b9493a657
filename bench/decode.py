"""What reading and writing a frame of sound costs on every wire, beside a comparator in the same run.

Every adapter is measured with the message that the adapters' contract (`tests/adapters/test_adapter_contract.py`) speaks
its wire with, so a new one is measured by itself; the agent's wire with messages as the reference has them. The
comparator is the least that JSON can cost: a typed msgspec decode of a Twilio media message with as many bytes of sound,
and its encode. Prints microseconds per message of 20 ms, the best of several rounds. Exits 1 when reading a frame costs
more than its budget and more than three times its comparator: a slow machine or a long frame is no slow codec.
"""

import base64
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

sys.path[:0] = [str(Path(__file__).parent.parent / "tests" / place) for place in ("", "adapters")]

import wires  # noqa: E402 - a room of the tests
from test_adapter_contract import PROBES, begin  # noqa: E402 - as above

from gateway.commands import Play, SendAudio  # noqa: E402 - as above

BUDGET_US: Final = 1.0
BUDGET_RATIO: Final = 3.0
ROUNDS: Final = 9
TIMES: Final = 5_000


class Media(msgspec.Struct):
    """The part of a Twilio media message that carries sound."""

    payload: bytes


class Frame(msgspec.Struct):
    """A Twilio media message."""

    event: str
    streamSid: str  # noqa: N815 - the carrier's name
    media: Media


def microseconds(work: Callable[[], object]) -> float:
    """Best time of one call of ``work``."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(TIMES):
            work()
        best = min(best, (time.perf_counter() - start) / TIMES)
    return best * 1e6


def comparator(sound: bytes) -> tuple[float, float]:
    """The least that reading and writing a media message with this sound can cost."""
    payload = base64.b64encode(sound).decode()
    text = (
        f'{{"event":"media","streamSid":"MZ{"0" * 32}","media":{{"track":"inbound","payload":"{payload}"}}}}'
    )
    decoder, encoder = msgspec.json.Decoder(Frame), msgspec.json.Encoder()
    frame = decoder.decode(text)
    return microseconds(lambda: decoder.decode(text)), microseconds(lambda: encoder.encode(frame))


def sound_of(length: int) -> bytes:
    """So many bytes of every value."""
    return (bytes(range(256)) * 16)[:length]


def adapter(name: str) -> tuple[bytes, float, float]:
    """A frame's sound, reading the caller's frame, and writing the agent's."""
    codec, info = begin(name)
    sound = sound_of(info.audio.frame_bytes(20))
    message, play = PROBES[name].hear(sound), Play("r1", sound)
    return sound, microseconds(lambda: codec.decode(message)), microseconds(lambda: codec.encode(play))


def agent() -> tuple[bytes, float, float]:
    """A frame's sound, reading the agent's frame, and writing the caller's."""
    codec = wires.new_codec("voice_agent")
    sound = sound_of(160)
    data = base64.b64encode(sound).decode()
    message = (
        f'{{"type":"reply.audio","reply_id":"resp_{"0" * 32}","data":"{data}","timestamp":1790211869.41}}'
    )
    send = SendAudio(sound)
    return sound, microseconds(lambda: codec.decode(message)), microseconds(lambda: codec.encode(send))


def main() -> int:
    """Measure and print."""
    rows = {f"adapter {name}": adapter(name) for name in sorted(PROBES)}
    rows["agent voice_agent"] = agent()
    exceeded = []
    for name, (sound, read, write) in rows.items():
        floor_read, floor_write = comparator(sound)
        print(
            f"{name:22} {len(sound):4} bytes   read {read:6.2f} us {read / floor_read:6.2f} x"
            f"   write {write:6.2f} us {write / floor_write:6.2f} x"
        )
        if read > max(BUDGET_US, BUDGET_RATIO * floor_read):
            exceeded.append(name)
    print(
        f"budget of reading a frame, {BUDGET_US} us or {BUDGET_RATIO} x msgspec alone: {'exceeded by ' + ', '.join(exceeded) if exceeded else 'kept'}"
    )
    return int(bool(exceeded))


if __name__ == "__main__":
    sys.exit(main())
