"""What the simulated Vonage reads: call documents, tokens of the REST interface, requests to it."""

import json
import time
from typing import Any

import aiohttp
import jwt
import pytest
from vonage_tokens import application_key, pem_of, token

from gateway.simulate import VonageRest
from gateway.simulate.ncco import Connect, NccoError, Socket, Talk, read_ncco
from gateway.simulate.vonage_jwt import sign, why_no_application_token

SOCKET = {
    "type": "websocket",
    "uri": "wss://gw.example.com/v1/ws/vonage/t",
    "content-type": "audio/l16;rate=24000",
    "headers": {"call_uuid": "u"},
    "authorization": {"type": "vonage"},
}
NOW = 1_700_000_000.0


def connect(**endpoint: Any) -> str:
    given = {name: value for name, value in {**SOCKET, **endpoint}.items() if value is not None}
    return json.dumps([{"action": "connect", "endpoint": [given]}])


def test_a_document_is_read_with_its_socket() -> None:
    """Actions come in order with their fields."""
    said, brought = read_ncco(
        json.dumps(
            [
                {"action": "talk", "text": "One moment."},
                {
                    "action": "connect",
                    "from": "447700900000",
                    "eventType": "synchronous",
                    "eventUrl": ["https://gw.example.com/vonage/event"],
                    "endpoint": [SOCKET],
                },
            ]
        )
    )
    assert said == Talk("One moment.")
    assert isinstance(brought, Connect)
    (socket,) = brought.endpoint
    assert isinstance(socket, Socket)
    assert (socket.rate_hz, socket.headers) == (24000, {"call_uuid": "u"})
    assert read_ncco("[]") == []


@pytest.mark.parametrize(
    "document",
    [
        "",
        "x",
        "{}",
        '{"action":"talk","text":"x"}',
        "[" * 50_000,
        '[{"action":"dance"}]',
        '[{"text":"x"}]',
        '[{"action":"talk","text":""}]',
        '[{"action":"talk","text":"x","volume":11}]',
        '[{"action":"connect","endpoint":[]}]',
        json.dumps([{"action": "connect", "endpoint": [SOCKET, SOCKET]}]),
        json.dumps([{"action": "connect", "endpoint": [SOCKET], "eventType": "asynchronous"}]),
        json.dumps([{"action": "connect", "endpoint": [SOCKET], "eventUrl": "https://a.example/"}]),
        json.dumps([{"action": "connect", "endpoint": [SOCKET], "eventUrl": ["/vonage/event"]}]),
        json.dumps([{"action": "connect", "endpoint": [SOCKET], "from": "+447700900000"}]),
        '[{"action":"connect","endpoint":[{"type":"phone","number":"+14155550100"}]}]',
        '[{"action":"connect","endpoint":[{"type":"phone","number":""}]}]',
        connect(uri="https://gw.example.com/"),
        connect(uri="/v1/ws"),
        connect(**{"content-type": "audio/l16;rate=44100"}),
        connect(**{"content-type": "audio/pcmu"}),
        connect(**{"content-type": None}),
        connect(headers={"long": "x" * 510}),
        connect(headers=["a"]),
        connect(authorization={"type": "basic"}),
        connect(authorization={"type": "custom"}),
        connect(authorization={"type": "vonage", "value": "x"}),
        connect(secret="x"),
        json.dumps([{"action": "talk", "text": "x" * 1500}] * 60),
    ],
)
def test_what_cannot_be_carried_out_is_refused(document: str) -> None:
    """Anything that the real carrier would not accept is an error in one sentence."""
    with pytest.raises(NccoError) as caught:
        read_ncco(document)
    assert "\n" not in str(caught.value)


def test_headers_may_have_512_bytes() -> None:
    """Exactly as many fit."""
    room = 512 - len('{"a":""}')
    assert read_ncco(connect(headers={"a": "x" * room}))
    with pytest.raises(NccoError, match="513 bytes"):
        read_ncco(connect(headers={"a": "x" * (room + 1)}))


