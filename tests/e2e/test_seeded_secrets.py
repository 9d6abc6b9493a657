"""A run of everything with seeded secrets, numbers and words; whatever comes out of it is searched for them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import seeds
from command_line import environment
from scripted_agent import Session, scripted_agent
from together import until

LIMIT_S = 60.0


async def talks(session: Session) -> None:
    """An agent that hears and says seeded words, and calls the tools that leak."""
    await session.send("transcript.user", item_id="u1", text=seeds.SAID)
    await session.begin("r1", [seeds.ANSWERED], 400)
    for _ in range(20):
        await session.sound("r1", bytes([0x80, 0x00] * 150))
    await session.end("r1", seeds.ANSWERED)
    for name in ("leak", "tell"):
        await session.send("tool.call", call_id=f"t-{name}", name=name, arguments={"note": seeds.WRITTEN})
    TOLD.append(session)
    await session.over.wait()


async def refuses(session: Session) -> None:
    """An agent that quotes the key which it refuses."""
    message = f"the key {seeds.NEXT_API_KEY} of {seeds.CALLERS['pcm']} has no rights"
    await session.send("session.error", code="unauthorized", message=message)


TOLD: list[Session] = []


class Run:
    """Commands in a folder, and everything that they print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out: dict[str, str] = {}
        """What is searched for everything."""
        self.asked: dict[str, str] = {}
        """What prints numbers and words because it was asked to, and is searched for secrets."""
        self.titles: dict[str, str] = {}
        self._processors = asyncio.Semaphore(2)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *arguments, cwd=self.folder,
            env=environment(self.folder, seeds.ENVIRONMENT),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def finish(self, name: str, process: asyncio.subprocess.Process, *, asked: bool = False) -> int:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
        (self.asked if asked else self.out)[f"{name}, out"] = out.decode()
        self.out[f"{name}, err"] = err.decode()
        assert process.returncode is not None
        return process.returncode

    async def command(self, name: str, *arguments: str, asked: bool = False) -> int:
        async with self._processors:
            return await self.finish(name, await self.start(*arguments), asked=asked)

    @asynccontextmanager
    async def gateway(self, name: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
        """A gateway that is stopped at the end if it was not killed."""
        process = await self.start("serve", "--config", "gateway.yaml", "--port", "0", "--admin-port", "0")
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            first = (await process.stdout.readline()).decode()
        self.out[f"{name}, first line"] = first
        self.title(name, process)
        try:
            yield first.split()[3].rstrip(","), process
        finally:
            if process.returncode is None:
                process.terminate()
            await self.finish(name, process)

    def title(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Keep what others see of a process."""
        for what in ("cmdline", "comm"):
            path = Path(f"/proc/{process.pid}/{what}")
            if path.exists():
                self.titles[f"{name}, {what}"] = path.read_text(errors="replace")


async def call(run: Run, url: str, dialect: str, *options: str, callee: str = seeds.CALLEE) -> None:
    """A simulated call; what it prints is what somebody asked for."""
    known = ("--key", seeds.GATEWAY_KEY) if dialect in ("pcm", "browser") else ("--config", "gateway.yaml")
    numbers = ("--caller", seeds.CALLERS[dialect], "--callee", callee)
    process = await run.start("call", url, "--as", dialect, *known, *numbers, "--max-seconds", "4", *options)
    name = f"call as {dialect} to {callee[-4:]}"
    if known[0] == "--key":
        await until(lambda: _is_hidden(process.pid), LIMIT_S)
    run.title(name, process)
    await run.finish(name, process, asked=True)


def _is_hidden(pid: int) -> bool:
    """Whether the process has come so far that it has taken the key out of its title, or is over."""
    path = Path(f"/proc/{pid}/cmdline")
    text = path.read_bytes() if path.exists() else b""
    return b"gateway" not in text or seeds.GATEWAY_KEY.encode() not in text


async def requests(run: Run, url: str) -> None:
    """Requests that are refused, with secrets in every place of theirs; answers, close frames and errors are kept."""
    number = seeds.CALLERS["twilio"]
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"/v1/calls?token={seeds.GATEWAY_KEY}", {"headers": {"Authorization": f"Bearer {seeds.STRAY}"}}),
        ("GET", f"/v1/token?expires_in_seconds={seeds.NEXT_API_KEY}", {"headers": {"Authorization": seeds.GATEWAY_KEY}}),
        ("GET", f"/v1/token?expires_in_seconds={seeds.API_KEY}", {"headers": {"Authorization": seeds.TWILIO_TOKEN}}),
        ("GET", f"/v1/calls/{seeds.TWILIO_TOKEN}", {"headers": {"Authorization": seeds.GATEWAY_KEY}}),
        ("GET", f"/{seeds.API_KEY}", {}),
        ("POST", "/twilio/voice", {"data": {"From": number, "AccountSid": seeds.TWILIO_TOKEN},
                                   "headers": {"X-Twilio-Signature": seeds.TWILIO_TOKEN}}),
        ("POST", "/vonage/event", {"data": seeds.VONAGE_SECRET, "headers": {"Authorization": f"Bearer {seeds.VONAGE_SECRET}"}}),
        ("GET", f"/v1/ws/pcm?encoding={seeds.API_KEY}", {}),
    ]  # fmt: skip
    async with aiohttp.ClientSession() as http:
        for place, (method, path, options) in enumerate(tries):
            async with http.request(method, url + path, **options) as answer:
                assert answer.status >= 400, path
                run.out[f"answer {place}"] = f"{answer.headers} {await answer.text()}"
        await sockets(run, http, url.replace("http", "ws", 1))


async def sockets(run: Run, http: aiohttp.ClientSession, url: str) -> None:
    """Sockets that say wrong things until they are closed."""
    headers = {"Authorization": seeds.GATEWAY_KEY}
    wrong = json.dumps({"type": seeds.API_KEY, "audio": seeds.WRITTEN})
    for name, query in (("pcm", "?encoding=pcm_s16le&sample_rate=8000&events=1"), ("browser", "")):
        async with http.ws_connect(f"{url}/v1/ws/{name}{query}", headers=headers) as socket:
            for text in [wrong] * 5 + [f"{seeds.TWILIO_TOKEN} {seeds.CALLERS['browser']}"] * 15:
                await socket.send_str(text)
            said = []
            async with asyncio.timeout(LIMIT_S):
                while (message := await socket.receive()).type in (
                    aiohttp.WSMsgType.TEXT,
                    aiohttp.WSMsgType.BINARY,
                ):
                    said.append(str(message.data))
            said.append(str(message.extra))  # the reason in the close frame
            run.asked[f"socket {name}"] = f"{socket.close_code} {socket._response.headers} {said}"
    try:
        await http.ws_connect(f"{url}/v1/ws/pcm?encoding={seeds.API_KEY}", headers=headers)
    except aiohttp.WSServerHandshakeError as refused:
        run.out["refused socket"] = f"{refused.message} {refused.headers}"


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """A folder with the configuration, the key and the plugin; two agents listen."""
    tmp_path.chmod(0o700)  # noqa: ASYNC240 - before anything runs
    TOLD.clear()
    (tmp_path / "vonage.pem").write_text(seeds.PEM)
    (tmp_path / "plugins.d").mkdir()
    (tmp_path / "plugins.d" / "leaky.py").write_text(seeds.PLUGIN)
    async with scripted_agent(talks) as good, scripted_agent(refuses) as bad:
        (tmp_path / "gateway.yaml").write_text(seeds.configuration(good, bad))
        (tmp_path / "broken.yaml").write_text(seeds.broken())
        yield Run(tmp_path)


def kept(folder: Path) -> dict[str, str]:
    """What the gateway has written to files."""
    paths = [*(folder / "records.db").iterdir(), *folder.glob("audit.jsonl*")]
    return {path.name: path.read_bytes().decode(errors="replace") for path in paths}


@pytest.mark.timeout(300)
async def test_nothing_seeded_is_in_any_output(run: Run) -> None:
    """Every command, calls on all four adapters, refusals, faults, tools and agents that quote secrets, and a kill."""
    async with run.gateway("gateway") as (url, _process):
        async with asyncio.TaskGroup() as group:
            for dialect in seeds.CALLERS:
                said = (
                    ("--dtmf", seeds.KEYS)
                    if dialect in ("twilio", "vonage")
                    else ("--audio", "goforward.wav")
                )
                group.create_task(call(run, url, dialect, *said))
        async with asyncio.TaskGroup() as group:
            for dialect, callee in (
                ("twilio", seeds.CRASHES),
                ("pcm", seeds.CRASHES),
                ("pcm", f"{seeds.CRASHES}1"),
            ):
                group.create_task(call(run, url, dialect, callee=callee))
        await requests(run, url)
        await run.command("token", "token", url, "--config", "gateway.yaml", asked=True)
        await run.command("refused token", "token", url, "--key", seeds.STRAY)
    async with run.gateway("killed") as (url, process), asyncio.TaskGroup() as group:
        seen = len(TOLD)
        group.create_task(call(run, url, "pcm", "--audio", "goforward.wav"))
        await until(lambda: len(TOLD) > seen, LIMIT_S)
        process.kill()
        await process.wait()
    await commands(run)

    everything = run.out | run.titles | kept(run.folder)
    _assert_it_happened(run, everything)
    found = leaks_of(run, everything)
    assert not found, "\n".join(found)
    told = json.dumps([session.received for session in TOLD])
    assert "tool.result" in told
    assert not seeds.leaks({"the agent was told": told}, (seeds.API_KEY, seeds.VONAGE_SECRET))


async def commands(run: Run) -> None:
    """Every command that reads the configuration or what was written, with a good and with a broken one."""
    asked = ("--adapter", "twilio", "--caller", seeds.CALLERS["twilio"], "--callee", seeds.CALLEE)
    good, broken = ("--config", "gateway.yaml"), ("--config", "broken.yaml")
    wanted: dict[str, tuple[tuple[str, ...], int | None]] = {
        "check": (("check", *good), 0),
        "check --json": (("check", *good, "--json"), 0),
        "route-test": (("route-test", *asked, *good), 0),
        "route-test --json": (("route-test", *asked, *good, "--json"), 0),
        "replay": (("replay", "records.db"), None),
        "audit verify": (("audit", "verify", *good), None),
        "broken check": (("check", *broken), 2),
        "broken --json": (("check", *broken, "--json"), 2),
        "broken serve": (("serve", *broken), 2),
        "broken replay": (("replay", "records.db", *broken), 2),
        "broken token": (("token", "http://127.0.0.1:1", *broken), 2),
    }
    async with asyncio.TaskGroup() as group:
        running = {
            name: group.create_task(run.command(name, *arguments)) for name, (arguments, _) in wanted.items()
        }
    codes = {name: task.result() for name, task in running.items() if wanted[name][1] is not None}
    assert codes == {name: code for name, (_, code) in wanted.items() if code is not None}


def leaks_of(run: Run, everything: dict[str, str]) -> list[str]:
    titles = {name for name in run.titles if "call as" in name}  # numbers were typed as options there
    numbered = {name: text for name, text in everything.items() if name not in titles}
    return [
        *seeds.leaks(everything | run.asked, seeds.SECRETS),
        *seeds.leaks(numbered, (*seeds.NUMBERS, *seeds.WORDS)),
    ]


def _assert_it_happened(run: Run, everything: dict[str, str]) -> None:
    """A search finds nothing where nothing was said: the calls, faults and refusals must be there."""
    log = run.out["gateway, err"]
    for line in (
        "call.started", "was ended by a fault in the gateway", "observer gossip failed", "third.party",
        "tool leak failed", "agent.refused", "why=signature", "why=key_unknown", "+1415•••8642",
        "from=127.0.0.1",
    ):  # fmt: skip
        assert line in log, line
    assert sum(name.endswith(".jsonl") for name in everything) >= 8
    assert everything["audit.jsonl"].count('"kind":"refused"') >= 5
    assert "call.started" in everything["audit.jsonl"]
    assert run.out["broken check, err"].count("\n") > 25
