import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from fakes import FakeAgent, MemoryWire, PlainCodec, caller_leg, passing, pcm_codec, soon, until, virtual

from gateway.audio import MULAW_8K, PCM_16K, PCM_24K, AudioFormat
from gateway.commands import Clear, Mark, Play, SendAudio, Tell
from gateway.events import AnyEvent, CallerAudio, CallerPressed, CallStarted, Event, UserSaid
from gateway.runtime.agent_sound import AgentSound
from gateway.runtime.legs import LegBounds, LocalWire, WireLeg

Handler = Callable[[web.WebSocketResponse], Awaitable[None]]


def agent_leg(wire: MemoryWire, audio: AudioFormat = PCM_24K, **bounds: float) -> WireLeg:
    sound = AgentSound(audio, audio)
    return WireLeg(wire, PlainCodec(), bounds=LegBounds(close_s=1, **bounds), sound=sound)  # type: ignore[arg-type]


async def everything(leg: WireLeg) -> list[AnyEvent]:
    return [event async for event in leg]


# The outbox


@virtual
async def test_clear_overtakes() -> None:
    """A clear drops the sound and marks that wait and goes out before everything else that does."""
    wire = MemoryWire()
    leg = WireLeg(wire, PlainCodec())
    for command in (
        Play("r1", b"1"),
        Mark("m"),
        Tell(UserSaid("hm", True)),
        Play("r1", b"2"),
        Clear(),
        Play("r2", b"3"),
    ):
        leg.post(command)
    writer = asyncio.ensure_future(leg.write())
    await soon()
    assert wire.sent == ["Clear", "Tell", b"3"]
    await leg.close()
    await writer


@virtual
async def test_sent_at_once() -> None:
    """While nothing waits, what is posted is on its way before anybody else has a turn; afterwards order is kept."""
    wire = MemoryWire()
    leg = agent_leg(wire)
    writer = asyncio.ensure_future(leg.write())
    await soon()
    leg.post(SendAudio(b"\x01" * 960))
    assert wire.sent == [b"\x01" * 960]
    wire.is_clogged = True
    leg.post(SendAudio(b"\x02" * 960))
    wire.is_clogged = False
    leg.post(SendAudio(b"\x03" * 960))
    assert len(wire.sent) == 1
    await soon()
    assert b"".join(map(bytes, wire.sent)) == b"".join(bytes([n]) * 960 for n in (1, 2, 3))  # type: ignore[arg-type]
    await leg.close()
    await writer


@virtual
async def test_a_connection_that_breaks_as_something_is_sent_at_once() -> None:
    """Posting never raises for the peer's sake: whoever reads learns that the connection is gone."""
    wire = MemoryWire()
    leg = agent_leg(wire)
    writer = asyncio.ensure_future(leg.write())
    await soon()
    wire.is_broken = True
    leg.post(SendAudio(b"\x01" * 960))
    assert wire.sent == []
    await leg.close()
    await writer


@virtual
async def test_what_waits_is_merged() -> None:
    """Frames go to the agent one by one; only what waits is merged, in order, to at most 200 ms a message."""
    wire = MemoryWire()
    leg = agent_leg(wire)
    writer = asyncio.ensure_future(leg.write())
    frames = [bytes([number]) * 960 for number in range(30)]
    for frame in frames[:3]:
        leg.post(SendAudio(frame))
        await soon()
    assert wire.sent == frames[:3]
    wire.is_clogged = True
    for frame in frames[3:]:
        leg.post(SendAudio(frame))
    await soon()
    assert b"".join(map(bytes, wire.sent)) == b"".join(frames)  # type: ignore[arg-type]
    assert max(map(len, wire.sent)) == PCM_24K.frame_bytes(200)
    await leg.close()
    await writer


@virtual
async def test_huge_audio() -> None:
    """A caller who sends many seconds in one message makes messages that the agent can take."""
    wire = MemoryWire()
    leg = agent_leg(wire, PCM_24K, audio_s=60.0)
    audio = bytes(range(256)) * 4000
    leg.post(SendAudio(audio))
    writer = asyncio.ensure_future(leg.write())
    await soon()
    assert b"".join(map(bytes, wire.sent)) == audio  # type: ignore[arg-type]
    assert max(map(len, wire.sent)) <= PCM_24K.frame_bytes(200)
    await leg.close()
    await writer


