"""Tests of the development secret: one per user, closed to others, never half-written."""

import multiprocessing
import stat
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.runtime.config import development_secret


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_it_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    """64 hexadecimal digits, mode 0600 in a folder of mode 0700, and nothing else left there."""
    secret = development_secret()
    assert development_secret() == secret
    assert len(bytes.fromhex(secret)) == 32
    (path,) = (tmp_path / "talkpath").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_processes_that_start_together_agree() -> None:
    """Whoever makes it first wins; all others read that one."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = [task.get(30) for task in [pool.apply_async(development_secret) for _ in range(16)]]
    assert set(found) == {development_secret()}


def test_a_folder_or_file_open_to_others_is_refused(tmp_path: Path) -> None:
    """Somebody else could have put it there, or read it."""
    development_secret()
    folder = tmp_path / "talkpath"
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="closed to others"):
        development_secret()
    folder.chmod(0o700)
    (folder / "development-secret").chmod(0o640)
    with pytest.raises(ConfigError, match="closed to others"):
        development_secret()


def test_a_link_or_an_empty_file_is_refused(tmp_path: Path) -> None:
    """A link could lead to a file that somebody else knows; an empty secret would match an empty signature."""
    folder = tmp_path / "talkpath"
    folder.mkdir(mode=0o700)
    path = folder / "development-secret"
    path.touch(mode=0o600)
    with pytest.raises(ConfigError, match="holds no secret"):
        development_secret()
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        development_secret()


def test_without_a_runtime_folder_it_lives_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XDG_CACHE_HOME, else ~/.cache, else a folder of the user's own under the temporary one."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    development_secret()
    assert (tmp_path / "cache" / "talkpath" / "development-secret").is_file()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    development_secret()
    assert (tmp_path / "home" / ".cache" / "talkpath" / "development-secret").is_file()
