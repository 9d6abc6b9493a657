"""What of each reply a client's loudspeaker has played, as the client itself counts it.

Owns that count over what was queued, played and dropped. Refuses clocks: it is told how much is still queued.
"""

from collections import deque


class PlayedReplies:
    """The replies on their way through one loudspeaker."""

    def __init__(self) -> None:
        self._queue: deque[tuple[str, float]] = deque()  # reply and milliseconds, in the order of playing
        self._queued_ms = 0.0
        self._played_ms: dict[str, float] = {}
        self._reported_ms: dict[str, float] = {}

    def queue(self, reply_id: str, ms: float) -> None:
        """A piece was put behind what is queued."""
        self._queue.append((reply_id, ms))
        self._queued_ms += ms

    def advance(self, queued_ms: float) -> list[tuple[str, float]]:
        """So much is still queued; gives the replies of which more was played than was reported, and how much."""
        over_ms = self._queued_ms - queued_ms
        while over_ms > 0 and self._queue:
            reply_id, ms = self._queue.popleft()
            played_ms = min(ms, over_ms)
            over_ms -= played_ms
            self._queued_ms -= played_ms
            self._played_ms[reply_id] = self._played_ms.get(reply_id, 0.0) + played_ms
            if played_ms < ms:
                self._queue.appendleft((reply_id, ms - played_ms))
        news = [(one, ms) for one, ms in self._played_ms.items() if ms > self._reported_ms.get(one, 0.0)]
        self._reported_ms.update(news)
        return news

    def clear(self) -> None:
        """What is queued was dropped."""
        self._queue.clear()
        self._queued_ms = 0.0

    def forget(self) -> None:
        """Another connection: what it brings of a reply is counted from its own beginning."""
        self.clear()
        self._played_ms.clear()
        self._reported_ms.clear()
