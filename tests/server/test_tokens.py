"""Tokens for browsers: minted as the provider mints them, good for one socket, for a while, in their key's name."""

import asyncio
from typing import Any

import aiohttp
import pytest
from api_client import ApiHouse, api_house
from fakes import until

from gateway.adapters.browser import BrowserSettings
from gateway.adapters.pcm import PcmSettings
from gateway.contracts import MediaPass
from gateway.server.door import NOT_LET_IN
from gateway.settings import AccessSettings, KeySettings, MatchSettings, RouteSettings, Secret

KEYS = AccessSettings(
    keys=(
        KeySettings(name="backend", key=(Secret("k1"),), may=("connect", "tokens")),
        KeySettings(name="plain", key=(Secret("k2"),), may=("connect",)),
    )
)
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
AS_BACKEND = {"Authorization": "Bearer k1"}


async def mint(house: ApiHouse, query: str = "expires_in_seconds=60", **headers: str) -> tuple[int, Any]:
    async with house.http.get(f"{house.url}/v1/token?{query}", headers=headers or AS_BACKEND) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, await answer.json()


async def token_of(house: ApiHouse, query: str = "expires_in_seconds=60") -> str:
    status, body = await mint(house, query)
    assert (status, set(body)) == (200, {"token", "expires_in_seconds"})
    return str(body["token"])


def missing(place: str, name: str) -> dict[str, Any]:
    return {"detail": [{"type": "missing", "loc": [place, name], "msg": "Field required", "input": None}]}


@pytest.mark.parametrize(
    ("query", "kind", "place", "message"),
    [
        ("expires_in_seconds=0", "greater_than_equal", "expires_in_seconds", "greater than or equal to 1"),
        ("expires_in_seconds=601", "less_than_equal", "expires_in_seconds", "less than or equal to 600"),
        ("expires_in_seconds=x", "int_parsing", "expires_in_seconds", "valid integer"),
        ("expires_in_seconds=1.5", "int_parsing", "expires_in_seconds", "valid integer"),
        ("expires_in_seconds=", "int_parsing", "expires_in_seconds", "valid integer"),
        (
            "expires_in_seconds=60&max_session_duration_seconds=59",
            "greater_than_equal",
            "max_session_duration_seconds",
            "greater than or equal to 60",
        ),
        (
            "expires_in_seconds=60&max_session_duration_seconds=10801",
            "less_than_equal",
            "max_session_duration_seconds",
            "less than or equal to 10800",
        ),
    ],
)
async def test_parameters_have_the_providers_ranges(query: str, kind: str, place: str, message: str) -> None:
    """What is out of range is told with 422 in the provider's shape."""
    async with api_house(access=KEYS) as house:
        status, body = await mint(house, query)
    (detail,) = body["detail"]
    assert (status, detail["type"], detail["loc"]) == (422, kind, ["query", place])
    assert message in detail["msg"]


async def test_the_window_must_be_given() -> None:
    """A request without `expires_in_seconds` is answered 422 as the provider does."""
    async with api_house(access=KEYS) as house:
        assert await mint(house, "product=voice_agent") == (422, missing("query", "expires_in_seconds"))


async def test_who_may_not_mint_is_told_as_the_provider_tells_it() -> None:
    """No key 422, a wrong one 404, one without the right 403, and a token mints no token."""
    async with api_house(access=KEYS) as house:
        token = await token_of(house)
        async with house.http.get(f"{house.url}/v1/token?expires_in_seconds=60&token={token}") as answer:
            assert (answer.status, await answer.json()) == (422, missing("header", "authorization"))
        assert await mint(house, Authorization=token) == (404, {"detail": "Invalid API key"})
        assert await mint(house, Authorization="Bearer wrong") == (404, {"detail": "Invalid API key"})
        status, body = await mint(house, Authorization="k2")
        assert status == 403
        assert "tokens" in body["detail"]


async def test_a_token_opens_one_socket() -> None:
    """The first socket is let in, the second is refused in band; a refused first message uses it up as well."""
    async with api_house(access=KEYS) as house:
        path = f"/v1/ws/browser?token={await token_of(house)}"
        async with house.client(path) as client:
            await client.begin()
        async with house.client(path) as client:
            assert (await client.until("session.error"))["code"] == "unauthorized"
            assert await client.closed() == 1008


