"""Keeps each call's journal in a file of its own, in the folder ``records.path``; without one, keeps nothing.

Owns the files: names, rights, age. Refuses to make a call wait for them. `see` appends to a list; every second, or
every 500 entries, the list goes to the one writing thread of the process, which encodes and writes it. At most 32
such lists of a call may wait; when the disk is slower than that, whole lists are dropped and the hole is
noted in the file. What is not yet written when the process is killed, a second at most, is lost; an ordinary end of the
process waits for the thread.
"""

import logging
import os
import platform
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import BoundedSemaphore
from typing import BinaryIO, Final, get_args

from gateway.commands import AnyCommand, Entry
from gateway.contracts import Observer, ObserverKind
from gateway.errors import ConfigError
from gateway.events import AnyEvent, CallInfo
from gateway.hookspecs import hookimpl
from gateway.observers.journal_file import Form, JournalHeader, LineWriter
from gateway.settings import Settings
from gateway.terms import CallTerms

log: Final = logging.getLogger("talkpath.journal")

BATCH_S: Final = 1.0
"""Age at which what was gathered is handed to the thread."""
BATCH_ENTRIES: Final = 500
"""Number at which it is."""
WAITING_BATCHES: Final = 32
"""Of one call."""
_SWEEP_S: Final = 3600.0
"""How often old journals are looked for."""
SUFFIX: Final = ".jsonl"


class JournalKeeper:
    """One folder of journals and the thread that writes them."""

    def __init__(self, folder: Path, *, form: Form, words: bool, keep_days: int) -> None:
        self._folder = folder
        self._form: Form = form
        self._words = words
        self._keep_s = keep_days * 86_400.0
        self._thread = ThreadPoolExecutor(1, "journal")
        self._swept_at = 0.0

    def watch(self, info: CallInfo, terms: CallTerms) -> Observer:
        """Begin the journal of a call."""
        began_at = time.time()
        header = JournalHeader(info, terms, _versions(), began_at, self._form, self._words)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(began_at))
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", info.call_id)[:100]
        return CallJournal(
            self._thread, JournalFile(self._folder / f"{stamp}-{safe}{SUFFIX}", header, self._sweep)
        )

    def close(self) -> None:
        """Wait until everything that was handed over is written."""
        self._thread.shutdown()

    def _sweep(self) -> None:
        """Delete journals that are older than they may be; runs in the thread."""
        now = time.time()
        if now - self._swept_at < _SWEEP_S:
            return
        self._swept_at = now
        for path in self._folder.glob(f"*{SUFFIX}"):
            if now - path.stat().st_mtime > self._keep_s:
                path.unlink(missing_ok=True)


class CallJournal:
    """Gathers one call's entries; lives on the event loop."""

    wants: tuple[type, ...] = (*get_args(AnyEvent), *get_args(AnyCommand))

    def __init__(self, thread: ThreadPoolExecutor, file: "JournalFile") -> None:
        self._thread = thread
        self._file = file
        self._batch: list[Entry] = []
        self._places = BoundedSemaphore(WAITING_BATCHES)
        self._lost = 0

    def see(self, entry: Entry) -> None:
        """Take note of an entry."""
        batch = self._batch
        batch.append(entry)
        if len(batch) >= BATCH_ENTRIES or entry.at - batch[0].at >= BATCH_S:
            self._hand_over()

    def close(self) -> None:
        """The call is over; the file is closed once everything before is written."""
        self._hand_over()
        self._thread.submit(self._file.close, self._lost).add_done_callback(_tell_failure)

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        if not self._places.acquire(blocking=False):
            self._lost += len(batch)
            return
        lost, self._lost = self._lost, 0
        self._thread.submit(self._file.write, batch, lost).add_done_callback(self._written)

    def _written(self, work: Future[None]) -> None:
        """Make room for the next batch; runs in the thread."""
        self._places.release()
        _tell_failure(work)


class JournalFile:
    """The file of one call; lives in the writing thread."""

    def __init__(self, path: Path, header: JournalHeader, sweep: Callable[[], None]) -> None:
        self._path = path
        self._writer = LineWriter(header)
        self._sweep = sweep
        self._file: BinaryIO | None = None
        self._last_at = 0.0
        self._broken = False

    def write(self, batch: list[Entry], lost: int) -> None:
        """Append entries, after noting how many were lost before them; the first failure ends the journal."""
        if self._broken:
            return
        self._broken = True  # until it has gone well
        try:
            file = self._file or self._open(batch[0].at)
            if lost:
                file.writelines(self._writer.lose(batch[0].at, lost))
            for entry in batch:
                file.writelines(self._writer.write(entry))
            file.flush()
        except OSError as error:
            log.error("journal.broken path=%s why=%r; the call goes on without one", self._path, str(error))  # noqa: TRY400 - the sentence says it all
            return
        self._last_at = batch[-1].at
        self._broken = False

    def close(self, lost: int) -> None:
        """Write what is still open and close the file."""
        if self._file is None:
            return
        try:
            with self._file as file:
                if not self._broken:
                    file.writelines(self._writer.lose(self._last_at, lost) if lost else self._writer.flush())
        except OSError as error:
            if not self._broken:
                log.error("journal.broken path=%s why=%r; its end is missing", self._path, str(error))  # noqa: TRY400 - the sentence says it all

    def _open(self, at: float) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sweep()
        # what people say is nobody else's business: only the gateway's user may read it
        descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._file.write(self._writer.begin(at))
        return self._file


def _tell_failure(work: Future[None]) -> None:
    """Say what went wrong in the thread; nobody waits for its answers."""
    if error := work.exception():
        log.error("journal.failed", exc_info=error)


def _versions() -> dict[str, str]:
    try:
        ours = version("talkpath")
    except PackageNotFoundError:
        ours = "not installed"
    return {"talkpath": ours, "python": platform.python_version()}


@hookimpl
def register_observers(settings: Settings) -> list[ObserverKind]:
    """Every call's journal is kept, when there is a folder for it.

    Raises:
        ConfigError: when the full form is asked for without the words that it contains.
    """
    records = settings.records
    if not records.path:
        return []
    if records.form == "full" and not records.transcripts:
        raise ConfigError(
            "records.form: `full` keeps every word, but records.transcripts is false; set it to true, or use `compact`"
        )
    keeper = JournalKeeper(
        Path(records.path), form=records.form, words=records.transcripts, keep_days=records.keep_days
    )
    return [ObserverKind("journal", keeper.watch)]
