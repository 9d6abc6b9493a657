import pytest

from gateway.commands import AbandonTool, AnyCommand, Entry, SendResult
from gateway.events import (
    AgentSaid,
    AnyEvent,
    CallerAnsweredTool,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    ToolFinished,
    UserSaid,
)
from gateway.observers.turn_fold import fold_turns
from gateway.observers.turns import Turn


def fold(*script: tuple[float, list[AnyEvent | AnyCommand]]) -> list[Turn]:
    return fold_turns(Entry(at, item) for at, items in script for item in items)


def exact(milliseconds: float) -> object:
    return pytest.approx(milliseconds, abs=0.01)


def test_several_replies_around_a_tool_call_make_one_turn() -> None:
    """The silent preamble, the tool and the answer belong to the words that asked for them."""
    [turn] = fold(
        (
            1.0,
            [
                SpeechStarted(),
                SpeechStopped(),
                UserSaid("Any rye?", final=True),
                ReplyStarted("r1"),
                ReplyAudio("r1", b"", -100.0),
            ],
        ),
        (2.0, [ToolCalled("t1", "get_stock", "{}")]),
        (2.3, [ToolFinished("t1", "{}")]),
        (2.4, [SendResult("t1", "{}"), SendResult("t1", "{}")]),
        (2.5, [ReplyEnded("r1"), ReplyEnded("r1"), ReplyStarted("r2"), ReplyAudio("r2", b"", -20.0)]),
        (2.9, [AgentSaid("r2", "Yes.", final=False)]),
        (3.0, [ToolCalled("t2", "order", "{}"), AbandonTool("t2")]),
    )
    first, second = turn.tools
    assert (first.duration_ms, first.answer_ms, first.outcome) == (exact(300), exact(400), "ok")
    assert (second.duration_ms, second.abandoned, second.outcome) == (None, True, "")
    assert turn.replies[1].text == "Yes."
    assert turn.replies[1].source == "deltas"


def test_a_tool_of_the_client_ends_with_its_answer() -> None:
    """Tools that a client declares are answered by it, and repeated calls are one."""
    [turn] = fold(
        (1.0, [ToolCalled("t1", "look", "{}")]),
        (1.1, [ToolCalled("t1", "look", "{}")]),
        (1.5, [CallerAnsweredTool("t1", "no", failed=True)]),
    )
    [tool] = turn.tools
    assert (tool.duration_ms, tool.outcome) == (exact(500), "error")
