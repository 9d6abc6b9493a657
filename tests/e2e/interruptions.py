"""Many calls at once in which the agent is interrupted at seeded instants, and what each of them was worth.

Every reply is one mu-law value that no other reply of its call has, so that each byte that a caller hears tells
which reply it belongs to.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from command_line import gateway_process
from live_gateway import TOKEN
from msgspec import Struct
from scripted_agent import CHUNK_BYTES, CHUNK_MS, LEAD_MS, Session, scripted_agent
from together import until
from websockets.asyncio.client import ClientConnection, connect

from gateway.simulate import CallResult, CallScript, Note, TwilioCaller, Utterance

CALLS = 20
"""Half of them with an agent that sends in real time, half with one that sends a whole reply at once."""
TIMES = 20
"""Interruptions in each call."""
REPLY_MS = 1200.0
WORD_MS = 100
WORDS = int(REPLY_MS / WORD_MS)
FIRST_VALUE = 0x05
LATE_CHUNKS = 3
"""Pieces of an interrupted reply that were on their way."""
ECHO_EVERY_S = 0.02
BURST_S = 0.03
"""How long sending and taking a whole reply may keep this process busy."""
CONFIGURATION = """
regions: {{here: {{voice_agent: "{url}"}}}}
agents: {{one: {{kind: voice_agent, sessions_per_minute: 100000, region: here, api_key: none}}}}
routes: [{{name: all, agent: one}}]
adapters: {{twilio: {{auth_token: {token}}}}}
"""
PLUGIN = '''
"""Writes down what was heard of every reply."""

import json
from pathlib import Path

from gateway.hookspecs import hookimpl
from gateway.observers.transcript import transcript_kind


def done(info, turns, lines):
    heard = [[line.reply_id, line.heard, line.unheard] for line in lines if line.speaker == "agent"]
    with (Path(__file__).parent / "heard.jsonl").open("a") as file:
        file.write(json.dumps([info.callee, heard]) + "\\n")


@hookimpl
def register_observers():
    return [transcript_kind(done=done)]
'''
ECHO = """
import asyncio
from websockets.asyncio.server import serve

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

Profile = Literal["realtime", "burst"]


class Interruption(Struct, frozen=True):
    """One time the agent was interrupted."""

    call: int
    profile: Profile
    value: int
    """The mu-law value of its reply."""
    in_tail: bool
    """The reply was finished, and its tail still played."""
    signal_at: float
    """When the agent's signal was written; monotonic seconds."""


class Interrupted(Struct):
    """What came of all calls."""

    interruptions: list[list[Interruption]]
    """By call, in order."""
    clears: list[list[float]]
    """When each call's carrier was told to clear; monotonic seconds."""
    results: list[CallResult]
    """By call."""
    transcripts: dict[str, list[tuple[str, str, str]]]
    """By number called: reply, words heard, words not heard."""
    echo_ms: list[float]
    """There and back through a bare WebSocket to another process, meanwhile."""


def profile_of(call: int) -> Profile:
    """At which pace the agent of a call sends."""
    return "burst" if call % 2 else "realtime"


