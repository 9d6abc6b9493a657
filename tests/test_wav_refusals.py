import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio import read_wav


def wav(*, kind: int = 1, channels: int = 1, bits: int = 16, data: bytes = bytes(8)) -> bytes:
    width = channels * bits // 8
    sound = struct.pack("<HHIIHH", kind, channels, 8000, 8000 * width, width, bits)
    chunks = b"fmt " + struct.pack("<I", len(sound)) + sound + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a WAV file"),
        (b"hello, this is no sound at all", "not a WAV file"),
        (b"ID3\x04" + bytes(100), "not a WAV file"),
        (wav()[:20], "not a WAV file"),
        (wav(kind=3, bits=32), "unknown format"),
        (wav(kind=7, bits=8), "unknown format"),
        (wav(bits=8), "8-bit samples"),
        (wav(bits=24), "24-bit samples"),
        (wav(channels=0), "channels"),
    ],
    ids=["empty", "text", "mp3", "cut", "float", "mulaw", "8 bits", "24 bits", "no channel"],
)
def test_bad_wav_file_is_explained(data: bytes, why: str) -> None:
    """What cannot be used is refused in one sentence that says what to do."""
    with pytest.raises(ValueError, match=why) as caught:
        read_wav(data)
    assert "convert it" in str(caught.value)
    assert "()" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    place=st.integers(0, 51),
    value=st.integers(0, 255),
    keep=st.integers(0, 52) | st.just(52),
)
def test_damaged_wav_file_is_read_or_explained(place: int, value: int, keep: int) -> None:
    """A file with a wrong byte or a missing end gives samples, or a sentence."""
    data = bytearray(wav())
    data[place] = value
    try:
        audio_format, pcm = read_wav(bytes(data[:keep]))
    except ValueError as error:
        assert "convert it" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert audio_format.rate_hz > 0
        assert len(pcm) % 2 == 0
