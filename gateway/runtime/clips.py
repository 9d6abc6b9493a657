"""Loads the house's sounds, such as the one a caller hears while an agent is away, in the format of a call.

Owns reading, conversion and a small cache of both. Refuses to play anything. A file is read when it has changed
since; reading blocks for some milliseconds, so ask once at the start of a call, not in the middle.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from gateway.audio import AudioFormat, convert, read_wav
from gateway.errors import ConfigError
from gateway.events import CallInfo
from gateway.settings import AgentSettings

BUILT_IN_CLIPS: Final = ("hold", "apology")
"""Sounds that every agent has: while it is away, and before a call ends because nobody can answer it."""
MAX_CLIP_BYTES: Final = 16 * 1024 * 1024
"""Largest WAV file: about three minutes at 48 kHz."""


def load_clips(agent: AgentSettings, audio_format: AudioFormat) -> Mapping[str, bytes]:
    """All sounds of an agent by name, its own or the built-in ones, in a call's format.

    Raises:
        ConfigError: when a file that was there at the start cannot be read any more.
    """
    return {name: load_clip(agent.clips.get(name, ""), name, audio_format) for name in BUILT_IN_CLIPS}


def load_clip(path: str, name: str, audio_format: AudioFormat) -> bytes:
    """One sound: of a file, or with an empty path the built-in one of this name.

    Raises:
        ConfigError: when it cannot be read.
    """
    try:
        changed = Path(path).stat().st_mtime_ns if path else 0
        return _converted(path, name, changed, audio_format)
    except (OSError, ValueError) as error:
        raise ConfigError(f"clip {name} ({path or 'built-in'}): {_sentence(error)}") from error


def built_in(name: str) -> Traversable:
    """Where the package keeps a sound."""
    return resources.files("gateway.agents") / "clips" / f"{name}.wav"


def why_unusable(path: Path) -> str:
    """Why a file cannot be a clip, and what to do; empty when it can."""
    try:
        _read(path)
    except (OSError, ValueError) as error:
        return _sentence(error)
    return ""


@lru_cache(maxsize=64)
def _converted(path: str, name: str, changed: int, audio_format: AudioFormat) -> bytes:  # noqa: ARG001 - a changed file is another key
    wav_format, pcm = _read(Path(path) if path else built_in(name))
    return convert(pcm, wav_format, audio_format)


def _read(source: Traversable) -> tuple[AudioFormat, bytes]:
    with source.open("rb") as file:
        data = file.read(MAX_CLIP_BYTES + 1)
    if len(data) > MAX_CLIP_BYTES:
        raise ValueError(f"the file is larger than {MAX_CLIP_BYTES} bytes; shorten it")
    return read_wav(data)


def _sentence(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (
            f"the file {error.filename} cannot be read ({error.strerror}); put it there or correct the path"
        )
    return str(error)


def cut(clip: bytes, info: CallInfo | None, at_ms: float, ms: float) -> bytes:
    """A piece of a clip, such that pieces which follow each other in time do so in samples."""
    if info is None:
        return b""
    audio = info.audio
    start, end = (round(audio.rate_hz * place / 1000) * audio.sample_bytes for place in (at_ms, at_ms + ms))
    return clip[start:end]
