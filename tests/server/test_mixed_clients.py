"""A hundred clients of four kinds at once on one address, and none of them hears another."""

import asyncio
import base64
import json
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from serving import LIMIT_S, House
from unified import (
    all_adapters,
    api_audio,
    closing,
    jwt,
    opened,
    signed,
    twilio_media,
    twilio_token,
    twilio_words,
    unified,
    unified_house,
    vonage_token,
    vonage_words,
)

from gateway.settings import LimitSettings

EACH = 25
FRAMES = 20
Hold = Callable[[], Awaitable[object]]


async def at_once() -> None:
    """Leave as soon as all was heard."""


def frames(seed: str, size: int) -> list[bytes]:
    """Sound that nobody else sends."""
    noise = random.Random(seed)  # noqa: S311 - repeatable noise
    return [noise.randbytes(size) for _ in range(FRAMES)]


async def binary(socket: aiohttp.ClientWebSocketResponse, size: int) -> bytes:
    """Sound up to a size, from binary messages."""
    heard = b""
    while len(heard) < size:
        message = await socket.receive(timeout=3 * LIMIT_S)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
        heard += message.data if message.type is aiohttp.WSMsgType.BINARY else b""
    return heard


async def texts(socket: aiohttp.ClientWebSocketResponse, size: int, audio: Callable[[dict], str]) -> bytes:  # type: ignore[type-arg]
    """Sound up to a size, from base64 in text messages."""
    heard = b""
    while len(heard) < size:
        heard += base64.b64decode(audio(json.loads(await socket.receive_str(timeout=3 * LIMIT_S))))
    return heard


async def twilio(house: House, number: int, hold: Hold = at_once) -> None:
    call_sid, stream_sid = f"CA{number:04}", f"MZ{number:04}"
    given = await twilio_token(house, call_sid, f"+1415555{number:04}")
    url, sound = unified(house), frames(call_sid, 160)
    async with opened(house, url, *twilio_words(given, call_sid, stream_sid), **signed(url)) as socket:
        for frame in sound:
            await socket.send_str(twilio_media(frame, stream_sid))
        heard = await texts(socket, 160 * FRAMES, lambda message: str(message["media"]["payload"]))
        assert heard == b"".join(sound)
        await hold()


async def vonage(house: House, number: int, hold: Hold = at_once) -> None:
    call_uuid = f"uuid-{number:04}"
    given = await vonage_token(house, call_uuid, f"44770090{number:04}")
    sound = frames(call_uuid, 640)
    async with opened(house, unified(house), *vonage_words(given, call_uuid), **jwt()) as socket:
        for frame in sound:
            await socket.send_bytes(frame)
        heard = await binary(socket, 640 * FRAMES)
        assert heard == b"".join(sound)
        await hold()


async def browser(house: House, number: int, hold: Hold = at_once) -> None:
    sound = frames(f"browser {number}", 960)
    async with opened(house, unified(house), '{"type":"session.update","session":{}}') as socket:
        for frame in sound:
            await socket.send_str(api_audio(frame))
        heard = await texts(socket, 960 * FRAMES, lambda message: str(message.get("data", "")))
        assert heard == b"".join(sound)
        await hold()


async def pcm(house: House, number: int, hold: Hold = at_once) -> None:
    sound = frames(f"pcm {number}", 640)
    async with opened(house, unified(house) + "?sample_rate=16000") as socket:
        for frame in sound:
            await socket.send_bytes(frame)
        heard = await binary(socket, 640 * FRAMES)
        assert heard == b"".join(sound)
        await hold()


async def stranger(house: House) -> None:
    async with opened(house, unified(house), "hello", "hello") as socket:
        assert (await closing(socket))[0] == 1008


KINDS: dict[str, Callable[[House, int, Hold], Coroutine[Any, Any, None]]] = {
    "twilio": twilio,
    "vonage": vonage,
    "browser": browser,
    "pcm": pcm,
}


async def test_all_kinds_at_once() -> None:
    """25 clients of each kind, and strangers between them, all live at once: each gets exactly its own sound back."""
    settings = all_adapters(limits=LimitSettings(calls=4 * EACH))
    together = asyncio.Barrier(4 * EACH)
    async with unified_house(settings) as house:
        async with asyncio.TaskGroup() as group:
            for number in range(EACH):
                group.create_task(stranger(house))
                for kind in KINDS.values():
                    group.create_task(kind(house, number, together.wait))
        kinds = [runner.info.adapter for runner in house.runners if runner.info]
    assert {name: kinds.count(name) for name in KINDS} == dict.fromkeys(KINDS, EACH)


@pytest.mark.parametrize("name", KINDS)
async def test_each_kind_alone(name: str) -> None:
    """A client of each kind holds a call on the unified address."""
    async with unified_house() as house:
        await KINDS[name](house, 1, at_once)
