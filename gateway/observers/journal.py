"""Keeps each call's journal in a file of its own, in the folder ``records.path``; without one, keeps nothing.

Owns the files while they are written. Refuses to make a call wait for them: `see` appends to a list; every second, or
every 500 entries, the list goes to the one writing thread of the process, which encodes and writes it. At most 32
such lists of a call may wait; when the disk is slower than that, whole lists are dropped and the hole is
noted in the file. What is not yet written when the process is killed, two seconds at most, is lost, and the rest can be read;
an ordinary end of the process waits for the thread.
"""

import asyncio
import logging
import os
import platform
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import Any, BinaryIO, Final, get_args

from gateway.commands import AnyCommand, Entry
from gateway.contracts import Observer, ObserverKind
from gateway.errors import ConfigError
from gateway.events import AnyEvent, CallInfo
from gateway.hookspecs import hookimpl
from gateway.observers.journal_file import JournalHeader, LineWriter, is_run
from gateway.observers.journal_folder import SWEEP_S, JournalFolder
from gateway.settings import RecordsSettings, Settings
from gateway.terms import CallTerms

log: Final = logging.getLogger("talkpath.journal")

BATCH_S: Final = 1.0
"""Age at which what was gathered is handed to the thread."""
BATCH_ENTRIES: Final = 500
"""Number at which it is."""
WAITING_BATCHES: Final = 32
"""Of one call."""
CLOSE_S: Final = 5.0
"""How long the end of the process waits for the disk."""


class WritingThread:
    """Does one thing after the other, away from the event loop; what fails is logged and ends nothing."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def submit(self, work: Callable[..., object], *arguments: Any) -> None:
        """Have something done; returns at once."""
        if self._thread is None:
            # a disk that never answers must not keep the process alive: `close` is what waits, for so long
            self._thread = Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._waiting.put((work, arguments))

    def close(self, within_s: float) -> bool:
        """Wait until all is done; False when that takes too long."""
        if self._thread is None:
            return True
        self._waiting.put(None)
        self._thread.join(within_s)
        if self._thread.is_alive():
            return False
        self._thread = None
        return True

    def _run(self) -> None:
        while (task := self._waiting.get()) is not None:
            work, arguments = task
            try:
                work(*arguments)
            except Exception:
                log.exception("journal.failed")


class JournalKeeper:
    """One folder of journals and the thread that writes them."""

    def __init__(self, records: RecordsSettings) -> None:
        self._records = records
        self._folder = JournalFolder(
            Path(records.path), keep_days=records.keep_days, max_bytes=records.max_bytes
        )
        self._thread = WritingThread()
        self._live: set[CallJournal] = set()

    def watch(self, info: CallInfo, terms: CallTerms) -> Observer:
        """Begin the journal of a call."""
        began_at = time.time()
        records = self._records
        header = JournalHeader(info, terms, versions(), began_at, records.form, records.transcripts)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(began_at))
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", info.call_id)[:100]
        file = JournalFile(self._folder, f"{stamp}-{safe}", header, records.call_bytes)
        journal = CallJournal(self._thread, file, self._live.discard)
        self._live.add(journal)
        return journal

    @asynccontextmanager
    async def lifetime(self) -> AsyncIterator[None]:
        """Delete what is too old, also while nobody calls; at the end wait until everything is written."""
        loop = asyncio.get_running_loop()
        timers: dict[Callable[[], None], asyncio.TimerHandle] = {}

        def tick(work: Callable[[], None], every_s: float) -> None:
            work()
            timers[work] = loop.call_later(every_s, tick, work, every_s)

        tick(self._sweep, SWEEP_S)
        tick(self._hand_over_idle, BATCH_S)
        try:
            yield
        finally:
            for timer in timers.values():
                timer.cancel()
            if not await asyncio.to_thread(self.close, CLOSE_S):
                log.error(
                    "journal.unwritten folder=%s; the disk took more than %g s", self._folder.path, CLOSE_S
                )

    def close(self, within_s: float = CLOSE_S) -> bool:
        """Wait until everything that was handed over is written; False when that takes too long."""
        return self._thread.close(within_s)

    def _sweep(self) -> None:
        self._thread.submit(self._folder.sweep)

    def _hand_over_idle(self) -> None:
        """Calls in which nothing happens hand over nothing by themselves."""
        now = asyncio.get_running_loop().time()
        for journal in self._live:
            journal.hand_over_by(now)


class CallJournal:
    """Gathers one call's entries; lives on the event loop."""

    wants: tuple[type, ...] = (*get_args(AnyEvent), *get_args(AnyCommand))

    def __init__(
        self, thread: WritingThread, file: "JournalFile", closed: Callable[["CallJournal"], None]
    ) -> None:
        self._thread = thread
        self._file = file
        self._closed = closed
        self._batch: list[Entry] = []
        self._due_at = float(
            "-inf"
        )  # the first entry is written at once, so that even a short call leaves a trace
        self._places = BoundedSemaphore(WAITING_BATCHES)
        self._lost = 0

    def see(self, entry: Entry) -> None:
        """Take note of an entry."""
        batch = self._batch
        batch.append(entry)
        if entry.at >= self._due_at or len(batch) >= BATCH_ENTRIES:
            self._hand_over(entry.at)

    def hand_over_by(self, now: float) -> None:
        """Hand over what has waited for too long because nothing came after it."""
        if now >= self._due_at:
            self._hand_over(now)

    def close(self) -> None:
        """The call is over; the file is closed once everything before is written."""
        self._closed(self)
        self._hand_over(0.0)
        self._thread.submit(self._file.close, self._lost)

    def _hand_over(self, now: float) -> None:
        self._due_at = now + BATCH_S
        batch, self._batch = self._batch, []
        if not batch:
            return
        if not self._places.acquire(blocking=False):
            self._lost += len(batch)
            return
        lost, self._lost = self._lost, 0
        self._thread.submit(self._write, batch, lost)

    def _write(self, batch: list[Entry], lost: int) -> None:
        """Runs in the thread."""
        try:
            self._file.write(batch, lost)
        finally:
            self._places.release()


