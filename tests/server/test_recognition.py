"""The unified address: who is recognised, who is refused in words, and what a stranger may cost."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from serving import LIMIT_S, House, settings_of, sign, start_stream, until
from unified import (
    ADAPTERS,
    QUICK,
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
from websockets.asyncio.client import connect

from gateway.adapters.pcm import PcmSettings
from gateway.adapters.twilio_http import TwilioSettings
from gateway.server.arrival import STRANGER_BYTES
from gateway.server.door import NOT_LET_IN
from gateway.settings import AccessSettings, KeySettings, LimitSettings, Secret, ServerSettings

UPDATE = '{"type":"session.update","session":{}}'
KEYS = AccessSettings(keys=(KeySettings(name="backend", key=(Secret("k1"),)),))
NO_PROOF = (1008, NOT_LET_IN.strip())


def untouched(house: House) -> bool:
    """Whether nothing was begun for anybody."""
    return not house.runners and not house.registry.listing()


async def told(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, object]:
    """The next message of a type."""
    while True:
        event: dict[str, object] = json.loads(await socket.receive_str(timeout=LIMIT_S))
        if event["type"] == kind:
            return event


async def test_a_client_of_the_provider_changes_its_address_only() -> None:
    """`session.update` as the first message makes the unified address speak the Voice Agent API."""
    async with unified_house() as house, opened(house, unified(house), UPDATE) as socket:
        assert (await told(socket, "session.ready"))["session_id"]
        await socket.send_str(api_audio(b"\x01\x02" * 480))
        await told(socket, "reply.audio")
        assert house.registry.listing()[0].booking.adapter == "browser"


async def test_resuming_on_the_unified_address() -> None:
    """`session.resume` as the first message is the browser's too, and an unknown session is told in its dialect."""
    resume = '{"type":"session.resume","session_id":"sess_nobody"}'
    async with unified_house() as house, opened(house, unified(house), resume) as socket:
        assert (await told(socket, "session.error"))["code"] == "session_not_found"
        assert (await closing(socket))[0] == 1008


async def test_what_was_said_before_recognition_is_not_lost() -> None:
    """Everything that came meanwhile reaches the call, in order, also what was sent with the first message."""
    async with unified_house() as house:
        frames = [bytes([number]) * 160 for number in range(1, 40)]
        said = [*twilio_words(await twilio_token(house)), *map(twilio_media, frames)]
        url = unified(house)
        async with opened(house, url, *said, **signed(url)) as socket:
            echoes = [json.loads(await socket.receive_str(timeout=LIMIT_S)) for _ in frames]
        assert [echo["media"]["payload"] for echo in echoes] == [
            json.loads(twilio_media(frame))["media"]["payload"] for frame in frames
        ]


async def test_garbage_once_is_answered_in_the_dialect_that_follows() -> None:
    """A first message that nobody knows is kept for the adapter, which tells its client what was wrong."""
    async with unified_house() as house, opened(house, unified(house), "hello", UPDATE) as socket:
        assert (await told(socket, "session.error"))["code"] == "invalid_format"
        await told(socket, "session.ready")


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}])
async def test_recognised_clients_need_a_key(given: dict[str, str]) -> None:
    """A client of the Voice Agent API without a valid key is refused in its own dialect, on this address too."""
    async with (
        unified_house(all_adapters(access=KEYS)) as house,
        opened(house, unified(house), UPDATE, **given) as socket,
    ):
        assert (await told(socket, "session.error"))["code"] == "unauthorized"
        assert (await closing(socket))[0] == 1008
        assert untouched(house)


@pytest.mark.parametrize("words", [start_stream()[:1], vonage_words("x")], ids=["twilio", "vonage"])
async def test_words_alone_are_no_proof(words: list[str]) -> None:
    """Who talks like a carrier and has not signed the upgrade is refused like every other wrong proof."""
    async with unified_house() as house, opened(house, unified(house), *words) as socket:
        assert await closing(socket) == NO_PROOF
        assert house.refused == {"signature": 1}
        assert untouched(house)


