"""What answers tell browsers: nothing is guessed, framed or kept, and only named pages may read below /v1."""

import aiohttp
import pytest
from serving import LIMIT_S, PUBLIC_URL, House, serving, settings_of

from gateway.adapters.browser import BrowserSettings
from gateway.adapters.pcm import PcmSettings
from gateway.adapters.twilio_http import TwilioSettings
from gateway.server.headers import plain_origin
from gateway.settings import AccessSettings, KeySettings, Secret, ServerSettings, Settings

KEY = "a-key-of-a-backend"
SHOP = "https://shop.example"
ASKS = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


def shop_settings(**server: str) -> Settings:
    keys = (KeySettings(name="backend", key=(Secret(KEY),), may=("connect", "tokens", "calls")),)
    return settings_of(
        access=AccessSettings(keys=keys),
        adapters={
            "browser": BrowserSettings(origins=(SHOP, "https://Admin.example:8443/")),
            "pcm": PcmSettings(),
            "twilio": TwilioSettings(auth_token=(Secret("12345"),)),
        },
        server=ServerSettings(port=0, admin_port=0, close_s=1, **server),  # type: ignore[arg-type]
    )


async def answer_to(house: House, method: str, path: str, **headers: str) -> aiohttp.ClientResponse:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with house.http.request(method, house.url + path, headers=sent) as answer:
        await answer.read()
        return answer


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/calls"),
        ("GET", "/v1/token"),
        ("GET", "/v1/ws/pcm"),
        ("GET", "/nowhere"),
        ("DELETE", "/twilio/voice"),
        ("POST", "/twilio/voice"),
        ("GET", "/playground.json"),
    ],
)
async def test_every_answer_has_its_header_fields(method: str, path: str) -> None:
    """Answers and refusals alike may not be guessed at, framed, run or kept, and tell no versions."""
    async with serving(shop_settings()) as house:
        answer = await answer_to(house, method, path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Server"] == "Talkpath"
        assert "Strict-Transport-Security" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_page_keeps_its_own_policy() -> None:
    """The playground may run its own script and connect here; nothing but what it says is taken from it."""
    async with serving(shop_settings()) as house:
        page = await answer_to(house, "GET", "/")
        policy = page.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert page.headers["Cache-Control"] == "no-cache"
        module = await answer_to(house, "GET", "/talkpath.js")
        assert module.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert module.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_admin_port_too() -> None:
    """Probes' answers are as careful, and no page may read them."""
    async with serving(shop_settings()) as house, house.http.get(f"{house.admin_url}/readyz") as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "Talkpath"


async def test_a_public_address_over_tls_stays_so() -> None:
    """Browsers that have seen the public address over TLS open it in no other way."""
    async with serving(shop_settings(public_url=PUBLIC_URL)) as house:
        answer = await answer_to(house, "GET", "/")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("origin", [SHOP, "https://SHOP.example", "https://admin.example:8443"])
async def test_named_pages_may_ask_and_read(origin: str) -> None:
    """A page of a named origin is told that it may ask with a key, and may read what it is answered, refusals too."""
    async with serving(shop_settings()) as house:
        permit = await answer_to(house, "OPTIONS", "/v1/token", Origin=origin, **ASKS)
        assert permit.status == 204
        assert permit.headers["Access-Control-Allow-Origin"] == origin
        assert "Authorization" in permit.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in permit.headers
        token = await answer_to(
            house, "GET", "/v1/token?expires_in_seconds=60", Origin=origin, Authorization=KEY
        )
        assert (token.status, token.headers["Access-Control-Allow-Origin"]) == (200, origin)
        assert token.headers["Vary"] == "Origin"
        refused = await answer_to(house, "GET", "/v1/calls", Origin=origin)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (403, origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example.evil.example",
        "null",
        "https://[",
        "",
    ],
)
async def test_other_pages_may_not_read(origin: str) -> None:
    """A page that is not named gets no leave to ask or to read, whatever it shows; a strange Origin breaks nothing."""
    async with serving(shop_settings()) as house:
        permit = await answer_to(house, "OPTIONS", "/v1/token", Origin=origin, **ASKS)
        assert permit.status == 405
        answer = await answer_to(house, "GET", "/v1/calls", Origin=origin, Authorization=KEY)
        for told in (permit, answer):
            assert "Access-Control-Allow-Origin" not in told.headers
            assert told.headers["Vary"] == "Origin"


async def test_no_page_may_ask_carriers_doors() -> None:
    """Leave to read ends with /v1: webhooks and pages are no other site's."""
    async with serving(shop_settings()) as house:
        for path in ("/twilio/voice", "/", "/nowhere"):
            answer = await answer_to(house, "OPTIONS", path, Origin=SHOP, **ASKS)
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", ["https://[", "https://evil.example", "null"])
async def test_sockets_of_pages_that_are_not_named(origin: str) -> None:
    """A page that is none of the named ones opens no socket, also where its Origin cannot be read."""
    async with serving(shop_settings()) as house:
        headers = {"Origin": origin, "Authorization": KEY}
        async with house.http.ws_connect(f"{house.url}/v1/ws/browser", headers=headers) as socket:
            assert (await socket.receive_json(timeout=LIMIT_S))["code"] == "unauthorized"
        assert house.refused == {"origin": 1}


async def test_the_two_ports_share_no_address() -> None:
    """What the admin port serves the public one does not, and the other way round."""
    async with serving(shop_settings()) as house:
        public, admin = (
            {route.resource.canonical for route in app.router.routes() if route.resource}
            for app in (house.apps.public, house.apps.admin)
        )
        assert public
        assert admin
        assert not public & admin
        for path in admin:
            assert (await answer_to(house, "GET", path)).status == 404
        for path in ("/", "/v1/calls", "/v1/token", "/v1/ws/pcm", "/playground.json"):
            async with house.http.get(house.admin_url + path, headers={"Authorization": KEY}) as answer:
                assert answer.status == 404


def test_origins_are_compared_as_browsers_write_them() -> None:
    """Case and a slash at the end do not matter; scheme and port do."""
    assert plain_origin("https://A.example/") == plain_origin("https://a.example")
    assert plain_origin("https://a.example:8443") != plain_origin("https://a.example")
    assert plain_origin("https://[") == ""
