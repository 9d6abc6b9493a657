"""Records the calls that the test suite replays: real ones, through a real gateway, with simulated callers and agents.

    python tests/recorded/record.py              make all calls again; takes a minute
    python tests/recorded/record.py barge-in     make one of them again
    python tests/recorded/record.py --accept     keep what happened, and take today's commands as the right ones

Each call is a journal, ``NAME.jsonl``, and beside it the same for people, ``NAME.txt``, in which a reviewer sees what
a change does to the call. See docs/howto/replay.md.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Literal

FOLDER: Final = Path(__file__).parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER.parent / "e2e"), str(FOLDER.parent.parent)]

import msgspec  # noqa: E402 - our own folders come first
import uvloop  # noqa: E402
from live_gateway import TOKEN, LiveGateway, live_gateway  # noqa: E402
from network import Network  # noqa: E402
from stories import accepted, story  # noqa: E402
from together import run_together  # noqa: E402
from websockets.asyncio.client import ClientConnection, connect  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

from gateway.audio import PCM_16K  # noqa: E402
from gateway.observers.journal_file import Journal, read_journal  # noqa: E402
from gateway.runtime.replay import replay  # noqa: E402
from gateway.runtime.replay_turns import compare  # noqa: E402
from gateway.simulate import CallerFaults, CallScript, Utterance, call_twilio  # noqa: E402
from gateway.simulate.provider import Provider  # noqa: E402
from gateway.simulate.voice import recording  # noqa: E402

CONFIGURATION: Final = """
server: {{port: 0, admin_port: 0}}
regions: {{here: {{voice_agent: "{url}"}}}}
agents:
  rover:
    kind: voice_agent
    region: here
    api_key: none-needed
    session: {{greeting: "{greeting}"}}
    tools: [drive, hang_up]
    resume_s: 3
    fallback: keys
  keys: {{kind: offline, tools: [drive, hang_up]}}
routes: [{{name: recorded, agent: {agent}, dtmf: text, client_may: [system_prompt]}}]
adapters: {{twilio: {{auth_token: {token}}}, pcm: {{}}}}
limits: {{silence_s: {silence_s}, return_s: 5}}
records: {{path: {records}, transcripts: {words}}}
"""
SHORT: Final = "Hello."
LONG: Final = "Welcome to the house of many voices. Every one of them has something to say, so please be patient with us."
CALLER, CALLEE = "+14155550123", "+14155550100"
SLOW_TOOL: Final = "+7700000001"
"""The witness's tool takes three seconds for calls to this number."""

GO, CARD = recording("goforward.wav"), recording("cards_001.wav")
NINE = Utterance(label="key 9", digits="9")


class Line(Network):
    """The way to the agent."""

    def end(self) -> None:
        """Cut it for good."""
        assert self._server is not None
        self._server.close()
        self.cut()


class Place(msgspec.Struct, frozen=True):
    """A gateway for one call, and the way from it to its agent."""

    gateway: LiveGateway
    line: Line

    async def phone(
        self,
        *said: Utterance,
        callee: str = CALLEE,
        faults: CallerFaults | None = None,
        after_heard_s: float = 0.0,
        blow: Callable[[], None] | None = None,
    ) -> None:
        """A telephone call; a blow is dealt so long after the agent was first heard."""
        heard = asyncio.Event()

        def note(kind: str) -> None:
            if kind == "heard":
                heard.set()

        async def strike(deal: Callable[[], None]) -> None:
            await heard.wait()
            await asyncio.sleep(after_heard_s)
            deal()

        async with asyncio.TaskGroup() as group:
            striking = group.create_task(strike(blow)) if blow else None
            await call_twilio(
                self.gateway.url,
                token=TOKEN,
                script=CallScript(utterances=said, hang_up=False, max_s=40.0),
                caller=CALLER,
                callee=callee,
                faults=faults,
                observer=lambda told: note(told.kind),
            )
            if striking:
                striking.cancel()
        await self.gateway.witness.ended(callee)


async def pcm_client(place: Place) -> None:
    """A program that configures the agent, speaks, asks for a reply, sends what we do not know, and leaves."""
    url = (
        place.gateway.url.replace("http", "ws", 1) + "/v1/ws/pcm?sample_rate=16000&events=1&callee=" + "%2B1"
    )
    async with connect(url) as socket:

        async def speak() -> None:
            said = PCM_16K.silence(1500) + GO.pcm + PCM_16K.silence(9000)
            size = PCM_16K.frame_bytes(20)
            loop = asyncio.get_running_loop()
            began_at = loop.time()
            for place_in_said in range(0, len(said), size):
                await asyncio.sleep(max(0.0, began_at + PCM_16K.ms(place_in_said) / 1000 - loop.time()))
                with contextlib.suppress(ConnectionClosed):  # the call is over when the agent has answered
                    await socket.send(said[place_in_said : place_in_said + size])

        async with asyncio.TaskGroup() as group:
            speaking = group.create_task(speak())
            await _converse(socket)
            speaking.cancel()
    await place.gateway.witness.ended("+1")


async def _converse(socket: ClientConnection) -> None:
    replies = 0
    async for message in socket:
        kind = msgspec.json.decode(message)["type"] if isinstance(message, str) else ""
        if kind == "session.ready":
            session = {"system_prompt": "You are a rover.", "voice": "ann"}
            await socket.send(msgspec.json.encode({"type": "session.update", "session": session}).decode())
            await socket.send('{"type": "hello.world", "mood": "fine"}')
        replies += kind == "reply.done"
        if kind == "reply.done" and replies == 2:
            await socket.send('{"type": "reply.create", "instructions": "Say where you are."}')
        if kind == "reply.done" and replies == 3:
            await socket.send('{"type": "session.end"}')