async def test_of_many_sockets_at_once_one_is_let_in() -> None:
    """A token that is used several times at the same moment lets one socket in."""
    async with api_house(access=KEYS) as house:
        path = f"/v1/ws/browser?token={await token_of(house)}"

        async def first_answer() -> str:
            async with house.client(path) as client:
                await client.send("session.update")
                event = await client.read()
                assert event is not None
                return str(event["type"])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(first_answer()) for _ in range(8)]
    answers = sorted(task.result() for task in tasks)
    assert answers == [*["session.error"] * 7, "session.updated"]


async def test_a_token_has_a_window() -> None:
    """After its window a token is as good as none."""
    async with api_house(access=KEYS) as house:
        token, store = await token_of(house, "expires_in_seconds=1"), house.street.house.store
        began = store._now()  # type: ignore[attr-defined]
        store._now = lambda: began + 1.1  # type: ignore[attr-defined]
        async with house.client(f"/v1/ws/browser?token={token}") as client:
            assert (await client.until("session.error"))["code"] == "unauthorized"


async def test_a_token_is_worth_its_key() -> None:
    """A token counts as a call of the key that minted it, and dies with the key's right to mint."""
    keys = (KeySettings(name="backend", key=(Secret("k1"),), may=("connect", "tokens"), calls=1),)
    async with api_house(access=AccessSettings(keys=keys)) as house:
        async with house.client(f"/v1/ws/browser?token={await token_of(house)}") as client:
            await client.begin()
            async with house.client(Authorization="k1") as second:
                await second.send("session.update")
                assert (await second.until("session.error"))["code"] == "concurrency_exceeded"
        orphan = await house.street.house.store.mint(MediaPass("", "", "", key="gone"), 60)
        async with house.client(f"/v1/ws/browser?token={orphan}") as client:
            assert (await client.until("session.error"))["code"] == "unauthorized"
    assert house.refused == {"token_orphaned": 1}


async def test_a_carriers_token_is_none() -> None:
    """A media token of a carrier opens no client's socket."""
    async with api_house(access=KEYS) as house:
        media = await house.street.house.store.mint(MediaPass("call_1", "twilio", "default"), 60)
        async with house.client(f"/v1/ws/browser?token={media}") as client:
            assert (await client.until("session.error"))["code"] == "unauthorized"
    assert house.refused == {"token_misplaced": 1}


async def test_who_holds_a_token_is_not_believed_who_calls() -> None:
    """The numbers in a token holder's address are nobody's; a key may name them."""
    async with api_house(access=KEYS) as house:
        token = await token_of(house)
        async with house.client(f"/v1/ws/browser?caller=%2B1&callee=%2B2&token={token}") as client:
            await client.begin()
            (call,) = house.registry.listing()
            assert (call.booking.caller, call.booking.callee) == ("", "")
            assert call.runner is not None
            assert call.runner.info is not None
            assert call.runner.info.parameters == {}
        async with house.client("/v1/ws/browser?caller=%2B1&callee=%2B2", Authorization="k1") as client:
            await client.begin()
            assert house.registry.listing()[-1].booking.caller == "+1"


async def test_the_longest_session_shows_in_expires_at() -> None:
    """`session.ready.expires_at` is the token's cap from now, or the gateway's own limit where that is shorter."""
    async with api_house(access=KEYS, limits={"call_s": 3600.0}) as house:
        for query, limit_s in (("&max_session_duration_seconds=60", 60), ("", 3600)):
            token = await token_of(house, f"expires_in_seconds=60{query}")
            async with house.client(f"/v1/ws/browser?token={token}") as client:
                ready = await client.begin()
            assert abs(ready["expires_at"] - ready["timestamp"] - limit_s) < 3


async def test_without_keys_this_machine_mints() -> None:
    """Where no keys are configured a program on this machine may mint and use tokens."""
    async with api_house() as house:
        async with house.http.get(f"{house.url}/v1/token?expires_in_seconds=60") as answer:
            token = (await answer.json())["token"]
        async with house.client(f"/v1/ws/browser?token={token}") as client:
            await client.begin()
        headers = {"X-Forwarded-For": "203.0.113.9"}
        async with house.http.get(f"{house.url}/v1/token?expires_in_seconds=60", headers=headers) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("adapter", ["browser", "pcm"])
