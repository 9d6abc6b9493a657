"""Speaking for the offline agent: sentences in, sound out.

Owns the choice of a voice (flite, else espeak-ng, each run as a process; else the clips that are shipped), the limits on
it, and a cache of what was said before. Refuses to link any synthesiser, to use a shell, and to fail: what cannot be
spoken becomes a short tone, so that a reply is never only silence.
"""

import asyncio
import hashlib
import logging
import math
import re
import shutil
import struct
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Final, Literal

from gateway.audio import PCM_24K, AudioFormat, convert, to_pcm16

Engine = Literal["flite", "espeak-ng", "clips"]

CLIPS: Final = Path(__file__).parent.parent / "agents" / "clips"
"""Speech that is shipped: one file per sentence or word, and the house sounds ``hold.wav`` and ``apology.wav``."""

SPOKEN_CHARACTERS: Final = 1000
"""Longer texts are cut: more than a minute of speech is no reply."""
_SILENT_TAIL_MS: Final = 60
_LOG: Final = logging.getLogger(__name__)


def read_clip(data: bytes) -> tuple[AudioFormat, bytes]:
    """Read a WAV file of 16-bit PCM or mu-law, mono, as 16-bit PCM; its stated length may exceed the file (espeak-ng).

    Raises:
        ValueError: when it is neither.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("this is not a WAV file; convert it to 16-bit PCM or mu-law, mono")
    at, kind = 12, None
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if name == b"fmt " and len(body) >= 16:
            kind = struct.unpack("<HHIIHH", body[:16])
        if name == b"data" and kind is not None:
            code, channels, rate_hz, _, _, bits = kind
            if (code, channels, bits) not in {(1, 1, 16), (7, 1, 8)}:
                break
            pcm = to_pcm16(body, "mulaw") if code == 7 else body[: len(body) & ~1]
            return AudioFormat("pcm16", rate_hz), pcm
        at += 8 + size + (size & 1)
    raise ValueError("this WAV file is neither 16-bit PCM nor mu-law, mono; convert it first")


def write_mulaw_clip(mulaw: bytes, rate_hz: int) -> bytes:
    """Write mu-law as a WAV file, the form in which speech is shipped."""
    form = struct.pack("<HHIIHHH", 7, 1, rate_hz, rate_hz, 1, 8, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(mulaw)) + mulaw
    body += b"\x00" * (len(mulaw) & 1)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def clip_name(sentence: str) -> str:
    """File name, without ending, of the clip of a sentence; punctuation and case make no difference."""
    slug = "-".join(re.findall(r"[a-z0-9]+", sentence.lower().replace("'", "")))
    if len(slug) <= 48:
        return slug
    return f"{slug[:40].rstrip('-')}-{hashlib.sha256(slug.encode()).hexdigest()[:7]}"


def find_engine() -> Engine:
    """The best voice of this machine."""
    if shutil.which("flite"):
        return "flite"
    return "espeak-ng" if shutil.which("espeak-ng") else "clips"


def tone(frequency_hz: float, ms: float, audio_format: AudioFormat = PCM_24K, level: float = 0.15) -> bytes:
    """A sine tone of 16-bit PCM, faded in and out over 10 ms."""
    count = int(audio_format.rate_hz * ms / 1000)
    fade = max(1, audio_format.rate_hz // 100)
    return b"".join(
        struct.pack(
            "<h",
            int(
                32767
                * level
                * min(1.0, at / fade, (count - at) / fade)
                * math.sin(2 * math.pi * frequency_hz * at / audio_format.rate_hz)
            ),
        )
        for at in range(count)
    )


class Clips:
    """The shipped speech of one folder, read when first needed."""

    def __init__(self, folder: Path = CLIPS) -> None:
        self._folder = folder
        self._names = {path.stem for path in folder.glob("*.wav")} | {
            path.stem for path in folder.glob("*/*.wav")
        }
        self._longest = max((name.count("-") + 1 for name in self._names), default=0)

    def whole(self, sentence: str) -> bytes | None:
        """The clip of exactly this sentence as PCM at 24 kHz."""
        name = clip_name(sentence)
        if not name or name not in self._names:
            return None
        for path in (self._folder / "said" / f"{name}.wav", self._folder / f"{name}.wav"):
            if path.is_file():
                rate, pcm = read_clip(path.read_bytes())
                return convert(pcm, rate, PCM_24K)
        return None

    def pieced(self, sentence: str) -> bytes:
        """The sentence put together from the longest clips that fit; words without a clip are left out."""
        words = re.findall(r"[a-z0-9]+", sentence.lower().replace("'", ""))[:200]
        pieces: list[bytes] = []
        at = 0
        while at < len(words):
            for size in range(min(self._longest, len(words) - at, 12), 0, -1):
                if clip := self.whole(" ".join(words[at : at + size])):
                    pieces.append(clip)
                    at += size
                    break
            else:
                at += 1
        return PCM_24K.silence(30).join(pieces)

    def spoken(self, text: str) -> bytes:
        """A text sentence by sentence, whole where there is a clip, pieced where there is not."""
        if whole := self.whole(text):
            return whole
        sentences = (self.whole(part) or self.pieced(part) for part in re.split(r"(?<=[.!?])\s+", text))
        return PCM_24K.silence(150).join(sound for sound in sentences if sound)


class Speaking:
    """The voice of one process, shared by all its sessions."""

    def __init__(
        self,
        *,
        engine: Engine | None = None,
        clips: Path = CLIPS,
        concurrency: int = 2,
        timeout_s: float = 5,
        cached: int = 200,
    ) -> None:
        """``cached`` sentences are kept; at most ``concurrency`` processes of ``timeout_s`` seconds run at once."""
        self.engine: Engine = engine or find_engine()
        self._clips = Clips(clips)
        self._turn = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._cached = cached
        self._cache: OrderedDict[str, bytes] = OrderedDict()

    async def speak(self, text: str) -> bytes:
        """The text as 16-bit PCM at 24 kHz; never empty."""
        text = " ".join("".join(char if char.isprintable() else " " for char in text).split())[
            :SPOKEN_CHARACTERS
        ]
        if (kept := self._cache.get(text)) is not None:
            self._cache.move_to_end(text)
            return kept
        sound = b""
        if self.engine != "clips" and any(char.isalnum() for char in text):
            sound = await self._synthesise(text)
        sound = sound or self._clips.spoken(text)
        if not sound:
            _LOG.warning(
                "nothing can speak here: install flite or espeak-ng to hear more than the shipped sentences"
            )
            sound = tone(440, 200)
        sound += PCM_24K.silence(_SILENT_TAIL_MS)
        self._cache[text] = sound
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)
        return sound

    async def _synthesise(self, text: str) -> bytes:
        """Run the synthesiser; nothing when it fails, so that the clips get their chance."""
        async with self._turn:
            try:
                # Into a file: what uvloop gives a process for its output cannot be opened as /dev/stdout.
                with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                    if self.engine == "flite":
                        await self._run(["flite", "-voice", "slt", "-t", text, "-o", file.name])
                    else:
                        await self._run(["espeak-ng", "-w", file.name, "-v", "en-us", "--", text])
                    source, pcm = read_clip(file.read())
                return convert(pcm, source, PCM_24K)
            except (OSError, ValueError, TimeoutError) as error:
                _LOG.warning("%s could not speak (%s); the shipped clips are used", self.engine, error)
                return b""

    async def _run(self, command: list[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise ValueError(f"it ended with {process.returncode}")