class InterruptedAgent:
    """Speaks, and is interrupted at instants that a seed decides."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.interruptions: list[list[Interruption]] = [[] for _ in range(CALLS)]
        self._due: set[float] = set()
        self.begun = 0
        self.finished = 0

    async def script(self, session: Session) -> None:
        """One call."""
        self.begun += 1
        chance = random.Random(f"{self._seed}-{session.number}")  # noqa: S311 - to be repeatable
        await asyncio.sleep(chance.uniform(0.1, 0.9))
        for place in range(TIMES):
            await self._one(session, place, chance)
            await session.send("input.speech.stopped")
            await session.send("transcript.user", item_id=f"u{place}", text="stop")
            # bursts are spread out, so that calls do not stand in each other's way in this one process
            await asyncio.sleep(
                chance.uniform(0.05, 0.25 if profile_of(session.number) == "realtime" else 0.9)
            )
        self.finished += 1

    async def _one(self, session: Session, place: int, chance: random.Random) -> None:
        in_tail = bool(place % 2)
        reply_id, value = f"s{session.number}r{place}", FIRST_VALUE + place
        words = [f"{reply_id}w{number}" for number in range(WORDS)]
        if profile_of(session.number) == "burst":
            await self._quiet_moment()
        await session.begin(reply_id, words, WORD_MS)
        began = time.monotonic()
        stop_at = began + (REPLY_MS if in_tail else chance.uniform(60.0, REPLY_MS - 250.0)) / 1000
        await self._speak(session, reply_id, value, began, stop_at)
        if in_tail:
            await session.end(reply_id, " ".join(words))
            far_ms = 100.0 if profile_of(session.number) == "realtime" else REPLY_MS - 150.0
            stop_at = time.monotonic() + chance.uniform(1.0, far_ms) / 1000
        self._due.add(stop_at)
        await asyncio.sleep(stop_at - time.monotonic())
        self._due.discard(stop_at)
        signal_at = await session.send("input.speech.started")
        self.interruptions[session.number].append(
            Interruption(session.number, profile_of(session.number), value, in_tail, signal_at)
        )
        if not in_tail:
            for _ in range(LATE_CHUNKS):
                await session.sound(reply_id, bytes([value]) * CHUNK_BYTES)
            said = int((signal_at - began) * 1000 / WORD_MS) + 1
            await session.end(reply_id, " ".join(words[:said]), interrupted=True)

    async def _quiet_moment(self) -> None:
        """Wait until no signal is due: all agents and callers share one thread here, and a burst keeps it busy."""
        while any(abs(due - time.monotonic()) < BURST_S for due in self._due):  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(BURST_S)

    async def _speak(
        self, session: Session, reply_id: str, value: int, began: float, until_at: float
    ) -> None:
        """Send the sound at the profile's pace: slightly ahead of the clock, or at once."""
        for number in range(int(REPLY_MS / CHUNK_MS)):
            due = began + (number * CHUNK_MS - LEAD_MS) / 1000
            if profile_of(session.number) == "realtime":
                if due > until_at:
                    return
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await session.sound(reply_id, bytes([value]) * CHUNK_BYTES)


async def interrupt_everybody(folder: Path, seed: int) -> Interrupted:
    """Make all calls at the same time."""
    agent = InterruptedAgent(seed)
    echo_ms: list[float] = []
    async with scripted_agent(agent.script) as url:
        (folder / "gateway.yaml").write_text(CONFIGURATION.format(url=url, token=TOKEN))
        (folder / "plugins.d").mkdir()
        (folder / "plugins.d" / "heard.py").write_text(PLUGIN)
        async with gateway_process(folder) as gateway, _echoing(echo_ms):
            results, clears = await _call(gateway.url, agent)
            written = folder / "plugins.d" / "heard.jsonl"
            await until(lambda: written.exists() and written.read_text().count("\n") == CALLS)
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    transcripts = {callee: [(one[0], one[1], one[2]) for one in heard] for callee, heard in lines}
    return Interrupted(agent.interruptions, clears, results, transcripts, echo_ms)


async def _call(url: str, agent: InterruptedAgent) -> tuple[list[CallResult], list[list[float]]]:
    """Sessions and callers are numbered alike, because each caller waits for the one before to be answered."""
    clears: list[list[float]] = [[] for _ in range(CALLS)]
    callers = [_caller(url, number, clears[number]) for number in range(CALLS)]
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, caller in enumerate(callers):
            tasks.append(group.create_task(caller.run()))
            await until(lambda number=number: agent.begun > number)  # type: ignore[misc]
        await until(lambda: agent.finished == CALLS, 60)
        for caller in callers:
            caller.hang_up()
    return [task.result() for task in tasks], clears


def _caller(url: str, number: int, clears: list[float]) -> TwilioCaller:
    def observe(note: Note) -> None:
        if note.kind == "clear":
            clears.append(time.monotonic())

    return TwilioCaller(
        url,
        token=TOKEN,
        caller=f"+1415555{number:04}",
        callee=f"+1800555{number:04}",
        script=CallScript(utterances=(Utterance(label="nothing", at_s=100.0),), hang_up=False, max_s=90.0),
        observer=observe,
    )


@asynccontextmanager
async def _echoing(echo_ms: list[float]) -> AsyncIterator[None]:
    """Send a short message to another process and back again and again, and note how long each took."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ECHO, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with (
            connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as socket,
            asyncio.TaskGroup() as group,
        ):
            pings = group.create_task(_ping(socket, echo_ms))
            yield
            pings.cancel()
    finally:
        process.kill()
        await process.communicate()


async def _ping(socket: ClientConnection, echo_ms: list[float]) -> None:
    while True:
        sent_at = time.monotonic()
        await socket.send('{"type":"input.speech.started","timestamp":1}')
        await socket.recv()
        echo_ms.append((time.monotonic() - sent_at) * 1000)
        await asyncio.sleep(ECHO_EVERY_S)
