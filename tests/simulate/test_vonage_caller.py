"""The simulated Vonage call and its media sockets against a stand-in: real sockets, a clock ten times as fast."""

import hashlib
import json
from typing import Any

import pytest
from aiohttp import web
from vonage_stand_in import (
    SECRET,
    StandIn,
    greet_and_close,
    greet_and_listen,
    is_answer_to,
    is_event,
    never,
    proven,
    serving,
    tone,
)

from gateway.simulate import (
    CallerFaults,
    CallResult,
    CallScript,
    Clock,
    Note,
    Utterance,
    VonageCaller,
    call_vonage,
)
from gateway.simulate.vonage_stream import BUFFER_FRAMES

FAST = 10.0


async def dial(stand_in: StandIn, script: CallScript | None = None, **options: Any) -> CallResult:
    clock = options.pop("clock", None) or Clock(FAST)
    script = script or CallScript(max_s=10)
    return await call_vonage(stand_in.url, secret=SECRET, script=script, clock=clock, **options)


async def test_a_call_is_proven_connected_and_ended_by_the_gateway() -> None:
    """Webhooks and the upgrade carry a fresh signed token; when the gateway closes, nothing follows and the call ends."""
    async with serving(StandIn(greet_and_close)) as gateway:
        result = await dial(
            gateway, caller="+447700900000", callee="447700900001", region_url="https://r.example"
        )
    assert result.end_reason == "agent_hung_up"
    assert result.failure is None
    assert result.warnings == []
    assert result.received_audio == tone(500)
    assert tone(500) in result.heard_audio
    ((method, call, claims),) = gateway.calls
    assert method == "POST"
    assert (call["from"], call["to"]) == ("447700900000", "447700900001")
    assert call["region_url"] == "https://r.example"
    body = json.dumps(call, separators=(",", ":")).encode()
    assert claims["payload_hash"] == hashlib.sha256(body).hexdigest()
    (upgrade,) = gateway.upgrades
    assert "payload_hash" not in proven(upgrade)
    assert proven(upgrade)["jti"] != claims["jti"]
    for absent in ("Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
        assert absent not in upgrade.headers
    assert gateway.statuses("phone") == ["ringing", "answered", "completed"]
    assert gateway.statuses("socket") == ["answered", "disconnected"]
    after = gateway.events[-2]
    assert after["headers"] == {"token": "tok", "call_uuid": "x"}
    assert after["query"] == "call_uuid=x"
    assert after["uuid"] not in ("", call["uuid"])
    assert gateway.events[-1]["uuid"] == call["uuid"]


async def test_an_answer_by_get_has_its_fields_in_the_query() -> None:
    """Ordered, the answer webhook is asked by GET; the token then proves no body."""
    async with serving(StandIn(greet_and_close)) as gateway:
        result = await dial(gateway, answer_method="GET", extra_fields={"SipHeader_X-A": "1"})
    assert result.agent_was_heard
    ((method, call, claims),) = gateway.calls
    assert (method, call["SipHeader_X-A"]) == ("GET", "1")
    assert "payload_hash" not in claims


async def test_an_answer_that_did_not_come_is_asked_for_again_with_the_same_token() -> None:
    """After a 503 the same question comes once more, word for word."""
    async with serving(StandIn(greet_and_close)) as gateway:
        gateway.answer_statuses = [503, 200]
        result = await dial(gateway)
    assert result.agent_was_heard
    first, second = gateway.calls
    assert first == second


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000])
async def test_sound_is_sent_in_frames_of_20_ms(rate_hz: int) -> None:
    """The first message names the rate and brings the headers; then each message is one frame, silence included."""
    said = Utterance(label="tone", pcm=tone(300, rate_hz), rate_hz=rate_hz, at_s=2.0)
    async with serving(StandIn(greet_and_listen, rate_hz=rate_hz)) as gateway:
        result = await dial(gateway, CallScript(utterances=(said,), hang_up_at_s=4.0))
    first = gateway.received[0]
    assert first == {
        "event": "websocket:connected",
        "content-type": f"audio/l16;rate={rate_hz}",
        "token": "tok",
        "call_uuid": "x",
    }
    frames = gateway.frames()
    assert len(frames) > 50
    assert {len(frame) for frame in frames} == {rate_hz // 50 * 2}
    assert b"".join(frames) == result.sent_audio[: len(b"".join(frames))]
    assert tone(300, rate_hz) in result.sent_audio
    assert set(frames[0]) == {0}
    assert result.end_reason == "caller_hung_up"
    assert gateway.statuses("socket") == ["answered", "completed"]
    assert gateway.statuses("phone")[-1] == "completed"


async def test_sound_may_come_before_the_first_message() -> None:
    """Ordered, a frame comes first."""
    async with serving(StandIn(greet_and_close)) as gateway:
        await dial(gateway, faults=CallerFaults(sound_first=True))
    assert gateway.received[0] == bytes(320)
    assert isinstance(gateway.received[1], dict)


async def test_keys_reach_the_gateway_one_by_one() -> None:
    """Pressed keys are messages in their order, each with its length."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        keys = Utterance(label="keys", digits="1*#", at_s=2.0)
        await dial(gateway, CallScript(utterances=(keys,), hang_up_at_s=4.0))
    pressed = gateway.texts("websocket:dtmf")
    assert [(message["digit"], message["duration"]) for message in pressed] == [
        ("1", 260),
        ("*", 260),
        ("#", 260),
    ]


@pytest.mark.parametrize("size", [160, 319, 321, 640, 2, 0])
async def test_one_wrong_frame_drops_the_socket(size: int) -> None:
    """A message of another size is never played: the socket is gone, and the carrier says why."""

    async def misbehave(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await gateway.play(socket, tone(100))
        await socket.send_bytes(b"\1" * size)
        await gateway.take(socket, never)

    async with serving(StandIn(misbehave)) as gateway:
        result = await dial(gateway)
    (warning,) = result.warnings
    assert warning.text == f"unexpected frame size {size}, when required 320"
    assert result.received_audio == tone(100)
    assert result.close_code == 1006
    assert gateway.statuses("socket") == ["answered", "disconnected"]


async def test_notices_are_answered_when_played_and_never_when_cleared() -> None:
    """A notice in silence is answered at once, one behind sound when that was heard, one behind cleared sound never."""

    async def play(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await gateway.notify(socket, "at once")
        await gateway.play(socket, tone(400))
        await gateway.notify(socket, "played")
        await gateway.play(socket, tone(20_000))
        await gateway.notify(socket, "cleared")
        await gateway.take(socket, is_answer_to("played"))
        await socket.send_str('{"action":"clear"}')
        await gateway.take(socket, is_event("websocket:cleared"))
        await gateway.play(socket, tone(100))
        await gateway.notify(socket, "after")
        await gateway.take(socket, is_answer_to("after"))

    async with serving(StandIn(play)) as gateway:
        result = await dial(gateway)
    answered = [message["payload"]["name"] for message in gateway.texts("websocket:notify")]
    assert answered == ["at once", "played", "after"]
    assert result.marks[1].at_s - result.marks[0].at_s >= 0.4
    (clear,) = result.clears
    assert 19_000 < clear.discarded_ms < 20_000
    assert result.warnings == []


async def test_notices_can_be_late_or_withheld() -> None:
    """Ordered, answers come that much later, or never."""

    async def play(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await gateway.notify(socket, "m")
        await gateway.take(socket, is_answer_to("m"))

    async with serving(StandIn(play, greet_and_listen)) as gateway:
        late = await dial(gateway, faults=CallerFaults(late_marks_s=1.0))
        never_answered = await dial(
            gateway, CallScript(hang_up_at_s=1), faults=CallerFaults(withhold_marks=True)
        )
    assert late.duration_s >= 0.9
    assert never_answered.marks == []


async def test_the_buffer_holds_3072_frames() -> None:
    """What is sent beyond is lost, and that is said."""

    async def burst(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        await gateway.play(socket, b"\1\0" * 160 * (BUFFER_FRAMES + 50))
        await socket.send_str('{"action":"clear"}')
        await gateway.take(socket, is_event("websocket:cleared"))

    async with serving(StandIn(burst)) as gateway:
        result = await dial(gateway, CallScript(max_s=200), clock=Clock(1.0))
    assert result.most_queued_ms <= BUFFER_FRAMES * 20
    assert result.most_queued_ms > (BUFFER_FRAMES - 10) * 20
    assert 1 <= len(result.warnings) <= 50
    assert "more than 3072 frames wait" in result.warnings[0].text


async def test_what_vonage_does_not_know_is_a_warning() -> None:
    """Unknown and incomplete messages are recorded and have no effect."""

    async def misbehave(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        for text in ('{"action":"hangup"}', '{"action":"notify"}', '{"action":"notify","payload":"x"}', "x"):
            await socket.send_str(text)
        await greet_and_close(gateway, socket)

    async with serving(StandIn(misbehave)) as gateway:
        result = await dial(gateway)
    assert len(result.warnings) == 4
    assert result.received_audio == tone(500)


async def test_a_cut_connection_is_asked_about_and_goes_on() -> None:
    """After a cut Vonage asks what follows, takes the new document, and the gap is known."""
    async with serving(StandIn(greet_and_listen, greet_and_close)) as gateway:
        gateway.following = [gateway.connect_document]
        faults = CallerFaults(kill_socket_at_s=(3.0,))
        result = await dial(gateway, CallScript(hang_up=False, max_s=20), faults=faults)
    assert gateway.statuses("socket") == ["answered", "disconnected", "answered", "disconnected"]
    assert result.sockets == 2
    (gap,) = result.socket_gaps
    assert gap.start_s >= 3.0
    assert result.end_reason == "agent_hung_up"
    assert len(result.heard) == 2


async def test_a_cut_connection_can_be_the_end() -> None:
    """Ordered so, Vonage never asks."""
    async with serving(StandIn(greet_and_listen)) as gateway:
        faults = CallerFaults(kill_socket_at_s=(2.0,), ask_after_a_kill=False)
        result = await dial(gateway, faults=faults)
    assert result.end_reason == "socket_killed"
    assert gateway.statuses("socket") == ["answered"]


async def test_a_socket_that_cannot_be_opened_is_asked_about() -> None:
    """A refused upgrade is an event whose answer may be another document; nothing else follows."""
    async with serving(StandIn()) as gateway:
        gateway.following = [[{"action": "talk", "text": "Please call again."}]]
        result = await dial(gateway)
    assert gateway.statuses("socket") == ["failed"]
    assert result.carrier_said == ["Please call again."]
    assert result.refused_status == 410
    assert result.end_reason == "agent_hung_up"


async def test_a_document_without_synchronous_events_is_not_answered() -> None:
    """Without that word the answer to an event counts for nothing."""
    async with serving(StandIn(greet_and_close)) as gateway:
        (connect,) = gateway.connect_document
        del connect["eventType"]
        gateway.document = [connect]
        gateway.following = [[{"action": "talk", "text": "Never said."}]]
        result = await dial(gateway)
    assert result.carrier_said == []


async def test_what_stands_behind_the_socket_is_warned_about() -> None:
    """Such an action would run while the socket is up, which nobody means."""
    async with serving(StandIn(greet_and_close)) as gateway:
        gateway.document = [*gateway.connect_document, {"action": "talk", "text": "Goodbye."}]
        result = await dial(gateway)
    assert "stands behind the media socket" in result.warnings[0].text


async def test_a_refused_call_says_why() -> None:
    """A refusal has the gateway's words, and the call never began."""
    async with serving(StandIn()) as gateway:
        gateway.refuses = True
        result = await dial(gateway)
        assert result.end_reason == "refused"
        assert result.refused_status == 403
        assert "without valid proof" in (result.failure or "")
        gateway.refuses, gateway.answer_type = False, "text/html"
        result = await dial(gateway)
    assert "text/html, not application/json" in (result.failure or "")


async def test_a_document_that_cannot_be_carried_out_fails_the_call() -> None:
    """The first thing that is wrong with it is told."""
    async with serving(StandIn()) as gateway:
        gateway.document = [{"action": "dance"}]
        result = await dial(gateway)
    assert result.end_reason == "failed"
    assert "'dance'" in (result.failure or "")


async def test_rest_updates_interrupt_the_call() -> None:
    """A hang-up closes the socket and asks for nothing; a transfer carries out its document."""
    callers: list[VonageCaller] = []

    async def hang_up(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        callers[-1].hang_up("carrier_hung_up")
        await gateway.take(socket, never)

    async def transfer(gateway: StandIn, socket: web.WebSocketResponse) -> None:
        document = [{"action": "connect", "endpoint": [{"type": "phone", "number": "14155550100"}]}]
        callers[-1].redirect(document=json.dumps(document))
        await gateway.take(socket, never)

    async with serving(StandIn(hang_up, transfer)) as gateway:
        results = []
        for _ in range(2):
            callers.append(VonageCaller(gateway.url, secret=SECRET, clock=Clock(FAST)))
            results.append(await callers[-1].run())
    assert [result.end_reason for result in results] == ["carrier_hung_up", "transferred"]
    assert results[1].dialled == ["14155550100"]
    assert "disconnected" not in gateway.statuses("socket")


async def test_a_public_address_is_named_and_the_given_one_is_dialled() -> None:
    """A gateway behind a public address can be called locally."""
    stand_in = StandIn(greet_and_close)
    stand_in.public_url = "https://voice.example.com"
    async with serving(stand_in) as gateway:
        result = await dial(gateway, public_url="https://voice.example.com")
    assert result.agent_was_heard
    assert gateway.statuses("socket") == ["answered", "disconnected"]


async def test_the_observer_hears_the_call_as_it_happens() -> None:
    """Notes come in the course of the call: document, socket, sound, end."""
    notes: list[Note] = []
    async with serving(StandIn(greet_and_close)) as gateway:
        await dial(gateway, observer=notes.append)
    kinds = [note.kind for note in notes]
    assert kinds[:4] == ["answered", "document", "socket", "heard"]
    assert kinds[-1] == "ended"
