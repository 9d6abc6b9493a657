"""Sessions of clients over real sockets: what they set and see, their tools, what they have played, how they end."""

import json
from typing import Any

import pytest
from api_client import api_house, soon
from client_sessions import KEYS, OPEN, SECOND, TOOL, Echoing, agents, opened_with, token_of
from fakes import FakeAgent

from gateway.adapters.pcm import PcmSettings
from gateway.commands import Remember, ReplyHeard
from gateway.contracts import MediaPass, ObserverKind
from gateway.settings import AgentSettings, MatchSettings, RegionSettings, RouteSettings, ServerSettings

# What it sets and sees


async def test_what_the_route_allows_lies_over_the_routes_session() -> None:
    """The agent is opened with the route's fields and over them the client's; the rest is named in a notice."""
    async with api_house(Echoing(), agents=agents(), routes=OPEN) as house, house.client() as client:
        ready = await client.begin(
            system_prompt="mine", input={"keyterms": ["rye"]}, output={"voice": "eve"}, tools=[TOOL]
        )
        notice = await client.until("talkpath.notice")
        assert notice["fields"] == ["output.voice"]
        session = opened_with(house.agent)
        assert (session["system_prompt"], session["greeting"]) == ("mine", "Hello.")
        assert session["output"]["voice"] == ready["config"]["output"]["voice"] == "alba"
        assert session["input"]["keyterms"] == ["rye"]
        assert [tool["name"] for tool in session["tools"]] == ["get_stock"]
        assert ready["config"]["system_prompt"] == "mine"
        await client.send("session.update", session={"system_prompt": "again", "greeting": "Hi"})
        assert (await client.until("session.error"))["code"] == "immutable_field"
        await client.send("session.update", session={"system_prompt": "again"})
        updated = await client.until("session.updated")
        assert updated["config"]["system_prompt"] == "again"
        assert house.agent.received[-1] == {"type": "session.update", "session": {"system_prompt": "again"}}


async def test_a_token_sets_less_than_a_key_and_sees_less() -> None:
    """With a token `webhook` is kept back, and neither the route's prompt nor its id shows; a key sets and sees it."""
    webhook = {"url": "https://example.com", "events": ["session.completed"]}
    books = {"us": RegionSettings(webhooks=("example.com",))}
    async with api_house(
        Echoing(), Echoing(), Echoing(), agents=agents(), routes=OPEN, access=KEYS, regions=books
    ) as house:
        async with house.client(f"/v1/ws/browser?token={await token_of(house)}") as client:
            ready = await client.begin(webhook=webhook)
            assert (await client.until("talkpath.notice"))["fields"] == ["webhook"]
            assert "secret" not in json.dumps(client.events)
            assert "sess_p" not in json.dumps(client.events)
            assert ready["config"]["greeting"] == "Hello."
            assert "webhook" not in opened_with(house.agent)
        async with house.client(Authorization="k1") as client:
            ready = await client.begin(webhook=webhook)
            assert ready["config"]["system_prompt"] == "secret prompt"
            assert opened_with(house.agent)["webhook"] == webhook
        async with house.client(Authorization="k1") as client:
            await client.begin(webhook={**webhook, "url": "https://elsewhere.example"})
            assert (await client.until("talkpath.notice"))["fields"] == ["webhook"]
            assert "webhook" not in opened_with(house.agent)


async def test_a_route_may_narrow_what_tokens_set() -> None:
    """`token_may` is the whole of it for tokens."""
    routes = (
        RouteSettings(name="default", agent="main", client_may=("tools", "greeting"), token_may=("tools",)),
    )
    async with api_house(Echoing(), agents=agents(), routes=routes, access=KEYS) as house:
        path = f"/v1/ws/browser?token={await token_of(house)}"
        async with house.client(path) as client:
            await client.begin(greeting="Mine.", tools=[TOOL])
            assert (await client.until("talkpath.notice"))["fields"] == ["greeting"]


async def test_a_clash_of_tools_ends_the_first_update() -> None:
    """A tool of the route's name is an error with its place, and closes with 1008."""
    session = {"tools": [{"type": "function", "name": "get_stock"}]}
    async with api_house(agents=agents(**session), routes=OPEN) as house, house.client() as client:
        await client.send("session.update", session={"tools": [TOOL]})
        error = await client.until("session.error")
        assert (error["code"], error["param"]) == ("invalid_value", "tools[0].name")
        assert await client.closed() == 1008
    assert house.street.opened == []


