"""The conversation: takes an event and the time, returns commands.

Owns every decision about a call: whether its sides are connected, who may speak, what an interruption cuts
off, when an ending is carried out. Refuses to wait or to look: time arrives as ``now``, the next moment of
interest leaves as `CallMachine.deadline`, identifiers arrive inside events.

Three facts make the phase: is the caller there, is the agent there, was an ending decided? Losing one side
never ends a call by itself.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec

from gateway.audio import AUDIBLE_DBFS
from gateway.call.catch_up import BURST_MS
from gateway.call.conversation import (
    FIRST_HOLD_AFTER_S,
    GO_ON,
    HOLD_AFTER_S,
    KEY_PAUSE_S,
    NEVER,
    Conversation,
)
from gateway.call.endings import Ending
from gateway.call.manners import why_impossible
from gateway.call.playback import Flow
from gateway.call.sounds import cut_up
from gateway.call.watch import VOICE_DBFS
from gateway.call.wishes import read_session_update
from gateway.commands import AnyCommand, Configure, Forward, GapClosed, NoteTaken, SendAudio, WatchdogFired
from gateway.events import (
    AgentForwarded,
    AgentLost,
    AgentReady,
    AgentRefused,
    AgentSaid,
    AgentWarned,
    AnyEvent,
    CallerAnsweredTool,
    CallerAudio,
    CallerConfigured,
    CallerForwarded,
    CallerHeard,
    CallerLeft,
    CallerLost,
    CallerPressed,
    CallerPrompted,
    CallerReturned,
    CallStarted,
    ConfigurationAsked,
    ControlAnswered,
    EndingAsked,
    NoteAsked,
    ReplyAsked,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    StopRequested,
    TimeReached,
    ToolCalled,
    ToolFinished,
    UserSaid,
)

MOST_KEYS: Final = 32
"""Keys of one entry that are kept; the newest."""
ROUNDS: Final = 4
"""How often time is let pass at one moment: what was due may make more due, but not for ever."""


class CallMachine(Conversation):
    """One conversation, driven by one runner: what each event means.

    Raises AssertionError on an anomaly when ``strict``, as the tests run it; else it is counted and ignored.
    """

    def receive(self, event: AnyEvent, now: float) -> list[AnyCommand]:
        """Take an event, or the time; give what is to be done, in order. Nothing is done after the end."""
        if self._ended:
            return []
        if isinstance(event, CallerAudio):
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

    # The caller

    def _call_started(self, event: CallStarted, now: float) -> None:
        if self._started:
            self._odd(event, "the call has started already")
            return
        self._started = self._caller_up = True
        self._limit_at = now + self._terms.call_s
        self._hold_at = now + FIRST_HOLD_AFTER_S
        self._open(self._ladder.first(), now)

    def _passes_through(self, event: CallerAudio, now: float) -> bool:
        """Nearly every event of a call: the caller sounds, the agent listens, and nothing else is due."""
        if not (self._agent_up and self._caller_up) or self._catch_up.active:
            return False
        if self.deadline is not None and now >= self.deadline:
            return False
        if event.level >= VOICE_DBFS and self._ledger.idle:  # an agent that speaks need not listen
            self._watch.caller_voice(self._terms.audio.ms(len(event.audio)))
            if self._watch.is_deaf(self._ladder.agent):
                return False
        self._catch_up.passed(event, now)
        return True

    def _flows_on(self, event: ReplyAudio, now: float) -> Flow | None:
        """The rest of them: a reply goes on, the caller listens, and nothing else is due."""
        if self._ending or not (self._agent_up and self._caller_up) or self._catch_up.active:
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

    def _caller_audio(self, event: CallerAudio, now: float) -> None:
        if self._agent_up and self._ledger.idle and self._watch.is_deaf(self._ladder.agent):
            self._watch.took_action()
            self._remember(WatchdogFired("deaf_agent", "the caller speaks and the agent gives no sign"))
            self._agent_gone("renew", now, self._ladder.agent.keep_s * 1000)
        if self._agent_up and not self._catch_up.active:
            self._catch_up.passed(event, now)
            self._out.append(SendAudio(event.audio))
        else:
            self._catch_up.keep(event, self._ladder.agent.keep_s * 1000 if self._talked else BURST_MS)

    def _caller_pressed(self, event: CallerPressed, now: float) -> None:
        self._watch.words(now)
        if self._terms.dtmf == "ignore" or (self._ending and (self._ending.firm or self._ending.committed)):
            return
        if self._ledger.holds_unheard_voice(now):
            self._interrupt(now)
        self._cancel_ending()
        self._keys = (self._keys + event.digits)[-MOST_KEYS:]
        self._keys_at = now if "#" in event.digits else now + KEY_PAUSE_S

    def _caller_heard(self, event: CallerHeard, now: float) -> None:
        self._ledger.mark_returned(event.mark, now)

    def _caller_lost(self, event: CallerLost, now: float) -> None:
        if self._is_committed:
            self._end("transferred", "the call's media ended", now)
        elif self._terms.closing_leaves:
            self._end("caller_left", event.reason, now)
        elif self._ending or not self._started:
            self._end("caller_lost", event.reason, now)
        elif self._caller_up:
            self._caller_up = False
            self._return_by = now + self._terms.return_s
            self._ledger.rewind(now)

    def _caller_returned(self, _event: CallerReturned, now: float) -> None:
        if self._caller_up:  # the new connection came before the old one was missed
            self._ledger.rewind(now)
            return
        self._caller_up = True
        self._return_by = NEVER
        self._watch.words(now)
        if not self._agent_up:
            self._hold_at = now + HOLD_AFTER_S
        if self._parked and not self._ending:
            self._open(self._parked, now)

    def _caller_left(self, event: CallerLeft, now: float) -> None:
        # a transfer ends the call's media, and to hang up then would end the transferred call
        self._end("transferred" if self._is_committed else "caller_left", event.reason, now)

    def _caller_configured(self, event: CallerConfigured, _now: float) -> None:
        session, complaint = read_session_update(event.raw, self._terms.client_may)
        if complaint:
            self._notice(complaint)
        if session:
            self._configure(session)

    def _caller_prompted(self, event: CallerPrompted, now: float) -> None:
        self._watch.words(now)
        self._ask(event.instructions)

    def _caller_answered_tool(self, event: CallerAnsweredTool, _now: float) -> None:
        self._notice(f"no tool call {event.tool_call_id!r} waits for an answer from this client")

    def _caller_forwarded(self, event: CallerForwarded, _now: float) -> None:
        if self._agent_up:
            self._out.append(Forward(event.raw))

    # The agent

    def _agent_ready(self, event: AgentReady, now: float) -> None:
        if not self._is_opening:
            self._odd(event, "no agent was asked for")
            return
        agent = self._ladder.agent
        self._agent_up = True
        self._ready_by = self._hold_at = NEVER
        self._ladder.ready(now)
        self._watch.new_session()
        self._watch.words(now)
        if not self._ending:
            self._report(self._ledger.drop_clips(now))
        self._tell(event)
        self._out += self._wishes.configurations(resumed=event.resumed)
        first_words = ""
        if self._talked:
            self._catch_up.recall(agent.keep_s * 1000, now, resumed=event.resumed)
            self._tools.resumed() if event.resumed else self._tools.session_gone()
            self._remember(GapClosed(round((now - self._gap_at) * 1000, 1), self._ladder.rung, agent.name))
            greets = agent.introduces_itself and self._ladder.rung == "fallback"
            waits_for_us = (self._cut_off or self._history.unanswered) and not greets
            if waits_for_us and not self._tools.pending and not self._catch_up.holds_voice:
                first_words = GO_ON
        if not self._ending:
            self._out += self._wishes.reply(first_words)
        self._talked = True
        self._catch_up.start(agent.rate, agent.keep_s, now)

    def _agent_lost(self, event: AgentLost | AgentRefused, now: float) -> None:
        self._agent_gone(event.remedy, now, event.unheard_ms if isinstance(event, AgentLost) else 0.0)

    def _speech_started(self, event: SpeechStarted, now: float) -> None:
        self._watch.agent_sign()
        self._catch_up.speech_began(now)
        self._floor.user_speaking = True
        if self._ladder.agent.interruptible and self._ledger.holds_unheard_voice(now):
            self._interrupt(now)
        self._tell(event)
        self._cancel_ending()

    def _speech_stopped(self, event: SpeechStopped, _now: float) -> None:
        self._watch.agent_sign()
        self._floor.user_speaking = False
        self._tell(event)

    def _user_said(self, event: UserSaid, now: float) -> None:
        self._watch.agent_sign()
        if event.text.strip():
            self._watch.words(now)
        if event.final:
            self._floor.user_speaking = False
            self._catch_up.understood(now)
            self._history.user_said(event.text)
        self._tell(event)

    def _reply_started(self, event: ReplyStarted, now: float) -> None:
        self._watch.agent_sign()
        self._floor.user_speaking = False
        self._floor.begin(event.reply_id, now)
        self._tools.shown()
        self._tell(event)

    def _reply_audio(self, event: ReplyAudio, now: float) -> None:
        reply_id = event.reply_id or self._floor.current
        if not reply_id:
            self._odd(event, "sound without a reply")
            return
        if self._ending and self._ending.firm:
            self._floor.drop(reply_id)  # should the call go on after all, then without the rest of this one
        if self._floor.is_late(reply_id) or not event.audio:
            return
        self._floor.begin(reply_id, now)
        reply = self._floor.sign(reply_id, now)
        if event.level >= AUDIBLE_DBFS:
            self._watch.words(now)
            self._history.answered()
            if reply:
                reply.audible = True
        for audio, ms, level in cut_up(event.audio, event.level, self._terms.audio):
            self._ledger.add(reply_id, audio, ms, level)

    def _agent_said(self, event: AgentSaid, now: float) -> None:
        self._history.agent_said(event)
        if (reply := self._floor.sign(event.reply_id, now)) and event.text.strip():
            reply.worded = True
        self._tell(event)

    def _reply_ended(self, event: ReplyEnded, now: float) -> None:
        reply_id = event.reply_id or self._floor.current
        reply = self._floor.end(reply_id) if reply_id else None
        # a duplicate is ordinary (13.2), and must not cut off the reply that came after
        cuts_off = event.interrupted and self._ladder.agent.interruptible
        if cuts_off and self._ledger.holds_unheard_voice(now, None if reply else reply_id):
            self._interrupt(now)
        self._ledger.complete(reply_id, interrupted=event.interrupted)
        if reply is None:
            return
        if event.interrupted:
            self._cancel_ending()
            self._out += self._tools.reply_interrupted(reply_id)
        elif reply.said_nothing:
            self._watch.silent_reply(now)
        self._tell(event)

    def _tool_called(self, event: ToolCalled, now: float) -> None:
        self._watch.agent_sign()
        if reply := self._floor.sign(self._floor.current, now):
            reply.tool_called = True
        self._tell(event)
        if not (self._ending and self._ending.firm):
            self._out += self._tools.called(event, self._floor.current)

    def _agent_warned(self, event: AgentWarned, _now: float) -> None:
        if event.code == "audio_rate_violation":
            self._catch_up.slow_down()
        self._tell(event)

    def _agent_forwarded(self, event: AgentForwarded, _now: float) -> None:
        self._tell(event)

    # The house

    def _tool_finished(self, event: ToolFinished, now: float) -> None:
        self._tools.finished(event)
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

    def _time_reached(self, _event: TimeReached, _now: float) -> None:
        """Nothing but time has passed, and `receive` lets it."""

    # Words to both sides

    def _configure(self, session: str) -> None:
        self._wishes.configure(session, told=self._agent_up)
        if self._agent_up:
            self._out.append(Configure(session))

    def _notice(self, sentence: str) -> None:
        raw = msgspec.json.encode({"type": "talkpath.notice", "message": sentence}).decode()
        self._tell(AgentForwarded(raw))

    _handlers: ClassVar[dict[type, Callable[[Any, Any, float], None]]] = {
        CallStarted: _call_started,
        CallerAudio: _caller_audio,
        CallerPressed: _caller_pressed,
        CallerHeard: _caller_heard,
        CallerLost: _caller_lost,
        CallerReturned: _caller_returned,
        CallerLeft: _caller_left,
        CallerConfigured: _caller_configured,
        CallerPrompted: _caller_prompted,
        CallerAnsweredTool: _caller_answered_tool,
        CallerForwarded: _caller_forwarded,
        AgentReady: _agent_ready,
        SpeechStarted: _speech_started,
        SpeechStopped: _speech_stopped,
        UserSaid: _user_said,
        ReplyStarted: _reply_started,
        ReplyAudio: _reply_audio,
        AgentSaid: _agent_said,
        ReplyEnded: _reply_ended,
        ToolCalled: _tool_called,
        AgentWarned: _agent_warned,
        AgentForwarded: _agent_forwarded,
        AgentLost: _agent_lost,
        AgentRefused: _agent_lost,
        ToolFinished: _tool_finished,
        EndingAsked: _ending_asked,
        ReplyAsked: _reply_asked,
        ConfigurationAsked: _configuration_asked,
        NoteAsked: _note_asked,
        ControlAnswered: _control_answered,
        StopRequested: _stop_requested,
        TimeReached: _time_reached,
    }
