"""Calls that lose one of their sides, all at the same time over one gateway, each with an agent of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from command_line import AgentProcess, agent_process
from live_gateway import TOKEN, LiveGateway, Story, live_gateway
from network import Network
from sounds import noise
from together import Outcomes, run_together, until

from gateway.observers.transcript import TranscriptLine
from gateway.simulate import CallerFaults, CallResult, CallScript, Note, Utterance, call_twilio
from gateway.simulate.provider import Provider, Record
from gateway.simulate.voice import recording

NORTH, SOUTH = "+3300000001", "+4400000001"
RESUMED, RESUMED_IN_SPEECH, RESUMED_IN_TOOL = "+1000000001", "+1000000002", "+7700000001"
REFUSED, REFUSED_IN_TOOL = "+1000000003", "+7700000002"
RESTARTED, REPLACED, APOLOGY, NOBODY = "+2000000001", "+2000000002", "+2000000003", "+2000000004"
TALKED_OVER = "+2000000005"
CALLER_CUT, CALLER_GONE = "+5000000001", "+5000000002"

READING_S = 9.0
READING = noise(READING_S, seed=5)
"""What the agent of `CALLER_CUT` says."""
GREETING = (
    "Welcome to the house of many voices. Every one of them has something to say, so please be patient."
)
RETURN_S = 4.0
INTO_THE_GREETING_S = 1.5
INTO_THE_WORDS_S = 0.9
INTO_THE_TOOL_S = 0.7
PROCESSES: Final[Mapping[str, tuple[str, str, int]]] = {
    RESTARTED: ("restarted", "", 25),
    REPLACED: ("replaced", "offline", 3),
    APOLOGY: ("sorry", "apology", 3),
    TALKED_OVER: ("talked-over", "apology", 3),
    NOBODY: ("nobody", "", 3),
}
"""Agents that are killed: name, fallback, and how long their sessions are tried to be resumed."""
PROVIDERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    NORTH: ("north", ()),
    SOUTH: ("south", ()),
    RESUMED: ("resumed", ()),
    RESUMED_IN_SPEECH: ("resumed-in-speech", ()),
    RESUMED_IN_TOOL: ("resumed-in-tool", ()),
    REFUSED: ("refused", ("refuse-resume",)),
    REFUSED_IN_TOOL: ("refused-in-tool", ("refuse-resume",)),
    CALLER_CUT: ("cut", ()),
    CALLER_GONE: ("gone", ()),
}
"""Agents in this process: name and faults."""
AGENT = """
  {name}:
    kind: voice_agent
    sessions_per_minute: 100000
    region: {name}
    api_key: none-needed
    session: {{{greeting}}}
    tools: [drive, hang_up]
    resume_s: {resume_s}
    fallback: "{fallback}"
"""
CONFIGURATION = """
server: {{port: 0, admin_port: 0}}
regions:
{regions}
agents:
  offline: {{kind: offline, tools: [drive, hang_up]}}
  apology: {{kind: offline, script: apology, tools: [hang_up]}}
{agents}
routes:
{routes}
adapters: {{twilio: {{auth_token: {token}}}}}
limits: {{return_s: {return_s}}}
"""


class Told(msgspec.Struct, frozen=True):
    """All that is known of one call."""

    result: CallResult
    """What the caller's side measured."""
    story: Story
    """What its journal said."""
    lines: list[TranscriptLine]
    """Its transcript."""
    driven: int
    """How often the tool was run."""
    sessions: tuple[Record, ...] = ()
    """What the agent's sessions received, where the agent is in this process."""
    away_s: float = 0.0
    """From the death of the agent's process until its successor listened."""

    @property
    def words(self) -> str:
        """The transcript as people read it."""
        return "\n".join(line.render() for line in self.lines)


