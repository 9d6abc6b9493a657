"""Sound as bytes: formats, G.711, levels, streaming resampling and WAV files in memory.

Owns every sample that is computed and is the only user of numpy and soxr. Refuses files, clocks and any
knowledge of calls. Samples are mono; 16-bit PCM is signed and little-endian.
"""

import io
import math
import warnings
import wave
from typing import Final, Literal

import msgspec
import numpy as np
import soxr
from numpy.typing import NDArray

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop  # from 3.13 on it comes from the package audioop-lts

Encoding = Literal["pcm16", "mulaw", "alaw"]

DIGITAL_SILENCE_DBFS: Final = -100.0
"""The level of a frame in which every sample is zero, and of an empty one."""
AUDIBLE_DBFS: Final = -50.0
"""A frame at or above this level can be heard (reference: Voice Agent API, 5.3)."""

_SAMPLE_BYTES: Final[dict[str, int]] = {"pcm16": 2, "mulaw": 1, "alaw": 1}
_SILENT_BYTE: Final[dict[str, bytes]] = {"pcm16": b"\x00", "mulaw": b"\xff", "alaw": b"\xd5"}
# With a variable ratio soxr filters sample by sample and holds back 5 ms (48 to 24 kHz) to 30 ms (from 8 kHz),
# always the same. With a fixed ratio it works in blocks: 20 to 175 ms come out at once, and then nothing. In
# floating point it adds no dither, so that silence stays silence and the way a stream is cut changes nothing.
_QUALITY: Final = "HQ"

Samples = NDArray[np.int16]


class AudioFormat(msgspec.Struct, frozen=True):
    """How a stretch of bytes is to be heard; equal formats never need transcoding."""

    encoding: Encoding
    """``pcm16`` (signed, little-endian), ``mulaw`` or ``alaw`` (G.711)."""
    rate_hz: int
    """Samples per second, 8000 to 48000."""

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return _SAMPLE_BYTES[self.encoding]

    @property
    def bytes_per_ms(self) -> float:
        """Bytes of one millisecond; not a whole number at 44.1 kHz."""
        return self.rate_hz * self.sample_bytes / 1000

    def frame_bytes(self, ms: float) -> int:
        """Size of ``ms`` milliseconds, rounded down to whole samples."""
        return int(self.rate_hz * ms / 1000) * self.sample_bytes

    def ms(self, size_bytes: int) -> float:
        """Duration of ``size_bytes`` in milliseconds."""
        return size_bytes / self.bytes_per_ms

    def silence(self, ms: float) -> bytes:
        """Digital silence of ``ms`` milliseconds."""
        return _SILENT_BYTE[self.encoding] * self.frame_bytes(ms)


MULAW_8K: Final = AudioFormat("mulaw", 8000)
ALAW_8K: Final = AudioFormat("alaw", 8000)
PCM_8K: Final = AudioFormat("pcm16", 8000)
PCM_16K: Final = AudioFormat("pcm16", 16000)
PCM_24K: Final = AudioFormat("pcm16", 24000)
PCM_44K: Final = AudioFormat("pcm16", 44100)
PCM_48K: Final = AudioFormat("pcm16", 48000)


def _mulaw_decoding() -> Samples:
    """Table of ITU-T G.711 mu-law: the 16-bit sample of each code."""
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_decoding() -> Samples:
    """Table of ITU-T G.711 A-law: the 16-bit sample of each code."""
    code = np.arange(256) ^ 0x55
    segment = (code & 0x70) >> 4
    magnitude = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment > 0, (magnitude + 0x100) << np.maximum(segment - 1, 0), magnitude)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _encoding(decoding: Samples) -> NDArray[np.uint8]:
    """Table of the nearest code of each 16-bit sample, by the inverse of ``decoding``."""
    order = np.argsort(decoding, kind="stable")
    values = decoding[order].astype(np.int32)
    middles = (values[1:] + values[:-1]) / 2
    samples = np.arange(-32768, 32768)
    codes = order[np.searchsorted(middles, samples)].astype(np.uint8)
    return np.roll(codes, -32768)  # indexed by the sample's unsigned bits


_DECODING: Final[dict[str, Samples]] = {"mulaw": _mulaw_decoding(), "alaw": _alaw_decoding()}
_ENCODING: Final[dict[str, NDArray[np.uint8]]] = {name: _encoding(table) for name, table in _DECODING.items()}
# mu-law has two zeros and A-law none: these codes are the ones that mean silence on the wire
_ENCODING["mulaw"][0], _ENCODING["alaw"][0] = 0xFF, 0xD5
# Every frame of every call is looked at, and for so few samples numpy takes five times as long
_TO_LINEAR: Final = {"mulaw": audioop.ulaw2lin, "alaw": audioop.alaw2lin}
_LEVELS: Final = (DIGITAL_SILENCE_DBFS, *(20 * math.log10(rms / 32768) for rms in range(1, 32769)))


