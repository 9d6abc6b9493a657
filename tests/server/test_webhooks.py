import asyncio
import logging

import msgspec
import pytest
from serving import EchoRunner, House, media_url, serving, settings_of, sign, start_stream, until

from gateway.events import CallerLeft
from gateway.redaction import mask_number
from gateway.server.answer import APOLOGY
from gateway.server.call import RETURNS
from gateway.server.door import NOT_LET_IN
from gateway.settings import AgentSettings, LimitSettings, MatchSettings, RouteSettings

HANGUP = '<?xml version="1.0" encoding="UTF-8"?><Response><Hangup /></Response>'
ROUTES = (
    RouteSettings(name="europe", agent="eu", match=MatchSettings(callee=("+33*",))),
    RouteSettings(name="rest", agent="us", match=MatchSettings(callee=("+1*",))),
)
AGENTS = {"eu": AgentSettings(kind="silent", fallback="us"), "us": AgentSettings(kind="silent")}


async def test_answer_document() -> None:
    """A call is led to the media socket on this address, and what follows and the news come back to us."""
    async with serving() as house:
        answer = await house.webhook("/twilio/voice")
        text = await answer.text()
        assert answer.content_type == "text/xml"
        assert media_url(text).startswith(house.url.replace("http", "ws", 1) + "/v1/ws/twilio/")
        assert f'action="{house.url}/twilio/after"' in text
        assert f'statusCallback="{house.url}/twilio/status"' in text


async def test_route_by_numbers_and_by_name() -> None:
    """The route is chosen by the numbers of the verified webhook, or named in the address."""
    async with serving(settings_of(routes=ROUTES, agents=AGENTS)) as house:
        await house.invited({"CallSid": "CA1", "To": "+33123456789"})
        await house.invited({"CallSid": "CA2", "To": "+14155550000"})
        await house.invited({"CallSid": "CA3", "To": "+33123456789"}, "/twilio/voice/rest")
        routes = [
            (call.booking.route.settings.name, call.booking.route.agents) for call in house.registry.listing()
        ]
        assert routes == [("europe", ("eu", "us")), ("rest", ("us",)), ("rest", ("us",))]


async def test_no_route() -> None:
    """A number that no route takes is told so and hung up; an unknown route in the address is named to the operator."""
    async with serving(settings_of(routes=ROUTES, agents=AGENTS)) as house:
        text = await (await house.webhook("/twilio/voice", {"To": "+49301234567"})).text()
        assert "<Say>This number is not in service.</Say><Hangup />" in text
        answer = await house.webhook("/twilio/voice/nowhere")
        assert answer.status == 404
        assert await answer.text() == "There is no route 'nowhere'; there are: europe, rest.\n"


async def test_webhook_that_names_no_call() -> None:
    """A signed webhook that is not about a call gets a sentence."""
    async with serving() as house:
        answer = await house.webhook("/twilio/voice", {"CallSid": ""})
        assert answer.status == 400
        assert "CallSid" in await answer.text()


async def test_media_carries_the_verified_numbers() -> None:
    """The call learns who calls from the webhook that was proven, not from the stream."""
    async with serving() as house:
        socket = await house.media(await house.invited())
        for message in start_stream():
            await socket.send_str(message)
        await until(lambda: house.runners and house.call_runner().info)
        info = house.call_runner().info
        assert info is not None
        assert (info.caller, info.callee, info.carrier_call_id) == ("+14155555309", "+33123456789", "CA1")
        assert info.call_id == house.registry.listing()[0].call_id
        await socket.close()


async def call_up(house: House) -> EchoRunner:
    """Have a call that lost its socket."""
    socket = await house.media(await house.invited())
    for message in start_stream():
        await socket.send_str(message)
    await until(lambda: house.runners and house.call_runner().info)
    await socket.close()
    await until(lambda: not house.call_runner().legs)
    return house.call_runner()


async def test_caller_comes_back_to_the_same_call() -> None:
    """When the media socket dies, the carrier's question what follows is answered with a way back to the same call."""
    async with serving() as house:
        runner = await call_up(house)
        again = media_url(await (await house.webhook("/twilio/after")).text())
        socket = await house.media(again)
        for message in start_stream(stream_sid="MZ2"):
            await socket.send_str(message)
        await until(lambda: runner.legs)
        assert house.runners == [runner]
        await socket.close()


