from pathlib import Path

import pytest
from vonage_tokens import application_key, pem_of

from gateway.adapters.vonage_http import VonageSettings
from gateway.errors import ConfigError
from gateway.runtime.config import load_settings
from gateway.runtime.secret_files import MAX_FILE_BYTES

AGENTS = "agents: {a: {kind: offline}}\nroutes: [{name: all, agent: a}]\n"
PLACE = "adapters.vonage.private_key_file"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without configuration, and one for the development secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)


def load(vonage: str, folder: Path = Path()) -> VonageSettings:
    file = folder / "gateway.yaml"
    file.write_text(f"adapters: {{vonage: {vonage}}}\n{AGENTS}", encoding="utf-8")
    section = load_settings(file).adapters["vonage"]
    assert isinstance(section, VonageSettings)
    return section


def problem(vonage: str) -> str:
    """The one problem of a section."""
    with pytest.raises(ConfigError) as caught:
        load(vonage)
    (found,) = caught.value.problems
    return found


def test_key_is_read_from_the_file_beside_the_configuration(tmp_path: Path) -> None:
    """A path is relative to the configuration's folder, wherever the process runs; the key is there from the start."""
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    pem = pem_of(application_key())
    (elsewhere / "vonage.pem").write_text(pem)
    section = load("{application_id: app-1, private_key_file: vonage.pem}", elsewhere)
    assert section.private_key.reveal() == pem
    assert section.private_key_file == str((elsewhere / "vonage.pem").resolve())
    assert pem not in repr(section)


def test_key_may_be_given_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file is wanted the key comes from the environment."""
    pem = pem_of(application_key())
    monkeypatch.setenv("KEY", pem)
    assert load('{private_key: "${KEY}"}').private_key.reveal() == pem


def test_no_file_is_no_problem() -> None:
    """Without a key calls are taken all the same."""
    for vonage in ("", "{}", '{private_key_file: ""}', '{private_key_file: "${NOBODY:-}"}'):
        assert not load(vonage).private_key


def test_missing_file_is_a_problem_with_its_place() -> None:
    """The sentence names the file and why it cannot be read."""
    found = problem("{private_key_file: missing.pem}")
    assert found.startswith(f"{PLACE}: the file {Path('missing.pem').resolve()} cannot be read (No such file")
    assert found.endswith("(line 1)")
    Path("folder.pem").mkdir()
    assert "cannot be read (Is a directory)" in problem("{private_key_file: folder.pem}")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", ""),
        (b"no key at all", "`private_key` must be an RSA private key in PEM form"),
        (b"\xff\xfe", "it is not text"),
        (b"x" * (MAX_FILE_BYTES + 1), "it is larger than"),
    ],
)
def test_broken_file_is_a_problem_with_its_place(content: bytes, why: str) -> None:
    """What is no private key is said at the start, and not to the first caller; nothing of it is quoted."""
    Path("vonage.pem").write_bytes(content)
    if not content:
        assert "is empty" in problem("{private_key_file: vonage.pem}")
        return
    found = problem("{private_key_file: vonage.pem}")
    assert found.startswith(f"{PLACE}: the file ")
    assert why in found
    assert "no key at all" not in found


def test_wrong_key_itself_is_a_problem() -> None:
    """It is said of the section, without quoting it."""
    found = problem("{private_key: nonsense}")
    assert found.startswith("adapters.vonage: `private_key` must be an RSA private key")
    assert "nonsense" not in found


def test_file_and_key_are_one_too_many() -> None:
    """Nobody has to guess which of them signs."""
    Path("vonage.pem").write_text(pem_of(application_key()))
    pem = pem_of(application_key()).replace("\n", "\\n")
    found = problem(f'{{private_key_file: vonage.pem, private_key: "{pem}"}}')
    assert found.startswith(f"{PLACE}: private_key is given too; leave one of them out")


def test_broken_file_hides_no_other_problem() -> None:
    """The file is also looked at where the section has other mistakes."""
    with pytest.raises(ConfigError) as caught:
        load("{private_key_file: missing.pem, rate_hz: 44100, sekret: 1}")
    places = [found.partition(": ")[0] for found in caught.value.problems]
    assert sorted(places) == [PLACE, "adapters.vonage.rate_hz", "adapters.vonage.sekret"]