def to_pcm16(audio: bytes, encoding: Encoding) -> bytes:
    """Decode to 16-bit PCM at the same rate; PCM comes back as it is."""
    if encoding == "pcm16":
        return audio
    return _DECODING[encoding].take(np.frombuffer(audio, np.uint8)).tobytes()


def from_pcm16(pcm: bytes, encoding: Encoding) -> bytes:
    """Encode 16-bit PCM (a whole number of samples) at the same rate; for PCM the bytes come back as they are."""
    if encoding == "pcm16":
        return pcm
    return _ENCODING[encoding].take(np.frombuffer(pcm, np.uint16)).tobytes()


def level_dbfs(audio: bytes, audio_format: AudioFormat) -> float:
    """Root-mean-square level, 0 for the loudest square wave, `DIGITAL_SILENCE_DBFS` below one step of 16 bits."""
    if audio_format.encoding == "pcm16":
        pcm = audio if len(audio) % 2 == 0 else audio[:-1]
    else:
        pcm = _TO_LINEAR[audio_format.encoding](audio, 2)
    return _LEVELS[audioop.rms(pcm, 2)]


def at_volume(pcm: bytes, volume: float) -> bytes:
    """16-bit PCM at a share of its volume, from 0 to 1."""
    if volume == 1.0:
        return pcm
    return (np.frombuffer(pcm, np.int16) * volume).astype(np.int16).tobytes()


class Converter:
    """A stream of audio from one format to another, with the filter's state carried from chunk to chunk.

    Chunks may have any size; half a sample waits for its other half. Between equal formats the bytes pass
    through untouched. One converter serves one direction of one call.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self._source = source
        self._target = target
        self._rest = b""
        self._stream: soxr.ResampleStream | None = None
        if source.rate_hz != target.rate_hz:
            self._stream = soxr.ResampleStream(
                source.rate_hz, target.rate_hz, 1, dtype="float32", quality=_QUALITY, vr=True
            )

    def feed(self, audio: bytes) -> bytes:
        """Convert what can be converted now; the filter may hold back up to 30 ms until `flush`."""
        if self._source == self._target:
            return audio
        if self._source.encoding == "pcm16":
            audio = self._rest + audio
            whole = len(audio) & ~1
            self._rest, audio = audio[whole:], audio[:whole]
        return self._run(to_pcm16(audio, self._source.encoding), last=False)

    def flush(self) -> bytes:
        """Give back what the filter holds; the next `feed` begins a new stretch of sound."""
        self._rest = b""
        if self._stream is None:
            return b""
        tail = self._run(b"", last=True)
        self._stream.clear()
        return tail

    def reset(self) -> None:
        """Forget what the filter holds, as after an interruption."""
        self._rest = b""
        if self._stream is not None:
            self._stream.clear()

    def _run(self, pcm: bytes, *, last: bool) -> bytes:
        if self._stream is not None:
            exact = self._stream.resample_chunk(np.frombuffer(pcm, np.int16).astype(np.float32), last=last)
            pcm = np.rint(exact).clip(-32768, 32767).astype(np.int16).tobytes()
        return from_pcm16(pcm, self._target.encoding)


def convert(audio: bytes, source: AudioFormat, target: AudioFormat) -> bytes:
    """Convert a whole recording at once."""
    converter = Converter(source, target)
    return converter.feed(audio) + converter.flush()


def read_wav(data: bytes) -> tuple[AudioFormat, bytes]:
    """Read a WAV file: 16-bit PCM of one channel; of several channels the first is taken.

    Raises:
        ValueError: when it is no WAV file of 16-bit PCM, in one sentence.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate_hz, channels, bits = file.getframerate(), file.getnchannels(), 8 * file.getsampwidth()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: a chunk longer than the file
        why = str(error) or "it is cut short"
        raise ValueError(f"this is not a WAV file of 16-bit PCM ({why}); convert it first") from error
    if bits != 16:
        raise ValueError(f"the WAV file has {bits}-bit samples; convert it to 16-bit PCM")
    if not rate_hz:
        raise ValueError("the WAV file names no sample rate; convert it to 16-bit PCM")
    whole = len(frames) - len(frames) % (2 * channels)
    samples = np.frombuffer(frames[:whole], np.int16)
    return AudioFormat("pcm16", rate_hz), samples[::channels].tobytes()


def write_wav(pcm: bytes, rate_hz: int, channels: int = 1) -> bytes:
    """Write 16-bit PCM (interleaved for several channels) as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return buffer.getvalue()
