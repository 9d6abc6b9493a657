"""The journal of one call: everything that passes, in order, shown to its observers.

Owns the fan-out. Keeps nothing. An observer that raises is detached from this call and logged once; the
conversation does not notice.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable

from gateway.contracts import CallTerms, Observer, ObserverKind
from gateway.events import AnyCommand, AnyEvent, CallInfo, Entry

_log = logging.getLogger(__name__)


class Journal:
    """The journal of one call."""

    def __init__(self, kinds: Iterable[ObserverKind], info: CallInfo, terms: CallTerms) -> None:
        self._call_id = info.call_id
        self._readers: dict[type, list[tuple[str, Observer]]] = defaultdict(list)
        self._observers: dict[str, Observer] = {}
        self.detached = 0
        """Observers that failed."""
        for kind in kinds:
            try:
                observer = kind.watch(info, terms)
            except Exception:  # noqa: BLE001 - an observer is anybody's code
                self._failed(kind.name)
                continue
            if observer is not None:
                self._observers[kind.name] = observer
                for wanted in observer.wants:
                    self._readers[wanted].append((kind.name, observer))

    def write(self, at: float, item: AnyEvent | AnyCommand) -> None:
        """Show an entry to those who want it."""
        readers = self._readers.get(type(item))
        if not readers:
            return
        entry = Entry(at, item)
        for name, observer in tuple(readers):
            try:
                observer.see(entry)
            except Exception:  # noqa: BLE001 - an observer is anybody's code
                self._failed(name)
                self._detach(name)

    def close(self) -> None:
        """The call is over."""
        for name, observer in list(self._observers.items()):
            try:
                observer.close()
            except Exception:  # noqa: BLE001 - an observer is anybody's code
                self._failed(name)
        self._observers.clear()
        self._readers.clear()

    def _detach(self, name: str) -> None:
        self._observers.pop(name, None)
        for readers in self._readers.values():
            readers[:] = [reader for reader in readers if reader[0] != name]

    def _failed(self, name: str) -> None:
        self.detached += 1
        _log.exception("observer %s failed and no longer watches call %s", name, self._call_id)
