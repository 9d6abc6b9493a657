import pytest

from gateway.audio import MULAW_8K
from gateway.commands import AnyCommand, AskReply, Clear, Entry, GapClosed, Play, Remember, ReplyHeard
from gateway.events import (
    AgentReady,
    AgentSaid,
    AnyEvent,
    CallerAudio,
    CallerPressed,
    CallInfo,
    CallStarted,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    UserSaid,
)
from gateway.observers.turn_fold import fold_turns
from gateway.observers.turns import Turn

FRAME = MULAW_8K.silence(20)
STARTED = CallStarted(CallInfo("c1", "twilio", MULAW_8K))

Item = AnyEvent | AnyCommand


def turns(*script: tuple[float, Item | list[Item]]) -> list[Turn]:
    """Fold a journal given as (moment, what happened then)."""
    journal = [Entry(0.0, STARTED)]
    for at, items in script:
        journal += [Entry(at, item) for item in (items if isinstance(items, list) else [items])]
    return fold_turns(journal)


def user(text: str, item_id: str = "") -> UserSaid:
    return UserSaid(text, final=True, item_id=item_id)


def voice() -> CallerAudio:
    return CallerAudio(FRAME, -20.0)


def quiet() -> CallerAudio:
    return CallerAudio(FRAME, -70.0)


def sound(reply_id: str = "r1") -> ReplyAudio:
    return ReplyAudio(reply_id, FRAME, -20.0)


def silence(reply_id: str = "r1") -> ReplyAudio:
    return ReplyAudio(reply_id, FRAME, -100.0)


def said(text: str, reply_id: str = "r1", interrupted: bool = False) -> AgentSaid:
    return AgentSaid(reply_id, text, final=True, interrupted=interrupted)


def heard(
    reply_id: str = "r1",
    heard_ms: float = 1000,
    cut_ms: float = 0,
    audible_from_ms: float | None = 0,
    confirmed: bool = True,
) -> Remember:
    return Remember(
        ReplyHeard(reply_id, heard_ms + cut_ms, heard_ms, cut_ms, confirmed, bool(cut_ms), audible_from_ms)
    )


def exact(milliseconds: float) -> object:
    return pytest.approx(milliseconds, abs=0.01)


def test_an_ordinary_turn_has_every_latency() -> None:
    """Each latency runs between the two moments that its definition names."""
    [turn] = turns(
        (1.00, voice()),
        (1.02, voice()),
        (1.60, SpeechStarted()),
        (2.00, voice()),
        (2.02, quiet()),
        (2.50, SpeechStopped()),
        (2.51, user("Two loaves, please.")),
        (2.52, [ReplyStarted("r1"), silence(), Play("r1", FRAME)]),
        (2.54, [silence(), Play("r1", FRAME)]),
        (2.56, [sound(), Play("r1", FRAME)]),
        (2.58, [sound(), Play("r1", FRAME), said("Sure.")]),
        (2.60, ReplyEnded("r1")),
        (2.70, heard(heard_ms=80, audible_from_ms=40)),
    )
    assert turn.caller_started_at == 1.00
    assert turn.caller_stopped_at == 2.00
    assert turn.speech_delay_ms == exact(600)
    assert turn.end_of_turn_delay_ms == exact(500)
    assert turn.transcript_ms == exact(10)
    assert turn.first_audio_ms == exact(20)
    assert turn.first_audible_ms == exact(60)
    assert turn.user_bot_latency_ms == exact(560)
    assert turn.barge_in_ms is None
    assert turn.duration_ms == exact(1100)
    assert (turn.user_text, turn.heard_text) == ("Two loaves, please.", "Sure.")
    assert (turn.sent_ms, turn.heard_ms, turn.cut_ms) == (80, 80, 0)
    assert not turn.is_greeting