class JournalFile:
    """The file of one call; lives in the writing thread."""

    def __init__(self, folder: JournalFolder, name: str, header: JournalHeader, max_bytes: int) -> None:
        self._folder = folder
        self._name = name
        self._writer = LineWriter(header)
        self._file: BinaryIO | None = None
        self._last_at = 0.0
        self._lost = 0
        self._broken = False
        self._room_bytes = max_bytes
        self._is_full_form = header.form == "full"
        self._cut = False

    def write(self, batch: list[Entry], lost: int) -> None:
        """Append entries, after noting how many were lost before them; the first failure ends the journal."""
        if self._broken:
            return
        if self._cut:
            self._lost += lost + len(batch)
            return
        self._broken = True  # until it has gone well
        self._lost += lost
        at, self._last_at = batch[0].at, batch[-1].at
        try:
            file = self._file or self._open(at)
            lines = list(self._writer.write(batch))
            if self._is_beyond_share(lines):
                self._lost += len(batch)
                lines = []
            if self._lost:
                lines.insert(0, self._writer.lose(at, self._lost))
            text = b"".join(lines)
            if self._folder.make_room(len(text)):
                # in one piece, so that a process that is killed leaves whole lines but for the last one
                file.write(text)
                file.flush()
                self._lost = 0
            elif not self._cut:
                self._lost += len(batch)
        except OSError as error:
            self._tell(error, "the call goes on without one")
            return
        self._broken = False

    def _is_beyond_share(self, lines: list[bytes]) -> bool:
        """Count lines of one call; whether they are more than one may write, which cuts the journal for good."""
        # sound in full is as long as the call and bounded by it; words and messages are as many as somebody likes
        self._room_bytes -= sum(len(line) for line in lines if not (self._is_full_form and is_run(line)))
        self._cut = self._room_bytes < 0
        if self._cut:
            path = self._folder.path / self._name
            log.warning("journal.cut path=%s; the call goes on without it: raise records.call_bytes", path)
        return self._cut

    def close(self, lost: int) -> None:
        """Note what is missing at the end, and close the file."""
        if self._file is None:
            return
        lost += self._lost
        try:
            with self._file as file:
                if lost and not self._broken:
                    file.write(self._writer.lose(self._last_at, lost))
        except OSError as error:
            if not self._broken:
                self._tell(error, "its end is missing")

    def _open(self, at: float) -> BinaryIO:
        self._file = self._folder.create(self._name)
        self._file.write(self._writer.begin(at))
        return self._file

    def _tell(self, error: OSError, what_follows: str) -> None:
        path = self._folder.path / self._name
        log.error("journal.broken path=%s why=%r; %s", path, str(error), what_follows)


@cache
def versions() -> dict[str, str]:
    """Versions of the gateway and of Python."""
    try:
        ours = version("talkpath")
    except PackageNotFoundError:
        ours = "not installed"
    return {"talkpath": ours, "python": platform.python_version()}


@hookimpl
def register_observers(settings: Settings) -> list[ObserverKind]:
    """Every call's journal is kept, when there is a folder for it.

    Raises:
        ConfigError: when the folder can be none, or the full form is asked for without the words that it contains.
    """
    records = settings.records
    if not records.path:
        return []
    if records.form == "full" and not records.transcripts:
        raise ConfigError(
            "records.form: `full` keeps every word, but records.transcripts is false; set it to true, or use `compact`"
        )
    if reason := _why_no_folder(Path(records.path)):
        raise ConfigError(
            f"records.path: {records.path} {reason}; name a folder that the gateway may write to"
        )
    keeper = JournalKeeper(records)
    return [ObserverKind("journal", keeper.watch, keeper.lifetime)]


def _why_no_folder(path: Path) -> str:
    """What is wrong with a path; empty when journals can be kept there, or a folder can be made for them."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return "is a file" if there == path else f"lies below {there}, which is a file"
    if not os.access(there, os.W_OK | os.X_OK):
        return "cannot be written to" if there == path else f"cannot be made, as {there} cannot be written to"
    return ""
