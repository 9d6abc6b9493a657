"""The simulated PCM client against a scripted stand-in for a gateway: real sockets, a clock ten times as fast."""

import json
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gateway.audio import AudioFormat, convert
from gateway.simulate import CallerFaults, CallScript, Clock, Note, Utterance, call_pcm

FAST = 10.0
Handler = Callable[[ServerConnection], Awaitable[None]]


def tone(ms: int, audio_format: AudioFormat) -> bytes:
    samples = (round(8000 * math.sin(2 * math.pi * 440 * at / 8000)) for at in range(8 * ms))
    return convert(array("h", samples).tobytes(), AudioFormat("pcm16", 8000), audio_format)


PCM_16K = AudioFormat("pcm16", 16000)


def utterance(**more: float) -> Utterance:
    pcm = array("h", [8000, -8000] * 1200).tobytes()
    return Utterance(label="tone", pcm=pcm, rate_hz=8000, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(handler: Handler, seen: list[Request] | None = None) -> AsyncIterator[str]:
    def look(connection: ServerConnection, request: Request) -> Response | None:
        if seen is not None:
            seen.append(request)
        if "refuse" in request.path:
            return connection.respond(HTTPStatus.FORBIDDEN, "this key may not connect\n")
        return None

    async with serve(
        handler, "127.0.0.1", 0, process_request=look, compression=None, close_timeout=0.1
    ) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield f"http://{host}:{port}"


class Gateway:
    """Sends what it is given, then listens until the client ends the session."""

    def __init__(self, *messages: str | bytes) -> None:
        self.messages = messages
        self.audio: list[bytes] = []
        self.texts: list[str] = []

    async def __call__(self, connection: ServerConnection) -> None:
        for message in self.messages:
            await connection.send(message)
        try:
            async for message in connection:
                if isinstance(message, bytes):
                    self.audio.append(message)
                    continue
                self.texts.append(message)
                if json.loads(message)["type"] == "session.end":
                    break
        except ConnectionClosed:
            pass


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "frame_bytes"),
    [
        ("pcm_s16le", 8000, 320),
        ("pcm_s16le", 16000, 640),
        ("pcm_s16le", 24000, 960),
        ("pcm_s16le", 44100, 1764),
        ("pcm_s16le", 48000, 1920),
        ("pcm_mulaw", 8000, 160),
        ("pcm_alaw", 8000, 160),
    ],
)
async def test_every_format_is_sent_and_heard(encoding: str, rate_hz: int, frame_bytes: int) -> None:
    """In each encoding and rate the voice goes out in frames of 20 ms and the agent's sound is heard as it came."""
    line = AudioFormat({"pcm_s16le": "pcm16", "pcm_mulaw": "mulaw", "pcm_alaw": "alaw"}[encoding], rate_hz)  # type: ignore[arg-type]
    reply, seen = tone(300, line), list[Request]()
    gateway = Gateway(reply)
    async with serving(gateway, seen) as url:
        script = CallScript(utterances=(utterance(at_s=0.5),), hang_up_at_s=1.5)
        result = await call_pcm(url, rate_hz=rate_hz, encoding=encoding, script=script, clock=Clock(FAST))
    assert seen[0].path == f"/v1/ws/pcm?encoding={encoding}&sample_rate={rate_hz}&events=1"
    assert {len(frame) for frame in gateway.audio} == {frame_bytes}
    assert b"".join(gateway.audio) == result.sent_audio == result.said_audio[: len(result.sent_audio)]
    assert result.received_audio == reply
    assert reply in result.heard_audio
    said = result.turns[0].spoken
    assert abs(said.end_s - said.start_s - 0.3) < 0.01
    assert gateway.texts == ['{"type":"session.end"}']
    assert (result.end_reason, result.close_code) == ("caller_hung_up", 1000)


async def test_the_query_the_key_and_the_numbers_are_passed_on() -> None:
    """Caller and callee go into the query, the key into the header; without events none are asked for."""
    seen: list[Request] = []
    async with serving(Gateway(), seen) as url:
        script = CallScript(hang_up_at_s=0.1)
        numbers = {"caller": "+15550001", "callee": "+15550002"}
        await call_pcm(url, events=False, key="secret", script=script, clock=Clock(FAST), **numbers)
    assert (
        seen[0].path
        == "/v1/ws/pcm?encoding=pcm_s16le&sample_rate=16000&caller=%2B15550001&callee=%2B15550002"
    )
    assert seen[0].headers["Authorization"] == "Bearer secret"
    assert "Sec-WebSocket-Extensions" not in seen[0].headers