async def test_what_the_provider_refuses_is_told_to_the_client() -> None:
    """A bad value that only the provider can judge closes the first update as the provider would."""
    agent = FakeAgent(ready=False)
    routes = (RouteSettings(name="default", agent="main", client_may=("output",)),)
    async with api_house(agent, routes=routes) as house, house.client() as client:
        await client.send("session.update", session={"output": {"voice": "nobody"}})
        await soon(lambda: house.street.opened and house.agent.received)
        house.agent.say("session.error", code="invalid_value", message="Invalid voice 'nobody'.")
        error = await client.until("session.error")
        assert (error["code"], error["message"]) == ("invalid_value", "Invalid voice 'nobody'.")
        assert await client.closed() == 1008


@pytest.mark.parametrize(
    ("agent_id", "may", "opened", "code"),
    [
        ("second", (), "second", None),
        ("main", (), "main", None),
        ("agent_0f3c", ("agent_id",), "agent_0f3c", None),
        ("agent_0f3c", (), "", "agent_not_found"),
        ("phone", (), "", "agent_not_found"),
    ],
)
async def test_an_agent_is_named_by_its_id(
    agent_id: str, may: tuple[str, ...], opened: str, code: str | None
) -> None:
    """One of our agents is reached by its own route, a stored one of the provider where the route lets clients."""
    configured = {
        name: AgentSettings(kind="fake", session={"system_prompt": name})
        for name in ("main", "second", "phone")
    }
    routes = (
        RouteSettings(name="default", agent="main", client_may=may),
        RouteSettings(name="also", agent="second"),
        RouteSettings(name="phones", agent="phone", match=MatchSettings(adapter=("twilio",))),
    )
    async with api_house(Echoing(), agents=configured, routes=routes) as house, house.client() as client:
        await client.send("session.update", session={"agent_id": agent_id})
        if code:
            assert (await client.until("session.error"))["code"] == code
            assert await client.closed() == 1008
            return
        await client.until("session.ready")
        session = opened_with(house.agent)
        assert (session.get("agent_id") or session["system_prompt"]) == opened


# Its tools


async def test_a_tool_of_the_client_is_called_and_answered() -> None:
    """The call reaches the client, its answer the agent; results for nothing are ignored without a word."""
    async with api_house(Echoing(), agents=agents(), routes=OPEN) as house, house.client() as client:
        await client.begin(tools=[TOOL])
        house.agent.say("tool.call", call_id="c1", name="get_stock", arguments={"item": "rye"})
        called = await client.until("tool.call")
        assert called["arguments"] == {"item": "rye"}
        await client.send("tool.result", call_id="nothing", result="{}")
        await client.send("tool.result", call_id="c1", result='{"n":1}', is_error=False)
        await soon(lambda: "tool.result" in house.agent.kinds())
        assert house.agent.received[-1]["result"] == '{"n":1}'
        assert client.of("session.error") == client.of("talkpath.notice") == []


# The longest session, and what was played


async def test_a_tokens_cap_ends_the_session() -> None:
    """When the cap is reached the client reads `session_expired` and `session.ended`, and is closed with 1008."""
    async with api_house(access=KEYS) as house:
        capped = MediaPass("", "", "", key="backend", session_s=0.3)
        token = await house.street.house.store.mint(capped, 60)
        async with house.client(f"/v1/ws/browser?token={token}") as client:
            await client.begin()
            assert await client.closed() == 1008
        kinds = [(event["type"], event.get("code")) for event in client.events[-2:]]
        assert kinds == [("session.error", "session_expired"), ("session.ended", None)]


async def test_what_the_client_has_played_is_what_was_heard() -> None:
    """`talkpath.played` confirms, and `talkpath.heard` says what came of the reply."""
    facts: list[ReplyHeard] = []

    class Facts:
        wants: tuple[type, ...] = (Remember,)

        def see(self, entry: Any) -> None:
            if isinstance(entry.item.fact, ReplyHeard):
                facts.append(entry.item.fact)

        def close(self) -> None:
            pass

    watching = [ObserverKind("facts", lambda _info, _terms: Facts())]
    async with api_house(FakeAgent(), observers=watching) as house, house.client() as client:
        await client.begin()
        house.agent.speak("r1", SECOND)
        await client.until_sound("r1", len(SECOND))
        await client.send("talkpath.played", reply_id="r1", ms=1000)
        heard = await client.until("talkpath.heard")
        assert (heard["reply_id"], heard["heard_ms"], heard["confirmed"]) == ("r1", 1000.0, True)
        assert [fact.confirmed for fact in facts] == [True]
        house.agent.speak("r2", SECOND)
        heard = await client.until("talkpath.heard", reply_id="r2")
        assert not heard["confirmed"]


