"""Sound that comes faster than time passes waits, in every dialect, and none of it is lost."""

import asyncio
import base64
import json
from collections.abc import Callable

import aiohttp
import pytest
from serving import House, serving, settings_of, start_stream, until

from gateway.events import CallerAudio
from gateway.runtime.sound_share import LONGEST_S, RATE, SoundShare
from gateway.settings import ServerSettings

AHEAD_S = 1.0
SOUND_S = 3.0
HURRIED = ServerSettings(port=0, admin_port=0, close_s=1, audio_ahead_s=AHEAD_S)
FRAME = b"\x7f" * 160  # 20 ms of mu-law at 8000 Hz
FRAMES = round(SOUND_S * 50)


async def pcm(house: House) -> tuple[aiohttp.ClientWebSocketResponse, list[str | bytes]]:
    socket = await house.http.ws_connect(f"{house.url}/v1/ws/pcm?encoding=pcm_mulaw&sample_rate=8000")
    return socket, [FRAME] * FRAMES


async def pcm_at_once(house: House) -> tuple[aiohttp.ClientWebSocketResponse, list[str | bytes]]:
    socket, _ = await pcm(house)
    return socket, [FRAME * FRAMES]


async def twilio(house: House) -> tuple[aiohttp.ClientWebSocketResponse, list[str | bytes]]:
    socket = await house.media(await house.invited())
    for message in start_stream():
        await socket.send_str(message)
    media = {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": base64.b64encode(FRAME).decode()}
    return socket, [json.dumps({"event": "media", "streamSid": "MZ1", "media": media})] * FRAMES


def heard_s(house: House) -> float:
    heard = house.call_runner().heard if house.runners else []
    return sum(len(event.audio) for event in heard if isinstance(event, CallerAudio)) / 8000


@pytest.mark.parametrize("dialect", [pcm, pcm_at_once, twilio])
async def test_sound_ahead_of_time_waits(
    dialect: Callable[[House], "asyncio.Future[tuple[aiohttp.ClientWebSocketResponse, list[str | bytes]]]"],
) -> None:
    """Three seconds of sound at once are heard as a burst of one and then hardly faster than time, whole to the end."""
    async with serving(settings_of(server=HURRIED)) as house:
        socket, messages = await dialect(house)
        clock = asyncio.get_running_loop().time
        began = clock()
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        piece_s = 1.1  # what is worked on as one piece of a long message, and a frame

        def is_whole() -> bool:
            heard = heard_s(house)
            assert heard <= AHEAD_S + RATE * (clock() - began) + piece_s
            return heard == SOUND_S

        await until(is_whole)
        assert clock() - began >= (SOUND_S - AHEAD_S - piece_s) / RATE
        await socket.close()


async def test_one_who_hurries_holds_up_nobody_else() -> None:
    """While one caller's sound waits, another's is heard as it comes."""
    async with serving(settings_of(server=HURRIED)) as house:
        hasty, messages = await pcm(house)
        for message in messages * 5:
            await hasty.send_bytes(message)  # type: ignore[arg-type]
        await until(lambda: heard_s(house) > AHEAD_S)
        calm, _ = await pcm(house)
        for _ in range(25):
            await calm.send_bytes(FRAME)
            assert await calm.receive_bytes(timeout=5) == FRAME
        await hasty.close()
        await calm.close()


def test_a_burst_and_then_time() -> None:
    """What is within the burst waits for nothing; what is beyond it waits for its time; silence earns a burst again."""
    share = SoundShare(2.0, 100.0)
    share.hear(2000)
    assert share.pause_s(100.0) == 0
    share.hear(550)
    assert share.pause_s(100.0) == pytest.approx(0.5)
    assert share.pause_s(100.5) == pytest.approx(0)
    share.hear(60_000)
    assert share.pause_s(100.5) == LONGEST_S
    assert share.pause_s(200.0) == 0
    share.hear(2000)
    assert share.pause_s(200.0) == 0


def test_a_clock_that_runs_a_little_fast_never_waits() -> None:
    """Sound that comes a twentieth faster than ours counts is never held up, however long the call."""
    share = SoundShare(1.0, 0.0)
    for second in range(1, 20_000):
        share.hear(1050)
        assert share.pause_s(float(second)) == 0
