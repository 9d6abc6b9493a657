"""Call documents and the REST API of the simulated Twilio against a stand-in: real sockets, a fast clock."""

from typing import Any

import aiohttp
from aiohttp import web
from twilio_stand_in import TOKEN, StandIn, never, serving

from gateway.simulate import CallResult, Clock, TwilioCaller, TwilioRest, call_twilio

FAST = 10.0


async def dial(stand_in: StandIn) -> CallResult:
    return await call_twilio(stand_in.url, token=TOKEN, clock=Clock(FAST))


async def test_verbs_around_the_stream_are_carried_out() -> None:
    """Texts, pauses, redirects and transfers of the document are followed and recorded."""
    async with serving(StandIn()) as gateway:
        gateway.voice_document = (
            '<Response><Say>one moment</Say><Pause length="1"/><Redirect>/twilio/after</Redirect></Response>'
        )
        gateway.after_documents = ["<Response><Dial><Number>+15550009999</Number></Dial></Response>"]
        result = await dial(gateway)
    assert result.carrier_said == ["one moment"]
    assert result.dialled == ["+15550009999"]
    assert result.end_reason == "transferred"
    assert result.duration_s >= 1.5


async def test_a_refused_webhook_is_a_failed_call_with_the_reason() -> None:
    """What the gateway said when it refused is in the result."""
    async with serving(StandIn()) as gateway:
        result = await call_twilio(gateway.url + "/refused", token="wrong", clock=Clock(FAST))
    assert result.end_reason == "refused"
    assert result.refused_status == 403
    assert result.failure is not None
    assert "signature does not match" in result.failure


async def test_a_refused_stream_is_warned_about_and_what_follows_is_asked() -> None:
    """An upgrade that is not answered 101 is Twilio's warning 31920; then the action decides."""
    async with serving(StandIn()) as gateway:
        gateway.voice_document = gateway.connect_document.replace("/media/tok", "/refused")
        result = await dial(gateway)
    assert result.warnings[0].code == 31920
    assert result.refused_status == 403
    assert result.end_reason == "agent_hung_up"
    assert not result.agent_was_heard


async def test_documents_without_an_end_end() -> None:
    """A gateway that redirects forever fails the call."""
    async with serving(StandIn()) as gateway:
        gateway.voice_document = "<Response><Redirect>/twilio/voice</Redirect></Response>"
        result = await dial(gateway)
    assert result.end_reason == "failed"


async def test_nobody_listening_is_a_failed_call() -> None:
    """An address where nothing listens fails in a sentence."""
    result = await call_twilio("http://127.0.0.1:9", token="x")
    assert result.end_reason == "failed"
    assert result.failure is not None
    assert "127.0.0.1:9" in result.failure


async def update(
    rest: TwilioRest, caller: TwilioCaller, fields: dict[str, str], password: str = "pw"
) -> tuple[int, Any]:
    ids = caller.identity
    url = f"{rest.url}/2010-04-01/Accounts/{ids.account_sid}/Calls/{ids.call_sid}.json"
    login = {"Authorization": aiohttp.encode_basic_auth(ids.account_sid, password)}
    async with aiohttp.ClientSession() as session, session.post(url, data=fields, headers=login) as answer:
        return answer.status, await answer.json()


async def test_the_rest_api_ends_a_call_once() -> None:
    """Completing a live call stops its stream and ends it; of a finished one nothing is known any more."""
    async with TwilioRest(auth_token="pw") as rest:

        async def hang_up(gateway: StandIn, socket: web.WebSocketResponse) -> None:
            assert (await update(rest, caller, {"Status": "completed"}, "wrong"))[0] == 401
            assert (await update(rest, caller, {"Status": "canceled"}))[1]["code"] == 21220
            status, body = await update(rest, caller, {"Status": "completed"})
            assert (status, body["status"]) == (200, "completed")
            await gateway.take(socket, never)

        async with serving(StandIn(hang_up)) as gateway:
            caller = TwilioCaller(gateway.url, token=TOKEN, rest=rest, clock=Clock(FAST))
            result = await caller.run()
            status, body = await update(rest, caller, {"Status": "completed"})
    assert result.end_reason == "carrier_hung_up"
    assert gateway.received[-1]["event"] == "stop"
    assert (status, body["code"]) == (404, 20404)
    assert [request.status for request in rest.requests] == [401, 400, 200, 404]


async def test_the_rest_api_redirects_a_call() -> None:
    """New TwiML tears the stream down with a stop and is carried out instead of what follows."""
    async with TwilioRest(auth_token="pw") as rest:

        async def transfer(gateway: StandIn, socket: web.WebSocketResponse) -> None:
            document = "<Response><Dial>+15550007777</Dial></Response>"
            assert (await update(rest, caller, {"Twiml": document}))[0] == 200
            await gateway.take(socket, never)

        async with serving(StandIn(transfer)) as gateway:
            caller = TwilioCaller(gateway.url, token=TOKEN, rest=rest, clock=Clock(FAST))
            result = await caller.run()
    assert result.dialled == ["+15550007777"]
    assert gateway.received[-1]["event"] == "stop"
    assert gateway.asked("/twilio/after") == []