def test_a_greeting_is_a_turn_without_user_words() -> None:
    """Its latency runs from the readiness of the session, and the caller's first words begin the next turn."""
    greeting, answer = turns(
        (0.5, AgentReady("s1")),
        (0.6, ReplyStarted("r1")),
        (0.8, [sound(), Play("r1", FRAME), said("Hello!")]),
        (2.0, SpeechStarted()),
        (3.0, [SpeechStopped(), user("Hi"), ReplyStarted("r2"), sound("r2")]),
    )
    assert greeting.is_greeting
    assert greeting.first_audible_ms == exact(300)
    assert greeting.user_bot_latency_ms is None
    assert [reply.reply_id for reply in answer.replies] == ["r2"]
    assert (greeting.number, answer.number) == (1, 2)


def test_words_spoken_before_the_greeting_is_audible_are_a_turn_of_their_own() -> None:
    """The greeting keeps its audio, the caller's words get their reply."""
    greeting, answer = turns(
        (0.6, ReplyStarted("r1")),
        (0.7, SpeechStarted()),
        (0.8, sound("r1")),
        (1.0, [SpeechStopped(), user("Hello?"), ReplyStarted("r2"), sound("r2")]),
    )
    assert (greeting.user_text, answer.user_text) == ("", "Hello?")


def test_repeated_speech_events_make_one_turn() -> None:
    """The first start counts, and a repeated stop after the commit does not move it."""
    [turn] = turns(
        (0.9, voice()),
        (1.0, SpeechStarted()),
        (1.1, SpeechStarted()),
        (2.0, SpeechStopped()),
        (2.1, SpeechStopped()),
        (2.2, [user("Hi"), ReplyStarted("r1"), sound(), Play("r1", FRAME)]),
        (2.5, SpeechStopped()),
    )
    assert (turn.speech_started_at, turn.committed_at) == (1.0, 2.0)
    assert turn.user_bot_latency_ms == exact(1300)


def test_a_turn_whose_start_was_never_told_begins_with_its_words() -> None:
    """The unpaired stop is its commit."""
    first, second = turns(
        (1.0, [ReplyStarted("r1"), sound(), ReplyEnded("r1")]),
        (2.9, voice()),
        (3.0, SpeechStopped()),
        (3.1, user("Hi")),
        (3.2, [ReplyStarted("r2"), sound("r2")]),
    )
    assert first.is_greeting
    assert (second.committed_at, second.caller_stopped_at) == (3.0, 2.9)
    assert [reply.reply_id for reply in second.replies] == ["r2"]


def test_a_stray_stop_after_a_reply_opens_nothing() -> None:
    """Without any voice of the caller since, a stop is a repetition and the next reply belongs to the same turn."""
    [turn] = turns(
        (1.0, [voice(), SpeechStarted()]),
        (2.0, [SpeechStopped(), user("Hi"), ReplyStarted("r1"), sound()]),
        (2.5, SpeechStopped()),
        (3.0, [ReplyStarted("r2"), sound("r2")]),
    )
    assert [reply.reply_id for reply in turn.replies] == ["r1", "r2"]


def test_a_turn_with_neither_start_nor_transcript_is_seen_by_the_callers_voice() -> None:
    """An unpaired stop after audible sound of the caller opens a turn when the reply starts."""
    _, second = turns(
        (1.0, [ReplyStarted("r1"), sound(), ReplyEnded("r1")]),
        (2.9, voice()),
        (3.0, SpeechStopped()),
        (3.2, [ReplyStarted("r2"), sound("r2"), Play("r2", FRAME)]),
    )
    assert second.user_bot_latency_ms == exact(300)
    assert not second.utterances


def test_a_reply_may_start_before_the_stop_and_the_transcript() -> None:
    """The first of the three signs is the commit, whatever their order."""
    [turn] = turns(
        (1.0, [SpeechStarted(), voice()]),
        (2.00, ReplyStarted("r1")),
        (2.01, SpeechStopped()),
        (2.02, user("Hi")),
        (2.50, [sound(), Play("r1", FRAME)]),
    )
    assert turn.committed_at == 2.0
    assert turn.transcript_ms == exact(20)
    assert turn.first_audible_ms == exact(500)


