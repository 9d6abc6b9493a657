"""What time alone changes in a conversation: deadlines, watches, endings that have come due.

Owns every clock of a call and the one answer to when the next of them rings. Moves and state are the conversation's.
"""

from typing import Final

from gateway.call.conversation import GO_ON, HOLD_AFTER_S, NEVER, Conversation
from gateway.call.endings import Ending
from gateway.commands import EndingSettled, Tell, Transfer, WatchdogFired
from gateway.events import ReplyEnded

TRANSFER_S: Final = 15.0
"""How long the carrier may take to answer a transfer."""
SHORTEST_CLIP_MS: Final = 100.0
"""Length below which a hold sound is none: it would only be repeated."""


class Clocks(Conversation):
    """A conversation that time passes in."""

    def _advance(self, now: float) -> None:
        """Let time pass: everything that is due by now. Endings come last, for everything else delays them."""
        self._check_clocks(now)
        if self._ended:
            return
        if self._caller_up:
            if mark := self._ledger.lost_mark(now):
                self._remember(WatchdogFired("lost_mark", mark))
            for fact in self._ledger.settle(now):
                self._heard(fact)
                if fact.audible_from_ms is not None:
                    self._watch.words(now)
            self._out += self._ledger.release(now)
            self._out += map(Tell, self._telling.release(self._ledger.waits))
        if self._agent_up:
            self._out += self._catch_up.release(now)
            if caught_up := self._catch_up.finish():
                self._remember(caught_up)
            if self._results_may_go:
                self._out += self._tools.release()
        if self._ending:
            self._settle_ending(self._ending, now)

    def _check_clocks(self, now: float) -> None:
        self._tools.expire(now)
        if now >= self._return_by and not self._is_committed:
            self._end("caller_lost", "the caller did not come back", now)
            return
        if now >= self._ready_by:
            self._remember(WatchdogFired("no_ready", f"agent {self.agent} was not ready in time"))
            self._agent_gone("retry", now)
        if now >= self._hold_at:
            self._play_hold(now)
        if self._ending or self._ended:
            return
        if now >= self._limit_at:
            if self._terms.speaks_api:
                self._end("limit", "", now)  # its session lasts as long as it was told, and no goodbye longer
            else:
                self._end_by_house("limit", now)
        elif self._agent_up:
            self._check_line(now)

    def _check_line(self, now: float) -> None:
        if self._caller_up and self._watch.line_is_silent(now):
            if not self._tools.running and not self._ledger.holds_unheard_voice(now):
                self._remember(WatchdogFired("silent_line", "nobody said anything"))
                self._end_by_house("silence", now)
                return
            self._watch.words(now)
        if now >= self._keys_at:
            self._keys_at = NEVER
            self._ask(f"The caller pressed {self._keys} on the keypad.")
            self._keys = ""
        if not self._tools.running:
            for reply_id in self._watch.stalled(self._floor, self._ladder.agent, now):
                self._stalled(reply_id)
        if self._watch.nudge_due(now):
            self._remember(WatchdogFired("silent_reply", "a reply had neither sound nor words"))
            self._ask("")
        if words := self._watch.owed(now):
            self._remember(WatchdogFired("unheard_caller", "the caller's words led to nothing"))
            self._ask(words)

    def _stalled(self, reply_id: str) -> None:
        self._remember(WatchdogFired("stalled_reply", reply_id))
        self._floor.end(reply_id)
        self._ledger.complete(reply_id)
        if reply_id in self._telling.unended():
            self._tell(ReplyEnded(reply_id))
        if not self._floor.user_speaking and not self._tools.pending:
            self._ask(GO_ON)  # the caller has waited long enough

    def _play_hold(self, now: float) -> None:
        self._hold_at = NEVER
        length_ms = self._terms.clips.get("hold", 0.0)
        if self._caller_up and not self._agent_up and not self._ending and length_ms >= SHORTEST_CLIP_MS:
            self._ledger.add_clip("hold", length_ms)
            self._hold_at = now + length_ms / 1000

    @property
    def _results_may_go(self) -> bool:
        """Whether the agent may be given results now (reference: Voice Agent API, 9.5).

        Immediate ones wait only while it is open whether an interruption took their reply with it.
        """
        if self._ladder.agent.tool_results == "after_reply":
            return not self._floor.replies and not self._floor.user_speaking
        return not self._floor.is_cutting

    def _settle_ending(self, ending: Ending, now: float) -> None:
        if ending.committed:
            if now >= self._transfer_by:
                self._transfer_failed("the carrier did not answer", now)
            return
        talk_over = not (self._floor.replies or self._tools.pending or self._floor.user_speaking)
        quiet = self._ledger.idle and (ending.firm or talk_over)
        outcome = ending.outcome(now, quiet=quiet, confirmed=self._last_words_confirmed)
        if not self._caller_up:
            outcome = "unconfirmed"  # nobody is there to hear more
        if outcome is None:
            return
        self._remember(EndingSettled(ending.asked.kind, outcome))
        if ending.asked.kind == "hang_up":
            self._end(ending.reason, ending.asked.reason, now)
        else:
            ending.committed = True
            self._transfer_by = now + TRANSFER_S
            self._out.append(Transfer(ending.asked.target))

    def _transfer_failed(self, why: str, now: float) -> None:
        self._ending = None
        self._transfer_by = NEVER
        self._remember(EndingSettled("transfer", "cancelled"))
        self._ask(f"The transfer did not work: {why}. Tell the caller and go on.")
        self._watch.words(now)
        if self._agent_up or self._is_opening:
            return
        self._hold_at = now + HOLD_AFTER_S
        if self._parked:
            self._open(self._parked, now)
        else:
            self._end_by_house("agent_lost", now)

    def _next_deadline(self) -> float | None:
        """The next moment at which time alone changes something; None while nobody waits for anything."""
        if self._ended or not self._started:
            return None
        due = [self._ready_by, self._hold_at, self._transfer_by if self._is_committed else self._return_by]
        due.append(self._tools.expires_at)
        if self._ending:
            due.append(self._ending.deadline or NEVER)
        else:
            due.append(self._limit_at)
            if self._agent_up:
                due += [self._keys_at, self._watch.nudge_at, self._watch.owed_at]
                if self._caller_up:
                    due.append(self._watch.line_due_at)
                if not self._tools.running:
                    due.append(self._watch.stall_due_at(self._floor, self._ladder.agent))
        if self._caller_up:
            due.append(self._ledger.deadline or NEVER)
        if self._agent_up:
            due.append(self._catch_up.deadline or NEVER)
        return min(due)
