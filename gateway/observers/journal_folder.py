"""The folder of journals: names, rights, age and size of the files in it.

Owns what is deleted: what is older than it may be, and the oldest ones when all of them are larger than they may be.
Refuses what stands in a file. Everything here may wait for the disk, so it is called by the writing thread alone.
Several processes may share a folder: a file that was written to a moment ago is nobody's to delete.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

log: Final = logging.getLogger("talkpath.journal")

SUFFIX: Final = ".jsonl"
SWEEP_S: Final = 3600.0
"""How often old journals are looked for."""
LIVE_S: Final = 120.0
"""A file that was written to so recently may be of a live call."""
_LOOK_AGAIN_S: Final = 60.0
"""How long nothing is written after no room could be made."""


class _Kept(Struct, frozen=True):
    """A journal in the folder."""

    path: Path
    written_at: float
    size_bytes: int


class JournalFolder:
    """One folder of journals."""

    def __init__(self, path: Path, *, keep_days: int, max_bytes: int) -> None:
        self.path = path
        self._keep_s = keep_days * 86_400.0
        self._max_bytes = max_bytes
        self._size_bytes = 0  # as counted, and what was written since
        self._swept_at = 0.0
        self._full_until = 0.0

    def create(self, name: str) -> BinaryIO:
        """Make a file that nobody else may read.

        Raises:
            OSError: when the folder or the file cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if time.time() - self._swept_at >= SWEEP_S:
            self.sweep()
        # what people say is nobody else's business: only the gateway's user may read it
        descriptor = os.open(self.path / f"{name}{SUFFIX}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        return os.fdopen(descriptor, "wb")

    def make_room(self, size_bytes: int) -> bool:
        """Count what is about to be written; False when it would be too much and nothing more can be deleted."""
        if self._size_bytes + size_bytes > self._max_bytes:
            now = time.time()
            if now < self._full_until:
                return False
            self.sweep(size_bytes)
            if self._size_bytes + size_bytes > self._max_bytes:
                self._full_until = now + _LOOK_AGAIN_S
                log.warning(
                    "journal.full folder=%s max_bytes=%d; nothing is written for %d s, as all that is there is of live "
                    "calls: raise records.max_bytes",
                    self.path,
                    self._max_bytes,
                    _LOOK_AGAIN_S,
                )
                return False
        self._size_bytes += size_bytes
        return True

    def sweep(self, room_bytes: int = 0) -> None:
        """Delete journals that are too old, and the oldest ones until there is room."""
        now = self._swept_at = time.time()
        kept = sorted(self._kept(), key=lambda one: one.written_at)
        size_bytes = sum(one.size_bytes for one in kept)
        early = 0
        for one in kept:
            is_old = now - one.written_at > self._keep_s
            is_in_the_way = size_bytes + room_bytes > self._max_bytes and now - one.written_at > LIVE_S
            if is_old or is_in_the_way:
                one.path.unlink(missing_ok=True)
                size_bytes -= one.size_bytes
                early += not is_old
        self._size_bytes = size_bytes
        if early:
            log.warning(
                "journal.deleted count=%d folder=%s; they were younger than records.keep_days, but records.max_bytes=%d "
                "was reached",
                early,
                self.path,
                self._max_bytes,
            )

    def _kept(self) -> Iterator[_Kept]:
        for path in self.path.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process has swept as well
                found = path.stat()
                yield _Kept(path, found.st_mtime, found.st_size)
