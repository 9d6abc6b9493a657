"""The simulated client of the Voice Agent API against a scripted stand-in for a gateway: real sockets, a fast clock."""

import asyncio
import base64
import json
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat, convert
from gateway.simulate import CallerFaults, CallScript, Clock, Utterance, browser, call_browser

FAST = 10.0
Handler = Callable[["Server", ServerConnection], Awaitable[None]]
FORM = {"encoding": "audio/pcm", "sample_rate": 24000}
CONFIG: dict[str, Any] = {"id": "s", "system_prompt": "", "greeting": None, "tools": []}


def tone(ms: int, audio_format: AudioFormat) -> bytes:
    samples = (round(8000 * math.sin(2 * math.pi * 440 * at / 8000)) for at in range(8 * ms))
    return convert(array("h", samples).tobytes(), AudioFormat("pcm16", 8000), audio_format)


class Server:
    """What a stand-in has received, and how it speaks."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.audio: list[bytes] = []
        self.requests: list[tuple[str, str]] = []

    async def say(self, socket: ServerConnection, kind: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": kind, "timestamp": 1.5, **fields}))

    async def begin(self, socket: ServerConnection, session_id: str = "s") -> None:
        """Take the first message and answer it as the service does."""
        assert socket.request is not None
        self.requests.append((socket.request.path, socket.request.headers.get("Authorization", "")))
        first = json.loads(await socket.recv())
        self.received.append(first)
        config = {**CONFIG, "input": {"format": FORM}, "output": {"format": FORM}}
        if first["type"] == "session.update":
            await self.say(socket, "session.updated", config=config)
        await self.say(
            socket, "session.ready", session_id=session_id, resume_token="rt", expires_at=5, config=config
        )

    async def reply(self, socket: ServerConnection, audio: bytes, reply_id: str = "r") -> None:
        """A reply that is all there at once."""
        await self.say(socket, "reply.started", reply_id=reply_id)
        data = base64.b64encode(audio).decode()
        await self.say(socket, "reply.audio", reply_id=reply_id, data=data)
        await self.say(socket, "reply.done", reply_id=reply_id, status="completed")

    async def listen(self, socket: ServerConnection) -> None:
        """Listen until the client ends the session, and end it."""
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "input.audio":
                self.audio.append(base64.b64decode(event["audio"]))
                continue
            self.received.append(event)
            if event["type"] == "session.end":
                await self.say(
                    socket, "session.ended", session_duration_seconds=1.0, audio_duration_seconds=None
                )
                return

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.received]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[Server, str]]:
    server = Server()

    async def handle(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await handler(server, socket)

    async with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.1) as listening:
        host, port = next(iter(listening.sockets)).getsockname()[:2]
        yield server, f"http://{host}:{port}"


async def polite(server: Server, socket: ServerConnection) -> None:
    await server.begin(socket)
    await server.listen(socket)


@pytest.mark.parametrize(
    ("encoding", "name", "line", "frame_bytes"),
    [
        ("pcm_s16le", "audio/pcm", PCM_24K, 960),
        ("pcm_mulaw", "audio/pcmu", MULAW_8K, 160),
        ("pcm_alaw", "audio/pcma", ALAW_8K, 160),
    ],
)
async def test_every_format_is_asked_for_and_sent(
    encoding: str, name: str, line: AudioFormat, frame_bytes: int
) -> None:
    """The format is declared both ways, and the voice goes out in frames of 20 ms."""
    sound = tone(300, line)

    async def talk(server: Server, socket: ServerConnection) -> None:
        await server.begin(socket)
        await server.reply(socket, sound)
        await server.listen(socket)

    async with serving(talk) as (server, url):
        said = Utterance(pcm=tone(300, AudioFormat("pcm16", 8000)), rate_hz=8000, at_s=0.5)
        script = CallScript(utterances=(said,), hang_up_at_s=1.5)
        result = await call_browser(url, encoding=encoding, script=script, clock=Clock(FAST))
    form = {"encoding": name, "sample_rate": line.rate_hz}
    assert server.received[0]["session"] == {
        "input": {"type": "audio", "format": form},
        "output": {"type": "audio", "format": form},
    }
    assert {len(frame) for frame in server.audio} == {frame_bytes}
    assert b"".join(server.audio) == result.sent_audio
    assert result.received_audio == sound
    assert (result.end_reason, result.close_code, result.warnings) == ("caller_hung_up", 1000, [])


@pytest.mark.parametrize(
    ("options", "path", "header"),
    [
        ({"key": "k"}, "/v1/ws/browser", "Bearer k"),
        ({"token": "t"}, "/v1/ws/browser?token=t", ""),
        ({"caller": "+1", "callee": "+2"}, "/v1/ws/browser?caller=%2B1&callee=%2B2", ""),
    ],
)
async def test_the_proof_goes_where_the_provider_wants_it(options: Any, path: str, header: str) -> None:
    """A key goes into the header, a token and the numbers into the query."""
    async with serving(polite) as (server, url):
        await call_browser(url, script=CallScript(hang_up_at_s=0.1), clock=Clock(FAST), **options)
    assert server.requests == [(path, header)]


async def test_an_interrupted_client_stops_at_once_and_says_what_it_played() -> None:
    """At `input.speech.started` nothing more of the queue is heard; what was played is reported, unless it is another's."""

    async def interrupt(server: Server, socket: ServerConnection) -> None:
        await server.begin(socket)
        await server.say(socket, "reply.started", reply_id="r")
        data = base64.b64encode(tone(900, PCM_24K)).decode()
        await server.say(socket, "reply.audio", reply_id="r", data=data)
        while len(server.audio) < 20:
            event = json.loads(await socket.recv())
            if event["type"] == "input.audio":
                server.audio.append(b"")
            else:
                server.received.append(event)
        await server.say(socket, "input.speech.started")
        await server.say(socket, "reply.done", reply_id="r", status="interrupted")
        await server.listen(socket)

    for ours in (True, False):
        async with serving(interrupt) as (server, url):
            result = await call_browser(
                url, ours=ours, script=CallScript(hang_up_at_s=1.5), clock=Clock(FAST)
            )
        (clear,) = result.clears
        assert 200 < clear.discarded_ms < 700
        played = [event for event in server.received if event["type"] == "talkpath.played"]
        assert bool(played) == ours
        assert all(event["ms"] <= 900 - clear.discarded_ms + 1 for event in played)


