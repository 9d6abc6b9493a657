"""Who asks too often is told to come again later, over real sockets; who has a proof is never held up by who has none."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from serving import LIMIT_S, House, serving, settings_of, sign, start_stream, until

from gateway.adapters.browser import BrowserSettings
from gateway.adapters.pcm import PcmSettings
from gateway.adapters.twilio_http import TwilioSettings
from gateway.contracts import MediaPass
from gateway.server.allowances import Allowances
from gateway.server.door import NOT_LET_IN
from gateway.server.manners import TOO_OFTEN
from gateway.settings import (
    AccessSettings,
    AddressLimits,
    KeyLimits,
    KeySettings,
    LimitSettings,
    Secret,
    ServerSettings,
)

KEY = "a-key-of-a-backend"
KEYS = AccessSettings(
    keys=(
        KeySettings(name="backend", key=(Secret(KEY),), may=("connect", "tokens", "calls")),
        KeySettings(name="other", key=(Secret(KEY + "-2"),), may=("connect", "tokens", "calls")),
    )
)
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ADAPTERS = {
    "twilio": TwilioSettings(auth_token=(Secret("12345"),)),
    "pcm": PcmSettings(),
    "browser": BrowserSettings(),
}


@asynccontextmanager
async def street(
    *, strangers: dict[str, int] | None = None, keys: dict[str, int] | None = None, **sections: Any
) -> AsyncIterator[House]:
    """A gateway behind a proxy on this machine, so that callers may come from anywhere."""
    limits = LimitSettings(
        calls_per_caller=1000,
        per_address=AddressLimits(**(strangers or {})),
        per_key=KeyLimits(**(keys or {})),
    )
    server = ServerSettings(port=0, admin_port=0, close_s=1, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8"))
    given = {"access": KEYS, "limits": limits, "server": server, "adapters": ADAPTERS, **sections}
    async with serving(settings_of(**given)) as house:
        yield house


async def ask(house: House, path: str = "/v1/calls", address: str = "203.0.113.7", **headers: str) -> int:
    """Ask from an address; the status, with what must be said along with it."""
    told = {**headers, "X-Forwarded-For": address}
    async with house.http.get(house.url + path, headers=told) as answer:
        if answer.status == 429:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert await answer.text() == TOO_OFTEN
        return answer.status


async def test_wrong_proofs_are_limited_by_address(caplog: pytest.LogCaptureFixture) -> None:
    """After so many wrong proofs an address is told to come later; one warning says so, and no line for each."""
    caplog.set_level(logging.INFO)
    async with street(strangers={"wrong_proofs": 5}) as house:
        statuses = [await ask(house, Authorization="a-wrong-key-at-last") for _ in range(9)]
        assert statuses == [403] * 5 + [429] * 4
        assert house.refused == {"key_unknown": 5, "address_limit": 4}
        assert await ask(house, address="203.0.113.8") == 403
        assert len([r for r in caplog.records if r.name == "talkpath.access"]) == 6
        (warning,) = [r for r in caplog.records if r.name == "talkpath.door"]
        assert warning.getMessage().startswith(
            "limits.per_address.wrong_proofs is reached by the address 203.0.113.7;"
        )


async def test_all_doors_count_together_and_answer_alike() -> None:
    """Whichever proof is wrong, on whichever door, counts for the one limit and has the one answer beyond it."""
    async with street(strangers={"wrong_proofs": 6}) as house:
        token = f"/v1/ws/twilio/{await house.store.mint(MediaPass('call_x', 'vonage', 'default'), 60)}"
        doors = [
            "/v1/calls",
            "/v1/ws/pcm",
            "/v1/ws/pcm?token=x",
            "/v1/ws/pcm/x",
            token,
            "/v1/token",
            "/v1/agents",
        ]
        for path in doors[:6]:
            assert await ask(house, path, **(UPGRADE if "/ws" in path else {})) in (403, 422)
        answer = await house.http.post(
            f"{house.url}/twilio/voice", headers={"X-Forwarded-For": "203.0.113.7"}
        )
        assert answer.status == 429
        for path in [*doors, "/v1/ws/browser", "/v1/ws"]:
            assert await ask(house, path, **(UPGRADE if "/ws" in path else {})) == 429
        assert house.refused["address_limit"] == 1 + len(doors) + 2


async def test_who_has_a_proof_is_not_held_up_by_who_has_none() -> None:
    """From an address whose strangers are refused, carriers and keys come in as ever; nobody can be locked out."""
    async with street(strangers={"wrong_proofs": 3, "upgrades": 3, "requests": 20}) as house:
        for _ in range(30):
            await ask(house, Authorization="a-wrong-key-at-last")
            await ask(house, "/v1/ws/pcm", **UPGRADE)
        assert await ask(house) == await ask(house, "/v1/ws/pcm", **UPGRADE) == 429
        there = {"X-Forwarded-For": "203.0.113.7"}
        assert await ask(house, Authorization=KEY) == 200
        for path in ("/v1/ws/pcm", "/v1/ws"):
            socket = await house.http.ws_connect(house.url + path, headers={**there, "Authorization": KEY})
            await socket.close()
        for number in range(40):
            answer = await house.webhook("/twilio/voice", {"CallSid": f"CA{number}"}, headers=there)
            assert "<Connect" in await answer.text()
        url = await house.invited({"CallSid": "CA1000"})
        headers = {**there, "X-Twilio-Signature": sign(url, {})}
        async with house.http.ws_connect(url, headers=headers) as media:
            for message in start_stream("CA1000"):
                await media.send_str(message)
            await until(lambda: any(runner.info for runner in house.runners))


async def test_sockets_are_limited_by_address() -> None:
    """Upgrades without proof are refused after so many, and none is opened to be listened to."""
    async with street(strangers={"upgrades": 4}) as house:
        paths = ["/v1/ws/pcm", "/v1/ws", "/v1/ws/twilio", "/v1/ws/browser"]
        first = [await ask(house, path, **UPGRADE) for path in paths]
        assert first == [403, 101, 403, 101]  # two dialects say no on an open socket
        assert [await ask(house, path, **UPGRADE) for path in paths] == [429] * 4
        assert await ask(house, "/v1/ws/pcm", "198.51.100.1", **UPGRADE) == 403


async def test_minted_tokens_are_anybodys() -> None:
    """Sockets that come with good tokens count for their address; one that is too many keeps its token for later."""
    async with street(strangers={"upgrades": 3}) as house:
        tokens = []
        for _ in range(5):
            answer = await house.http.get(
                f"{house.url}/v1/token?expires_in_seconds=60", headers={"Authorization": KEY}
            )
            tokens.append((await answer.json())["token"])
        path = "/v1/ws/pcm?token="
        statuses = [await ask(house, path + token, **UPGRADE) for token in tokens]
        assert statuses == [101] * 3 + [429] * 2
        assert await ask(house, path + tokens[4], "198.51.100.1", **UPGRADE) == 101


async def test_pages_and_wrong_addresses_are_limited() -> None:
    """Whoever asks for anything too often gets one answer for all of it, also where nothing asks for proof."""
    async with street(strangers={"requests": 6}) as house:
        statuses = [await ask(house, path) for path in ["/", "/nowhere", "/talkpath.js"] * 3]
        assert statuses == [200, 404, 200] * 2 + [429] * 3
        assert await ask(house, "/", "198.51.100.1") == 200


@pytest.mark.parametrize(
    ("kind", "path", "status"),
    [
        ("requests", "/v1/calls", 200),
        ("tokens", "/v1/token?expires_in_seconds=60", 200),
        ("upgrades", "/v1/ws/pcm", 101),
        ("upgrades", "/v1/ws/browser", 101),
    ],
)
async def test_limits_of_a_key(kind: str, path: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A key may ask so often in all, from wherever; another key, and the key's other rights, are not touched."""
    async with street(keys={kind: 3}) as house:
        more = UPGRADE if "/ws" in path else {}
        statuses = [
            await ask(house, path, f"203.0.113.{number}", Authorization=KEY, **more) for number in range(5)
        ]
        assert statuses == [status] * 3 + [429] * 2
        assert await ask(house, path, Authorization=KEY + "-2", **more) == status
        assert house.refused == {"key_limit": 2}
        assert f"limits.per_key.{kind} is reached by the key backend" in caplog.text
        if kind != "requests":
            assert await ask(house, Authorization=KEY) == 200


