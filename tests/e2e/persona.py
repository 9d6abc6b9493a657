"""Who the counting agent is in one call, and its account of it: what it said, asked for and heard, in all its sessions."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from numbered import WORDS

Stage = Literal[
    "dialled", "caller_speaks", "between", "streaming", "tail", "tool_pending", "result_sent", "resuming", "hang_up"
]  # fmt: skip


class Said(Struct, frozen=True):
    """A reply, or what was left of one."""

    sentence: int
    first_word: int
    at: float
    """When it began; the loop's time."""
    session: int
    reply_id: str


class Request(Struct, frozen=True):
    """The tool was asked for."""

    number: int
    """What is asked for: the same number again is the same wish again."""
    tool_call_id: str
    session: int


class Heard(Struct):
    """What one session heard, over all its connections."""

    frames: list[int]
    """Numbers in the order in which they came."""
    resumed_at: list[int] = []
    """How many of them had come when the session was resumed, for each time."""
    zero_at: float = float("inf")
    """When the caller's frame 0 was said, or would have been; the loop's time."""


class Persona:
    """The agent of one call, in all its sessions."""

    def __init__(
        self,
        call: str,
        *,
        accepts_resume: bool = True,
        repeats_requests: bool = False,
        burst: bool = False,
        words: int = WORDS,
    ) -> None:
        self.call = call
        self.words = words
        """How long its sentences are."""
        self.accepts_resume = accepts_resume
        self.repeats_requests = repeats_requests
        """Whether it asks again, after a resume, for what it asked for before; nobody knows what the provider does."""
        self.burst = burst
        self.sessions: list[Heard] = []
        self.said: list[Said] = []
        self.requests: list[Request] = []
        self.answered: dict[int, str] = {}
        """Results by request, as they were told, in whatever way."""
        self.asked: list[tuple[int, str]] = []
        """What the gateway wanted to be said: session, instructions."""
        self.turns: list[range] = []
        """The caller's utterances that were understood: from the first loud frame to the last."""
        self.last_cut_at = 0.0
        """The loop's time; the call is not ended before a turn that began after it."""
        self.more_cuts = False
        """Whether another cut is to come."""
        self._stages: dict[str, int] = {}
        self._watchers: list[Callable[[Stage, int], None]] = []

    def watch(self, watcher: Callable[[Stage, int], None]) -> None:
        """Be told of each stage that is reached, and which time it is."""
        self._watchers.append(watcher)

    def reach(self, stage: Stage) -> None:
        """Tell everybody."""
        self._stages[stage] = self._stages.get(stage, 0) + 1
        for watcher in self._watchers:
            watcher(stage, self._stages[stage])
