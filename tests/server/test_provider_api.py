"""The provider's REST interface through the gateway: our agents listed, the rest passed on within its region."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from api_client import ApiHouse, api_house
from yarl import URL

from gateway.agents.voice_agent import VoiceAgentSettings
from gateway.settings import (
    AccessSettings,
    AgentSettings,
    KeySettings,
    MatchSettings,
    RegionSettings,
    RouteSettings,
    Secret,
)

ROUTES = (
    RouteSettings(name="phones", agent="phone", match=MatchSettings(adapter=("twilio",))),
    RouteSettings(name="europe", agent="eu", match=MatchSettings(callee=("+33*",))),
    RouteSettings(name="default", agent="main"),
    RouteSettings(name="also", agent="main"),
)
ACCESS = AccessSettings(
    keys=(
        KeySettings(name="all", key=(Secret("k1"),), may=("connect", "provider")),
        KeySettings(name="some", key=(Secret("k2"),), may=("connect",), routes=("default",)),
        KeySettings(name="abroad", key=(Secret("k3"),), may=("provider",), routes=("europe",)),
        KeySettings(name="poor", key=(Secret("k4"),), may=("provider",), routes=("phones",)),
    )
)
SESSION = {
    "system_prompt": "You sell bread.",
    "greeting": "Hello.",
    "output": {"voice": "alba"},
    "tools": [{"type": "function", "name": "get_stock"}],
}


class Provider:
    """What a stand-in for the provider's REST interface was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((request.method, request.raw_path, request.headers["Authorization"], body))
        self.headers.append(dict(request.headers))
        if request.path.endswith("/moved"):
            return web.Response(status=307, headers={"Location": "http://elsewhere.invalid/"})
        headers = {"X-Request-Id": "req_1", "Retry-After": "3", "Set-Cookie": "a=b"}
        return web.json_response({"from": "provider"}, status=201, headers=headers)


@asynccontextmanager
async def houses() -> AsyncIterator[tuple[ApiHouse, dict[str, Provider]]]:
    """A gateway and the provider's interface in two regions."""
    providers = {"here": Provider(), "there": Provider()}
    regions: dict[str, RegionSettings] = {}
    runners = []
    for name, provider in providers.items():
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", provider.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        port = runner.addresses[0][1]
        regions[name] = RegionSettings(
            voice_agent="ws://agents.invalid/v1/ws", rest=f"http://127.0.0.1:{port}/base"
        )
    agents: dict[str, Any] = {
        "phone": AgentSettings(kind="fake"),
        "main": VoiceAgentSettings(
            kind="voice_agent", region="here", api_key=(Secret("key here"),), session=SESSION
        ),
        "eu": VoiceAgentSettings(kind="voice_agent", region="there", api_key=(Secret("key there"),)),
    }
    try:
        async with api_house(agents=agents, routes=ROUTES, access=ACCESS, regions=regions) as house:
            yield house, providers
    finally:
        for runner in runners:
            await runner.cleanup()


async def ask(
    house: ApiHouse, path: str, key: str = "k1", method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[int, Any]:
    sent = {"Authorization": f"Bearer {key}"} if key else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items() if value}
    async with house.http.request(method, house.url + path, headers=sent, data=body or None) as answer:
        return answer.status, json.loads(await answer.read())


@pytest.mark.parametrize(("key", "names"), [("k1", ["eu", "main"]), ("k2", ["main"])])
async def test_a_key_sees_the_agents_that_it_may_reach(key: str, names: list[str]) -> None:
    """Those of its routes that clients can come over, each once, in the provider's shape."""
    async with houses() as (house, providers):
        status, body = await ask(house, "/v1/agents", key)
        assert (status, [agent["id"] for agent in body["agents"]]) == (200, names)
        assert body["agents"][0].keys() == {"id", "name", "created_at", "updated_at"}
        assert (body["has_more"], body["response_metadata"]) == (False, {"next_cursor": ""})
        assert providers["here"].asked == []


async def test_a_long_list_comes_in_pages() -> None:
    """`limit` and `cursor` are the provider's."""
    async with houses() as (house, _):
        _, first = await ask(house, "/v1/agents?limit=1")
        assert (first["has_more"], [agent["id"] for agent in first["agents"]]) == (True, ["eu"])
        cursor = first["response_metadata"]["next_cursor"]
        _, second = await ask(house, f"/v1/agents?limit=1&cursor={cursor}")
        assert (second["has_more"], [agent["id"] for agent in second["agents"]]) == (False, ["main"])
        for query in ("limit=0", "limit=201", "limit=x", "cursor=x"):
            status, body = await ask(house, f"/v1/agents?{query}")
            assert (status, body["code"], body["param"]) == (422, "validation_error", query.split("=")[0])


