from hypothesis import given
from hypothesis import strategies as st

from gateway.audio import MULAW_8K
from gateway.client_rules import as_typed
from gateway.commands import (
    AbandonTool,
    AnyCommand,
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
    AnyEvent,
    CallerAudio,
    CallerPressed,
    CallerPrompted,
    CallInfo,
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
from gateway.observers.turn_fold import TurnFold

FRAME = MULAW_8K.silence(20)
STARTED = CallStarted(CallInfo("c1", "twilio", MULAW_8K))

Item = AnyEvent | AnyCommand


def heard(reply_id: str, heard_ms: float, cut_ms: float, audible_from_ms: float | None) -> Remember:
    return Remember(ReplyHeard(reply_id, heard_ms, heard_ms, cut_ms, True, bool(cut_ms), audible_from_ms))


IDS = st.sampled_from(["", "r1", "r2", "clip:hold"])
LEVELS = st.sampled_from([-100.0, -50.0, -20.0])
TEXTS = st.text("ab ", max_size=6)
ITEMS: st.SearchStrategy[Item] = st.one_of(
    st.sampled_from(
        [
            STARTED,
            AgentReady("s"),
            AskReply(""),
            CallerPrompted("Go on."),
            CallerPrompted(as_typed("Go on.")),
            AskReply(as_typed("Go on.")),
            SpeechStarted(),
            SpeechStopped(),
            Clear(),
            CallerPressed("1"),
        ]
    ),
    st.builds(CallerAudio, st.just(FRAME), LEVELS),
    st.builds(ReplyStarted, IDS),
    st.builds(ReplyAudio, IDS, st.just(FRAME), LEVELS),
    st.builds(ReplyEnded, IDS, st.booleans()),
    st.builds(Play, IDS, st.just(FRAME)),
    st.builds(UserSaid, TEXTS, st.booleans(), st.sampled_from(["", "m1", "m2"])),
    st.builds(AgentSaid, IDS, TEXTS, st.booleans(), st.booleans(), st.none() | st.integers(0, 90)),
    st.builds(ToolCalled, IDS, TEXTS, TEXTS),
    st.builds(ToolFinished, IDS, TEXTS, st.booleans()),
    st.builds(SendResult, IDS, TEXTS),
    st.builds(AbandonTool, IDS),
    st.builds(heard, IDS, st.floats(0, 90), st.floats(0, 90), st.none() | st.floats(0, 90)),
    st.just(Remember(GapClosed(1.0, "new", "a"))),
)
JOURNALS = st.lists(st.tuples(st.floats(0, 3), ITEMS), max_size=40)


@given(JOURNALS)
def test_no_order_of_events_is_too_odd(steps: list[tuple[float, Item]]) -> None:
    """Whatever comes, in any order: nothing is raised, nothing is counted twice, no latency is negative."""
    now, fold = 0.0, TurnFold()
    for step_s, item in steps:
        now += step_s
        fold.see(Entry(now, item))
    folded = fold.turns
    replies = [reply.reply_id for turn in folded for reply in turn.replies]
    assert len(replies) == len(set(replies))
    named = {item.reply_id for _, item in steps if isinstance(item, ReplyStarted)}
    assert named <= set(replies)
    assert [turn.number for turn in folded] == list(range(1, len(folded) + 1))
    for turn in folded:
        latencies = (
            turn.speech_delay_ms,
            turn.end_of_turn_delay_ms,
            turn.transcript_ms,
            turn.first_audio_ms,
            turn.first_audible_ms,
            turn.user_bot_latency_ms,
            turn.barge_in_ms,
            turn.duration_ms,
        )
        assert all(latency is None or latency >= 0 for latency in latencies)
        assert all(reply.heard + reply.unheard == reply.text for reply in turn.replies)
