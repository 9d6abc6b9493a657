"""One-time tokens that hand-written documents bring in the first message instead of the address."""

import asyncio
import importlib.util
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from xml.etree.ElementTree import fromstring

import aiohttp
import pytest
from msgspec import Struct
from serving import LIMIT_S, TOKEN, House, until
from unified import (
    ADAPTERS,
    QUICK,
    all_adapters,
    closing,
    jwt,
    opened,
    signed,
    started,
    twilio_media,
    twilio_token,
    twilio_words,
    unified,
    unified_house,
    vonage_token,
    vonage_words,
)
from vonage_tokens import SECRET

from gateway.adapters.twilio_http import TwilioSettings
from gateway.contracts import MediaPass
from gateway.events import CallerAudio
from gateway.server.door import NOT_LET_IN
from gateway.settings import LimitSettings, Secret

NO_PROOF = (1008, NOT_LET_IN.strip())


class Carrier(Struct, frozen=True):
    """How a carrier calls in, proves its upgrade, and begins."""

    name: str
    invite: Callable[[House], Awaitable[str]]
    proof: Callable[[str], dict[str, str]]
    words: Callable[[str | None], list[str]]
    sound: str | bytes


TWILIO = Carrier("twilio", twilio_token, signed, twilio_words, twilio_media(b"\x11" * 160))
VONAGE = Carrier("vonage", vonage_token, lambda _url: jwt(), vonage_words, b"\x01\x02" * 320)
CARRIERS = pytest.mark.parametrize("carrier", [TWILIO, VONAGE], ids=lambda carrier: carrier.name)
PATHS = pytest.mark.parametrize("path", ["/v1/ws", "/v1/ws/{}"], ids=["unified", "named"])


def heard_sound(house: House) -> bool:
    """Whether the newest call has heard its caller."""
    return any(isinstance(event, CallerAudio) for event in house.call_runner().heard)


@CARRIERS
@PATHS
async def test_hand_written_document(carrier: Carrier, path: str) -> None:
    """A document that points at the address without a token, and has it as a field, leads into the booked call."""
    async with unified_house() as house:
        url = unified(house, path.format(carrier.name))
        words = carrier.words(await carrier.invite(house))
        (booked,) = house.registry.listing()
        async with opened(house, url, *words, carrier.sound, **carrier.proof(url)):
            await until(lambda: house.runners and heard_sound(house))
            (begun,) = started(house)
            assert begun.info.call_id == booked.call_id
            assert begun.info.caller == booked.booking.caller != ""
            assert begun.info.carrier_call_id == booked.booking.carrier_call_id != ""
            assert "token" not in begun.info.parameters


@CARRIERS
@PATHS
@pytest.mark.parametrize(
    ("given", "why"), [(None, "token_missing"), ("", "token_missing"), ("wrong", "token_unknown")], ids=str
)
async def test_wrong_or_missing_token(carrier: Carrier, path: str, given: str | None, why: str) -> None:
    """Both are refused like every other wrong proof: no sound is read, no runner woken, the booked call waits on."""
    async with unified_house() as house:
        await carrier.invite(house)
        url = unified(house, path.format(carrier.name))
        words = [*carrier.words(given), carrier.sound, carrier.sound]
        async with opened(house, url, *words, **carrier.proof(url)) as socket:
            assert await closing(socket) == NO_PROOF
        assert house.refused == {why: 1}
        assert not house.runners
        (booked,) = house.registry.listing()
        assert booked.phase == "invited"


@CARRIERS
async def test_a_token_is_spent_once(carrier: Carrier) -> None:
    """A token that is shown again opens nothing, and the call that it opened goes on."""
    async with unified_house() as house:
        url = unified(house)
        words = carrier.words(await carrier.invite(house))
        async with opened(house, url, *words, carrier.sound, **carrier.proof(url)) as first:
            await first.receive(timeout=LIMIT_S)
            async with opened(house, url, *words, **carrier.proof(url)) as second:
                assert await closing(second) == NO_PROOF
            assert not first.closed
        assert len(house.runners) == 1
        assert house.refused == {"token_unknown": 1}


