import json
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.observers.audit_file import AuditFile

KEY = "an-audit-key-that-is-long-enough"


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)


def write(lines: int = 5, key: str = "", max_bytes: int = 1 << 20) -> str:
    """Make a trail; gives its last seal."""
    file = AuditFile(Path("audit.jsonl"), key=key.encode(), max_bytes=max_bytes)
    file.open()
    for place in range(lines):
        file.put({"kind": "refused", "place": place})
        file.write()
    file.close()
    return file.head.seal


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "verify", *arguments])
    return int(ended.value.code or 0)


def test_a_whole_trail_is_told_with_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, the numbers, the last seal, and what cannot be known."""
    last = write()
    assert run("audit.jsonl", "--expect", last.upper(), "--count", "5") == 0
    out, err = capsys.readouterr()
    assert f"lines 1 to 5 are whole; the last one bears {last}" in out
    assert "only with --expect or --count" in out
    assert err == ""


def test_a_changed_line_is_told_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and a sentence per finding; as JSON the same."""
    write()
    path = Path("audit.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"place":2', b'"place":7'))
    assert run("audit.jsonl") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "audit.jsonl:3 does not bear the seal that it must" in err
    assert run("audit.jsonl", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["lines"], len(told["problems"])) == (False, 5, 1)


def test_a_tail_that_was_cut_off_is_found_by_what_was_noted_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By a seal or a number, and by nothing else."""
    last = write()
    path = Path("audit.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert run("audit.jsonl") == 0
    capsys.readouterr()
    assert run("audit.jsonl", "--expect", last) == 1
    assert f"no line bears the seal {last}" in capsys.readouterr().err
    assert run("audit.jsonl", "--count", "5") == 1
    assert "the last line has the number 3, not 5 or more" in capsys.readouterr().err


def test_path_and_key_come_from_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """Also several keys while one is rotated; a file with the key does as well, and without any the seals are wrong."""
    write(3, key=KEY)
    write(2, key=f"{KEY}-next")
    sections = "routes: [{name: all, agent: a}]\nagents: {a: {kind: offline}}\n"
    Path("other.yaml").write_text(f"audit: {{path: audit.jsonl, key: [{KEY}-next, {KEY}]}}\n{sections}")
    assert run("--config", "other.yaml") == 0
    Path("key").write_text(f"{KEY}\n")
    assert run("audit.jsonl", "--key-file", "key") == 1
    assert run("audit.jsonl") == 1
    assert KEY not in "".join(capsys.readouterr())


def test_files_that_were_put_aside_belong_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    """One missing between two others is found; the first ones may be gone, which is told."""
    write(30, max_bytes=300)
    assert run("audit.jsonl") == 0
    older = sorted(Path().glob("audit.jsonl.0*"))
    older[0].unlink()
    assert run("audit.jsonl") == 0
    assert "Note: " in capsys.readouterr().out
    older[3].unlink()
    assert run("audit.jsonl") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.jsonl"], "none.jsonl: cannot be read"),
        ([], "name the trail"),
        (["audit.jsonl", "--key-file", "none"], "none: cannot be read"),
        (["audit.jsonl", "--config", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, on standard error or as JSON."""
    write()
    assert run(*arguments) == 2
    assert sentence in capsys.readouterr().err
    assert run(*arguments, "--json") == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False
