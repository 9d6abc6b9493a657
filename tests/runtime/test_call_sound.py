import asyncio
import base64
import random
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from calling import Line, line, talking
from fakes import (
    MemoryWire,
    Street,
    passing,
    twilio_codec,
    twilio_media,
    until,
    virtual,
)
from serving import start_stream

from gateway.audio import ALAW_8K, MULAW_8K, PCM_8K, PCM_16K, PCM_24K, PCM_44K, PCM_48K, AudioFormat
from gateway.events import (
    CallInfo,
    StopRequested,
)
from gateway.runtime.clips import cut

QUIET = bytes((0x7F, 0xFF, 0x7E, 0xFE)[code % 4] for code in range(256))
"""Turns mu-law into a line on which nobody speaks: an agent that answers no voice would count as deaf."""


# Sound


ALL_FORMATS = [MULAW_8K, ALAW_8K, PCM_8K, PCM_16K, PCM_24K, PCM_44K, PCM_48K]


@pytest.mark.parametrize("audio", ALL_FORMATS, ids=str)
def test_pieces_of_a_clip(audio: AudioFormat) -> None:
    """The pieces of a house sound lie side by side, sample by sample, in every format."""
    info = CallInfo("call_1", "pcm", audio)
    for samples in (1, 159, 160, 161, 882, 883, 44_099, 44_101):
        clip = bytes(number % 251 for number in range(samples * audio.sample_bytes))
        at_ms, pieces = 0.0, []
        length_ms = audio.ms(len(clip))
        while at_ms < length_ms:
            ms = min(20.0, length_ms - at_ms)
            pieces.append(cut(clip, info, at_ms, ms))
            at_ms += ms
        assert b"".join(pieces) == clip
        assert all(len(piece) % audio.sample_bytes == 0 for piece in pieces)
        assert max(map(len, pieces)) <= audio.frame_bytes(20) + audio.sample_bytes


async def _frames(
    seconds: float, give: Callable[[bytes], None], seed: int, size: int, *, is_quiet: bool = False
) -> bytes:
    """A caller who sends a frame every 20 ms; gives what was sent."""
    rolled = random.Random(seed)  # noqa: S311 - a test must be repeatable
    sent = bytearray()
    at = asyncio.get_running_loop().time()
    for _ in range(int(seconds * 50)):
        frame = rolled.randbytes(size)
        frame = frame.translate(QUIET) if is_quiet else frame
        sent += frame
        give(frame)
        at += 0.02
        await passing(at - asyncio.get_running_loop().time())
    return bytes(sent)


async def _replies(call: Line, seconds: float, seed: int, size: int, share: float) -> bytes:
    """An agent that speaks for a share of the time, at various paces; gives what it said."""
    rolled = random.Random(seed)  # noqa: S311 - a test must be repeatable
    said = bytearray()
    clock = asyncio.get_running_loop().time
    until_s, number = clock() + seconds, 0
    while clock() < until_s - 12:
        number += 1
        frames = rolled.randrange(1, 400)
        audio = rolled.randbytes(frames * size + rolled.randrange(size // 2) * 2)
        said += audio
        call.agent.speak(f"r{number}", audio, rolled.choice([0, size // 2, 300, size]))
        await passing(frames * 0.02 / share)
    await passing(until_s - clock())
    return bytes(said)


@virtual
async def test_ten_minutes_both_ways() -> None:
    """In ten minutes every byte of the caller reaches the agent and every byte of the agent the caller, in order."""
    async with talking(Street()) as call:
        heard, said = await asyncio.gather(
            _frames(600, call.wire.give, 1, 960), _replies(call, 600, 2, 960, 0.8)
        )
        await until(lambda: len(call.agent.audio) == len(heard))
        assert bytes(call.agent.audio) == heard
        assert len(said) > 960 * 50 * 300
        assert call.wire.sound() == said
        call.wire.give({"type": "session.end"})


@virtual
async def test_an_hour_both_ways() -> None:
    """An hour of a phone call loses, changes and doubles nothing, and ends as fast as a short one."""
    async with line(Street(), twilio_codec()) as call:
        call.wire.give(*start_stream())
        await until(lambda: call.runner.phase == "talking")
        returning = asyncio.ensure_future(_return_marks(call.wire))
        heard, said = await asyncio.gather(
            _frames(3600, lambda frame: call.wire.give(twilio_media("MZ1", frame)), 3, 160, is_quiet=True),
            _replies(call, 3600, 4, 160, 0.3),
        )
        await until(lambda: len(call.agent.audio) == len(heard))
        assert bytes(call.agent.audio) == heard
        played = b"".join(
            base64.b64decode(message["media"]["payload"]) for message in call.wire.texts("media")
        )
        assert played == said
        assert not call.wire.texts("clear")
        call.runner.offer(StopRequested())
        await call.life
        returning.cancel()
        with suppress(asyncio.CancelledError):
            await returning


async def _return_marks(wire: MemoryWire) -> None:
    """A carrier's buffer: plays at real time and returns each mark when it is reached."""
    clock = asyncio.get_running_loop().time
    read, dry_at = 0, clock()
    while True:
        if read == len(wire.sent):
            await passing(0.02)
            continue
        message = msgspec.json.decode(wire.sent[read])
        read += 1
        if message["event"] == "media":
            dry_at = max(dry_at, clock()) + len(base64.b64decode(message["media"]["payload"])) / 8000
        elif message["event"] == "mark":
            name = {"event": "mark", "streamSid": message["streamSid"], "mark": message["mark"]}
            asyncio.get_running_loop().call_at(dry_at, wire.give, name)
