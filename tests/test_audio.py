import itertools
import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.audio import (
    ALAW_8K,
    AUDIBLE_DBFS,
    MULAW_8K,
    PCM_8K,
    PCM_16K,
    PCM_24K,
    PCM_44K,
    PCM_48K,
    AudioFormat,
    Converter,
    Encoding,
    at_volume,
    convert,
    from_pcm16,
    level_dbfs,
    read_wav,
    to_pcm16,
    write_wav,
)

FORMATS = (PCM_8K, PCM_16K, PCM_24K, PCM_44K, PCM_48K)
PAIRS = list(itertools.permutations(FORMATS, 2))
HELD_MS = {
    (8000, 16000): 30,
    (8000, 24000): 30,
    (8000, 44100): 30,
    (8000, 48000): 30,
    (16000, 8000): 15,
    (16000, 24000): 15,
    (16000, 44100): 15,
    (16000, 48000): 15,
    (24000, 8000): 25,
    (24000, 16000): 10,
    (24000, 44100): 10,
    (24000, 48000): 10,
    (44100, 8000): 30,
    (44100, 16000): 14,
    (44100, 24000): 6,
    (44100, 48000): 6,
    (48000, 8000): 28,
    (48000, 16000): 13,
    (48000, 24000): 5,
    (48000, 44100): 6,
}
"""The delay that resampling adds to a call, in milliseconds, by the rates it joins."""
ALL_CODES = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768)

Signal = NDArray[np.float64]


def pair_name(formats: object) -> str:
    assert isinstance(formats, AudioFormat)
    return f"{formats.encoding}-{formats.rate_hz}"


def tone(rate_hz: int, frequency_hz: float, seconds: float = 1.0, peak: float = 0.5) -> bytes:
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    return (np.sin(2 * np.pi * frequency_hz * times) * peak * 32767).round().astype(np.int16).tobytes()


def samples(pcm: bytes) -> Signal:
    return np.frombuffer(pcm, np.int16).astype(np.float64)


def in_pieces(converter: Converter, audio: bytes, seed: int, largest: int = 1500) -> bytes:
    """Convert in pieces of odd sizes."""
    sizes = random.Random(seed)  # noqa: S311 - repeatable sizes
    heard, at = b"", 0
    while at < len(audio):
        size = sizes.randint(1, largest)
        heard += converter.feed(audio[at : at + size])
        at += size
    return heard + converter.flush()