@pytest.mark.parametrize("audio", [MULAW_8K, PCM_24K], ids=str)
@virtual
async def test_slow_agent(audio: AudioFormat) -> None:
    """Towards an agent that does not read the oldest sound is dropped and counted; the newest seconds stay."""
    wire = MemoryWire()
    leg = agent_leg(wire, audio, audio_s=2.0)
    frames = [bytes([number % 250]) * audio.frame_bytes(20) for number in range(500)]
    for frame in frames[:300]:
        leg.post(SendAudio(frame))
    leg.post(Mark("in between"))
    for frame in frames[300:]:
        leg.post(SendAudio(frame))
    assert leg.dropped_ms == pytest.approx(8000)
    writer = asyncio.ensure_future(leg.write())
    await soon()
    assert wire.sent[0] == "Mark"
    assert b"".join(map(bytes, wire.sent[1:])) == b"".join(frames[-100:])  # type: ignore[arg-type]
    await leg.close()
    await writer


@virtual
async def test_one_message_beyond_the_bound() -> None:
    """A single message with more sound than may wait loses its beginning and breaks nothing."""
    wire = MemoryWire()
    leg = agent_leg(wire, PCM_24K, audio_s=1.0)
    leg.post(SendAudio(bytes(48_000 * 30)))
    assert leg.dropped_ms == pytest.approx(29_000)
    writer = asyncio.ensure_future(leg.write())
    await soon()
    assert sum(map(len, wire.sent)) == 48_000
    await leg.close()
    await writer


@virtual
async def test_sound_that_the_filter_holds_back() -> None:
    """No empty message goes to the agent while the filter still gathers."""
    wire = MemoryWire()
    leg = WireLeg(wire, PlainCodec(), sound=AgentSound(PCM_24K, PCM_16K))
    writer = asyncio.ensure_future(leg.write())
    for _ in range(100):
        leg.post(SendAudio(bytes(64)))
        await soon()
    assert wire.sent
    assert all(wire.sent)
    await leg.close()
    await writer


@virtual
async def test_peer_that_reads_slowly() -> None:
    """A peer that takes a message now and then, but what it takes is too old, counts as gone."""

    class Slow(MemoryWire):
        async def send(self, message: str | bytes) -> None:
            await passing(3)
            await super().send(message)

    wire = Slow()
    leg = WireLeg(wire, PlainCodec())
    writer = asyncio.ensure_future(leg.write())
    reading = asyncio.ensure_future(everything(leg))
    before = asyncio.get_running_loop().time()
    for _ in range(100):
        leg.post(Play("r1", b"1"))
    await writer
    assert asyncio.get_running_loop().time() - before < 21
    assert await reading == []
    assert wire.closed_with == 1011
    leg.post(Play("r1", b"1"))


@virtual
async def test_peer_that_reads_late_but_always() -> None:
    """A peer that is always a second behind stays: a bound on waiting is not a bound on being busy."""

    class Late(MemoryWire):
        async def send(self, message: str | bytes) -> None:
            await passing(0.02)
            await super().send(message)

    wire = Late()
    leg = WireLeg(wire, PlainCodec())
    writer = asyncio.ensure_future(leg.write())
    for _ in range(50):
        leg.post(Play("r1", b"1"))
    for _ in range(3000):
        leg.post(Play("r1", b"1"))
        await passing(0.02)
    await until(lambda: len(wire.sent) == 3050)
    await leg.close()
    await writer


@virtual
async def test_broken_wire() -> None:
    """A wire that breaks while something is sent ends the leg."""
    wire = MemoryWire()
    leg = WireLeg(wire, PlainCodec())
    wire.is_broken = True
    leg.post(Play("r1", b"1"))
    reading = asyncio.ensure_future(everything(leg))
    await leg.write()
    assert await reading == []
    assert not leg.is_open


@virtual
async def test_close_flushes() -> None:
    """Closing sends what waits first, takes nothing more, and closing again does nothing."""
    wire = MemoryWire()
    leg = WireLeg(wire, PlainCodec())
    writer = asyncio.ensure_future(leg.write())
    leg.post(Play("r1", b"last words"))
    await leg.close(1000, "bye")
    leg.post(Play("r1", b"too late"))
    await writer
    await leg.close(1011)
    assert wire.sent == [b"last words"]
    assert wire.closed_with == 1000


