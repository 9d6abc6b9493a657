"""What calls of one process share, kept in its memory: media tokens, names seen once, counts.

Owns expiry and bounds. Refuses to survive the process. Every method is atomic because it never waits: one event
loop runs one of them at a time. When it is full, the oldest token goes, and the name that was seen longest ago, which
the log tells; nothing more is counted, which it tells too.
"""

import hashlib
import heapq
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar

from gateway.contracts import NO_COUNT, MediaPass

log: Final = logging.getLogger("talkpath.store")

MAX_ENTRIES: Final = 100_000
"""Most tokens and most names counted at once."""
MAX_SEEN: Final = 250_000
"""Most names seen that are kept; 400 proven webhooks a second for ten minutes."""
WARN_S: Final = 60.0
"""How long the log is silent about something after it has told it."""
FORGETFUL: Final = (
    "more proofs are used than can be remembered, so the oldest are forgotten and could be used again; "
    "spread the calls over more gateways"
)
FULL: Final = (
    "more callers, keys and routes have calls at once than can be counted, so calls of others are turned away; "
    "spread the calls over more gateways"
)

_V = TypeVar("_V")


class MemoryStore:
    """The store of a single process; implements `gateway.contracts.Store`."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, entries: int = MAX_ENTRIES, seen: int = MAX_SEEN
    ) -> None:
        self._now = now
        self._entries = entries
        self._passes: _Expiring[MediaPass] = _Expiring(entries)
        self._seen: _Expiring[None] = _Expiring(seen)
        self._warned_at: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    async def mint(self, media_pass: MediaPass, expires_s: float) -> str:
        """Make a one-time token of 256 random bits."""
        token = secrets.token_urlsafe(32)
        now = self._now()
        self._passes.forget_until(now)
        if self._passes.full:
            self._passes.forget_next()
        self._passes.put(_digest(token), media_pass, now + expires_s)
        return token

    async def spend(self, token: str, adapter: str) -> MediaPass | None:
        """Use a token up; None when it is unknown, used or too old. One of another adapter is shown, and stays good."""
        key, now = _digest(token), self._now()
        found = self._passes.look_up(key, now)
        return found if found is not None and found.adapter != adapter else self._passes.take(key, now)

    async def first_time(self, name: str, expires_s: float) -> bool:
        """Whether this name is seen for the first time within ``expires_s``."""
        now = self._now()
        self._seen.forget_until(now)
        if name in self._seen:
            return False
        if self._seen.full:
            # Strangers put no names here, so so many can only be a carrier's own; to turn it away would lose calls,
            # and what goes instead is the proof that is nearest to being too old anyway.
            self._seen.forget_oldest()
            self._warn(FORGETFUL)
        self._seen.put(name, None, now + expires_s)
        return True

    async def claim(self, limits: Mapping[str, int]) -> str:
        """Count one more under each name and give "", or under none and give the first whose limit is reached, or `NO_COUNT`."""
        for name, limit in limits.items():
            if self._counts.get(name, 0) >= limit:
                return name
        new = [name for name in limits if name not in self._counts]
        if new and len(self._counts) + len(new) > self._entries:
            self._warn(FULL)
            return NO_COUNT
        for name in limits:
            self._counts[name] = self._counts.get(name, 0) + 1
        return ""

    async def release(self, names: Iterable[str]) -> None:
        """Count one less under each name; below zero there is nothing."""
        for name in names:
            if self._counts.get(name, 0) > 1:
                self._counts[name] -= 1
            else:
                self._counts.pop(name, None)

    def _warn(self, sentence: str) -> None:
        now = self._now()
        if now - self._warned_at.get(sentence, -WARN_S) >= WARN_S:
            self._warned_at[sentence] = now
            log.warning(sentence)


class _Expiring(Generic[_V]):
    """A dictionary of bounded size whose entries have an end."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: dict[str, tuple[float, _V]] = {}
        # Ends in order; entries that were taken stay here until their time, or until there are too many.
        self._ends: list[tuple[float, str]] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def full(self) -> bool:
        return len(self._values) >= self._size

    def put(self, key: str, value: _V, end: float) -> None:
        self._values[key] = (end, value)
        heapq.heappush(self._ends, (end, key))
        if len(self._ends) > 2 * self._size:
            self._ends = [(kept_end, kept) for kept, (kept_end, _) in self._values.items()]
            heapq.heapify(self._ends)

    def take(self, key: str, now: float) -> _V | None:
        end, value = self._values.pop(key, (now, None))
        return value if end > now else None

    def look_up(self, key: str, now: float) -> _V | None:
        end, value = self._values.get(key, (now, None))
        return value if end > now else None

    def forget_until(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self.forget_next()

    def forget_oldest(self) -> None:
        """Forget what was put here first, whenever its end is."""
        del self._values[next(iter(self._values))]

    def forget_next(self) -> None:
        end, key = heapq.heappop(self._ends)
        if key in self._values and self._values[key][0] == end:
            del self._values[key]


def _digest(token: str) -> str:
    """What a token is kept as, so that looking it up tells nothing about tokens that are near."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
