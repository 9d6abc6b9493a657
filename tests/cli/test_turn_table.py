import io
import json

from rich.console import Console

from gateway.cli.turn_table import print_turns, turn_rows
from gateway.observers.turns import Gap, Reply, ToolUse, Turn, Utterance

TURNS = [
    Turn(
        number=1,
        began_at=1.0,
        ended_at=6.0,
        caller_stopped_at=2.0,
        committed_at=3.0,
        interrupted_at=5.0,
        cleared_at=5.002,
        utterances=(Utterance(1.0, "Any [b]rye[/b]?", True),),
        replies=(
            Reply(
                "r1",
                3.0,
                audible_sent_at=3.5,
                settled=True,
                sent_ms=900.0,
                heard_ms=600.0,
                cut_ms=300.0,
                confirmed=True,
                interrupted=True,
                text="Yes, two loaves.",
                heard="Yes,",
                unheard=" two loaves.",
            ),
        ),
        tools=(
            ToolUse("t1", "get_stock", 3.1, 3.35, outcome="ok"),
            ToolUse("t2", "order", 3.2, abandoned=True),
            ToolUse("t3", "lookup", 3.2, informational=True),
        ),
        gaps=(Gap(4.0, 812.0, "token", "main"),),
    ),
    Turn(number=2, began_at=6.0, ended_at=7.0),
]


def printed(console: Console) -> str:
    print_turns(TURNS, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_the_table_is_plain_and_100_columns_wide() -> None:
    """Unheard words stand in brackets, words are never taken for markup, and no escape code is written."""
    text = printed(Console(file=io.StringIO(), width=200))
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
    flat = " ".join(text.split())
    for part in (
        "caller: Any [b]rye[/b]?",
        "agent: Yes, [two loaves.]",
        "answer 1500",
        "turn end 1000",
        "audible 500",
        "barge-in 2",
        "gap 812",
        "600/900",
        "marks",
    ):
        assert part in flat


def test_on_a_terminal_unheard_words_are_struck_through() -> None:
    """No brackets are needed where the style says it."""
    text = printed(Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=160))
    assert "\x1b[2;9mtwo loaves.\x1b[0m" in text
    assert "get_stock: ok 250 ms" in text
    assert "order: abandoned" in text
    assert "lookup: by the provider" in text


def test_rows_are_plain_values() -> None:
    """They can be written as JSON, and what was not seen is null."""
    first, second = json.loads(json.dumps(turn_rows(TURNS)))
    assert first["user_bot_latency_ms"] == 1500.0
    assert first["agent"] == [{"reply_id": "r1", "heard": "Yes,", "unheard": "two loaves."}]
    assert first["tools"][0] == {
        "name": "get_stock",
        "outcome": "ok",
        "duration_ms": 250.0,
        "answer_ms": None,
        "abandoned": False,
    }
    assert second["user_bot_latency_ms"] is None
    assert second["greeting"] is True
