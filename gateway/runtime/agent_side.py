"""One connection to an agent: opened, listened to, and ended so that nobody pays for a dead socket."""

import asyncio
from functools import partial
from typing import Final

import msgspec

from gateway.commands import CloseAgent, OpenAgent
from gateway.contracts import Dial, SessionMemory
from gateway.errors import ConfigError
from gateway.events import AgentLost, AgentQueued, AgentRefused, AgentWarned, AnyEvent, CallInfo, Remedy
from gateway.redaction import REDACTION
from gateway.runtime.book import book_of
from gateway.runtime.dial import Attempt, BusyError, DialError, RefusedError, StrangerError
from gateway.runtime.egress import Reach
from gateway.runtime.house import House
from gateway.runtime.inbox import Inbox
from gateway.runtime.legs import LegBounds, WireLeg
from gateway.runtime.terms import agent_plan

ENDED_S: Final = 5.0
"""How long the agent's answer to the end of its session is waited for (reference: Voice Agent API, 3.3)."""
MESSAGES_S: Final = 4000.0
"""Messages a second that are read of an agent: a reply in chunks of 10 ms may come at thirty times real time."""
_COMPLAINTS: Final = frozenset({AgentLost, AgentRefused, AgentWarned})
NO_CREDENTIAL: Final[dict[str, Remedy]] = {"token": "resume", "key": "renew", "new": "fallback"}
"""What a refused credential asks for, by rung: after the token the key, then a new session (2.7)."""


class AgentSide:
    """One connection to an agent, from its opening to its close; `run` is its life."""

    def __init__(
        self, opening: OpenAgent, info: CallInfo, memory: SessionMemory, house: House, reach: Reach
    ) -> None:
        self.dismissed = False
        """Whether its events no longer count."""
        self._opening = opening
        self._info = info
        self._memory = memory
        self._house = house
        self._reach = reach
        self._loop = asyncio.get_running_loop()
        self.leg: WireLeg | None = None
        """Its connection, once open: commands are posted there."""
        self._dialling: asyncio.Timeout | None = None
        self._listening: asyncio.Timeout | None = None
        self._until: float | None = None

    def dismiss(self) -> None:
        """End its session, or stop dialling: its events no longer count, those that wait in the inbox included."""
        if self.dismissed:
            return
        self.dismissed = True
        self._until = self._loop.time() + ENDED_S
        if self.leg:
            self.leg.post(CloseAgent())
        if self._listening:
            self._listening.reschedule(self._until)
        if self._dialling:
            self._dialling.reschedule(self._loop.time())

    async def run(self, inbox: Inbox) -> None:
        """Open the connection, bring its events to the inbox, and close it; bounded, once it was dismissed.

        Cancelled, it still ends the session, and then closes: else it would go on for 30 s and be paid for (2.8).
        """
        if self.dismissed or (leg := await self._dial(inbox)) is None:
            return
        self.leg = leg
        leg.post(self._opening)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(leg.write())
            try:
                try:
                    await self._listen(leg, inbox)
                finally:
                    if leg.is_open and not self.dismissed:
                        self.dismiss()
                        await self._listen(leg, inbox)
            finally:
                await leg.close()
                writer.cancel()

    async def _listen(self, leg: WireLeg, inbox: Inbox) -> None:
        """Read until the connection ends; once dismissed, until the answer to the session's end is overdue."""
        try:
            async with asyncio.timeout_at(self._until) as patience:
                self._listening = patience
                leg.take = partial(inbox.take, source=self)
                try:
                    async for event in leg:
                        if not self.dismissed:
                            told = _redacted(event) if type(event) in _COMPLAINTS else event
                            await inbox.put(told, self)
                finally:
                    self._listening = None
        except TimeoutError:
            if not self.dismissed:
                raise

    async def _dial(self, inbox: Inbox) -> WireLeg | None:
        """Open the connection; a failure is an event."""
        leg: WireLeg | None = None
        failure: AnyEvent | None = None
        try:
            async with asyncio.timeout(None) as patience:
                self._dialling = patience
                try:
                    leg = await self._open(inbox)
                except (ConfigError, DialError) as error:
                    failure = self._failure(error)
                finally:
                    self._dialling = None
        except TimeoutError:
            if not self.dismissed:
                raise
            return None
        if failure:
            await inbox.put(failure, self)
        elif leg and self.dismissed:  # in the moment in which it was opened; there is no session yet
            await leg.close()
            return None
        return leg

    async def _open(self, inbox: Inbox) -> WireLeg:
        settings = self._house.generation.settings
        call, plan = agent_plan(self._house.generation, self._info, self._opening, self._memory)
        book = book_of(call.region, settings, call.settings.region)
        if isinstance(plan, Dial) and call.settings.region not in self._reach.regions:
            raise StrangerError(
                f"agent {call.name} is in region {call.settings.region}, and the call may be in "
                f"{' or '.join(self._reach.regions) or 'this process'} only; add it to allow_regions of the route"
            )
        bounds = LegBounds(
            wire_errors=settings.server.wire_errors,
            messages_s=MESSAGES_S,
            close_s=settings.server.close_s,
            audio_s=settings.limits.agent_outbox_s,
        )
        attempt = Attempt(
            call,
            plan,
            self._info.audio,
            call.settings.ready_s,
            bounds,
            self._reach.errand("agent", book),
            queued=lambda wait_s: inbox.put_now(AgentQueued(wait_s), self),
        )
        return await self._house.dialler.open(attempt)

    def _failure(self, error: ConfigError | DialError) -> AnyEvent:
        match error:
            case StrangerError() | ConfigError():
                return AgentRefused("not_allowed", str(error), "fallback")
            case BusyError():
                return AgentRefused("at_capacity", str(error), "fallback")
            case RefusedError():
                return AgentRefused("unauthorized", str(error), NO_CREDENTIAL[self._opening.rung])
            case _:
                return AgentLost(str(error), "retry")


def _redacted(complaint: AnyEvent) -> AnyEvent:
    """What an agent complains of, as others may be told it: it may quote keys and numbers, or forge lines of a log."""
    changes = {
        name: (REDACTION.sentences if name == "raw" else REDACTION.sentence)(text)
        for name in complaint.__struct_fields__
        if isinstance(text := getattr(complaint, name), str)
    }
    return msgspec.structs.replace(complaint, **changes)
