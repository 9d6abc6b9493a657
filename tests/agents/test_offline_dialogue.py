"""The script and the dialogue of the offline agent."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import gateway.agents
from gateway.agents.offline import CallTool, HangUp, OfflineDialogue, Say, Script, load_script, render
from gateway.errors import ConfigError

SCRIPTS = Path(gateway.agents.__file__).parent / "scripts"
GOODBYE = "Goodbye, and thank you for calling."


def shipped(name: str) -> Script:
    return load_script(yaml.safe_load((SCRIPTS / f"{name}.yaml").read_text(encoding="utf-8")), name)


@pytest.fixture(scope="module")
def default() -> Script:
    return shipped("default")


@pytest.mark.parametrize(
    ("sentence", "answer"),
    [
        ("go forward ten meters", "Going forward ten meters."),
        ("Go backward 22 meter.", "Going backward twenty two meters."),
        ("ten of clubs", "I heard ten of clubs."),
        ("four queen of clubs", "I heard four queen of clubs."),
        ("five five", "I heard five five."),
        ("eight of spades four of clubs seven of hearts", "I heard eight of spades four of clubs seven of hearts."),
        ("he was not an ill disposed young man", "That is from Sense and Sensibility, by Jane Austen."),
        ("track order fifty five", "I cannot look up orders here."),
    ],
)  # fmt: skip
def test_the_default_script_answers_with_what_it_understood(
    default: Script, sentence: str, answer: str
) -> None:
    """A sentence that fits a phrase is answered with its slots in words."""
    assert OfflineDialogue(default).heard(sentence) == [Say(answer)]


def test_a_tool_is_called_when_the_session_has_it(default: Script) -> None:
    """Numbers are passed as numbers; the result's values are spoken."""
    dialogue = OfflineDialogue(default, frozenset({"drive", "track_order"}))
    assert dialogue.heard("go forward ten meters") == [
        CallTool(1, "drive", {"direction": "forward", "meters": 10})
    ]
    assert dialogue.tool_result(1, "{}") == [Say("Going forward ten meters.")]
    assert dialogue.heard("where is my order fifty five") == [CallTool(2, "track_order", {"order_id": 55})]
    assert dialogue.tool_result(2, '{"order_id": 7, "status": "on its way"}') == [
        Say("Order seven is on its way.")
    ]


@pytest.mark.parametrize(("result", "failed"), [("", True), ('{"error": "no such order"}', False)])
def test_a_failed_tool_is_told(default: Script, result: str, failed: bool) -> None:
    """An error flag and a result that names an error both lead to the intent's sentence for errors."""
    dialogue = OfflineDialogue(default, frozenset({"track_order"}))
    dialogue.heard("track order six")
    assert dialogue.tool_result(1, result, failed=failed) == [Say("I could not find order six.")]
    assert dialogue.tool_result(1, result, failed=failed) == []


@pytest.mark.parametrize("failed", [True, False])
def test_hang_up_ends_the_call_whatever_the_tool_answered(failed: bool) -> None:
    """After `say_error` as after `say`."""
    intent = {
        "name": "cancel",
        "phrases": ["cancel it"],
        "tool": "cancel",
        "say": "Done.",
        "say_error": "No.",
        "hang_up": True,
    }
    dialogue = OfflineDialogue(load_script({"intents": [intent]}, "own"), frozenset({"cancel"}))
    dialogue.heard("cancel it")
    assert dialogue.tool_result(1, "{}", failed=failed) == [Say("No." if failed else "Done."), HangUp()]


def test_goodbye_hangs_up(default: Script) -> None:
    """The goodbye comes before the end."""
    assert OfflineDialogue(default).heard("goodbye") == [Say(GOODBYE), HangUp()]


def test_keys_lead_through_the_menu(default: Script) -> None:
    """A key does what the menu says, pressed or told by the gateway; others are explained."""
    dialogue = OfflineDialogue(default)
    (hours,) = dialogue.pressed("1")
    assert isinstance(hours, Say)
    assert len(hours.text.split()) > 30
    assert dialogue.instructed("The caller pressed 9 on the keypad.") == [Say(GOODBYE), HangUp()]
    assert dialogue.pressed("5") == [
        Say("Press one for our opening hours, two for help, or nine to hang up.")
    ]


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        ("Say: we are closed today.", "we are closed today."),
        ('Say "we are closed" now', "we are closed"),
        ("Tell the caller that we are still checking.", "We are still checking."),
        ('Greet them with "good day".', "good day"),
        ("", "I am still here."),
        ("Be nice.", "I am still here."),
    ],
)
def test_simple_instructions_are_followed(default: Script, instructions: str, said: str) -> None:
    """A sentence in the instructions is spoken; without one the agent says that it is there."""
    assert OfflineDialogue(default).instructed(instructions) == [Say(said)]


def test_misunderstandings_and_silence_run_out_of_patience(default: Script) -> None:
    """Repeated misses get the last sentence; repeated silence ends in a goodbye, once."""
    dialogue = OfflineDialogue(default)
    assert dialogue.not_understood() != dialogue.not_understood() == dialogue.heard("colourless green ideas")
    said = [dialogue.no_input() for _ in range(4)]
    assert said[2] == [Say(GOODBYE), HangUp()]
    assert said[3] == []


def test_the_apology_hangs_up_by_itself() -> None:
    """The last resort says sorry and ends the call without waiting for anybody."""
    script = shipped("apology")
    assert script.file.greeting.startswith("Sorry")
    assert OfflineDialogue(script).started() == [HangUp()]


def test_every_problem_of_a_script_is_named() -> None:
    """Unknown keys are refused; everything wrong with names, phrases, lists and keys is told at once."""
    with pytest.raises(ConfigError, match="unknown field `shout`"):
        load_script({"shout": 1})
    wrong = {
        "lists": {"loop": "a <loop>"},
        "intents": [
            {"name": "a", "phrases": ["go [x", "{b:(c)} {b:(d)}", "fine"]},
            {"name": "a", "phrases": []},
            {"name": "b", "phrases": ["{n:nolist}", "{n:number}"]},
        ],
        "digits": {"keys": {"x": {}, "12": {}, "5": {}, "#": {}}},
    }
    with pytest.raises(ConfigError) as caught:
        load_script(wrong, "mine.yaml")
    assert [problem.partition(": ")[2].partition(": ")[0] for problem in caught.value.problems] == [
        "lists.loop",
        "intents[0].phrases[0]",
        "intents[0].phrases[1]",
        "intents[1].name",
        "intents[1].phrases",
        "intents[2].phrases[0]",
        "digits.keys.x",
        "digits.keys.12",
    ]
    assert all(problem.startswith("mine.yaml: ") for problem in caught.value.problems)


@given(st.text(max_size=200), st.text(max_size=200))
def test_nothing_that_is_heard_or_answered_raises(default: Script, heard: str, result: str) -> None:
    """Any sentence, instruction and tool result is taken."""
    dialogue = OfflineDialogue(default, frozenset({"drive"}))
    dialogue.heard("go forward one")
    for actions in (dialogue.heard(heard), dialogue.instructed(heard), dialogue.tool_result(1, result)):
        assert all(isinstance(action, Say | CallTool | HangUp) for action in actions)


def test_missing_values_are_said_to_be_unknown() -> None:
    """A template never fails on what a tool did not send."""
    values = {"order": {"status": None, "items": ["bread", 2]}, "late": True}
    assert render("{order.status} {order.items} {late} {nothing}", values) == "unknown bread, two yes unknown"
