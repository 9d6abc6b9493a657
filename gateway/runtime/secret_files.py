"""Reads secrets that stand in files of their own, such as a private key: the text of ``NAME_file`` becomes ``NAME``.

Owns the rule for every section that has both fields, and its problems with their places. Refuses to judge the text,
which the section's own check does. A file is read once, at the start.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec

from gateway.runtime.yaml_source import Node, Problems
from gateway.settings import Secret

MAX_FILE_BYTES: Final = 65_536
"""Largest file; a private key of 4096 bits has 3 KiB."""

_SUFFIX: Final = "_file"


def with_secret_files(section: Any, folder: Path, place: str, node: Node, problems: Problems) -> Any:
    """The section with its secrets filled in; a file that cannot be used is among the problems.

    ``section`` may be a stand-in for one that has problems.
    """
    for name in _file_fields(section):
        path = folder / getattr(section, name)
        secret = name.removesuffix(_SUFFIX)
        at, here = f"{place}.{name}", node.find(name)
        if getattr(section, secret):
            problems.add(at, here, f"{secret} is given too; leave one of them out")
            continue
        try:
            text = _read(path)
            section = _replaced(section, {name: str(path), secret: Secret(text)})
        except OSError as error:
            why = error.strerror or type(error).__name__
            problems.add(
                at, here, f"the file {path} cannot be read ({why}); put it there or correct the path"
            )
        except ValueError as error:
            problems.add(at, here, f"the file {path} cannot be used: {error}")
    return section


def _file_fields(section: Any) -> list[str]:
    names = section.__struct_fields__ if isinstance(section, msgspec.Struct) else tuple(vars(section))
    return [
        name
        for name in names
        if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX) in names and getattr(section, name)
    ]


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
    if not data.strip():
        raise ValueError("it is empty")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None


def _replaced(section: Any, changes: dict[str, Any]) -> Any:
    if isinstance(section, msgspec.Struct):
        return msgspec.structs.replace(section, **changes)
    return SimpleNamespace(**{**vars(section), **changes})