def test_a_reply_that_starts_before_any_sign_of_the_caller_moves_to_the_words_it_answers() -> None:
    """No start of speech was told, the reply came first: it is not another reply of the turn before."""
    first, second = turns(
        (1.0, [ReplyStarted("r1"), sound(), ReplyEnded("r1")]),
        (3.0, ReplyStarted("r2")),
        (3.1, SpeechStopped()),
        (3.2, user("Hi")),
        (3.5, sound("r2")),
    )
    assert [reply.reply_id for reply in first.replies] == ["r1"]
    assert [reply.reply_id for reply in second.replies] == ["r2"]
    assert second.committed_at == 3.0


def test_a_transcript_that_comes_while_its_reply_is_heard_belongs_to_it() -> None:
    """The reply's sound does not close a turn whose words are still unknown."""
    [turn] = turns(
        (1.0, SpeechStarted()),
        (2.0, [SpeechStopped(), ReplyStarted("r1"), sound()]),
        (2.4, user("Hi")),
    )
    assert turn.user_text == "Hi"


def test_a_correction_of_an_earlier_utterance_stays_with_it() -> None:
    """The item's name says which utterance is meant, and a late partial text does not replace the final one."""
    first, second = turns(
        (1.0, SpeechStarted()),
        (2.0, [user("Hi", "m1"), ReplyStarted("r1"), sound()]),
        (3.0, SpeechStarted()),
        (3.5, [user("Hi there", "m1"), UserSaid("H", final=False, item_id="m1")]),
        (4.0, [user("Bye", "m2"), ReplyStarted("r2"), sound("r2")]),
    )
    assert (first.user_text, second.user_text) == ("Hi there", "Bye")


def test_growing_transcripts_replace_each_other() -> None:
    """A delta is the whole utterance so far."""
    [turn] = turns(
        (1.0, [UserSaid("I", final=False), UserSaid("I would", final=False), user("I would like two")]),
        (1.5, user("And one more")),
    )
    assert [utterance.text for utterance in turn.utterances] == ["I would like two", "And one more"]


def test_a_silent_reply_is_merged_into_the_next_one() -> None:
    """Speech before anything was audible goes on with the turn; its latencies count from the last commit."""
    [turn] = turns(
        (1.0, [voice(), SpeechStarted()]),
        (2.0, [SpeechStopped(), user("I would like"), ReplyStarted("r1"), silence()]),
        (2.5, [voice(), SpeechStarted()]),
        (3.5, [ReplyEnded("r1"), said("Sure", "r1")]),
        (4.0, [SpeechStopped(), user("two loaves."), ReplyStarted("r2")]),
        (4.5, [sound("r2"), Play("r2", FRAME)]),
        (5.0, [heard("r1", 1500, 0, None), heard("r2")]),
    )
    assert turn.user_text == "I would like two loaves."
    assert turn.caller_stopped_at == 2.5
    assert turn.first_audible_ms == exact(500)
    silent, audible = turn.replies
    assert (silent.unheard, silent.heard) == ("Sure", "")
    assert silent.audible_sent_at is None
    assert audible.audible_sent_at == 4.5


def test_an_interruption_begins_a_turn_and_is_told_of_the_one_before() -> None:
    """The first of the agent's two signals counts, up to our clear; the words are cut where the sound was."""
    before, after = turns(
        (
            1.0,
            [ReplyStarted("r1"), sound(), Play("r1", FRAME), said("one two three four", interrupted=False)],
        ),
        (2.000, SpeechStarted()),
        (2.001, [ReplyEnded("r1", interrupted=True), Clear(), heard(heard_ms=500, cut_ms=500)]),
        (2.050, sound()),
        (3.0, [SpeechStopped(), user("Stop!")]),
    )
    assert before.was_interrupted
    assert before.barge_in_ms == exact(1)
    assert (before.replies[0].heard, before.replies[0].unheard) == ("one two", " three four")
    assert before.replies[0].estimated
    assert (after.user_text, after.replies, after.barge_in_ms) == ("Stop!", (), None)


def test_an_interruption_may_be_told_by_the_replys_end_alone() -> None:
    """No start of speech is needed."""
    [turn] = turns(
        (1.0, [ReplyStarted("r1"), sound()]),
        (2.0, ReplyEnded("r1", interrupted=True)),
        (2.004, Clear()),
    )
    assert turn.barge_in_ms == exact(4)


