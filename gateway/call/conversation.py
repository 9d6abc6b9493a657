"""The state of one conversation, and the moves that change it.

Owns the three facts of a call (is the caller there, is the agent there, was an ending decided) and what a move
means: opening an agent, interrupting, ending. What makes which move is in `gateway.call.machine` and the rooms beside
it: events of the caller, of its client and of the agent, and time.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import msgspec

from gateway.call.catch_up import CatchUp
from gateway.call.client_session import ClientSession
from gateway.call.endings import Ending
from gateway.call.floor import Floor, Holder
from gateway.call.history import History
from gateway.call.ladder import Ladder
from gateway.call.playback import PlaybackLedger
from gateway.call.sounds import LONGEST_PIECE_MS, Cut
from gateway.call.telling import Telling
from gateway.call.tools import ToolLedger
from gateway.call.watch import Watch
from gateway.call.wishes import Wishes
from gateway.commands import (
    AnyCommand,
    AnyFact,
    AskReply,
    CallEnded,
    Clear,
    CloseAgent,
    Configure,
    HangUp,
    Oddity,
    OpenAgent,
    Remember,
    ReplyHeard,
    Tell,
    TellHeard,
)
from gateway.events import AgentForwarded, AgentReady, AnyEvent, EndingAsked, Remedy, ReplyEnded, wire_name
from gateway.terms import CallTerms

KEY_PAUSE_S: Final = 1.0
"""Pause after which keys that were pressed are one entry; ``#`` ends it at once."""
HOLD_AFTER_S: Final = 0.7
"""Absence of the agent after which the caller hears the hold sound, once what is buffered has played."""
FIRST_HOLD_AFTER_S: Final = 2.0
"""The same while the first agent is being reached."""
GO_ON: Final = (
    "The connection was interrupted for a moment. Go on from where you were cut off, without greeting again."
)
SAY_AGAIN: Final = (
    "The connection was interrupted while the caller was speaking, and what they said is lost. "
    "Ask them to say it again, without greeting again."
)
SOUND_OF: Final = {"limit": "goodbye", "silence": "goodbye"}
"""House sound before an ending that the house decides; ``apology`` where none is named."""
MOST_NAMED: Final = 16
"""Fields that a notice names; of more it says how many."""
LONGEST_NAME: Final = 100
"""What of a client's own word is said back to it."""
NEVER: Final = float("inf")


Handlers = dict[type, Callable[[Any, Any, float], None]]
"""What is done at each type of event: a conversation's method, given the event and the time."""


