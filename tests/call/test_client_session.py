"""The merge rule: what a client may set of a session, and how it lies over what it has set before."""

import json
from typing import Any

import pytest

from gateway.call.client_session import Asked, ClientSession
from gateway.events import CallerConfigured
from gateway.observers.journal_words import without_words


def update(session: Any) -> str:
    return json.dumps({"type": "session.update", "session": session})


def client(*may: str, route_tools: tuple[str, ...] = (), anybody: bool = False) -> ClientSession:
    return ClientSession(frozenset(may), frozenset(route_tools), anybody=anybody)


def changes(asked: Asked) -> Any:
    assert asked.error is None
    return json.loads(asked.changes) if asked.changes else {}


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, **fields}


@pytest.mark.parametrize(
    ("may", "session", "set_", "kept"),
    [
        ((), {"system_prompt": "x", "greeting": "y"}, {}, ["greeting", "system_prompt"]),
        (("system_prompt",), {"system_prompt": "x", "greeting": "y"}, {"system_prompt": "x"}, ["greeting"]),
        ((), {"webhook": {"url": "u"}}, {}, ["webhook"]),
        (("webhook",), {"webhook": None}, {"webhook": None}, []),
        # the client's own line, and how loud it hears
        ((), {"input": {"type": "audio", "format": {}}, "output": {"type": "audio", "format": {}}}, {}, []),
        ((), {"output": {"volume": 50}}, {"output": {"volume": 50}}, []),
        # whole sides, or parts of them
        ((), {"input": {"keyterms": ["a"]}}, {}, ["input.keyterms"]),
        (("input",), {"input": {"keyterms": ["a"], "new": 1}}, {"input": {"keyterms": ["a"], "new": 1}}, []),
        (
            ("input.keyterms",),
            {"input": {"keyterms": ["a"], "turn_detection": {}}},
            {"input": {"keyterms": ["a"]}},
            ["input.turn_detection"],
        ),
        (("output.voice",), {"output": {"voice": "alba"}}, {"output": {"voice": "alba"}}, []),
        # null is the provider's own value
        (("input",), {"input": {"turn_detection": None}}, {"input": {"turn_detection": None}}, []),
        # what has no shape that could be laid over anything is kept back
        (("input",), {"input": 7}, {}, ["input"]),
        ((), {"pre_connect_requests": []}, {}, ["pre_connect_requests"]),
    ],
)
def test_a_field_passes_only_where_the_route_names_it(
    may: tuple[str, ...], session: Any, set_: Any, kept: list[str]
) -> None:
    """What passes is sent on, everything else is named."""
    asked = client(*may).update(update(session))
    assert changes(asked) == set_
    assert asked.kept == kept


ADDRESS = "https://elsewhere.example/x"
WAYS_OUT: list[tuple[Any, list[str]]] = [
    ({"tools": [tool("a", url=ADDRESS)]}, ["tools[0].url"]),
    ({"tools": [tool("a"), tool("b", server={"url": ADDRESS})]}, ["tools[1].server"]),
    ({"tools": [tool("a", http={"url": ADDRESS})]}, ["tools[0].http"]),
    ({"tools": [tool("a", serverUrl="x")]}, ["tools[0].serverUrl"]),
    ({"tools": [tool("a", mcp_servers=[])]}, ["tools[0].mcp_servers"]),
    ({"tools": [tool("a", new={"deep": [{"callback": 1}]})]}, ["tools[0].new"]),
    ({"tools": [tool("a", new=[["wss://elsewhere.example"]])]}, ["tools[0].new"]),
    ({"tools": [tool("a", description={"url": ADDRESS})]}, ["tools[0].description"]),
    ({"tools": [tool("a", response_instructions={"webhook": "x"})]}, ["tools[0].response_instructions"]),
    ({"tools": [tool("a", response_instructions={"error": {"a": 1}})]}, ["tools[0].response_instructions"]),
    ({"input": {"webhook": {"url": ADDRESS}}}, ["input.webhook"]),
    ({"input": {"continuous_partials": {"url": ADDRESS}}}, ["input.continuous_partials"]),
    ({"input": {"turn_detection": {"model_url": ADDRESS}}}, ["input.turn_detection.model_url"]),
    ({"output": {"audio_url": ADDRESS}}, ["output.audio_url"]),
    ({"output": {"new": ADDRESS}}, ["output.new"]),
]


