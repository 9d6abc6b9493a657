"""Frames under load: their stamps, their moments, the turns they belong to, and the two ends that speak them."""

import asyncio
import base64
import json
import time
from typing import Any

import pytest
from picows import WSMsgType

from gateway.audio import AUDIBLE_DBFS, MULAW_8K, level_dbfs
from gateway.simulate.load.agent_end import AgentEnd
from gateway.simulate.load.arrivals import Notes
from gateway.simulate.load.carrier_end import SILENCE, VOICE, CarrierEnd
from gateway.simulate.load.pace import Grid, Ticker, slots_for
from gateway.simulate.load.stamps import (
    FRAME_BYTES,
    FRAME_CHARACTERS,
    FRAME_NS,
    MASK,
    MOST_CALLS,
    read_stamps,
    rest_text,
    stamp_text,
)
from gateway.simulate.load.turns import CUT, CYCLE, NOTICED, REPLY, Cycle, place_of


def frame(call: int, sent_ns: int, sound: int = SILENCE) -> bytes:
    return stamp_text(call, sent_ns) + rest_text(sound)


@pytest.mark.parametrize(("call", "sent_ns"), [(0, 0), (7, 123_456_789_012_345), (MOST_CALLS, MASK)])
def test_a_stamp_comes_out_as_it_went_in(call: int, sent_ns: int) -> None:
    """Call and moment survive the way through base64, and the frame has its 20 ms."""
    text = frame(call, sent_ns)
    assert len(text) == FRAME_CHARACTERS
    assert len(base64.b64decode(text, validate=True)) == FRAME_BYTES
    assert read_stamps(text) == [(call, sent_ns)]


def test_merged_frames_keep_their_stamps() -> None:
    """A system that joins frames to one message loses none of them."""
    sound = b"".join(base64.b64decode(frame(3, sent_ns)) for sent_ns in (10, 20, 30))
    assert read_stamps(base64.b64encode(sound)) == [(3, 10), (3, 20), (3, 30)]


@pytest.mark.parametrize(
    "sound", [b"\xff" * 160, b"\x7f" * 160, bytes(160), bytes(range(160)), b"\xff" * 400]
)
def test_sound_of_somebody_else_has_no_stamp(sound: bytes) -> None:
    """Silence and house sounds are not taken for frames of a call."""
    assert read_stamps(base64.b64encode(sound)) == []


def test_a_stamped_silence_is_silent_and_a_stamped_voice_is_not() -> None:
    """Whoever listens for speech hears the turns and not the stamps."""
    quiet, loud = (base64.b64decode(frame(99, 2**55 - 1, sound)) for sound in (SILENCE, VOICE))
    assert level_dbfs(quiet, MULAW_8K) < AUDIBLE_DBFS - 10
    assert level_dbfs(loud, MULAW_8K) > -20


@pytest.mark.parametrize("calls", [1, 2, 3, 10, 39, 40, 400, 1000])
def test_calls_are_spread_evenly_over_twenty_milliseconds(calls: int) -> None:
    """The slots divide a frame's time without a rest, and no slot has two calls more than another."""
    grid = Grid(0, slots_for(calls))
    assert grid.step_ns * grid.slots == FRAME_NS
    for slot_of in (grid.caller_slot, grid.agent_slot):
        sizes = [[slot_of(call) for call in range(calls)].count(slot) for slot in range(grid.slots)]
        assert max(sizes) - min(sizes) <= 1


def test_the_schedule_is_absolute() -> None:
    """A tick's moment depends on its number alone, and a late frame is known by the moment it was planned for."""
    grid = Grid(1_000, 40)
    assert grid.at_ns(40 * 50 * 60) == 1_000 + 60_000_000_000
    due_ns = grid.at_ns(40 * 7 + 3)
    assert grid.due_ns(due_ns, 3) == due_ns
    assert grid.due_ns(due_ns + FRAME_NS - 1, 3) == due_ns


async def test_no_tick_is_left_out_when_the_loop_was_busy() -> None:
    """Ticks that were missed are made up for, in order, and the next one comes at its own moment."""
    grid = Grid(time.monotonic_ns(), 40)
    ticks: list[int] = []
    enough = asyncio.Event()

    def on_tick(tick: int) -> None:
        ticks.append(tick)
        if tick == 5:
            while time.monotonic_ns() < grid.at_ns(30):
                pass
        if tick == 100:
            enough.set()

    ticker = Ticker(grid, on_tick)
    try:
        await asyncio.wait_for(enough.wait(), 10)
    finally:
        ticker.close()
    assert ticks == list(range(len(ticks)))


