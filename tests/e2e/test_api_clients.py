"""Sessions of clients of the Voice Agent API, end to end: the same at a provider, and at a gateway before one.

What they assert is the reference's checklist for a server (Voice Agent API, 13.7).
"""

import base64
import json

import pytest
from api_wire import BEHIND, Message, Place, Wire, place
from speech import hearing_needed, speech
from together import until

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat, level_dbfs

FORMATS = {"audio/pcm": PCM_24K, "audio/pcmu": MULAW_8K, "audio/pcma": ALAW_8K}
AUDIBLE_DBFS = -50.0
HEARD_MS = 1000.0
SENTENCE = 'Say: "Good evening."'
DRIVE = 'The caller typed: "go forward ten meters"'
TOOL = {
    "type": "function",
    "name": "drive",
    "description": "Call this to drive.",
    "parameters": {"type": "object", "properties": {"meters": {"type": "integer"}}},
}
ALSO = ("provider", *BEHIND)
"""Where a client finds the same: at the provider itself, and at a gateway, wherever its agent is."""


async def end(client: Wire) -> int | None:
    await client.send("session.end")
    return await client.closed()


# What every session is like


@pytest.mark.parametrize("behind", ALSO)
async def test_a_session_has_the_services_shape(behind: str) -> None:
    """Every event has the fields that a client may rely on, in an order that it may rely on, up to close 1000."""
    async with place() as here, here.client(behind) as client:
        ready = await client.begin(greeting="Hello.", tools=[TOOL])
        await client.send("reply.create", instructions=DRIVE)
        call = await client.until("tool.call")
        await client.send("tool.result", call_id="of nothing", result="{}")
        await client.send("tool.result", call_id=call["call_id"], result='{"ok": true}')
        await client.until("transcript.agent", lambda said: "ten meters" in said["text"])
        await client.until("reply.done")
        assert await end(client) == 1000
    assert client.kinds[:2] == ["session.updated", "session.ready"]
    assert client.kinds[-1] == "session.ended"
    assert client.of("session.error") == client.of("talkpath.notice") == []
    assert client.seen[0]["config"] == ready["config"]
    assert call["arguments"] == {"direction": "forward", "meters": 10}
    check_config(ready)
    check_events(client.seen)
    check_replies(client.seen)


def check_config(ready: Message) -> None:
    config = ready["config"]
    (tool,) = (tool for tool in config["tools"] if tool["name"] == TOOL["name"])  # the route has one too
    assert config["id"] == ready["session_id"]
    assert isinstance(ready["expires_at"], int)
    assert isinstance(ready["resume_token"], str)
    assert config["greeting"] == "Hello."
    unset = "turn_detection", "keyterms", "transcription_mode", "transcription_prompt", "voice_focus"
    assert [config["input"][name] for name in unset] == [None] * len(unset)
    assert config["output"]["volume"] is None
    assert config["output"]["format"] == {"encoding": "audio/pcm", "sample_rate": 24000}
    assert (tool["timeout_seconds"], tool["execution_mode"], tool["http"]) == (120, "interactive", None)


def check_events(seen: list[Message]) -> None:
    """Whether each event has its time, and what is said of a reply its id."""
    for event in seen:
        assert isinstance(event["timestamp"], float), event
        if event["type"].startswith(("reply.", "transcript.agent")):
            assert isinstance(event["reply_id"], str), event


def check_replies(seen: list[Message]) -> None:
    """Whether each reply is begun, then heard, then told in words, then done, once."""
    for started in [event for event in seen if event["type"] == "reply.started"]:
        of_it = [event["type"] for event in seen if event.get("reply_id") == started["reply_id"]]
        of_it = [kind for kind in of_it if not kind.startswith("talkpath.")]
        assert (of_it[0], of_it[-1]) == ("reply.started", "reply.done"), of_it
        assert of_it.count("reply.started") == of_it.count("reply.done") == 1
        if "transcript.agent" in of_it:
            silent = [kind for kind in of_it if kind != "reply.audio"]
            assert silent[-2:] == ["transcript.agent", "reply.done"]
    assert {event["status"] for event in seen if event["type"] == "reply.done"} == {"completed"}


# Mistakes


FIRST: list[tuple[Message, str, str | None, int]] = [
    ({"sytem_prompt": "x"}, "invalid_value", "sytem_prompt", 1008),
    ({"agent_id": "agent_1", "greeting": "x"}, "invalid_value", "agent_id", 1008),
    ({"system_prompt": 5}, "invalid_value", "system_prompt", 1008),
    ({"llm": [{"base_url": "https://x"}]}, "invalid_value", "llm", 1008),
    ({"input": {"format": "audio/pcm"}}, "invalid_value", "format", 1008),
    ({"output": {"volume": 101}}, "invalid_value", "output.volume", 1008),
    ({"output": {"voice": ""}}, "invalid_value", "output.voice", 1008),
    ({"tools": [{"type": "tool", "name": "x"}]}, "invalid_value", "tools[0].type", 1008),
    (
        {"input": {"turn_detection": {"min_silence": 900, "max_silence": 900}}},
        "invalid_value",
        "input.turn_detection",
        1008,
    ),
]


@pytest.mark.parametrize("behind", ALSO)
async def test_a_bad_first_update_ends_as_at_the_provider(behind: str) -> None:
    """Each mistake is told with the same code and place by the provider and by us, and ends with the same close."""
    async with place() as here:
        for session, code, param, close_code in FIRST:
            async with here.client(behind) as client:
                await client.send("session.update", session=session)
                error = await client.until("session.error")
                assert (error["code"], error["param"], error["session_id"]) == (code, param, None), session
                assert await client.closed() == close_code
                assert client.kinds == ["session.error"]


