"""The turns of a call as every simulated pair of caller and agent takes them, counted in frames of 20 ms.

Owns one cycle of three turns: two ordinary ones and one whose reply the caller talks over. Both ends follow it, each
call from its own place in it, so that at any moment some calls listen, some speak and some are interrupted.
"""

from typing import Final

SPEAKS: Final = 100
"""The caller speaks for two seconds."""
NOTICED: Final = 15
"""After which of it the agent says so."""
STOPPED: Final = 115
ANSWERED: Final = 125
"""Where the reply begins."""
REPLY: Final = 185
"""Frames of a reply that nobody interrupts."""
PAUSE: Final = 10
TURN: Final = ANSWERED + REPLY + PAUSE
CUT: Final = 100
"""Frames of a reply after which the caller talks over it."""
CYCLE: Final = 3 * TURN
GOLDEN: Final = 0.618033988749895


class Cycle:
    """What happens in each frame of the cycle."""

    def __init__(self) -> None:
        self.caller_speaks = [False] * CYCLE
        """Whether the caller's frame is voice."""
        self.agent_speaks = [False] * CYCLE
        """Whether the agent sends a frame of its reply."""
        self.events: list[tuple[str, ...]] = [()] * CYCLE
        """What the agent says besides sound, before that frame."""
        for turn in range(3):
            self._write_turn(turn * TURN, interrupted=turn == 2)

    def _write_turn(self, at: int, *, interrupted: bool) -> None:
        for n in range(SPEAKS):
            self.caller_speaks[at + n] = True
        self._say(at + NOTICED, "speech.started")
        for n in range(NOTICED + 20, SPEAKS, 20):
            self._say(at + n, "user.delta")
        self._say(at + STOPPED, "speech.stopped", "user")
        self._say(at + ANSWERED, "reply.started")
        frames = CUT if interrupted else REPLY
        for n in range(frames):
            self.agent_speaks[at + ANSWERED + n] = True
        self._say(at + ANSWERED + frames // 2, "agent.deltas")
        end = at + ANSWERED + frames
        if not interrupted:
            self._say(end, "agent", "reply.done")
            return
        for n in range(end - NOTICED, at + TURN):
            self.caller_speaks[n] = True
        self._say(end, "speech.started", "agent.interrupted", "reply.interrupted")

    def _say(self, at: int, *names: str) -> None:
        self.events[at] = (*self.events[at], *names)


def place_of(call: int) -> int:
    """Where in the cycle a call begins: spread evenly, however many calls there are."""
    return int(call * GOLDEN % 1 * CYCLE)