async def test_a_client_answers_its_own_tools() -> None:
    """A call of a declared tool is answered with its result as a text; one of another is complained of."""

    async def ask(server: Server, socket: ServerConnection) -> None:
        await server.begin(socket)
        for name in ("get_stock", "unknown"):
            await server.say(socket, "tool.call", call_id=name, name=name, arguments={"item": "rye"})
        await server.listen(socket)

    async with serving(ask) as (server, url):
        result = await call_browser(
            url,
            tools={"get_stock": lambda given: {"asked": given["item"]}},
            script=CallScript(hang_up_at_s=0.3),
            clock=Clock(FAST),
        )
    (answer,) = [event for event in server.received if event["type"] == "tool.result"]
    assert answer == {"type": "tool.result", "call_id": "get_stock", "result": '{"asked": "rye"}'}
    assert [warning.text for warning in result.warnings] == [
        "tool.call of unknown, which the client has not declared"
    ]


async def test_a_client_whose_socket_breaks_comes_back() -> None:
    """It resumes the session with its resume token, and the gap is measured."""
    async with serving(polite) as (server, url):
        result = await call_browser(
            url,
            key="k",
            faults=CallerFaults(kill_socket_at_s=(0.5,)),
            script=CallScript(hang_up_at_s=1.5),
            clock=Clock(FAST),
        )
    assert [header for _, header in server.requests] == ["Bearer k", "Bearer rt"]
    assert server.received[1] == {"type": "session.resume", "session_id": "s"}
    assert (result.end_reason, result.sockets, len(result.socket_gaps)) == ("caller_hung_up", 2, 1)
    assert result.warnings == []


@pytest.mark.parametrize(
    ("code", "close", "reason"), [("unauthorized", 1008, "refused"), ("invalid_value", 1008, "refused")]
)
async def test_a_refusal_is_told_in_the_servers_words(code: str, close: int, reason: str) -> None:
    """An error in the place of a session is why the call was refused."""

    async def refuse(server: Server, socket: ServerConnection) -> None:
        await server.say(socket, "session.error", code=code, message="No.")
        await socket.close(close, code)

    async with serving(refuse) as (_, url):
        result = await call_browser(url, clock=Clock(FAST))
    assert (result.end_reason, result.failure, result.close_code) == (reason, f"{code}: No.", close)


async def test_an_agent_that_hangs_up_is_a_normal_end() -> None:
    """`session.ended` that nobody asked for is the agent's end of the call."""

    async def leave(server: Server, socket: ServerConnection) -> None:
        await server.begin(socket)
        await server.say(socket, "session.ended", session_duration_seconds=1.0, audio_duration_seconds=None)

    async with serving(leave) as (_, url):
        result = await call_browser(url, clock=Clock(FAST))
    assert (result.end_reason, result.failure) == ("agent_hung_up", None)


async def test_a_session_that_is_never_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the socket and says nothing does not hold the caller for ever."""
    monkeypatch.setattr(browser, "READY_WITHIN_S", 1.0)

    async def say_nothing(server: Server, socket: ServerConnection) -> None:
        await server.listen(socket)

    async with serving(say_nothing) as (server, url):
        result = await asyncio.wait_for(call_browser(url, clock=Clock(FAST)), 10)
    assert (result.end_reason, result.failure) == ("failed", "the session was not ready within 1 s")
    assert server.kinds() == ["session.update"]


async def test_what_no_client_has_been_sent_is_complained_of() -> None:
    """Sound far ahead of the ear, sound of no reply and messages that are no JSON are warnings."""

    async def misbehave(server: Server, socket: ServerConnection) -> None:
        await server.begin(socket)
        await server.reply(socket, tone(3000, PCM_24K))
        await server.say(socket, "reply.audio", reply_id="q", data="AAAA")
        await socket.send("no json")
        await socket.send(b"\0")
        await server.listen(socket)

    async with serving(misbehave) as (_, url):
        result = await call_browser(url, script=CallScript(hang_up_at_s=0.3), clock=Clock(FAST))
    texts = " | ".join(warning.text for warning in result.warnings)
    assert "ahead of when it is to be heard" in texts
    assert "reply.audio of a reply that was not started" in texts
    assert texts.count("no JSON object in a text frame") == 2


async def test_what_the_dialect_does_not_have_is_refused() -> None:
    """Another encoding is refused before anything is dialled."""
    with pytest.raises(ValueError, match="use one of"):
        await call_browser("http://127.0.0.1:9", encoding="opus")
