import asyncio
import hashlib

import aiohttp
import pytest
from serving import LIMIT_S, PUBLIC_URL, House, serving, settings_of, sign, start_stream, until

from gateway.adapters.pcm import PcmSettings
from gateway.adapters.twilio_http import TwilioSettings
from gateway.contracts import MediaPass
from gateway.server.door import NOT_LET_IN, host_name, is_loopback
from gateway.settings import AccessSettings, KeySettings, Secret, ServerSettings

KEYS = AccessSettings(
    keys=(
        KeySettings(name="backend", key=(Secret("k-new"), Secret("k-old")), may=("connect", "calls")),
        KeySettings(name="reader", key=(Secret("k-read"),), may=("calls",)),
    )
)
PUBLIC = ServerSettings(port=0, admin_port=0, public_url=PUBLIC_URL, close_s=1)


async def refused(house: House, url: str, headers: dict[str, str] | None = None) -> int:
    """Try to open a socket; give the status of the refusal."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await house.http.ws_connect(url, headers=headers)
    return caught.value.status


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_own_hosts(host: str) -> None:
    """Names and addresses of this machine are loopback."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "0.0.0.0", "::"]
)
def test_foreign_hosts(host: str) -> None:
    """Names that only look like this machine's are not loopback."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("LocalHost:8080", "localhost"),
        ("[::1]:8080", "::1"),
        ("localhost@example.com", ""),
        ("localhost:99999", ""),
        ("[::1", ""),
        ("localhost/x", ""),
    ],
)
def test_host_of_an_authority(authority: str, host: str) -> None:
    """A Host header gives its host, and nothing when it is not one."""
    assert host_name(authority) == host


async def test_this_machine_is_let_in_without_keys() -> None:
    """With no keys configured, a client on this machine may connect and look at calls."""
    async with serving() as house:
        socket = await house.http.ws_connect(f"{house.url}/v1/ws/pcm?encoding=pcm_mulaw&sample_rate=8000")
        await socket.send_bytes(b"\x00" * 160)
        assert (await socket.receive_bytes(timeout=LIMIT_S)) == b"\x00" * 160
        assert (await house.http.get(f"{house.url}/v1/calls")).status == 200
        await socket.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "voice.example.com"},
        {"Host": "localhost.example.com:8080"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost@evil.example"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "localhost"},
        {"X-Original-Forwarded-For": "127.0.0.1"},
        {"X-Envoy-External-Address": "127.0.0.1"},
        {"Fly-Client-IP": "127.0.0.1"},
        {"Fastly-Client-IP": "127.0.0.1"},
        {"X-Cluster-Client-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
    ids=str,
)
async def test_loopback_rule(headers: dict[str, str]) -> None:
    """Without keys, whatever hints at a proxy, a foreign name or a foreign page is refused like no proof at all."""
    async with serving() as house:
        assert await refused(house, f"{house.url}/v1/ws/pcm", headers) == 403
        answer = await house.http.get(f"{house.url}/v1/calls", headers=headers)
        assert (answer.status, await answer.text()) == (403, NOT_LET_IN)
        assert house.refused["not_local"] == 2
        assert not house.registry.listing()


async def test_loopback_rule_ends_with_a_public_url() -> None:
    """Without keys but with a public address, nobody is let in on the doors that keys guard."""
    async with serving(settings_of(server=PUBLIC)) as house:
        assert await refused(house, f"{house.url}/v1/ws/pcm") == 403


@pytest.mark.parametrize("value", ["Bearer k-new", "bearer k-old", "k-new"])
async def test_keys_open(value: str) -> None:
    """A key opens as a bearer, raw, and while it is rotated in its old form; from any page and host."""
    async with serving(settings_of(access=KEYS)) as house:
        headers = {"Authorization": value, "Host": "voice.example.com", "Origin": "https://shop.example"}
        socket = await house.http.ws_connect(f"{house.url}/v1/ws/pcm", headers=headers)
        await until(house.registry.listing)
        await socket.close()


@pytest.mark.parametrize("value", ["", "Bearer ", "Bearer k-ne", "Bearer k-new2", "Basic k-new", "k\udcfcy"])
async def test_wrong_keys(value: str) -> None:
    """With keys configured, this machine too needs one, and every wrong one gets the same answer."""
    async with serving(settings_of(access=KEYS)) as house:
        headers = {"Authorization": value} if value else {}
        answer = await house.http.get(f"{house.url}/v1/calls", headers=headers)
        assert (answer.status, await answer.text()) == (403, NOT_LET_IN)


async def test_a_key_of_which_only_the_hash_is_configured() -> None:
    """A key opens where the configuration holds its SHA-256, also while it is rotated; the hash itself opens nothing."""
    digest = hashlib.sha256(b"a-key-of-a-partner").hexdigest()
    keys = (
        KeySettings(
            name="partner", key=(Secret(f"sha256:{digest}"), Secret("a-plain-one-too")), may=("calls",)
        ),
    )
    async with serving(settings_of(access=AccessSettings(keys=keys))) as house:
        for given, status in (
            ("a-key-of-a-partner", 200),
            ("a-plain-one-too", 200),
            (f"sha256:{digest}", 403),
            (digest, 403),
            ("sha256:", 403),
        ):
            answer = await house.http.get(f"{house.url}/v1/calls", headers={"Authorization": given})
            assert answer.status == status, given
        assert house.refused == {"key_unknown": 3}


@pytest.mark.parametrize("text", ["sha256:", "sha256:zz", "sha256:" + "0" * 63, ""])
async def test_an_unusable_hash_opens_nothing(text: str) -> None:
    """What looks like a hash and is none lets nobody in, whatever is shown."""
    keys = (KeySettings(name="partner", key=(Secret(text),), may=("calls",)),)
    async with serving(settings_of(access=AccessSettings(keys=keys))) as house:
        for given in (text, "", "0" * 63):
            answer = await house.http.get(f"{house.url}/v1/calls", headers={"Authorization": given})
            assert (answer.status, await answer.text()) == (403, NOT_LET_IN)


async def test_rights_of_keys() -> None:
    """A key without the right to connect is answered like a wrong one; only the counter knows."""
    async with serving(settings_of(access=KEYS)) as house:
        assert await refused(house, f"{house.url}/v1/ws/pcm", {"Authorization": "k-read"}) == 403
        assert house.refused == {"key_may_not": 1}


async def test_doubled_authorization_is_none() -> None:
    """Two Authorization headers are not a proof, whichever of them is right."""
    async with serving(settings_of(access=KEYS)) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rpartition(":")[2]))
        writer.write(
            b"GET /v1/calls HTTP/1.1\r\nHost: x\r\nAuthorization: k-new\r\nAuthorization: k-new\r\n"
            b"Connection: close\r\n\r\n"
        )
        status = await asyncio.wait_for(reader.readline(), LIMIT_S)
        assert b" 403 " in status or b" 400 " in status
        writer.close()
        await writer.wait_closed()


async def test_webhook_without_signature() -> None:
    """A webhook without a signature is refused with the one sentence and leaves no call behind."""
    async with serving() as house:
        answer = await house.http.post(f"{house.url}/twilio/voice", data={"CallSid": "CA1"})
        assert (answer.status, await answer.text()) == (403, NOT_LET_IN)
        assert house.refused == {"signature": 1}
        assert not house.registry.listing()


@pytest.mark.parametrize(
    "path", ["/twilio/voice", "/twilio/voice/default", "/twilio/after", "/twilio/status"]
)
async def test_webhook_with_wrong_signature(path: str) -> None:
    """A signature made with another secret opens none of the webhooks."""
    async with serving() as house:
        fields = {"CallSid": "CA1", "CallStatus": "completed"}
        headers = {"X-Twilio-Signature": sign(house.url + path, fields, "54321")}
        answer = await house.http.post(house.url + path, data=fields, headers=headers)
        assert (answer.status, await answer.text()) == (403, NOT_LET_IN)


async def test_signed_origin_is_the_public_one() -> None:
    """With a public address, that is what carriers sign, and what the document leads to, with wss."""
    async with serving(settings_of(server=PUBLIC)) as house:
        assert (await house.webhook("/twilio/voice")).status == 403
        answer = await house.webhook("/twilio/voice", origin=PUBLIC_URL)
        text = await answer.text()
        assert answer.status == 200
        assert 'url="wss://voice.example.com/v1/ws/twilio/' in text
        assert 'action="https://voice.example.com/twilio/after"' in text


async def test_a_foreign_host_is_no_origin() -> None:
    """Without a public address a Host from elsewhere cannot choose what is signed, however well it is signed."""
    async with serving() as house:
        fields = {"CallSid": "CA1"}
        headers = {
            "Host": "evil.example",
            "X-Twilio-Signature": sign("http://evil.example/twilio/voice", fields),
        }
        answer = await house.http.post(f"{house.url}/twilio/voice", data=fields, headers=headers)
        assert answer.status == 403
        assert house.refused == {"no_origin": 1}


async def test_media_needs_signature_and_token() -> None:
    """A media socket is let in with signature and token only, and a refused one leaves the token unspent."""
    async with serving() as house:
        url = await house.invited()
        for address, headers in [
            (url, {}),
            (url, {"X-Twilio-Signature": sign(url, {}, "54321")}),
            (url.rpartition("/")[0], {}),
            (url + "x", {"X-Twilio-Signature": sign(url + "x", {})}),
        ]:
            assert await refused(house, address, headers) == 403
        assert house.refused == {"signature": 3, "token_unknown": 1}
        socket = await house.media(url)
        await socket.close()


async def test_replayed_token() -> None:
    """A captured upgrade cannot be played again: its token is spent."""
    async with serving() as house:
        url = await house.invited()
        socket = await house.media(url)
        for message in start_stream():
            await socket.send_str(message)
        await until(lambda: house.runners and house.call_runner().info)
        assert await refused(house, url, {"X-Twilio-Signature": sign(url, {})}) == 403
        assert not socket.closed
        assert len(house.call_runner().legs) == 1
        await socket.close()


async def test_one_token_for_many_at_once() -> None:
    """Of many upgrades with the same token at the same instant exactly one is let in."""
    async with serving() as house:
        url = await house.invited()
        answers = await asyncio.gather(*(house.media(url) for _ in range(20)), return_exceptions=True)
        sockets = [answer for answer in answers if isinstance(answer, aiohttp.ClientWebSocketResponse)]
        assert len(sockets) == 1
        assert house.refused == {"token_unknown": 19}
        await sockets[0].close()


async def test_token_of_another_route() -> None:
    """A token opens a call only on the route for which it was minted."""
    async with serving() as house:
        url = await house.invited()
        (call,) = house.registry.listing()
        foreign = await house.store.mint(MediaPass(call.call_id, "twilio", "elsewhere"), 60)
        address = f"{url.rpartition('/')[0]}/{foreign}"
        assert await refused(house, address, {"X-Twilio-Signature": sign(address, {})}) == 403
        assert house.refused == {"token_misplaced": 1}
        socket = await house.media(url)
        await socket.close()


async def test_old_token() -> None:
    """A token that nobody came with in time is worthless."""
    async with serving() as house:
        url = await house.invited()
        house.clock.now_s += 61
        assert await refused(house, url, {"X-Twilio-Signature": sign(url, {})}) == 403


async def test_token_on_the_wrong_adapter() -> None:
    """A token opens only the adapter for which it was minted, whichever way it is tried."""
    async with serving() as house:
        url = await house.invited()
        assert await refused(house, url.replace("/twilio/", "/pcm/")) == 403
        foreign = await house.store.mint(MediaPass("call_x", "vonage", "default"), 60)
        address = f"{house.url}/v1/ws/twilio/{foreign}"
        headers = {"X-Twilio-Signature": sign(address.replace("http", "ws", 1), {})}
        assert await refused(house, address, headers) == 403
        assert house.refused == {"token_misplaced": 2}


async def test_a_token_that_is_shown_elsewhere_stays_good() -> None:
    """Whoever reads a carrier's token cannot use it up at another door: the carrier's socket is let in all the same."""
    twilio, pcm = TwilioSettings(auth_token=(Secret("12345"),)), PcmSettings()
    keys = AccessSettings(keys=(KeySettings(name="backend", key=(Secret("k1"),), may=("connect", "tokens")),))
    async with serving(settings_of(adapters={"twilio": twilio, "pcm": pcm}, access=keys)) as house:
        url = await house.invited()
        token = url.rpartition("/")[2]
        for path in (
            f"/v1/ws/pcm?token={token}",
            f"/v1/ws?token={token}&sample_rate=8000",
            f"/v1/ws/pcm/{token}",
        ):
            assert await refused(house, house.url + path) == 403
        socket = await house.media(url)
        for message in start_stream():
            await socket.send_str(message)
        await until(lambda: house.runners and house.call_runner().info)
        await socket.close()


STREAM = "MZ" + "0123456789abcdef" * 2


async def test_stream_without_token_is_let_in_once() -> None:
    """Where the configuration asks for no token, a valid signature suffices, but each stream comes once, in Twilio's form."""
    twilio = TwilioSettings(auth_token=(Secret("12345"),), require_token=False)
    async with serving(settings_of(adapters={"twilio": twilio})) as house:
        url = house.url.replace("http", "ws", 1) + "/v1/ws"
        first = await house.media(url)
        for message in start_stream("CA1", STREAM):
            await first.send_str(message)
        await until(lambda: house.runners and house.call_runner().info)
        for again in (STREAM, STREAM.upper(), f"{STREAM} ", f"{STREAM}\0", f"{STREAM}\n", "MZ1", STREAM[2:]):
            replayed = await house.media(url)
            for message in start_stream("CA1", again):
                await replayed.send_str(message)
            closing = await replayed.receive(timeout=LIMIT_S)
            assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1008), again
        await until(lambda: len(house.registry.listing()) == 1)
        assert len(house.runners) == 1
        await first.close()
