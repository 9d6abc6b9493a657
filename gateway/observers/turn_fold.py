"""Folds a journal into turns.

Owns which utterance, reply, tool and loss belong together. Refuses input and output, clocks and logging, and
never raises for the order in which a peer speaks: unpaired and repeated speech events, replies that start before the
transcript, duplicates, silent replies and missing texts are ordinary (reference: Voice Agent API, 2.2 to 2.5).
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from gateway.audio import AUDIBLE_DBFS, AudioFormat
from gateway.commands import (
    AbandonTool,
    AskReply,
    Clear,
    Entry,
    GapClosed,
    Play,
    Remember,
    ReplyHeard,
    SendResult,
)
from gateway.events import (
    AgentReady,
    AgentSaid,
    CallerAnsweredTool,
    CallerAudio,
    CallerPressed,
    CallerPrompted,
    CallStarted,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    ToolFinished,
    UserSaid,
)
from gateway.observers.turn_drafts import ReplyDraft, TurnDraft
from gateway.observers.turns import Clip, Gap, Reply, ToolUse, Turn, Utterance
from gateway.observers.typed_words import TypedWords
from gateway.words import ReplyWords

MAX_RECORDS: Final = 20_000
"""Turns, utterances, replies and tools that are kept of a call; a peer that sends more is not followed further."""
CLIP: Final = "clip:"
"""Begins the `reply_id` of a house sound in `ReplyHeard`."""
_STRETCH_S: Final = 0.7
"""Quiet that ends a stretch of the caller's sound."""
_EARLY_REPLY_S: Final = 2.0
"""How long before the transcript a reply to it may start."""


