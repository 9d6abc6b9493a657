"""Residency as a recorder outside the process sees it: not one byte to a host that the book does not list."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_line import AgentProcess, GatewayProcess, agent_process, gateway_process, talkpath
from recorder import Recorder, Seen, recorder

from gateway.simulate import CallScript, Utterance, call_pcm

EU, US = "127.0.0.2", "127.0.0.3"
"""Each region has an address of its own on this machine."""
CONFIGURATION = """
server: {{close_s: 1, egress: {egress}}}
regions:
  eu:
    voice_agent: ws://agents.eu.test:{eu_port}/v1/ws
    carrier: ["carrier.eu.test:9"]
    addresses: {{agents.eu.test: [{eu}], carrier.eu.test: [{eu}]}}
  us:
    voice_agent: ws://agents.us.test:{us_port}/v1/ws
    carrier: ["carrier.eu.test:9"]
    addresses: {{agents.us.test: [{us}], carrier.eu.test: [{eu}]}}
agents:
  berlin: {{kind: voice_agent, region: eu, api_key: k, fallback: {fallback}, tries: 2}}
  boston: {{kind: voice_agent, region: us, api_key: k, fallback: sorry, tries: 2, session: {{greeting: Hello from far away.}}}}
  sorry: {{kind: offline, script: apology, tools: [hang_up]}}
routes:
  - {{name: europe, match: {{callee: ["+49*"]}}, agent: berlin, allow_regions: [{allowed}]}}
  - {{name: default, agent: boston}}
adapters: {{twilio: {{account_sid: AC00000000000000000000000000000000, auth_token: "12345678901234567890123456789012",
  rest: "http://carrier.eu.test:9"}}}}
records: {{path: records.db}}
"""


def unused_port(address: str) -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


class Scene:
    """A gateway under a recorder, a dead agent in one region and a living one in another."""

    def __init__(
        self, folder: Path, gateway: GatewayProcess, american: AgentProcess, watch: Recorder
    ) -> None:
        self.folder = folder
        self.gateway = gateway
        self.american = american
        self.watch = watch

    async def call(self) -> dict[str, Any]:
        """One phone call to a German number; what its caller heard."""
        done = await talkpath(
            *(
                "call",
                self.gateway.url,
                "--as",
                "twilio",
                "--callee",
                "+4930123456",
                "--caller",
                "+4915112345678",
            ),
            *("--config", str(self.folder / "gateway.yaml"), "--json"),
            folder=self.folder,
            runtime_folder=self.folder,
        )
        assert done.code == 0, done.out + done.err
        heard: dict[str, Any] = msgspec.json.decode(done.out)
        return heard

    async def stop(self) -> None:
        self.gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await self.gateway.process.wait()

    async def replay(self) -> None:
        """What was noted of the hosts leaves the conversation as it was."""
        done = await talkpath("replay", "records.db", folder=self.folder, runtime_folder=self.folder)
        assert done.code == 0, done.out + done.err

    async def record(self) -> list[dict[str, Any]]:
        """What the call's own record says of whom it contacted."""
        done = await talkpath("hosts", "records.db", "--json", folder=self.folder, runtime_folder=self.folder)
        assert done.code == 0, done.err
        contacts: list[dict[str, Any]] = msgspec.json.decode(done.out)["contacts"]
        return contacts


@asynccontextmanager
async def scene(folder: Path, watch: Recorder, **given: str) -> AsyncIterator[Scene]:
    folder.chmod(0o700)  # noqa: ASYNC240 - a test has nobody to hold up
    async with agent_process(folder, "--host", US, "--port", "0") as american:
        (folder / "gateway.yaml").write_text(
            CONFIGURATION.format(
                eu=EU, us=US, eu_port=unused_port(EU), us_port=american.port, **{"egress": "open", **given}
            )
        )
        options = ("--config", str(folder / "gateway.yaml"))
        async with gateway_process(folder, *options, under=watch.command) as gateway:
            yield Scene(folder, gateway, american, watch)


