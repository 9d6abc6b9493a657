"""The file of the audit trail: one writer, append only, continued after a crash, and never a reason for a call to wait.

Owns the lock, what is synced to the disk and when, and the change to a new file. Refuses what lines say. Runs in the
one writing thread but for `put`, which takes microseconds on the event loop. A disk that refuses ends nothing: lines
wait, up to a bound, are written when it can again, and what had to be dropped is told in the trail itself.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections import deque
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final

from gateway.observers.audit_chain import (
    CONTINUED,
    Head,
    head_of,
    last_line,
    last_sections,
    seal_line,
    torn_fields,
    was_stopped,
)

log: Final = logging.getLogger("talkpath.audit")

BATCH: Final = 500
"""Lines that are written in one piece."""
MOST_WAITING: Final = 10_000
"""Lines that may wait for the disk; further ones are counted and dropped."""
LOOK_BYTES: Final = 1 << 20
"""How much of the end of a trail is looked at before it is opened; lines are a few kilobytes long."""
HEAD_EVERY_S: Final = 3600.0
"""How often the log is told where the trail ends, so that a tail cut off later can be found."""


class AuditFile:
    """One trail; `open` before anything else."""

    def __init__(
        self,
        path: Path,
        *,
        key: bytes = b"",
        sync_s: float = 1.0,
        max_bytes: int = 1 << 26,
        keep_files: int = 1000,
    ) -> None:
        self._path = path
        self._key = key
        self._sync_s = sync_s
        self._max_bytes = max_bytes
        self._keep_files = keep_files
        self._waiting: deque[dict[str, Any]] = deque()
        self._dropped = 0
        self._file: BinaryIO | None = None
        self._lock: BinaryIO | None = None
        self._size = 0
        self._synced_at = self._told_at = float("-inf")
        self._unsynced = self._broken = self._torn_by_us = False
        self.head = Head()
        """Where the trail ends, as far as it was written."""
        self.was_stopped = True
        """Whether the process that wrote it before has closed it; True where there was none."""
        self._sections: dict[str, str] = {}
        self._counting = Lock()
        self._under_way = 0  # of the lines that wait, how many a write that broke off was about

    # On the event loop

    def put(self, fields: dict[str, Any]) -> None:
        """Have a line written; returns at once."""
        if len(self._waiting) >= MOST_WAITING:
            with self._counting:
                self._dropped += 1
        else:
            self._waiting.append(fields)

    @property
    def has_work(self) -> bool:
        """Whether `write` has something to do."""
        return bool(self._waiting or self._dropped or self._unsynced)

    # In the writing thread

    def open(self) -> None:
        """Take the lock, find the end of the trail and go on there.

        Raises:
            BlockingIOError: when another process writes it.
            OSError: when it cannot be written.
            ValueError: when it is something else, or was damaged.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = Path(f"{self._path}.lock").open("ab")  # noqa: SIM115 - held as long as the process writes
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._open_file()
        except (OSError, ValueError):
            lock.close()
            raise
        self._lock = lock

    def _open_file(self) -> None:
        data = self._path.read_bytes() if self._path.exists() else b""
        fragment = data  # killed within the very first line, if there is no other
        if b"\n" in data:
            self.head, fragment = last_line(data)
            self.was_stopped = was_stopped(data)
        elif older := older_files(self._path):
            before = older[-1].read_bytes()
            self.head, _ = last_line(before)
            self.was_stopped = was_stopped(before) and not data
            self._sections = last_sections(before)
        self._sections = last_sections(data) or self._sections
        if self.head.n and not data:  # it was put aside, and nothing was written since
            self._begin_file()
            return
        self._file, self._size = self._open_for_append(), len(data)
        if fragment:
            self._note_torn(fragment)

    @property
    def sections(self) -> dict[str, str]:
        """Digests of the configuration's sections, as the trail has them last; empty in a new one."""
        return self._sections

    def _open_for_append(self) -> BinaryIO:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(handle, "ab", buffering=0)

    def _note_torn(self, fragment: bytes) -> None:
        if (whole := head_of(fragment)) is not None:  # all of it but its end
            self._append(b"\n")
            self.head = whole
            return
        fields = {"at": time.time(), "after": self.head.seal, **torn_fields(fragment)}
        line, head = seal_line(self.head, fields, self._key)
        self._append(b"\n" + line)
        self.head = head

    def write(self) -> None:
        """Write what waits; a disk that refuses is told to the log, and tried again at the next call."""
        try:
            if self._torn_by_us:
                self._mend()
            self._write_waiting()
            self._sync()
        except (OSError, ValueError) as error:  # ValueError: somebody else has written into it
            self._complain(error)
            self._broken = True
            return
        if self._broken:
            self._broken = False
            log.warning("trail.mended path=%s", self._path)
        self._tell_head()

    def _complain(self, error: OSError | ValueError) -> None:
        if not self._broken:
            why = "lines wait until it can be written"
            log.error("trail.broken path=%s why=%r; %s", self._path, str(error), why)

    def _write_waiting(self) -> None:
        self._under_way = 0
        if dropped := self._dropped:
            self._write_lines([{"at": time.time(), "kind": "trail.lost", "lines": dropped}])
            with self._counting:
                self._dropped -= dropped
        while self._waiting:
            batch = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
            self._under_way = len(batch)
            self._write_lines(batch)
            self._forget(len(batch))
        if self._size >= self._max_bytes:
            self._next_file()

    def _forget(self, lines: int) -> None:
        for _ in range(lines):
            fields = self._waiting.popleft()
            self._sections = fields.get("sections", self._sections)

    def _write_lines(self, batch: list[dict[str, Any]]) -> None:
        lines, head = [], self.head
        for fields in batch:
            line, head = seal_line(head, fields, self._key)
            lines.append(line)
        self._append(b"".join(lines))
        self.head = head

    def _append(self, data: bytes) -> None:
        """Write all of it; when that breaks off, what was written of it is looked at before the next line."""
        assert self._file is not None  # noqa: S101 - `open` has made it
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        except OSError:
            self._torn_by_us = self._torn_by_us or written > 0
            raise
        finally:
            self._size += written
            self._unsynced = self._unsynced or written > 0

    def _mend(self) -> None:
        """Go on after a write that was cut short: whole lines of it count, a piece behind them is noted."""
        data, before = self._path.read_bytes(), self.head.n
        fragment = data
        if b"\n" in data:
            self.head, fragment = last_line(data)
        if head_of(fragment) is not None:
            self._note_torn(fragment)
            fragment = b""
        self._forget(min(self.head.n - before, self._under_way))
        if fragment:
            self._note_torn(fragment)
        self._torn_by_us = False

    def _sync(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        is_due = at_once or now - self._synced_at >= self._sync_s
        if self._unsynced and self._file is not None and is_due:
            os.fsync(self._file.fileno())
            self._synced_at, self._unsynced = now, False

    def _next_file(self) -> None:
        """Put the file aside under the number of its last line, and begin another one that continues it."""
        self._sync(at_once=True)
        if self._path.exists():  # else an attempt before this one came so far
            self._path.rename(f"{self._path}.{self.head.n:012d}")
        self._begin_file()

    def _begin_file(self) -> None:
        before, self._file = self._file, self._open_for_append()
        self._size = 0
        if before is not None:
            before.close()
        deleted = older_files(self._path)[: -self._keep_files]
        fields = {"at": time.time(), "kind": CONTINUED, "after": self.head.seal, "sections": self._sections}
        if deleted:
            fields["deleted"] = [path.name for path in deleted]
        self._write_lines([fields])
        for path in deleted:
            with contextlib.suppress(OSError):
                path.unlink()

    def _tell_head(self) -> None:
        now = time.monotonic()
        if now - self._told_at >= HEAD_EVERY_S:
            self._told_at = now
            log.info("trail.head n=%d hash=%s", self.head.n, self.head.seal)

    def close(self) -> None:
        """Write what still waits, tell the end and let another process go on."""
        self.write()
        if self._file is not None:
            if not self._broken:
                with contextlib.suppress(OSError):
                    os.fsync(self._file.fileno())
                log.info("trail.head n=%d hash=%s", self.head.n, self.head.seal)
            else:
                log.error("trail.unwritten path=%s lines=%d", self._path, len(self._waiting) + self._dropped)
            self._file.close()
            self._file = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def look_at_end(path: Path) -> None:
    """See whether a trail could be gone on with, without touching it; where there is no file it can.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is something else, or was damaged.
    """
    if path.exists():
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOOK_BYTES))
            end = file.read(LOOK_BYTES)
        if b"\n" in end:  # else it is a piece of the very first line
            last_line(end)


def older_files(path: Path) -> list[Path]:
    """Files of the same trail that were put aside, oldest first."""
    found = [one for one in path.parent.glob(f"{path.name}.*") if one.suffix[1:].isdigit()]
    return sorted(found, key=lambda one: int(one.suffix[1:]))
