"""One offline session: configuration, greeting, turns, barge-in, tools, endings."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from offline_client import TELEPHONE, Client, tool
from speech import hearing_needed, speech

from gateway.audio import DIGITAL_SILENCE_DBFS, MULAW_8K, PCM_24K, level_dbfs
from gateway.runtime.offline_session import OfflineSessions, OfflineSettings

BURST = OfflineSettings(profile="burst", reply_delay_s=0)
EVENTS_OF_A_REPLY = [
    "reply.started",
    "transcript.agent.delta",
    "reply.audio",
    "transcript.agent",
    "reply.done",
]


@pytest.fixture
async def sessions() -> AsyncIterator[OfflineSessions]:
    async with OfflineSessions(settings=BURST) as running:
        yield running


@pytest.fixture
def client(sessions: OfflineSessions) -> Client:
    return Client(sessions.connect())


async def test_a_session_begins_with_updated_ready_and_the_greeting(client: Client) -> None:
    """The order is that of the service; the configuration is echoed, unset fields as null."""
    ready = await client.begin(greeting="Good morning to you.", system_prompt="x", tools=[tool("drive")])
    await client.until("reply.done")
    assert client.types() == ["session.updated", "session.ready", *EVENTS_OF_A_REPLY]
    assert client.seen[0]["config"] == ready["config"]
    assert ready["config"]["input"]["turn_detection"] is None
    assert ready["config"]["tools"][0]["execution_mode"] == "interactive"
    assert ready["session_id"] == ready["config"]["id"]
    assert ready["resume_token"]
    assert isinstance(ready["expires_at"], int)
    assert all(isinstance(message["timestamp"], float) for message in client.seen)


async def test_words_and_sound_of_a_reply_agree(client: Client) -> None:
    """Each word is one delta within the sound, which begins with digital silence, in chunks of 10 ms."""
    await client.begin(greeting="Good morning to you.")
    done = await client.until("reply.done")
    sound = client.sound(done["reply_id"])
    words = client.of("transcript.agent.delta")
    assert [word["delta"] for word in words] == ["Good", "morning", "to", "you."]
    assert words[0]["start_ms"] == 250
    assert words[-1]["end_ms"] <= PCM_24K.ms(len(sound))
    assert level_dbfs(sound[: PCM_24K.frame_bytes(240)], PCM_24K) == DIGITAL_SILENCE_DBFS
    assert {len(base64.b64decode(chunk["data"])) for chunk in client.of("reply.audio")[:-1]} == {480}
    assert (
        client.of("transcript.agent")[0] | {"text": "Good morning to you.", "interrupted": False}
        == client.of("transcript.agent")[0]
    )


async def test_without_a_greeting_the_agent_listens_first(sessions: OfflineSessions) -> None:
    """No reply comes by itself; asked for, the script's greeting is used where the session has none."""
    quiet = Client(sessions.connect())
    await quiet.begin()
    await quiet.send("session.end")
    await quiet.rest()
    assert quiet.types() == ["session.updated", "session.ready", "session.ended"]
    eager = Client(sessions.connect(greet=True))
    await eager.begin()
    assert "Talkpath" in (await eager.until("transcript.agent"))["text"]


@hearing_needed
async def test_speech_is_understood_and_answered(client: Client) -> None:
    """A recorded person is transcribed, the tool is called, and its result is spoken."""
    await client.begin(**TELEPHONE, tools=[tool("drive")])
    await client.say(speech("goforward", MULAW_8K))
    call = await client.until("tool.call")
    assert call["name"] == "drive"
    assert call["arguments"] == {"direction": "forward", "meters": 10}
    await client.send("tool.result", call_id=call["call_id"], result="{}")
    assert (await client.until("transcript.agent"))["text"] == "Going forward ten meters."
    assert client.of("transcript.user")[0]["text"] == "go forward ten meters"
    assert client.of("transcript.user.delta")[1]["text"] == "go forward"
    await client.until("reply.done")
    assert client.types()[2:] == [
        "input.speech.started", "transcript.user.delta", "input.speech.stopped", "transcript.user",
        "reply.started", "reply.audio", "tool.call", "reply.done", *EVENTS_OF_A_REPLY,
    ]  # fmt: skip


@hearing_needed
async def test_without_the_tool_the_agent_says_so_itself(client: Client) -> None:
    """A tool that the session does not declare is never called."""
    await client.begin(**TELEPHONE)
    await client.say(speech("goforward", MULAW_8K))
    assert (await client.until("transcript.agent"))["text"] == "Going forward ten meters."
    assert not client.of("tool.call")