async def test_a_keys_tokens_count_for_the_key() -> None:
    """Sockets that come with minted tokens use up what the key that minted them may open."""
    async with street(keys={"upgrades": 2}) as house:
        for expected in (101, 101, 429):
            answer = await house.http.get(
                f"{house.url}/v1/token?expires_in_seconds=60", headers={"Authorization": KEY}
            )
            token = (await answer.json())["token"]
            assert await ask(house, f"/v1/ws/pcm?token={token}", **UPGRADE) == expected


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8:1:2::3]:4711", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("10.9.9.9", "10.9.9.9"),
        ("nonsense", "127.0.0.1"),
        ("203.0.113.7, <script>, 10.1.1.1", "10.1.1.1"),
        ("", "127.0.0.1"),
        (", ".join(["10.0.0.1"] * 50), "10.0.0.1"),
    ],
)
async def test_whose_address_counts_behind_proxies(
    told: str, counted: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what named proxies wrote down is believed, from the right; whatever a stranger put before it is not."""
    async with street(strangers={"wrong_proofs": 1}) as house:
        assert [await ask(house, address=told) for _ in range(2)] == [403, 429]
        assert f"the address {counted};" in caplog.text


async def test_nobody_is_believed_where_no_proxy_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger cannot choose the address by which it is counted, and the log says once what is missing."""
    server = ServerSettings(port=0, admin_port=0, close_s=1)
    async with street(strangers={"wrong_proofs": 3}, server=server) as house:
        statuses = [await ask(house, address=f"203.0.113.{number}") for number in range(6)]
        assert statuses == [403] * 3 + [429] * 3
        assert caplog.text.count("server.trusted_proxies does not name") == 1


async def test_a_named_proxy_opens_no_door() -> None:
    """The loopback rule refuses what was passed on, also by a proxy that is named, whatever address it tells."""
    async with street(access=AccessSettings()) as house:
        for address in ("127.0.0.1", "::1", "203.0.113.7"):
            assert await ask(house, address=address) == 403
        answer = await house.http.get(f"{house.url}/v1/calls")
        assert answer.status == 200


async def test_many_addresses_cost_bounded_memory() -> None:
    """However many addresses ask, only the latest are remembered; one that asks all the time is among them."""
    async with street(strangers={"wrong_proofs": 2, "addresses": 100}) as house:
        steady = [await ask(house) for _ in range(3)]
        assert steady == [403, 403, 429]
        for number in range(300):
            assert await ask(house, address=f"2001:db8:{number:x}::1") == 403
            if number % 50 == 0:
                assert await ask(house) == 429
        manners = house.door.manners
        counts = [*manners._asked.values(), manners._wrong, manners._told]
        assert max(map(len, counts)) == 100


async def test_this_machine_is_not_held_up() -> None:
    """Where the loopback rule lets this machine in, it may ask as often as it likes."""
    limits = LimitSettings(per_address=AddressLimits(requests=3, upgrades=3, wrong_proofs=3))
    async with serving(settings_of(limits=limits)) as house:
        for _ in range(10):
            assert (await house.http.get(f"{house.url}/v1/calls")).status == 200
            await (await house.http.ws_connect(f"{house.url}/v1/ws/pcm")).close()


async def test_an_allowance_comes_back_with_time() -> None:
    """A minute brings the whole of it back, and each part of a minute its part; what was given back was not used."""
    allowances = Allowances(6, most=10)
    assert [allowances.take("a", 100.0) for _ in range(6)] == [0.0] * 6
    assert allowances.take("a", 100.0) == pytest.approx(10, abs=0.001)
    assert allowances.take("b", 100.0) == 0
    assert allowances.take("a", 109.9) > 0
    assert allowances.take("a", 110.0) == 0
    assert allowances.take("a", 110.0) > 0
    allowances.give_back("a")
    assert allowances.take("a", 110.0) == 0
    assert [allowances.take("a", 400.0) for _ in range(7)].count(0.0) == 6


async def test_racing_strangers_get_no_more_than_their_allowance() -> None:
    """Of many requests in the same instant exactly as many are heard as the limit says."""
    async with street(strangers={"wrong_proofs": 20}) as house, asyncio.timeout(LIMIT_S):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(house)) for _ in range(100)]
        statuses = [task.result() for task in tasks]
        assert statuses.count(403) == 20
        assert await ask(house) == 429
        answer = await house.http.get(f"{house.url}/v1/calls", headers={"X-Forwarded-For": "198.51.100.9"})
        assert (answer.status, await answer.text()) == (403, NOT_LET_IN)


