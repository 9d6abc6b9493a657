"""Sound in which every piece says which one it is: the caller's frames carry a number, the agent's words a voice each."""

import random
from functools import cache

from gateway.audio import MULAW_8K, to_pcm16

FRAME_BYTES = MULAW_8K.frame_bytes(20)
WORD_MS = 100
WORD_BYTES = MULAW_8K.frame_bytes(WORD_MS)
WORDS = 10
"""Words of a sentence."""
SENTENCE_MS = WORDS * WORD_MS
QUIET = (0xFF, 0xFE)
LOUD = (0x20, 0xA0)
"""Two mu-law values for the bits of a number: not to be heard, and to be heard well."""
BITS = 16
BIT_BYTES = FRAME_BYTES // BITS


@cache
def frame(number: int, *, loud: bool) -> bytes:
    """One frame of the caller."""
    values = LOUD if loud else QUIET
    return b"".join(bytes([values[number >> bit & 1]]) * BIT_BYTES for bit in range(BITS))


def number_of(sound: bytes) -> tuple[int, bool]:
    """Which frame this is, and whether it is loud; AssertionError when it is not one of ours, or not whole."""
    loud = sound[0] in LOUD
    values = LOUD if loud else QUIET
    number = sum((sound[bit * BIT_BYTES] == values[1]) << bit for bit in range(BITS))
    assert sound == frame(number, loud=loud), f"a frame that nobody sent: {sound.hex()}"
    return number, loud


class Voice:
    """What the caller says during a call: quiet, then utterances and pauses in turn."""

    def __init__(self, lead_s: float, utterance_s: float, pause_s: float, seconds: float) -> None:
        self._lead, self._loud, self._pause = (
            round(span_s * 50) for span_s in (lead_s, utterance_s, pause_s)
        )
        self.frames = round(seconds * 50)

    def pieces(self, piece_s: float) -> list[bytes]:
        """All of it as 16-bit samples, in pieces: a simulated caller measures each of them when it begins.

        They come out of the line's own encoding and go back into it unchanged.
        """
        sound = b"".join(frame(n, loud=self.is_loud(n)) for n in range(self.frames))
        size = MULAW_8K.frame_bytes(piece_s * 1000)
        return [to_pcm16(sound[at : at + size], "mulaw") for at in range(0, len(sound), size)]

    def is_loud(self, number: int) -> bool:
        """Whether a frame belongs to an utterance."""
        return self.utterance_of(number) is not None

    def utterance_of(self, number: int) -> int | None:
        """The utterance that a frame belongs to, by the number of its first frame."""
        if number < self._lead:
            return None
        place = (number - self._lead) % (self._loud + self._pause)
        return number - place if place < self._loud else None

    def utterance(self, first: int) -> range:
        """The frames of an utterance."""
        return range(first, first + self._loud)


@cache
def word_sound(call: str, sentence: int, word: int) -> bytes:
    """The sound of a word; no two are alike."""
    return random.Random(f"{call}-{sentence}-{word}").randbytes(WORD_BYTES)  # noqa: S311 - no secret


def word_text(sentence: int, word: int) -> str:
    """How a word is written."""
    return f"s{sentence}w{word}"