@pytest.mark.parametrize("anybody", [False, True])
@pytest.mark.parametrize(("session", "kept"), WAYS_OUT)
def test_nothing_that_may_lead_to_a_host_passes(session: Any, kept: list[str], anybody: bool) -> None:
    """Neither with a key nor with a token: the field is named, and the rest of the update holds."""
    one = client("tools", "input", "output", anybody=anybody)
    asked = one.update(update(session))
    assert asked.kept == kept
    assert kept[0].rpartition(".")[2] not in asked.changes
    assert "elsewhere" not in asked.changes
    assert len(changes(asked).get("tools", [])) == len(session.get("tools", []))


def test_what_a_provider_adds_passes_with_a_key_and_not_with_a_token() -> None:
    """An unknown field of a part needs no release of ours; a token is anybody's, and sets what is known, or what the route names."""
    known: dict[str, Any] = {
        "keyterms": ["http://x"],
        "turn_detection": {"vad_threshold": 0.5, "uninterruptible_turns": []},
    }
    whole: dict[str, Any] = {
        "tools": [
            tool(
                "a",
                parameters={"properties": {"url": {"type": "string"}}},
                response_instructions={"error": "Say sorry."},
                http=None,
            )
        ],
        "input": known,
        "output": {"volume": 50},
    }
    more = {**whole, "input": {**known, "novelty": {"on": True}}, "output": {"volume": 50, "pace": 2}}
    may = ("tools", "input", "output")
    passed = changes(client(*may).update(update(more)))
    assert passed["input"] == more["input"]
    assert passed["output"] == more["output"]
    asked = client(*may, anybody=True).update(update(more))
    assert asked.kept == ["input.novelty", "output.pace"]
    del whole["tools"][0]["http"]
    assert changes(asked) == whole
    named = client(*may, "output.pace", anybody=True).update(update(more))
    assert named.kept == ["input.novelty"]


@pytest.mark.parametrize("anybody", [False, True])
@pytest.mark.parametrize(
    "session", [*(session for session, _ in WAYS_OUT), {"output": {"pace": 2, "a": None}}]
)
def test_a_journal_without_words_decides_the_same(session: Any, anybody: bool) -> None:
    """What a journal leaves of an update is kept back or passes as the update was, and shows none of its values."""
    masked = without_words(CallerConfigured(update(session))).raw
    may = ("tools", "input", "output")
    assert (
        client(*may, anybody=anybody).update(masked).kept
        == client(*may, anybody=anybody).update(update(session)).kept
    )
    assert "elsewhere" not in masked
    assert without_words(CallerConfigured(masked)).raw == masked


@pytest.mark.parametrize(
    ("url", "passed"),
    [
        ("https://crm.example/hook", True),
        ("https://CRM.example.:443/other?x=1", True),
        ("http://[::1]:8080/hook", True),
        ("https://crm.example:444/hook", False),
        ("http://crm.example/hook", False),
        ("https://elsewhere.example/hook", False),
        ("https://crm.example@elsewhere.example/hook", False),
        ("crm.example/hook", False),
        (7, False),
    ],
)
def test_a_webhook_leads_nowhere_but_where_the_book_lets_it(url: Any, passed: bool) -> None:
    """Any path at a listed host and port; what is not listed, or can be read in two ways, keeps the route's, in a journal too."""
    webhook = {"url": url, "events": ["session.ended"], "secret": "shh"}
    event = CallerConfigured(update({"webhook": webhook}))
    masked = without_words(event)
    assert "shh" not in masked.raw
    assert without_words(masked) == masked
    for raw in (event.raw, masked.raw):
        places = frozenset({("crm.example", 443), ("::1", 8080)})
        one = ClientSession(frozenset({"webhook"}), frozenset(), webhooks=places)
        asked = one.update(raw)
        assert asked.kept == ([] if passed else ["webhook"])
    assert changes(client("webhook").update(event.raw)) == {}


