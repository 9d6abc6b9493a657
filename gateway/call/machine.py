"""The conversation: takes an event and the time, returns commands.

Owns every decision about a call: whether its sides are connected, who may speak, what an interruption cuts
off, when an ending is carried out. Refuses to wait or to look: time arrives as ``now``, the next moment of
interest leaves as `CallMachine.deadline`, identifiers arrive inside events.

Three facts make the phase: is the caller there, is the agent there, was an ending decided? Losing one side
never ends a call by itself.
"""

from typing import ClassVar, Final

from gateway.audio import AUDIBLE_DBFS
from gateway.call.agent_events import AgentEvents
from gateway.call.client_events import ClientEvents
from gateway.call.clocks import Clocks
from gateway.call.conversation import Handlers
from gateway.call.endings import Ending
from gateway.call.manners import why_impossible
from gateway.call.sounds import Flow
from gateway.call.watch import VOICE_DBFS
from gateway.commands import AnyCommand, NoteTaken, SendAudio
from gateway.events import (
    AnyEvent,
    CallerAudio,
    ConfigurationAsked,
    ControlAnswered,
    EndingAsked,
    HostContacted,
    NoteAsked,
    ReplyAsked,
    ReplyAudio,
    StopRequested,
    TimeReached,
    ToolFinished,
)

ROUNDS: Final = 4
"""How often time is let pass at one moment: what was due may make more due, but not for ever."""


class CallMachine(ClientEvents, AgentEvents, Clocks):
    """One conversation, driven by one runner.

    Raises AssertionError on an anomaly when ``strict``, as the tests run it; else it is counted and ignored.
    """

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        """Take an event, or the time; give what is to be done, in order. Nothing is done after the end."""
        if self._ended:
            return []
        if isinstance(event, CallerAudio):
            if self._terms.steady:
                self._ledger.line.sign_at = now
            if self._passes_through(event, now):
                return [SendAudio(event.audio)]
        elif isinstance(event, ReplyAudio) and (flow := self._flows_on(event, now)):
            return flow.commands
        self._out = []
        why = why_impossible(event, started=self._started, caller_up=self._caller_up, agent_up=self._agent_up)
        if why:
            self._odd(event, why)
        else:
            self._handlers[type(event)](self, event, now)
        for _ in range(ROUNDS):
            if self._started and not self._ended:
                self._advance(now)
            self.deadline = self._next_deadline()
            if self.deadline is None or self.deadline > now:
                break
        return self._out

    # The short way

    def _passes_through(self, event: CallerAudio, now: float) -> bool:
        """Nearly every event of a call: the caller sounds, the agent listens, and nothing else is due."""
        if not (self._agent_up and self._caller_up) or self._catch_up.rate:
            return False
        if self.deadline is not None and now >= self.deadline:
            return False
        if event.level >= VOICE_DBFS and self._ledger.idle:  # an agent that speaks need not listen
            self._watch.caller_voice(len(event.audio) / self._bytes_per_ms)
            if self._watch.is_deaf(self._ladder.agent):
                return False
        self._catch_up.passed(event, now)
        return True

    def _flows_on(self, event: ReplyAudio, now: float) -> Flow | None:
        """The rest of them: a reply goes on, the caller listens, and nothing else is due."""
        if self._ending or not (self._agent_up and self._caller_up) or self._catch_up.rate:
            return None
        size_bytes, reply_id = len(event.audio), event.reply_id
        reply = self._floor.replies.get(reply_id)
        if self.deadline is None or now >= self.deadline or reply is None or self._floor.is_late(reply_id):
            return None
        if not 0 < size_bytes <= self._piece_bytes:
            return None
        flow = self._ledger.flow(reply_id, event.audio, size_bytes / self._bytes_per_ms, event.level, now)
        if flow is not None:
            reply.last_sign_at = now
            if event.level >= AUDIBLE_DBFS:
                self._watch.words(now)
                self._history.answered()
            self.deadline = min(self.deadline, flow.deadline)
        return flow

    # The house

    def _tool_finished(self, event: ToolFinished, now: float) -> None:
        self._tools.finished(event)
        if self._terms.speaks_api:
            self._tell(event)
        self._watch.words(now)
        for reply_id in self._floor.replies:
            self._floor.sign(reply_id, now)

    def _ending_asked(self, event: EndingAsked, now: float) -> None:
        if self._ending:
            return
        reason = "agent_hung_up" if event.kind == "hang_up" else "transferred"
        self._ending = Ending(event, reason, now, self._terms.goodbye_s, firm=not self._agent_up)
        if self._ending.firm:
            self._report(self._ledger.drop_clips(now))

    def _reply_asked(self, event: ReplyAsked, _now: float) -> None:
        self._ask(event.instructions)

    def _configuration_asked(self, event: ConfigurationAsked, _now: float) -> None:
        self._configure(event.session)

    def _note_asked(self, event: NoteAsked, _now: float) -> None:
        self._remember(NoteTaken(event.text))

    def _control_answered(self, event: ControlAnswered, now: float) -> None:
        if event.action != "transfer" or not self._ending or not self._ending.committed:
            return
        if event.succeeded:
            self._end("transferred", event.detail, now)
        else:
            self._transfer_failed(event.detail, now)

    def _stop_requested(self, event: StopRequested, now: float) -> None:
        if not self._started:
            self._end("stopped", event.reason, now)
        elif not (self._ending and (self._ending.firm or self._ending.committed)):
            self._end_by_house("stopped", now)

    def _host_contacted(self, _event: HostContacted, _now: float) -> None:
        """For the journal: whom the house talks to is no part of the conversation."""

    def _time_reached(self, _event: TimeReached, _now: float) -> None:
        """Nothing but time has passed, and `receive` lets it."""

    _handlers: ClassVar[Handlers] = {
        **ClientEvents.of_caller,
        **ClientEvents.of_client,
        **AgentEvents.of_agent,
        ToolFinished: _tool_finished,
        EndingAsked: _ending_asked,
        ReplyAsked: _reply_asked,
        ConfigurationAsked: _configuration_asked,
        NoteAsked: _note_asked,
        ControlAnswered: _control_answered,
        HostContacted: _host_contacted,
        StopRequested: _stop_requested,
        TimeReached: _time_reached,
    }
