"""Calls whose agent's connection is cut at seeded instants, and what became of each of them.

Every call has an agent and a stretch of network of its own, so that a cut hits one call. The agent answers the
caller's utterances with numbered sentences, asks for a tool once, and hangs up after a turn that began behind the last
cut: a call that ends so went on, both ways.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from counting_agent import READY_S, counting_agents
from fault_proxy import Direction, Fault, FaultProxy, Kind
from lateness import Lateness, watched_clock
from live_gateway import TOKEN, LiveGateway, Story, live_gateway
from msgspec import Struct
from numbered import SENTENCE_MS, Voice
from persona import Persona, Stage
from together import Outcomes, run_together

from gateway.hookspecs import hookimpl
from gateway.simulate import CallResult, CallScript, TwilioCaller, Utterance
from gateway.tools import CallHandle, Tool

TOOL_S = 0.6
LEAD_S, UTTERANCE_S, PAUSE_S = 1.6, 0.7, 2.8
MOST_S = 60.0
PIECE_S = 1.0
VOICE = Voice(LEAD_S, UTTERANCE_S, PAUSE_S, MOST_S)
STAGES: Final[Mapping[Stage, float]] = {
    "dialled": READY_S * 1.2,
    "caller_speaks": UTTERANCE_S - 0.1,
    "between": 0.5,
    "streaming": SENTENCE_MS / 1000,
    "tail": 0.1,
    "tool_pending": TOOL_S,
    "result_sent": 0.3,
    "resuming": READY_S,
    "hang_up": 0.8,
}
"""What goes on when the cut comes, and how long it goes on."""
WAYS: Final[tuple[tuple[Kind, Direction], ...]] = (
    ("reset", "both"),
    ("drop", "both"),
    ("half_close", "to_client"),
    ("delay", "both"),
    ("reset", "to_client"),
    ("close", "both"),
    ("drop", "to_server"),
    ("drip", "to_client"),
    ("half_close", "to_server"),
    ("reset", "to_server"),
    ("delay", "to_server"),
    ("drop", "to_client"),
    ("drip", "to_server"),
    ("delay", "to_client"),
    ("close", "to_client"),
)
"""In the order in which they are dealt out; the client of this stretch of network is the gateway."""
CONFIGURATION = """
server: {{port: 0, admin_port: 0}}
regions:
{regions}
agents:
{agents}
routes:
{routes}
adapters: {{twilio: {{auth_token: {token}}}}}
limits: {{calls_per_caller: 1000}}
"""
AGENT = """
  {name}:
    kind: voice_agent
    sessions_per_minute: 100000
    region: {name}
    api_key: none-needed
    session: {{system_prompt: Count., greeting: hello}}
    tools: [count, hang_up]
"""


class Case(Struct, frozen=True):
    """One call, and how it is cut."""

    number: int
    stage: Stage
    nth: int
    """Which time the stage is reached."""
    offset_s: float
    """How long after that; with ``after_bytes`` not used."""
    after_bytes: int
    """How many bytes of the agent's after that; 0 for a moment."""
    fault: Fault
    accepts_resume: bool
    repeats_requests: bool
    burst: bool
    """Whether the agent sends a reply at once."""

    @property
    def name(self) -> str:
        """Name of agent, route and region."""
        return f"c{self.number}"

    @property
    def callee(self) -> str:
        """The number that is called."""
        return f"+1900{self.number:06}"

    @property
    def way(self) -> str:
        """The fault in words."""
        return f"{self.fault.kind} {self.fault.direction}".replace("_", " ")

    def __str__(self) -> str:
        when = f"{self.after_bytes} bytes" if self.after_bytes else f"{self.offset_s * 1000:.0f} ms"
        resume = "accepted" if self.accepts_resume else "refused"
        pace = ", burst" if self.burst else ""
        return f"cut {self.number}: {self.way}, {when} after {self.stage} {self.nth}, resume {resume}{pace}"


class Cut(Struct):
    """What came of one case."""

    case: Case
    result: CallResult
    """The caller's side."""
    story: Story
    """The journal's side."""
    persona: Persona
    """The agent's side."""
    ran: list[int]
    """Requests for which the tool was run."""
    struck_at: list[float]
    """When the connection was cut; the loop's time."""
    lateness: Lateness
    """How late everybody was meanwhile."""


