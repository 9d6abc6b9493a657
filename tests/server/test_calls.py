import asyncio
import logging
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from serving import (
    LIMIT_S,
    EchoRunner,
    closing,
    refused,
    serving,
    settings_of,
    sign,
    start_stream,
    talk,
    until,
)

from gateway.adapters.pcm import PcmSettings
from gateway.contracts import Route
from gateway.events import CallerAudio, EndingAsked
from gateway.runtime.legs import WireLeg
from gateway.server.answer import APOLOGY
from gateway.settings import AccessSettings, KeySettings, LimitSettings, RouteSettings, Secret, ServerSettings

SHORT = ServerSettings(port=0, admin_port=0, first_message_s=0.05, close_s=1)


class BrokenRunner(EchoRunner):
    """Has a bug in its conversation: fails at the first audio."""

    def __init__(self, call_id: str, route: Route) -> None:
        super().__init__(call_id, route)
        self._failure = asyncio.Event()

    async def run(self) -> None:
        await self._failure.wait()
        raise ZeroDivisionError("a bug in the conversation")

    async def serve(self, leg: WireLeg) -> None:
        async for event in leg:
            if isinstance(event, CallerAudio):
                self._failure.set()


class BrokenLegRunner(EchoRunner):
    """Has a bug where the leg is served."""

    async def serve(self, leg: WireLeg) -> None:
        self.legs.append(leg)
        raise ZeroDivisionError("a bug beside the conversation")


class StillbornRunner(EchoRunner):
    """Cannot even be made."""

    def __init__(self, call_id: str, route: Route) -> None:
        super().__init__(call_id, route)
        raise ZeroDivisionError("a bug before the conversation")


async def test_audio_both_ways_and_end() -> None:
    """A client with the adapter named holds a call, and its place is free again when it has left."""
    async with serving() as house:
        socket = await talk(house)
        assert await socket.receive_bytes(timeout=LIMIT_S) == b"\x01\x02" * 160
        await socket.send_str('{"type": "session.end"}')
        assert (await closing(socket))[0] == 1000
        await until(lambda: not house.registry.listing())


@pytest.mark.parametrize("query", ["?encoding=pcm_s16le", "?sample_rate=8000"])
async def test_recognised_by_query(query: str) -> None:
    """A query that names an encoding or a rate makes the unified address speak raw PCM."""
    async with serving() as house:
        socket = await house.http.ws_connect(f"{house.url}/v1/ws{query}")
        await until(house.registry.listing)
        assert house.registry.listing()[0].booking.adapter == "pcm"
        await socket.close()


@pytest.mark.parametrize("headers", [{"User-Agent": "Twilio.TmeWs/1.0"}, {"X-Twilio-Signature": "abc"}])
async def test_recognised_by_header(headers: dict[str, str]) -> None:
    """Twilio's headers lead to its adapter, which grants no trust: without proof it is refused there."""
    async with serving() as house:
        assert (await refused(house, "/v1/ws", **headers))[0] == 403
        assert house.refused == {"signature": 1}


async def test_unknown_adapter() -> None:
    """Who names an adapter that does not exist is told which addresses there are."""
    async with serving() as house:
        status, sentence = await refused(house, "/v1/ws/telegraph")
        assert (status, "/v1/ws/pcm, /v1/ws/twilio" in sentence) == (404, True)


async def test_only_configured_adapters_are_served() -> None:
    """An adapter that the configuration does not name has no address, whatever is installed."""
    async with serving(settings_of(adapters={"pcm": PcmSettings()})) as house:
        assert (await refused(house, "/v1/ws/twilio"))[0] == 404
        answer = await house.webhook("/twilio/voice")
        assert answer.status == 404
        assert "`adapters`" in await answer.text()