def worst_click_db(pcm: bytes, rate_hz: int, frequency_hz: float) -> float:
    """Largest deviation from the tone that fits best, in dB of that tone's peak; the ends are left out."""
    signal = samples(pcm)
    times = np.arange(len(signal)) / rate_hz
    middle = slice(len(signal) // 10, -len(signal) // 10)
    angles = 2 * np.pi * frequency_hz * times[middle]
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    fit, *_ = np.linalg.lstsq(waves, signal[middle], rcond=None)
    rest = np.abs(waves @ fit - signal[middle]).max()
    return 20 * math.log10(rest / float(np.hypot(*fit)))


# G.711


def itu_mulaw() -> list[int]:
    """Positive half of ITU-T G.711 table 2a: output values by interval, 14 bits in the scale of 16."""
    edges = [0, 1]  # decision values: 8 segments of 16 intervals, the first of them halved
    for segment in range(8):
        edges += [edges[-1] + (2 << segment) * (step + 1) for step in range(15 if segment == 0 else 16)]
    return [0] + [2 * (low + high) for low, high in itertools.pairwise(edges[1:])]


def itu_alaw() -> list[int]:
    """Positive half of ITU-T G.711 table 1a: output values by interval, 13 bits in the scale of 16."""
    edges = [0]
    for segment in range(8):
        edges += [edges[-1] + (2 << max(0, segment - 1)) * (step + 1) for step in range(16)]
    return [4 * (low + high) for low, high in itertools.pairwise(edges)]


def test_mulaw_codes_decode_as_the_itu_says() -> None:
    """Code 0xff is zero, codes count down from there, and the lower half is negative."""
    half = itu_mulaw()
    assert (len(half), half[1], half[-1]) == (128, 8, 32124)
    decoded = samples(to_pcm16(ALL_CODES, "mulaw"))
    assert decoded.tolist() == [-value for value in half[::-1]] + half[::-1]


def test_alaw_codes_decode_as_the_itu_says() -> None:
    """Codes count up from 0xd5, the smallest positive value, with every second bit inverted."""
    half = itu_alaw()
    assert (len(half), half[0], half[-1]) == (128, 8, 32256)
    decoded = samples(to_pcm16(ALL_CODES, "alaw"))
    assert decoded.tolist() == [
        half[(code ^ 0x55) & 0x7F] * (1 if (code ^ 0x55) & 0x80 else -1) for code in range(256)
    ]


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_codes_survive_the_way_through_pcm(encoding: Encoding) -> None:
    """Every code comes back as itself, but for the second zero of mu-law, which becomes the first."""
    back = from_pcm16(to_pcm16(ALL_CODES, encoding), encoding)
    assert back == (ALL_CODES.replace(b"\x7f", b"\xff") if encoding == "mulaw" else ALL_CODES)


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_every_sample_gets_its_nearest_code(encoding: Encoding) -> None:
    """No code is nearer to a sample than the one it gets."""
    values = np.unique(samples(to_pcm16(ALL_CODES, encoding)))
    coded = samples(to_pcm16(from_pcm16(EVERY_SAMPLE.astype(np.int16).tobytes(), encoding), encoding))
    place = np.clip(np.searchsorted(values, EVERY_SAMPLE), 1, len(values) - 1)
    nearest = np.minimum(np.abs(values[place] - EVERY_SAMPLE), np.abs(values[place - 1] - EVERY_SAMPLE))
    assert np.array_equal(np.abs(coded - EVERY_SAMPLE), nearest)


def test_silence_is_the_byte_that_carriers_send() -> None:
    """Zero becomes 0xff in mu-law and 0xd5 in A-law, as `silence` gives it."""
    assert from_pcm16(bytes(4), "mulaw") == b"\xff\xff" == MULAW_8K.silence(0.25)
    assert from_pcm16(bytes(4), "alaw") == b"\xd5\xd5" == ALAW_8K.silence(0.25)
    assert from_pcm16(b"\x01\x02", "pcm16") == to_pcm16(b"\x01\x02", "pcm16") == b"\x01\x02"


# Formats


@pytest.mark.parametrize(
    ("audio_format", "bytes_of_20_ms", "bytes_per_ms"),
    [(MULAW_8K, 160, 8), (PCM_16K, 640, 32), (PCM_24K, 960, 48), (PCM_44K, 1764, 88.2), (PCM_48K, 1920, 96)],
    ids=["mulaw", "16k", "24k", "44k", "48k"],
)
def test_sizes_and_durations_agree(
    audio_format: AudioFormat, bytes_of_20_ms: int, bytes_per_ms: float
) -> None:
    """Twenty milliseconds have the size that the rate says, and back."""
    assert audio_format.frame_bytes(20) == len(audio_format.silence(20)) == bytes_of_20_ms
    assert audio_format.ms(bytes_of_20_ms) == pytest.approx(20)
    assert audio_format.bytes_per_ms == pytest.approx(bytes_per_ms)


def test_frames_are_whole_samples() -> None:
    """A duration between two samples is rounded down."""
    assert PCM_44K.frame_bytes(0.03) == 2
    assert PCM_44K.frame_bytes(0.02) == 0
    assert PCM_8K.frame_bytes(0.13) == 2


# Converting


@pytest.mark.parametrize("seed", range(100))
def test_pieces_give_what_the_whole_gives(seed: int) -> None:
    """However the stream is cut, also through samples, the same bytes come out."""
    choice = random.Random(seed)  # noqa: S311 - repeatable choice
    source, target = choice.sample([*FORMATS, MULAW_8K, ALAW_8K], 2)
    noise = convert(choice.randbytes(16_001), PCM_8K, source)
    audio = noise + tone(source.rate_hz, 440, 0.2) if source.encoding == "pcm16" else noise
    assert in_pieces(Converter(source, target), audio, seed) == convert(audio, source, target)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=pair_name)