async def test_voice_webhook_asked_twice() -> None:
    """A carrier that repeats its question about a live call gets a new way to the same call, not a second one."""
    async with serving() as house:
        first = await house.invited()
        second = await house.invited()
        assert first != second
        assert len(house.registry.listing()) == 1


async def test_ended_call_is_hung_up() -> None:
    """What follows the stream of a call that has ended, or that nobody knows, is hanging up."""
    async with serving() as house:
        runner = await call_up(house)
        runner.offer(CallerLeft("said goodbye"))
        await until(lambda: not house.registry.listing())
        assert await (await house.webhook("/twilio/after")).text() == HANGUP
        assert await (await house.webhook("/twilio/after", {"CallSid": "CA9"})).text() == HANGUP


async def test_phone_call_is_over() -> None:
    """When the carrier asks what follows and says that the phone call is over, the call learns that the caller left."""
    async with serving() as house:
        runner = await call_up(house)
        text = await (await house.webhook("/twilio/after", {"CallStatus": "completed"})).text()
        assert text == HANGUP
        assert [type(event) for event in runner.offered] == [CallerLeft]


async def test_status_says_that_the_call_is_over() -> None:
    """News that the phone call is over ends the call; other news change nothing."""
    async with serving() as house:
        runner = await call_up(house)
        assert (await house.webhook("/twilio/status", {"CallStatus": "in-progress"})).status == 204
        assert (await house.webhook("/twilio/status", {"StreamEvent": "stream-stopped"})).status == 204
        assert not runner.offered
        assert (await house.webhook("/twilio/status", {"CallStatus": "completed"})).status == 204
        assert [type(event) for event in runner.offered] == [CallerLeft]
        await until(lambda: not house.registry.listing())


async def test_caller_hangs_up_before_media() -> None:
    """A caller who hangs up before the media socket is there leaves no place taken."""
    async with serving() as house:
        await house.invited()
        await house.webhook("/twilio/status", {"CallStatus": "completed"})
        await until(lambda: not house.registry.listing())
        assert not house.runners


async def test_endless_returns_are_stopped() -> None:
    """A call whose media breaks again and again is ended with an apology after a few returns."""
    async with serving() as house:
        runner = await call_up(house)
        for _ in range(RETURNS):
            assert "<Connect" in await (await house.webhook("/twilio/after")).text()
        assert APOLOGY in await (await house.webhook("/twilio/after")).text()
        assert [type(event) for event in runner.offered] == [CallerLeft]


async def test_nobody_comes_with_the_token() -> None:
    """A call whose media socket never comes gives its place back when the token has expired."""
    settings = settings_of()
    access = msgspec.structs.replace(settings.access, token_s=0.05)
    async with serving(settings_of(access=access)) as house:
        await house.invited()
        await until(lambda: not house.registry.listing())
        assert await (await house.webhook("/twilio/after")).text() == HANGUP


async def test_a_token_that_was_used_is_waited_for_no_longer() -> None:
    """Once the media socket is there the token's time is over, however late the stream begins on it."""
    settings = settings_of()
    access = msgspec.structs.replace(settings.access, token_s=0.05)
    async with serving(settings_of(access=access)) as house:
        socket = await house.media(await house.invited())
        (call,) = house.registry.listing()
        connected, start = start_stream()
        await socket.send_str(connected)
        await until(lambda: call.age_s > 0.2)
        await socket.send_str(start)
        await until(lambda: house.runners and house.call_runner().info)
        assert not call.dropped
        await socket.close()


async def test_a_socket_that_breaks_before_the_call_began(caplog: pytest.LogCaptureFixture) -> None:
    """The carrier may come back for a while; when it does not, the log tells what happened."""
    caplog.set_level("INFO")
    limits = LimitSettings(return_s=0.3)
    settings = settings_of()
    access = msgspec.structs.replace(settings.access, token_s=0.05)
    async with serving(settings_of(access=access, limits=limits)) as house:
        socket = await house.media(await house.invited())
        (call,) = house.registry.listing()
        await until(lambda: call.age_s > 0.1)
        await socket.close()
        assert "<Connect" in await (await house.webhook("/twilio/after")).text()
        await until(lambda: not house.registry.listing())
        assert 'why="its media socket went before the call began"' in caplog.text
        assert await (await house.webhook("/twilio/after")).text() == HANGUP


