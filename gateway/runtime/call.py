"""Runs one call: carries events into its machine and commands out of it.

Owns the driver, the children of a call (legs, tools, requests to the carrier) and their end. Decides nothing
about the conversation. A call lives from its first event to its end, over any number of sockets.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from gateway.call.conversation import Phase
from gateway.call.machine import CallMachine
from gateway.contracts import Adapter, Route, SessionMemory
from gateway.events import (
    AbandonTool,
    AnyCommand,
    AnyEvent,
    AskReply,
    CallerLeft,
    CallerLost,
    CallerReturned,
    CallInfo,
    CallStarted,
    Clear,
    CloseAgent,
    Configure,
    ControlAnswered,
    Forward,
    HangUp,
    OpenAgent,
    Play,
    PlayClip,
    Remember,
    RunTool,
    SendAudio,
    SendResult,
    TimeReached,
    Transfer,
)
from gateway.runtime.agent_side import AgentSide
from gateway.runtime.clips import load_clips
from gateway.runtime.control import carry_out
from gateway.runtime.house import House, LiveCall
from gateway.runtime.inbox import Inbox
from gateway.runtime.journal import Journal
from gateway.runtime.legs import WireLeg
from gateway.runtime.terms import call_terms, tools_of

CONTROL_S: Final = 10.0
"""How long the carrier's answer to a hang-up is waited for when the call is over."""
TOOLS_S: Final = 10.0
"""How long tools that nobody waits for may go on when the call is over."""


TO_AGENT: Final = (Configure, SendAudio, SendResult, AskReply, Forward)


