"""Lines that a caller types, folded into turns."""

import pytest

from gateway.audio import MULAW_8K
from gateway.client_rules import as_typed
from gateway.commands import AskReply, Entry, Play
from gateway.events import (
    AgentReady,
    AnyEvent,
    CallerPrompted,
    CallInfo,
    CallStarted,
    ReplyAudio,
    ReplyStarted,
)
from gateway.observers.journal_words import without_words
from gateway.observers.transcript import Transcript, TranscriptLine
from gateway.observers.turn_fold import fold_turns
from gateway.observers.turns import Turn

FRAME = MULAW_8K.silence(20)
Item = AnyEvent | AskReply | Play


def call(*asked: Item) -> list[Entry]:
    """A greeting, and a reply one second after each wish for one."""
    items: list[Item] = [AgentReady("s"), *spoken("greeting")]
    for place, item in enumerate(asked):
        items.append(item)
        items += spoken(f"r{place}") if isinstance(item, AskReply) else []
    started = CallStarted(CallInfo("c1", "browser", MULAW_8K))
    return [Entry(0.0, started), *(Entry(float(at), item) for at, item in enumerate(items, 1))]


def spoken(reply_id: str) -> list[Item]:
    return [ReplyStarted(reply_id), ReplyAudio(reply_id, FRAME, -20.0), Play(reply_id, FRAME)]


def shown(turns: list[Turn]) -> list[tuple[str, list[str]]]:
    return [(turn.user_text, [reply.reply_id for reply in turn.replies]) for turn in turns]


def test_every_typed_line_is_a_turn_of_its_own() -> None:
    """It has the typed words, without their frame and once, the reply to them, and latencies from the wish on."""
    lines = [as_typed("Two loaves."), as_typed("And a cake.")]
    turns = fold_turns(call(*(item for line in lines for item in (CallerPrompted(line), AskReply(line)))))
    assert shown(turns) == [("", ["greeting"]), ("Two loaves.", ["r1"]), ("And a cake.", ["r3"])]
    assert [turn.is_greeting for turn in turns] == [True, False, False]
    assert turns[1].first_audible_ms == pytest.approx(4000)
    assert (turns[1].user_bot_latency_ms, turns[1].transcript_ms) == (None, None), "nobody spoke"


def test_instructions_that_pass_on_as_words_are_words() -> None:
    """Those of a client that may give none are told to the agent as typed, and so they are to people."""
    asked = "Say that the cake is free."
    turns = fold_turns(call(CallerPrompted(asked), AskReply(as_typed(asked))))
    assert shown(turns) == [("", ["greeting"]), (asked, ["r1"])]


@pytest.mark.parametrize("instructions", ["", "Say where you are.", 'The caller typed: "". Answer that.'])
def test_a_wish_for_a_reply_alone_says_nothing_of_the_caller(instructions: str) -> None:
    """What a client's program or the house asks for belongs to the turn in which it is asked, as in a tool's hold."""
    by_client = call(CallerPrompted(instructions), AskReply(instructions))
    assert shown(fold_turns(by_client)) == [("", ["greeting", "r1"])]
    by_us = call(AskReply("The caller pressed 9 on the keypad."))
    assert shown(fold_turns(by_us)) == [("", ["greeting", "r0"])]


def test_a_journal_without_words_keeps_the_turns_of_typed_lines() -> None:
    """What was typed is masked, that it was typed is not."""
    line = as_typed("Two loaves.")
    journal = [Entry(one.at, without_words(one.item)) for one in call(CallerPrompted(line), AskReply(line))]
    assert [bool(turn.user_text) for turn in fold_turns(journal)] == [False, True]
    assert "loaves" not in fold_turns(journal)[1].user_text


def test_a_transcript_tells_a_typed_line_once() -> None:
    """It is told as it comes, as the caller's."""
    told: list[TranscriptLine] = []
    transcript = Transcript(told.append)
    line = as_typed("Two loaves.")
    for entry in call(CallerPrompted(line), AskReply(line)):
        transcript.see(entry)
    assert [(one.speaker, one.text) for one in told] == [("user", "Two loaves.")]
    assert [one.text for one in transcript.lines if one.speaker == "user"] == ["Two loaves."]