@pytest.mark.parametrize("egress", ["open", "strict"])
async def test_a_dead_agent_does_not_lead_abroad(
    tmp_path: Path, require: Callable[[str], str], egress: str
) -> None:
    """The caller hears the fallback, while nothing is sent but to the dead agent and the carrier of its region."""
    watch = await recorder(require, tmp_path)
    async with scene(tmp_path, watch, fallback="sorry", allowed="", egress=egress) as stage:
        heard = await stage.call()
        await stage.stop()
        seen, record = await watch.seen(), await stage.record()
        await stage.replay()
    assert heard["heard"], heard
    assert {place.address for place in seen} == {EU}
    assert {(one["host"], one["address"], one["region"], one["refused"]) for one in record} == {
        ("agents.eu.test", EU, "eu", False),
        ("carrier.eu.test", EU, "eu", False),
    }
    assert {Seen(one["address"], one["port"]) for one in record} == seen


async def test_a_route_that_allows_a_region_leads_there_and_says_so(
    tmp_path: Path, require: Callable[[str], str]
) -> None:
    """The recorder sees the other region's agent, and the record lists it with its region, after the dead one."""
    watch = await recorder(require, tmp_path)
    async with scene(tmp_path, watch, fallback="boston", allowed="us") as stage:
        heard = await stage.call()
        await stage.stop()
        seen, record = await watch.seen(), await stage.record()
    assert heard["heard"], heard
    assert Seen(US, stage.american.port) in seen
    assert {place.address for place in seen} == {EU, US}
    agents = list(dict.fromkeys((one["host"], one["region"]) for one in record if one["purpose"] == "agent"))
    assert agents == [("agents.eu.test", "eu"), ("agents.us.test", "us")]
    assert {Seen(one["address"], one["port"]) for one in record} == seen


TOOL = '''
"""Looks something up, at home and abroad."""
import http.client

from gateway import Tool, hookimpl


def ask(address: str) -> str:
    connection = http.client.HTTPConnection(address, PORT, timeout=3)
    try:
        connection.request("GET", "/")
        return str(connection.getresponse().status)
    except OSError as error:
        return type(error).__name__


async def look_up() -> dict[str, str]:
    """Look something up."""
    return {"home": ask("127.0.0.2"), "abroad": ask("127.0.0.3")}


@hookimpl
def register_tools() -> list[Tool]:
    return [Tool.of(look_up)]
'''
WITH_TOOL = """
server: {{close_s: 1, egress: strict}}
regions: {{eu: {{tools: ["127.0.0.2:{port}"]}}}}
agents: {{one: {{kind: offline, script: one.yaml, tools: [look_up]}}}}
routes: [{{name: default, agent: one}}]
adapters: {{pcm: {{}}}}
records: {{path: records.db}}
"""
SCRIPT = """
greeting: Hello.
after_greeting: {tool: look_up, say: "I looked."}
otherwise: [Sorry.]
"""


async def test_a_tool_with_a_socket_of_its_own_does_not_get_out_of_a_strict_gateway(
    tmp_path: Path, require: Callable[[str], str]
) -> None:
    """It reaches the host that the book lists for tools; of the other one the recorder sees nothing."""
    watch = await recorder(require, tmp_path)
    reached: list[str] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("sockname")[0])
        await reader.read(1000)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    home = await asyncio.start_server(meet, EU, 0)
    port = home.sockets[0].getsockname()[1]
    abroad = await asyncio.start_server(meet, US, port)
    tmp_path.chmod(0o700)  # noqa: ASYNC240 - a test has nobody to hold up
    (tmp_path / "plugins.d").mkdir()
    (tmp_path / "plugins.d" / "lookup.py").write_text(TOOL.replace("PORT", str(port)))
    (tmp_path / "one.yaml").write_text(SCRIPT)
    (tmp_path / "gateway.yaml").write_text(WITH_TOOL.format(port=port))
    options = ("--config", str(tmp_path / "gateway.yaml"))
    async with home, abroad, gateway_process(tmp_path, *options, under=watch.command) as gateway:
        script = CallScript(utterances=(Utterance(label="nothing", at_s=60.0),), hang_up=False, max_s=6.0)
        await call_pcm(gateway.url, rate_hz=8000, script=script)
        gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await gateway.process.wait()
    done = await talkpath("hosts", "records.db", "--json", folder=tmp_path, runtime_folder=tmp_path)
    contacts = msgspec.json.decode(done.out)["contacts"]
    assert reached == [EU]
    assert await watch.seen() == {Seen(EU, port)}
    assert [(one["address"], one["purpose"], one["region"], one["refused"]) for one in contacts] == [
        (EU, "tools", "eu", False),
        (US, "tools", "", True),
    ]
