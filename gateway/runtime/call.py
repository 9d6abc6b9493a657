"""Runs one call: carries events into its machine and commands out of it.

Owns the driver, the children of a call (legs, tools, requests to the carrier) and their end. Decides nothing
about the conversation. A call lives from its first event to its end, over any number of sockets.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from gateway.audio import AudioFormat
from gateway.call.conversation import Phase
from gateway.call.machine import CallMachine
from gateway.commands import (
    AbandonTool,
    AnyCommand,
    AskReply,
    CallEnded,
    CloseAgent,
    Configure,
    Forward,
    HangUp,
    OpenAgent,
    Play,
    PlayClip,
    Remember,
    RunTool,
    SendAudio,
    SendResult,
    Transfer,
)
from gateway.contracts import Route, SessionMemory
from gateway.errors import ConfigError
from gateway.events import (
    AnyEvent,
    CallerLeft,
    CallerLost,
    CallerReturned,
    CallInfo,
    CallStarted,
    HostContacted,
    TimeReached,
)
from gateway.runtime.agent_side import ENDED_S, AgentSide
from gateway.runtime.alarm import Alarm
from gateway.runtime.apology import apologise
from gateway.runtime.clips import BUILT_IN_CLIPS, cut, load_clip, load_clips
from gateway.runtime.control import ask_carrier
from gateway.runtime.egress import Reach, on_errand
from gateway.runtime.house import House, LiveCall
from gateway.runtime.inbox import Inbox
from gateway.runtime.journal import Journal
from gateway.runtime.legs import WireLeg
from gateway.runtime.terms import call_terms, tools_of
from gateway.tools import Tool

AFTERWORK_S: Final = 10.0
"""How long the carrier's answer and tools that nobody waits for may take when the call is over."""
TICKS: Final = 1000
"""How often in a row the machine may be told the time without reaching a later deadline."""
GONE_ALREADY: Final = frozenset({"caller_left", "transferred"})
"""Ends of a call in which the carrier must not be asked to hang up: there is no call any more, or another one."""

_log: Final = logging.getLogger("talkpath.calls")