@pytest.mark.parametrize("shown", ["key", "token", "machine"])
async def test_a_call_knows_what_its_client_was_let_in_for(adapter: str, shown: str) -> None:
    """A key, a token, or where there are no keys that it is on this machine: the trail must not tell of a key then."""
    async with api_house(**({} if shown == "machine" else {"access": KEYS})) as house:
        query = f"?token={await token_of(house)}" if shown == "token" else ""
        headers = AS_BACKEND if shown == "key" else {}
        async with house.client(f"/v1/ws/{adapter}{query}", **headers) as client:
            if adapter == "browser":
                await client.begin()
            else:
                await client.socket.send_bytes(bytes(640))
            await until(
                lambda: [call for call in house.registry.listing() if call.runner and call.runner.info]
            )
            (call,) = house.registry.listing()
            assert call.runner is not None
            assert call.runner.info is not None
            assert (call.booking.admitted_by, call.runner.info.admitted_by) == (shown, shown)


async def test_a_token_opens_raw_pcm_once() -> None:
    """A raw PCM client is let in with a minted token, whose holder is not believed who calls, and only once."""
    async with api_house(access=KEYS) as house:
        path = f"/v1/ws/pcm?token={await token_of(house, 'expires_in_seconds=60&max_session_duration_seconds=90')}"
        async with house.client(f"{path}&caller=%2B1&callee=%2B2&plan=gold") as client:
            await client.socket.send_bytes(bytes(640))
            await until(lambda: [call for call in house.registry.listing() if call.runner])
            (call,) = house.registry.listing()
            assert (call.booking.owner, call.booking.admitted_by) == ("backend", "token")
            assert (call.booking.caller, call.booking.callee) == ("", "")
            assert call.runner is not None
            runner = call.runner
            await until(lambda: runner.info)
            info = runner.info
            assert info is not None
            assert (info.caller, info.parameters, info.session_s) == ("", {}, 90)
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await house.http.ws_connect(house.url + path)
            assert caught.value.status == 403
    assert house.refused == {"token_unknown": 1}


@pytest.mark.parametrize("path", ["/v1/ws/pcm?token=guessed", "/v1/ws/pcm", "/v1/ws/pcm/guessed"])
async def test_raw_pcm_without_a_good_token(path: str) -> None:
    """A guessed token, none at all and one in the path get the one answer to all wrong proofs."""
    async with api_house(access=KEYS) as house:
        answer = await house.http.get(house.url + path, headers=UPGRADE)
        assert (answer.status, await answer.text()) == (403, NOT_LET_IN)


async def test_pages_that_may_open_raw_pcm() -> None:
    """Where the section names pages, another page is refused, whatever it shows."""
    pages = PcmSettings(origins=("https://shop.example",))
    async with api_house(access=KEYS, adapters={"pcm": pages, "browser": BrowserSettings()}) as house:
        for origin, status in (("https://shop.example", 101), ("https://evil.example", 403)):
            headers = {**UPGRADE, "Authorization": "k1", "Origin": origin}
            async with house.http.get(f"{house.url}/v1/ws/pcm", headers=headers) as answer:
                assert answer.status == status
    assert house.refused == {"origin": 1}


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("claim.=gold", ["query", "claim."]),
        ("claim.a%20b=gold", ["query", "claim.a b"]),
        (f"claim.plan={'x' * 257}", ["query", "claim.plan"]),
        ("&".join(f"claim.c{number}=x" for number in range(17)), ["query"]),
    ],
)
async def test_claims_are_few_and_short(query: str, place: list[str]) -> None:
    """What else is said of a client is refused with 422, where it stands."""
    async with api_house(access=KEYS) as house:
        status, body = await mint(house, f"expires_in_seconds=60&{query}")
    (detail,) = body["detail"]
    assert (status, detail["loc"]) == (422, place)


async def test_claims_of_a_token_choose_the_route() -> None:
    """They are the minting key's word; what the client says itself of its plan counts for nothing."""
    routes = (
        RouteSettings(name="gold", agent="main", match=MatchSettings(claims={"plan": "gold"})),
        RouteSettings(name="rest", agent="main", match=MatchSettings(key=("backend",))),
    )
    async with api_house(routes=routes, access=KEYS) as house:
        for query, route in (("&claim.plan=gold", "gold"), ("", "rest")):
            token = await token_of(house, f"expires_in_seconds=60{query}")
            async with house.client(f"/v1/ws/browser?token={token}&claim.plan=gold") as client:
                await client.begin()
                call = house.registry.listing()[-1]
                assert call.booking.route.settings.name == route
