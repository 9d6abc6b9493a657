"""What passes through a gateway between a client of the Voice Agent API and its provider, and what outlives a socket."""

import asyncio

import aiohttp
import pytest
from api_wire import Message, Place, place
from scripted_agent import Session, scripted_agent
from together import until

from gateway.audio import PCM_24K

TOOL = {
    "type": "function",
    "name": "drive",
    "description": "Call this to drive.",
    "parameters": {"type": "object", "properties": {"meters": {"type": "integer"}}},
}
DRIVE = 'The caller typed: "go forward ten meters"'
NEWS: Message = {"reply_id": "r1", "mood": {"happy": 0.9}}
"""Fields of an event of the provider's that came up after this was written."""
WISHES: list[tuple[str, Message]] = [
    ("conversation.message", {"role": "user", "content": "x", "new": 1}),
    ("reply.create", {"instructions": "Go on.", "tone": "kind"}),
    ("future.wish", {"wish": ["x"]}),
]
"""Messages of a client, with fields and one kind of which the same is true."""


def sent(here: Place, kind: str) -> list[Message]:
    """Messages of a kind that the provider was sent in its one session."""
    (record,) = here.provider.sessions.values()
    return [message for message in record.messages if message["type"] == kind]


async def until_said(session: Session, *kinds: str) -> None:
    """Wait until the agent was sent these messages."""
    await until(lambda: {message["type"] for message in session.received} >= set(kinds))


# What nobody here knows


async def test_what_is_new_passes_both_ways() -> None:
    """Events and fields that are unknown here reach the client as the provider sent them, and the provider as the client did."""
    sessions: list[Session] = []

    async def newer(session: Session) -> None:
        sessions.append(session)
        await session.begin("r1", ["Hello."], 100)
        await session.send("reply.novelty", **NEWS)
        await session.sound("r1", bytes(4800))
        await session.send(
            "transcript.agent", reply_id="r1", text="Hello.", interrupted=False, confidence=0.9
        )
        await session.send("reply.done", reply_id="r1", status="completed", cost={"tokens": 3})
        await until_said(session, "future.wish")
        await session.send("future.granted", wish="x")

    async with scripted_agent(newer) as agent, place(agent=agent) as here, here.client("near") as client:
        await client.begin(input={"novelty": {"on": True}})
        (news,) = client.of("reply.novelty")
        assert NEWS.items() <= news.items()
        assert client.of("transcript.agent")[0]["confidence"] == 0.9
        assert client.of("reply.done")[0]["cost"] == {"tokens": 3}
        for kind, fields in WISHES:
            await client.send(kind, **fields)
        assert (await client.until("future.granted"))["wish"] == "x"
    (session,) = sessions
    assert session.received[0]["session"]["input"]["novelty"] == {"on": True}
    assert session.received[1:4] == [{"type": kind, **fields} for kind, fields in WISHES]


async def test_what_comes_before_the_session_is_ready_passes_too() -> None:
    """A client that does not wait for `session.ready` loses nothing of what it says at once."""
    context = {"role": "system", "content": "The caller is a regular."}
    async with place() as here, here.client("near") as client:
        await client.send("session.update", session={"greeting": "Hello."})
        await client.send("conversation.message", **context)
        await client.send("reply.create", instructions='Say: "Good evening."')
        await client.until("transcript.agent", lambda said: said["text"] == "Good evening.")
        assert sent(here, "conversation.message") == [{"type": "conversation.message", **context}]


# Interruptions


async def test_an_interruption_is_told_as_at_the_provider() -> None:
    """Speech, the words that were heard and the end come one after the other, and no more sound of that reply."""

    async def talkative(session: Session) -> None:
        await session.begin("r1", ["one", "two", "three", "four", "five", "six"], 500)
        for _ in range(30):  # three seconds at once
            await session.sound("r1", b"\1\2" * 2400)
        await until_said(session, "reply.create")
        await session.send("input.speech.started")
        ids = {"reply_id": "r1", "item_id": "item-r1"}
        await session.send("transcript.agent", **ids, text="one two", interrupted=True)
        await session.send("reply.done", reply_id="r1", status="interrupted")
        await session.sound("r1", b"\1\2" * 2400)  # late
        await session.send("input.speech.stopped")

    async with scripted_agent(talkative) as agent, place(agent=agent) as here, here.client("near") as client:
        await client.send("session.update", session={})
        await client.until("session.ready")
        await client.until("reply.audio")
        await client.send("reply.create")
        done = await client.until("reply.done")
        assert done["status"] == "interrupted"
        await client.until("input.speech.stopped")
        after = [message["type"] for message in client.seen]
        after = [kind for kind in after[after.index("input.speech.started") :] if kind[:9] != "talkpath."]
        assert after == [
            "input.speech.started",
            "transcript.agent",
            "reply.done",
            "input.speech.stopped",
        ]
        assert client.of("transcript.agent")[0]["interrupted"] is True
        assert PCM_24K.ms(len(client.sound("r1"))) < 2500


# Tools


