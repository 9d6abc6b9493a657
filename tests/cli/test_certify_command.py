"""The command ``talkpath certify``."""

import json
import re
from pathlib import Path

import pytest

from gateway.cli import main

QUICK = ("--only", "stop", "--only", "keys")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["certify", *arguments])
    code = left.value.code
    assert isinstance(code, int)
    return code


def test_clean_adapter_leaves_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """The report names each check and what came of it, and why one does not apply."""
    assert run("pcm", *QUICK) == 0
    printed = capsys.readouterr().out
    assert "1 passed, 0 failed, 1 not applicable" in printed
    assert "raw PCM has no telephone keys" in printed


def test_programs_get_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json nothing but one document is printed."""
    assert run("pcm", *QUICK, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert [(one["check"], one["verdict"]) for one in document["checks"]] == [
        ("keys", "not applicable"),
        ("stop", "passed"),
    ]


def test_vectors_are_tried_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A file of vectors is a line of the report, and the first line that is not kept says how it differs."""
    files = sorted((Path(__file__).parents[1] / "vectors" / "pcm").glob("*.jsonl"))
    given = [word for path in files for word in ("--vectors", str(path))]
    assert run("pcm", "--only", "keys", *given) == 0
    assert f"{len(files)} passed, 0 failed, 1 not applicable" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"command": {"type": "clear"}, "wire": []}, "was said; expected []"),
        ({"wire": "hello", "events": []}, "WireError: text messages are JSON objects"),
        ({"wire": {"type": "session.end"}, "error": "luck"}, "expected a refusal with 'luck'"),
        ({"wire": "hello", "error": "luck"}, "expected one line with 'luck'"),
        ({"opening": []}, "expected []"),
        ({"setup": {}, "error": "luck"}, "the connection was taken; expected a refusal with 'luck'"),
        (
            {"setup": {"upgrade": {"query": {"encoding": "x"}}}, "error": "luck"},
            "expected one line with 'luck'",
        ),
        ({"luck": 1}, "nobody knows what a line with ['luck'] means"),
    ],
)
def test_vector_that_is_not_kept_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: dict[str, object], sentence: str
) -> None:
    """What was found and what is expected stands behind the line's number and note."""
    path = tmp_path / "call.jsonl"
    path.write_text('{"note": "page 3"}\n' + json.dumps({"note": "page 4", **line}))
    assert run("pcm", "--only", "keys", "--vectors", str(path), "--json") == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert checks[1]["sentence"].startswith("vector 2 (page 4): ")
    assert sentence in checks[1]["sentence"]


@pytest.mark.parametrize("text", [None, "hello"])
def test_vectors_that_cannot_be_read_leave_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    """A file that is not there, or no JSON, is wrong usage."""
    path = tmp_path / "call.jsonl"
    if text is not None:
        path.write_text(text)
    assert run("pcm", "--vectors", str(path)) == 2
    assert "cannot be read: " in capsys.readouterr().err


def test_failed_check_leaves_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An adapter in a folder that does not end calls is told what was seen, what is expected, and where it is written."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "new-carrier.md").read_text()
    adapter, speaker = re.findall(r"```python runnable\n(.*?)```", page, re.DOTALL)
    deaf = adapter.replace('return [CallerLeft("the stream is over")]', "return []")
    assert deaf != adapter
    (tmp_path / "acme.py").write_text(deaf)
    (tmp_path / "_far_end.py").write_text(speaker)
    named = f"{tmp_path / '_far_end.py'}:AcmeSpeaker"
    assert run("acme", "--plugins", str(tmp_path), "--speaker", named, "--only", "stop") == 1
    printed = capsys.readouterr().out
    assert "stop: failed: the caller hung up, and 5 s later the agent was still in a session" in printed
    assert "expected that it ends at once (docs/reference/dialects.md)" in printed
    assert "0 passed, 1 failed, 0 not applicable" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("acme",), "there is no adapter acme; there are browser, pcm, twilio, vonage"),
        (("pcm", "--only", "luck"), "--only luck is no check; there are proof, "),
        (("pcm", "--plugins", "nowhere"), "--plugins nowhere is no folder"),
        (
            ("pcm", "--speaker", "gateway.certify.speakers.vonage:VonageSpeaker"),
            "speaks for vonage, not for pcm",
        ),
    ],
)
def test_wrong_usage_leaves_with_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    """What cannot be tried is told in a sentence."""
    assert run(*arguments) == 2
    assert sentence in capsys.readouterr().err


def test_section_that_does_not_fit_leaves_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A speaker whose section the adapter does not take is told what is wrong with it."""
    (tmp_path / "far_end.py").write_text(
        "from gateway.certify.speakers.pcm import PcmSpeaker\n\n"
        "class Wrong(PcmSpeaker):\n    section = {'luck': 1}\n"
    )
    assert run("pcm", "--speaker", f"{tmp_path / 'far_end.py'}:Wrong", "--only", "keys") == 2
    said = capsys.readouterr().err
    assert "the adapter pcm cannot be tried: " in said
    assert "adapters.pcm.luck" in said
