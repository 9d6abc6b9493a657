"""Calls whose caller's media connection is cut at seeded instants, as Twilio's may be, and what became of them.

A simulated Twilio whose stream breaks asks what follows, and is invited again (reference: carriers, 2.1 and 2.6). Every
call has a stretch of network of its own; only its media sockets are cut, never its webhooks.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from counting_agent import READY_S, counting_agents
from cuts import PIECE_S, TOOL_S, Counter
from fault_proxy import Carried, Direction, Fault, FaultProxy, Kind
from lateness import Lateness, watched_clock
from live_gateway import TOKEN, LiveGateway, Story, live_gateway
from msgspec import Struct
from numbered import WORD_MS, Voice
from persona import Persona, Stage
from together import Outcomes, run_together

from gateway.simulate import CallResult, CallScript, TwilioCaller, Utterance

WORDS = 14
LEAD_S, UTTERANCE_S, PAUSE_S = 2.1, 0.7, 3.4
MOST_S = 60.0
VOICE = Voice(LEAD_S, UTTERANCE_S, PAUSE_S, MOST_S)
STAGES: Final[Mapping[Stage, float]] = {
    "dialled": READY_S * 1.2,
    "streaming": WORDS * WORD_MS / 1000,
    "caller_speaks": UTTERANCE_S - 0.1,
    "tail": WORDS * WORD_MS / 1000,
    "between": 0.5,
    "tool_pending": TOOL_S,
    "result_sent": 0.3,
    "hang_up": 1.0,
}
"""What goes on when the cut comes, and how long it goes on."""
WAYS: Final[tuple[tuple[Kind, Direction], ...]] = (
    ("reset", "both"),
    ("drop", "both"),
    ("half_close", "to_client"),
    ("delay", "both"),
    ("reset", "to_client"),
    ("close", "both"),
    ("drip", "to_client"),
    ("half_close", "to_server"),
    ("reset", "to_server"),
    ("delay", "to_client"),
    ("close", "to_server"),
    ("delay", "to_server"),
    ("drip", "to_server"),
)
"""In the order in which they are dealt out; the client of this stretch of network is the carrier."""
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


class CallerCase(Struct, frozen=True):
    """One call, and how it is cut."""

    number: int
    stage: Stage
    nth: int
    """Which time the stage is reached."""
    offset_s: float
    """How long after that."""
    fault: Fault
    burst: bool
    """Whether the agent sends a reply at once."""

    @property
    def name(self) -> str:
        """Name of agent, route and region."""
        return f"c{self.number}"

    @property
    def callee(self) -> str:
        """The number that is called."""
        return f"+1901{self.number:06}"

    @property
    def way(self) -> str:
        """The fault in words."""
        return f"{self.fault.kind} {self.fault.direction}".replace("_", " ")

    def __str__(self) -> str:
        lasts = f" for {self.fault.for_s:.1f} s" if self.fault.for_s else ""
        when = f"{self.offset_s * 1000:.0f} ms after {self.stage} {self.nth}"
        return f"cut {self.number}: {self.way}{lasts}, {when}{', burst' if self.burst else ''}"


class CallerCut(Struct):
    """What came of one case."""

    case: CallerCase
    result: CallResult
    """The caller's side."""
    story: Story
    """The journal's side."""
    persona: Persona
    """The agent's side."""
    ran: list[int]
    """Requests for which the tool was run."""
    struck_at: float | None
    """When the connection was cut; the loop's time."""
    lateness: Lateness
    """How late everybody was meanwhile."""


def plan_caller_cut(seed: int, number: int) -> CallerCase:
    """Deal out stage and fault so that all come about equally often, and draw the rest."""
    chance = random.Random(f"caller-{seed}-{number}")  # noqa: S311 - to be repeatable
    stages = list(STAGES)
    stage = stages[number % len(stages)]
    kind, direction = WAYS[(number + number // (len(stages) * len(WAYS))) % len(WAYS)]
    fault = Fault(kind, direction)
    if kind == "delay":
        fault = Fault(kind, direction, for_s=chance.uniform(0.2, 3.0))
    elif kind == "drip":
        rate = chance.randrange(2000, 12_000)
        fault = Fault(kind, direction, for_s=chance.uniform(0.3, 2.0), bytes_per_s=rate)
    elif kind == "drop":
        fault = Fault(kind, direction, for_s=chance.uniform(0.5, 8.0))  # until the carrier notices by itself
    elif (kind, direction) in (("reset", "to_server"), ("close", "to_server")):
        # a carrier sends all the time: a round trip later it knows
        fault = Fault(kind, direction, for_s=chance.uniform(0.02, 0.2))
    return CallerCase(
        number=number,
        stage=stage,
        nth=chance.choice((2, 3)) if stage in ("caller_speaks", "between", "streaming", "tail") else 1,
        offset_s=chance.uniform(0.0, STAGES[stage]),
        fault=fault,
        burst=stage == "tail" or chance.random() < 0.4,
    )


class CallerField:
    """A gateway and an agent per case; each call brings its own stretch of network."""

    def __init__(self, cases: Iterable[CallerCase]) -> None:
        self.cases = list(cases)
        self.counter = Counter()
        self.personas = {
            case.number: Persona(case.name, burst=case.burst, words=WORDS) for case in self.cases
        }
        self.gateway: LiveGateway
        self.lateness = Lateness()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["CallerField"]:
        """Start all of it."""
        async with AsyncExitStack() as stack:
            self.lateness = await stack.enter_async_context(watched_clock())
            agents = await stack.enter_async_context(counting_agents(self.personas.values()))
            names = [case.name for case in self.cases]
            configuration = CONFIGURATION.format(
                regions="\n".join(f'  {name}: {{voice_agent: "{agents.address(name)}"}}' for name in names),
                agents="".join(AGENT.format(name=name) for name in names),
                routes="\n".join(
                    f'  - {{name: {case.name}, match: {{callee: ["{case.callee}"]}}, agent: {case.name}}}'
                    for case in self.cases
                ),
                token=TOKEN,
            )
            plugins = [self.counter.plugin()]
            self.gateway = await stack.enter_async_context(live_gateway(configuration, plugins))
            yield self

    async def call(self, case: CallerCase) -> CallerCut:
        """Make one call and cut it."""
        persona = self.personas[case.number]
        media: list[Carried] = []
        loop = asyncio.get_running_loop()

        def note(carried: Carried) -> None:
            if carried.opening.startswith(b"GET /v1/ws"):
                media.append(carried)

        def strike() -> None:
            persona.last_cut_at = loop.time()
            persona.more_cuts = False
            media[-1].strike(case.fault)

        def reached(stage: Stage, times: int) -> None:
            if (stage, times) == (case.stage, case.nth):
                loop.call_later(case.offset_s, strike)

        persona.more_cuts = case.stage != "hang_up"
        persona.watch(reached)
        async with FaultProxy(self.gateway.url, on_carried=note) as network:
            result = await TwilioCaller(
                network.url,
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
            story = await self.gateway.witness.ended(case.callee, 60.0)
        struck_at = persona.last_cut_at or None
        ran = self.counter.ran.get(case.callee, [])
        return CallerCut(case, result, story, persona, ran, struck_at, self.lateness)


async def cut_every_caller(cases: list[CallerCase], at_once: int) -> Outcomes[CallerCut]:
    """Make all calls, so many at a time."""
    async with CallerField(cases).open() as field:
        return await run_together(
            {str(case.number): partial(field.call, case) for case in cases},
            limit_s=MOST_S + 70,
            at_once=at_once,
        )