@pytest.mark.parametrize("behind", ["provider", "here", "near"])
async def test_a_tool_that_is_never_answered_holds_nothing_up(behind: str) -> None:
    """After its `timeout_seconds` the agent says that it did not work; an answer that comes later is ignored."""
    async with place() as here, here.client(behind) as client:
        await client.begin(greeting="Hello.", tools=[{**TOOL, "timeout_seconds": 1}])
        await client.send("reply.create", instructions=DRIVE)
        call = await client.until("tool.call")
        await client.until("transcript.agent", lambda said: "cannot move" in said["text"])
        await client.send("tool.result", call_id=call["call_id"], result="{}")
        await client.send("reply.create", instructions='Say: "We go on."')
        await client.until("transcript.agent", lambda said: said["text"] == "We go on.")
        assert client.of("session.error") == []
        assert len(client.of("tool.call")) == 1


@pytest.mark.parametrize("behind", ["here", "near"])
async def test_an_unanswered_call_is_asked_again_after_a_break(behind: str) -> None:
    """A client that comes back is asked again with the same call, and its answer is taken once and spoken once."""
    async with place() as here, here.client(behind) as first:
        ready = await first.begin(greeting="Hello.", tools=[TOOL])
        await first.send("reply.create", instructions=DRIVE)
        call = await first.until("tool.call")
        first.drop()
        async with here.client(behind) as second:
            await second.send("session.resume", session_id=ready["session_id"])
            again = await second.until("session.ready")
            assert again["session_id"] == ready["session_id"]
            assert again["config"] == ready["config"]
            repeated = await second.until("tool.call")
            assert (repeated["call_id"], repeated["arguments"]) == (call["call_id"], call["arguments"])
            for _ in range(2):
                await second.send("tool.result", call_id=call["call_id"], result='{"ok": true}')
            await second.until("transcript.agent", lambda said: "ten meters" in said["text"])
            await second.until("reply.done")
            await second.send("session.end")
            assert await second.closed() == 1000
            said = [one["text"] for one in second.of("transcript.agent")]
            assert said.count("Going forward ten meters.") == 1
        if behind == "near":
            assert len(sent(here, "tool.result")) == 1
            assert len(sent(here, "session.update")) == 1


# What a route keeps, and what a session outlives


@pytest.mark.parametrize("behind", ["here", "near"])
async def test_what_the_route_keeps_is_named_and_ends_nothing(behind: str) -> None:
    """Fields that the route does not let a client set are named in a notice, at the beginning and later."""
    async with place(may="[greeting]") as here, here.client(behind) as client:
        await client.send(
            "session.update", session={"system_prompt": "x", "greeting": "Mine.", "output": {"voice": "eve"}}
        )
        notice = await client.until("talkpath.notice")
        assert notice["fields"] == ["output.voice", "system_prompt"]
        await client.until("transcript.agent", lambda said: said["text"] == "Mine.")
        await client.until("reply.done")
        await client.send("session.update", session={"tools": [TOOL]})
        assert (await client.until("talkpath.notice"))["fields"] == ["tools"]
        updated = await client.until("session.updated")
        assert "drive" not in [tool["name"] for tool in updated["config"]["tools"]]
        assert (await client.ask('Say: "We go on."'))["status"] == "completed"
        if behind == "near":
            (opening,) = sent(here, "session.update")
            assert "system_prompt" not in opening["session"]
            assert "voice" not in opening["session"]["output"]


async def test_a_session_is_gone_after_its_window_and_after_its_end() -> None:
    """Who comes back too late, or to a session that was ended, reads `session_not_found` and is closed with 1008."""
    async with place(more="limits: {return_s: 0.2}") as here:
        async with here.client("near") as first:
            lost = (await first.begin(greeting="Hello."))["session_id"]
            first.drop()
        (record,) = here.provider.sessions.values()
        await until(lambda: record.close_code is not None)  # the session behind it was ended
        async with here.client("near") as second:
            ended = (await second.begin(greeting="Hello."))["session_id"]
            await second.send("session.end")
            assert await second.closed() == 1000
        for session_id in (lost, ended):
            async with here.client("near") as late:
                await late.send("session.resume", session_id=session_id)
                error = await late.until("session.error")
                assert error["code"] == "session_not_found"
                assert await late.closed() == 1008


@pytest.mark.slow
async def test_the_longest_session_of_a_minted_token_is_kept_to() -> None:
    """A session that began with a token of 60 seconds, the least there is, reads `session_expired` after them."""
    query = "expires_in_seconds=60&max_session_duration_seconds=60"
    async with place(more="limits: {silence_s: 300}") as here, aiohttp.ClientSession() as http:
        async with http.get(f"{here.url}/v1/token?{query}") as answer:
            token = (await answer.json())["token"]
        async with asyncio.timeout(90), http.ws_connect(f"{here.url}/v1/ws?token={token}") as socket:
            await socket.send_json({"type": "session.update", "session": {}})
            seen = [message.json() async for message in socket]
    ready = next(event for event in seen if event["type"] == "session.ready")
    expired, ended = seen[-2:]
    assert (expired["type"], expired["code"]) == ("session.error", "session_expired")
    assert ended["type"] == "session.ended"
    assert 59 < ended["session_duration_seconds"] < 63
    assert abs(ready["expires_at"] - ended["timestamp"]) < 3
    assert socket.close_code == 1008
