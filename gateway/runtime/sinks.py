"""Puts the redaction point in front of everything that this process writes for people: its log and its two streams.

Owns how an exception is shown: its type and the places it came through, and its text only where Python itself words
it, because the text of any other may quote what somebody said. Refuses to know what is secret
(`gateway.redaction`). Nothing here runs between two frames of sound.
"""

import faulthandler
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Literal, TextIO

from gateway.errors import ConfigError, PluginError, WireError
from gateway.redaction import REDACTION, names_a_secret

Hidden = Literal["all", "secrets", "configured"]
"""What is taken out of what a command prints: numbers too, secrets and tokens, or only what the configuration holds."""

_WORDED_BY_PYTHON: Final = (
    AttributeError, ImportError, IndexError, MemoryError, NameError, OSError, RecursionError, TypeError,
    ZeroDivisionError, ConfigError, PluginError, WireError,
)  # fmt: skip
"""Exceptions whose text names parts of programs and files; they may be raised with other words, so not all of it is kept."""
_LONGEST: Final = 300
_DEEPEST: Final = 10
_WORDLESS_LOGGERS: Final = ("asyncio", "concurrent.futures")
"""They put the ``repr`` of tasks into their second line, and so of exceptions."""


@contextmanager
def redacted_sinks(*, out: Hidden = "all") -> Iterator[None]:
    """Redact log, standard output, standard error and last words, until the end of the context.

    ``out`` says what is hidden on standard output; everywhere else it is all.
    """
    REDACTION.learn(_secrets_of_environment(os.environ))
    streams, factory = (sys.stdout, sys.stderr), logging.getLogRecordFactory()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    shown = {
        "all": REDACTION.clean,
        "secrets": REDACTION.without_secrets,
        "configured": REDACTION.without_known,
    }[out]
    if sys.stdout is not None:
        sys.stdout = RedactedStream(sys.stdout, shown)
    if sys.stderr is not None:
        _enable_faulthandler(sys.stderr)
        sys.stderr = RedactedStream(sys.stderr, REDACTION.clean)
    logging.setLogRecordFactory(redacted_record)
    sys.excepthook = _say_last_words
    threading.excepthook = _say_of_thread
    sys.unraisablehook = _say_of_nobody
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.setLogRecordFactory(factory)
        sys.stdout, sys.stderr = streams


def _secrets_of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if names_a_secret(name) and len(value) >= 8 and not value.isalpha() and not value.startswith("/"):
            yield value


def _enable_faulthandler(stream: TextIO) -> None:
    """Let a crash of the interpreter tell its places; it writes no values, and to the file itself."""
    try:
        if stream.fileno() == 2:  # it would write into whatever has the number later
            faulthandler.enable()
    except (OSError, ValueError, AttributeError):  # a stream of a test, which is no file
        return


class RedactedStream(io.TextIOBase):
    """A text stream in front of another one; each text that is written is redacted as it comes, and never held back."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream behind."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Of the stream behind."""
        return self._stream.errors

    def write(self, text: str) -> int:
        """Write a text without what is hidden; gives the length of the whole one."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        self._stream.write(self._redact(text) if len(text) > 1 else text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream behind."""
        self._stream.flush()

    def fileno(self) -> int:
        """Of the stream behind."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Of the stream behind."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Leave the stream behind open; it is not ours."""


def redacted_record(*arguments: Any, **named: Any) -> logging.LogRecord:
    """Make a record of which every handler, ours or a plugin's, sees redacted text only."""
    record = logging.LogRecord(*arguments, **named)
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a wrong format must not end what only wanted to log
        text = f"(a line that cannot be formatted: {type(error).__name__})"
    if record.name.startswith(_WORDLESS_LOGGERS):
        text = text.partition("\n")[0]
    record.msg, record.args = REDACTION.clean(text), ()
    if record.exc_info and record.exc_info[1] is not None:
        # Formatters take this text as it is, instead of making one of the exception.
        record.exc_text = shown_exception(record.exc_info[1])
    return record


def shown_exception(error: BaseException) -> str:
    """An exception for a log: what it is and where it came through, those behind it first, without words of people."""
    return REDACTION.clean("".join(_shown(error, "", set())).rstrip("\n"))


def _shown(error: BaseException, margin: str, seen: set[int]) -> Iterator[str]:
    if id(error) in seen or len(seen) >= _DEEPEST:
        yield f"{margin}(and others)\n"
        return
    seen.add(id(error))
    before, relation = error.__cause__, "caused"
    if before is None and not error.__suppress_context__:
        before, relation = error.__context__, "was being handled during"
    if before is not None:
        yield from _shown(before, margin, seen)
        yield f"\n{margin}That {relation} this:\n\n"
    if error.__traceback__ is not None:
        yield f"{margin}Traceback (most recent call last):\n"
        for line in "".join(traceback.format_tb(error.__traceback__)).splitlines():
            yield f"{margin}{line}\n"
    yield f"{margin}{type(error).__qualname__}{_text_of(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _shown(inner, f"{margin}  | ", seen)


def _text_of(error: BaseException) -> str:
    """What an exception says, where that is certain to be no word of a caller; else how long it is."""
    if isinstance(error, BaseExceptionGroup):
        return f": {len(error.exceptions)} exceptions"
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the exceptions of plugins are anybody's code
        return ""
    if not text:
        return ""
    if isinstance(error, _WORDED_BY_PYTHON):
        return f": {text[:_LONGEST]}"
    return f" (its text of {len(text)} characters is left out: it may quote somebody)"


def _say_last_words(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    _say(shown_exception(error))


def _say_of_thread(arguments: Any) -> None:
    if arguments.exc_type is not SystemExit and arguments.exc_value is not None:
        name = arguments.thread.name if arguments.thread else "?"
        _say(f"the thread {name} has failed:\n{shown_exception(arguments.exc_value)}")


def _say_of_nobody(arguments: Any) -> None:
    if arguments.exc_value is not None:
        _say(f"an exception that nobody could take:\n{shown_exception(arguments.exc_value)}")


def _say(text: str) -> None:
    if sys.stderr is not None:  # a process may be started without one
        sys.stderr.write(f"{text}\n")
