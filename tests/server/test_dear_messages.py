"""Messages that are dear to read: refused before they are, and never paid for by other calls."""

import json
import time
from typing import Any

import pytest
from api_client import api_house

from gateway.call.client_session import MOST_TOOLS
from gateway.call.conversation import LONGEST_NAME, MOST_NAMED
from gateway.errors import WireError
from gateway.runtime.share import MESSAGE_VALUES, Share
from gateway.runtime.text_bounds import MOST_VALUES, bound_values, marks_in
from gateway.settings import RouteSettings

OPEN = (RouteSettings(name="default", agent="main", client_may=("tools", "input", "system_prompt")),)
SIZE = 950_000
"""Just below what a message may have."""
DEAR_MS = 25.0
"""Processor time for one message at most; a third of it on a machine with nothing else to do."""


def update(**session: Any) -> str:
    return json.dumps({"type": "session.update", "session": session})


def tools(count: int, properties: int = 0) -> list[dict[str, Any]]:
    known = {f"p{place}": {"type": "string"} for place in range(properties)}
    parameters = {"type": "object", "properties": known}
    return [{"type": "function", "name": f"t{place}", "parameters": parameters} for place in range(count)]


def filled(head: str, piece: str, tail: str) -> str:
    return head + piece * ((SIZE - len(head) - len(tail)) // len(piece)) + tail


HEAD = '{"type":"session.update","session":{"input":{"keyterms":['
DEAR = {
    "tools": update(tools=tools(9000)),
    "properties": update(tools=tools(1, 28_000)),
    "fields": update(input={f"f{place}": 1 for place in range(50_000)}),
    "numbers": filled(HEAD, "1,", "1]}}}"),
    "objects": filled(HEAD, "{},", "{}]}}}"),
    "words": filled(HEAD, '"",', '""]}}}'),
    "behind words": filled(HEAD, '"\\\\",', '"\\\\"]}}}'),
    "nested": filled(HEAD, "[", ""),
    "of no type": filled('{"type":"x","a":[', "0,", "0]}"),
}
CHEAP = {
    "a long prompt": filled(
        '{"type":"session.update","session":{"system_prompt":"', "Well, [so] {be} it, ", '"}}'
    ),
    "quotes": filled('{"type":"session.update","session":{"system_prompt":"', '\\"a\\",', '"}}'),
    "backslashes": filled('{"type":"session.update","session":{"system_prompt":"', "\\\\,", '"}}'),
    "a result": json.dumps(
        {"type": "tool.result", "call_id": "c", "result": json.dumps([{"a": 1}] * 50_000)}
    ),
    "many tools": update(tools=tools(MOST_TOOLS, 15)),
}


@pytest.mark.parametrize("name", DEAR)
def test_what_would_be_dear_to_read_is_refused_unread(name: str) -> None:
    """A megabyte of values is refused in one sentence, in a few milliseconds."""
    text = DEAR[name]
    began = time.thread_time()
    with pytest.raises(WireError, match=f"more than {MOST_VALUES} values"):
        bound_values(text)
    assert (time.thread_time() - began) * 1000 < DEAR_MS


@pytest.mark.parametrize("name", CHEAP)
def test_words_are_no_values(name: str) -> None:
    """However many words, and whatever stands in them, a message with few values passes, in a few milliseconds."""
    text = CHEAP[name]
    began = time.thread_time()
    bound_values(text)
    assert (time.thread_time() - began) * 1000 < DEAR_MS


def test_values_are_paid_for() -> None:
    """What has as many values as may be costs its sender a quarter of a second's reading and more, however short."""
    text = "[" + "1," * (MOST_VALUES - 2) + "1]"
    share = Share(1000)
    before = share.turn_left
    share.take(len(text), marks_in(text))
    assert before - share.turn_left > MOST_VALUES / MESSAGE_VALUES >= 250


@pytest.mark.parametrize("path", ["/v1/ws/browser", "/v1/ws/pcm?events=1"])
async def test_a_burst_of_dear_messages_leaves_the_loop_to_others(path: str) -> None:
    """Every dialect refuses them, the call goes on, and the process works no longer on one than a moment."""
    async with api_house(routes=OPEN) as house, house.client(path) as client:
        if "browser" in path:
            await client.begin()
        else:
            await client.until("session.ready")
        for text in DEAR.values():
            before = time.process_time()
            await client.socket.send_str(text)
            error = await client.until("session.error")
            # the client's own work and the slow arrival of a megabyte are in it too
            assert (time.process_time() - before) * 1000 < 150, text[:80]
            assert error["code"] == "invalid_format"
            await client.send("session.update", session={"output": {"volume": 50}})
        assert house.agent.received


async def test_a_client_has_so_many_tools_and_no_more() -> None:
    """One tool more than may be is refused with its place, and the session goes on with those before."""
    async with api_house(routes=OPEN) as house, house.client() as client:
        await client.begin(tools=tools(MOST_TOOLS))
        await client.send("session.update", session={"tools": tools(MOST_TOOLS + 1)})
        error = await client.until("session.error")
        assert (error["code"], error["param"]) == ("invalid_value", "tools")
        assert str(MOST_TOOLS) in error["message"]
        assert len(house.agent.received[0]["session"]["tools"]) == MOST_TOOLS


async def test_a_notice_names_a_few_and_counts_the_rest() -> None:
    """Whoever writes a thousand fields that the route keeps is told of some, and of how many more there are."""
    fields = {f"{place:04}" + "f" * 3 * LONGEST_NAME: 1 for place in range(1000)}
    async with api_house() as house, house.client() as client:
        await client.begin()
        await client.send("session.update", session={"input": fields})
        notice = await client.until("talkpath.notice")
        assert len(notice["fields"]) == MOST_NAMED
        assert notice["message"].endswith(f" and {1000 - MOST_NAMED} more")
        assert len(json.dumps(notice)) < 2 * (MOST_NAMED + 1) * (LONGEST_NAME + 10)


async def test_a_notice_repeats_no_long_word() -> None:
    """A result for a call whose id is a book is answered with the first words of it."""
    async with api_house() as house, house.client("/v1/ws/pcm?events=1") as client:
        await client.until("session.ready")
        await client.send("tool.result", call_id="x" * 500_000, result="r")
        notice = await client.until("talkpath.notice")
        assert len(notice["message"]) < LONGEST_NAME + 100
