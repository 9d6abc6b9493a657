"""What a frame of the caller costs on its way through a running call, beside a comparator in the same run.

Measured from the inbox through the driver and the machine into the agent's outbox and out of it, with a wire that
sends nothing: the house's own share of the path. The comparator is one hop through a bare ``asyncio.Queue``. Frames
come one per turn of the loop, as they do in a call, so both pay for the turn and for waking a task. Prints microseconds per frame, the best of
several rounds, on asyncio's loop and on uvloop. Exits 1 when a frame costs more than its budget.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
import uvloop

from gateway.adapters.pcm import PcmCodec, PcmSettings
from gateway.agents.voice_agent import VoiceAgentCodec
from gateway.audio import MULAW_8K
from gateway.commands import Command, SendAudio
from gateway.contracts import AgentCall, AgentKind, Local, Route, Upgrade
from gateway.events import CallerAudio
from gateway.runtime.call import CallRunner
from gateway.runtime.dial import Dialler
from gateway.runtime.house import House
from gateway.runtime.legs import WireLeg
from gateway.runtime.plugins import Generation, build_parts
from gateway.runtime.store import MemoryStore
from gateway.runtime.toolbox import Toolbox
from gateway.settings import AgentSettings, RouteSettings, Settings

BUDGET_US: Final = 10.0
ROUNDS: Final = 7
FRAMES: Final = 20_000
FRAME: Final = CallerAudio(bytes(160), -100.0)

Hop = Callable[[], Awaitable[None]]


class Session:
    """An agent that is ready and says nothing."""

    close_code: int | None = None
    close_reason = ""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()

    async def receive(self, text: str) -> None:
        """Answer the first message."""
        if "session.update" in text:
            self._messages.put_nowait('{"type":"session.ready","session_id":"s"}')

    async def __aiter__(self) -> AsyncIterator[str]:
        while (message := await self._messages.get()) is not None:
            yield message

    async def disconnect(self) -> None:
        """End."""
        self._messages.put_nowait(None)


class SilentCodec(VoiceAgentCodec):
    """Takes sound from the outbox and counts it instead of writing it."""

    sent = 0

    def encode(self, command: Command) -> list[str | bytes]:
        """Count sound, write the rest."""
        if isinstance(command, SendAudio):
            SilentCodec.sent += 1
            return []
        return super().encode(command)


class Line:
    """A caller's wire that stays silent."""

    close_code = 1006
    close_reason = ""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    async def receive(self) -> None:
        """Wait for the end."""
        await self._over.wait()

    async def send(self, message: str | bytes) -> None:
        """Take it."""

    takes_at_once = False
    """As the session, so that both sides go through their outboxes."""

    def send_at_once(self, message: str | bytes) -> None:
        """Never asked for."""
        raise NotImplementedError

    async def close(self, _code: int, _reason: str) -> None:
        """End."""
        self._over.set()


def a_house() -> House:
    """A house with that agent."""
    settings = Settings(
        agents={"main": AgentSettings(kind="silent")},
        routes=(RouteSettings(name="default", agent="main"),),
        adapters={"pcm": PcmSettings()},
    )
    parts = build_parts(settings)

    def plan(call: AgentCall) -> Local:
        return Local("silent", None, SilentCodec(call), MULAW_8K)

    kinds = {**parts.agents, "silent": AgentKind("silent", AgentSettings, plan, remote=False)}
    generation = Generation(settings, msgspec.structs.replace(parts, agents=kinds, observers=()))
    return House(generation, MemoryStore(), Toolbox(), Dialler({"silent": lambda _options: Session()}))


async def best(hop: Hop) -> float:
    """Microseconds of one hop, the best of all rounds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(FRAMES):
            await hop()
        times.append((time.perf_counter() - begin) / FRAMES)
    return min(times) * 1e6


async def through_a_call() -> float:
    """A frame through a call, to where it has left the agent's outbox."""
    house = a_house()
    runner = CallRunner("bench", Route(house.generation.settings.routes[0], ("main",), ""), house)
    upgrade = Upgrade("bench", {"encoding": "pcm_mulaw", "sample_rate": "8000"})
    leg = WireLeg(Line(), PcmCodec(upgrade, PcmSettings()))
    inbox: Any = runner._inbox  # noqa: SLF001 - the bench stands where the caller's reader does
    async with asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        serving = group.create_task(runner.serve(leg))
        while runner.phase != "talking":  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0)

        async def hop() -> None:
            await inbox.put(FRAME)
            await asyncio.sleep(0)

        before = SilentCodec.sent
        figure = await best(hop)
        await asyncio.sleep(0)
        if SilentCodec.sent - before != ROUNDS * FRAMES:  # one by one, none merged and none left
            raise RuntimeError("frames were merged or lost; the figure means nothing")
        serving.cancel()
    return figure


async def through_a_queue() -> float:
    """A frame through a bare queue to a waiting task."""
    queue: asyncio.Queue[CallerAudio] = asyncio.Queue(1024)
    taken = 0

    async def take() -> None:
        nonlocal taken
        while True:
            await queue.get()
            taken += 1

    async def hop() -> None:
        await queue.put(FRAME)
        await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        taker = group.create_task(take())
        figure = await best(hop)
        if taken != ROUNDS * FRAMES:
            raise RuntimeError("frames were lost; the figure means nothing")
        taker.cancel()
    return figure


def main() -> int:
    """Print the figures; 1 when the budget is exceeded."""
    worst = 0.0
    for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
        bare, call = run(through_a_queue()), run(through_a_call())
        worst = max(worst, call)
        print(f"{name:8} call {call:5.2f} µs   bare queue hop {bare:5.2f} µs   ratio {call / bare:.1f}")
    print(f"budget {BUDGET_US} µs: {'kept' if worst <= BUDGET_US else 'exceeded'}")
    return int(worst > BUDGET_US)


if __name__ == "__main__":
    sys.exit(main())