def test_sides_are_laid_over_field_by_field() -> None:
    """A later update leaves alone what it does not name; turn detection is sent on as a whole."""
    one = client("input", "output")
    one.update(update({"input": {"keyterms": ["a"], "turn_detection": {"min_silence": 500}}}))
    asked = one.update(update({"input": {"turn_detection": {"max_silence": 2000}}}))
    assert changes(asked) == {"input": {"turn_detection": {"min_silence": 500, "max_silence": 2000}}}
    asked = one.update(update({"input": {"keyterms": ["b"]}}))
    assert changes(asked) == {"input": {"keyterms": ["b"]}}
    assert json.loads(one.opening(greets=True)) == {
        "input": {"keyterms": ["b"], "turn_detection": {"min_silence": 500, "max_silence": 2000}}
    }
    asked = one.update(update({"input": {"turn_detection": None}}))
    assert changes(asked) == {"input": {"turn_detection": None}}
    asked = one.update(update({"input": {"turn_detection": {"max_silence": 900}}}))
    assert changes(asked) == {"input": {"turn_detection": {"max_silence": 900}}}


def test_tools_take_the_place_of_those_before() -> None:
    """The client's list replaces the client's list, and its names with their time are known."""
    one = client("tools", route_tools=("hang_up",))
    one.update(update({"tools": [tool("a"), tool("b", timeout_seconds=5)]}))
    assert one.tools == {"a": 120.0, "b": 5}
    one.update(update({"tools": [tool("c")]}))
    assert one.tools == {"c": 120.0}
    one.update(update({"tools": []}))
    assert one.tools == {}


@pytest.mark.parametrize("names", [("a", "hang_up"), ("a", "a")])
def test_two_tools_of_one_name_are_an_error(names: tuple[str, ...]) -> None:
    """A tool of the route's name, or two of one, is an error with its place, and nothing of that update holds."""
    one = client("tools", "system_prompt", route_tools=("hang_up",))
    asked = one.update(update({"system_prompt": "x", "tools": [tool(name) for name in names]}))
    assert asked.error is not None
    assert (asked.error[0], asked.error[2]) == ("invalid_value", f"tools[{names.index(names[1])}].name")
    assert (one.opening(greets=True), one.tools) == ("", {})


def test_tools_that_the_route_keeps_back_clash_with_nothing() -> None:
    """A client that may not declare tools cannot find out the names of the route's."""
    one = client(route_tools=("hang_up",))
    asked = one.update(update({"tools": [tool("hang_up")]}))
    assert (asked.error, asked.kept, one.tools) == (None, ["tools"], {})


def test_an_agent_that_takes_over_greets_in_its_own_words() -> None:
    """The client's greeting is for the route's first agent; everything else is for whoever has the call."""
    one = client("greeting", "system_prompt")
    one.update(update({"greeting": "Hello.", "system_prompt": "x"}))
    assert json.loads(one.opening(greets=True)) == {"greeting": "Hello.", "system_prompt": "x"}
    assert json.loads(one.opening(greets=False)) == {"system_prompt": "x"}


@pytest.mark.parametrize(
    ("may", "agent_id", "opened", "code"),
    [
        ((), "support", "", None),
        ((), "agent_0f3c", "", "agent_not_found"),
        (("agent_id",), "agent_0f3c", '{"agent_id":"agent_0f3c"}', None),
        (("agent_id",), "support", "", None),
    ],
)
def test_an_agent_is_ours_or_a_stored_one_where_the_route_allows(
    may: tuple[str, ...], agent_id: str, opened: str, code: str | None
) -> None:
    """The name of the route's own agent asks for nothing more; any other one needs the route's leave."""
    one = client(*may)
    asked = one.first(update({"agent_id": agent_id}), "support")
    assert (asked.error[0] if asked.error else None) == code
    assert one.opening(greets=True) == opened


@pytest.mark.parametrize(("wanted", "known"), [(False, False), (True, True), (None, None), ("x", None)])
def test_who_may_interrupt(wanted: Any, known: bool | None) -> None:
    """What the client says of interruptions is known, where it says anything that can be understood."""
    one = client("input")
    one.update(update({"input": {"turn_detection": {"interrupt_response": wanted}}}))
    assert one.interruptible is known


@pytest.mark.parametrize("raw", ["", "[]", '{"session":7}', '{"session":' + "[" * 100_000])
def test_what_is_no_update_changes_nothing(raw: str) -> None:
    """A message that cannot be read is an error of its own."""
    asked = client("greeting").update(raw)
    assert asked.error is not None
    assert asked.error[0] == "invalid_format"