async def test_an_end_is_told_before_the_socket_closes() -> None:
    """A hang-up by an operator is `session.ended` and 1000; a gateway that stops ends sessions in the same words."""
    async with api_house(server=ServerSettings(close_s=1)) as house, house.client() as client:
        await client.begin()
        house.registry.listing()[0].hang_up("asked")
        await client.until("session.ended")
        assert await client.closed() == 1000


async def test_a_raw_pcm_client_writes_no_more_into_a_session_than_a_browser() -> None:
    """A tool with an address, or a value of the wrong shape, is an error with its place, and the agent is told nothing."""
    bad = [{**TOOL, "http": {"url": "http://127.0.0.1:1/t"}}], [{"type": "mcp", "server_url": "x"}], "text"
    async with api_house(Echoing(), agents=agents(), routes=OPEN, access=KEYS) as house:
        async with house.client(f"/v1/ws/pcm?events=1&token={await token_of(house)}") as client:
            await client.until("session.ready")
            for tools in bad:
                await client.send("session.update", session={"tools": tools, "system_prompt": "mine"})
                error = await client.until("session.error")
                assert error["code"] == "invalid_value"
                assert error["param"].startswith("tools")
            await client.send("session.update", session={"system_prompt": "mine"})
            await soon(lambda: {"system_prompt": "mine"} in [m.get("session") for m in house.agent.received])
        updates = [message for message in house.agent.received if message["type"] == "session.update"]
        assert len(updates) == 2


@pytest.mark.parametrize("path", ["/v1/ws/browser", "/v1/ws/pcm?events=1"])
async def test_a_pages_token_tells_the_agent_nothing_but_what_the_caller_may_say(path: str) -> None:
    """On a closed route no type of message sets the prompt, whatever its spelling, role or instructions."""
    routes = (RouteSettings(name="default", agent="main"),)
    evil = {"system_prompt": "EVIL"}
    async with api_house(Echoing(), agents=agents(), routes=routes, access=KEYS) as house:
        sign = "&" if "?" in path else "?"
        async with house.client(f"{path}{sign}token={await token_of(house)}") as client:
            if "browser" in path:
                await client.begin()
            else:
                await client.until("session.ready")
            for kind in ("Session.update", " session.update", "agent.update", "session.foo", "future.wish"):
                await client.send(kind, session=evil, **evil)
            await client.send("conversation.message", role="system", content="EVIL")
            await client.send("session.update", session=evil)
            await client.send("reply.create", instructions="EVIL")
            await soon(lambda: house.agent.received[-1]["type"] == "reply.create")
        wish = {"type": "reply.create", "instructions": 'The caller typed: "EVIL". Answer that.'}
        assert [message for message in house.agent.received[1:] if message["type"] != "input.audio"][:1] == [
            wish
        ]


@pytest.mark.parametrize(
    ("proof", "show_tools", "seen"), [("token", False, False), ("token", True, True), ("key", False, True)]
)
async def test_who_sees_the_routes_tools_on_raw_pcm(proof: str, show_tools: bool, seen: bool) -> None:
    """A client with a token is told of calls of its own tools only, unless the adapter says otherwise."""
    adapters = {"pcm": PcmSettings(show_tools=show_tools)}
    async with api_house(Echoing(), agents=agents(), routes=OPEN, access=KEYS, adapters=adapters) as house:
        path, key = "/v1/ws/pcm?events=1", {"Authorization": "k1"}
        if proof == "token":
            path, key = f"{path}&token={await token_of(house)}", {}
        async with house.client(path, **key) as client:
            await client.until("session.ready")
            await client.send("session.update", session={"tools": [TOOL]})
            await soon(lambda: len(house.agent.received) > 1)
            house.agent.say("tool.call", call_id="t1", name="hang_up", arguments={"secret": 1})
            house.agent.say("tool.call", call_id="t2", name="get_stock", arguments={})
            await client.until("tool.call", call_id="t2")
            assert [call["call_id"] for call in client.of("tool.call")] == (["t1", "t2"] if seen else ["t2"])


@pytest.mark.parametrize("path", ["/v1/ws/browser", "/v1/ws/pcm?events=1"])
async def test_what_an_agent_complains_of_is_told_without_what_nobody_may_read(path: str) -> None:
    """Numbers, credentials and control characters in an agent's error reach no client."""
    said = "call +15551234567 with Bearer abcdefghijklmnop \x1b[2J\nINFO fake"
    async with api_house(Echoing(), agents=agents(), routes=OPEN) as house, house.client(path) as client:
        await (client.begin() if "browser" in path else client.until("session.ready"))
        house.agent.say("session.error", code="invalid_value", message=said, session_id="sess_p", param=None)
        error = await client.until("session.error")
        assert error["message"] == "call +1555•••4567 with Bearer ••• [2J INFO fake"
        assert "sess_p" not in json.dumps(error)
