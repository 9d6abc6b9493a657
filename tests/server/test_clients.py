"""Clients of the Voice Agent API at the door: let in, refused in band, and let in again."""

import pytest
from api_client import api_house, soon

from gateway.adapters.browser import BrowserSettings
from gateway.settings import AccessSettings, KeySettings, MatchSettings, RouteSettings, Secret, ServerSettings

KEYS = AccessSettings(
    keys=(
        KeySettings(name="backend", key=(Secret("k1"),), may=("connect", "tokens")),
        KeySettings(name="other", key=(Secret("k2"),), may=("connect",), calls=1),
        KeySettings(name="minter", key=(Secret("k3"),), may=("tokens",)),
    )
)


async def test_a_client_of_the_provider_holds_a_session() -> None:
    """Update, updated, ready with the same configuration, a paced reply, sound to the agent, end, close 1000."""
    async with api_house() as house, house.client() as client:
        await client.send("session.update", session={})
        updated, ready = await client.until("session.updated"), await client.until("session.ready")
        assert client.order == ["session.updated", "session.ready"]
        assert updated["config"] == ready["config"]
        assert ready["session_id"].startswith("sess_")
        await client.say(b"\1\0" * 480)
        await soon(lambda: len(house.agent.audio) == 960)
        house.agent.speak("r1", b"\2\1" * 4800)
        assert await client.until_sound("r1", 9600) == b"\2\1" * 4800
        await client.send("session.end")
        ended = await client.until("session.ended")
        assert ended["audio_duration_seconds"] is None
        assert await client.closed() == 1000
    assert house.agent.kinds()[-1] == "session.end"


@pytest.mark.parametrize(
    ("path", "headers", "why"),
    [
        ("/v1/ws/browser", {}, "key_missing"),
        ("/v1/ws/browser", {"Authorization": "Bearer wrong"}, "key_unknown"),
        ("/v1/ws/browser", {"Authorization": "wrong"}, "key_unknown"),
        ("/v1/ws/browser?token=wrong", {}, "token_unknown"),
        ("/v1/ws/browser?token=k1", {}, "token_unknown"),
        ("/v1/ws/browser/k1", {"Authorization": "k1"}, "token_misplaced"),
        ("/v1/ws/browser", {"Authorization": "Bearer k3"}, "key_may_not"),
    ],
)
async def test_whoever_has_no_proof_is_refused_in_band(path: str, headers: dict[str, str], why: str) -> None:
    """The upgrade succeeds, `session.error unauthorized` is pushed unasked, and the socket is closed with 1008."""
    async with api_house(access=KEYS) as house, house.client(path, **headers) as client:
        error = await client.read()
        assert error is not None
        assert error.pop("timestamp") > 1_000_000_000
        assert error == {
            "type": "session.error",
            "code": "unauthorized",
            "message": "Authentication failed",
            "session_id": None,
            "param": None,
        }
        assert await client.closed() == 1008
    assert house.refused == {why: 1}


@pytest.mark.parametrize("given", ["Bearer k1", "bearer k1", "k1"])
async def test_a_key_lets_in_in_every_form(given: str) -> None:
    """The key is taken raw and behind Bearer in any case."""
    async with api_house(access=KEYS) as house, house.client(Authorization=given) as client:
        assert (await client.begin())["type"] == "session.ready"


async def test_nothing_is_said_before_the_client_speaks() -> None:
    """An open socket is silent, and no agent is opened for it."""
    async with (
        api_house(server=ServerSettings(close_s=1, first_message_s=0.2)) as house,
        house.client() as client,
    ):
        assert await client.closed() == 1008
        assert client.events == []
    assert house.street.opened == []


async def test_a_format_error_keeps_the_socket_of_a_first_update() -> None:
    """After `greeting: null` a good update still begins the session."""
    async with api_house() as house, house.client() as client:
        await client.send("session.update", session={"greeting": None})
        assert (await client.until("session.error"))["code"] == "invalid_format"
        assert (await client.begin())["type"] == "session.ready"


@pytest.mark.parametrize(
    ("session", "code", "close_code"),
    [
        ({"output": {"volume": 101}}, "invalid_value", 1008),
        ({"input": {"format": {"encoding": "audio/pcm", "sample_rate": 16000}}}, "internal_error", 1011),
    ],
)
async def test_a_bad_first_update_closes(session: dict[str, object], code: str, close_code: int) -> None:
    """A bad value of the first update is told and closes the socket; no agent was opened."""
    async with api_house() as house, house.client() as client:
        await client.send("session.update", session=session)
        assert (await client.until("session.error"))["code"] == code
        assert await client.closed() == close_code
    assert house.street.opened == []


async def test_a_session_that_ends_before_it_begins() -> None:
    """`session.end` as the first message is answered and closes with 1000."""
    async with api_house() as house, house.client() as client:
        await client.send("session.end")
        assert (await client.until("session.ended"))["session_duration_seconds"] == 0
        assert await client.closed() == 1000


@pytest.mark.parametrize(
    ("sections", "code"),
    [
        ({"limits": {"calls": 1}}, "at_capacity"),
        ({"access": KEYS}, "concurrency_exceeded"),
    ],
)
async def test_limits_are_told_in_band(sections: dict[str, object], code: str) -> None:
    """A full gateway and a key with too many calls are told apart, and both close with 1008."""
    async with api_house(**sections) as house, house.client(Authorization="k2") as first:
        await first.begin()
        async with house.client(Authorization="k2") as second:
            await second.send("session.update", session={})
            assert (await second.until("session.error"))["code"] == code
            assert await second.closed() == 1008


async def test_a_call_that_no_route_takes_has_no_agent() -> None:
    """Without a route the client is told that there is no agent."""
    routes = (RouteSettings(name="phones", agent="main", match=MatchSettings(adapter=("twilio",))),)
    async with api_house(routes=routes) as house, house.client() as client:
        await client.send("session.update", session={})
        assert (await client.until("session.error"))["code"] == "agent_not_found"
        assert await client.closed() == 1008


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://www.example.com", True), ("https://evil.example.com", False), ("null", False)],
)
async def test_pages_connect_from_the_origins_that_are_named(origin: str, allowed: bool) -> None:
    """With `origins` set a page from elsewhere is refused whatever its key; programs without an Origin are not."""
    adapters = {"browser": BrowserSettings(origins=("https://www.example.com",))}
    async with api_house(access=KEYS, adapters=adapters) as house:
        async with house.client(Authorization="k1", Origin=origin) as client:
            await client.send("session.update", session={})
            first = await client.read()
            assert first is not None
            assert (first["type"] == "session.updated") == allowed
        async with house.client(Authorization="k1") as client:
            await client.begin()


async def test_input_and_output_may_have_different_formats() -> None:
    """A client that sends mu-law and wants PCM is converted on the way in; the agent's sound is its own format."""
    async with api_house() as house, house.client() as client:
        ready = await client.begin(input={"format": {"encoding": "audio/pcmu"}})
        assert ready["config"]["input"]["format"] == {"encoding": "audio/pcmu", "sample_rate": 8000}
        assert ready["config"]["output"]["format"] == {"encoding": "audio/pcm", "sample_rate": 24000}
        for _ in range(10):
            await client.say(b"\x80" * 160)  # 200 ms, the loudest sample there is
        await soon(lambda: len(house.agent.audio) > 7200)
        assert max(house.agent.audio) > 0x60