async def test_forged_headers_are_refused_before_the_socket_opens() -> None:
    """A wrong signature or a token of another secret gets no socket at all."""
    async with unified_house() as house:
        for headers in ({"X-Twilio-Signature": "x"}, jwt("another secret, quite as long")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await house.http.ws_connect(unified(house), headers=headers)
            assert caught.value.status == 403
        assert house.refused == {"signature": 2}


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ({"Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.k"}, "OpenAI's Realtime API"),
        ({"Sec-WebSocket-Protocol": "media"}, "Asterisk"),
        ({"Audiohook-Session-Id": "e160e428"}, "Genesys"),
        ({"X-SignalWire-Signature": "x"}, "SignalWire"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_strangers_by_their_upgrade(headers: dict[str, str], part: str) -> None:
    """A carrier that is known and not served is told so by name, without a socket."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with unified_house() as house:
        answer = await house.http.get(f"{house.url}/v1/ws", headers={**upgrade, **headers})
        assert answer.status == 400
        assert part in await answer.text()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (['{"type":"input_audio_buffer.append","audio":""}'], "OpenAI's Realtime API"),
        (['{"event":"connected","protocol":"Call","version":"0.2.0"}'], "SignalWire"),
        (['{"event":"connected"}', '{"event":"start","stream_id":"x","start":{}}'], "Telnyx"),
        (['{"event":"start","start":{"callId":"a","streamId":"b"}}'], "Plivo"),
        (['{"label":"rtvi-ai","type":"client-ready","id":"1"}'], "RTVI"),
        (['{"type":"setup","sessionId":"VX1"}'], "ConversationRelay"),
        (["hello", "world"], "not known"),
        (['{"event":"connected"}', UPDATE], "two kinds"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_strangers_by_their_words(words: list[str], part: str) -> None:
    """Who is not served, known by name or not at all, is closed with 1008 and a sentence as soon as that is clear."""
    async with unified_house() as house, opened(house, unified(house), *words) as socket:
        code, reason = await closing(socket)
        assert (code, part in reason) == (1008, True)
        assert untouched(house)


async def test_bare_binary_needs_the_named_address() -> None:
    """Sound without a format is refused before more of it is read, and the refusal says where to go."""
    async with unified_house() as house:
        async with opened(house, unified(house), b"\x00" * 640, b"\x00" * 640) as socket:
            code, reason = await closing(socket)
            assert (code, "/v1/ws/pcm" in reason, "sample_rate" in reason) == (1008, True, True)
        assert untouched(house)


async def test_one_frame_is_not_waited_on_for_long() -> None:
    """A client that sends one frame and waits is told within moments, not after the whole patience."""
    patient = ServerSettings(port=0, admin_port=0, close_s=1, first_message_s=600)
    async with (
        unified_house(all_adapters(server=patient)) as house,
        opened(house, unified(house), b"\x00" * 640) as socket,
    ):
        assert "/v1/ws/pcm" in (await closing(socket))[1]


async def test_words_that_a_frame_has_overtaken() -> None:
    """A frame of sound before the first words is kept, and heard as the call's first sound."""
    async with unified_house() as house:
        frame = b"\x01\x02" * 320
        words = vonage_words(await vonage_token(house))
        async with opened(house, unified(house), frame, *words, **jwt()) as socket:
            assert await socket.receive_bytes(timeout=LIMIT_S) == frame


@pytest.mark.parametrize(
    ("said", "part"),
    [([], "Nothing came"), (["hello"], "not known"), (['{"event":"connected"}'], "protocol")],
)
async def test_silence(said: list[str], part: str) -> None:
    """Who says nothing, or nothing that tells who it is, is closed after `server.first_message_s`."""
    async with (
        unified_house(all_adapters(server=QUICK)) as house,
        opened(house, unified(house), *said) as socket,
    ):
        code, reason = await closing(socket)
        assert (code, part in reason) == (1008, True)
        assert untouched(house)


async def test_a_first_message_that_never_ends() -> None:
    """A message that comes in drops does not stretch the patience."""
    async with unified_house(all_adapters(server=QUICK)) as house:
        until_closed = asyncio.Event()

        async def drops() -> AsyncIterator[str]:
            yield '{"type":'
            await until_closed.wait()
            yield '"session.update"}'

        async with connect(unified(house), proxy=None) as socket, asyncio.TaskGroup() as group:
            sending = group.create_task(socket.send(drops()))
            await asyncio.wait_for(socket.wait_closed(), LIMIT_S)
            assert socket.close_code == 1008
            sending.cancel()
        assert untouched(house)


async def test_the_whole_patience_is_one() -> None:
    """Time that recognition took is not given again: a call must have begun `server.first_message_s` after opening."""
    async with unified_house(all_adapters(server=QUICK)) as house:
        url = unified(house)
        async with opened(house, url, *twilio_words("x")[:1], **signed(url)) as socket:
            assert await closing(socket) == (1008, "nothing of a call came within 0.3 s")
        assert untouched(house)


@pytest.mark.parametrize("size", [STRANGER_BYTES + 1, 1_000_000, 5_000_000])
async def test_a_huge_first_message(size: int, caplog: pytest.LogCaptureFixture) -> None:
    """More than a quarter of a mebibyte is not read of somebody who has proven nothing."""
    caplog.set_level(logging.INFO, "talkpath.access")
    huge = json.dumps({"type": "session.update", "session": {"system_prompt": "x" * size}})
    async with unified_house() as house:
        async with house.http.ws_connect(unified(house)) as socket:
            # closed before all of it was sent, the longest cannot be sent to its end
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                await socket.send_str(huge)
                message = await socket.receive(timeout=LIMIT_S)
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        await until(lambda: "why=too_long" in caplog.text)
        assert untouched(house)


async def test_a_long_prompt_and_a_burst_behind_it() -> None:
    """A long first message is read, and what is sent right behind it is no part of the bound on strangers."""
    update = json.dumps({"type": "session.update", "session": {"system_prompt": "x" * 200_000}})
    burst = [api_audio(b"\x00" * 48_000)] * 8
    async with unified_house() as house, opened(house, unified(house), update, *burst) as socket:
        await told(socket, "session.ready")
        await socket.send_str(api_audio(b"\x01" * 400_000))
        await told(socket, "reply.audio")


async def test_recognised_and_not_configured() -> None:
    """A client whose adapter has no section is told which addresses there are, by status or by close."""
    async with unified_house(settings_of(adapters={"pcm": PcmSettings()})) as house:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await house.http.ws_connect(unified(house), headers={"User-Agent": "Twilio.TmeWs/1.0"})
        assert caught.value.status == 404
        async with opened(house, unified(house), UPDATE) as socket:
            code, reason = await closing(socket)
            assert (code, "browser" in reason, "/v1/ws/pcm" in reason) == (1008, True, True)


async def test_who_leaves_before_the_first_word() -> None:
    """A socket that goes away unknown leaves nothing behind."""
    async with unified_house() as house:
        async with opened(house, unified(house)):
            pass
        async with opened(house, unified(house), "hello"):
            pass
        async with opened(house, unified(house), UPDATE) as socket:
            await told(socket, "session.ready")
        await until(lambda: len(house.runners) == 1)


async def test_decisions_stand_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Every decision is logged with its sign, and nothing of what the peer said."""
    caplog.set_level(logging.INFO, "talkpath.access")
    async with unified_house() as house:
        url = unified(house)
        async with opened(house, url, *twilio_words(await twilio_token(house)), **signed(url)):
            await until(lambda: house.runners)
        async with opened(house, url + "?sample_rate=8000"):
            await until(lambda: len(house.registry.listing()) == 2)
        async with opened(house, url, UPDATE) as socket:
            await told(socket, "session.ready")
        async with opened(house, url, '{"hush":"hush"}', '{"hush":"hush"}') as socket:
            await closing(socket)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await house.http.ws_connect(url, headers={"OpenAI-Beta": "hush"})
        async with opened(house, url, vonage_words("hush")[0]) as socket:
            await closing(socket)
    lines = [record.getMessage().removesuffix(" from=127.0.0.1") for record in caplog.records]
    assert "socket recognised=twilio why=twilio_header" in lines
    assert "socket recognised=pcm why=query" in lines
    assert "socket recognised=browser why=voice_agent_type" in lines
    assert "socket recognised=vonage why=vonage_connected" in lines
    refused = [line for line in lines if "recognised=nobody" in line]
    assert [line.partition(" detail=")[0] for line in refused] == [
        "socket recognised=nobody status=101 close=1008 why=unknown_words",
        "socket recognised=nobody status=400 why=openai_header",
    ]
    assert "socket adapter=vonage status=101 close=1008 why=signature detail=no_token" in lines
    assert "hush" not in caplog.text


async def test_no_room_is_told_after_opening_too() -> None:
    """A gateway that is full closes a stream whose words were needed with 1013, and the sentence."""
    adapters = {**ADAPTERS, "twilio": TwilioSettings(auth_token=(Secret("12345"),), require_token=False)}
    async with unified_house(all_adapters(adapters=adapters, limits=LimitSettings(calls=1))) as house:
        url = unified(house)
        first, other = ("MZ" + digit * 32 for digit in "12")
        async with opened(house, url, *start_stream("CA1", first), **signed(url)):
            await until(lambda: house.runners and house.call_runner().info)
            async with opened(house, url, *start_stream("CA2", other), **signed(url)) as second:
                code, reason = await closing(second)
                assert (code, "busy" in reason) == (1013, True)


async def test_plain_requests_are_told_what_the_address_speaks() -> None:
    """The unified address without an upgrade says that it is for WebSockets."""
    async with unified_house() as house:
        answer = await house.http.get(f"{house.url}/v1/ws")
        assert answer.status == 426


async def test_a_signature_for_another_address_is_none() -> None:
    """What was signed for the named address opens nothing on the unified one."""
    async with unified_house() as house:
        headers = {"X-Twilio-Signature": sign(unified(house, "/v1/ws/twilio"), {})}
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await house.http.ws_connect(unified(house), headers=headers)
        assert caught.value.status == 403
