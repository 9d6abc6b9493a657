"""Callers of the adapter ``vonage``: media sockets (reference: carriers, 3.2 and 3.3).

They carry 16-bit PCM at 24 kHz, which passes through to an agent untouched.
"""

import json
import secrets
from typing import Any

from dialect import DEEP, STEEP, TOO_MANY, Dialect, Message, Way, Wrong, text, truncated

from gateway.simulate.vonage_http import ANSWER_PATH, VonageIdentity, VonageRequests
from gateway.simulate.webhook import Addresses, open_session

SECRET = "signed-with-this-by-the-simulated-carrier-vonage"
FRAME_BYTES = 960


async def _vonage_way(gateway_url: str, caller: str, callee: str) -> Way:
    identity = VonageIdentity(
        call_uuid=secrets.token_hex(16),
        conversation_uuid="CON-" + secrets.token_hex(16),
        caller=caller,
        callee=callee,
        api_key="key",
        application_id="app",
    )
    addresses = Addresses(gateway_url, None, ANSWER_PATH)
    async with open_session() as session:
        requests = VonageRequests(session, addresses, identity, SECRET)
        document = json.loads(await requests.ask(addresses.first, "GET"))
        endpoint = document[0]["endpoint"][0]
        headers = {"Authorization": requests.proof()}
    first = {"event": "websocket:connected", "content-type": endpoint["content-type"], **endpoint["headers"]}
    return Way(endpoint["uri"], headers, identity.call_uuid, first=json.dumps(first))


def _first(way: Way, **changes: Any) -> str:
    known = json.loads(way.first or '{"event":"websocket:connected","content-type":"audio/l16;rate=24000"}')
    return json.dumps({**known, **{name.replace("_", "-"): value for name, value in changes.items()}})


def _vonage_wrong(way: Way) -> dict[str, Wrong]:
    key, begun = text(event="websocket:dtmf", digit="5"), _first(way)
    other_call = json.dumps({**json.loads(begun), "call_uuid": "f" * 32})
    no_object, unread = "no JSON object with an `event`", "`websocket:notify` message"
    return {
        "truncated": Wrong([truncated(key)], no_object),
        "nested": Wrong(["[" * DEEP], TOO_MANY),
        "nested less": Wrong(["[" * STEEP], no_object),
        "nested in a message": Wrong([key[:-1] + ',"x":' + "[" * DEEP], TOO_MANY),
        "mistyped: event": Wrong([text(event=7)], no_object),
        "mistyped: a list": Wrong(["[1, 2, 3]"], no_object),
        "mistyped: payload": Wrong([text(event="websocket:notify", payload=[])], unread),
        "mistyped: name": Wrong([text(event="websocket:notify", payload={"name": 5})], unread),
        "mistyped: digit": Wrong([text(event="websocket:dtmf", digit="🤖")], "0 to 9, * and #"),
        "mistyped: no digit": Wrong([text(event="websocket:dtmf", dtmf={"digit": {}})], "0 to 9, * and #"),
        "UTF-8: lone surrogate": Wrong(['{"event":"\\ud800"}'], no_object),
        "contradictory: second beginning": Wrong([begun], "a second `websocket:connected`"),
        "contradictory: another format": Wrong([_first(way, content_type="audio/l16;rate=11025")], "audio/l16;rate=", True),
        "contradictory: another call": Wrong([other_call], "not the call", True),
        "out of order: keys first": Wrong([key], "has not begun", True),
        "out of order: end first": Wrong([text(event="websocket:hangup")], "has not begun", True),
    }  # fmt: skip


def _vonage_played(_way: Way, message: Message) -> str | None:
    if isinstance(message, bytes) or '"notify"' not in message:
        return None
    return text(event="websocket:notify", payload=json.loads(message)["payload"])


VONAGE = Dialect(
    adapter="vonage",
    section=f"{{signature_secret: {SECRET}, rate_hz: 24000}}",
    invite=_vonage_way,
    begin=lambda way: [_first(way)],
    sound=lambda _way, sound: sound,
    extras=lambda _way: [
        text(event="websocket:cleared"),
        text(event="websocket:dtmf", digit=5, duration=-1e308),
        text(event="websocket:dtmf", dtmf={"digit": "5"}),
        text(event="websocket:notify", payload={"name": "0:1"}),
        text(event="websocket:notify", payload={"name": "99:999999999999999999999", "more": None}),
        text(event="websocket:weather", rain=True),
        b"",
        b"\x01",
        b"\x02",
    ],
    end=lambda _way: text(event="websocket:hangup"),
    heard=lambda message: message if isinstance(message, bytes) else b"",
    played=_vonage_played,
    wrong=_vonage_wrong,
    tells=False,
    is_carrier=True,
    begins_late=False,
    bytes_s=48_000,
)
