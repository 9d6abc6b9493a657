"""``talkpath hosts`` with files that are no journals; what it lists is in `tests/e2e/test_residency.py`."""

import json
from pathlib import Path

import pytest

from gateway.cli import main


@pytest.mark.parametrize("text", ["server: {}\n", '{"at": 1}\n', ""])
def test_a_file_that_is_no_journal_is_named(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Among many files the sentence says which one cannot be read; exit code 2, in words and as a document."""
    path = tmp_path / "stray.jsonl"
    path.write_text(text)
    with pytest.raises(SystemExit) as left:
        main(["hosts", str(tmp_path)])
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert err.startswith(f"talkpath hosts: {path}: ")
    assert err.count("\n") == 1
    with pytest.raises(SystemExit) as left:
        main(["hosts", str(tmp_path), "--json"])
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (left.value.code, problem) == (2, err.removeprefix("talkpath hosts: ").rstrip("\n"))
