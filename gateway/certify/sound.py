"""Sound for checks: noise that no codec can mistake, and comparison sample by sample.

Sound that keeps its format must arrive as it was. Where the gateway resamples, what arrives is compared with the whole
converted at once, within the steps of its encoding.
"""

import random
from array import array
from functools import cache
from typing import Final

from gateway.audio import AudioFormat, convert, from_pcm16, to_pcm16

_QUIET: Final = 64
"""Samples up to this are taken for silence before and after the noise."""
_STEP: Final = 96
"""Difference of two samples that may come from rounding, at the loudness of `noise`."""


@cache
def noise(ms: float, audio: AudioFormat, seed: int) -> bytes:
    """Noise of which no stretch is like another, loud from its first sample to its last."""
    dice = random.Random(seed)  # noqa: S311 - repeatable noise
    wide = array("h", dice.randbytes(2 * int(audio.rate_hz * ms / 1000)))
    samples = array("h", (one // 3 + (1000 if one >= 0 else -1000) for one in wide))
    return from_pcm16(samples.tobytes(), audio.encoding)


def difference(
    said: bytes, said_in: AudioFormat, heard: bytes, heard_in: AudioFormat, *, amid_silence: bool = False
) -> str:
    """What is wrong with what was heard of something said, silence around it left out; empty when nothing is.

    With ``amid_silence`` there was silence before and after it in the same stream, into which a filter rings.
    """
    if not heard:
        return "nothing was heard"
    if len(heard) % heard_in.sample_bytes:
        return f"{len(heard)} bytes are not a whole number of samples of {heard_in.sample_bytes} bytes"
    same = said_in == heard_in
    around = said_in.silence(100) if amid_silence else b""
    whole = around + said + around
    expected = _voice(whole if same else convert(whole, said_in, heard_in), heard_in)
    found = _voice(heard, heard_in)
    if not found:
        return "silence was heard, and nothing else"
    size = min(len(expected), len(found))
    allowed = 0 if same else _STEP
    wrong = [at for at in range(size) if abs(expected[at] - found[at]) > allowed]
    rate = heard_in.rate_hz
    if wrong:
        at = wrong[0]
        return (
            f"sample {at} ({at * 1000 / rate:.1f} ms) is {found[at]} instead of {expected[at]}, "
            f"and {len(wrong)} of {size} samples differ"
        )
    slack = 0 if same else rate // 1000
    if len(found) < len(expected) - slack:
        return f"{len(expected) - len(found)} of {len(expected)} samples are missing at the end"
    if len(found) > len(expected) + slack:
        return f"{len(found) - len(expected)} samples were heard after its end that nobody said"
    return ""


def voice_ms(heard: bytes, heard_in: AudioFormat) -> float:
    """How long the sound lasts between the silence before and after it."""
    return len(_voice(heard, heard_in)) * 1000 / heard_in.rate_hz


def _voice(sound: bytes, audio: AudioFormat) -> "array[int]":
    """The samples from the first loud one to the last."""
    samples = array("h", to_pcm16(sound, audio.encoding))
    first = next((at for at, sample in enumerate(samples) if abs(sample) > _QUIET), len(samples))
    last = next((at for at in range(len(samples) - 1, first, -1) if abs(samples[at]) > _QUIET), first)
    return samples[first : last + 1]
