"""The stand-alone provider over real sockets: who may come in, faults to order, what it records."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any, Self

import aiohttp
import pytest
from offline_client import TELEPHONE, tool
from speech import hearing_needed, speech
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.audio import MULAW_8K
from gateway.errors import ConfigError
from gateway.runtime.offline_session import OfflineSettings
from gateway.simulate.faults import FAULTS, FaultyWire, fault_table, read_faults
from gateway.simulate.provider import Provider

Message = dict[str, Any]
FAST = OfflineSettings(profile="burst", reply_delay_s=0)
SAY = "Say: one two three."


class Dialled:
    """A connection to the provider."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._dial = connect(
            url, additional_headers=headers, compression=None, proxy=None, max_size=None, close_timeout=1
        )
        self.seen: list[Message] = []
        self.socket: ClientConnection

    async def __aenter__(self) -> Self:
        self.socket = await self._dial.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._dial.__aexit__(*error)  # type: ignore[arg-type]

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str, fits: Callable[[Message], bool] = lambda _: True) -> Message:
        async with asyncio.timeout(15):
            while True:
                text = await self.socket.recv()
                try:
                    message = json.loads(text)
                except ValueError:
                    message = {"type": "garbage"}
                if not isinstance(message, dict):
                    continue
                self.seen.append(message)
                if message["type"] == kind and fits(message):
                    return message

    async def begin(self, **session: Any) -> Message:
        await self.send("session.update", session=session)
        return await self.until("session.ready")

    async def closed(self) -> int:
        """Read to the end; the close code."""
        with pytest.raises(ConnectionClosed):
            await self.until("never")
        return self.socket.close_code or 0

    def types(self) -> list[str]:
        return [message["type"] for message in self.seen]


async def test_a_session_over_a_real_socket() -> None:
    """Updated, ready, greeting, end: with close 1000, and the provider has written down what it got."""
    async with Provider(settings=FAST) as provider:
        async with Dialled(provider.url) as client:
            ready = await client.begin(**TELEPHONE, greeting="Hello.")
            await client.send("input.audio", audio=base64.b64encode(bytes(range(256))).decode())
            await client.until("reply.done")
            await client.send("session.end")
            assert await client.closed() == 1000
            assert client.types()[-1] == "session.ended"
        record = provider.sessions[ready["session_id"]]
        assert bytes(record.audio) == bytes(range(256))
        assert [message["type"] for message in record.messages] == ["session.update", "session.end"]


@hearing_needed
async def test_a_person_is_answered_over_a_real_socket() -> None:
    """A recorded command is understood and its tool called."""
    async with Provider(settings=FAST) as provider, Dialled(provider.url) as client:
        await client.begin(**TELEPHONE, tools=[tool("drive")])
        audio = speech("goforward", MULAW_8K)
        for at in range(0, len(audio), 160):
            await client.send("input.audio", audio=base64.b64encode(audio[at : at + 160]).decode())
        assert (await client.until("tool.call"))["arguments"] == {"direction": "forward", "meters": 10}


@pytest.mark.parametrize(
    ("header", "query", "admitted"),
    [
        ("Bearer secret", "", True),
        ("bearer secret", "", True),
        ("secret", "", True),
        ("Bearer wrong", "", False),
        ("", "", False),
        ("", "?token=secret", False),
        ("", "?token=%00", False),
    ],
)
async def test_only_the_key_comes_in(header: str, query: str, admitted: bool) -> None:
    """A bad credential is accepted as a socket and refused in-band with 1008."""
    async with Provider(settings=FAST, key="secret", offline_calls=0) as provider:
        headers = {"Authorization": header} if header else {}
        async with Dialled(provider.url + query, headers) as client:
            if admitted:
                await client.begin()
                return
            assert await client.closed() == 1008
            assert client.seen[0]["code"] == "unauthorized"


async def test_tokens_are_minted_as_the_service_does() -> None:
    """The answers of the token address, and a token that opens a session."""
    async with Provider(settings=FAST, key="secret", offline_calls=0) as provider:
        address = provider.url.replace("ws://", "http://").replace("/v1/ws", "/v1/token")
        async with aiohttp.ClientSession() as http:

            async def ask(key: str, query: str) -> tuple[int, Any]:
                headers = {"Authorization": key} if key else {}
                async with http.get(address + query, headers=headers) as answer:
                    return answer.status, await answer.json()

            assert (await ask("", ""))[0] == 422
            assert await ask("wrong", "?expires_in_seconds=60") == (404, {"detail": "Invalid API key"})
            for query, kind in (("", "missing"), ("?expires_in_seconds=0", "greater_than_equal"), ("?expires_in_seconds=601", "less_than_equal"), ("?expires_in_seconds=x", "int_parsing")):  # fmt: skip
                status, body = await ask("Bearer secret", query)
                assert (status, body["detail"][0]["type"]) == (422, kind)
            status, body = await ask("Bearer secret", "?expires_in_seconds=60")
            assert (status, body["expires_in_seconds"]) == (200, 60)
        async with Dialled(f"{provider.url}?token={body['token']}") as client:
            await client.begin()


