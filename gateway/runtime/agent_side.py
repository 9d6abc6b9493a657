"""One connection to an agent: opened, listened to, and ended so that nobody pays for a dead socket."""

import asyncio
from typing import Final

from gateway.contracts import SessionMemory
from gateway.errors import ConfigError
from gateway.events import AgentLost, AgentRefused, AnyEvent, CallInfo, CloseAgent, Command, OpenAgent
from gateway.runtime.dial import Attempt, DialError, StrangerError
from gateway.runtime.house import House
from gateway.runtime.inbox import Inbox
from gateway.runtime.legs import LegBounds, WireLeg
from gateway.runtime.terms import agent_plan

ENDED_S: Final = 5.0
"""How long the agent's answer to the end of its session is waited for (reference: Voice Agent API, 3.3)."""


class AgentSide:
    """One connection to an agent, from its opening to its close."""

    def __init__(self, opening: OpenAgent, info: CallInfo, memory: SessionMemory, house: House) -> None:
        self._opening = opening
        self._info = info
        self._memory = memory
        self._house = house
        self._leg: WireLeg | None = None
        self._task: asyncio.Task[None] | None = None
        self._dismissed = asyncio.Event()

    def start(self, group: asyncio.TaskGroup, inbox: Inbox) -> None:
        """Open the connection and bring its events to the inbox."""
        self._task = group.create_task(self._run(inbox))

    def post(self, command: Command) -> None:
        """Hand over a command; nothing happens while the connection is not open."""
        if self._leg:
            self._leg.post(command)

    def dismiss(self) -> None:
        """Its events no longer count: end its session, or stop dialling."""
        if self._dismissed.is_set():
            return
        self._dismissed.set()
        if self._leg:
            self._leg.post(CloseAgent())
        elif self._task:
            self._task.cancel()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; bounded, once it was dismissed."""
        if self._task:
            await asyncio.wait({self._task})

    def stop(self) -> None:
        """Close at once."""
        if self._task:
            self._task.cancel()

    async def _run(self, inbox: Inbox) -> None:
        failure = await self._dial()
        if failure or self._leg is None:
            if failure and not self._dismissed.is_set():
                await inbox.put(failure)
            return
        leg = self._leg
        leg.post(self._opening)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(leg.write())
            guard = group.create_task(self._close_when_dismissed(leg))
            try:
                async for event in leg:
                    if not self._dismissed.is_set():
                        await inbox.put(event)
            finally:
                writer.cancel()
                guard.cancel()
                await leg.close()

    async def _dial(self) -> AnyEvent | None:
        """Open the connection; a failure is an event."""
        generation = self._house.generation
        try:
            call, plan = agent_plan(generation, self._info, self._opening, self._memory)
            settings = generation.settings
            bounds = LegBounds(
                wire_errors=settings.server.wire_errors,
                close_s=settings.server.close_s,
                audio_s=settings.limits.agent_outbox_s,
            )
            attempt = Attempt(call, plan, self._info.audio, call.settings.ready_s, bounds)
            self._leg = await self._house.dialler.open(attempt)
        except (StrangerError, ConfigError) as error:
            return AgentRefused("not_allowed", str(error), "fallback")
        except DialError as error:
            return AgentLost(str(error), "retry")
        return None

    async def _close_when_dismissed(self, leg: WireLeg) -> None:
        """An agent that does not answer the end of its session is hung up on."""
        await self._dismissed.wait()
        await asyncio.sleep(ENDED_S)
        await leg.close()