class TurnFold:
    """Reads a journal entry by entry; an observer whose reading is `turns`."""

    def __init__(self) -> None:
        self._turns: list[TurnDraft] = []
        self._replies: dict[str, ReplyDraft] = {}
        self._items: dict[str, TurnDraft] = {}
        self._typed = TypedWords()
        self._tools: dict[str, TurnDraft] = {}
        self._last_reply: ReplyDraft | None = None
        self._records = 0
        self._format: AudioFormat | None = None
        self._asked_at: float | None = None  # what may lead to a reply without user words
        self._stop_at: float | None = None  # an unpaired `SpeechStopped` that may open a turn
        self._signal: tuple[TurnDraft, float] | None = None
        self._voice_at: float | None = None  # the caller's last audible frame
        self._voice_from: float | None = None  # the first one of that stretch of sound
        self._committed_at = float("-inf")  # the last commit: sound before it belongs to a turn before
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            CallStarted: self._on_call_started,
            CallerAudio: self._on_caller_audio,
            CallerPressed: self._on_pressed,
            CallerPrompted: self._on_prompted,
            AgentReady: self._on_ready,
            AskReply: self._on_asked,
            SpeechStarted: self._on_speech_started,
            SpeechStopped: self._on_speech_stopped,
            UserSaid: self._on_user_said,
            ReplyStarted: self._on_reply_started,
            ReplyAudio: self._on_reply_audio,
            AgentSaid: self._on_agent_said,
            ReplyEnded: self._on_reply_ended,
            ToolCalled: self._on_tool_called,
            ToolFinished: self._on_tool_finished,
            CallerAnsweredTool: self._on_tool_finished,
            SendResult: self._on_result_sent,
            AbandonTool: self._on_abandoned,
            Play: self._on_play,
            Clear: self._on_clear,
            Remember: self._on_fact,
        }
        self.wants: tuple[type, ...] = tuple(self._handlers)

    def see(self, entry: Entry) -> None:
        """Take note of an entry; those of other types say nothing about turns."""
        if handler := self._handlers.get(type(entry.item)):
            handler(entry.item, entry.at)

    def close(self) -> None:
        """The call is over; the turns stay."""

    @property
    def turns(self) -> list[Turn]:
        """The turns so far, without those in which nothing was said, done or lost."""
        said = [turn for turn in self._turns if not turn.is_empty]
        return [turn.record(number) for number, turn in enumerate(said, 1)]

    def reply(self, reply_id: str) -> Reply | None:
        """What is known of one reply so far."""
        draft = self._replies.get(reply_id)
        return draft.record() if draft else None

    # Which turn

    def _room(self) -> bool:
        self._records += 1
        return self._records <= MAX_RECORDS

    def _open(self, at: float) -> TurnDraft:
        turn = TurnDraft(began_at=at, ended_at=at)
        if self._room() or not self._turns:
            self._turns.append(turn)
        return self._turns[-1]

    def _current(self, at: float) -> TurnDraft:
        turn = self._turns[-1] if self._turns else self._open(at)
        turn.ended_at = at
        return turn

    def _speaking(self, at: float, *, unannounced: bool = False) -> TurnDraft:
        """The turn to which the caller's next words belong."""
        before = turn = self._current(at)
        if turn.audible or not turn.user:
            turn = turn if turn.is_empty else self._open(at)
            if unannounced:
                self._adopt(turn, before, at)
        turn.user, turn.ended_at = True, at
        self._stop_at = None
        return turn

    def _commit(self, turn: TurnDraft, at: float) -> None:
        """The agent took the caller's words as finished."""
        if turn.audible or turn.committed_at is not None:
            return
        turn.committed_at = at
        if self._voice_at is not None and self._voice_at > self._committed_at:
            turn.caller_stopped_at = self._voice_at
            if turn.speech_started_at is None:
                turn.caller_started_at = self._voice_from
        self._committed_at = at

    # The caller

    def _on_call_started(self, event: CallStarted, _at: float) -> None:
        self._format = event.info.audio

    def _on_caller_audio(self, event: CallerAudio, at: float) -> None:
        if event.level >= AUDIBLE_DBFS:
            if self._voice_at is None or at - self._voice_at > _STRETCH_S:
                self._voice_from = at
            self._voice_at = at

    def _on_pressed(self, event: CallerPressed, at: float) -> None:
        turn = self._speaking(at)
        if len(turn.keys) < MAX_RECORDS:
            turn.keys += event.digits
        turn.committed_at = at

    def _on_prompted(self, item: CallerPrompted | AskReply, at: float) -> None:
        """Words that were typed are the caller's; any other wish for a reply belongs to the turn in which it is made."""
        words = self._typed.of(item)
        if not words:
            return
        turn = self._speaking(at)
        if self._room():
            turn.utterances.append(Utterance(at, words, final=True))
        turn.committed_at = at

    def _on_speech_started(self, _event: SpeechStarted, at: float) -> None:
        before = self._current(at)
        if before.replies and self._signal is None:
            self._signal = before, at
        turn = self._speaking(at)
        if turn.speech_started_at is None:
            turn.speech_started_at = at
            if self._voice_at is not None and at - self._voice_at <= _STRETCH_S:
                turn.caller_started_at = self._voice_from
        turn.committed_at = None  # the caller goes on

    def _on_speech_stopped(self, _event: SpeechStopped, at: float) -> None:
        self._signal = None
        turn = self._current(at)
        if turn.user and not turn.audible:
            turn.speech_stopped_at = at
            self._commit(turn, at)
        else:
            self._stop_at = at

    def _on_user_said(self, event: UserSaid, at: float) -> None:
        if not event.text.strip():
            return
        turn = self._items.get(event.item_id) if event.item_id else None
        if turn is None:
            turn = self._turn_of_words(at)
            if event.item_id and self._room():
                self._items[event.item_id] = turn
        self._keep_words(turn, event, at)
        turn.ended_at = max(turn.ended_at, at)
        if event.final:
            self._commit(turn, at)
            turn.understood_at = at

    def _turn_of_words(self, at: float) -> TurnDraft:
        before = self._current(at)
        if before.user and before.audible and not any(said.final for said in before.utterances):
            return before  # the transcript came late
        return self._speaking(at, unannounced=True)

    def _adopt(self, turn: TurnDraft, before: TurnDraft, at: float) -> None:
        """Begin a turn whose start of speech was never told; its end, and a reply to it, may have come before."""
        signs = []
        if self._stop_at is not None:
            turn.speech_stopped_at = self._stop_at
            signs.append(self._stop_at)
        early: list[ReplyDraft] = []
        while turn is not before and before.replies and before.replies[-1].is_early(at - _EARLY_REPLY_S):
            early.insert(0, before.replies.pop())
            early[0].turn = turn
            signs.append(early[0].started_at)
        turn.replies[:0] = early
        if signs:
            self._commit(turn, min(signs))

    def _keep_words(self, turn: TurnDraft, event: UserSaid, at: float) -> None:
        for place, said in enumerate(turn.utterances):
            open_one = said.item_id == event.item_id and (event.item_id or not said.final)
            if open_one and (event.final or not said.final):
                turn.utterances[place] = replace(said, text=event.text, final=event.final)
            if open_one:
                return
        if self._room():
            turn.utterances.append(Utterance(at, event.text, event.final, event.item_id))

    # The agent

    def _on_ready(self, _event: AgentReady, at: float) -> None:
        self._asked_at = at

    def _on_asked(self, command: AskReply, at: float) -> None:
        self._asked_at = at
        self._on_prompted(command, at)

    def _reply(self, reply_id: str, at: float) -> ReplyDraft:
        """The reply of that name; one that was never announced begins now."""
        if not reply_id and self._last_reply is not None:
            return self._last_reply
        draft = self._replies.get(reply_id)
        if draft is None:
            turn = self._current(at)
            draft = ReplyDraft(turn, reply_id, at, ReplyWords())
            if self._room():
                if not turn.replies and not turn.user and turn.committed_at is None:
                    turn.committed_at = self._asked_at
                turn.replies.append(draft)
                self._replies[reply_id] = draft
                self._last_reply = draft
        draft.turn.ended_at = max(draft.turn.ended_at, at)
        return draft

    def _on_reply_started(self, event: ReplyStarted, at: float) -> None:
        if event.reply_id in self._replies:
            return
        self._signal = None
        turn = self._current(at)
        spoken = self._voice_at is not None and self._voice_at > self._committed_at
        if self._stop_at is not None and spoken:  # a turn whose transcript comes later, or never
            turn = self._speaking(at, unannounced=True)
        if turn.user:
            self._commit(turn, at)
        self._last_reply = None  # the reply is a new one even when it has no name
        self._reply(event.reply_id, at)

    def _on_reply_audio(self, event: ReplyAudio, at: float) -> None:
        reply = self._reply(event.reply_id, at)
        if reply.first_audio_at is None:
            reply.first_audio_at = at
        if event.level >= AUDIBLE_DBFS and reply.audible_from_ms is None:
            reply.audible_from_ms = reply.received_ms
            reply.turn.audible = True
        reply.received_ms += self._ms(event.audio)

    def _on_agent_said(self, event: AgentSaid, at: float) -> None:
        self._reply(event.reply_id, at).words.add(event)

    def _on_reply_ended(self, event: ReplyEnded, at: float) -> None:
        reply = self._replies.get(event.reply_id)
        if reply is None:
            return
        if reply.ended_at is None:
            reply.ended_at = at
            reply.turn.ended_at = max(reply.turn.ended_at, at)
        reply.interrupted |= event.interrupted
        if event.interrupted and self._signal is None:
            self._signal = reply.turn, at

    # Tools

    def _on_tool_called(self, event: ToolCalled, at: float) -> None:
        if event.tool_call_id in self._tools or not self._room():
            return
        turn = self._current(at)
        self._tools[event.tool_call_id] = turn
        turn.tools[event.tool_call_id] = ToolUse(
            event.tool_call_id, event.name, at, informational=event.informational
        )

    def _change_tool(self, tool_call_id: str, at: float, **news: Any) -> None:
        """Note what became of a tool; the first news of each sort counts."""
        turn = self._tools.get(tool_call_id)
        if turn is None:
            return
        use = turn.tools[tool_call_id]
        turn.tools[tool_call_id] = replace(use, **{k: v for k, v in news.items() if not getattr(use, k)})
        turn.ended_at = max(turn.ended_at, at)

    def _on_tool_finished(self, event: ToolFinished | CallerAnsweredTool, at: float) -> None:
        outcome = event.outcome if isinstance(event, ToolFinished) else ("error" if event.failed else "ok")
        self._change_tool(event.tool_call_id, at, finished_at=at, outcome=outcome)

    def _on_result_sent(self, command: SendResult, at: float) -> None:
        self._change_tool(command.tool_call_id, at, answered_at=at)

    def _on_abandoned(self, command: AbandonTool, at: float) -> None:
        self._change_tool(command.tool_call_id, at, abandoned=True)

    # Playback

    def _ms(self, audio: bytes) -> float:
        return self._format.ms(len(audio)) if self._format else 0.0

    def _on_play(self, command: Play, at: float) -> None:
        self._reply(command.reply_id, at).note_sent(at, self._ms(command.audio))

    def _on_clear(self, _command: Clear, at: float) -> None:
        if self._signal is None:
            return
        turn, signal_at = self._signal
        self._signal = None
        if turn.cleared_at is None:
            turn.interrupted_at, turn.cleared_at = signal_at, at

    def _on_fact(self, command: Remember, at: float) -> None:
        match command.fact:
            case ReplyHeard(reply_id=reply_id) as fact if reply_id.startswith(CLIP):
                name = reply_id.removeprefix(CLIP)
                self._current(at).clips.append(Clip(at, name, fact.heard_ms, fact.confirmed))
            case ReplyHeard() as fact:
                self._reply(fact.reply_id, at).fact = fact
            case GapClosed() as fact:
                self._current(at).gaps.append(Gap(at, fact.gap_ms, fact.rung, fact.agent))


def fold_turns(journal: Iterable[Entry]) -> list[Turn]:
    """The turns of a whole journal."""
    fold = TurnFold()
    for entry in journal:
        fold.see(entry)
    return fold.turns