def over(said: Utterance, after_s: float) -> Utterance:
    """Said over the agent, so long after it was heard."""
    return msgspec.structs.replace(said, over_after_s=after_s)


def at(said: Utterance, at_s: float) -> Utterance:
    """Said at a moment of the call."""
    return msgspec.structs.replace(said, at_s=at_s)


class Scenario(msgspec.Struct, frozen=True):
    """One recorded call."""

    call: Callable[[Place], Awaitable[None]]
    """Makes it."""
    agent: Literal["rover", "keys"] = "rover"
    """Who answers: over the Voice Agent API, or within the gateway."""
    profile: Literal["realtime", "burst"] = "realtime"
    """How the rover sends its sound."""
    greeting: str = SHORT
    """What it says first."""
    faults: tuple[str, ...] = ()
    """What goes wrong with it."""
    silence_s: float = 60.0
    """`limits.silence_s`."""
    words: bool = True
    """Whether words are kept."""


SCENARIOS: Final = {
    "demo": Scenario(
        lambda one: one.phone(GO, Utterance(label="key 1", digits="1"), over(CARD, 2.5), NINE), greeting=LONG
    ),
    "barge-in": Scenario(
        lambda one: one.phone(over(GO, 1.5), over(CARD, 1.0), NINE), greeting=LONG, profile="burst"
    ),
    "barge-in-without-words": Scenario(
        lambda one: one.phone(over(GO, 1.5), NINE), greeting=LONG, profile="burst", words=False
    ),
    "keys": Scenario(lambda one: one.phone(Utterance(label="keys", digits="12#"), NINE), agent="keys"),
    "keys-without-words": Scenario(
        lambda one: one.phone(Utterance(label="keys", digits="1#"), NINE), agent="keys", words=False
    ),
    "slow-tool": Scenario(lambda one: one.phone(GO, NINE, callee=SLOW_TOOL)),
    "agent-resumed": Scenario(
        lambda one: one.phone(GO, NINE, after_heard_s=1.5, blow=one.line.cut), greeting=LONG
    ),
    "agent-renewed": Scenario(
        lambda one: one.phone(GO, NINE, after_heard_s=1.5, blow=one.line.cut),
        greeting=LONG,
        faults=("refuse-resume",),
        words=False,
    ),
    "agent-replaced": Scenario(
        lambda one: one.phone(at(NINE, 14.0), after_heard_s=1.5, blow=one.line.end), greeting=LONG
    ),
    "agent-at-capacity": Scenario(lambda one: one.phone(NINE), faults=("at-capacity",)),
    "stalled-reply": Scenario(lambda one: one.phone(GO, NINE), faults=("stall-reply=2",), words=False),
    "caller-returned": Scenario(
        lambda one: one.phone(NINE, faults=CallerFaults(kill_socket_at_s=(3.0,))), greeting=LONG
    ),
    "caller-gone": Scenario(
        lambda one: one.phone(NINE, faults=CallerFaults(kill_socket_at_s=(2.0,), ask_after_a_kill=False)),
        greeting=LONG,
    ),
    "silent-line": Scenario(lambda one: one.phone(at(NINE, 30.0)), silence_s=4.0),
    "pcm-events": Scenario(pcm_client),
    "pcm-events-without-words": Scenario(pcm_client, words=False),
}


@asynccontextmanager
async def place_for(one: Scenario, records: Path) -> AsyncIterator[Place]:
    """Everything that a call needs."""
    async with Provider(profile=one.profile, faults=one.faults) as provider, Line(provider.url) as line:
        configuration = CONFIGURATION.format(
            url=line.url,
            greeting=one.greeting,
            agent=one.agent,
            token=TOKEN,
            silence_s=one.silence_s,
            records=records,
            words=str(one.words).lower(),
        )
        async with live_gateway(configuration) as gateway:
            yield Place(gateway, line)


async def make(one: Scenario) -> Journal:
    """Make a call, and read what the gateway kept of it."""
    with tempfile.TemporaryDirectory(prefix="talkpath-recorded-") as folder:
        records = Path(folder) / "records.db"
        async with place_for(one, records) as place:
            await one.call(place)
        [path] = records.iterdir()
        journal = read_journal(path.read_bytes().splitlines())
    comparison = compare(replay(journal))
    assert comparison.is_same, f"a call of a moment ago differs: {comparison.first}"
    assert journal.is_whole, journal.entries[-3:]
    return journal


def keep(name: str, journal: Journal) -> None:
    """Write a call, and its story."""
    lines = accepted(journal)
    (FOLDER / f"{name}.jsonl").write_bytes(b"".join(lines))
    (FOLDER / f"{name}.txt").write_text(story(read_journal(lines)))


async def record(names: list[str]) -> None:
    """Make calls side by side."""
    made = await run_together({name: partial(make, SCENARIOS[name]) for name in names}, at_once=6)
    for name in names:
        keep(name, made[name])
        print(f"recorded {name}")  # noqa: T201 - a script for people


def main() -> None:
    """Read the command line."""
    reading = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    reading.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    reading.add_argument("--accept", action="store_true", help="take today's commands as the right ones")
    given = reading.parse_args()
    if unknown := set(given.names) - SCENARIOS.keys():
        reading.error(f"there is no call {', '.join(sorted(unknown))}")
    names = given.names or list(SCENARIOS)
    if given.accept:
        for name in names:
            keep(name, read_journal((FOLDER / f"{name}.jsonl").read_bytes().splitlines()))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(record(names))


if __name__ == "__main__":
    main()