async def test_all_lines_busy() -> None:
    """When all places are taken the next caller is told politely, also when many ask in the same instant."""
    async with serving(settings_of(limits=LimitSettings(calls=2))) as house:
        answers = await asyncio.gather(
            *(
                house.webhook("/twilio/voice", {"CallSid": f"CA{n}", "From": f"+1415555530{n}"})
                for n in range(6)
            )
        )
        texts = [await answer.text() for answer in answers]
        assert sum("<Connect" in text for text in texts) == 2
        assert sum("<Say>All our lines are busy." in text for text in texts) == 4
        assert len(house.registry.listing()) == 2


async def test_a_number_is_not_blamed_for_calls_of_others(caplog: pytest.LogCaptureFixture) -> None:
    """When no more numbers can be counted, a caller hears that all lines are busy, and the log has the reason."""
    caplog.set_level(logging.INFO)
    async with serving() as house:
        house.store._entries = 0
        text = await (await house.webhook("/twilio/voice")).text()
    assert "<Say>All our lines are busy." in text
    assert "no_room adapter=twilio why=store" in caplog.text


async def test_calls_per_caller() -> None:
    """One number may have a few calls at once and gets its place back; callers without a number are not one caller."""
    async with serving(settings_of(limits=LimitSettings(calls_per_caller=2))) as house:
        for sid in ("CA1", "CA2"):
            await house.invited({"CallSid": sid})
        third = await (await house.webhook("/twilio/voice", {"CallSid": "CA3"})).text()
        assert "<Say>There are too many calls from this number." in third
        await house.webhook("/twilio/status", {"CallSid": "CA1", "CallStatus": "completed"})
        await until(lambda: len(house.registry.listing()) == 1)
        await house.invited({"CallSid": "CA3"})
        for n in range(4):
            await house.invited({"CallSid": f"CA9{n}", "From": "anonymous"})


async def test_webhook_too_large() -> None:
    """A webhook larger than any carrier sends is refused unread, in a sentence."""
    async with serving() as house:
        answer = await house.http.post(f"{house.url}/twilio/voice", data=b"x" * 100_000)
        sentence = "The body is larger than 65536 bytes, which no webhook or request here needs.\n"
        assert (answer.status, await answer.text()) == (413, sentence)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+14155555309", "+1415•••5309"),
        ("+331", "•••"),
        ("client:alice1234567890", "c•••"),
        ("", ""),
    ],
)
def test_masked_numbers(number: str, shown: str) -> None:
    """A number in the log lacks its middle; what is not a number lacks nearly all."""
    assert mask_number(number) == shown


async def test_log_tells_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Each webhook and socket is one line with masked numbers, without token, query or forged lines."""
    with caplog.at_level(logging.INFO, "talkpath.access"):
        async with serving() as house:
            url = await house.invited({"From": "+14155555309"})
            socket = await house.media(url)
            await socket.close()
            await house.webhook("/twilio/status", {"CallSid": "CA2\nforged line", "CallStatus": "completed"})
            await until(lambda: any(" close=" in record.getMessage() for record in caplog.records))
    text = caplog.text
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("webhook ") for line in lines) == 2
    assert sum(line.startswith("socket ") for line in lines) == 1
    assert "+1415•••5309" in text
    assert "+14155555309" not in text
    assert url.rpartition("/")[2] not in text
    assert "\nforged" not in text


async def test_a_form_that_is_cut_otherwise_is_not_let_in() -> None:
    """A good signature over a form that could have been another one is answered as a wrong one, and books nothing."""
    async with serving() as house:
        body = {"CallSid": "CA1", "From": "+14155555309", "T": "o+33123456789"}
        fields = {"CallSid": "CA1", "From": "+14155555309", "To": "+33123456789"}
        headers = {"X-Twilio-Signature": sign(f"{house.url}/twilio/voice", fields)}
        answer = await house.http.post(f"{house.url}/twilio/voice", data=body, headers=headers)
        assert (answer.status, await answer.text()) == (403, NOT_LET_IN)
        assert house.refused == {"signature": 1}
        assert not house.registry.listing()
