"""A recorder outside the process: strace, which sees every system call, whatever library or thread makes it."""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct
from together import until

_CALL = re.compile(r"\b(?P<name>connect|sendto|sendmsg|sendmmsg)\((?P<rest>.*)")
_ADDRESS = re.compile(
    r"sa_family=AF_INET6?, sin6?_port=htons\((?P<port>\d+)\).*?"
    r"(?:inet_addr\(\"(?P<v4>[^\"]+)\"\)|inet_pton\(AF_INET6, \"(?P<v6>[^\"]+)\")"
)


class Seen(Struct, frozen=True, order=True):
    """Where a process has sent something, or tried to."""

    address: str
    """IP address."""
    port: int
    """Port."""


class Recorder:
    """Writes down what one process and its children do on the network."""

    def __init__(self, strace: str, folder: Path) -> None:
        self._file = folder / "network.strace"
        self.command = (
            strace,
            "-D",  # our child is the process itself, so that ending it ends it
            "-f",
            "-qq",
            "-s",
            "0",
            "-e",
            "trace=network",
            "-e",
            "signal=none",
            "-o",
            str(self._file),
            "--",
        )
        """What to put before the command that is watched."""

    async def seen(self) -> set[Seen]:
        """Everything that the process has sent to another address, once it has ended."""
        await until(lambda: not self._is_written_to())
        found = set()
        for line in self._file.read_text().splitlines():
            if (call := _CALL.search(line)) and (where := _ADDRESS.search(call["rest"])):
                found.add(Seen(where["v4"] or where["v6"], int(where["port"])))
        return found

    def _is_written_to(self) -> bool:
        """Whether a recorder still has the file open."""
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if link.readlink() == self._file:
                    return True
            except OSError:
                continue  # gone in the meantime, or not ours
        return False


async def recorder(require: Callable[[str], str], folder: Path) -> Recorder:
    """A recorder, where this machine has one and lets it watch; else the test skips, or fails if all is asked for."""
    strace = require("strace")
    tried = await asyncio.create_subprocess_exec(
        strace, "-D", "-f", "-o", "/dev/null", "true", stderr=subprocess.PIPE
    )
    _, err = await tried.communicate()
    if tried.returncode:
        sentence = f"this machine does not let strace watch: {err.decode().strip()[:200]}"
        if os.environ.get("TALKPATH_REQUIRE") == "all":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return Recorder(strace, folder)