async def test_a_socket_that_was_opened_is_told_too() -> None:
    """A client that is known by its words is closed with a code that means later."""
    async with street(strangers={"upgrades": 1}) as house:
        first = await house.http.ws_connect(f"{house.url}/v1/ws", headers={"X-Forwarded-For": "203.0.113.7"})
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await house.http.ws_connect(f"{house.url}/v1/ws", headers={"X-Forwarded-For": "203.0.113.7"})
        assert caught.value.status == 429
        await first.close()


LOOKS = [
    ("/v1/ws", {"User-Agent": "Twilio.TmeWs/1.0"}),
    ("/v1/ws?sample_rate=8000", {}),
    ("/v1/ws", {"Authorization": "Bearer e30.eyJpc3MiOiJWb25hZ2UifQ.x"}),
    ("/v1/ws", {"OpenAI-Beta": "realtime=v1"}),
]


@pytest.mark.parametrize(("path", "headers"), LOOKS)
async def test_looks_are_not_told_beyond_the_limit(
    path: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a socket on the unified address looks like: beyond its address's limit there is no line of it."""
    caplog.set_level(logging.INFO)
    async with street(strangers={"upgrades": 2, "wrong_proofs": 1}) as house:
        first = await ask(house, path, **UPGRADE, **headers)
        assert first in (400, 403, 404)
        told = [r for r in caplog.records if r.name == "talkpath.access"]
        assert told
        await ask(house, path, **UPGRADE, **headers)
        caplog.clear()
        assert [await ask(house, path, **UPGRADE, **headers) for _ in range(5)] == [429] * 5
        assert [r.getMessage() for r in caplog.records if r.name == "talkpath.access"] == []
