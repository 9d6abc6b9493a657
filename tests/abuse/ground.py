"""Where abuse happens: one gateway process, a witness beside it, and means to see what was left behind.

Everything is looked at from outside: `GET /v1/calls`, the kernel's table of sockets and the process's descriptors,
its log, and a plugin that counts its tasks when it is asked by a signal.
"""

import asyncio
import os
import re
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from command_line import environment
from dialects import DIALECTS
from figures import percentile
from handmade import listening
from hosts import AgentDeed, AgentHost, good, handy
from msgspec import Struct
from witness_process import SAMPLE, THROUGH_ECHO, THROUGH_GATEWAY

from gateway.audio import to_pcm16, write_wav

WITNESS = str(Path(__file__).with_name("witness_process.py"))
LISTENS_WITHIN_S = 30.0
BOUND_MS = 5.0
"""How late a frame of a parallel call may be, 99 times of 100."""
WORK = struct.Struct("<dd")
BUSY_MS = 2.0
"""Lateness of the comparator from which on it is added to the bound: the machine is busy with other things."""
_LISTENS = re.compile(r"Talkpath listens on (http://\S+?)(?:,|\s)")
_FAULT = re.compile(r"Traceback|ended by a fault|never retrieved|was never awaited|Error in")
CALM = {"good", "handy", "witness", "story"}
"""Agents with which the usual patience is had; with the others less, so that its end is seen soon."""
APOLOGY = bytes(range(0x01, 0x51)) * 20
"""The house sound before an ending that the gateway decides, as mu-law: 200 ms."""
COUNTING = '''
"""Counts the process's tasks when it is asked by a signal, and brings a tool."""
import asyncio, os, signal, struct, time
from gateway import Tool, hookimpl

EVERY_S = 0.005
state = {"due": 0.0, "worked": 0.0, "file": None, "drives": 0}

def probe(loop):
    """Writes how long the loop worked, in processor time, while this call was overdue."""
    now, worked = time.monotonic(), time.process_time()
    late_ms = min(now - state["due"], worked - state["worked"]) * 1000
    state["file"].write(struct.pack("<dd", now, max(0.0, late_ms)))
    state.update(due=now + EVERY_S, worked=worked)
    loop.call_later(EVERY_S, probe, loop)

def count(*_):
    loop = asyncio.get_running_loop()
    path = os.environ["ABUSE_COUNT"]
    if state["file"] is None:
        state.update(file=open(path + ".work", "ab", buffering=320), due=time.monotonic(), worked=time.process_time())
        loop.call_soon_threadsafe(probe, loop)
    with open(path + ".new", "w") as file:
        file.write("\\n".join(sorted(str(task.get_coro()) for task in asyncio.all_tasks(loop))))
    os.replace(path + ".new", path)

signal.signal(signal.SIGUSR1, count)

async def drive(meters: int) -> dict[str, int]:
    """Drive."""
    state["drives"] += 1
    return {"meters": meters, "drives": state["drives"]}

@hookimpl
def register_tools() -> list[Tool]:
    return [Tool.of(drive)]
'''


class Pacing(Struct, frozen=True):
    """How late frames were in a stretch of time, 99 times of 100."""

    gateway_ms: float
    """Of calls beside the abuse, at their receiving ends."""
    echo_ms: float
    """Of the same frames through a plain echo."""
    median_ms: float
    """Of calls beside the abuse, the half of them."""
    work_ms: float
    """For how long the gateway's loop was at work, in processor time, when something else came."""
    frames: int
    """That the figures are made of."""

    @property
    def bound_ms(self) -> float:
        """What is allowed on this machine at that time."""
        return BOUND_MS if self.echo_ms <= BUSY_MS else BOUND_MS + self.echo_ms

    @property
    def is_kept(self) -> bool:
        """Whether the gateway kept the calls beside the abuse in pace.

        What they get late is judged by what the machine does to an echo. A machine so busy that it takes a process of
        some work off its processor, and spares the echo, is told by the gateway's own work: where that was never long
        and half of the frames came at once, it was not the gateway that was late.
        """
        own = self.work_ms <= BOUND_MS and self.median_ms <= BUSY_MS + self.echo_ms
        return self.frames > 0 and (self.gateway_ms <= self.bound_ms or own)