@hearing_needed
async def test_barge_in_cuts_the_reply() -> None:
    """Speech over a reply gives the three events back to back, trims the text, and ends the sound."""
    async with OfflineSessions(settings=OfflineSettings(commit_delay_s=0.3)) as sessions:
        client = Client(sessions.connect())
        await client.begin(**TELEPHONE, greeting="one two three four five six seven eight nine ten " * 4)
        await client.until("reply.audio", lambda _: len(client.of("reply.audio")) == 40)
        await client.say(speech("goforward", MULAW_8K))
        await client.until("transcript.user")
    kinds = [message["type"] for message in client.seen]
    at = kinds.index("input.speech.started")
    assert kinds[at : at + 3] == ["input.speech.started", "transcript.agent", "reply.done"]
    cut, done = client.seen[at + 1], client.seen[at + 2]
    assert cut["interrupted"] is True
    assert 1 <= len(cut["text"].split()) < 10
    assert done["status"] == "interrupted"
    assert "reply.audio" not in kinds[at:]


@hearing_needed
@pytest.mark.parametrize(
    ("detection", "turns"),
    [({"interrupt_response": False}, 1), ({"uninterruptible_turns": ["greeting"]}, 0)],
)
async def test_a_caller_who_may_not_interrupt_does_not(detection: dict[str, Any], turns: int) -> None:
    """The reply is completed; the speech is a turn afterwards, or discarded in an uninterruptible greeting."""
    async with OfflineSessions(settings=OfflineSettings()) as sessions:
        client = Client(sessions.connect())
        session = {"input": TELEPHONE["input"] | {"turn_detection": detection}, "output": TELEPHONE["output"]}
        await client.begin(**session, greeting="one two three four five six")
        await client.until("reply.audio")
        await client.say(speech("goforward", MULAW_8K))
        done = await client.until("reply.done")
        assert done["status"] == "completed"
        await client.send("reply.create", instructions="Say: done.")
        await client.until("transcript.agent", lambda message: message["text"] == "done.")
        await client.send("session.end")
        await client.rest()
    assert len(client.of("transcript.user")) == turns
    assert not client.of("input.speech.started")


async def test_goodbye_is_spoken_before_hanging_up(client: Client) -> None:
    """A key that ends the call: sound, text, then the tool, all in one reply."""
    await client.begin(tools=[tool("hang_up")])
    await client.send("reply.create", instructions="The caller pressed 9 on the keypad.")
    await client.until("reply.done")
    assert client.types()[2:] == [*EVENTS_OF_A_REPLY[:4], "tool.call", "reply.done"]
    assert client.of("tool.call")[0]["name"] == "hang_up"


async def test_without_hang_up_only_goodbye_is_said(client: Client) -> None:
    """An undeclared hang_up is not called."""
    await client.begin()
    await client.send("reply.create", instructions="The caller pressed 9 on the keypad.")
    await client.until("reply.done")
    assert client.types()[2:] == EVENTS_OF_A_REPLY


async def test_the_apology_is_said_and_hangs_up(sessions: OfflineSessions) -> None:
    """The last resort needs no greeting in the session and nobody who speaks."""
    client = Client(sessions.connect(script="apology"))
    await client.begin(tools=[tool("hang_up")], greeting="")
    assert (await client.until("tool.call"))["name"] == "hang_up"
    assert client.of("transcript.agent")[0]["text"].startswith("Sorry")


async def test_a_tool_that_does_not_answer_times_out(client: Client) -> None:
    """After timeout_seconds the agent apologises, and a late result is no news."""
    await client.begin(tools=[tool("drive", timeout_seconds=1)])
    conversation = client.session.conversation
    assert conversation is not None
    conversation._act(conversation._dialogue.heard("go forward two meters"))
    call = await client.until("tool.call")
    assert (await client.until("transcript.agent"))["text"] == "Sorry, I cannot move right now."
    await client.send("tool.result", call_id=call["call_id"], result="{}")
    await client.send("tool.result", call_id="call_unknown", result="{}")
    await client.send("session.end")
    await client.rest()
    assert len(client.of("transcript.agent")) == 1
    assert not client.of("session.error")


async def test_reply_create_replaces_the_greeting() -> None:
    """Asked while the greeting plays, the agent breaks it off and says the other thing."""
    async with OfflineSessions() as sessions:
        client = Client(sessions.connect())
        await client.begin(greeting="one two three four five six seven eight nine ten")
        await client.until("reply.audio")
        await client.send("reply.create", instructions='Say "all right"')
        assert (await client.until("reply.done"))["status"] == "interrupted"
        assert (await client.until("transcript.agent"))["text"] == "all right"