@CARRIERS
async def test_one_token_for_many_at_once(carrier: Carrier) -> None:
    """Of many sockets that show the same token at the same instant exactly one is let in."""
    async with unified_house() as house:
        url = unified(house)
        words = carrier.words(await carrier.invite(house))
        sockets = [
            await house.http.ws_connect(url, headers=carrier.proof(url), autoclose=False) for _ in range(20)
        ]
        await asyncio.gather(*(socket.send_str(word) for socket in sockets for word in words))
        await until(lambda: house.refused["token_unknown"] == 19)
        await until(lambda: len(started(house)) == 1)
        assert len(house.runners[0].legs) == 1
        await asyncio.gather(*(socket.close() for socket in sockets))


@CARRIERS
async def test_a_token_is_bound_to_its_adapter(carrier: Carrier) -> None:
    """A token that another carrier's webhook minted, or one for clients, is refused though it is unspent."""
    foreign = (
        MediaPass("call_x", "telegraph", "default"),
        MediaPass("", "", "", key="backend"),
    )
    async with unified_house() as house:
        url = unified(house)
        for media_pass in foreign:
            words = carrier.words(await house.store.mint(media_pass, 60))
            async with opened(house, url, *words, **carrier.proof(url)) as socket:
                assert await closing(socket) == NO_PROOF
        assert house.refused == {"token_misplaced": 2}
        assert not house.runners


@CARRIERS
async def test_an_old_token(carrier: Carrier) -> None:
    """A token that nobody came with in time is worthless here too."""
    async with unified_house() as house:
        words = carrier.words(await carrier.invite(house))
        house.clock.now_s += 61
        url = unified(house)
        async with opened(house, url, *words, **carrier.proof(url)) as socket:
            assert await closing(socket) == NO_PROOF


@CARRIERS
async def test_a_call_that_is_over(carrier: Carrier) -> None:
    """A good token of a call that ended meanwhile is told so."""
    async with unified_house() as house:
        words = carrier.words(await carrier.invite(house))
        (booked,) = house.registry.listing()
        booked.leave("it hung up")
        await until(lambda: not house.registry.listing())
        url = unified(house)
        async with opened(house, url, *words, **carrier.proof(url)) as socket:
            assert await closing(socket) == (1008, "This call is over.")


async def test_a_start_of_another_call_is_refused() -> None:
    """A token does not help a stream that names another call than the webhook's."""
    async with unified_house() as house:
        url = unified(house)
        words = twilio_words(await twilio_token(house), call_sid="CA2")
        async with opened(house, url, *words, **signed(url)) as socket:
            code, reason = await closing(socket)
            assert (code, "callSid" in reason) == (1008, True)
        assert not started(house)


async def test_sound_before_the_token_is_not_waited_behind() -> None:
    """A stream whose first two messages are sound has no token, whatever comes later."""
    async with unified_house() as house:
        url = unified(house)
        frame = b"\x00" * 640
        words = vonage_words(await vonage_token(house))
        async with opened(house, url, frame, frame, *words, **jwt()) as socket:
            assert await closing(socket) == NO_PROOF
        assert not house.runners


@pytest.mark.parametrize("said", [0, 1])
async def test_silence_before_the_token(said: int) -> None:
    """Who has signed and says nothing, or only hello, is closed after the patience that all sockets have."""
    async with unified_house(all_adapters(server=QUICK)) as house:
        url = unified(house, "/v1/ws/twilio")
        async with opened(house, url, *twilio_words("x")[:said], **signed(url)) as socket:
            assert await closing(socket) == (1008, "nothing of a call came within 0.3 s")


async def test_conversation_relay_is_named() -> None:
    """A signed ConversationRelay, whose words hold no token, is told what it is instead of that proof is missing."""
    async with unified_house() as house:
        url = unified(house)
        relay = json.dumps({"type": "setup", "sessionId": "VX1", "callSid": "CA1"})
        async with opened(house, url, relay, **signed(url)) as socket:
            code, reason = await closing(socket)
            assert (code, "ConversationRelay" in reason) == (1008, True)


TOKENLESS = {**ADAPTERS, "twilio": TwilioSettings(auth_token=(Secret("12345"),), require_token=False)}


