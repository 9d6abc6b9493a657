"""Keeps secrets that were typed as options out of the process's title, where every user of the machine reads them.

Owns which options those are. Refuses more than it can do: between the start of the process and this lies a moment, and
where the system does not show where the arguments lie (any but Linux) they stay; the environment is the better way.
"""

import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SECRET_OPTIONS: Final = ("--key", "--token")
_TITLE: Final = Path("/proc/self/cmdline")
_ARGUMENTS_BEGIN: Final = 47  # fields of /proc/self/stat, from 0; behind them the end
_IN_ADDRESS: Final = re.compile(r"(?i)(?<=[?&])(?:token|key)=([^&\s]+)|://[^/\s:@]*:([^/\s@]+)@")


def secrets_typed(arguments: Sequence[str]) -> list[str]:
    """Values of options that are secret, and what addresses carry."""
    found: list[str] = []
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in SECRET_OPTIONS:
            found += [value] if equals else arguments[place + 1 : place + 2]
        found += [one for pair in _IN_ADDRESS.findall(argument) for one in pair if one]
    return [secret for secret in found if secret]


def hide_in_title(secrets: Sequence[str]) -> bool:
    """Write dots over secrets in the memory from which the system tells the process's title; False where it cannot be."""
    if not secrets or not sys.platform.startswith("linux"):
        return not secrets
    try:
        title = _TITLE.read_bytes()
        # The name of the program stands in brackets and may hold spaces.
        fields = (
            Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        begin, end = int(fields[_ARGUMENTS_BEGIN - 2]), int(fields[_ARGUMENTS_BEGIN - 1])
    except (OSError, ValueError, IndexError):
        return False
    if begin <= 0 or end - begin != len(title) or ctypes.string_at(begin, len(title)) != title:
        return False
    hidden = title
    for secret in sorted(secrets, key=len, reverse=True):
        hidden = hidden.replace(
            secret.encode(errors="surrogateescape"), b"*" * len(secret.encode(errors="surrogateescape"))
        )
    ctypes.memmove(begin, hidden, len(hidden))
    return True
