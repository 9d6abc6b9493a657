"""The systems under test: each is started as its users start it, in a process of its own on a core of its own.

Owns their configuration and their addresses. Refuses to measure them.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.runtime.plugins import find_plugins
from gateway.settings import PluginsSettings
from gateway.simulate.load.machine import CannotMeasure, pinned
from gateway.simulate.load.starting import Target

TOKEN: Final = "the-load-generator-signs-with-this"  # noqa: S105 - known to this run alone
HAPROXY: Final = Path(__file__).with_name("haproxy.cfg")
START_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 5.0
ENDING_WITHIN_S: Final = 0.5
_RELAYS: Final = re.compile(r"^(ws://\S+) (http://\S+)$")
_LISTENS: Final = re.compile(r"listens on (\S+?),.* admin (\S+)")


class Place(Struct, frozen=True, kw_only=True):
    """Where a system is started, and where its agent is."""

    agent_port: int
    """The generator's agent end."""
    ca_file: Path | None = None
    """Who vouches for it; None without TLS."""
    core: int
    """The core of the system."""
    folder: Path
    """Where it may write."""

    @property
    def agent_url(self) -> str:
        """Address of the agent's end."""
        if self.ca_file is not None:
            return f"wss://localhost:{self.agent_port}/v1/ws"
        return f"ws://127.0.0.1:{self.agent_port}/v1/ws"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the process, without what would make a gateway another than the shipped one."""
        trusted = {"SSL_CERT_FILE": str(self.ca_file)} if self.ca_file is not None else {}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TALKPATH_")}
        return inherited | trusted


class System(Struct, frozen=True):
    """One thing to measure."""

    name: str
    """As in ``--systems``."""
    what: str
    """For people, in half a sentence."""
    start: Callable[[Place], AbstractAsyncContextManager[Target]]
    """Run it for the length of an ``async with``."""
    missing: Callable[[], str] = lambda: ""
    """Why it cannot be started here; empty when it can."""
    by_default: bool = True
    """Whether it is measured where ``--systems`` names none."""


@asynccontextmanager
async def haproxy(place: Place) -> AsyncIterator[Target]:
    """HAProxy that forwards bytes."""
    bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
    host = "localhost" if place.ca_file is not None else "127.0.0.1"
    environment = {
        **place.environment,
        "TALKPATH_BENCH_LISTEN": f"fd@{bound.fileno()}",
        "TALKPATH_BENCH_AGENT": f"{host}:{place.agent_port}",
    }
    if place.ca_file is not None:
        environment["TALKPATH_BENCH_CA"] = str(place.ca_file)
    command = ["haproxy", "-db", "-f", str(HAPROXY)]
    async with _process(place, command, environment, keep=(bound.fileno(),)) as process:
        port = bound.getsockname()[1]
        bound.close()
        yield Target(kind="stream", url=f"ws://127.0.0.1:{port}/", pid=process.pid)


def relay(*command: str) -> Callable[[Place], AbstractAsyncContextManager[Target]]:
    """A bare relay, by its module and what that is given before the agent's address."""

    @asynccontextmanager
    async def start(place: Place) -> AsyncIterator[Target]:
        line = [sys.executable, "-m", *command, place.agent_url]
        async with _process(place, line, place.environment) as process:
            url, probe_url = await _line(process, _RELAYS)
            yield Target(kind="stream", url=url, pid=process.pid, probe_url=probe_url)

    return start


def talkpath(*, observed: bool) -> Callable[[Place], AbstractAsyncContextManager[Target]]:
    """Talkpath as it is served, with or without its observers."""

    @asynccontextmanager
    async def start(place: Place) -> AsyncIterator[Target]:
        config = place.folder / "gateway.yaml"
        config.write_bytes(configuration(place, observed=observed))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
        async with _process(place, command, place.environment) as process:
            url, admin_url = await _line(process, _LISTENS)
            yield Target(
                kind="twilio", url=url, pid=process.pid, probe_url=f"{admin_url}/healthz", token=TOKEN
            )

    return start


def configuration(place: Place, *, observed: bool) -> bytes:
    """The configuration with which Talkpath is served; JSON, which is YAML too."""
    disabled = () if observed else observer_plugins()
    return msgspec.json.encode(
        {
            "server": {"host": "127.0.0.1", "port": 0, "admin_port": 0},
            "regions": {"bench": {"voice_agent": place.agent_url}},
            "agents": {
                "bench": {
                    "kind": "voice_agent",
                    "sessions_per_minute": 100_000,  # the agent that is called here admits any number
                    "region": "bench",
                    "api_key": "none-needed",
                    "session": {"system_prompt": "You answer the phone for a bakery."},
                }
            },
            "routes": [{"name": "bench", "agent": "bench"}],
            "adapters": {"twilio": {"auth_token": TOKEN}},
            "limits": {"calls": 10_000},
            "plugins": {"disabled": disabled},
        }
    )


def observer_plugins() -> list[str]:
    """Names of all observers that come with Talkpath."""
    return [
        origin.name
        for origin in find_plugins(PluginsSettings(folder=""))
        if origin.name.startswith("observers.")
    ]


SYSTEMS: Final = (
    System(
        "haproxy",
        "forwards bytes, translates nothing",
        haproxy,
        lambda: "" if shutil.which("haproxy") else "haproxy is not installed (apt-get install haproxy)",
    ),
    System("relay", "a bare relay of aiohttp, uvloop and msgspec", relay("gateway.simulate.load.relay")),
    System(
        "relay-picows-agent",
        "the same with picows towards the agent",
        relay("gateway.simulate.load.relay_picows", "--sides", "agent"),
        by_default=False,
    ),
    System(
        "relay-picows",
        "the same with picows on both sides",
        relay("gateway.simulate.load.relay_picows", "--sides", "both"),
        by_default=False,
    ),
    System("talkpath-bare", "Talkpath without observers", talkpath(observed=False)),
    System("talkpath", "Talkpath as shipped", talkpath(observed=True)),
)


@asynccontextmanager
async def _process(
    place: Place, command: list[str], environment: dict[str, str], keep: tuple[int, ...] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    log = place.folder / "log.txt"
    with log.open("wb") as written, pinned(place.core):
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=written,
            pass_fds=keep,
        )
    try:
        yield process
    except (EOFError, OSError, CannotMeasure):
        with suppress(TimeoutError):  # one that is ending is let end, so that its last words are known
            async with asyncio.timeout(ENDING_WITHIN_S):
                await process.wait()
        if process.returncode is None:
            raise
        said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise CannotMeasure(f"the system ended by itself ({process.returncode}): {said[0]}") from None
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)  # SIGTERM would let calls that were lost finish
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _line(process: asyncio.subprocess.Process, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """Wait for the line in which the system says where it listens."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    async with asyncio.timeout(START_WITHIN_S):
        while line := await process.stdout.readline():
            if found := pattern.search(line.decode(errors="replace")):
                return found.groups()
    raise EOFError