class CallRunner:
    """Runs one call: one task group, one inbox, one driver."""

    def __init__(self, call_id: str, route: Route, house: House) -> None:
        self.call_id = call_id
        self.route = route
        self.info: CallInfo | None = None
        """Who calls whom, once the call has started."""
        self.reach = Reach(route, house.generation, self._note_contact)
        """Where the call may connect, and where it has."""
        self._house = house
        self._settings = house.generation.settings
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._settings.limits.inbox, self._take)
        self._machine: CallMachine | None = None
        self._journal: Journal | None = None
        self._clips: Mapping[str, bytes] = {}
        self._group = asyncio.TaskGroup()
        self._callers: list[WireLeg] = []
        self._caller: WireLeg | None = None
        self._caller_started = self._caller_left = False
        self._agent: AgentSide | None = None
        self._memories: dict[str, SessionMemory] = {}
        self._streams: set[asyncio.Task[None]] = set()
        self._sides: set[asyncio.Task[None]] = set()
        self._afterwork: set[asyncio.Task[None]] = set()
        self._alarm = Alarm(self._inbox.wake)
        self._ticks = 0
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

    @property
    def contacts(self) -> Sequence[tuple[float, HostContacted]]:
        """Which hosts were contacted for the call and when, in Unix time."""
        return self.reach.contacts

    # Life

    async def run(self) -> None:
        """Run the whole life of the call.

        A bug raises out of here as an exception group, after the caller heard an apology. Cancelled, it ends the
        agent's session before it ends; the caller's connections are closed by those who `serve` them.
        """
        reason = "stopped"
        try:
            async with self._group:
                self._started.set()
                try:
                    await self._drive()
                    await self._say_goodbye(self._part)
                except Exception:
                    reason = "bug"
                    await self._say_goodbye(self._apologise)
                    raise
                finally:
                    self._inbox.close()
                    for task in (*self._streams, *self._sides, *self._afterwork):
                        task.cancel()
        finally:
            self._started.set()
            self._ended.set()
            self._alarm.switch_off()
            self._close_journal(reason)

    async def serve(self, leg: WireLeg) -> None:
        """Attach a caller's leg, the first one or one that comes back.

        Returns when that leg has ended, or with the call, closed then. `run` must be running, or will be.
        """
        await self._started.wait()
        if not self._inbox.closed:
            await self._attend(leg)
        if self._inbox.closed:
            await leg.close(1000, "the call is over")

    async def _attend(self, leg: WireLeg) -> None:
        self._callers.append(leg)
        reader = self._spawn(self._streams, self._read_caller, leg)
        writer = self._spawn(self._streams, leg.write)
        try:
            await asyncio.wait({reader})
            if self._inbox.closed:
                await self._ended.wait()  # an apology may still be said on it
        finally:
            reader.cancel()
            writer.cancel()
            self._callers.remove(leg)
            self._lose(leg)

    def offer(self, event: AnyEvent) -> None:
        """Hand over an event of the house."""
        self._inbox.put_now(event)

    def _note_contact(self, contact: HostContacted) -> None:
        if self._inbox.closed and self._journal:
            self._journal.write(self._loop.time(), contact)  # such as the request that hangs up
        else:
            self._inbox.put_now(contact)

    # The driver

    async def _drive(self) -> None:
        while (event := await self._next()) is not None:
            if self._machine is None:
                if not isinstance(event, CallStarted):
                    return  # whoever was to be served has gone before saying a word
                self._begin(event)
            self.step(event, self._loop.time())

    async def _next(self) -> AnyEvent | None:
        # the clock comes first: a full inbox must not starve it
        while not self._is_over:
            deadline = self._machine.deadline if self._machine else None
            if deadline is not None and self._loop.time() >= deadline:
                self._ticks += 1
                if self._ticks > TICKS:
                    raise RuntimeError(f"the machine's deadline stays in the past ({self.phase})")
                return TimeReached(deadline)
            self._ticks = 0
            self._alarm.set_to(deadline)
            if (event := await self._inbox.get()) is not None:
                return event
        return None

    @property
    def _is_over(self) -> bool:
        return self._machine is not None and self._machine.phase is Phase.ENDED

    def _take(self, event: AnyEvent) -> bool:
        """Step at once, in the task of the side that brings the event, when the driver has nothing else to do."""
        machine, now = self._machine, self._loop.time()
        if machine is None or (deadline := machine.deadline) is None or now >= deadline:
            return False
        self.step(event, now)
        if machine.deadline is not deadline:  # nearly every frame leaves it where it is
            self._alarm.set_to(machine.deadline)
            if self._is_over:
                self._inbox.wake()
        return True

    def step(self, event: AnyEvent, now: float) -> None:
        """Let the machine take an event, and carry out what it wants; never waits."""
        machine, journal = self._machine, self._journal
        if machine is None or journal is None:
            raise RuntimeError("the call has not begun")
        readers = journal.readers  # nobody reads most of what passes
        if type(event) in readers:
            journal.write(now, event)
        for command in machine.receive(event, now):
            if type(command) in readers:
                journal.write(now, command)
            self._perform(command)

    def _begin(self, event: CallStarted) -> None:
        self.info = event.info
        generation = self._house.generation
        self._clips = self._load_clips(event.info.audio)
        adapter = generation.parts.adapters[event.info.adapter]
        terms = call_terms(generation, adapter, self.route, event.info, self._clips)
        self._journal = Journal(generation.parts.observers, event.info, terms)
        self._machine = CallMachine(terms)

    def _load_clips(self, audio: AudioFormat) -> Mapping[str, bytes]:
        try:
            return load_clips(self._settings.agents[self.route.agents[0]], audio)
        except ConfigError as error:
            _log.error("call %s plays the built-in sounds instead: %s", self.call_id, error)
            return {name: load_clip("", name, audio) for name in BUILT_IN_CLIPS}

    # Commands

    def _perform(self, command: AnyCommand) -> None:
        match command:
            case SendAudio() | Configure() | SendResult() | AskReply() | Forward():
                if self._agent and self._agent.leg:
                    self._agent.leg.post(command)
            case Play():
                if self._caller:
                    self._caller.post(command)
            case PlayClip(clip=clip, at_ms=at_ms, ms=ms):
                self._post_to_caller(Play(f"clip:{clip}", cut(self._clips[clip], self.info, at_ms, ms)))
            case OpenAgent():
                self._open(command)
            case RunTool():
                self._run_tool(command)
            case AbandonTool():
                self._house.toolbox.abandon(command, self.call_id)
            case Transfer():
                self._spawn(self._afterwork, self._control, "transfer", command)
            case HangUp():
                self._post_to_caller(command)
                if command.reason not in GONE_ALREADY:
                    self._spawn(self._afterwork, self._control, "hang_up", command)
            case CloseAgent():
                if self._agent:
                    self._agent.dismiss()
            case Remember():
                pass  # the journal has it
            case _:
                self._post_to_caller(command)

    def _post_to_caller(self, command: AnyCommand) -> None:
        if self._caller:
            self._caller.post(command)

    def _open(self, command: OpenAgent) -> None:
        if self._agent:
            self._agent.dismiss()
        if self.info:
            memory = self._memories.setdefault(command.agent, SessionMemory())
            self._agent = AgentSide(command, self.info, memory, self._house, self.reach)
            self._spawn(self._sides, self._agent.run, self._inbox)

    def _run_tool(self, command: RunTool) -> None:
        tools = {tool.name: tool for tool in tools_of(self._house.generation, self.agent)}
        if self.info:
            handle = LiveCall(self.info, self._inbox)
            self._spawn(self._afterwork, self._finish_tool, tools.get(command.name), command, handle)

    # Children

    def _spawn(
        self, among: set[asyncio.Task[None]], work: Callable[..., Awaitable[None]], *arguments: Any
    ) -> asyncio.Task[None]:
        task = self._group.create_task(self._guard(work, *arguments))
        among.add(task)
        task.add_done_callback(among.discard)
        return task

    async def _guard(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Let a bug in a child end the driver, so that there is one way to end for all bugs."""
        try:
            await work(*arguments)
        except Exception as fault:
            if not self._inbox.fail(fault):
                raise

    async def _read_caller(self, leg: WireLeg) -> None:
        async for event in leg:
            told: AnyEvent = event
            if isinstance(event, CallStarted):
                told = self._welcome(leg, event)
            elif self._caller_started and leg is not self._caller:
                continue  # the call goes on over another connection
            self._caller_left = self._caller_left or isinstance(event, CallerLeft)
            await self._inbox.put(told)
        if not self._inbox.closed:
            self._lose(leg)

    def _welcome(self, leg: WireLeg, event: CallStarted) -> CallStarted | CallerReturned:
        previous, self._caller = self._caller, leg
        leg.take, leg.tell = self._inbox.take, self._inbox.put_now
        if previous is not None and previous is not leg:
            previous.take = previous.tell = None  # the call goes on over another connection
            self._spawn(self._sides, previous.close, 1000, "the call goes on over another connection")
        if not self._caller_started:
            self._caller_started = True
            return event
        return CallerReturned(event.info)

    def _lose(self, leg: WireLeg) -> None:
        """The machine learns that the caller is gone, once, and not for a leg that another one has replaced."""
        if leg is self._caller or not self._caller_started:
            self._caller = None
            if not self._caller_left:
                self._inbox.put_now(CallerLost(f"the connection was closed ({leg.ended_with})"))

    async def _finish_tool(self, tool: Tool | None, command: RunTool, handle: LiveCall) -> None:
        with on_errand(self.reach.errand("tools", whom=f"call_id={self.call_id} tool={command.name}")):
            self._inbox.put_now(await self._house.toolbox.run(tool, command, handle))

    async def _control(self, action: str, command: HangUp | Transfer) -> None:
        if self.info and (answered := await ask_carrier(action, command, self.info, self._house, self.reach)):
            self._inbox.put_now(answered)

    # The end

    async def _say_goodbye(self, part: Callable[[WireLeg], Awaitable[None]]) -> None:
        """End both sides, let the carrier answer and tools finish; in bounded time."""
        self._inbox.close()
        if self._agent:
            self._agent.dismiss()
        for leg in self._callers:
            self._spawn(self._sides, part if leg is self._caller else self._part, leg)
        limits, close_s = self._settings.limits, self._settings.server.close_s
        if self._afterwork:
            await asyncio.wait(self._afterwork, timeout=AFTERWORK_S)
        if self._sides:
            await asyncio.wait(self._sides, timeout=limits.goodbye_s + ENDED_S + 4 * close_s)

    async def _part(self, leg: WireLeg) -> None:
        await leg.close(1000, "the call is over")

    async def _apologise(self, leg: WireLeg) -> None:
        """After a bug of ours: let the caller hear that something went wrong, then hang up."""
        self._spawn(self._sides, leg.write)  # the bug may have ended the one before
        clip = self._clips.get("apology", b"")
        if self.info and clip and leg.is_open:
            await apologise(leg, clip, self.info.audio, self._settings.limits.goodbye_s)
        await leg.close(1011, "something went wrong on our side")

    def _close_journal(self, reason: str) -> None:
        if self._journal is None or self._machine is None:
            return
        if self._machine.phase is not Phase.ENDED:
            self._journal.write(self._loop.time(), Remember(CallEnded(reason)))
        self._journal.close()