class Ground:
    """A gateway under abuse, and its witness."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, url: str, key: str = "") -> None:
        self.url = url
        self.folder = folder
        self.process = process
        self.hosts: dict[str, AgentHost] = {}
        """Agents, by the number that leads to them."""
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1), headers={"Authorization": key} if key else None
        )
        self.samples: Path | None = None
        self.callers: set[str] = set()
        """Who is in a call, at the last look."""
        self.held: set[int] = set()
        """Ports of peers whose connections the gateway holds, at the last look."""
        self.looked_at = 0.0
        """When the last look began."""
        self._read = 0
        self._late: list[tuple[float, float, int]] = []

    @property
    def port(self) -> int:
        """The gateway's public port."""
        return int(self.url.rsplit(":", 1)[1])

    # What is there

    async def calls(self) -> list[dict[str, str]]:
        """Live calls."""
        async with self.http.get(f"{self.url}/v1/calls") as answer:
            calls: list[dict[str, str]] = (await answer.json())["calls"]
            return calls

    async def look(self) -> None:
        """Look again and again at who is in a call and whose connections are held, until cancelled."""
        while True:
            looked_at = time.monotonic()
            self.callers = {call["caller"] for call in await self.calls()}
            self.held = self.held_now()
            self.looked_at = looked_at
            await asyncio.sleep(0.1)

    async def until_gone(self, caller: str, ports: set[int], limit_s: float) -> bool:
        """Wait until nothing is there any more of a peer; it need not have called."""
        since = time.monotonic()

        def is_gone() -> bool:
            return self.looked_at > since and caller not in self.callers and not ports & self.held

        return await wait_for(is_gone, limit_s)

    def held_now(self) -> set[int]:
        """Ports of peers whose connections the gateway holds."""
        table = Path("/proc/net/tcp")
        if not table.exists():
            return set()
        here = f":{self.port:04X}"
        agents = {f":{host.port:04X}" for host in self.hosts.values()}
        rows = (line.split() for line in table.read_text().splitlines()[1:])
        ends = ((row[1][-5:], row[2][-5:]) for row in rows if row[9] != "0")
        return {int(far[1:], 16) for near, far in ends if near == here or far in agents}

    def descriptors(self) -> list[str]:
        """Files and sockets that the process has open; none where the system does not tell."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return [str(path.readlink()) for path in folder.iterdir()] if folder.exists() else []

    async def tasks(self) -> list[str]:
        """Tasks of the process, by what they run."""
        path = self.folder / "count"
        path.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        await wait_for(path.exists, 5)
        return [line.partition(" at ")[0] for line in path.read_text().splitlines()]

    def memory_mb(self) -> float:
        """Resident memory of the process; 0 where the system does not tell."""
        path = Path(f"/proc/{self.process.pid}/status")
        found = re.search(r"VmRSS:\s+(\d+)", path.read_text()) if path.exists() else None
        return int(found[1]) / 1024 if found else 0.0

    def processor_s(self) -> float:
        """Processor time that the process has used; 0 where the system does not tell."""
        path = Path(f"/proc/{self.process.pid}/stat")
        if not path.exists():
            return 0.0
        fields = path.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # What was said and seen

    @property
    def log_bytes(self) -> int:
        """Length of the log so far."""
        return (self.folder / "log").stat().st_size

    def faults(self, since_bytes: int) -> str:
        """What the log says of faults of ours since then; empty when nothing."""
        with (self.folder / "log").open("rb") as log:
            log.seek(since_bytes)
            said = log.read().decode(errors="replace")
        found = _FAULT.search(said)
        return said[max(0, found.start() - 300) : found.start() + 3000] if found else ""

    def pacing(self, begin: float, end: float) -> Pacing:
        """How late the witness's frames were that were sent between two moments of the monotonic clock."""
        assert self.samples is not None
        with self.samples.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = len(data) // SAMPLE.size * SAMPLE.size
        self._late += SAMPLE.iter_unpack(data[:whole])
        self._read += whole
        window = [sample for sample in self._late if begin <= sample[0] <= end]
        late = {
            path: [ms for _, ms, which in window if which == path] for path in (THROUGH_GATEWAY, THROUGH_ECHO)
        }
        p99 = {path: percentile(found, 0.99) if found else float("inf") for path, found in late.items()}
        through = late[THROUGH_GATEWAY]
        median = percentile(through, 0.5) if through else float("inf")
        return Pacing(
            p99[THROUGH_GATEWAY], p99[THROUGH_ECHO], median, self._work_ms(begin, end), len(through)
        )

    def _work_ms(self, begin: float, end: float) -> float:
        """The 99th percentile of how long whoever came at any moment had to wait for the loop, in processor time."""
        data = (self.folder / "count.work").read_bytes()
        whole = len(data) // WORK.size * WORK.size
        waits = [ms for at, ms in WORK.iter_unpack(data[:whole]) if begin <= at <= end]
        # whoever came later in the same stretch of work waited for what was left of it
        every = [left for ms in waits for left in (ms - gone for gone in range(0, int(ms) + 1, 5))]
        return percentile(every, 0.99) if every else float("inf")

    async def samples_until(self, moment: float) -> None:
        """Wait until the witness has written down what it sent until then."""
        await wait_for(lambda: time.monotonic() > moment + 0.12, 5)