async def test_a_clear_empties_what_is_queued() -> None:
    """What was sent before a clear and not yet played is never heard; what comes after it is."""
    gateway = Gateway(tone(9000, PCM_16K), '{"type":"talkpath.clear"}', tone(100, PCM_16K))
    async with serving(gateway) as url:
        result = await call_pcm(url, script=CallScript(hang_up_at_s=2.0), clock=Clock(FAST))
    (clear,) = result.clears
    assert clear.discarded_ms > 8000
    heard_ms = sum(interval.end_s - interval.start_s for interval in result.heard) * 1000
    assert abs(heard_ms - (9000 - clear.discarded_ms) - 100) < 25
    assert result.events == []


async def test_the_events_are_kept_and_told() -> None:
    """Events are kept in order, and what was said is told to the observer."""
    notes: list[Note] = []
    gateway = Gateway(
        '{"type":"session.ready","session_id":"s"}',
        '{"type":"transcript.user","text":"go forward ten meters"}',
        '{"type":"transcript.agent","text":"Going forward.","interrupted":true}',
        '{"type":"tool.call","name":"move","arguments":{"meters":10}}',
        "no json",
    )
    async with serving(gateway) as url:
        script = CallScript(hang_up_at_s=0.5)
        result = await call_pcm(url, script=script, clock=Clock(FAST), observer=notes.append)
    kinds = [event["type"] for event in result.events]
    assert kinds == ["session.ready", "transcript.user", "transcript.agent", "tool.call"]
    told = [note.text for note in notes if note.kind == "event"]
    assert told[1:] == [
        "understood: go forward ten meters",
        "agent: Going forward. (interrupted)",
        'tool move {"meters":10}',
    ]
    assert len(result.warnings) == 1


async def test_an_agent_that_hangs_up_is_a_normal_end() -> None:
    """A close with 1000 before we hang up is the agent's end of the call."""

    async def goodbye(connection: ServerConnection) -> None:
        await connection.send(tone(200, PCM_16K))
        await connection.close(1000, "goodbye")

    async with serving(goodbye) as url:
        result = await call_pcm(url, clock=Clock(FAST))
    assert (result.end_reason, result.failure, result.close_reason) == ("agent_hung_up", None, "goodbye")


async def test_a_policy_close_is_a_failure_with_its_reason() -> None:
    """A close that is no goodbye fails the call, in the gateway's words."""

    async def refuse(connection: ServerConnection) -> None:
        await connection.close(1008, "no agent for this route")

    async with serving(refuse) as url:
        result = await call_pcm(url, clock=Clock(FAST))
    assert result.end_reason == "failed"
    assert result.failure is not None
    assert "no agent for this route" in result.failure


async def test_a_refused_upgrade_is_told_with_its_status() -> None:
    """A gateway that does not let us in is a failure with status and words."""
    async with serving(Gateway()) as url:
        result = await call_pcm(url + "/refuse")
    assert (result.end_reason, result.refused_status) == ("refused", 403)
    assert result.failure is not None
    assert "may not connect" in result.failure


async def test_frames_of_any_size_and_a_cut_connection() -> None:
    """Ordered, messages have odd sizes that split samples, and the connection is cut without a farewell."""
    gateway = Gateway()
    async with serving(gateway) as url:
        faults = CallerFaults(frame_bytes=(1, 333), kill_socket_at_s=(0.5,))
        result = await call_pcm(url, faults=faults, clock=Clock(FAST))
    assert [len(frame) for frame in gateway.audio[:4]] == [1, 333, 1, 333]
    assert result.end_reason == "socket_killed"
    assert gateway.texts == []


async def test_a_gateway_that_does_not_read_never_stops_the_clock() -> None:
    """Audio for a gateway that does not read is dropped and said, and the call ends on time."""

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with serving(deaf) as url:
        script = CallScript(hang_up_at_s=60.0, max_s=70)
        clock = Clock(40.0)
        result = await call_pcm(
            url, rate_hz=48000, script=script, clock=clock, faults=CallerFaults(close_without_stop=True)
        )
    assert result.end_reason == "caller_hung_up"
    assert result.pacing.frames >= 2900
    assert any("too slowly" in warning.text for warning in result.warnings)


@pytest.mark.parametrize(("rate_hz", "encoding"), [(11025, "pcm_s16le"), (16000, "opus")])
async def test_what_the_dialect_does_not_have_is_refused(rate_hz: int, encoding: str) -> None:
    """A rate or an encoding outside the dialect is refused before anything is dialled."""
    with pytest.raises(ValueError, match="use one of"):
        await call_pcm("http://127.0.0.1:9", rate_hz=rate_hz, encoding=encoding)