async def test_a_drop_is_resumed_with_the_resume_token() -> None:
    """The connection is aborted once; with the token that ready gave, the same session goes on."""
    async with Provider(settings=FAST, key="secret", faults=["drop-after=0.05"], offline_calls=0) as provider:
        async with Dialled(provider.url, {"Authorization": "secret"}) as client:
            ready = await client.begin(greeting="Hello.")
            assert await client.closed() in {0, 1006}
        async with Dialled(provider.url, {"Authorization": f"Bearer {ready['resume_token']}"}) as again:
            await again.send("session.resume", session_id=ready["session_id"])
            assert (await again.until("session.ready"))["session_id"] == ready["session_id"]
            await again.send("reply.create", instructions=SAY)
            await again.until("reply.done")
        assert provider.sessions[ready["session_id"]].connections == 2


async def test_a_refused_resume_leaves_the_socket_open() -> None:
    """session_not_found comes in-band, and a new session begins on the same socket."""
    async with (
        Provider(settings=FAST, faults=["refuse-resume"], offline_calls=0) as provider,
        Dialled(provider.url) as client,
    ):
        await client.send("session.resume", session_id="sess_1")
        assert (await client.until("session.error"))["code"] == "session_not_found"
        await client.begin()


async def test_ready_can_be_late_or_never() -> None:
    """A late ready comes after its delay; without ready nothing at all comes after updated."""
    loop = asyncio.get_running_loop()
    async with (
        Provider(settings=FAST, faults=["late-ready=0.3"], offline_calls=0) as provider,
        Dialled(provider.url) as client,
    ):
        began_s = loop.time()
        await client.begin(greeting="Hello.")
        assert loop.time() - began_s >= 0.3
    async with (
        Provider(settings=FAST, faults=["no-ready"], offline_calls=0) as provider,
        Dialled(provider.url) as client,
    ):
        await client.send("session.update", session={"greeting": "Hello."})
        await client.until("session.updated")
        await client.send("session.end")
        assert await client.closed() == 1000
        assert client.types() == ["session.updated"]


async def replies(fault: str) -> list[list[Message]]:
    """The messages of the greeting and of one reply after it, with a fault."""
    async with (
        Provider(settings=FAST, faults=[fault], offline_calls=0) as provider,
        Dialled(provider.url) as client,
    ):
        await client.begin(**TELEPHONE, greeting="Hello.")
        await client.send("reply.create", instructions=SAY)
        await client.send("reply.create", instructions="Say: last.")
        await client.until("transcript.agent.delta", lambda message: message["delta"] == "last.")
        await client.send("session.end")
        await client.closed()
    found: dict[str, list[Message]] = {}
    for message in client.seen:
        if "reply_id" in message:
            found.setdefault(message["reply_id"], []).append(message)
    return list(found.values())


async def test_a_silent_reply_has_neither_sound_nor_text() -> None:
    """The second reply is digital silence of the same length, the others are whole."""
    first, second, _ = await replies("silent-reply")
    assert {message["type"] for message in second} == {"reply.started", "reply.audio", "reply.done"}
    sound = b"".join(base64.b64decode(message["data"]) for message in second if "data" in message)
    assert set(sound) == {0xFF}
    assert "transcript.agent" in {message["type"] for message in first}


async def test_a_stalled_reply_is_never_done() -> None:
    """Half a second of the second reply comes, and no end of it."""
    _, second, third = await replies("stall-reply")
    assert "reply.done" not in {message["type"] for message in second}
    sound = b"".join(base64.b64decode(message["data"]) for message in second if "data" in message)
    assert 400 <= MULAW_8K.ms(len(sound)) <= 500
    assert third


async def test_done_can_be_doubled_and_transcripts_left_out() -> None:
    """Each of these faults touches exactly its event."""
    doubled = (await replies("duplicate-done"))[0]
    assert [message["type"] for message in doubled][-2:] == ["reply.done", "reply.done"]
    without = (await replies("omit-agent-transcript"))[0]
    assert "transcript.agent" not in {message["type"] for message in without}
    assert "transcript.agent.delta" in {message["type"] for message in without}


async def test_garbage_may_come_first() -> None:
    """What cannot be read precedes a session that works."""
    async with (
        Provider(settings=FAST, faults=["bad-first-answer"], offline_calls=0) as provider,
        Dialled(provider.url) as client,
    ):
        await client.begin()
        assert client.types() == ["garbage", "garbage", "session.updated", "session.ready"]