async def wait_for(condition: Callable[[], object], limit_s: float, every_s: float = 0.01) -> bool:
    """Look again and again until a condition holds; False when it never does."""
    try:
        async with asyncio.timeout(limit_s):
            while not condition():  # noqa: ASYNC110 - what it looks at has no event
                await asyncio.sleep(every_s)
    except TimeoutError:
        return False
    return True


def configuration(ports: Mapping[str, int], witness_port: int | None) -> str:
    """One agent, region and route for each number; the witness has its own."""
    all_ports = {**ports, **({"witness": witness_port} if witness_port else {})}
    regions = [
        f"  {name}: {{voice_agent: 'ws://127.0.0.1:{port}/v1/ws'}}" for name, port in all_ports.items()
    ]
    hasty = "ready_s: 1, tries: 2, resume_s: 1, stalled_reply_s: 2, lost_after_s: 1.5"
    agents = [
        f"  {name}: {{kind: voice_agent, sessions_per_minute: 100000, region: {name}, api_key: none, tools: [drive], "
        f"clips: {{hold: short.wav, apology: apology.wav}}{'' if name in CALM else ', ' + hasty}}}"
        for name in all_ports
    ]
    routes = [f"  - {{name: {name}, match: {{callee: ['{name}']}}, agent: {name}}}" for name in all_ports]
    adapters = [f"  {dialect.adapter}: {dialect.section}" for dialect in DIALECTS.values()]
    return "\n".join(
        [
            "server: {port: 0, admin_port: 0, first_message_s: 1, close_s: 1, drain_s: 1}",
            "limits: {return_s: 1, goodbye_s: 2, silence_s: 10, calls: 1000}",
            "access: {token_s: 5}",
            *("regions:", *regions, "agents:", *agents, "routes:", *routes, "adapters:", *adapters),
        ]
    )


@asynccontextmanager
async def ground(
    folder: Path,
    deeds: Mapping[str, AgentDeed],
    *,
    witnessed: bool = True,
    settings: Callable[[Mapping[str, int], int | None], str] = configuration,
    key: str = "",
    package: Path | None = None,
) -> AsyncIterator[Ground]:
    """Run a gateway with agents that do these deeds, by number, and good ones at ``good`` and ``handy``.

    Its ``settings`` are made of the agents' ports and the witness's; with a ``key`` it is looked at and witnessed. It is
    this package, or one that lies in the folder ``package``.
    """
    async with AsyncExitStack() as stack:
        hosts = {name: AgentHost(deed) for name, deed in {"good": good, "handy": handy, **deeds}.items()}
        ports = {
            name: await stack.enter_async_context(listening(host.attend)) for name, host in hosts.items()
        }
        samples = folder / "samples"
        witness = (
            await stack.enter_async_context(_python(WITNESS, "witness", str(samples))) if witnessed else None
        )
        witness_port = int(await _line(witness)) if witness else None
        _write_files(folder, settings(ports, witness_port))
        gateway = await stack.enter_async_context(_gateway(folder, package))
        found = _LISTENS.search(await _line(gateway))
        assert found, (folder / "log").read_text()
        place = Ground(folder, gateway, found[1].replace("//0.0.0.0:", "//127.0.0.1:"), key)
        stack.push_async_callback(place.http.close)
        place.hosts = hosts
        for name, host in hosts.items():
            host.port = ports[name]
        if witness:
            place.samples = samples
            echo = await stack.enter_async_context(_python(WITNESS, "echo"))
            assert witness.stdin
            echo_url = f"ws://127.0.0.1:{int(await _line(echo))}/"
            witness.stdin.write(f"{place.url.replace('http', 'ws')} {echo_url} {key}\n".encode())
            assert await _line(witness) == "ready"
        if witness:
            stack.callback(_kill, witness)
        looking = asyncio.ensure_future(place.look())
        try:
            yield place
        finally:
            looking.cancel()
            await asyncio.wait({looking})


def _write_files(folder: Path, settings: str) -> None:
    (folder / "gateway.yaml").write_text(settings)
    (folder / "plugins.d").mkdir(exist_ok=True)
    (folder / "plugins.d" / "counting.py").write_text(COUNTING)
    (folder / "apology.wav").write_bytes(write_wav(to_pcm16(APOLOGY, "mulaw"), 8000))
    (folder / "short.wav").write_bytes(write_wav(bytes(1600), 8000))


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    async with asyncio.timeout(LISTENS_WITHIN_S):
        return (await process.stdout.readline()).decode().rstrip("\n")


@asynccontextmanager
async def _gateway(folder: Path, package: Path | None) -> AsyncIterator[asyncio.subprocess.Process]:
    more = {"ABUSE_COUNT": str(folder / "count"), **({"PYTHONPATH": str(package)} if package else {})}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gateway", "serve", "--config", str(folder / "gateway.yaml")),
            cwd=folder,
            env=environment(folder, more),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    async with _ended(process):
        yield process


@asynccontextmanager
async def _python(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with _ended(process):
        yield process


@asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        _kill(process)
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
