"""What a run of the benchmark shall measure, and how long that will take.

Owns the choices. Refuses to measure.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from gateway.simulate.load.stamps import MOST_CALLS

CALLS: Final = (10, 50, 100, 200, 300, 400)
SECONDS: Final = 3.0
RUNS: Final = 3
BURST: Final = 100
QUICK: Final = {"calls": (10, 100), "seconds": 3.0, "runs": 1, "over": ("plain",), "burst": 50}
"""What `--quick` stands for."""
_AROUND_S: Final = 3.5
"""What a step needs besides its windows: start, settle, end."""
_PER_CALL_S: Final = 0.008
_BURST_S: Final = 3.0


class Plan(Struct, frozen=True, kw_only=True):
    """One run."""

    systems: tuple[str, ...]
    """Names of the systems, in the order in which each step measures them."""
    calls: tuple[int, ...] = CALLS
    """Calls at once, a step each."""
    seconds: float = SECONDS
    """Length of a window."""
    runs: int = RUNS
    """Windows of a step, the best of which counts."""
    over: tuple[str, ...] = ("plain", "tls")
    """How the agent is reached."""
    burst: int = BURST
    """Calls that are started in the same moment; 0 leaves that out."""

    def steps(self) -> Iterator[tuple[str, int, str]]:
        """Over what, how many calls, which system; systems that are compared follow one another."""
        for over in self.over:
            for calls in self.calls:
                for system in self.systems:
                    yield over, calls, system

    @property
    def rows(self) -> int:
        """Steps and bursts together."""
        return len(list(self.steps())) + (len(self.over) * len(self.systems) if self.burst else 0)

    @property
    def about_s(self) -> float:
        """How long it will take, roughly."""
        steps = sum(
            _AROUND_S + calls * _PER_CALL_S + self.runs * (self.seconds + 0.25)
            for _, calls, _ in self.steps()
        )
        return steps + (_BURST_S * len(self.over) * len(self.systems) if self.burst else 0)


def read_calls(text: str) -> tuple[int, ...]:
    """Numbers of calls as they are typed: ``10,50,100``; in order, each once.

    Raises:
        ValueError: for anything else.
    """
    numbers = {int(part) for part in text.split(",")}
    if not all(0 < number <= MOST_CALLS for number in numbers):
        raise ValueError(text)
    return tuple(sorted(numbers))


def read_systems(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Names of systems as they are typed: ``relay,talkpath``; in the house's order.

    Raises:
        ValueError: for a name that there is not.
    """
    wanted = {part.strip() for part in text.split(",")}
    if strange := wanted - set(known):
        raise ValueError(min(strange))
    return tuple(name for name in known if name in wanted)
