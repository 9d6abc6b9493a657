"""``talkpath serve`` as a process of its own."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from serving import LIMIT_S

COMMAND = (
    sys.executable,
    "-c",
    "import typer; from gateway.cli.serve import serve; app = typer.Typer(); app.command()(serve); app()",
)


@asynccontextmanager
async def started(folder: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command in a folder; ends it for certain."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALKPATH")}
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *options,
        cwd=folder,
        env={**environment, "COLUMNS": "120"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> str:
    """What it prints once it listens."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), LIMIT_S)).decode()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Wait for its end; exit code, output and errors."""
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    return process.returncode, out.decode(), err.decode()


def urls(line: str) -> tuple[str, str]:
    """Addresses in the line."""
    found = re.fullmatch(r"Talkpath listens on (http://\S+:\d+), admin (http://\S+:\d+)\n", line)
    assert found, line
    return found[1], found[2]
