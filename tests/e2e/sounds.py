"""Sound by which every moment can be told apart, and what of it a person has heard."""

import random

from msgspec import Struct

from gateway.audio import AUDIBLE_DBFS, MULAW_8K, AudioFormat, level_dbfs
from gateway.simulate import CallResult

FRAME_BYTES = MULAW_8K.frame_bytes(20)
QUIET = MULAW_8K.silence(20)[:1]


def noise(seconds: float, seed: int) -> bytes:
    """Mu-law noise in which no two moments are alike."""
    return random.Random(seed).randbytes(MULAW_8K.frame_bytes(seconds * 1000))  # noqa: S311 - no secret


class Replay(Struct, frozen=True):
    """What of a known sound was heard, in frames of 20 ms."""

    missing_ms: float
    """Never heard."""
    repeated_ms: float
    """Heard more than once."""


def replay_of(sound: bytes, heard: bytes) -> Replay:
    """Look for every frame of a sound in what was heard."""
    times = [heard.count(sound[at : at + FRAME_BYTES]) for at in range(0, len(sound), FRAME_BYTES)]
    return Replay(sum(n == 0 for n in times) * 20.0, sum(max(0, n - 1) for n in times) * 20.0)


def missing_stretch_ms(sent: bytes, arrived: bytes, audio: AudioFormat) -> float:
    """How much of what was sent is missing in one place of what arrived, or below 0 arrived twice; the rest is there."""
    same = 0
    while same < len(arrived) and arrived[same] == sent[same]:
        same += 1
    rest = arrived[same:]
    found = sent.find(rest, max(0, same - audio.frame_bytes(1000))) if rest else same
    assert found >= 0, f"from byte {same} on something else arrived than was sent"
    return audio.ms(found - same)


def heard_twice_ms(heard: bytes, audio: AudioFormat, *clips: bytes, window_ms: float = 120) -> float:
    """How much audible sound was heard again later, leaving aside house sounds, which repeat."""
    size = audio.frame_bytes(window_ms)
    twice_ms = 0.0
    for at in range(0, len(heard) - size, size):
        window = heard[at : at + size]
        if level_dbfs(window, audio) < AUDIBLE_DBFS or any(window in clip for clip in clips):
            continue
        if heard.find(window, at + 1) >= 0:
            twice_ms += window_ms
    return twice_ms


def heard_of_clip_ms(clip: bytes, heard: bytes) -> float:
    """How much of a house sound was heard, once or more often."""
    frames = [clip[at : at + FRAME_BYTES] for at in range(0, len(clip) - FRAME_BYTES, FRAME_BYTES)]
    telling = {frame for frame in frames if level_dbfs(frame, MULAW_8K) >= AUDIBLE_DBFS}
    return 20.0 * sum(heard.count(frame) for frame in telling)


def gaps_in(sound: bytes, heard: bytes, audio: AudioFormat) -> list[tuple[float, float]]:
    """Where a sound that was heard in order was interrupted by silence: milliseconds of it before, and the gap's."""
    step = audio.frame_bytes(5)
    found: list[tuple[float, float]] = []
    ear = heard.find(sound[:step])
    assert ear >= 0, "its beginning was not heard"
    at = 0
    while at < len(sound):
        piece = sound[at : at + step]
        if heard[ear : ear + len(piece)] != piece:
            short = next(n for n in range(len(piece)) if heard[ear + n] != piece[n])
            next_ear = heard.find(piece[short:], ear + short)
            assert next_ear >= 0, f"from {audio.ms(at):.0f} ms on it was not heard"
            found.append((audio.ms(at), audio.ms(next_ear - ear - short)))
            ear = next_ear - short
        at += len(piece)
        ear += len(piece)
    return found


def still_ms_allowed(result: CallResult) -> float:
    """How long speech may stand still in a call: agent, gateway and caller share a process, and wait for each other.

    How late the caller itself was shows how long this process was kept from its work.
    """
    return 40.0 + 4 * result.pacing.late_max_ms