async def test_no_websocket() -> None:
    """A plain request to a media address is told what to do, and so are wrong addresses and methods."""
    async with serving() as house:
        answer = await house.http.get(f"{house.url}/v1/ws/pcm")
        assert answer.status == 426
        assert "WebSocket" in await answer.text()
        answer = await house.http.get(f"{house.url}/nowhere")
        assert (answer.status, "/v1/ws/{adapter}" in await answer.text()) == (404, True)
        answer = await house.http.get(f"{house.admin_url}/nowhere")
        sentence = "There is nothing at this address; the admin port has /healthz and /readyz.\n"
        assert (answer.status, await answer.text()) == (404, sentence)
        answer = await house.http.get(f"{house.url}/twilio/voice")
        assert (answer.status, await answer.text()) == (405, "Use POST at this address.\n")


@pytest.mark.parametrize(
    ("query", "word"),
    [("?encoding=mp3", "encoding"), ("?sample_rate=12345", "sample_rate"), ("?events=x", "events")],
)
async def test_bad_query(query: str, word: str, caplog: pytest.LogCaptureFixture) -> None:
    """A format that the dialect does not have is refused before the upgrade, in the codec's words, as the log tells."""
    caplog.set_level(logging.INFO)
    async with serving() as house:
        status, sentence = await refused(house, f"/v1/ws/pcm{query}")
        assert status == 400
        assert word in sentence
        assert not house.registry.listing()
        (line,) = [record.getMessage() for record in caplog.records if record.name == "talkpath.access"]
        assert 'status=400 why=format detail="' in line
        assert word in line


async def test_routing_by_the_query_of_a_client() -> None:
    """A client with a key may say which number it stands for; it routes its call."""
    async with serving() as house:
        socket = await talk(house, "?callee=%2B33123&caller=%2B4930")
        await until(lambda: house.runners and house.call_runner().info)
        booking = house.registry.listing()[0].booking
        assert (booking.caller, booking.callee) == ("+4930", "+33123")
        await socket.close()


async def test_no_compression_on_media() -> None:
    """Media sockets are never compressed, although the client offers it."""
    async with serving() as house:
        socket = await house.http.ws_connect(f"{house.url}/v1/ws/pcm", compress=15)
        assert socket.compress == 0
        await socket.close()


async def test_only_offered_subprotocols() -> None:
    """A known subprotocol is taken up when the client offers it, and none is made up otherwise."""
    async with serving() as house:
        offered = await house.http.ws_connect(f"{house.url}/v1/ws/pcm", protocols=("audio.twilio.com",))
        plain = await house.http.ws_connect(f"{house.url}/v1/ws/pcm")
        assert (offered.protocol, plain.protocol) == ("audio.twilio.com", None)
        await offered.close()
        await plain.close()


async def test_oversized_message() -> None:
    """A message above the limit closes its socket with the code for that; another call does not notice."""
    server = ServerSettings(port=0, admin_port=0, message_bytes=65_536, close_s=1)
    async with serving(settings_of(server=server)) as house:
        other = await talk(house)
        await other.receive_bytes(timeout=LIMIT_S)
        socket = await talk(house)
        await socket.send_bytes(b"\x00" * 65_537)
        assert (await closing(socket))[0] == 1009
        await other.send_bytes(b"\x03\x04")
        assert await other.receive_bytes(timeout=LIMIT_S) == b"\x03\x04"
        await other.close()


