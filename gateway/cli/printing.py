"""What commands print on standard output while other work goes on.

Owns what happens when whoever reads it has gone (``talkpath call … | head -1``): the rest is printed nowhere and
the command is told, so that it can end in the orderly way.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console

WIDE: Final = 1000
"""Columns where nobody looks at a terminal: a row of a table stays one line, so that programs find what it holds."""


def wide_console(**options: Any) -> Console:
    """A console for what is printed once, at the end; a reader who has gone ends the command with 1."""
    console = Console(highlight=False, **options)
    _widen(console)
    return console


def _widen(console: Console) -> None:
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE


class Output(Console):
    """A console whose reader may leave; ``gone`` is called once, from the print that noticed."""

    def __init__(self, gone: Callable[[], None] | None = None, **options: Any) -> None:
        super().__init__(highlight=False, **options)
        _widen(self)
        self._gone = gone
        self.is_read = True
        """False once the reader has left."""

    def on_broken_pipe(self) -> None:
        """Print nowhere from now on."""
        self.quiet = True
        if not self.is_read:
            return
        self.is_read = False
        with contextlib.suppress(OSError):  # standard output may be no file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        if self._gone is not None:
            self._gone()