def test_a_clear_without_an_interruption_is_no_barge_in() -> None:
    """Speech that interrupted nothing leaves no signal behind for a later clear."""
    first, second = turns(
        (1.0, [ReplyStarted("r1"), sound(), ReplyEnded("r1")]),
        (2.0, [SpeechStarted(), SpeechStopped(), user("Hi"), ReplyStarted("r2"), sound("r2")]),
        (9.0, Clear()),
    )
    assert (first.barge_in_ms, second.barge_in_ms) == (None, None)


def test_a_clear_after_the_callers_words_is_no_barge_in() -> None:
    """A signal is over when the caller has finished, though no reply has begun."""
    first, _ = turns(
        (1.0, [ReplyStarted("r1"), sound(), ReplyEnded("r1")]),
        (2.0, [SpeechStarted(), SpeechStopped(), user("Hi")]),
        (3.0, Clear()),
    )
    assert first.barge_in_ms is None


def test_an_interjection_without_a_reply_goes_on_with_the_next_words() -> None:
    """The agent may take words in without an answer of their own."""
    _, turn = turns(
        (1.0, [ReplyStarted("r1"), sound()]),
        (2.0, [SpeechStarted(), SpeechStopped(), user("Wait, stop.")]),
        (4.0, [SpeechStarted(), SpeechStopped(), user("What time is it?"), ReplyStarted("r2"), sound("r2")]),
    )
    assert turn.user_text == "Wait, stop. What time is it?"


def test_a_noise_makes_no_turn() -> None:
    """Speech without words, replies or tools leaves nothing behind."""
    assert turns((1.0, SpeechStarted()), (2.0, SpeechStopped())) == []


def test_a_silent_caller_has_no_estimated_end_of_speech() -> None:
    """Sound of an earlier turn is not taken for the end of this one."""
    _, turn = turns(
        (1.0, [voice(), SpeechStarted(), SpeechStopped(), user("Hi"), ReplyStarted("r1"), sound()]),
        (9.0, [SpeechStarted(), SpeechStopped(), user("Bye"), ReplyStarted("r2"), sound("r2")]),
    )
    assert turn.caller_stopped_at is None
    assert turn.user_bot_latency_ms is None


def test_the_ledger_knows_the_first_audible_sample_better_than_the_chunks() -> None:
    """A whole reply in one chunk starts with silence that only the ledger can place."""
    [turn] = turns(
        (1.0, [SpeechStarted(), SpeechStopped(), ReplyStarted("r1"), ReplyAudio("r1", FRAME * 10, -20.0)]),
        (1.0, Play("r1", FRAME)),
        (1.5, Play("r1", FRAME)),
        (2.0, heard(heard_ms=40, audible_from_ms=20)),
    )
    assert turn.first_audible_ms == exact(500)


def test_audio_of_an_unnamed_reply_belongs_to_the_last_one() -> None:
    """Some agents do not say to which reply their audio belongs."""
    [turn] = turns((1.0, [ReplyStarted("r1"), ReplyAudio("", FRAME, -20.0)]))
    assert [(reply.reply_id, reply.first_audio_at) for reply in turn.replies] == [("r1", 1.0)]


def test_keys_and_losses_and_house_sounds_belong_to_the_turn_in_which_they_end() -> None:
    """Keys are the caller's words, a gap says what bridged it, and a clip how much of it was heard."""
    _, turn = turns(
        (0.5, AskReply("greet")),
        (1.0, [ReplyStarted("r1"), sound()]),
        (2.0, [CallerPressed("4"), CallerPressed("2")]),
        (3.0, Remember(GapClosed(800.0, "new", "support"))),
        (3.1, heard("clip:hold", 400, confirmed=False)),
        (3.5, [ReplyStarted("r2"), sound("r2"), Play("r2", FRAME)]),
    )
    assert turn.keys == "42"
    assert turn.first_audible_ms == exact(1500)
    assert turn.gap_ms == 800.0
    assert [(clip.name, clip.heard_ms, clip.confirmed) for clip in turn.clips] == [("hold", 400, False)]