async def test_one_of_our_agents_is_shown_as_the_provider_shows_one() -> None:
    """Prompt, greeting, voice and tools, for a key that may reach it; for others it is the provider's to know."""
    async with houses() as (house, providers):
        status, body = await ask(house, "/v1/agents/main", "k2")
        assert status == 200
        assert (body["system_prompt"], body["greeting"]) == ("You sell bread.", "Hello.")
        assert (body["voice"], body["tools"][0]["name"]) == ({"voice_id": "alba"}, "get_stock")
        status, body = await ask(house, "/v1/agents/eu", "k2")
        assert (status, body["code"]) == (403, "unauthorized")
        assert providers["there"].asked == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agents/agent_0f3c"),
        ("POST", "/v1/agents"),
        ("PUT", "/v1/agents/agent_0f3c"),
        ("DELETE", "/v1/agents/agent_0f3c"),
        ("GET", "/v1/sessions?limit=3&status=completed"),
        ("GET", "/v1/sessions/sess_1/webhook-deliveries/latest"),
        ("DELETE", "/v1/sessions/sess_1"),
    ],
)
async def test_everything_else_goes_to_the_regional_host(method: str, path: str) -> None:
    """As it is, with the key of the account in the place of ours, and the answer comes back as it is."""
    async with houses() as (house, providers):
        body = b'{"name":"x"}' if method in ("POST", "PUT") else b""
        headers = {"Idempotency_Key": "i1", "Content_Type": "application/json", "Cookie": "c=d"}
        # the first agent on this key's routes with an account is the one in Europe
        assert await ask(house, path, "k1", method, body, **headers) == (201, {"from": "provider"})
        (asked,) = providers["there"].asked
        assert asked == (method, path.replace("/v1", "/base"), "Bearer key there", body)
        sent = providers["there"].headers[0]
        assert sent["Idempotency-Key"] == "i1"
        assert "Cookie" not in sent
        assert providers["here"].asked == []


async def test_a_key_reaches_the_region_of_its_own_routes() -> None:
    """One agent can be named where a key has several; a key without an account reaches nobody."""
    async with houses() as (house, providers):
        await ask(house, "/v1/sessions", "k1", Talkpath_Agent="main")
        assert [asked[2] for asked in providers["here"].asked] == ["Bearer key here"]
        await ask(house, "/v1/sessions", "k3")
        assert len(providers["there"].asked) == 1
        for key, named in (("k3", "main"), ("k4", ""), ("k1", "nobody")):
            status, body = await ask(house, "/v1/sessions", key, Talkpath_Agent=named)
            assert (status, body["code"]) == (404, "agent_not_found")
        assert (len(providers["here"].asked), len(providers["there"].asked)) == (1, 1)


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [("", 401, "missing_authorization"), ("wrong", 401, "unauthorized"), ("k2", 403, "unauthorized")],
)
async def test_who_may_not_is_told_in_the_providers_shape(key: str, status: int, code: str) -> None:
    """No key, a wrong one and one without the right; nothing is passed on."""
    async with houses() as (house, providers):
        for method, path in (("GET", "/v1/sessions"), ("POST", "/v1/agents")):
            got, body = await ask(house, path, key, method)
            assert (got, body["code"]) == (status, code)
            assert body.keys() == {"code", "message", "param", "request_id", "errors", "detail"}
        assert providers["there"].asked == []


@pytest.mark.parametrize(
    ("key", "path", "lacks"),
    [
        ("k3", "/v1/agents", "connect"),
        ("k3", "/v1/agents/main", "connect"),
        ("k2", "/v1/sessions", "provider"),
    ],
)
async def test_a_key_is_told_which_right_it_lacks(key: str, path: str, lacks: str) -> None:
    """To see the list of agents a key needs the right to connect, to have the provider asked that of the provider."""
    async with houses() as (house, _):
        status, body = await ask(house, path, key)
        assert (status, body["message"]) == (
            403,
            f"This key has no right to do that; give it `may: [{lacks}]`",
        )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sessions/../phone-numbers",
        "/v1/sessions/%2e%2e/phone-numbers",
        "/v1/sessions//elsewhere.invalid/x",
        "/v1/sessions/@elsewhere.invalid",
        "/v1/sessions/a%2fb",
        "/v1/sessions/..;/phone-numbers",
        "/v1/sessions/a;b=c",
        "/v1/sessions/\\\\elsewhere",
    ],
)
async def test_no_address_leads_anywhere_else(path: str) -> None:
    """An address that could be read in two ways is none."""
    async with houses() as (house, providers):
        url = URL(house.url + path, encoded=True)
        async with house.http.get(url, headers={"Authorization": "k1"}) as answer:
            assert answer.status in (404, 405)
        assert providers["here"].asked == providers["there"].asked == []


async def test_a_redirect_is_not_followed() -> None:
    """An answer that leads elsewhere is no answer."""
    async with houses() as (house, _):
        status, body = await ask(house, "/v1/sessions/moved")
        assert (status, body["code"]) == (502, "internal_error")


async def test_a_provider_that_is_not_there() -> None:
    """Nobody at the regional host is told as a fault of the way, not of the request."""
    agents: dict[str, Any] = {
        "main": VoiceAgentSettings(kind="voice_agent", region="nowhere", api_key=(Secret("k"),))
    }
    regions = {"nowhere": RegionSettings(voice_agent="ws://x.invalid/v1/ws", rest="http://127.0.0.1:9/v1")}
    async with api_house(
        agents=agents, routes=(RouteSettings(name="r", agent="main"),), regions=regions
    ) as house:
        status, body = await ask(house, "/v1/sessions", "")
        assert (status, body["code"]) == (502, "internal_error")
