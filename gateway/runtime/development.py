"""The development secret: what stands in for the carriers' secrets while nothing is configured.

Owns one file per user, mode 0600, that every process of that user reads. Refuses folders and files of others.
"""

import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import ConfigError
from gateway.settings import AdapterSettings, Secret, Secrets, Settings

_FILE: Final = "development-secret"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def development_secret() -> str:
    """The user's development secret, made at the first call on this machine.

    Raises:
        ConfigError: when no folder for it can be made, or what is there belongs to somebody else or can be
            read by others.
    """
    folder = _folder()
    path = folder / _FILE
    if not path.exists():
        # Linking a finished file is atomic: of several processes one wins, and nobody reads half a secret.
        handle, draft = tempfile.mkstemp(dir=folder, prefix=f".{_FILE}-")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            Path(path).hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return _read(path)


def with_development_secrets(settings: Settings) -> Settings:
    """Let the development secret stand in for the carriers' secrets that nobody has set.

    Only while the gateway has no public address and listens on this machine alone: then nobody but processes of
    this user can sign with it.
    """
    if settings.server.public_url or settings.server.host not in _LOOPBACK:
        return settings
    adapters = {name: _with_secret(adapter) for name, adapter in settings.adapters.items()}
    return msgspec.structs.replace(settings, adapters=adapters)


def _with_secret(adapter: AdapterSettings) -> AdapterSettings:
    empty = [
        f.name
        for f in msgspec.structs.fields(adapter)
        if f.type == Secrets and not any(getattr(adapter, f.name))
    ]
    if not empty:
        return adapter
    secret = (Secret(development_secret()),)
    return msgspec.structs.replace(adapter, **dict.fromkeys(empty, secret))


def _folder() -> Path:
    """The first of the user's folders that can be used; every process tries the same ones in the same order."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        candidates = [Path(runtime) / "talkpath"]
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/nonexistent", ".cache")
        candidates = [Path(cache) / "talkpath"]
    candidates.append(Path(tempfile.gettempdir()) / f"talkpath-{os.getuid()}")
    for candidate in candidates:
        try:
            candidate.mkdir(mode=0o700, parents=candidate is not candidates[-1], exist_ok=True)
        except OSError:
            continue
        if os.access(candidate, os.W_OK | os.X_OK):
            _check(candidate, candidate.lstat(), stat.S_ISDIR(candidate.lstat().st_mode))
            return candidate
    raise ConfigError(
        f"no folder for the development secret can be made ({one_per_line(candidates)}); "
        "set XDG_RUNTIME_DIR to a folder of yours, or write a configuration with secrets"
    )


def one_per_line(paths: list[Path]) -> str:
    """Paths for a sentence."""
    return ", ".join(str(path) for path in paths)


def _read(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); remove it") from error
    with os.fdopen(handle, encoding="ascii", errors="replace") as file:
        facts = os.fstat(file.fileno())
        _check(path, facts, stat.S_ISREG(facts.st_mode))
        text = file.read(1024).strip()
    if len(text) < 32:
        raise ConfigError(f"{path}: holds no secret; remove it, and a new one is made")
    return text


def _check(path: Path, facts: os.stat_result, right_kind: bool) -> None:
    if not right_kind or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise ConfigError(
            f"{path}: must be yours alone and closed to others; remove it or run chmod go-rwx on it"
        )