def plan_cut(seed: int, number: int) -> Case:
    """Deal out stage and fault so that all come about equally often, and draw the rest."""
    chance = random.Random(f"{seed}-{number}")  # noqa: S311 - to be repeatable
    stages = list(STAGES)
    stage = stages[number % len(stages)]
    kind, direction = WAYS[(number + number // (len(stages) * len(WAYS))) % len(WAYS)]
    fault = Fault(kind, direction)
    if kind == "delay":
        fault = Fault(kind, direction, for_s=chance.uniform(0.2, 1.8))
    elif kind == "drip":
        rate = chance.randrange(500, 6000)
        fault = Fault(kind, direction, for_s=chance.uniform(0.3, 1.5), bytes_per_s=rate)
    by_bytes = stage == "streaming" and chance.random() < 0.5
    return Case(
        number=number,
        stage=stage,
        nth=chance.choice((2, 3)) if stage in ("caller_speaks", "between", "streaming", "tail") else 1,
        offset_s=chance.uniform(0.0, STAGES[stage]),
        after_bytes=chance.randrange(1, 8000) if by_bytes else 0,
        fault=fault,
        accepts_resume=number % 2 == 0,
        repeats_requests=chance.random() < 0.5,
        burst=stage == "tail" or chance.random() < 0.3,
    )


class Counter:
    """The tool, and how often it was run in each call."""

    def __init__(self) -> None:
        self.ran: dict[str, list[int]] = {}

    def plugin(self) -> SimpleNamespace:
        """Hooks that bring it."""

        async def count(request: int, call: CallHandle) -> dict[str, Any]:
            """Count a request."""
            ran = self.ran.setdefault(call.info.callee, [])
            ran.append(request)
            await asyncio.sleep(TOOL_S)
            return {"request": request, "ran": len(ran)}

        @hookimpl
        def register_tools() -> list[Tool]:
            return [Tool.of(count, timeout_s=10)]

        return SimpleNamespace(__name__="counter", register_tools=register_tools)


class Field:
    """A gateway, an agent per case and a stretch of network to each of them."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.cases = list(cases)
        self.counter = Counter()
        self.personas = {
            case.number: Persona(
                case.name,
                accepts_resume=case.accepts_resume,
                repeats_requests=case.repeats_requests,
                burst=case.burst,
            )
            for case in self.cases
        }
        self.networks: dict[int, FaultProxy] = {}
        self.gateway: LiveGateway
        self.lateness = Lateness()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Field"]:
        """Start all of it."""
        async with AsyncExitStack() as stack:
            self.lateness = await stack.enter_async_context(watched_clock())
            agents = await stack.enter_async_context(counting_agents(self.personas.values()))
            for case in self.cases:
                proxy = FaultProxy(agents.address(case.name))
                self.networks[case.number] = await stack.enter_async_context(proxy)
            plugins = [self.counter.plugin()]
            self.gateway = await stack.enter_async_context(live_gateway(self._yaml(), plugins))
            yield self

    def _yaml(self) -> str:
        return CONFIGURATION.format(
            regions="\n".join(
                f'  {case.name}: {{voice_agent: "{self.networks[case.number].url}"}}' for case in self.cases
            ),
            agents="".join(AGENT.format(name=case.name) for case in self.cases),
            routes="\n".join(
                f'  - {{name: {case.name}, match: {{callee: ["{case.callee}"]}}, agent: {case.name}}}'
                for case in self.cases
            ),
            token=TOKEN,
        )

    async def call(self, case: Case) -> Cut:
        """Make one call and cut it."""
        persona, network = self.personas[case.number], self.networks[case.number]
        struck_at: list[float] = []
        loop = asyncio.get_running_loop()

        def strike(fault: Fault) -> None:
            persona.last_cut_at = loop.time()
            persona.more_cuts = case.stage == "resuming" and not struck_at
            struck_at.append(loop.time())
            network.carried[-1].strike(fault)

        def reached(stage: Stage, times: int) -> None:
            if case.stage == "resuming" and (stage, times) == ("streaming", 2):
                loop.call_later(case.offset_s, strike, Fault("reset"))
            if (stage, times) != (case.stage, case.nth):
                return
            if case.after_bytes:
                carried = network.carried[-1]
                at = carried.to_client.carried_bytes + case.after_bytes
                carried.to_client.due = (at, partial(strike, case.fault))
            else:
                loop.call_later(case.offset_s, strike, case.fault)

        persona.more_cuts = case.stage != "hang_up"
        persona.watch(reached)
        result = await TwilioCaller(
            self.gateway.url,
            token=TOKEN,
            callee=case.callee,
            script=CallScript(
                utterances=tuple(
                    Utterance(pcm=pcm, rate_hz=8000, at_s=place * PIECE_S)
                    for place, pcm in enumerate(VOICE.pieces(PIECE_S))
                ),
                hang_up=False,
                max_s=MOST_S,
            ),
        ).run()
        story = await self.gateway.witness.ended(case.callee)
        ran = self.counter.ran.get(case.callee, [])
        return Cut(case, result, story, persona, ran, struck_at, self.lateness)


async def cut_everybody(cases: list[Case], at_once: int) -> Outcomes[Cut]:
    """Make all calls, so many at a time."""
    async with Field(cases).open() as field:
        return await run_together(
            {str(case.number): partial(field.call, case) for case in cases},
            limit_s=MOST_S + 30,
            at_once=at_once,
        )
