"""The simulated Twilio call and its streams against a stand-in: real sockets, a clock ten times as fast."""

import asyncio
import base64
import hashlib
import hmac
from array import array
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from twilio_stand_in import TOKEN, StandIn, greet_and_close, greet_and_listen, is_mark, serving, tone

from gateway.simulate import CallerFaults, CallResult, CallScript, Clock, Note, Utterance, call_twilio
from gateway.simulate.media_socket import SocketError, open_socket
from gateway.simulate.webhook import NO_TLS

FAST = 10.0


def utterance(ms: int = 300, **more: Any) -> Utterance:
    return Utterance(label="tone", pcm=array("h", [8000, -8000] * (4 * ms)).tobytes(), rate_hz=8000, **more)


async def dial(stand_in: StandIn, script: CallScript | None = None, **options: Any) -> CallResult:
    clock = options.pop("clock", None) or Clock(FAST)
    return await call_twilio(
        stand_in.url, token=TOKEN, script=script or CallScript(max_s=10), clock=clock, **options
    )


async def test_a_call_is_signed_connected_and_ended_by_the_gateway() -> None:
    """Webhook, upgrade and what follows are signed; the stream begins as Twilio's; a hang-up document ends the call."""
    async with serving(StandIn(greet_and_close)) as gateway:
        result = await dial(gateway, caller="+15550001111", callee="+15550002222")
    assert result.end_reason == "agent_hung_up"
    assert result.failure is None
    assert result.agent_was_heard
    assert result.received_audio == tone(500)
    assert tone(500) in result.heard_audio
    assert all(proven for _, _, proven in gateway.requests)
    (voice,) = gateway.asked("/twilio/voice")
    assert (voice["From"], voice["To"], voice["CallStatus"]) == ("+15550001111", "+15550002222", "ringing")
    (after,) = gateway.asked("/twilio/after")
    assert (after["CallSid"], after["CallStatus"]) == (voice["CallSid"], "in-progress")
    assert [fields["StreamEvent"] for fields in gateway.asked("/stream-status")] == [
        "stream-started",
        "stream-stopped",
    ]
    (start,) = gateway.sent("start")
    assert start["start"]["callSid"] == voice["CallSid"]
    assert start["start"]["customParameters"] == {"token": "tok"}
    (upgrade,) = gateway.upgrades
    expected = hmac.new(TOKEN.encode(), f"{gateway.stream_host}/media/tok".encode(), hashlib.sha1).digest()
    assert upgrade.headers["X-Twilio-Signature"] == base64.b64encode(expected).decode()
    assert upgrade.headers["User-Agent"] == "Twilio.TmeWs/1.0"
    for absent in ("Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
        assert absent not in upgrade.headers


async def test_media_is_sent_in_frames_of_20_ms_with_counters() -> None:
    """160 bytes each, counted from 1, with stamps that follow the clock, silence where nothing is said."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        result = await dial(gateway, CallScript(utterances=(utterance(at_s=1.0),), hang_up_at_s=2.0))
    media = gateway.sent("media")
    assert len(media) > 80
    assert [message["media"]["chunk"] for message in media] == [
        str(number + 1) for number in range(len(media))
    ]
    assert [message["sequenceNumber"] for message in media] == [
        str(number + 2) for number in range(len(media))
    ]
    stamps = [int(message["media"]["timestamp"]) for message in media]
    steps = [later - sooner for sooner, later in pairwise(stamps)]
    assert steps.count(20) >= len(steps) - 4, "only a machine that stalls may shift the clock"
    payloads = [base64.b64decode(message["media"]["payload"]) for message in media]
    assert {len(payload) for payload in payloads} == {160}
    assert payloads[0] == b"\xff" * 160
    assert b"".join(payloads) == result.sent_audio
    assert result.said_audio[8000:10400] in result.sent_audio
    assert set(result.said_audio[8000:10400]) != {0xFF}
    assert gateway.received[-1]["event"] == "stop"
    assert result.end_reason == "caller_hung_up"
    assert gateway.asked("/twilio/after") == []


async def test_a_hang_up_is_reported_to_the_status_callback() -> None:
    """When the caller hangs up the number's status callback gets the completed call."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        await dial(gateway, CallScript(hang_up_at_s=1.0), status_callback="/twilio/status")
    (status,) = gateway.asked("/twilio/status")
    assert status["CallStatus"] == "completed"
    assert "CallDuration" in status


async def test_keys_reach_the_gateway_one_by_one() -> None:
    """Pressed keys are dtmf messages in their order."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        keys = Utterance(label="keys", digits="1*#", at_s=0.5)
        await dial(gateway, CallScript(utterances=(keys,), hang_up_at_s=2.0))
    assert [message["dtmf"]["digit"] for message in gateway.sent("dtmf")] == ["1", "*", "#"]


async def test_marks_come_back_when_played_and_when_cleared() -> None:
    """A mark in silence returns at once, one behind audio when it was heard, one behind cleared audio on the clear."""

    async def play(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await socket.send_str(gateway.mark("at once"))
        await socket.send_str(gateway.media(tone(400)))
        await socket.send_str(gateway.mark("played"))
        await socket.send_str(gateway.media(tone(60_000)))
        await socket.send_str(gateway.mark("cleared"))
        await gateway.take(socket, is_mark("played"))
        await socket.send_str(gateway.clear())
        await gateway.take(socket, is_mark("cleared"))

    async with serving(StandIn(play)) as gateway:
        result = await dial(gateway)
    assert [message["mark"]["name"] for message in gateway.sent("mark")] == ["at once", "played", "cleared"]
    assert [mark.discarded for mark in result.marks] == [False, False, True]
    assert result.marks[1].at_s - result.marks[0].at_s >= 0.4
    (clear,) = result.clears
    assert clear.received_bytes == len(result.received_audio)
    assert 59_000 < clear.discarded_ms < 60_000
    assert 60_000 < result.most_queued_ms <= 60_400


async def test_marks_can_be_late_or_withheld() -> None:
    """Ordered, marks come back that much later, or never."""

    async def play(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await socket.send_str(gateway.mark("m"))
        await gateway.take(socket, is_mark("m"))

    async with serving(StandIn(play, greet_and_listen)) as gateway:
        await dial(gateway, faults=CallerFaults(late_marks_s=1.0))
        late = int(gateway.sent("media")[-1]["media"]["timestamp"])
        gateway.after_documents = [""]
        result = await dial(gateway, CallScript(hang_up_at_s=1), faults=CallerFaults(withhold_marks=True))
    assert late >= 900
    assert result.marks == []


async def test_what_twilio_would_not_accept_is_a_warning_without_effect() -> None:
    """Binary, unknown, foreign and incomplete messages are recorded by number and ignored."""

    async def misbehave(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\xff" * 160)
        await socket.send_str('{"event":"dance","streamSid":"x"}')
        await socket.send_str('{"event":"clear","streamSid":"MZother"}')
        await greet_and_close(gateway, socket)

    async with serving(StandIn(misbehave)) as gateway:
        result = await dial(gateway)
    assert [warning.code for warning in result.warnings] == [31950, 31951, 31951]
    assert result.clears == []
    assert result.received_audio == tone(500)


async def test_a_cut_connection_is_asked_about_and_goes_on() -> None:
    """After a cut without a stop Twilio asks what follows, takes the new stream, and the gap is known."""
    async with serving(StandIn(greet_and_listen, greet_and_close)) as gateway:
        gateway.after_documents = [gateway.connect_document, ""]
        result = await dial(
            gateway, CallScript(hang_up=False, max_s=20), faults=CallerFaults(kill_socket_at_s=(1.0,))
        )
    assert gateway.sent("stop") == []
    assert result.sockets == 2
    assert result.close_code == 1000
    (gap,) = result.socket_gaps
    assert gap.start_s >= 1.0
    assert len(gateway.asked("/twilio/after")) == 2
    first, second = gateway.sent("start")
    assert first["streamSid"] != second["streamSid"]
    assert first["start"]["callSid"] == second["start"]["callSid"]
    assert result.end_reason == "agent_hung_up"
    assert len(result.heard) == 2


async def test_a_cut_connection_can_be_the_end() -> None:
    """Ordered so, Twilio never comes back."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        faults = CallerFaults(kill_socket_at_s=(0.5,), ask_after_a_kill=False)
        result = await dial(gateway, faults=faults)
    assert result.end_reason == "socket_killed"
    assert gateway.asked("/twilio/after") == []


async def test_faults_of_framing_and_farewell() -> None:
    """Ordered, frames have odd sizes and the socket closes without a stop; no byte is lost."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        faults = CallerFaults(frame_bytes=(33, 470), close_without_stop=True)
        result = await dial(gateway, CallScript(hang_up_at_s=1.0), faults=faults)
    sizes = [len(base64.b64decode(message["media"]["payload"])) for message in gateway.sent("media")]
    assert sizes[:4] == [33, 470, 33, 470]
    assert gateway.sent("stop") == []
    assert result.sent_audio == b"".join(
        base64.b64decode(one["media"]["payload"]) for one in gateway.sent("media")
    )


async def test_a_stop_without_a_close_waits_for_the_gateway_to_close() -> None:
    """Ordered, the socket stays open after the stop; a gateway that closes it then is not warned about."""

    async def close_on_stop(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await gateway.take(socket, lambda message: bool(message["event"] == "stop"))

    async with serving(StandIn(close_on_stop)) as gateway:
        faults = CallerFaults(stop_without_close=True)
        result = await dial(gateway, CallScript(hang_up_at_s=0.5), faults=faults)
    assert gateway.received[-1]["event"] == "stop"
    assert result.close_code == 1000
    assert result.warnings == []


async def test_a_socket_left_open_after_the_stop_is_a_warning() -> None:
    """A gateway that never closes after a stop is found out, and its socket is cut."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        faults = CallerFaults(stop_without_close=True)
        result = await dial(gateway, CallScript(hang_up_at_s=0.5), faults=faults)
    assert "left the socket open" in result.warnings[0].text


async def test_a_slow_reader_gets_everything_late() -> None:
    """Ordered, each message is read only after a wait; the gateway's socket is not broken by it."""

    async def burst(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        for _ in range(10):
            await socket.send_str(gateway.media(tone(20)))
        await greet_and_close(gateway, socket)

    async with serving(StandIn(burst)) as gateway:
        result = await dial(gateway, faults=CallerFaults(read_every_s=0.1))
    audio = [message.at_s for message in result.messages if message.kind == "audio"]
    assert len(audio) == 11
    assert audio[-1] - audio[0] > 0.9


async def test_a_public_address_is_signed_and_the_given_one_is_dialled() -> None:
    """A gateway behind a public address can be called locally: all is signed for the public one."""
    stand_in = StandIn(greet_and_close)
    stand_in.stream_host = "wss://voice.example.com"
    stand_in.public_url = "https://voice.example.com"
    async with serving(stand_in) as gateway:
        result = await dial(gateway, public_url="https://voice.example.com")
    assert result.agent_was_heard
    assert all(proven for _, _, proven in gateway.requests)
    expected = hmac.new(TOKEN.encode(), b"wss://voice.example.com/media/tok", hashlib.sha1).digest()
    assert gateway.upgrades[0].headers["X-Twilio-Signature"] == base64.b64encode(expected).decode()


async def test_the_observer_hears_the_call_as_it_happens() -> None:
    """Notes come in the course of the call: document, stream, sound, end."""
    notes: list[Note] = []
    async with serving(StandIn(greet_and_close)) as gateway:
        await dial(gateway, observer=notes.append)
    kinds = [note.kind for note in notes]
    assert kinds[:4] == ["answered", "document", "socket", "heard"]
    assert kinds[-1] == "ended"


async def test_frames_are_punctual_on_an_idle_machine() -> None:
    """At the real clock's speed the caller measures how late its own frames are."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        result = await dial(gateway, CallScript(hang_up_at_s=0.6), clock=Clock())
    assert result.pacing.frames >= 29
    assert 0 <= result.pacing.late_p99_ms <= result.pacing.late_max_ms


async def test_leaving_the_call_early_leaves_nothing_running() -> None:
    """A cancelled call ends its tasks and is not swallowed."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        before = asyncio.all_tasks()
        try:
            async with asyncio.timeout(0.3):
                await dial(gateway, CallScript(hang_up=False, max_s=60))
        except TimeoutError:
            pass
        else:
            raise AssertionError("the call ended by itself")
        callers = [task for task in asyncio.all_tasks() - before if "gateway/simulate" in repr(task)]
    assert callers == []


async def test_a_cancelled_call_leaves_no_open_socket_behind() -> None:
    """Whoever gives up the caller cuts its line: the gateway need not wait for an answer to its close."""
    ends: list[int | None] = []
    streaming, ended = asyncio.Event(), asyncio.Event()

    async def listen(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        streaming.set()
        await gateway.take(socket, lambda _message: False)
        ends.append(socket.close_code)
        ended.set()

    async with serving(StandIn(listen)) as gateway, asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            call = group.create_task(dial(gateway))
            await streaming.wait()
            call.cancel()
        await ended.wait()
    assert ends == [1006]


async def test_https_where_http_is_spoken_is_told() -> None:
    """Somebody answers there, but without TLS; that nobody does would be wrong."""
    async with serving(StandIn(greet_and_close)) as gateway:
        secure = gateway.url.replace("http", "https")
        result = await call_twilio(secure, token=TOKEN, script=CallScript(max_s=10), clock=Clock(FAST))
        with pytest.raises(SocketError) as refused:
            await open_socket(secure.replace("http", "ws"), {}, None)
    assert result.failure == f"{secure}/twilio/voice {NO_TLS}"
    assert str(refused.value) == f"{secure.replace('http', 'ws')} {NO_TLS}"