class Ward:
    """The agents, the gateway, and one method per way to lose something."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._gateway: LiveGateway | None = None
        self._providers: dict[str, Provider] = {}
        self._processes: dict[str, AgentProcess] = {}
        self._networks: dict[str, Network] = {}

    async def open(self) -> None:
        """Start every agent, then the gateway that leads to them."""
        enter = self._stack.enter_async_context
        for callee, (_, faults) in PROVIDERS.items():
            sound = READING if callee == CALLER_CUT else b""
            provider = await enter(Provider(faults=faults, reply_audio=sound))
            self._providers[callee] = provider
            self._networks[callee] = await enter(Network(provider.url))
        for callee in PROCESSES:
            self._processes[callee] = await enter(agent_process(self._folder, "--port", "0"))
        self._gateway = await enter(live_gateway(self._yaml()))

    def _yaml(self) -> str:
        regions, agents, routes = [], [], []
        urls = {callee: network.url for callee, network in self._networks.items()}
        urls |= {callee: process.url for callee, process in self._processes.items()}
        for callee, url in urls.items():
            name = PROVIDERS[callee][0] if callee in PROVIDERS else PROCESSES[callee][0]
            _, fallback, resume_s = PROCESSES.get(callee, ("", "", 25))
            greeting = f'greeting: "{GREETING}"' if callee[:3] != "+77" else ""
            pattern = f"{callee[:3]}*" if callee in {NORTH, SOUTH} else callee
            regions.append(f'  {name}: {{voice_agent: "{url}"}}')
            agents.append(AGENT.format(name=name, greeting=greeting, fallback=fallback, resume_s=resume_s))
            routes.append(f'  - {{name: {name}, match: {{callee: ["{pattern}"]}}, agent: {name}}}')
        return CONFIGURATION.format(
            regions="\n".join(regions),
            agents="".join(agents),
            routes="\n".join(routes),
            token=TOKEN,
            return_s=RETURN_S,
        )

    # Calls

    async def call(
        self,
        callee: str,
        *said: Utterance,
        faults: CallerFaults | None = None,
        observer: Callable[[Note], None] | None = None,
        max_s: float = 45.0,
        hang_up: bool = True,
    ) -> Told:
        """One call to a number; by default the rover is told to go forward."""
        assert self._gateway is not None
        said = said or (recording("goforward.wav"),)
        script = CallScript(utterances=said, max_s=max_s, hang_up=hang_up, patience_s=20.0)
        result = await call_twilio(
            self._gateway.url,
            token=TOKEN,
            caller=f"+1415{callee[1:]}",
            callee=callee,
            script=script,
            faults=faults,
            observer=observer,
        )
        witness = self._gateway.witness
        story = await witness.ended(callee)
        provider = self._providers.get(callee)
        return Told(
            result=result,
            story=story,
            lines=witness.lines[callee],
            driven=len(witness.driven.get(callee, [])),
            sessions=tuple(provider.sessions.values()) if provider else (),
        )

    async def lose(
        self,
        callee: str,
        when: str,
        after_s: float,
        blow: Callable[[str], Awaitable[float]],
        *said: Utterance,
        hang_up: bool = True,
    ) -> Told:
        """A call that is dealt a blow some time after a kind of note (``heard``, ``said``), or in the ``tool``."""
        assert self._gateway is not None
        driven = self._gateway.witness.driven
        notes: set[str] = set()
        away_s = 0.0

        async def strike() -> None:
            nonlocal away_s
            await until(lambda: callee in driven if when == "tool" else when in notes)
            await asyncio.sleep(after_s)
            away_s = await blow(callee)

        async with asyncio.TaskGroup() as group:
            call = group.create_task(
                self.call(callee, *said, observer=lambda note: notes.add(note.kind), hang_up=hang_up)
            )
            group.create_task(strike())
        return msgspec.structs.replace(call.result(), away_s=away_s)

    # Blows

    async def cut(self, callee: str) -> float:
        """Cut the agent's TCP connection; the agent can be dialled again."""
        self._networks[callee].cut()
        return 0.0

    async def kill(self, callee: str) -> float:
        """Kill the agent's process for good."""
        await self._processes[callee].kill()
        return 0.0

    async def restart(self, callee: str) -> float:
        """Kill the agent's process and start another one on its port; gives how long nobody listened."""
        process = self._processes[callee]
        killed_at = time.monotonic()
        await process.kill()
        await self._stack.enter_async_context(agent_process(self._folder, "--port", str(process.port)))
        return time.monotonic() - killed_at


@asynccontextmanager
async def ward(folder: Path) -> AsyncIterator[Ward]:
    """Everything that the calls need."""
    async with AsyncExitStack() as stack:
        opened = Ward(folder, stack)
        await opened.open()
        yield opened


async def lose_everything(folder: Path) -> Outcomes[Told]:
    """All scenarios side by side."""
    go = recording("goforward.wav")
    early, late = (msgspec.structs.replace(go, at_s=at_s) for at_s in (0.6, 17.0))
    over = msgspec.structs.replace(go, at_s=10.5)
    never = Utterance(label="nothing", at_s=60.0)
    greeting = ("heard", INTO_THE_GREETING_S)
    async with ward(folder) as one:
        scenarios: dict[str, Callable[[], Awaitable[Told]]] = {
            NORTH: lambda: one.call(NORTH),
            SOUTH: lambda: one.call(SOUTH, recording("cards_001.wav")),
            RESUMED: lambda: one.lose(RESUMED, *greeting, one.cut),
            RESUMED_IN_SPEECH: lambda: one.lose(RESUMED_IN_SPEECH, "said", INTO_THE_WORDS_S, one.cut),
            RESUMED_IN_TOOL: lambda: one.lose(RESUMED_IN_TOOL, "tool", INTO_THE_TOOL_S, one.cut, early),
            REFUSED: lambda: one.lose(REFUSED, *greeting, one.cut),
            REFUSED_IN_TOOL: lambda: one.lose(REFUSED_IN_TOOL, "tool", INTO_THE_TOOL_S, one.cut, early),
            RESTARTED: lambda: one.lose(RESTARTED, *greeting, one.restart),
            REPLACED: lambda: one.lose(REPLACED, *greeting, one.kill, late),
            APOLOGY: lambda: one.lose(APOLOGY, *greeting, one.kill, never, hang_up=False),
            TALKED_OVER: lambda: one.lose(TALKED_OVER, *greeting, one.kill, over, hang_up=False),
            NOBODY: lambda: one.lose(NOBODY, *greeting, one.kill, never, hang_up=False),
            CALLER_CUT: lambda: one.call(
                CALLER_CUT,
                never,
                faults=CallerFaults(kill_socket_at_s=(3.0,)),
                max_s=READING_S + 3.0,
                hang_up=False,
            ),
            CALLER_GONE: lambda: one.call(
                CALLER_GONE, faults=CallerFaults(kill_socket_at_s=(2.0,), ask_after_a_kill=False)
            ),
        }
        return await run_together(scenarios)