@PATHS
async def test_without_required_tokens(path: str) -> None:
    """With `require_token: false` a stream without one is let in by its signature, and with one into its own call."""
    async with unified_house(all_adapters(adapters=TOKENLESS)) as house:
        url = unified(house, path.format("twilio"))
        stream = "MZ" + 32 * "a"
        words = twilio_words(None, "CA1", stream)
        async with opened(house, url, *words, twilio_media(b"\x11" * 160, stream), **signed(url)) as socket:
            await socket.receive(timeout=LIMIT_S)
            (begun,) = started(house)
            assert begun.info.caller == ""
        words = twilio_words(await twilio_token(house, "CA2"), "CA2", "MZ2")
        async with opened(house, url, *words, **signed(url)):
            await until(lambda: len(started(house)) == 2)
            assert started(house)[1].info.caller == "+14155555309"


async def test_a_wrong_token_is_wrong_where_none_is_required() -> None:
    """Whoever shows a token shows a good one."""
    async with unified_house(all_adapters(adapters=TOKENLESS)) as house:
        url = unified(house)
        async with opened(house, url, *twilio_words("wrong"), **signed(url)) as socket:
            assert await closing(socket) == NO_PROOF
        assert not house.runners


async def test_the_path_decides_where_both_have_a_token() -> None:
    """A token in the address is the one that is spent; what the words say beside it is not looked at."""
    async with unified_house() as house:
        url = unified(house, f"/v1/ws/twilio/{await twilio_token(house)}")
        async with opened(house, url, *twilio_words("other"), TWILIO.sound, **signed(url)) as socket:
            message = await socket.receive(timeout=LIMIT_S)
            assert message.type is aiohttp.WSMsgType.TEXT
        assert heard_sound(house)


def example() -> ModuleType:
    """The example that answers webhooks with documents of its own."""
    path = Path(__file__).parents[2] / "examples" / "own_documents.py"
    spec = importlib.util.spec_from_file_location("own_documents", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_own_twiml_of_the_example() -> None:
    """The example's TwiML speaks first, then leads to the unified address with the token as a parameter."""
    form = {"CallSid": "CA7", "From": "+14155555309", "To": "+33123456789"}
    async with unified_house() as house:
        written = await asyncio.to_thread(example().twiml, house.url, form, TOKEN)
        document = fromstring(written)  # noqa: S314 - our own
        (say, connect), stream = document, document[1][0]
        assert (say.tag, connect.attrib["action"]) == ("Say", f"{house.url}/twilio/after")
        url, given = stream.attrib["url"], stream[0].attrib
        assert (url, given["name"]) == (unified(house), "token")
        async with opened(house, url, *twilio_words(given["value"], "CA7"), **signed(url)):
            await until(lambda: house.runners and started(house))
            assert started(house)[0].info.caller == "+14155555309"


async def test_own_ncco_of_the_example() -> None:
    """The example's NCCO speaks first, then leads to the unified address with the token as a header field."""
    call = {"uuid": "call-7", "from": "447700900000", "to": "33123456789", "conversation_uuid": "CON-1"}
    async with unified_house() as house:
        talk, connect = json.loads(await asyncio.to_thread(example().ncco, house.url, call, SECRET))
        (endpoint,) = connect["endpoint"]
        assert (talk["action"], endpoint["uri"]) == ("talk", unified(house))
        first = {
            "event": "websocket:connected",
            "content-type": endpoint["content-type"],
            **endpoint["headers"],
        }
        async with opened(house, endpoint["uri"], json.dumps(first), **jwt()):
            await until(lambda: house.runners and started(house))
            assert started(house)[0].info.caller == "+447700900000"


async def test_the_example_hands_on_what_a_full_gateway_says() -> None:
    """Where the gateway has no room, its own words are the answer."""
    form = {"CallSid": "CA7", "From": "+14155555309", "To": "+33123456789"}
    call = {"uuid": "call-7", "from": "447700900000", "to": "33123456789"}
    async with unified_house(all_adapters(limits=LimitSettings(calls=1))) as house:
        await twilio_token(house)
        assert "busy" in await asyncio.to_thread(example().twiml, house.url, form, TOKEN)
        assert "busy" in await asyncio.to_thread(example().ncco, house.url, call, SECRET)