async def test_silent_client() -> None:
    """A client that opens a socket and never says anything is told why it is closed, and its place is free."""
    async with serving(settings_of(server=SHORT)) as house:
        socket = await house.http.ws_connect(f"{house.url}/v1/ws/pcm")
        assert await closing(socket) == (1008, "nothing of a call came within 0.05 s")


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (lambda socket: socket.close(code=4001), 4001),
        (lambda socket: asyncio.gather(*(socket.send_str("nonsense") for _ in range(10))), 1008),
        (lambda socket: socket.send_bytes(bytes(2 << 20)), 1009),
        (lambda socket: socket.send_str('{"type": "session.end"}'), 1000),
    ],
)
async def test_the_log_tells_the_close_that_the_client_saw(
    ends: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[object]],
    code: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever closed first, the line of a socket has the code that went over the wire."""
    caplog.set_level(logging.INFO)
    async with serving() as house:
        socket = await talk(house)
        await socket.receive_bytes(timeout=LIMIT_S)
        await ends(socket)
        while not socket.closed:
            await socket.receive(timeout=LIMIT_S)
        assert code in {4001, socket.close_code}  # of its own close this client remembers our answer
        await until(lambda: f" close={code} " in caplog.text)


async def test_silent_carrier_socket() -> None:
    """A carrier's socket that says nothing wakes no runner; the carrier may ask again and come back."""
    async with serving(settings_of(server=SHORT)) as house:
        socket = await house.media(await house.invited())
        await socket.send_str(start_stream()[0])
        assert (await closing(socket))[0] == 1008
        assert not house.runners
        assert "<Connect" in await (await house.webhook("/twilio/after")).text()


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (start_stream("CA2")[1], "callSid"),
        (start_stream()[1].replace("8000", "16000"), "8000 Hz"),
        (start_stream()[0].replace('"Call"', '"Fax"'), "protocol"),
        ('{"type": "setup"}', "ConversationRelay"),
    ],
)
async def test_a_stream_that_can_never_be_a_call_is_closed_at_once(message: str, word: str) -> None:
    """Nothing that follows on such a connection could be used, so it is closed with the sentence that says why."""
    async with serving() as house:
        socket = await house.media(await house.invited())
        await socket.send_str(message)
        code, reason = await closing(socket)
        assert (code, word in reason) == (1008, True)


async def test_idle_sockets_do_not_disturb() -> None:
    """Two hundred sockets that say nothing do not keep a call from talking, and go away by themselves."""
    server = ServerSettings(port=0, admin_port=0, first_message_s=1, close_s=1)
    async with serving(settings_of(server=server)) as house:
        url = f"{house.url}/v1/ws/pcm"
        idle = await asyncio.gather(*(house.http.ws_connect(url) for _ in range(200)))
        socket = await talk(house)
        for n in range(20):
            await socket.send_bytes(bytes([n, 0]) * 160)
        for _ in range(1 + 20):
            await socket.receive_bytes(timeout=LIMIT_S)
        codes = await asyncio.gather(*(closing(one) for one in idle))
        assert {code for code, _ in codes} == {1008}
        await until(lambda: len(house.registry.listing()) == 1)
        await socket.send_bytes(b"\x05\x06")
        assert await socket.receive_bytes(timeout=LIMIT_S) == b"\x05\x06"
        await socket.close()


@pytest.mark.parametrize("kind", [BrokenRunner, BrokenLegRunner, StillbornRunner])
async def test_bug_ends_one_call(kind: type[EchoRunner], caplog: pytest.LogCaptureFixture) -> None:
    """A bug ends its call, is logged once with call id and traceback, and leaves the other calls alone."""

    def made(call_id: str, route: Route) -> EchoRunner:
        return kind(call_id, route) if broken else EchoRunner(call_id, route)

    broken = False
    async with serving(make_runner=made) as house:
        healthy = await talk(house)
        await healthy.receive_bytes(timeout=LIMIT_S)
        broken = True
        with caplog.at_level(logging.ERROR):
            socket = await talk(house)
            assert (await closing(socket))[0] == 1011
            await until(lambda: len(house.registry.listing()) == 1)
        faults = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(faults) == 1
        assert "call_" in faults[0].getMessage()
        assert faults[0].exc_info
        await healthy.send_bytes(b"\x05\x06")
        assert await healthy.receive_bytes(timeout=LIMIT_S) == b"\x05\x06"
        await healthy.close()


async def test_bug_is_apologised_for_on_the_phone(caplog: pytest.LogCaptureFixture) -> None:
    """A phone caller whose call broke by a bug hears an apology from the carrier, once, and is hung up."""
    async with serving(make_runner=BrokenLegRunner) as house:
        socket = await house.media(await house.invited())
        for message in start_stream():
            await socket.send_str(message)
        await socket.send_str(
            '{"event":"media","streamSid":"MZ1","media":{"track":"inbound","chunk":"1","timestamp":"5","payload":"//8="}}'
        )
        assert (await closing(socket))[0] == 1011
        await until(lambda: not house.registry.listing())
        assert f"<Say>{APOLOGY}</Say><Hangup />" in await (await house.webhook("/twilio/after")).text()
        assert "<Say>" not in await (await house.webhook("/twilio/after")).text()
        assert "ZeroDivisionError" in caplog.text


