"""Recorded speech for tests, in any format."""

import os
from pathlib import Path

import pytest

import gateway.simulate
from gateway.audio import AudioFormat, convert, read_wav
from gateway.runtime.hearing import available, how_to_add

FOLDER = Path(gateway.simulate.__file__).parent / "speech"

hearing_needed = pytest.mark.skipif(
    not available() and os.environ.get("TALKPATH_REQUIRE") != "all",
    reason=f"hearing is missing: {how_to_add()}",
)

SPOKEN = {
    "goforward": "go forward ten meters",
    "something": "go somewhere and do something",
    "cards_001": "ten of clubs",
    "cards_002": "four queen of clubs",
    "cards_003": "seven of clubs",
    "cards_004": "five five",
    "cards_005": "eight of spades four of clubs seven of hearts",
}


def speech(name: str, target: AudioFormat, silence_ms: float = 1200) -> bytes:
    """A recording in a format, followed by silence."""
    source, pcm = read_wav((FOLDER / f"{name}.wav").read_bytes())
    return convert(pcm, source, target) + target.silence(silence_ms)
