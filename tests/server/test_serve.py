import asyncio
import re
import signal
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from serve_process import ended, first_line, started, urls
from serving import LIMIT_S

from gateway.audio import AudioFormat
from gateway.runtime.clips import load_clip

PCM_ONLY = """
agents: {silent: {kind: offline}}
routes:
  - {name: french, match: {callee: ["+33*"]}, agent: silent}
  - {name: rest, agent: silent}
adapters: {pcm: {}}
"""


async def test_line_table_and_drain(tmp_path: Path) -> None:
    """It prints one line with the real ports, then where each route leads; SIGTERM ends it with 0."""
    (tmp_path / "gateway.yaml").write_text(PCM_ONLY)
    async with started(tmp_path, "--port", "0", "--admin-port", "0") as process:
        url, admin_url = urls(await first_line(process))
        async with aiohttp.ClientSession() as http:
            assert (await http.get(f"{admin_url}/readyz")).status == 200
            assert (await http.get(f"{url}/v1/calls")).status == 200
            assert (await http.get(f"{url}/healthz")).status == 404
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        code, out, _ = await ended(process)
        assert code == 0
        assert re.search(r"french .*callee \+33\*.* silent", out)
        assert re.search(r"rest .*any call.* silent", out)


async def test_live_call_keeps_it_until_the_second_signal(tmp_path: Path) -> None:
    """After SIGTERM a live call goes on, and new ones are refused; a second signal ends the waiting."""
    (tmp_path / "gateway.yaml").write_text(PCM_ONLY)
    async with (
        started(tmp_path, "--port", "0", "--admin-port", "0") as process,
        aiohttp.ClientSession() as http,
    ):
        url, admin_url = urls(await first_line(process))
        call = await http.ws_connect(f"{url}/v1/ws/pcm")
        await call.send_bytes(b"\x00" * 640)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            while (await http.get(f"{admin_url}/readyz")).status != 503:
                pass
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(f"{url}/v1/ws/pcm")
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(LIMIT_S):
            while not (await call.receive()).type.name.startswith("CLOS"):
                pass
        code, _, err = await ended(process)
        assert (code, "Traceback" in err) == (0, False)


async def test_interrupt_lets_the_apology_be_heard(tmp_path: Path) -> None:
    """SIGINT ends live calls at once, but not in the middle of what they are told; a client is told of the end."""
    (tmp_path / "gateway.yaml").write_text(PCM_ONLY)
    async with (
        started(tmp_path, "--port", "0", "--admin-port", "0") as process,
        aiohttp.ClientSession() as http,
    ):
        url, _ = urls(await first_line(process))
        call = await http.ws_connect(f"{url}/v1/ws/pcm?events=1")
        await call.send_bytes(b"\x00" * 640)
        ready = (await call.receive(timeout=LIMIT_S)).json()
        assert (ready["type"], ready["timestamp"]) == ("session.ready", pytest.approx(time.time(), abs=30))
        process.send_signal(signal.SIGINT)
        heard_s, last = 0.0, ""
        async for message in call:
            if message.type is aiohttp.WSMsgType.TEXT:
                last = message.json()["type"]
                heard_s = 0.0 if last == "talkpath.clear" else heard_s
            else:
                heard_s += len(message.data) / 32_000
        apology = load_clip("", "apology", AudioFormat("pcm16", 16_000))
        assert heard_s == pytest.approx(len(apology) / 32_000, abs=0.1)
        assert (last, call.close_code) == ("session.ended", 1000)
        code, _, err = await ended(process)
        assert (code, "stopping; 1 live call is ended after an apology" in err) == (0, True)


async def test_broken_configuration(tmp_path: Path) -> None:
    """All problems of a configuration are printed with their places, the exit code is 2 and nothing listens."""
    broken = "routes: [{name: a, agent: nobody}]\nserver: {prot: 1}\nlimits: {calls: many}\n"
    (tmp_path / "broken.yaml").write_text(broken)
    async with started(tmp_path, "--config", "broken.yaml") as process:
        code, out, err = await ended(process)
        assert (code, out) == (2, "")
        for word in ("routes", "server", "limits.calls"):
            assert word in err
        assert "Traceback" not in err


async def test_broken_script(tmp_path: Path) -> None:
    """A script of an offline agent that is not there is a problem of the configuration too."""
    (tmp_path / "gateway.yaml").write_text(
        PCM_ONLY.replace("kind: offline", "kind: offline, script: none.yaml")
    )
    async with started(tmp_path, "--port", "0", "--admin-port", "0") as process:
        code, out, err = await ended(process)
        assert (code, out, "none.yaml" in err, "Traceback" in err) == (2, "", True, False)


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
async def test_busy_port(tmp_path: Path, option: str) -> None:
    """A port that is in use is one sentence and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = "--admin-port" if option == "--port" else "--port"
        async with started(tmp_path, option, str(taken.getsockname()[1]), other, "0") as process:
            code, out, err = await ended(process)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "is in use" in err


async def test_foreign_address(tmp_path: Path) -> None:
    """An address of another machine is one sentence and exit code 1."""
    async with started(tmp_path, "--host", "192.0.2.1", "--port", "0", "--admin-port", "0") as process:
        code, _, err = await ended(process)
    assert (code, err.count("\n"), "no address of this machine" in err) == (1, 1, True)


async def test_missing_hearing_is_told() -> None:
    """Where hearing is not installed the command that adds it is named, and only where an agent needs it."""
    from gateway.agents.offline_plan import OfflineAgentSettings
    from gateway.runtime import hearing
    from gateway.server.opening import missing_hearing
    from gateway.settings import AgentSettings, Settings

    offline = Settings(agents={"a": OfflineAgentSettings(kind="offline")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hearing, "available", lambda: False)
        assert "pip install 'talkpath[offline]'" in missing_hearing(offline)
        assert not missing_hearing(Settings(agents={"a": AgentSettings(kind="voice_agent")}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hearing, "available", lambda: True)
        assert not missing_hearing(offline)