class CallRunner:
    """Runs one call: one task group, one inbox, one driver."""

    def __init__(self, call_id: str, route: Route, house: House) -> None:
        self.call_id = call_id
        self.route = route
        self.info: CallInfo | None = None
        """Who calls whom, once the call has started."""
        self._house = house
        self._settings = house.generation.settings
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._settings.limits.inbox)
        self._machine: CallMachine | None = None
        self._journal: Journal | None = None
        self._clips: Mapping[str, bytes] = {}
        self._group: asyncio.TaskGroup | None = None
        self._caller: WireLeg | None = None
        self._agent: AgentSide | None = None
        self._memories: dict[str, SessionMemory] = {}
        self._tools: set[asyncio.Task[None]] = set()
        self._controls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        self._started = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def phase(self) -> str:
        """Phase of the conversation."""
        return self._machine.phase.value if self._machine else Phase.WAITING.value

    @property
    def agent(self) -> str:
        """Name of the agent in force; the route's first one before the call has started."""
        return self._machine.agent if self._machine else self.route.agents[0]

    # Life

    async def run(self) -> None:
        """Run the whole life of the call.

        A bug raises out of here as an exception group, after the caller heard an apology.
        """
        try:
            async with asyncio.TaskGroup() as self._group:
                self._started.set()
                try:
                    await self._drive()
                    self._inbox.close()
                    await self._say_goodbye()
                finally:
                    self._stop_children()
        except* Exception:
            await self._apologise()
            raise
        finally:
            self._ended.set()
            if self._timer:
                self._timer.cancel()
            if self._journal:
                self._journal.close()

    async def wait_ended(self) -> None:
        """Wait for the end of the call."""
        await self._ended.wait()

    async def serve(self, leg: WireLeg) -> None:
        """Attach a caller's leg, the first one or one that comes back; returns when that leg has ended."""
        await self._started.wait()
        if self._ended.is_set() or self._group is None:
            await leg.close(1000, "the call is over")
            return
        previous, self._caller = self._caller, leg
        if previous is not None:
            self._group.create_task(previous.close(1000, "the call goes on over another connection"))
        writer = self._group.create_task(leg.write())
        reader = self._group.create_task(self._read_caller(leg))
        try:
            await asyncio.wait({reader})
        finally:
            reader.cancel()
            writer.cancel()

    def offer(self, event: AnyEvent) -> None:
        """Hand over an event of the house."""
        self._inbox.put_now(event)

    # The driver

    async def _drive(self) -> None:
        while not (self._machine and self._machine.phase is Phase.ENDED):
            event = await self._next()
            if self._machine is None:
                if not isinstance(event, CallStarted):
                    return  # whoever was to be served has gone before saying a word
                self._begin(event)
            self.step(event, self._loop.time())

    async def _next(self) -> AnyEvent:
        # the clock comes first: a full inbox must not starve it
        while True:
            deadline = self._machine.deadline if self._machine else None
            if deadline is not None and self._loop.time() >= deadline:
                return TimeReached()
            self._arm(deadline)
            if (event := await self._inbox.get()) is not None:
                return event

    def _arm(self, deadline: float | None) -> None:
        if deadline == self._armed_for:
            return
        if self._timer:
            self._timer.cancel()
        self._armed_for = deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._armed_for = None
        self._inbox.wake()

    def step(self, event: AnyEvent, now: float) -> None:
        """Let the machine take an event, and carry out what it wants; never waits."""
        machine, journal = self._machine, self._journal
        if machine is None or journal is None:
            raise RuntimeError("the call has not begun")
        journal.write(now, event)
        for command in machine.receive(event, now):
            journal.write(now, command)
            self._perform(command)

    def _begin(self, event: CallStarted) -> None:
        self.info = event.info
        generation = self._house.generation
        self._clips = load_clips(self._settings.agents[self.route.agents[0]], event.info.audio)
        terms = call_terms(generation, self._adapter(event.info), self.route, event.info, self._clips)
        self._journal = Journal(generation.parts.observers, event.info, terms)
        self._machine = CallMachine(terms)

    def _adapter(self, info: CallInfo) -> Adapter:
        return self._house.generation.parts.adapters[info.adapter]

    # Commands

    def _perform(self, command: AnyCommand) -> None:
        match command:
            case PlayClip(clip=clip, at_ms=at_ms, ms=ms):
                if self._caller and self.info:
                    audio = self.info.audio
                    start = audio.frame_bytes(at_ms)
                    piece = self._clips[clip][start : start + audio.frame_bytes(ms)]
                    self._caller.post(Play(f"clip:{clip}", piece))
            case OpenAgent():
                self._open(command)
            case RunTool():
                self._spawn(self._run_tool(command), self._tools)
            case AbandonTool():
                self._house.toolbox.abandon(command, self.call_id)
            case Transfer():
                self._spawn(self._control("transfer", command), self._controls)
            case HangUp():
                if command.reason != "caller_left":
                    self._spawn(self._control("hang_up", command), self._controls)
            case CloseAgent():
                if self._agent:
                    self._agent.dismiss()
            case Remember():
                pass  # the journal has it
            case _ if isinstance(command, TO_AGENT):
                if self._agent:
                    self._agent.post(command)
            case _:
                if self._caller:
                    self._caller.post(command)

    def _open(self, command: OpenAgent) -> None:
        if self._agent:
            self._agent.dismiss()
        if self._group and self.info:
            memory = self._memories.setdefault(command.agent, SessionMemory())
            self._agent = AgentSide(command, self.info, memory, self._house)
            self._agent.start(self._group, self._inbox)

    # Children

    async def _read_caller(self, leg: WireLeg) -> None:
        said_goodbye = False
        try:
            async for event in leg:
                if isinstance(event, CallStarted) and self._machine:
                    event = CallerReturned(event.info)  # noqa: PLW2901 - the same call on a new socket
                said_goodbye = said_goodbye or isinstance(event, CallerLeft)
                await self._inbox.put(event)
        finally:
            if self._caller is leg:
                self._caller = None
                if not said_goodbye:
                    self._inbox.put_now(CallerLost(f"the connection was closed ({leg.close_code})"))

    async def _run_tool(self, command: RunTool) -> None:
        if self.info is None or self._machine is None:
            return
        tools = {tool.name: tool for tool in tools_of(self._house.generation, self._machine.agent)}
        handle = LiveCall(self.info, self._inbox)
        finished = await self._house.toolbox.run(tools.get(command.name), command, handle)
        self._inbox.put_now(finished)

    async def _control(self, action: str, command: HangUp | Transfer) -> None:
        if self.info is None:
            return
        adapter = self._adapter(self.info)
        settings = self._settings.adapters.get(self.info.adapter)
        request = adapter.control(command, self.info, settings) if adapter.control else None
        if request:
            self._inbox.put_now(await carry_out(action, request))
        elif action == "transfer":
            detail = "this caller cannot be transferred: the adapter has no REST credentials"
            self._inbox.put_now(ControlAnswered(action, succeeded=False, detail=detail))

    def _spawn(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        if self._group is None:
            work.close()
            return
        task = self._group.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)

    # The end

    async def _say_goodbye(self) -> None:
        """Flush and close both sides, let tools finish; in bounded time."""
        caller, self._caller = self._caller, None
        async with asyncio.TaskGroup() as group:
            if caller:
                group.create_task(caller.close(1000, "the call is over"))
            if self._agent:
                group.create_task(self._agent.wait_closed())
            if self._controls:
                group.create_task(_wait(self._controls, CONTROL_S))
            if self._tools:
                group.create_task(_wait(self._tools, TOOLS_S))

    def _stop_children(self) -> None:
        if self._agent:
            self._agent.stop()
        for task in (*self._tools, *self._controls):
            task.cancel()

    async def _apologise(self) -> None:
        """After a bug of ours: let the caller hear that something went wrong, then hang up."""
        caller, self._caller = self._caller, None
        if caller is None or self.info is None:
            return
        audio, clip = self.info.audio, self._clips.get("apology", b"")
        size = audio.frame_bytes(20)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(caller.write())
            caller.post(Clear())
            for at in range(0, len(clip), size):
                caller.post(Play("clip:apology", clip[at : at + size]))
            await asyncio.sleep(audio.ms(len(clip)) / 1000)
            await caller.close(1011, "something went wrong on our side")
            writer.cancel()


async def _wait(tasks: AbstractSet[asyncio.Task[None]], limit_s: float) -> None:
    await asyncio.wait(tasks, timeout=limit_s)
