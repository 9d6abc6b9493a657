"""``talkpath replay`` as people and programs use it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stories import change_constant

from gateway import cli

RECORDED = Path(__file__).parents[1] / "recorded"
DEMO = RECORDED / "demo.jsonl"
CONFIGURATION = """
agents: {rover: {kind: offline, tools: [hang_up]}}
routes: [{name: recorded, agent: rover, dtmf: DTMF}, {name: other, agent: rover, dtmf: text}]
adapters: {pcm: {}}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; gives exit code, output and complaint."""

    def typed(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(["replay", *map(str, arguments)])
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, said.out, said.err

    return typed


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that waits longer after a key was pressed."""
    change_constant(monkeypatch, "KEY_PAUSE_S", 1.5)


def test_a_call_that_is_the_same_is_shown_turn_by_turn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn with its words and its measures, within the columns there are; exit code 0."""
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run(DEMO)
    assert (code, err) == (0, "")
    assert "route recorded, agents rover, keys; recorded by Talkpath" in out
    assert "caller: go forward" in out
    assert out.count("nothing (") == 5
    assert "The same: 5 turns" in out
    assert all(len(line) <= 100 for line in out.splitlines()[1:-1])


@pytest.mark.usefixtures("changed")
def test_what_differs_is_shown_in_its_turn(run: Run) -> None:
    """What was commanded, when, and what is commanded today; exit code 1."""
    code, out, _ = run(DEMO)
    assert code == 1
    assert "Differs first in turn 3," in out
    assert "500 ms later" in " ".join(out.split())
    before, _, after = out.partition("caller: 1")
    assert "nothing (" in before
    assert "- " in after
    assert "+ " in after


@pytest.mark.usefixtures("changed")
def test_programs_get_everything(run: Run) -> None:
    """All commands of all turns in order, what differs, and the measures of both sides."""
    code, out, _ = run(DEMO, "--json")
    (call,) = json.loads(out)["calls"]
    assert (code, call["same"], call["route"], call["words"]) == (1, False, "recorded", True)
    assert call["first_difference"]["turn"] == 3
    turns: list[dict[str, Any]] = call["turns"]
    assert [turn["same"] for turn in turns][:3] == [True] * 3
    assert sum(turn["commands"] for turn in turns) == call["commands"]
    third = turns[3]
    assert third["recorded"]["keys"] == third["replayed"]["keys"] == "1"
    kinds = {change["kind"] for change in third["changes"]}
    assert {"same"} < kinds <= {"same", "changed", "only recorded", "only replayed"}


def test_a_folder_is_a_line_per_call(run: Run, tmp_path: Path) -> None:
    """And a sum; a file that cannot be read is told and the others are replayed."""
    code, out, err = run(RECORDED)
    calls = len(list(RECORDED.glob("*.jsonl")))
    assert (code, err) == (0, "")
    assert f"{DEMO}: The same: 5 turns" in out
    assert f"{calls} the same, 0 differ, 0 cannot be read." in out
    bad = tmp_path / "bad.jsonl"
    bad.write_text("hello\n")
    code, out, err = run(DEMO, bad)
    assert code == 2
    assert "1 the same, 0 differ, 1 cannot be read." in out
    assert err.startswith(f"talkpath replay: {bad} cannot be replayed: line 1 cannot be read")


def test_a_journal_that_breaks_off_is_replayed_and_said_to(run: Run, tmp_path: Path) -> None:
    """A process that was killed while it wrote has left a torn line."""
    torn = tmp_path / "torn.jsonl"
    text = DEMO.read_bytes()
    torn.write_bytes(text[: len(text) // 2])
    code, out, _ = run(torn)
    assert code == 0
    assert "Note: the last line is cut short" in out
    assert "Note: the end of the call is missing" in out
    torn.write_bytes(text[: text.index(b"\n", len(text) // 2) + 1])
    code, out, _ = run(torn)
    assert (code, "cut short" in out, "the end of the call is missing" in out) == (0, False, True)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("nothing.jsonl", None, "cannot be read: No such file or directory"),
        ("empty.jsonl", "", "cannot be replayed: the journal is empty"),
        ("note.txt", "Dear diary\n", "is this a journal of Talkpath?"),
    ],
)
def test_what_is_no_journal_is_told_in_one_sentence(
    run: Run, tmp_path: Path, name: str, text: str | None, complaint: str
) -> None:
    """Exit code 2, one line, also as JSON."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    code, out, err = run(path)
    assert (code, out) == (2, "")
    assert complaint in err
    assert len(err.splitlines()) == 1
    code, out, err = run(path, "--json")
    assert (code, err) == (2, "")
    assert complaint in json.loads(out)["calls"][0]["error"]


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[[str], Path]:
    """A configuration in which the agent is told of keys, or is not."""

    def write(dtmf: str) -> Path:
        path = tmp_path / "gateway.yaml"
        path.write_text(CONFIGURATION.replace("DTMF", dtmf))
        return path

    return write


def test_another_configuration_shows_what_it_would_change(
    run: Run, configuration: Callable[[str], Path]
) -> None:
    """The route of the same name, or the one that is named, says what the machine is told."""
    code, out, _ = run(DEMO, "--config", configuration("ignore"), "--json")
    (call,) = json.loads(out)["calls"]
    assert (code, call["agents"], call["route"]) == (1, ["rover"], "recorded")
    third = next(turn for turn in call["turns"] if turn["recorded"] and turn["recorded"]["keys"] == "1")
    lost = [change for change in third["changes"] if change["kind"] == "only recorded"]
    assert any("ask.reply" in change["recorded"] for change in lost), "nobody asks about the key"
    _, out, _ = run(DEMO, "--config", configuration("ignore"), "--route", "other", "--json")
    (call,) = json.loads(out)["calls"]
    assert call["route"] == "other"
    assert "ask.reply" not in str(
        [c for turn in call["turns"] for c in turn["changes"] if c["kind"] == "only recorded"]
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--route", "other"), "--route chooses among the routes of --config"),
        (("--config", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    ],
)
def test_wrong_usage_is_refused(run: Run, options: tuple[str, ...], complaint: str) -> None:
    """Exit code 2, before anything is replayed."""
    code, out, err = run(DEMO, *options)
    assert (code, out) == (2, "")
    assert complaint in err


def test_a_route_that_there_is_not_is_told_with_those_there_are(
    run: Run, configuration: Callable[[str], Path]
) -> None:
    """Whoever has renamed a route can name it."""
    code, _, err = run(DEMO, "--config", configuration("text"), "--route", "night")
    assert code == 2
    assert "there is no route night; choose one with --route: recorded, other" in err


def test_a_folder_without_journals_is_refused(run: Run, tmp_path: Path) -> None:
    """It is more likely the wrong folder."""
    code, _, err = run(tmp_path)
    assert (code, err) == (2, f"talkpath replay: there is no journal in {tmp_path}; they are named ….jsonl\n")