@virtual
async def test_close_is_bounded() -> None:
    """Closing ends in the time for closing although the peer neither reads nor answers, and nobody writes."""
    for is_written in (True, False):
        wire = MemoryWire(answers_close=False)
        wire.is_stuck = True
        leg = caller_leg(wire, PlainCodec())
        leg.post(Play("r1", b"1"))
        writer = asyncio.ensure_future(leg.write() if is_written else asyncio.sleep(0))
        await soon()
        before = asyncio.get_running_loop().time()
        await leg.close()
        assert asyncio.get_running_loop().time() - before <= 1.01
        writer.cancel()
        await asyncio.wait({writer})


# Reading


@virtual
async def test_silent_socket() -> None:
    """A new connection that says nothing is closed after its time; one that spoke may then be silent."""
    wire = MemoryWire()
    leg = caller_leg(wire, PlainCodec(), first_message_s=3)
    before = asyncio.get_running_loop().time()
    assert await everything(leg) == []
    assert asyncio.get_running_loop().time() - before == pytest.approx(3)
    assert wire.closed_with == 1008
    wire = MemoryWire()
    leg = caller_leg(wire, PlainCodec(), first_message_s=3)
    wire.give("1")
    asyncio.get_running_loop().call_later(100, wire.hang_up)
    assert await everything(leg) == [CallerPressed("1")]
    assert wire.closed_with is None


@virtual
async def test_opening_without_a_message() -> None:
    """A dialect without a start message begins with the opened connection."""
    wire = MemoryWire()
    wire.give(b"\x01\x02")
    wire.hang_up()
    events = await everything(caller_leg(wire, pcm_codec()))
    assert [type(event) for event in events] == [CallStarted, CallerAudio]


@virtual
async def test_unreadable_messages() -> None:
    """Ten unreadable messages in a row close a connection, each is answered, and a good one resets the count."""
    wire = MemoryWire()
    leg = caller_leg(wire, pcm_codec("events=1"))
    wire.give(*["nonsense"] * 9, b"\x01\x02", *["nonsense"] * 9, b"\x01\x02", *["nonsense"] * 11)
    events = await everything(leg)
    assert [type(event) for event in events] == [CallStarted, CallerAudio, CallerAudio]
    assert wire.closed_with == 1008
    assert leg.wire_errors == 28
    assert len(wire.texts("session.error")) == 28


@virtual
async def test_unreadable_and_unread() -> None:
    """Who sends nonsense and does not read the answers is closed."""
    wire = MemoryWire()
    wire.is_stuck = True
    leg = caller_leg(wire, pcm_codec("events=1"))
    wire.give("nonsense")
    assert len(await everything(leg)) == 1
    assert wire.closed_with == 1008


@virtual
async def test_reading_goes_on() -> None:
    """A reader that was cancelled loses nothing: the next one goes on where it stopped."""
    wire = MemoryWire()
    leg = caller_leg(wire, PlainCodec())
    reading = asyncio.ensure_future(everything(leg))
    await soon()
    reading.cancel()
    await asyncio.wait({reading})
    wire.give("1")
    wire.hang_up()
    assert await everything(leg) == [CallerPressed("1")]


@virtual
async def test_agent_that_has_ended() -> None:
    """A connection whose codec says that the session has ended is closed without waiting for the peer."""

    class Ending(PlainCodec):
        ended = False

        def decode(self, message: str | bytes) -> list[Event]:
            self.ended = message == "ended"
            return super().decode(message)

    wire = MemoryWire()
    wire.give("1", "ended")
    assert len(await everything(caller_leg(wire, Ending()))) == 2
    assert wire.closed_with == 1000


@virtual
async def test_local_session() -> None:
    """A session in this process reads and is read like a connection, and learns of the close."""
    agent = FakeAgent()
    leg = WireLeg(LocalWire(agent), PlainCodec())
    writer = asyncio.ensure_future(leg.write())
    agent.say_raw("7")
    reading = asyncio.ensure_future(everything(leg))
    await soon()
    await leg.close()
    assert await reading == [CallerPressed("7")]
    assert agent.gone_at is not None
    await writer
