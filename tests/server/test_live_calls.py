import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from serving import LIMIT_S, media_url, sign, start_stream, until

from gateway.adapters.pcm import PcmCodec, PcmSettings
from gateway.contracts import Adapter
from gateway.events import Event
from gateway.hookspecs import hookimpl
from gateway.runtime.config import load_generation
from gateway.server.listening import Bound, serving

CONFIGURATION = """
server: {port: 0, admin_port: 0, close_s: 2}
agents: {house: {kind: offline}}
routes: [{name: default, agent: house}]
adapters: {pcm: {}, faulty: {}, twilio: {auth_token: "12345"}}
"""


class FaultySettings(PcmSettings, frozen=True, kw_only=True):
    pass


class FaultyCodec(PcmCodec):
    def decode(self, message: str | bytes) -> list[Event]:
        if message == "boom":
            raise ZeroDivisionError("a bug in a codec")
        return super().decode(message)


@hookimpl
def register_adapters() -> list[Adapter]:
    return [
        Adapter(
            name="faulty",
            codec=FaultyCodec,
            settings=FaultySettings,
            proof="key",
            clears=True,
            closing_leaves=True,
        )
    ]


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[tuple[Bound, aiohttp.ClientSession]]:
    """A whole gateway with the offline agent, and one adapter with a bug."""
    path = folder / "gateway.yaml"
    path.write_text(CONFIGURATION)
    plugin = SimpleNamespace(__name__="faulty", register_adapters=register_adapters)
    async with (
        serving(load_generation(path, extra=(plugin,))) as bound,
        aiohttp.ClientSession() as http,
    ):
        yield bound, http


async def hear_until_close(socket: aiohttp.ClientWebSocketResponse) -> tuple[int, int]:
    """Count audio bytes until the close; give them and the close code."""
    heard = 0
    async with asyncio.timeout(LIMIT_S * 2):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                heard += len(message.data)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return heard, int(message.data)


async def test_a_bug_stays_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A call that breaks by a bug is closed with the code for that and logged once; another call goes on."""
    async with gateway(tmp_path) as (bound, http):
        healthy = await http.ws_connect(f"{bound.url}/v1/ws/pcm")
        await healthy.send_bytes(b"\x00" * 640)
        broken = await http.ws_connect(f"{bound.url}/v1/ws/faulty")
        await broken.send_bytes(b"\x00" * 640)
        await until(lambda: len(bound.registry.listing()) == 2)
        await broken.send_str("boom")
        assert (await hear_until_close(broken))[1] == 1011
        await until(lambda: len(bound.registry.listing()) == 1)
        faults = [record for record in caplog.records if record.exc_info]
        assert len(faults) == 1
        assert "ZeroDivisionError" in caplog.text
        assert not healthy.closed
        await healthy.send_str('{"type": "session.end"}')
        assert (await hear_until_close(healthy))[1] == 1000
        await until(lambda: not bound.registry.listing())


async def test_a_bug_is_apologised_for(tmp_path: Path) -> None:
    """A caller whose call breaks by a bug hears the apology before the close."""
    async with gateway(tmp_path) as (bound, http):
        broken = await http.ws_connect(f"{bound.url}/v1/ws/faulty")
        await broken.send_bytes(b"\x00" * 640)
        await until(bound.registry.listing)
        await broken.send_str("boom")
        heard, code = await hear_until_close(broken)
        assert (code, heard > 16_000 * 2) == (1011, True)  # more than a second


async def test_phone_call_survives_its_socket(tmp_path: Path) -> None:
    """A phone call whose media socket dies is invited again, goes on as the same call, and ends when told so."""
    async with gateway(tmp_path) as (bound, http):
        form = {"CallSid": "CA1", "From": "+14155555309", "To": "+33123456789"}

        async def ask(path: str, **more: str) -> str:
            fields = {**form, **more}
            headers = {"X-Twilio-Signature": sign(bound.url + path, fields)}
            return await (await http.post(bound.url + path, data=fields, headers=headers)).text()

        async def enter(document: str, stream: str) -> aiohttp.ClientWebSocketResponse:
            url = media_url(document)
            socket = await http.ws_connect(url, headers={"X-Twilio-Signature": sign(url, {})})
            for message in start_stream(stream_sid=stream):
                await socket.send_str(message)
            return socket

        async def hear(socket: aiohttp.ClientWebSocketResponse, stream: str) -> Any:
            message: Any = await socket.receive_json(timeout=LIMIT_S)
            assert message["streamSid"] == stream
            return message

        first = await enter(await ask("/twilio/voice"), "MZ1")
        await hear(first, "MZ1")
        call = bound.registry.listing()[0]
        await first.close()
        await until(lambda: call.phase == "caller_lost")
        second = await enter(await ask("/twilio/after"), "MZ2")
        await hear(second, "MZ2")
        assert bound.registry.listing() == [call]
        assert call.phase == "talking"
        await ask("/twilio/status", CallStatus="completed")
        await hear_until_close(second)
        await until(lambda: not bound.registry.listing())
        assert "<Hangup" in await ask("/twilio/after")
