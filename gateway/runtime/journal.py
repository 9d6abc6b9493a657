"""The journal of one call: everything that passes, in order, shown to its observers.

Owns the fan-out. Keeps nothing. An observer that raises is detached from this call and logged once, without the
words of its exception, which may be somebody's; the conversation does not notice.
"""

import logging
import traceback
from collections.abc import Iterable
from typing import Final

from gateway.commands import AnyCommand, Entry
from gateway.contracts import Observer, ObserverKind
from gateway.events import AnyEvent, CallInfo
from gateway.terms import CallTerms

_log: Final = logging.getLogger("talkpath.journal")


class Journal:
    """The journal of one call."""

    def __init__(self, kinds: Iterable[ObserverKind], info: CallInfo, terms: CallTerms) -> None:
        self._call_id = info.call_id
        self._observers: dict[str, Observer] = {}
        self.readers: dict[type, tuple[tuple[str, Observer], ...]] = {}
        """Who wants which type of entry; of any other `write` does nothing, so it need not be called."""
        self.detached = 0
        """Observers that failed."""
        for kind in kinds:
            try:
                observer = kind.watch(info, terms)
                wants = tuple(observer.wants) if observer is not None else ()
            except Exception as error:  # noqa: BLE001 - an observer is anybody's code
                self._failed(kind.name, error)
                continue
            if observer is not None:
                self._observers[kind.name] = observer
                for wanted in dict.fromkeys(wants):
                    self.readers[wanted] = (*self.readers.get(wanted, ()), (kind.name, observer))

    def write(self, at: float, item: AnyEvent | AnyCommand) -> None:
        """Show an entry to those who want it."""
        readers = self.readers.get(type(item))
        if not readers:
            return
        entry = Entry(at, item)
        for name, observer in readers:
            try:
                observer.see(entry)
            except Exception as error:  # noqa: BLE001 - an observer is anybody's code
                self._failed(name, error)
                self._detach(name)

    def close(self) -> None:
        """The call is over."""
        self.readers.clear()
        for name in list(self._observers):
            self._close(name)

    def _detach(self, name: str) -> None:
        for wanted, readers in self.readers.items():
            self.readers[wanted] = tuple(reader for reader in readers if reader[0] != name)
        self._close(name)

    def _close(self, name: str) -> None:
        """Let an observer give back what it holds, also one that has failed."""
        observer = self._observers.pop(name)
        try:
            observer.close()
        except Exception as error:  # noqa: BLE001 - an observer is anybody's code
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self.detached += 1
        frame = traceback.extract_tb(error.__traceback__)[-1]
        _log.error(
            "observer %s failed with %s at %s:%s and no longer watches call %s",
            name,
            type(error).__name__,
            frame.filename,
            frame.lineno,
            self._call_id,
        )
