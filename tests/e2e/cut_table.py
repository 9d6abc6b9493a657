"""The cuts of one run with what each has cost: which of them went wrong, and the table that is printed of them.

`TALKPATH_SEED` and `TALKPATH_CUTS` choose other cuts and how many, `TALKPATH_CUT` makes a single one of them again.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from figures import percentile, tell
from together import Outcomes

SEED = int(os.environ.get("TALKPATH_SEED", "1"))
CUTS = int(os.environ.get("TALKPATH_CUTS", "24"))
MANY_CUTS = int(os.environ.get("TALKPATH_CUTS", "200"))
AT_ONCE = 24
COLUMNS = f"{'min':>7} {'p50':>7} {'p95':>7} {'p99':>7} {'worst':>7}"


class Case(Protocol):
    """How a call is cut."""

    @property
    def number(self) -> int:
        """Which of the seed's cases it is."""
        ...

    @property
    def way(self) -> str:
        """The fault in words."""
        ...


class Cut(Protocol):
    """A call that was cut."""

    @property
    def case(self) -> Any:
        """How."""
        ...


class Account(Protocol):
    """What a cut has cost, as far as the table needs it."""

    @property
    def noticed_ms(self) -> float | None:
        """From the cut until the gateway knew."""
        ...

    @property
    def gap_ms(self) -> float | None:
        """From the cut until both sides were there again."""
        ...

    @property
    def late_ms(self) -> float:
        """How much of that was this process's own lateness."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether the call went on."""
        ...


C = TypeVar("C", bound=Cut)
A = TypeVar("A", bound=Account)


def wanted_numbers(count: int) -> list[int]:
    """The cases to make: so many, or the one that is asked for."""
    only = os.environ.get("TALKPATH_CUT")
    return [int(only)] if only else list(range(count))


class Seen(Generic[C, A]):
    """All cuts of a run with their accounts."""

    def __init__(self, outcomes: Outcomes[C], numbers: list[int], account_of: Callable[[C], A]) -> None:
        self.lost: dict[int, str] = {}
        """Calls that came to nothing at all, and why."""
        self.cuts: list[C] = []
        self._accounts: dict[int, A] = {}
        for number in numbers:
            try:
                cut = outcomes[str(number)]
            except Exception as error:  # noqa: BLE001 - counted, with all others
                self.lost[number] = repr(error)
                continue
            self.cuts.append(cut)
            self._accounts[number] = account_of(cut)

    @property
    def accounts(self) -> list[A]:
        """What each of them has cost."""
        return list(self._accounts.values())

    def of(self, cut: C) -> A:
        """The account of a cut."""
        return self._accounts[cut.case.number]

    def where(self, is_wrong: Callable[[C, A], bool]) -> list[str]:
        """The cuts of which something is true, each with what repeats it."""
        return [
            f"{cut.case} {self.of(cut)}; repeat: TALKPATH_SEED={SEED} TALKPATH_CUT={cut.case.number}"
            for cut in self.cuts
            if is_wrong(cut, self.of(cut))
        ]

    def stuck(self) -> list[str]:
        """The calls that did not go on."""
        return [*self.lost.values(), *self.where(lambda _, account: not account.goes_on)]

    def tell(self, topic: str, file: str, back: str) -> None:
        """Print how many calls went on, and by way of cutting how long it took; ``back`` says until what."""
        total = len(self.cuts) + len(self.lost)
        how = f"TALKPATH_SEED={SEED}, one of them again: TALKPATH_CUT=number pytest tests/e2e/{file}"
        tell(topic, f"{total - len(self.stuck())} of {total} calls went on; {how}")
        tell(topic, f"{'milliseconds':<46} {'calls':>5} {COLUMNS}")
        ways: dict[str, list[A]] = {}
        for cut in self.cuts:
            ways.setdefault(cut.case.way, []).append(self.of(cut))
        for way, those in sorted(ways.items()):
            if not any(one.noticed_ms is not None or one.gap_ms is not None for one in those):
                tell(topic, f"{f'{way}: never missed':<46} {len(those):>5}")
                continue
            tell_row(topic, f"{way}: until it is noticed", [one.noticed_ms for one in those])
            tell_row(topic, f"{way}: until {back}", [one.gap_ms for one in those])
        tell_row(topic, "all: this process was late meanwhile", [one.late_ms for one in self.accounts])


def tell_row(topic: str, name: str, values: Iterable[float | None]) -> None:
    """Print one line of a table: least, median, 95th and 99th percentile, and most."""
    known = sorted(value for value in values if value is not None)
    shares = [percentile(known, share) for share in (0.5, 0.95, 0.99)] if known else []
    numbers = " ".join(f"{value:7.0f}" for value in (*known[:1], *shares, *known[-1:]))
    tell(topic, f"{name:<46} {len(known):>5} {numbers or '  never'}")