def test_a_cycle_has_turns_and_a_reply_that_is_cut_off() -> None:
    """Two replies are heard to their end, the third is talked over while the caller's voice is already there."""
    cycle = Cycle()
    said = [name for names in cycle.events for name in names]
    assert said.count("reply.started") == 3
    assert said.count("reply.done") == 2
    assert said.count("reply.interrupted") == 1
    assert sum(cycle.agent_speaks) == 2 * REPLY + CUT
    cut_at = next(at for at, names in enumerate(cycle.events) if "reply.interrupted" in names)
    assert all(cycle.caller_speaks[cut_at - NOTICED : cut_at])
    assert not any(cycle.agent_speaks[cut_at:])
    assert len({place_of(call) * 20 // CYCLE for call in range(40)}) == 20, (
        "some part of the cycle has no call"
    )


class Line:
    """A WebSocket that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, kind: WSMsgType, message: bytes) -> None:
        assert kind is WSMsgType.TEXT
        self.sent.append(message)

    def send_close(self, *_reason: object) -> None:
        self.closed = True

    def disconnect(self) -> None:
        self.closed = True

    def take(self) -> list[dict[str, Any]]:
        messages = [json.loads(message) for message in self.sent]
        self.sent.clear()
        return messages


class Frame:
    """A message that arrives."""

    msg_type = WSMsgType.TEXT

    def __init__(self, message: dict[str, Any] | bytes) -> None:
        self._text = (
            message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
        )

    def get_payload_as_bytes(self) -> bytes:
        return self._text


def carrier() -> tuple[Any, Line, Notes]:
    line, notes = Line(), Notes()
    end: Any = CarrierEnd(5, "CA" + "1" * 32, Cycle(), notes)
    end.on_ws_connected(line)
    return end, line, notes


def test_the_carrier_speaks_as_twilio_does() -> None:
    """Numbers of messages and chunks count without a gap, as strings, and sound has the stream's id."""
    end, line, _ = carrier()
    for place in range(2):
        end.tick(place, time.monotonic_ns())
    connected, start, *media = line.take()
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert (start["sequenceNumber"], start["start"]["callSid"]) == ("1", "CA" + "1" * 32)
    assert [one["sequenceNumber"] for one in media] == ["2", "3"]
    assert [one["media"]["chunk"] for one in media] == ["1", "2"]
    assert {one["streamSid"] for one in media} == {start["streamSid"]}
    assert read_stamps(media[0]["media"]["payload"].encode())[0][0] == 5


def test_marks_come_back_when_they_are_reached_or_cleared() -> None:
    """A mark behind sound waits for it, and a clear returns at once what still waits."""
    end, line, notes = carrier()
    line.take()
    notes.arriving = True
    sound = stamp_text(5, time.monotonic_ns()) + rest_text(VOICE)
    media = b'{"event":"media","streamSid":"MZ","media":{"payload":"%b"}}' % sound
    for _ in range(500):
        end.on_ws_frame(line, Frame(media))
    end.on_ws_frame(line, Frame({"event": "mark", "streamSid": "MZ", "mark": {"name": "1:0"}}))
    end.tick(0, time.monotonic_ns())
    assert [one["event"] for one in line.take()] == ["media"], "ten seconds have not been played yet"
    end.on_ws_frame(line, Frame({"event": "clear", "streamSid": "MZ"}))
    (mark,) = line.take()
    assert (mark["event"], mark["mark"]["name"], end.clears) == ("mark", "1:0", 1)
    assert len(notes.to_caller.within(0, time.monotonic_ns())) == 500


def test_what_a_carrier_would_not_take_is_counted() -> None:
    """Unknown messages and sound that is not the agent's are told apart from the agent's frames."""
    end, line, notes = carrier()
    notes.arriving = True
    end.on_ws_frame(line, Frame({"event": "nonsense"}))
    clip = base64.b64encode(bytes(range(160))).decode()
    end.on_ws_frame(line, Frame({"event": "media", "streamSid": "MZ", "media": {"payload": clip}}))
    assert (end.refused, end.house_sounds) == (1, 1)
    assert notes.to_caller.within(0, time.monotonic_ns()) == []


def agent() -> tuple[Any, Line, list[int]]:
    line, met = Line(), list[int]()
    end: Any = AgentEnd(Cycle(), Notes(), lambda _session, call: met.append(call))
    end.on_ws_connected(line)
    return end, line, met


def test_the_agent_answers_the_first_message_and_knows_its_caller_by_the_first_frame() -> None:
    """`session.updated` comes before `session.ready`, both echo the session, and nothing is said before that."""
    end, line, met = agent()
    assert line.take() == []
    end.on_ws_frame(line, Frame({"type": "session.update", "session": {"system_prompt": "Hi"}}))
    updated, ready = line.take()
    assert (updated["type"], ready["type"]) == ("session.updated", "session.ready")
    assert ready["config"]["system_prompt"] == "Hi"
    assert ready["config"]["id"] == ready["session_id"]
    end.on_ws_frame(line, Frame({"type": "input.audio", "audio": frame(12, 5).decode()}))
    assert met == [12]


def test_the_agent_takes_turns() -> None:
    """Over a cycle every reply is begun, sounds under its own id, and ends completed or interrupted."""
    end, line, _ = agent()
    end.on_ws_frame(line, Frame({"type": "input.audio", "audio": frame(0, 5).decode()}))
    for place in range(CYCLE):
        end.tick(place, time.monotonic_ns())
    messages = line.take()
    ends = [one["status"] for one in messages if one["type"] == "reply.done"]
    assert ends == ["completed", "completed", "interrupted"]
    begun = [one["reply_id"] for one in messages if one["type"] == "reply.started"]
    sounds = [one for one in messages if one["type"] == "reply.audio"]
    assert [one["reply_id"] for one in sounds] == [begun[0]] * REPLY + [begun[1]] * REPLY + [begun[2]] * CUT
    assert all(read_stamps(one["data"].encode()) for one in sounds)
    cut = next(one for one in messages if one["type"] == "transcript.agent" and one["interrupted"])
    whole = next(one for one in messages if one["type"] == "transcript.agent" and not one["interrupted"])
    assert whole["text"].startswith(cut["text"])


def test_the_agent_resumes_nothing() -> None:
    """A client that asks for an earlier session is told that there is none, and may begin anew."""
    end, line, _ = agent()
    end.on_ws_frame(line, Frame({"type": "session.resume", "session_id": "sess_1"}))
    assert line.take()[0]["code"] == "session_not_found"
    assert line.closed
