"""Makes the speech that is shipped, with flite: ``python -m gateway.runtime.make_clips``.

Owns which sentences and words become clips, and the two house sounds. Refuses to run where flite is missing. Run it again
when a sentence of a shipped script changes; a test says when that is.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

from gateway.agents.offline import Script
from gateway.agents.offline_phrases import number_words, parse_phrase, words_of
from gateway.audio import MULAW_8K, PCM_16K, PCM_24K, convert, write_wav
from gateway.runtime.offline_script import SCRIPTS, read_script
from gateway.runtime.speaking import CLIPS, Speaking, clip_name, find_engine, tone, write_mulaw_clip

_HOLD: Final = "One moment, please."
_APOLOGY: Final = "Sorry, something went wrong on our side. Please call again later. Goodbye."
_HOLD_MS: Final = 5000
_WORDS: Final = [
    "going",
    "i",
    "heard",
    "order",
    "is",
    "the",
    "meters",
    "meter",
    "forward",
    "backward",
    "of",
    "a",
    "an",
    "and",
    "or",
    "to",
    "please",
    "press",
    "say",
    "that",
    "this",
    "unknown",
    "yes",
    "no",
    "hundred",
    "thousand",
    "minus",
    "number",
    "in",
    "at",
    "on",
    "it",
    "you",
    "your",
    "we",
    "are",
    "not",
    "sorry",
]


def wanted_clips(scripts: list[Script]) -> list[str]:
    """Every sentence and word that is shipped as a clip, each once."""
    sentences = [text for script in scripts for text in script.sentences() if "{" not in text]
    words = {
        word for value in (*range(21), *range(30, 100, 10)) for word in number_words(value).split()
    } | set(_WORDS)
    for script in scripts:
        for name in script.file.lists:
            words |= words_of(parse_phrase(f"<{name}>", script.file.lists))
    return list(dict.fromkeys([*sentences, *sorted(words)]))


def shipped_scripts() -> list[Script]:
    """The scripts of the package."""
    return [read_script(path.stem) for path in sorted(SCRIPTS.glob("*.yaml"))]


async def make(folder: Path) -> int:
    """Write all clips; how many there are."""
    speaking = Speaking(engine="flite", cached=0)
    (folder / "said").mkdir(parents=True, exist_ok=True)
    sentences = wanted_clips(shipped_scripts())
    for sentence in sentences:
        spoken = convert(await speaking.speak(sentence), PCM_24K, MULAW_8K)
        (folder / "said" / f"{clip_name(sentence)}.wav").write_bytes(
            write_mulaw_clip(spoken, MULAW_8K.rate_hz)
        )
    kept = {clip_name(sentence) for sentence in sentences}
    for path in (folder / "said").glob("*.wav"):
        if path.stem not in kept:
            path.unlink()
    chime = PCM_24K.silence(300).join((tone(523.25, 260), tone(659.25, 260), tone(783.99, 420)))
    hold = chime + PCM_24K.silence(500) + await speaking.speak(_HOLD)
    hold += PCM_24K.silence(max(0, _HOLD_MS - PCM_24K.ms(len(hold))))
    for name, sound in (("hold", hold), ("apology", await speaking.speak(_APOLOGY))):
        pcm = convert(sound, PCM_24K, PCM_16K)
        (folder / f"{name}.wav").write_bytes(write_wav(pcm, PCM_16K.rate_hz))
    return len(kept)


if __name__ == "__main__":
    if find_engine() != "flite":
        sys.exit("flite is not installed; install it (Debian: apt-get install flite) and run this again")
    sys.stdout.write(f"{asyncio.run(make(CLIPS))} clips written to {CLIPS}\n")