@pytest.mark.parametrize("behind", ALSO)
@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(
    ("form", "code", "close_code"),
    [
        ({"encoding": "audio/pcm", "sample_rate": 16000}, "internal_error", 1011),
        ({"encoding": "audio/opus"}, "invalid_value", 1008),
    ],
)
async def test_other_formats_are_refused_as_at_the_provider(
    behind: str, side: str, form: Message, code: str, close_code: int
) -> None:
    """A PCM rate other than 24000 ends with 1011, an encoding that is none of the three with 1008."""
    async with place() as here, here.client(behind) as client:
        await client.send("session.update", session={side: {"format": form}})
        assert (await client.until("session.error"))["code"] == code
        assert await client.closed() == close_code


LATER: list[tuple[Message, str]] = [
    ({"type": "session.update", "session": {"greeting": "Again."}}, "immutable_field"),
    ({"type": "session.update", "session": {"output": {"voice": "nobody"}}}, "immutable_field"),
    ({"type": "session.update", "session": {"agent_id": "agent_1"}}, "agent_id_not_first"),
    ({"type": "session.update", "session": {"output": {"volume": 500}}}, "invalid_value"),
    ({"type": "session.update", "session": {"greeting": None}}, "invalid_format"),
    ({"type": "session.update", "session": 5}, "invalid_format"),
    ({"type": "session.resume", "session_id": "sess_1"}, "invalid_format"),
    ({"type": "input.audio", "audio": "nonsense!"}, "invalid_audio"),
    ({"type": "input.audio"}, "invalid_format"),
    ({"type": "tool.result", "call_id": "c", "result": {}}, "invalid_format"),
    ({"type": "reply.create", "instructions": 5}, "invalid_format"),
    ({"type": "conversation.message", "role": "assistant", "content": "x"}, "invalid_format"),
    ({"type": "input_audio_buffer.commit"}, "invalid_format"),
    ({"no type": 1}, "invalid_format"),
]


@pytest.mark.parametrize("behind", ALSO)
async def test_later_mistakes_end_nothing(behind: str) -> None:
    """Each mistake in a session is told with the same code by the provider and by us, and the session goes on."""
    async with place() as here, here.client(behind) as client:
        await client.begin(greeting="Hello.", output={"voice": "alba"})
        for mistake, code in LATER:
            await client.socket.send(json.dumps(mistake))
            assert (await client.until("session.error"))["code"] == code, mistake
            await client.send("input.audio", audio=base64.b64encode(bytes(960)).decode())
        await client.socket.send(b"\0\0")
        assert (await client.until("session.error"))["code"] == "invalid_format"
        assert (await client.ask(SENTENCE))["status"] == "completed"
        assert await end(client) == 1000


# Sound


@pytest.mark.parametrize("behind", ALSO)
async def test_volume_is_the_agents_sound(behind: str) -> None:
    """A volume that is set in a session is echoed and makes the following sound quieter by as much."""
    async with place() as here, here.client(behind) as client:
        await client.begin(greeting="Hello.")
        loud = client.sound((await client.ask(SENTENCE))["reply_id"])
        await client.send("session.update", session={"output": {"volume": 10}})
        assert (await client.until("session.updated"))["config"]["output"]["volume"] == 10
        quiet = client.sound((await client.ask(SENTENCE))["reply_id"])
    difference = loudest(loud, PCM_24K) - loudest(quiet, PCM_24K)
    assert 15 < difference < 25  # a tenth is 20 dB


def loudest(audio: bytes, form: AudioFormat) -> float:
    """Level of the loudest 100 ms."""
    size = form.frame_bytes(100)
    return max(level_dbfs(audio[start : start + size], form) for start in range(0, len(audio), size))


@pytest.mark.parametrize("behind", [pytest.param("here", marks=hearing_needed), "near"])
@pytest.mark.parametrize("hears", FORMATS)
async def test_each_side_has_the_format_that_it_asks_for(behind: str, hears: str) -> None:
    """All pairs of the three formats are echoed, what the client says reaches the agent, what it is sent can be heard."""
    async with place() as here:
        for speaks in FORMATS:
            async with here.client(behind) as client:
                await check_formats(here, client, hears, speaks, at_provider=behind == "near")


async def check_formats(here: Place, client: Wire, hears: str, speaks: str, *, at_provider: bool) -> None:
    forms = {"input": {"format": {"encoding": hears}}, "output": {"format": {"encoding": speaks}}}
    ready = await client.begin(greeting="Good evening.", **forms)
    for side, encoding in (("input", hears), ("output", speaks)):
        echoed = {"encoding": encoding, "sample_rate": FORMATS[encoding].rate_hz}
        assert ready["config"][side]["format"] == echoed
    (started,) = client.of("reply.started")
    assert loudest(client.sound(started["reply_id"]), FORMATS[speaks]) > AUDIBLE_DBFS
    said = speech("goforward", FORMATS[hears], silence_ms=0)
    await client.send("input.audio", audio=base64.b64encode(said).decode())
    if not at_provider:
        await client.until("input.speech.started")
        return
    record = list(here.provider.sessions.values())[-1]
    agent_hears = FORMATS[record.messages[0]["session"]["input"]["format"]["encoding"]]
    await until(lambda: agent_hears.ms(len(record.audio)) > HEARD_MS)
    assert loudest(bytes(record.audio), agent_hears) > AUDIBLE_DBFS
