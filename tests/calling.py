"""A call in a street of fakes, from its first socket to its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fakes import (
    FakeAgent,
    MemoryWire,
    Street,
    Watcher,
    caller_leg,
    pcm_codec,
    until,
)

from gateway.contracts import Codec, ObserverKind
from gateway.runtime.call import CallRunner

FRAME = b"\x11\x22" * 480
QUERY = "sample_rate=24000"


class Line:
    """One call with one caller's wire."""

    def __init__(
        self, street: Street, runner: CallRunner, wire: MemoryWire, tasks: list[asyncio.Task[None]]
    ) -> None:
        self.street = street
        self.runner = runner
        self.wire = wire
        self.life, self.serving = tasks

    @property
    def agent(self) -> FakeAgent:
        return self.street.agent


@asynccontextmanager
async def line(
    street: Street, codec: Codec | None = None, wire: MemoryWire | None = None
) -> AsyncIterator[Line]:
    """A call that has begun; at the end of the block it must come to its own end, whatever that is."""
    async with asyncio.timeout(4000):
        wire = wire or MemoryWire()
        runner = street.runner()
        life = asyncio.ensure_future(runner.run())
        serving = asyncio.ensure_future(runner.serve(caller_leg(wire, codec or pcm_codec(QUERY))))
        yield Line(street, runner, wire, [life, serving])
        await asyncio.wait({life})
        await asyncio.wait({serving})


@asynccontextmanager
async def talking(street: Street, codec: Codec | None = None) -> AsyncIterator[Line]:
    """A call whose agent is ready."""
    async with line(street, codec) as call:
        await until(lambda: call.runner.phase == "talking")
        yield call


def watched(*kinds: type) -> tuple[Watcher, list[ObserverKind]]:
    watcher = Watcher(kinds)
    return watcher, [ObserverKind("watcher", lambda _info, _terms: watcher)]