async def test_realtime_replies_are_paced_slightly_ahead() -> None:
    """Sound arrives about as fast as it plays, in 37.5 ms chunks of G.711."""
    async with OfflineSessions() as sessions:
        client = Client(sessions.connect())
        loop = asyncio.get_running_loop()
        await client.begin(**TELEPHONE, greeting="one two three four")
        await client.until("reply.started")
        began_s = loop.time()
        done = await client.until("reply.done")
        sound = client.sound(done["reply_id"])
        assert loop.time() - began_s == pytest.approx(MULAW_8K.ms(len(sound)) / 1000, abs=0.4)
        assert len(client.of("reply.audio")) == -(-len(sound) // 300)


async def test_given_sound_is_played_byte_for_byte() -> None:
    """A session told to play a recording sends exactly its bytes."""
    recording = bytes(range(256)) * 40
    settings = OfflineSettings(profile="burst", reply_audio=recording)
    async with OfflineSessions(settings=settings) as sessions:
        client = Client(sessions.connect())
        await client.begin(**TELEPHONE, greeting="anything")
        assert client.sound((await client.until("reply.done"))["reply_id"]) == recording


async def test_a_long_burst_waits_for_a_slow_reader() -> None:
    """A reply of ten minutes in one burst neither ends the session nor loses a byte."""
    recording = bytes(range(250)) * 8 * 4 * 600
    settings = OfflineSettings(profile="burst", reply_audio=recording)
    async with OfflineSessions(settings=settings) as sessions:
        client = Client(sessions.connect())
        await client.begin(**TELEPHONE, greeting="anything")
        assert client.sound((await client.until("reply.done"))["reply_id"]) == recording


async def test_silence_is_noticed(sessions: OfflineSessions) -> None:
    """A caller who says nothing is asked, and in the end said goodbye to."""
    script = sessions.script
    patient = script.file.no_input
    assert patient.after_s >= 10
    client = Client(sessions.connect())
    await client.begin(tools=[tool("hang_up")])
    conversation = client.session.conversation
    assert conversation is not None
    for _ in range(3):
        conversation._hear_no_input()
        await client.until("reply.done")
    assert client.of("tool.call")


async def test_session_end_is_answered_and_closes(client: Client) -> None:
    """The last event is session.ended, and the close code 1000."""
    await client.begin()
    await client.send("session.end")
    assert (await client.rest())[-1]["session_duration_seconds"] >= 0
    assert client.session.close_code == 1000
    await client.send("session.update")
    assert client.types()[-1] == "session.ended"


async def test_a_dropped_session_is_resumed(sessions: OfflineSessions) -> None:
    """The same session goes on over the next connection, with the same id and token, its reply dropped."""
    first = Client(sessions.connect())
    ready = await first.begin(tools=[tool("drive")])
    await first.session.disconnect()
    second = Client(sessions.connect())
    await second.send("session.resume", session_id=ready["session_id"])
    again = await second.until("session.ready")
    assert {**again, "timestamp": 0} == {**ready, "timestamp": 0}
    assert sessions.accepts_resume_token(ready["resume_token"])
    assert not sessions.accepts_resume_token("ä")
    await second.send("reply.create", instructions="Say: here I am.")
    assert (await second.until("transcript.agent"))["text"] == "here I am."


async def test_resuming_is_possible_for_a_while_only() -> None:
    """After the grace time, and for unknown ids, the answer is session_not_found and 1008."""
    async with OfflineSessions(settings=OfflineSettings(grace_s=0)) as sessions:
        first = Client(sessions.connect())
        session_id = (await first.begin())["session_id"]
        await first.session.disconnect()
        await asyncio.wait_for(_gone(sessions, session_id), 5)
        second = Client(sessions.connect())
        await second.send("session.resume", session_id=session_id)
        assert (await second.rest())[-1]["code"] == "session_not_found"
        assert second.session.close_code == 1008


async def _gone(sessions: OfflineSessions, session_id: str) -> None:
    while sessions.find(session_id) is not None:  # noqa: ASYNC110 - the caller has a limit
        await asyncio.sleep(0)


@hearing_needed
async def test_beyond_the_cap_a_session_takes_digits_only() -> None:
    """The second of two sessions gets no hearing where one may hear, until the first is over."""
    async with OfflineSessions(settings=BURST, offline_calls=1) as sessions:
        clients = [Client(sessions.connect()) for _ in range(2)]
        for client in clients:
            await client.begin(**TELEPHONE)
            await client.say(speech("goforward", MULAW_8K))
        await clients[0].until("transcript.user")
        await clients[1].send("reply.create", instructions="The caller pressed 2 on the keypad.")
        await clients[1].until("reply.done")
        assert not clients[1].of("input.speech.started")


async def test_leaving_ends_every_session() -> None:
    """When the process stops, connections are closed and nothing runs on."""
    async with OfflineSessions(settings=BURST) as short:
        client = Client(short.connect())
        await client.begin(greeting="Good morning.")
    await client.rest()
    assert client.session.close_code == 1001