class Phase(StrEnum):
    """Whether the sides of a call are connected."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    TALKING = "talking"
    AGENT_LOST = "agent_lost"
    CALLER_LOST = "caller_lost"
    ENDING = "ending"
    ENDED = "ended"


class Conversation:
    """One conversation: its ledgers, its clocks, its moves; commands collect in ``_out``."""

    def __init__(self, terms: CallTerms, *, strict: bool = False) -> None:
        self.deadline: float | None = None
        """When `TimeReached` is due, in the clock of ``now``."""
        self.anomalies = 0
        """Events that the reference says cannot happen."""
        self._terms = terms
        self._strict = strict
        self._ladder = Ladder(terms.agents)
        self._ledger = PlaybackLedger(
            terms.lead_ms,
            marks=terms.marks,
            clears=terms.clears,
            at_will=terms.marks_at_will,
            steady=terms.steady,
        )
        self._floor = Floor()
        self._tools = ToolLedger(terms.cancellable)
        self._catch_up = CatchUp(terms.audio)
        self._history = History()
        self._watch = Watch(terms.silence_s)
        self._wishes = Wishes()
        route_tools = {name for one in terms.agents for name in one.tools}
        self._client = ClientSession(
            terms.client_may, route_tools, anybody=terms.anybody, webhooks=terms.webhooks
        )
        self._telling = Telling(in_step=terms.speaks_api)
        self._ready: AgentReady | None = None  # what a client was told, and is told again when it comes back
        self._kept_back: list[str] = []  # what it is told once the session is ready
        self._started = self._ended = False
        self._caller_up = self._agent_up = self._talked = False
        self._ending: Ending | None = None
        self._parked: OpenAgent | None = None  # what to open when the caller is back, or a transfer fails
        self._cut_off = False  # the agent was lost in the middle of a reply
        self._spoke = False  # the agent was lost in the middle of what the caller said
        self._gap_at = self._limit_at = 0.0
        self._ready_by = self._hold_at = self._return_by = self._keys_at = self._transfer_by = NEVER
        self._keys = ""
        self._last_words_confirmed = False
        self._out: list[AnyCommand] = []
        self._piece_bytes = terms.audio.frame_bytes(LONGEST_PIECE_MS)
        self._bytes_per_ms = terms.audio.bytes_per_ms

    @property
    def phase(self) -> Phase:
        """Whether the sides are connected."""
        if self._ended:
            return Phase.ENDED
        if not self._started:
            return Phase.WAITING
        if self._ending:
            return Phase.ENDING
        if not self._caller_up:
            return Phase.CALLER_LOST
        if self._agent_up:
            return Phase.TALKING
        return Phase.AGENT_LOST if self._talked else Phase.CONNECTING

    @property
    def holder(self) -> Holder:
        """Who has the floor: the agent keeps it until its sound was heard or cleared."""
        return self._floor.holder(playing=not self._ledger.idle)

    @property
    def agent(self) -> str:
        """Name of the agent that has the call, or is being reached."""
        return self._ladder.agent.name

    # Moves

    def _agent_gone(self, remedy: Remedy, now: float, unheard_ms: float = 0.0) -> None:
        """An agent was lost, or an attempt to reach one failed; a socket that closes after either says nothing."""
        history = self._history.lines(self._ledger.outlook())
        if self._agent_up:
            self._agent_up = False
            self._gap_at = now
            self._catch_up.lost(now, unheard_ms)
            self._cut_off, self._spoke = self._floor.is_expecting, self._floor.user_speaking
            self._hold_at = now + HOLD_AFTER_S
            self._floor.abandon_all()
            self._ledger.complete_all()
            for reply_id in self._telling.unended():
                self._tell(ReplyEnded(reply_id))
            opening = self._ladder.session_lost(remedy, now, history)
        elif self._is_opening:
            opening = self._ladder.attempt_failed(remedy, now, history)
        else:
            return
        self._ready_by = NEVER
        if self._ending:
            self._ending.firm = True  # nobody is left to add a word
            self._parked = opening
        elif opening:
            self._open(opening, now)
        else:
            self._end_by_house("agent_lost", now)

    @property
    def _is_opening(self) -> bool:
        return self._ready_by != NEVER

    @property
    def _is_committed(self) -> bool:
        return self._ending is not None and self._ending.committed

    def _open(self, opening: OpenAgent, now: float) -> None:
        if not self._caller_up:
            self._parked = opening
            return
        self._parked = None
        if session := self._client.opening(greets=self._ladder.agent is self._terms.agents[0]):
            opening = msgspec.structs.replace(opening, session=session)
        self._out.append(opening)
        self._ready_by = now + opening.after_s + self._ladder.agent.ready_s

    def _interrupt(self, now: float, *, by_caller: bool = True) -> None:
        """Stop speaking: drop what the caller has not heard, and what still comes of those replies."""
        cut = self._ledger.cut(now, interrupted=by_caller)
        for fact in cut.facts:
            self._floor.drop(fact.reply_id)
        self._telling.cut(cut.facts, self._history.heard_words, by_agent=by_caller and self._agent_up)
        self._report(cut)
        if not self._agent_up and self._hold_at != NEVER:
            self._hold_at = now + HOLD_AFTER_S

    def _report(self, cut: Cut) -> None:
        if cut.clear and self._caller_up:
            self._out.append(Clear())
            self._out += map(Tell, self._telling.again(self._ledger.waits))
        for fact in cut.facts:
            self._heard(fact)

    def _cancel_ending(self) -> None:
        if self._ending and not self._ending.firm and not self._ending.committed:
            self._remember(self._ending.cancelled())
            self._ending = None

    def _ask(self, instructions: str, raw: str = "") -> None:
        if self._agent_up:
            self._out.append(AskReply(instructions, raw))
        else:
            self._wishes.ask(instructions)

    def _configure(self, session: str, *, by_client: bool = False) -> None:
        wish = Configure(session, by_client)
        self._wishes.configure(wish, told=self._agent_up)
        if self._agent_up:
            self._out.append(wish)

    def _tell_kept_back(self, fields: list[str]) -> None:
        named = [name[:LONGEST_NAME] for name in fields[:MOST_NAMED]]
        more = f" and {len(fields) - len(named)} more" if len(fields) > len(named) else ""
        message = f"the route keeps its own {', '.join(named)}{more}"
        self._tell_ours("talkpath.notice", code="field_kept", fields=named, message=message)

    def _tell_ours(self, kind: str, **fields: Any) -> None:
        """Say what no agent says."""
        self._tell(AgentForwarded(msgspec.json.encode({"type": kind, **fields}).decode()))

    def _tell(self, event: AnyEvent) -> None:
        self._out += map(Tell, self._telling.tell(event, self._ledger.waits, away=not self._caller_up))

    @property
    def _interruptible(self) -> bool:
        wanted = self._client.interruptible
        return self._ladder.agent.interruptible if wanted is None else wanted

    def _heard(self, fact: ReplyHeard) -> None:
        self._history.heard(fact)
        self._remember(fact)
        self._out.append(TellHeard(fact))
        self._last_words_confirmed = fact.confirmed

    def _remember(self, fact: AnyFact) -> None:
        self._out.append(Remember(fact))

    def _odd(self, event: AnyEvent, why: str) -> None:
        """A peer did what its reference says cannot happen."""
        self.anomalies += 1
        if self._strict:
            raise AssertionError(f"{event}: {why}")
        self._remember(Oddity(wire_name(type(event).__name__), why))

    def _end_by_house(self, reason: str, now: float) -> None:
        """End with a house sound instead of the agent's words; the caller cannot cancel it by speaking."""
        self._report(self._ledger.drop_clips(now))
        if reason != "agent_lost":
            self._interrupt(now, by_caller=False)
        clip = SOUND_OF.get(reason, "apology")
        clip = clip if clip in self._terms.clips else "apology"
        if self._caller_up and (length_ms := self._terms.clips.get(clip, 0.0)) > 0:
            self._ledger.add_clip(clip, length_ms)
        self._hold_at = self._keys_at = NEVER
        self._ending = Ending(EndingAsked("hang_up"), reason, now, self._terms.goodbye_s, firm=True)
        if not self._caller_up:
            self._end(reason, "the caller was away", now)

    def _end(self, reason: str, detail: str, now: float) -> None:
        """Everything stops here; what was never heard is said once more, for the record."""
        for fact in self._ledger.cut_all(now).facts:
            self._heard(fact)
        self._out += self._tools.abandon_all()
        self._out += [CloseAgent(), HangUp(reason)]
        self._remember(CallEnded(reason, detail))
        self._ended = True