async def test_an_internal_error_and_a_full_house() -> None:
    """1011 after its time with its code; at capacity for as many connections as ordered."""
    async with Provider(
        settings=FAST, faults=["close-1011=0.05", "at-capacity=1"], offline_calls=0
    ) as provider:
        async with Dialled(provider.url) as client:
            assert await client.closed() == 1008
            assert client.seen[0]["code"] == "at_capacity"
        async with Dialled(provider.url) as client:
            await client.begin()
            assert await client.closed() == 1011
            assert client.seen[-1]["code"] == "internal_error"


async def test_sound_ahead_of_the_clock_is_refused() -> None:
    """More than a second ahead is answered with audio_rate_violation, dropped and not recorded."""
    async with Provider(settings=FAST, faults=["rate-violation"], offline_calls=0) as provider:
        async with Dialled(provider.url) as client:
            ready = await client.begin(**TELEPHONE)
            for _ in range(100):
                await client.send("input.audio", audio=base64.b64encode(bytes(160)).decode())
            assert (await client.until("session.error"))["code"] == "audio_rate_violation"
            await client.send("session.end")
            await client.closed()
        assert 8000 <= len(provider.sessions[ready["session_id"]].audio) < 16000


@hearing_needed
async def test_a_deaf_provider_hears_nothing() -> None:
    """Speech is recorded and leads to no event."""
    async with Provider(settings=FAST, faults=["deaf"]) as provider, Dialled(provider.url) as client:
        ready = await client.begin(**TELEPHONE)
        await client.send("input.audio", audio=base64.b64encode(speech("goforward", MULAW_8K)).decode())
        await client.send("reply.create", instructions=SAY)
        await client.until("reply.done")
        assert "input.speech.started" not in client.types()
        assert provider.sessions[ready["session_id"]].audio


@hearing_needed
async def test_a_turn_can_be_committed_too_early() -> None:
    """A held, silent reply with text that was never spoken comes between two halves of the turn."""
    async with Provider(settings=FAST, faults=["merged-reply"]) as provider, Dialled(provider.url) as client:
        await client.begin(**TELEPHONE)
        await client.send("input.audio", audio=base64.b64encode(speech("goforward", MULAW_8K)).decode())
        await client.until("transcript.agent", lambda message: message["text"].startswith("Going"))
    said = [message["text"] for message in client.seen if message["type"] == "transcript.user"]
    assert said == ["go forward", "go forward ten meters"]
    held = next(message for message in client.seen if message["type"] == "transcript.agent")
    assert (held["text"], held["interrupted"]) == ("This was never spoken.", False)


async def test_given_sound_arrives_unchanged() -> None:
    """Every reply is exactly the recording, through base64 and the socket."""
    recording = bytes(range(256)) * 100
    async with (
        Provider(settings=FAST, reply_audio=recording, offline_calls=0) as provider,
        Dialled(provider.url) as client,
    ):
        await client.begin(**TELEPHONE, greeting="x")
        await client.until("reply.done")
        assert b"".join(base64.b64decode(m["data"]) for m in client.seen if "data" in m) == recording


async def test_other_addresses_are_refused() -> None:
    """A wrong path is answered with where to go."""
    async with (
        Provider(settings=FAST, offline_calls=0) as provider,
        aiohttp.ClientSession() as http,
        http.get(provider.url.replace("ws://", "http://") + "x") as answer,
    ):
        assert answer.status == 404
        assert "/v1/ws" in await answer.text()


def test_orders_are_read_or_refused_by_name() -> None:
    """Every fault has its line; a wrong order says what is known or how to write it."""
    assert read_faults(["drop-after=3", "silent-reply", "deaf"]) == {
        "drop-after": 3,
        "silent-reply": 2,
        "deaf": 0,
    }
    assert len(fault_table().splitlines()) == len(FAULTS)
    with pytest.raises(ConfigError) as caught:
        read_faults(["drop-after", "deaf=1", "nonsense", "late-ready=-1"])
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ("drop-after=abc", "drop-after takes seconds above 0; write --fault drop-after=5"),
        ("drop-after=0", "drop-after takes seconds above 0"),
        ("late-ready=", "late-ready takes seconds above 0"),
        ("silent-reply=1.5", "silent-reply takes a whole number from 1"),
        ("at-capacity=0", "at-capacity takes a whole number from 1"),
        ("nonsense=1", "there is no such fault"),
    ],
)
def test_a_wrong_value_is_told_as_that(order: str, told: str) -> None:
    """A fault that is known is never called unknown, and its value is described."""
    with pytest.raises(ConfigError, match=told):
        read_faults([order])


def test_without_faults_messages_pass_untouched() -> None:
    """The wire is not even read."""
    assert FaultyWire({}).outgoing("anything") == ["anything"]