def test_pieces_do_not_click(source: AudioFormat, target: AudioFormat) -> None:
    """A tone in pieces of 20 ms stays a tone: nothing else in it is louder than -75 dB."""
    for frequency_hz in (440.0, 3000.0):
        audio = tone(source.rate_hz, frequency_hz)
        frame = source.frame_bytes(20)
        converter = Converter(source, target)
        pieces = [converter.feed(audio[at : at + frame]) for at in range(0, len(audio), frame)]
        heard = b"".join(pieces) + converter.flush()
        assert worst_click_db(heard, target.rate_hz, frequency_hz) < -75


def test_clicks_would_be_found() -> None:
    """The measure above sees what it looks for: converting each piece by itself clicks."""
    audio = tone(8000, 440)
    pieces = [convert(audio[at : at + 320], PCM_8K, PCM_16K) for at in range(0, len(audio), 320)]
    assert worst_click_db(b"".join(pieces), 16000, 440) > -40


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=pair_name)
def test_delay_is_bounded(source: AudioFormat, target: AudioFormat) -> None:
    """Never more than the stated part of the sound is held back, and that is at most 35 ms."""
    converter = Converter(source, target)
    audio = tone(source.rate_hz, 440, 2.0)
    frame = source.frame_bytes(20)
    put_ms, got_ms, held_ms = 0.0, 0.0, 0.0
    for at in range(0, len(audio), frame):
        put_ms += source.ms(len(audio[at : at + frame]))
        got_ms += target.ms(len(converter.feed(audio[at : at + frame])))
        held_ms = max(held_ms, put_ms - got_ms)
    stated_ms = HELD_MS[source.rate_hz, target.rate_hz]
    assert held_ms <= stated_ms <= 35
    assert held_ms > stated_ms - 1.5  # else the table is out of date


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=pair_name)
def test_sound_keeps_its_place(source: AudioFormat, target: AudioFormat) -> None:
    """The filter's own delay is taken out: a click stays where it was, and the length stays what it was."""
    pcm = np.zeros(source.rate_hz // 2, np.int16)
    pcm[source.rate_hz // 4] = 16000
    heard = convert(pcm.tobytes(), source, target)
    peak_ms = float(np.abs(samples(heard)).argmax()) / target.rate_hz * 1000
    assert peak_ms == pytest.approx(250, abs=0.3)
    assert target.ms(len(heard)) == pytest.approx(500, abs=0.3)


@pytest.mark.parametrize(
    ("source", "target"), [pair for pair in PAIRS if pair[0].rate_hz > pair[1].rate_hz], ids=pair_name
)
def test_nothing_is_folded_back(source: AudioFormat, target: AudioFormat) -> None:
    """A tone that the lower rate cannot hold is gone, not heard as another one."""
    heard = convert(tone(source.rate_hz, target.rate_hz * 0.575), source, target)
    middle = heard[len(heard) // 10 & ~1 : -(len(heard) // 10 & ~1)]
    assert level_dbfs(middle, target) < -70


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=pair_name)
def test_silence_stays_silence(source: AudioFormat, target: AudioFormat) -> None:
    """Digital silence is not filled with noise, so that what is audible can be told."""
    heard = convert(source.silence(500), source, target)
    assert heard == bytes(len(heard))


def test_equal_formats_pass_untouched() -> None:
    """Nothing is computed, held back or put together where both sides speak alike."""
    converter = Converter(MULAW_8K, MULAW_8K)
    assert converter.feed(b"\x7f\x00") == b"\x7f\x00"
    assert Converter(PCM_24K, PCM_24K).feed(b"\x01\x02\x03") == b"\x01\x02\x03"
    assert converter.flush() == b""


def test_same_rate_is_not_delayed() -> None:
    """Between encodings of one rate every sample comes out at once; half a sample waits."""
    assert Converter(MULAW_8K, ALAW_8K).feed(b"\xff") == b"\xd5"
    converter = Converter(PCM_8K, MULAW_8K)
    assert converter.feed(b"\x00") == b""
    assert converter.feed(b"\x00\x00") == b"\xff"
    assert converter.feed(b"\x00") == b"\xff"


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=pair_name)
def test_flush_begins_anew(source: AudioFormat, target: AudioFormat) -> None:
    """After a flush the same sound gives the same bytes again, and nothing is left to flush."""
    audio = tone(source.rate_hz, 440, 0.1)
    converter = Converter(source, target)
    first = converter.feed(audio) + converter.flush()
    assert converter.flush() == b""
    assert converter.feed(audio) + converter.flush() == first


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=pair_name)
def test_reset_forgets(source: AudioFormat, target: AudioFormat) -> None:
    """After a reset nothing of the old sound is heard, half a sample included."""
    audio = tone(source.rate_hz, 440, 0.1)
    converter = Converter(source, target)
    converter.feed(b"\xff\x7f" * 400 + b"\x01")
    converter.reset()
    assert converter.feed(audio) + converter.flush() == convert(audio, source, target)


