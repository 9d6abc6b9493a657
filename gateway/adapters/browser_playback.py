"""What was sent to a client of each reply, so that what it says it has played can be understood.

Owns the names under which sounds are shown (a house sound is a reply of its own there) and the marks between them:
`talkpath.played` answers the newest mark that the client has passed. Refuses clocks; it counts milliseconds sent.
"""

from collections import deque
from typing import Final, NamedTuple

MOST_MARKS: Final = 256
"""Marks that are remembered; a client that never says what it has played would fill the memory otherwise."""
MOST_REPLIES: Final = 64
"""Replies that are remembered."""
ROUNDING_MS: Final = 1.0
"""What a client's clock may fall short of a whole reply."""
_CLIP: Final = "clip:"


class _MarkSent(NamedTuple):
    name: str
    reply_id: str
    at_ms: float


class Playback:
    """The sounds of one connection."""

    def __init__(self) -> None:
        self._sent_ms: dict[str, float] = {}
        self._latest = ""
        self._marks: deque[_MarkSent] = deque(maxlen=MOST_MARKS)
        self._unsure: set[str] = set()
        self._clips: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def play(self, reply_id: str, ms: float) -> tuple[str, bool]:
        """A piece is sent: under which name, and whether its beginning must be told first."""
        is_new = reply_id.startswith(_CLIP) and reply_id not in self._clips
        if is_new:
            # Each time another name: clients drop what comes of a reply that is done with.
            number = self._numbers[reply_id] = self._numbers.get(reply_id, 0) + 1
            self._clips[reply_id] = f"house_{reply_id.removeprefix(_CLIP)}_{number}"
        shown = self._clips.get(reply_id, reply_id)
        self._sent_ms[shown] = self._sent_ms.get(shown, 0.0) + ms
        self._latest = shown
        if len(self._sent_ms) > MOST_REPLIES:
            del self._sent_ms[next(iter(self._sent_ms))]
        return shown, is_new

    def mark(self, name: str) -> None:
        """Everything sent so far lies before this mark."""
        if self._latest and self._latest not in self._unsure:
            self._marks.append(_MarkSent(name, self._latest, self._sent_ms.get(self._latest, 0.0)))

    def clear(self) -> None:
        """The client drops what it has not played; what is sent again of a reply cannot be told from the first time."""
        self._marks.clear()
        self._unsure = set(self._sent_ms)

    def played(self, reply_id: str, ms: float) -> tuple[str, float]:
        """The newest mark that was passed when this much of a reply has been played, and how much was played since.

        The name is empty when there is none.
        """
        own = [place for place, mark in enumerate(self._marks) if mark.reply_id == reply_id]
        if not own:
            return "", 0.0
        passed = own[0] - 1  # what was sent before this reply was played before it
        for place in own:
            if self._marks[place].at_ms <= ms + ROUNDING_MS:
                passed = place
        if passed < 0:
            return "", 0.0
        for _ in range(passed):
            self._marks.popleft()
        mark = self._marks.popleft()
        # one before this reply lies where the reply begins
        return mark.name, max(0.0, ms - mark.at_ms if mark.reply_id == reply_id else ms)

    def heard(self, reply_id: str) -> tuple[str, bool]:
        """A sound is done with: its name, and whether its end must be told."""
        shown = self._clips.pop(reply_id, None)
        return (shown, True) if shown else (reply_id, False)
