"""The command as people run it: a process of its own, in a folder of its own, that can be killed."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

LISTENS_WITHIN_S = 20.0
_LISTENS = re.compile(r"Talkpath listens on (?P<public>http://\S+?),? .*admin (?P<admin>http://\S+)")
_AGENT = re.compile(r"agent listening on (ws://[^:]+:(\d+)/\S+)")


class Finished(Struct, frozen=True):
    """A process that has ended."""

    code: int
    """Its exit code."""
    out: str
    """What it printed."""
    err: str
    """What it complained about."""


class Running:
    """A process that listens."""

    def __init__(self, process: asyncio.subprocess.Process, line: str) -> None:
        self.process = process
        self.line = line
        """What it printed when it was ready."""

    async def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        await self.process.wait()


class AgentProcess(Running):
    """A `talkpath agent` of its own."""

    @property
    def url(self) -> str:
        """Where to dial."""
        return _matched(_AGENT, self.line)[1]

    @property
    def port(self) -> int:
        """Its port."""
        return int(_matched(_AGENT, self.line)[2])


class GatewayProcess(Running):
    """A `talkpath serve` of its own."""

    @property
    def url(self) -> str:
        """Its public address."""
        return _matched(_LISTENS, self.line)["public"]


def _matched(pattern: re.Pattern[str], line: str) -> re.Match[str]:
    found = pattern.search(line)
    assert found, f"it did not say where it listens: {line!r}"
    return found


def environment(runtime_folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without anybody's configuration, with a runtime folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALKPATH", "TWILIO"))}
    root = str(Path(__file__).parents[2])  # run from any folder, installed or not
    return {**kept, "XDG_RUNTIME_DIR": str(runtime_folder), "PYTHONPATH": root, **(more or {})}


async def _start(
    *arguments: str, folder: Path, runtime_folder: Path, err: int | None = None, under: Sequence[str] = ()
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *under,
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        cwd=folder,
        env=environment(runtime_folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=err if err is not None else asyncio.subprocess.DEVNULL,
        limit=1 << 22,
    )


async def talkpath(*arguments: str, folder: Path, runtime_folder: Path, limit_s: float = 90.0) -> Finished:
    """Run a command to its end."""
    process = await _start(
        *arguments, folder=folder, runtime_folder=runtime_folder, err=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return Finished(process.returncode or 0, out.decode(), err.decode())


@asynccontextmanager
async def agent_process(folder: Path, *options: str) -> AsyncIterator[AgentProcess]:
    """Run `talkpath agent` until the end of the context, or until it is killed."""
    async with _listening("agent", *options, folder=folder) as (process, line):
        yield AgentProcess(process, line)


@asynccontextmanager
async def gateway_process(
    folder: Path, *options: str, runtime_folder: Path | None = None, under: Sequence[str] = ()
) -> AsyncIterator[GatewayProcess]:
    """Run `talkpath serve` on free ports until the end of the context; ``under`` is a command that runs it."""
    arguments = ("serve", "--port", "0", "--admin-port", "0", *options)
    async with _listening(*arguments, folder=folder, runtime_folder=runtime_folder, under=under) as (
        process,
        line,
    ):
        yield GatewayProcess(process, line)


@asynccontextmanager
async def _listening(
    *arguments: str, folder: Path, runtime_folder: Path | None = None, under: Sequence[str] = ()
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await _start(*arguments, folder=folder, runtime_folder=runtime_folder or folder, under=under)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LISTENS_WITHIN_S):
            line = (await process.stdout.readline()).decode()
        async with asyncio.TaskGroup() as group:
            drain = group.create_task(_drain(process.stdout))
            try:
                yield process, line
            finally:
                drain.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _drain(stream: asyncio.StreamReader) -> None:
    """Read what nobody asks for, so that the process never waits for us."""
    while await stream.read(65_536):
        pass
