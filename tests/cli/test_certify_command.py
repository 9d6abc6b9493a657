"""The command ``talkpath certify``."""

import json

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
