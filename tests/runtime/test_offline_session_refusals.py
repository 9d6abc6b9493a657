"""What an offline session refuses, with which code, and whether it goes on; and that nothing makes it fail."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offline_client import Client, tool

from gateway.runtime.offline_session import OfflineSessions, OfflineSettings

BURST = OfflineSettings(profile="burst", reply_delay_s=0, wrong_rate_close_s=0.05)


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"colour": "red"}, "invalid_value", "colour"),
        ({"llm": [{"model": "m"}]}, "invalid_value", "llm"),
        ({"agent_id": "agent_1", "greeting": "x"}, "invalid_value", "agent_id"),
        ({"system_prompt": 1}, "invalid_value", "system_prompt"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": {"format": "audio/pcmu"}}, "invalid_value", "format"),
        ({"input": {"format": {"encoding": "audio/opus"}}}, "invalid_value", "format.encoding"),
        ({"output": {"voice": ""}}, "invalid_value", "output.voice"),
        ({"output": {"volume": 101}}, "invalid_value", "output.volume"),
        ({"input": {"turn_detection": {"max_silence": 5}}}, "invalid_value", "input.turn_detection.max_silence"),
        ({"input": {"turn_detection": {"min_silence": 900, "max_silence": 900}}}, "invalid_value", "input.turn_detection"),
        ({"input": {"keyterms": "bread"}}, "invalid_value", "input.keyterms"),
        ({"tools": {}}, "invalid_value", "tools"),
        ({"tools": [{"name": "x"}]}, "invalid_value", "tools[0].type"),
        ({"tools": [tool("x", parameters={"properties": []})]}, "invalid_value", "tools[0].parameters"),
        ({"tools": [tool("x", timeout_seconds=301)]}, "invalid_value", "tools[0].timeout_seconds"),
        ({"tools": [tool("x"), tool("x")]}, "invalid_value", "tools"),
    ],
)  # fmt: skip
async def test_a_wrong_first_update_ends_the_session_a_later_one_does_not(
    session: dict[str, Any], code: str, param: str
) -> None:
    """The first is answered with its error and 1008; later the same error leaves the session as it was."""
    async with OfflineSessions(settings=BURST, offline_calls=0) as sessions:
        first = Client(sessions.connect())
        await first.send("session.update", session=session)
        (refused,) = await first.rest()
        assert (refused["code"], refused["param"]) == (code, param)
        assert first.session.close_code == 1008
        later = Client(sessions.connect())
        before = (await later.begin(system_prompt="before"))["config"]
        await later.send("session.update", session=session)
        assert (await later.until("session.error"))["code"] in {code, "agent_id_not_first"}
        await later.send("session.update", session={})
        assert (await later.until("session.updated"))["config"] == before


async def test_a_greeting_of_null_is_refused_and_the_socket_stays() -> None:
    """The service answers invalid_format and lets the client try again."""
    async with OfflineSessions(settings=BURST, offline_calls=0) as sessions:
        client = Client(sessions.connect())
        await client.send("session.update", session={"greeting": None})
        assert (await client.until("session.error"))["code"] == "invalid_format"
        await client.begin(greeting="Hello.")
        await client.until("reply.done")


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"greeting": "other"}, "greeting"),
        ({"output": {"voice": "other"}}, "output.voice"),
        ({"output": {"format": {"encoding": "audio/pcma"}}}, "output.format"),
        ({"input": {"format": {"encoding": "audio/pcma"}}}, "input.format"),
    ],
)
async def test_fixed_fields_stay_and_the_others_change(session: dict[str, Any], param: str) -> None:
    """An immutable field is refused by name; prompt, tools and volume are taken over and echoed."""
    async with OfflineSessions(settings=BURST, offline_calls=0) as sessions:
        client = Client(sessions.connect())
        await client.begin(greeting="Hello.")
        await client.send("session.update", session=session)
        refused = await client.until("session.error")
        assert (refused["code"], refused["param"]) == ("immutable_field", param)
        await client.send(
            "session.update", session={"system_prompt": "new", "tools": [tool("a")], "output": {"volume": 0}}
        )
        config = (await client.until("session.updated"))["config"]
        assert (config["system_prompt"], config["output"]["volume"]) == ("new", 0)
        assert [declared["name"] for declared in config["tools"]] == ["a"]


async def test_an_impossible_rate_ends_in_an_internal_error() -> None:
    """PCM at 16 kHz is accepted at first, never becomes ready, and ends with 1011."""
    async with OfflineSessions(settings=BURST, offline_calls=0) as sessions:
        client = Client(sessions.connect())
        await client.send("session.update", session={"input": {"format": {"sample_rate": 16000}}})
        await client.rest()
        assert client.types() == ["session.updated", "session.error"]
        assert client.session.close_code == 1011


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_format"),
        ("[]", "invalid_format"),
        ("[" * 100_000, "invalid_format"),
        ('{"type": 1}', "invalid_format"),
        ('{"type": "response.create"}', "invalid_format"),
        ('{"type": "input.audio"}', "invalid_format"),
        ('{"type": "input.audio", "audio": "?"}', "invalid_audio"),
        ('{"type": "tool.result", "call_id": "x", "result": {}}', "invalid_format"),
        ('{"type": "conversation.message", "role": "assistant", "content": "x"}', "invalid_format"),
        ('{"type": "reply.create", "instructions": 1}', "invalid_format"),
        ('{"type": "session.resume", "session_id": "x"}', "invalid_format"),
        ('"' + "x" * 2_000_000 + '"', "invalid_format"),
    ],
    ids=range(12),
)
async def test_malformed_messages_are_refused_and_the_session_goes_on(message: str, code: str) -> None:
    """Every wrong message of a live session is answered with its code, and nothing closes."""
    async with OfflineSessions(settings=BURST, offline_calls=0) as sessions:
        client = Client(sessions.connect())
        await client.begin()
        await client.session.receive(message)
        assert (await client.until("session.error"))["code"] == code
        await client.send("reply.create", instructions="Say: fine.")
        await client.until("reply.done")


async def test_nothing_is_done_before_the_first_update() -> None:
    """Sound is discarded, other messages are refused, and an end is an end."""
    async with OfflineSessions(settings=BURST, offline_calls=0) as sessions:
        client = Client(sessions.connect())
        await client.send("input.audio", audio="////")
        await client.send("reply.create")
        await client.send("session.end")
        await client.rest()
        assert client.types() == ["session.error", "session.ended"]
        assert client.session.close_code == 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(
    ["session.update", "session.resume", "input.audio", "tool.result", "reply.create", "reply.cancel",
     "conversation.message", "session.nonsense"]
)  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(["session", "audio", "call_id", "result", "instructions", "role", "content", "reply_id"]),
    JSON
    | st.dictionaries(
        st.sampled_from(["input", "output", "tools", "greeting", "agent_id", "system_prompt"]), JSON
    ),
    max_size=3,
)
MESSAGES = st.builds(lambda kind, fields: json.dumps({"type": kind} | fields), KINDS, FIELDS) | st.text(
    max_size=40
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(MESSAGES, max_size=8), st.booleans())
async def test_no_message_makes_a_session_fail(messages: list[str], begun: bool) -> None:
    """Arbitrary messages, before and after the beginning, never raise and never end in an internal error."""
    async with OfflineSessions(settings=OfflineSettings(profile="burst"), offline_calls=0) as sessions:
        client = Client(sessions.connect())
        if begun:
            await client.begin()
        for message in messages:
            await client.session.receive(message)
        await client.send("session.end")
        assert all(message.get("code") != "internal_error" for message in await client.rest())
