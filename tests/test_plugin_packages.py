import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from gateway.redaction import REDACTION
from gateway.runtime.config import load_generation

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_plugin_in_this_repository_installs_and_is_found(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its wheel builds, holds its module and its entry point, and a gateway beside it loads it."""
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=package, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    file = tmp_path / "gateway.yaml"
    file.write_text("routes: [{name: all, agent: a}]\nagents: {a: {kind: offline}}\n")
    names = tomllib.loads((package / "pyproject.toml").read_text())["project"]["entry-points"]["talkpath"]
    assert set(names) <= set(load_generation(file).plugins)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_the_tests_of_a_plugin_pass(package: Path) -> None:
    """Each package brings tests, which pass with the gateway of this repository."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests")],
        cwd=package, capture_output=True, text=True, check=False, timeout=100,
        env={"PYTHONPATH": f"{package}:{ROOT}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_plugins_pattern_reaches_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `register_redactors` brings is in front of every sink once the configuration is loaded."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = ROOT / "plugins" / "talkpath-redact-cards" / "talkpath_redact_cards.py"
    spec = importlib.util.spec_from_file_location("talkpath_redact_cards", path)
    assert spec is not None
    assert spec.loader is not None
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    file = tmp_path / "gateway.yaml"
    file.write_text("routes: [{name: all, agent: a}]\nagents: {a: {kind: offline}}\n")
    load_generation(file, extra=[plugin])
    assert REDACTION.clean("paid with 4111 1111 1111 1111") == "paid with card•••1111"