# Levels


@pytest.mark.parametrize("audio_format", FORMATS, ids=pair_name)
def test_levels_are_those_of_the_textbook(audio_format: AudioFormat) -> None:
    """A full square wave is 0 dBFS, a full sine -3, half of it -9, and no sound at all -100."""
    assert level_dbfs(b"\xff\x7f\x01\x80" * 80, audio_format) == pytest.approx(0, abs=0.01)
    assert level_dbfs(tone(audio_format.rate_hz, 1000, peak=1), audio_format) == pytest.approx(
        -3.01, abs=0.02
    )
    assert level_dbfs(tone(audio_format.rate_hz, 1000), audio_format) == pytest.approx(-9.03, abs=0.02)
    assert level_dbfs(audio_format.silence(20), audio_format) == level_dbfs(b"", audio_format) == -100


@pytest.mark.parametrize("audio_format", [MULAW_8K, ALAW_8K], ids=pair_name)
def test_levels_of_g711_are_those_of_its_samples(audio_format: AudioFormat) -> None:
    """Loudness does not depend on the encoding."""
    audio = from_pcm16(tone(8000, 1000), audio_format.encoding)
    decoded = to_pcm16(audio, audio_format.encoding)
    assert level_dbfs(audio, audio_format) == pytest.approx(level_dbfs(decoded, PCM_8K), abs=0.001)
    assert level_dbfs(audio_format.silence(20), audio_format) < AUDIBLE_DBFS - 20


@pytest.mark.parametrize(("volume", "louder_db"), [(0.5, -6.02), (0.1, -20.0)])
def test_volume_takes_from_the_level_what_it_says(volume: float, louder_db: float) -> None:
    """Half the volume is six decibels less, none is silence, and all of it changes no sample."""
    pcm = tone(24_000, 440)
    quieter = level_dbfs(at_volume(pcm, volume), PCM_24K)
    assert quieter == pytest.approx(level_dbfs(pcm, PCM_24K) + louder_db, abs=0.05)
    assert at_volume(pcm, 0.0) == bytes(len(pcm))
    assert at_volume(pcm, 1.0) == pcm


def test_half_a_sample_has_no_level() -> None:
    """An odd byte at the end does not count."""
    assert level_dbfs(b"\xff\x7f\x55", PCM_8K) == pytest.approx(0, abs=0.01)
    assert level_dbfs(b"\x55", PCM_8K) == -100


# WAV


@pytest.mark.parametrize("audio_format", FORMATS, ids=pair_name)
def test_wav_files_come_back(audio_format: AudioFormat) -> None:
    """What was written is read: format and every sample."""
    pcm = tone(audio_format.rate_hz, 440, 0.1)
    assert read_wav(write_wav(pcm, audio_format.rate_hz)) == (audio_format, pcm)
    assert read_wav(write_wav(b"", audio_format.rate_hz)) == (audio_format, b"")


def test_first_channel_is_taken() -> None:
    """Of a stereo file the left side is read."""
    left, right = tone(8000, 440, 0.1), tone(8000, 880, 0.1)
    both = np.stack([np.frombuffer(left, np.int16), np.frombuffer(right, np.int16)], axis=1).tobytes()
    assert read_wav(write_wav(both, 8000, channels=2)) == (PCM_8K, left)
