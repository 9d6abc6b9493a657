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
    assert "expected that it ends at once (contract 5)" in printed
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
