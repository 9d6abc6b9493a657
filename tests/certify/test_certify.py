"""Every adapter that is installed, ours and others, passes every check of the suite."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from gateway.certify import CHECKS, Speaker, SpeakerError, certify, find_speaker, speakers
from gateway.runtime.plugins import Plugins
from gateway.settings import PluginsSettings, Settings

NAMES = sorted(Plugins(PluginsSettings(folder="")).adapters(Settings()))


@pytest.mark.parametrize("check", [check.name for check in CHECKS])
@pytest.mark.parametrize("name", NAMES)
async def test_adapter_is_clean(name: str, check: str) -> None:
    """What a check asks for, the adapter does, or its dialect does not have."""
    speaker = find_speaker(name)
    (finding,) = (await certify(name, speaker, only=[check])).findings
    assert finding.verdict != "failed", finding.sentence
    if finding.verdict == "not applicable":
        assert finding.sentence in speaker.lacks.values()


@pytest.mark.parametrize("name", NAMES)
def test_every_adapter_has_a_far_end(name: str) -> None:
    """An adapter of ours without a speaker cannot be certified, so it must not exist."""
    assert find_speaker(name).adapter == name


def test_checks_are_named_once_and_say_what_they_ask() -> None:
    """A name of a check stands for one check, with a sentence and a page that is there."""
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.asks.endswith(".") for check in CHECKS)
    assert all((Path(__file__).parents[2] / check.source).is_file() for check in CHECKS)


@pytest.mark.parametrize("module", [found.name for found in pkgutil.iter_modules(speakers.__path__)])
def test_speakers_name_only_checks_that_there_are(module: str) -> None:
    """The places that a speaker gives belong to checks of the suite."""
    known = {check.name for check in CHECKS}
    found = vars(importlib.import_module(f"{speakers.__name__}.{module}")).values()
    own = [
        kind for kind in found if isinstance(kind, type) and issubclass(kind, Speaker) and kind is not Speaker
    ]
    assert own
    for kind in own:
        assert set(kind.sources) <= known


@pytest.mark.parametrize(
    ("adapter", "named", "sentence"),
    [
        ("acme", "", "nobody speaks for the adapter acme"),
        ("acme", "acme", "--speaker acme is not module:Class"),
        ("acme", "no_such_module:Speaker", "--speaker no_such_module:Speaker cannot be loaded"),
        ("acme", "gateway.certify:Nobody", "names no class of gateway.certify"),
        ("acme", "gateway.certify:certify", "gateway.certify:certify is no speaker"),
        ("acme", "gateway.certify.speakers.pcm:PcmSpeaker", "speaks for pcm, not for acme"),
        ("acme", "nowhere.py:Speaker", "--speaker nowhere.py:Speaker cannot be loaded"),
    ],
)
def test_missing_speaker_is_told(adapter: str, named: str, sentence: str) -> None:
    """Where there is no speaker, one sentence says what to do."""
    with pytest.raises(SpeakerError, match=sentence.replace(".", r"\.")):
        find_speaker(adapter, named)


async def test_adapter_of_a_plugin_is_certified_with_the_speaker_that_is_named(tmp_path: Path) -> None:
    """The adapter and the speaker that the page on new carriers shows are clean together, each in a file of its own."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "new-carrier.md").read_text()
    adapter, speaker = re.findall(r"```python runnable\n(.*?)```", page, re.DOTALL)
    (tmp_path / "plugins.d").mkdir()
    (tmp_path / "plugins.d" / "acme.py").write_text(adapter)
    (tmp_path / "far_end.py").write_text(speaker)
    named = find_speaker("acme", f"{tmp_path / 'far_end.py'}:AcmeSpeaker")
    certificate = await certify("acme", named, plugins=str(tmp_path / "plugins.d"))
    assert [finding.sentence for finding in certificate.findings if finding.verdict == "failed"] == []


def installed(folder: Path, target: str) -> None:
    """Put a package into a folder whose entry point names the speaker of ``acme``."""
    (folder / "acme_far_end.py").write_text(
        "from gateway.certify import Speaker\n\nclass AcmeSpeaker(Speaker):\n    adapter = 'acme'\n"
    )
    (folder / "acme-1.0.dist-info").mkdir()
    (folder / "acme-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n"
    )
    (folder / "acme-1.0.dist-info" / "entry_points.txt").write_text(f"[talkpath.speakers]\nacme = {target}\n")


def test_package_brings_the_speaker_of_its_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point of the adapter's name is found without being named."""
    installed(tmp_path, "acme_far_end:AcmeSpeaker")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_speaker("acme").__name__ == "AcmeSpeaker"


def test_broken_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A speaker that cannot be loaded is named with the reason."""
    installed(tmp_path, "acme_far_end:Nobody")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpeakerError, match="the speaker acme_far_end:Nobody cannot be loaded"):
        find_speaker("acme")
