"""What converting a frame of sound costs, beside the bare library in the same run.

Measured as a call does it: 20 ms after 20 ms through one converter. The comparator is soxr alone on the same number of
samples at the same quality, or, where only the encoding changes, a copy of the bytes. Prints microseconds per frame,
the best of several rounds, and how much of a core 100 calls would need for both ways. Exits 1 when a frame costs more
than its budget.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import soxr

from gateway.audio import (
    ALAW_8K,
    MULAW_8K,
    PCM_8K,
    PCM_16K,
    PCM_24K,
    PCM_44K,
    PCM_48K,
    AudioFormat,
    Converter,
)

BUDGET_US: Final = 100.0
ROUNDS: Final = 7
FRAMES: Final = 1_000
FRAME_MS: Final = 20.0
PAIRS: Final = (
    (MULAW_8K, MULAW_8K),
    (MULAW_8K, PCM_8K),
    (PCM_8K, ALAW_8K),
    (MULAW_8K, PCM_24K),
    (PCM_24K, MULAW_8K),
    (PCM_16K, PCM_24K),
    (PCM_24K, PCM_16K),
    (PCM_44K, PCM_24K),
    (PCM_48K, PCM_24K),
    (PCM_24K, PCM_48K),
)


def microseconds(work: Callable[[], object]) -> float:
    """Best time of one call of ``work``."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(FRAMES):
            work()
        best = min(best, (time.perf_counter() - begin) / FRAMES)
    return best * 1e6


def frame(audio: AudioFormat) -> bytes:
    """Twenty milliseconds of noise, always the same."""
    size = audio.frame_bytes(FRAME_MS)
    return np.random.default_rng(7).integers(0, 256, size, dtype=np.uint8).tobytes()


def bare(source: AudioFormat, target: AudioFormat) -> float:
    """The library alone."""
    if source.rate_hz == target.rate_hz:
        sound = bytearray(frame(source))
        return microseconds(lambda: bytes(sound))
    stream = soxr.ResampleStream(source.rate_hz, target.rate_hz, 1, dtype="float32", quality="HQ", vr=True)
    samples = np.zeros(int(source.rate_hz * FRAME_MS / 1000), np.float32)
    return microseconds(lambda: stream.resample_chunk(samples))


def main() -> int:
    """Measure and print."""
    worst = 0.0
    for source, target in PAIRS:
        converter, sound = Converter(source, target), frame(source)
        ours, floor = microseconds(lambda: converter.feed(sound)), bare(source, target)  # noqa: B023 - called at once
        worst = max(worst, ours)
        names = f"{source.encoding} {source.rate_hz} to {target.encoding} {target.rate_hz}"
        print(
            f"{names:28} {ours:6.2f} us   alone {floor:6.2f} us   100 calls {ours * 100 * 50 * 2 / 1e6:5.1%}"
        )
    print(f"budget of converting a frame {BUDGET_US} us: {'kept' if worst <= BUDGET_US else 'exceeded'}")
    return int(worst > BUDGET_US)


if __name__ == "__main__":
    sys.exit(main())