async def test_no_more_places() -> None:
    """A client beyond the limit is refused before the upgrade and told when to try again; readiness says full."""
    async with serving(settings_of(limits=LimitSettings(calls=1))) as house:
        socket = await talk(house)
        await socket.receive_bytes(timeout=LIMIT_S)
        status, sentence = await refused(house, "/v1/ws/pcm")
        assert (status, sentence) == (503, "All our lines are busy. Please call again later.\n")
        ready = await house.http.get(f"{house.admin_url}/readyz")
        assert (ready.status, await ready.text()) == (503, "full: limits.calls is reached\n")
        assert (await house.http.get(f"{house.admin_url}/healthz")).status == 200
        await socket.close()
        await until(lambda: not house.registry.full)
        assert (await house.http.get(f"{house.admin_url}/readyz")).status == 200


async def test_limit_and_routes_of_a_key() -> None:
    """A key has its own limit of calls, uses only its routes, and sees only their calls."""
    keys = (
        KeySettings(name="one", key=(Secret("k1"),), may=("connect", "calls"), routes=("second",), calls=1),
        KeySettings(name="two", key=(Secret("k2"),), may=("connect", "calls"), routes=("first",)),
        KeySettings(name="three", key=(Secret("k3"),), routes=("third",)),
    )
    routes = (RouteSettings(name="first", agent="house"), RouteSettings(name="second", agent="house"))
    async with serving(settings_of(access=AccessSettings(keys=keys), routes=routes)) as house:
        socket = await house.http.ws_connect(f"{house.url}/v1/ws/pcm", headers={"Authorization": "k1"})
        await until(house.registry.listing)
        call = house.registry.listing()[0]
        assert call.booking.route.settings.name == "second"
        status, sentence = await refused(house, "/v1/ws/pcm", Authorization="k1")
        assert (status, "may have 1 call at once" in sentence) == (503, True)
        status, sentence = await refused(house, "/v1/ws/pcm", Authorization="k3")
        told = "This key is limited to the route third, which does not take this call.\n"
        assert (status, sentence) == (404, told)
        for key, seen in (("k1", 1), ("k2", 0)):
            answer = await house.http.get(f"{house.url}/v1/calls", headers={"Authorization": key})
            assert len((await answer.json())["calls"]) == seen
            one = await house.http.get(f"{house.url}/v1/calls/{call.call_id}", headers={"Authorization": key})
            assert one.status == (200 if seen else 404)
        await socket.close()


async def test_api_shows_and_ends_calls() -> None:
    """Live calls are listed with what operators need, and hung up once the last words were heard."""
    async with serving() as house:
        url = await house.invited()
        calls = (await (await house.http.get(f"{house.url}/v1/calls")).json())["calls"]
        assert calls[0]["phase"] == "invited"
        assert calls[0]["caller"] == "+14155555309"
        socket = await house.media(url)
        for message in start_stream():
            await socket.send_str(message)
        await until(lambda: house.runners and house.call_runner().info)
        one = f"{house.url}/v1/calls/{calls[0]['call_id']}"
        shown = await (await house.http.get(one)).json()
        assert (shown["phase"], shown["agent"], shown["route"]) == ("talking", "house", "default")
        assert (await house.http.delete(one)).status == 202
        assert house.call_runner().offered == [EndingAsked("hang_up", reason="asked by this machine")]
        await until(lambda: not house.registry.listing())
        gone = await house.http.delete(one)
        assert (gone.status, (await gone.json())["code"]) == (404, "not_found")
        await socket.close()


async def test_second_socket_after_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A token of a call that ended meanwhile is answered with a sentence instead of an upgrade, as the log tells."""
    caplog.set_level(logging.INFO)
    async with serving() as house:
        url = await house.invited()
        house.registry.listing()[0].hang_up("an operator")
        await until(lambda: not house.registry.listing())
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await house.http.ws_connect(url, headers={"X-Twilio-Signature": sign(url, {})})
        assert caught.value.status == 410
        assert 'status=410 why=call_over detail="This call is over."' in caplog.text
