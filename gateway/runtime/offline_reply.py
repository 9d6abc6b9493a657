"""One reply of the offline agent as it goes over the wire: its sound in chunks, its words with their times.

Owns sizes, the pace and the cut of the text when the caller interrupts. Refuses sockets and decisions: what is said and
when to stop is the conversation's.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.agents.offline import CallTool, HangUp
from gateway.audio import PCM_24K, AudioFormat, at_volume, convert

_PCM_CHUNK_MS: Final = 10.0
_G711_CHUNK_MS: Final = 37.5
_FADE_MS: Final = 60.0  # the voices end in a little silence that belongs to no word


class Wanted(msgspec.Struct, frozen=True):
    """A reply that is to be made: what to say, and what to call when it was said."""

    text: str
    calls: tuple[CallTool | HangUp, ...] = ()
    greeting: bool = False


class SpokenWord(msgspec.Struct, frozen=True):
    """One word and where in the reply's sound it is; milliseconds from the first chunk."""

    text: str
    start_ms: int
    end_ms: int


class Reply(msgspec.Struct, frozen=True):
    """A reply that is ready to be sent."""

    reply_id: str
    item_id: str
    text: str
    words: tuple[SpokenWord, ...]
    sound: bytes
    """In the session's output format."""
    audio_format: AudioFormat
    greeting: bool

    @property
    def duration_ms(self) -> float:
        """Length of the sound."""
        return self.audio_format.ms(len(self.sound))

    def chunks(self) -> Iterator[tuple[float, bytes]]:
        """Every chunk with its place in milliseconds: 10 ms of PCM, 37.5 ms of G.711 (reference 5.3)."""
        ms = _PCM_CHUNK_MS if self.audio_format.encoding == "pcm16" else _G711_CHUNK_MS
        size = self.audio_format.frame_bytes(ms)
        for at in range(0, len(self.sound), size):
            yield self.audio_format.ms(at), self.sound[at : at + size]

    def spoken_until(self, ms: float) -> str:
        """The text trimmed to the words that began before ``ms`` of the sound."""
        return " ".join(word.text for word in self.words if word.start_ms < ms)


def words_of(text: str, silence_ms: float, sound_ms: float) -> tuple[SpokenWord, ...]:
    """Spread the words of a text over its sound, by their length in letters."""
    words = text.split()
    weights = [len(word) + 2 + (4 if word[-1] in ",.;:!?" else 0) for word in words]
    total = sum(weights) or 1
    spoken_ms = max(0.0, sound_ms - _FADE_MS)
    placed, before = [], 0
    for word, weight in zip(words, weights, strict=True):
        start = silence_ms + spoken_ms * before / total
        before += weight
        placed.append(SpokenWord(word, round(start), round(silence_ms + spoken_ms * before / total)))
    return tuple(placed)


def encode_speech(pcm: bytes, target: AudioFormat, silence_ms: float, volume: float) -> bytes:
    """Speech (PCM at 24 kHz) in the output format, at the session's volume, behind its digital silence."""
    return target.silence(silence_ms) + convert(at_volume(pcm, volume), PCM_24K, target)
