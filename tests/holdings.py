"""What a running gateway holds: memory, handles, threads and tasks, seen from outside."""

import asyncio
import json
from pathlib import Path

from gateway.simulate.load.generator import LoadGenerator
from gateway.simulate.load.machine import family, memory_bytes
from gateway.simulate.load.starting import Target

MIB = 1024 * 1024


class Gateway:
    """What the running gateway holds."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self._book = folder / "plugins.d" / "census.jsonl"

    def sizes(self) -> dict[str, float]:
        """Memory in MiB, handles and threads of the process and its children."""
        processes = family(self.target.pid)
        return {
            "memory, MiB": sum(map(memory_bytes, processes)) / MIB,
            "handles": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in processes),
            "threads": sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in processes),
        }

    def census(self) -> dict[str, float]:
        """Tasks when the last call began."""
        line = self._book.read_text("ascii").splitlines()[-1]
        return dict(json.loads(line))

    async def at_rest(self, load: LoadGenerator) -> dict[str, float]:
        """Everything, while one call lives, when all others are gone."""
        until = asyncio.get_running_loop().time() + 30
        calm = self.sizes()["handles"]
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.5)
            before, calm = calm, self.sizes()["handles"]
            if before == calm:
                break
        sizes = self.sizes()
        await load.step(self.target, 1, windows=1, seconds=0.5, empty_bytes=0)
        return {**sizes, **self.census()}


class Watch:
    """Looks at a gateway again and again while the same calls go on."""

    def __init__(self, gateway: Gateway, *, every_s: float, after_s: float) -> None:
        self._gateway = gateway
        self._every_s, self._after_s = every_s, after_s
        self.moments: list[float] = []
        self.held: list[dict[str, float]] = []

    async def look(self) -> None:
        """Take samples until cancelled."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await asyncio.sleep(self._after_s)
        while True:
            self.moments.append(loop.time() - begin)
            self.held.append(self._gateway.sizes())
            await asyncio.sleep(self._every_s)
