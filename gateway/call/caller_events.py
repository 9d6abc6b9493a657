"""What each event of the caller means.

Owns the caller's side of the conversation: what is passed on to the agent, what interrupts it, what a lost or ended
connection does. State and moves are the conversation's.
"""

from typing import ClassVar, Final

from gateway.call.catch_up import BURST_MS
from gateway.call.conversation import (
    FIRST_HOLD_AFTER_S,
    HOLD_AFTER_S,
    KEY_PAUSE_S,
    NEVER,
    Conversation,
    Handlers,
)
from gateway.commands import SendAudio, WatchdogFired
from gateway.events import (
    CallerAudio,
    CallerHeard,
    CallerLeft,
    CallerLost,
    CallerPressed,
    CallerReturned,
    CallStarted,
    PulseChanged,
)

MOST_KEYS: Final = 32
"""Keys of one entry that are kept; the newest."""


class CallerEvents(Conversation):
    """A conversation that understands its caller."""

    def _call_started(self, event: CallStarted, now: float) -> None:
        if self._started:
            self._odd(event, "the call has started already")
            return
        self._started = self._caller_up = True
        self._limit_at = now + self._terms.call_s
        self._hold_at = now + FIRST_HOLD_AFTER_S
        self._open(self._ladder.first(), now)

    def _caller_audio(self, event: CallerAudio, now: float) -> None:
        if self._agent_up and self._ledger.idle and self._watch.is_deaf(self._ladder.agent):
            self._watch.took_action()
            self._remember(WatchdogFired("deaf_agent", "the caller speaks and the agent gives no sign"))
            self._agent_gone("renew", now, self._ladder.agent.keep_s * 1000)
        if self._agent_up and not self._catch_up.rate:
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
        self._ledger.mark_returned(event.mark, now, event.further_ms)

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
            self._ledger.line.lost_at = now

    def _caller_returned(self, _event: CallerReturned, now: float) -> None:
        was_up, self._caller_up = self._caller_up, True
        self._ledger.rewind(now)
        self._ledger.line.is_back(now, steady=self._terms.steady)
        if was_up:  # the new connection came before the old one was missed
            return
        self._return_by = NEVER
        self._watch.words(now)
        if not self._agent_up:
            self._hold_at = now + HOLD_AFTER_S
        if self._parked and not self._ending:
            self._open(self._parked, now)

    def _pulse_changed(self, event: PulseChanged, now: float) -> None:
        if event.unproven_ms and self._caller_up:
            self._ledger.went_quiet(now - event.unproven_ms / 1000, now)
        elif self._caller_up:  # what a broken line had taken stays unheard
            self._ledger.line.is_quiet = False

    def _caller_left(self, event: CallerLeft, now: float) -> None:
        # a transfer ends the call's media, and to hang up then would end the transferred call
        self._end("transferred" if self._is_committed else "caller_left", event.reason, now)

    of_caller: ClassVar[Handlers] = {
        CallStarted: _call_started,
        CallerAudio: _caller_audio,
        CallerPressed: _caller_pressed,
        CallerHeard: _caller_heard,
        CallerLost: _caller_lost,
        CallerReturned: _caller_returned,
        CallerLeft: _caller_left,
        PulseChanged: _pulse_changed,
    }
    """What is done at each of these events."""
