"""Carriers are told what follows when the process stops in the middle of their calls."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest
from serve_process import ended, first_line, started, urls
from serving import LIMIT_S, House, closing, serving, start_stream, talk, until

from gateway.server import farewells
from gateway.simulate import CallScript, call_twilio

TOKEN = "signed-with-this-by-the-simulated-carrier"
TWILIO_ONLY = f"""
agents: {{silent: {{kind: offline}}}}
routes: [{{name: rest, agent: silent}}]
adapters: {{twilio: {{auth_token: {TOKEN}}}}}
"""
NEVER_S = 1000.0


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_caller_never_hears_the_carriers_own_error(tmp_path: Path, signals: int) -> None:
    """Whether the apology was heard or broken off, the carrier is told to hang up, and the exit code is 0."""
    (tmp_path / "gateway.yaml").write_text(TWILIO_ONLY)
    async with (
        started(tmp_path, "--port", "0", "--admin-port", "0") as process,
        aiohttp.ClientSession() as http,
        asyncio.TaskGroup() as group,
    ):
        url, _ = urls(await first_line(process))
        script = CallScript(hang_up=False, max_s=2 * LIMIT_S)
        calling = group.create_task(call_twilio(url, token=TOKEN, script=script))
        for phase in ("talking", "ending")[:signals]:
            async with asyncio.timeout(LIMIT_S):
                while f'"{phase}"' not in await (await http.get(f"{url}/v1/calls")).text():
                    pass
            process.send_signal(signal.SIGINT)
        result = await calling
        assert (result.end_reason, result.failure, result.warnings) == ("agent_hung_up", None, [])
        assert "<Hangup" in result.documents[-1]
        code, _, errors = await ended(process)
        assert (code, "Traceback" in errors) == (0, False)


async def streaming(house: House) -> aiohttp.ClientWebSocketResponse:
    """A call of a carrier, whose runner ends only when it is cut off."""
    socket = await house.media(await house.invited())
    for message in start_stream():
        await socket.send_str(message)
    await until(lambda: house.runners and house.call_runner().phase == "TALKING")
    house.call_runner().stubborn = True
    return socket


@pytest.mark.parametrize(
    ("path", "status"), [("/twilio/after", "in-progress"), ("/twilio/status", "completed")]
)
async def test_it_waits_for_the_carriers_question(
    path: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was cut off is over when its carrier has asked what follows, or says that there is nothing."""
    monkeypatch.setattr(farewells, "ASKS_WITHIN_S", NEVER_S)
    async with serving() as house, asyncio.TaskGroup() as group:
        socket = await streaming(house)
        seeing_off = group.create_task(house.registry.see_off())
        assert (await closing(socket))[0] == 1000
        await until(lambda: not house.registry.listing())
        assert not seeing_off.done()
        answer = await house.webhook(path, {"CallStatus": status})
        assert status == "completed" or "<Hangup" in await answer.text()
        await asyncio.wait_for(seeing_off, LIMIT_S)


async def test_a_carrier_that_never_asks_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was told by other ways asks nothing."""
    monkeypatch.setattr(farewells, "ASKS_WITHIN_S", 0.05)
    async with serving() as house, asyncio.timeout(LIMIT_S):
        socket = await streaming(house)
        async with asyncio.TaskGroup() as group:
            group.create_task(house.registry.see_off())
            await closing(socket)


async def test_another_signal_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes a step further."""
    monkeypatch.setattr(farewells, "ASKS_WITHIN_S", NEVER_S)
    async with serving() as house, asyncio.TaskGroup() as group:
        socket = await streaming(house)
        seeing_off = group.create_task(house.registry.see_off())
        await closing(socket)
        await until(lambda: not house.registry.listing())
        house.registry.hurry()
        await asyncio.wait_for(seeing_off, LIMIT_S)


async def test_clients_ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When only clients' calls were cut off there is nothing to wait for but their sockets."""
    monkeypatch.setattr(farewells, "ASKS_WITHIN_S", NEVER_S)
    async with serving() as house, asyncio.TaskGroup() as group:
        socket = await talk(house)
        await socket.receive_bytes(timeout=LIMIT_S)
        house.call_runner().stubborn = True
        seeing_off = group.create_task(house.registry.see_off())
        await closing(socket)
        await asyncio.wait_for(seeing_off, LIMIT_S)