def test_tokens_are_signed_as_published() -> None:
    """The best-known token of all comes out, and another implementation verifies what is signed here."""
    claims = {"sub": "1234567890", "name": "John Doe", "iat": 1516239022}
    assert sign("your-256-bit-secret", claims) == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
        ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
        ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    )
    secret = "a secret of thirty-two characters"
    assert jwt.decode(sign(secret, {"a": "ü"}), secret, algorithms=["HS256"]) == {"a": "ü"}


def application_token(key: Any = None, **changes: Any) -> str:
    claims = {"application_id": "app-1", "iat": int(NOW), "exp": int(NOW) + 900, "jti": "1", **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, pem_of(key or application_key()), algorithm="RS256")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (application_token(), ""),
        ("", "cannot be read"),
        ("a.b.c", "cannot be read"),
        (token({"application_id": "app-1"}), "not signed with RS256"),
        (application_token(application_id="app-2"), "another application's"),
        (application_token(application_id=None), "another application's"),
        (application_token(jti=None), "has no number"),
        (application_token(iat=int(NOW) + 60), "not good at this time"),
        (application_token(exp=int(NOW) - 1), "not good at this time"),
        (application_token(exp=None), "not good at this time"),
    ],
)
def test_tokens_of_the_rest_interface_are_checked(given: str, why: str) -> None:
    """Only a fresh token of the application, signed with its key, opens the interface."""
    found = why_no_application_token(given, application_key().public_key(), "app-1", NOW)
    assert bool(found) == bool(why)
    assert why in found


def test_another_key_opens_nothing() -> None:
    """The key must be the application's."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    found = why_no_application_token(
        application_token(stranger), application_key().public_key(), "app-1", NOW
    )
    assert found == "the token is not signed by the application"


class Identity:
    call_uuid = "u-1"


class Live:
    """A call that remembers what was done to it."""

    identity = Identity()

    def __init__(self) -> None:
        self.done: list[str] = []

    def hang_up(self, reason: str = "") -> None:
        self.done.append(reason)

    def redirect(self, *, document: str = "", url: str = "") -> None:
        self.done.append(document + url)


async def test_the_rest_interface_carries_out_what_it_is_asked() -> None:
    """Hang-up and transfer reach the call; whatever is wrong has a status and no effect."""
    live = Live()
    ncco = [{"action": "connect", "endpoint": [{"type": "phone", "number": "14155550100"}]}]
    async with VonageRest("app-1") as rest, aiohttp.ClientSession() as http:
        rest.register(live)
        good = jwt.encode(
            {"application_id": "app-1", "iat": int(time.time()), "exp": int(time.time()) + 60, "jti": "1"},
            rest.private_key,
            algorithm="RS256",
        )

        async def put(path: str, body: Any, proof: str = good, method: str = "PUT") -> int:
            headers = {"Authorization": f"Bearer {proof}"}
            async with http.request(method, rest.url + path, json=body, headers=headers) as answer:
                return answer.status

        assert await put("/v1/calls/u-1", {"action": "hangup"}) == 204
        transfer = {"action": "transfer", "destination": {"type": "ncco", "ncco": ncco}}
        assert await put("/region/v1/calls/u-1", transfer) == 204
        assert live.done == ["carrier_hung_up", json.dumps(ncco, separators=(",", ":"))]
        assert await put("/v1/calls/u-2", {"action": "hangup"}) == 404
        assert await put("/v1/calls/u-1", {"action": "hangup"}, method="POST") == 404
        assert await put("/v1/calls/u-1", {"action": "hangup"}, proof="x") == 401
        wrong: list[Any] = [
            {"action": "hang up"},
            [],
            {"action": "transfer"},
            {"action": "transfer", "destination": {"type": "ncco", "ncco": [{"action": "dance"}]}},
        ]
        for body in wrong:
            assert await put("/v1/calls/u-1", body) == 400
        rest.failing_next = [500]
        assert await put("/v1/calls/u-1", {"action": "hangup"}) == 500
        rest.forget(live)
        assert await put("/v1/calls/u-1", {"action": "hangup"}) == 404
    assert len(live.done) == 2
    assert [request.path for request in rest.requests][:2] == ["/v1/calls/u-1", "/region/v1/calls/u-1"]
