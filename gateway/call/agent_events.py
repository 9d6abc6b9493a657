"""What each event of the agent means.

Owns the agent's side of the conversation: what the caller is to hear and be told, what a session that is ready,
lost or silent does. State and moves are the conversation's.
"""

from typing import ClassVar, Final

import msgspec

from gateway.audio import AUDIBLE_DBFS
from gateway.call.conversation import (
    GO_ON,
    NEVER,
    SAY_AGAIN,
    Conversation,
    Handlers,
)
from gateway.call.sounds import cut_up
from gateway.commands import AnyCommand, GapClosed
from gateway.events import (
    AgentForwarded,
    AgentLost,
    AgentQueued,
    AgentReady,
    AgentRefused,
    AgentSaid,
    AgentWarned,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    UserSaid,
)

BAD_SESSION: Final = frozenset(
    {"invalid_value", "invalid_config", "invalid_webhook", "invalid_format", "agent_not_found"}
)
"""What an agent says of a session that it will not begin (reference: Voice Agent API, 6.1)."""
TOOL_GRACE_S: Final = 5.0
"""How much longer than it may take a client's tool is waited for; the agent has given it up by then."""


class AgentEvents(Conversation):
    """A conversation that understands its agent."""

    def _agent_queued(self, event: AgentQueued, _now: float) -> None:
        """Its time to become ready begins after its turn has come; the caller hears the hold sound meanwhile."""
        if self._is_opening:
            self._ready_by += event.wait_s

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
        self._ready = event
        if self._kept_back:
            self._tell_kept_back(self._kept_back)
            self._kept_back = []
        if self._terms.speaks_api and not event.resumed:
            self._tell_ours("talkpath.agent", agent=agent.name, region=agent.region)
        self._out += self._wishes.configurations(resumed=event.resumed)
        self._out += self._wishes.forwarded()
        first_words = ""
        if self._talked:
            self._catch_up.recall(agent.keep_s * 1000, now, resumed=event.resumed)
            self._tools.resumed() if event.resumed else self._tools.session_gone()
            self._remember(GapClosed(round((now - self._gap_at) * 1000, 1), self._ladder.rung, agent.name))
            greets = agent.introduces_itself and self._ladder.rung == "fallback"
            waits_for_us = (self._cut_off or self._history.unanswered) and not greets
            spoke = self._spoke and not event.resumed
            if waits_for_us and not self._tools.pending and not self._catch_up.holds_voice:
                first_words = GO_ON
            elif (waits_for_us or spoke) and not self._tools.pending:
                self._watch.owe(SAY_AGAIN if spoke else GO_ON, now)
        if not self._ending:
            self._out += self._wishes.reply(first_words)
        self._talked = True
        self._catch_up.start(agent.rate, agent.keep_s, now)

    def _agent_lost(self, event: AgentLost | AgentRefused, now: float) -> None:
        if isinstance(event, AgentRefused) and self._is_clients_fault(event):
            self._tell(event)
            self._end("refused", event.code, now)
            return
        self._agent_gone(event.remedy, now, event.unheard_ms if isinstance(event, AgentLost) else 0.0)

    def _is_clients_fault(self, event: AgentRefused) -> bool:
        """Whether it is what the client wants, and not the route, that an agent will not begin with."""
        first = not self._talked and self._is_opening and self._ladder.agent is self._terms.agents[0]
        return self._terms.speaks_api and first and event.code in BAD_SESSION and self._client.has_asked

    def _speech_started(self, event: SpeechStarted, now: float) -> None:
        self._watch.agent_sign()
        self._catch_up.speech_began(now)
        self._floor.user_speaking = True
        if self._interruptible and self._ledger.holds_unheard_voice(now):
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
        cuts_off = event.interrupted and self._interruptible
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
        timeout_s = self._client.tools.get(event.name) if not event.informational else None
        expires_at = None if timeout_s is None else now + timeout_s + TOOL_GRACE_S
        is_new = not self._tools.knows(event.tool_call_id)
        commands: list[AnyCommand] = []
        if not (self._ending and self._ending.firm):
            commands = self._tools.called(event, self._floor.current, expires_at)
        named_apart = self._terms.speaks_api or self._terms.anybody
        if named_apart and not (expires_at and self._tools.knows(event.tool_call_id)):
            event = msgspec.structs.replace(event, informational=True)  # a client answers what it is told
        if is_new or not self._terms.speaks_api:
            self._tell(event)
        self._out += commands

    def _agent_warned(self, event: AgentWarned, _now: float) -> None:
        if event.code == "audio_rate_violation":
            self._catch_up.slow_down()
        self._tell(event)

    def _agent_forwarded(self, event: AgentForwarded, _now: float) -> None:
        if (
            self._agent_up or not self._terms.speaks_api
        ):  # until then it is about a session that is not there yet
            self._tell(event)

    of_agent: ClassVar[Handlers] = {
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
        AgentQueued: _agent_queued,
    }
    """What is done at each of these events."""
