import json
import time
import uuid
from typing import Any

import aiohttp
import pytest
from serving import EchoRunner, House, serving, settings_of, until
from vonage_tokens import SECRET, claims_of, token

from gateway.adapters.vonage_http import VonageSettings
from gateway.events import CallerAudio, CallerLeft
from gateway.server.answer import APOLOGY
from gateway.server.call import RETURNS
from gateway.settings import LimitSettings, MatchSettings, RouteSettings, Secret, Settings

CALL = "63f61863-4a51-4f6b-86e1-46edebcf9356"
FRAME = b"\x01\x02" * 320


def vonage_settings(**sections: Any) -> Settings:
    section = VonageSettings(signature_secret=(Secret(SECRET),))
    return settings_of(adapters={"vonage": section}, **sections)


def proof(body: bytes = b"", *, jti: str = "", secret: str = SECRET) -> dict[str, str]:
    claims = claims_of(body, now=time.time(), jti=jti or str(uuid.uuid4()))
    return {"Authorization": f"Bearer {token(claims, secret)}"}


async def post(
    house: House, path: str, fields: dict[str, Any], *, jti: str = "", secret: str = SECRET
) -> aiohttp.ClientResponse:
    """Post what Vonage posts, signed."""
    body = json.dumps(fields, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", **proof(body, jti=jti, secret=secret)}
    return await house.http.post(house.url + path, data=body, headers=headers)


async def ask(house: House, path: str = "/vonage/answer", jti: str = "", **fields: Any) -> Any:
    """Call in, and give the document."""
    call = {"from": "447700900000", "to": "33123456789", "uuid": CALL, "conversation_uuid": "CON-1", **fields}
    answer = await post(house, path, call, jti=jti)
    assert answer.status == 200, await answer.text()
    assert answer.content_type == "application/json"
    return json.loads(await answer.text())


async def tell(house: House, status: str, query: str = "", **fields: Any) -> aiohttp.ClientResponse:
    """Report an event of the socket's leg; of the telephone's where ``to`` is a number."""
    event = {"status": status, "to": "wss://x/y", "uuid": "leg", "headers": {"call_uuid": CALL}, **fields}
    return await post(house, "/vonage/event" + query, event)


def endpoint_of(document: Any) -> dict[str, Any]:
    (connect,) = document
    (endpoint,) = connect["endpoint"]
    assert isinstance(endpoint, dict)
    return endpoint


async def open_media(house: House, document: Any) -> aiohttp.ClientWebSocketResponse:
    """Open the media socket of a document as Vonage does, and send its first message."""
    endpoint = endpoint_of(document)
    socket = await house.http.ws_connect(endpoint["uri"], headers=proof())
    first = {"event": "websocket:connected", "content-type": endpoint["content-type"], **endpoint["headers"]}
    await socket.send_str(json.dumps(first))
    return socket


async def call_up(house: House) -> EchoRunner:
    """Have a call that lost its socket."""
    socket = await open_media(house, await ask(house))
    await until(lambda: house.runners and house.call_runner().info)
    transport = socket._response.connection.transport  # type: ignore[union-attr]
    assert transport is not None
    transport.abort()
    await until(lambda: not house.call_runner().legs)
    return house.call_runner()


async def test_answer_document() -> None:
    """A call is led to the media socket on this address, with token and call in its headers, and we are asked after it."""
    async with serving(vonage_settings()) as house:
        document = await ask(house)
        endpoint = endpoint_of(document)
        host = house.url.removeprefix("http://")
        assert endpoint["uri"] == f"ws://{host}/v1/ws/vonage/{endpoint['headers']['token']}"
        assert endpoint["headers"]["call_uuid"] == CALL
        assert endpoint["authorization"] == {"type": "vonage"}
        assert document[-1]["eventUrl"] == [f"{house.url}/vonage/event?call_uuid={CALL}"]


async def test_answer_by_get() -> None:
    """Vonage asks by GET unless told otherwise; the token in the header proves it all the same."""
    async with serving(vonage_settings()) as house:
        url = f"{house.url}/vonage/answer?from=447700900000&to=33123456789&uuid={CALL}"
        answer = await house.http.get(url, headers=proof())
        assert answer.status == 200
        assert endpoint_of(json.loads(await answer.text()))["headers"]["call_uuid"] == CALL
        assert (await house.http.get(url)).status == 403


async def test_route_by_numbers_and_by_name() -> None:
    """Numbers match the patterns of routes though Vonage leaves the plus out; a route may be named in the address."""
    routes = (
        RouteSettings(name="europe", agent="house", match=MatchSettings(callee=("+33*",))),
        RouteSettings(name="rest", agent="house"),
    )
    async with serving(vonage_settings(routes=routes)) as house:
        await ask(house, uuid="c1")
        await ask(house, uuid="c2", to="14155550100")
        await ask(house, "/vonage/answer/rest", uuid="c3")
        found = [call.booking.route.settings.name for call in house.registry.listing()]
        assert found == ["europe", "rest", "rest"]
        refused = await post(house, "/vonage/answer/nowhere", {"uuid": "c4"})
        assert refused.status == 404


@pytest.mark.parametrize("path", ["/vonage/answer", "/vonage/event"])
async def test_unsigned_webhooks_are_refused(path: str) -> None:
    """Whatever is wrong with the proof, the answer is the same, and nothing has happened."""
    async with serving(vonage_settings()) as house:
        fields = {"uuid": CALL}
        answers = [
            await post(house, path, fields, secret="another"),
            await house.http.post(house.url + path, json=fields),
            await house.http.post(house.url + path, json=fields, headers=proof()),
        ]
        assert [answer.status for answer in answers] == [403] * 3
        assert len({await answer.text() for answer in answers}) == 1
        assert not house.registry.listing()
        assert house.refused == {"signature": 3}


async def test_webhook_that_names_no_call() -> None:
    """A signed webhook that is not about a call gets a sentence."""
    async with serving(vonage_settings()) as house:
        answer = await post(house, "/vonage/answer", {"msisdn": "447700900000"})
        assert answer.status == 400
        assert "uuid" in await answer.text()


async def test_a_repeated_question_gets_the_same_answer() -> None:
    """Vonage asks once more when our answer was slow: word for word the same document, and no second call."""
    async with serving(vonage_settings()) as house:
        first = await ask(house, jti="j1")
        assert await ask(house, jti="j1") == first
        assert len(house.registry.listing()) == 1
        socket = await open_media(house, first)
        await until(lambda: house.runners and house.call_runner().info)
        await socket.close()


async def test_a_token_is_spent_once() -> None:
    """A captured token proves neither another call nor another webhook."""
    async with serving(vonage_settings()) as house:
        await ask(house, jti="j1")
        answers = [
            await post(house, "/vonage/answer", {"uuid": "another"}, jti="j1"),
            await post(house, "/vonage/event", {"uuid": CALL, "status": "completed"}, jti="j1"),
        ]
        by_get = f"{house.url}/vonage/answer?uuid=c2"
        seen = proof(jti="j2")
        assert (await house.http.get(by_get, headers=seen)).status == 200
        answers.append(await house.http.get(by_get.replace("c2", "c3"), headers=seen))
        assert [answer.status for answer in answers] == [403] * 3
        assert house.refused == {"proof_spent": 3}
        assert [call.booking.carrier_call_id for call in house.registry.listing()] == [CALL, "c2"]


async def test_another_question_about_a_live_call_leads_to_it() -> None:
    """A new token about the same call gets a new way to the same call, not a second one."""
    async with serving(vonage_settings()) as house:
        first, second = await ask(house), await ask(house)
        assert endpoint_of(first)["uri"] != endpoint_of(second)["uri"]
        assert len(house.registry.listing()) == 1


async def test_media_carries_the_verified_numbers() -> None:
    """The call learns who calls from the webhook that was proven, and sound passes both ways."""
    async with serving(vonage_settings()) as house:
        socket = await open_media(house, await ask(house, region_url="https://api-eu-3.vonage.com"))
        await socket.send_bytes(FRAME)
        assert await socket.receive_bytes() == FRAME
        info = house.call_runner().info
        assert info is not None
        assert (info.caller, info.callee, info.carrier_call_id) == ("+447700900000", "+33123456789", CALL)
        assert info.parameters == {"conversation_uuid": "CON-1", "region_url": "https://api-eu-3.vonage.com"}
        assert info.audio.rate_hz == 16000
        await socket.close()


async def test_sound_may_come_before_the_first_message() -> None:
    """A frame that comes first is heard once the call has begun."""
    async with serving(vonage_settings()) as house:
        endpoint = endpoint_of(await ask(house))
        socket = await house.http.ws_connect(endpoint["uri"], headers=proof())
        await socket.send_bytes(FRAME)
        await socket.send_str('{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}')
        assert await socket.receive_bytes() == FRAME
        (heard,) = [event for event in house.call_runner().heard if isinstance(event, CallerAudio)]
        assert heard.audio == FRAME
        await socket.close()


async def test_media_socket_needs_both_proofs() -> None:
    """Without Vonage's token on the upgrade, or with a wrong one of ours in the path, no socket is opened."""
    async with serving(vonage_settings()) as house:
        uri = endpoint_of(await ask(house))["uri"]
        bare = uri.rpartition("/")[0]
        for url, headers in (
            (uri, {}),
            (uri, proof(secret="another")),
            (bare, {}),
            (bare + "/x", proof()),
        ):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await house.http.ws_connect(url, headers=headers)
            assert caught.value.status == 403
        assert house.refused == {"signature": 3, "token_unknown": 1}


async def test_caller_comes_back_to_the_same_call() -> None:
    """When the socket broke, Vonage's question what follows is answered with a way back to the same call."""
    async with serving(vonage_settings()) as house:
        runner = await call_up(house)
        answer = await tell(house, "disconnected")
        assert answer.status == 200
        socket = await open_media(house, json.loads(await answer.text()))
        await until(lambda: runner.legs)
        assert house.runners == [runner]
        await socket.close()


async def test_a_caller_who_hangs_up_is_over_with_the_socket() -> None:
    """A socket that is closed in due form is the hang-up, event webhook or none: nobody waits for its return."""
    async with serving(vonage_settings()) as house:
        socket = await open_media(house, await ask(house))
        await until(lambda: house.runners and house.call_runner().info)
        await socket.close()
        await until(lambda: not house.registry.listing())
        assert type(house.call_runner().heard[-1]) is CallerLeft
        assert (await tell(house, "disconnected")).status == 204


async def test_socket_that_never_came_is_invited_again() -> None:
    """A connection that failed is tried again, known by the address where the event has no headers."""
    async with serving(vonage_settings()) as house:
        first = endpoint_of(await ask(house))["uri"]
        answer = await tell(house, "unanswered", f"?call_uuid={CALL}", headers=None)
        assert endpoint_of(json.loads(await answer.text()))["uri"] != first
        assert len(house.registry.listing()) == 1


async def test_ended_call_gets_no_document() -> None:
    """After the end of a call nothing follows its socket, and Vonage completes the call (3.5); so with unknown ones."""
    async with serving(vonage_settings()) as house:
        runner = await call_up(house)
        runner.offer(CallerLeft("said goodbye"))
        await until(lambda: not house.registry.listing())
        for answer in (await tell(house, "disconnected"), await tell(house, "disconnected", headers={})):
            assert (answer.status, await answer.read()) == (204, b"")


async def test_telephone_is_hung_up() -> None:
    """The last event of the telephone's leg ends the call; other events change nothing."""
    async with serving(vonage_settings()) as house:
        runner = await call_up(house)
        phone: dict[str, Any] = {"to": "33123456789", "uuid": CALL, "headers": None}
        for status in ("started", "ringing", "answered", "human"):
            assert (await tell(house, status, **phone)).status == 204
        assert (await tell(house, "completed")).status == 204  # the socket's leg
        assert (
            await post(house, "/vonage/event", {"reason": "x", "conversation_uuid": "CON-1"})
        ).status == 204
        assert not runner.offered
        assert (await tell(house, "completed", **phone)).status == 204
        assert [type(event) for event in runner.offered] == [CallerLeft]
        await until(lambda: not house.registry.listing())


async def test_endless_returns_are_stopped() -> None:
    """A call whose socket breaks again and again is ended with an apology after a few returns."""
    async with serving(vonage_settings()) as house:
        runner = await call_up(house)
        for _ in range(RETURNS):
            assert (await tell(house, "disconnected")).status == 200
        assert json.loads(await (await tell(house, "disconnected")).text()) == [
            {"action": "talk", "text": APOLOGY}
        ]
        assert [type(event) for event in runner.offered] == [CallerLeft]


async def test_all_lines_busy() -> None:
    """A caller without a place is told so, and Vonage hangs up behind the sentence."""
    async with serving(vonage_settings(limits=LimitSettings(calls=1))) as house:
        await ask(house)
        (talk,) = await ask(house, uuid="c2")
        assert talk["action"] == "talk"
        assert talk["text"].startswith("All our lines are busy.")
