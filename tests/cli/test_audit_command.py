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


def write(lines: int = 5, key: str = "", max_bytes: int = 1 << 20, keep_files: int = 1000) -> str:
    """Make a trail; gives its last seal."""
    file = AuditFile(Path("audit.jsonl"), key=key.encode(), max_bytes=max_bytes, keep_files=keep_files)
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
    assert f"lines 1 to 5 are whole, checked without a key; the last one bears {last}" in out
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
    """One missing between two others is found."""
    write(30, max_bytes=300)
    assert run("audit.jsonl") == 0
    sorted(Path().glob("audit.jsonl.0*"))[3].unlink()
    assert run("audit.jsonl") == 1
    assert "lines are missing or moved" in capsys.readouterr().err


def test_a_file_that_nobody_noted_to_have_deleted_was_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    """The oldest one too, unless whoever checks says where the trail begins now."""
    write(30, key=KEY, max_bytes=300)
    Path("key").write_text(KEY)
    oldest, next_one, *_ = sorted(Path().glob("audit.jsonl.0*"))
    before = int(oldest.suffix[1:])
    oldest.unlink()
    assert run("audit.jsonl", "--key-file", "key") == 1
    told = f"{next_one.name}:1 continues line {before}, whose file is not here and was not deleted by the gateway"
    assert told in capsys.readouterr().err
    assert run("audit.jsonl", "--key-file", "key", "--from", str(before + 1)) == 0
    assert "Note: " in capsys.readouterr().out
    next_one.unlink()
    assert run("audit.jsonl", "--key-file", "key", "--from", str(before + 1)) == 1


def test_files_that_the_gateway_deleted_are_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the trail was copied under another name; one more that is gone is found."""
    write(30, key=KEY, max_bytes=300, keep_files=4)
    Path("key").write_text(KEY)
    for path in [Path("audit.jsonl"), *Path().glob("audit.jsonl.0*")]:
        path.rename(path.name.replace("audit", "copy"))
    assert run("copy.jsonl", "--key-file", "key") == 0
    assert "continues a file that the gateway deleted, as it noted itself" in capsys.readouterr().out
    min(Path().glob("copy.jsonl.0*")).unlink()
    assert run("copy.jsonl", "--key-file", "key") == 1


def test_an_empty_trail_was_emptied(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and a sentence: a gateway that ever ran has left a line."""
    write()
    Path("audit.jsonl").write_bytes(b"")
    assert run("audit.jsonl") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "audit.jsonl is empty: a gateway writes a line as soon as it starts" in err
    assert run("audit.jsonl", "--json") == 1


def test_it_is_said_that_there_was_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A trail that was made anew without one passes such a check; with one nothing of it is said."""
    write()
    assert run("audit.jsonl") == 0
    out = capsys.readouterr().out
    assert "lines 1 to 5 are whole, checked without a key" in out
    assert "whoever may write the file can have made all of it anew" in out
    assert run("audit.jsonl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["with_key"] is False
    Path("audit.jsonl").unlink()
    write(key=KEY)
    Path("key").write_text(KEY)
    assert run("audit.jsonl", "--key-file", "key") == 0
    assert "without a key" not in capsys.readouterr().out


def test_a_key_that_fits_no_line_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the key or with another one it is the key that is told of, and what to give; not each line."""
    write(30, key=KEY, max_bytes=300)
    assert run("audit.jsonl") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert (
        "no line fits without a key: give the key that sealed them, with --config FILE or --key-file FILE"
        in err
    )
    Path("key").write_text("another-key-that-is-long-enough")
    assert run("audit.jsonl", "--key-file", "key") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no line fits the key that was given" in err


def test_lines_of_a_former_key_are_one_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """With the new key alone those before the rotation are summed up; a file with both keys fits all."""
    write(5, key=KEY)
    write(5, key=f"{KEY}-next")
    Path("key").write_text(f"{KEY}-next\n")
    assert run("audit.jsonl", "--key-file", "key") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "audit.jsonl: lines 1 to 5 do not bear the seals that they must" in err
    assert "sealed with a former key that was not given" in err
    Path("key").write_text(f"{KEY}-next\n\n{KEY}\n")
    assert run("audit.jsonl", "--key-file", "key") == 0


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


def lives(*processes: list[dict[str, str]]) -> None:
    """Make a trail of processes, each with its lines."""
    for lines in processes:
        file = AuditFile(Path("audit.jsonl"))
        file.open()
        for fields in ({"kind": "started"}, *lines):
            file.put(fields)
        file.close()


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        (0, "no call was live then"),
        (1, "1 call was live then and has no end here: call_1"),
        (2, "2 calls were live then and have no end here: call_1, call_2"),
        (12, "call_9, call_10 and 2 more"),
    ],
)
def test_a_process_that_was_killed_is_a_note_with_its_calls(
    calls: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start without a stop before it is no fault of the trail; what was live then is named."""
    began = [{"kind": "call.started", "call_id": f"call_{place}"} for place in range(calls + 1)]
    lives([*began, {"kind": "call.ended", "call_id": "call_0"}], [{"kind": "stopped"}], [])
    assert run("audit.jsonl") == 0
    (note, *_) = capsys.readouterr().out.splitlines()
    place = f"audit.jsonl:{calls + 4}"
    assert note.startswith(
        f"Note: {place} is a start without a stop before it: the process before was killed, or its machine failed; "
    )
    assert note.endswith(told)


def test_processes_that_stopped_in_order_are_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a stop with a start after it nor a process that still runs is noted."""
    call = {"kind": "call.started", "call_id": "call_1"}
    lives([call, {"kind": "call.ended", "call_id": "call_1"}, {"kind": "stopped"}], [call])
    assert run("audit.jsonl") == 0
    assert "Note:" not in capsys.readouterr().out


def test_what_is_beyond_the_first_hundred_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred sentences, and one with the number of the others; as JSON too."""
    write(300)
    path = Path("audit.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(
        b"".join(
            line.replace(b"refused", b"allowed") if place % 2 else line for place, line in enumerate(lines)
        )
    )
    assert run("audit.jsonl") == 1
    told = capsys.readouterr().err.splitlines()
    assert (len(told), told[-1]) == (101, "talkpath audit: and 50 more")
    assert run("audit.jsonl", "--json") == 1
    assert json.loads(capsys.readouterr().out)["problems"][-1] == "and 50 more"
