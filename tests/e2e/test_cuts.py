"""The agent's connection is cut at seeded instants, in every way a network has: what it costs the conversation.

`TALKPATH_SEED` and `TALKPATH_CUTS` choose other cuts and how many, `TALKPATH_CUT` makes a single one of them again.
"""

import asyncio
import os
from collections.abc import Callable, Iterable

import pytest
from cut_accounts import COLUMNS, FRAME_MS, IN_FLIGHT_FRAMES, Account, account_of, distribution
from cuts import Cut, cut_everybody, plan_cut, plan_cuts
from figures import percentile, tell
from together import Outcomes

SEED = int(os.environ.get("TALKPATH_SEED", "1"))
CUTS = int(os.environ.get("TALKPATH_CUTS", "24"))
MANY_CUTS = int(os.environ.get("TALKPATH_CUTS", "200"))
ONLY = os.environ.get("TALKPATH_CUT")
AT_ONCE = 24
TOPIC = "agent cut"
HOW = "one of them again with TALKPATH_CUT=number pytest tests/e2e/test_cuts.py"
SHARE_THAT_GOES_ON = 0.99
GAP_P95_MS = 2000.0
NOTICED_MS = 500.0
"""How soon the gateway must know of a cut that the network tells it of."""
SILENT_MS = 9000.0
"""The same for one that it does not: `lost_after_s`, 6 s, after the last sign of life, which may be a sentence."""
HALF_HEARD_MS = 160.0
"""What may be heard twice: the word in which the agent was cut off, and a frame at either end."""
TOLD = frozenset(
    {
        "reset both",
        "reset to client",
        "close both",
        "close to client",
        "half close to client",
        "half close to server",
    }
)
"""Ways in which the gateway's end of the connection ends, too."""


class Seen:
    """All cuts of a run with their accounts."""

    def __init__(self, outcomes: Outcomes[Cut], numbers: list[int]) -> None:
        self.lost: dict[int, str] = {}
        """Calls that came to nothing at all, and why."""
        self.cuts: list[Cut] = []
        self.accounts: dict[int, Account] = {}
        for number in numbers:
            try:
                cut = outcomes[str(number)]
            except Exception as error:  # noqa: BLE001 - counted, with all others
                self.lost[number] = repr(error)
                continue
            self.cuts.append(cut)
            self.accounts[number] = account_of(cut)

    def of(self, cut: Cut) -> Account:
        """The account of a cut."""
        return self.accounts[cut.case.number]

    def where(self, is_wrong: Callable[[Cut, Account], bool]) -> list[str]:
        """The cuts of which something is true, each with the command that repeats it."""
        return [
            f"{cut.case} {self.of(cut)}; repeat: TALKPATH_SEED={SEED} TALKPATH_CUT={cut.case.number}"
            for cut in self.cuts
            if is_wrong(cut, self.of(cut))
        ]


def make(count: int) -> Seen:
    """Make so many calls, or the one that is asked for."""
    cases = [plan_cut(SEED, int(ONLY))] if ONLY else plan_cuts(SEED, count)
    outcomes = asyncio.run(cut_everybody(cases, AT_ONCE))
    seen = Seen(outcomes, [case.number for case in cases])
    tell_all(seen)
    return seen


def tell_all(seen: Seen) -> None:
    """Print the distributions: all, then by way of cutting."""
    accounts = list(seen.accounts.values())
    going = sum(account.goes_on for account in accounts)
    tell(TOPIC, f"{going} of {len(accounts) + len(seen.lost)} calls went on; TALKPATH_SEED={SEED}, {HOW}")
    tell(TOPIC, f"{'milliseconds':<46} {'calls':>5} {COLUMNS}")
    ways = {cut.case.way: [seen.of(c) for c in seen.cuts if c.case.way == cut.case.way] for cut in seen.cuts}
    for way, those in sorted(ways.items()):
        tell_row(f"{way}: until it is noticed", [one.noticed_ms for one in those])
        if any(one.gap_ms for one in those):
            tell_row(f"{way}: until an agent is back", [one.gap_ms for one in those])
    tell_row("all: from notice to agent back", gaps_after_notice(seen))
    tell_row("all: heard by the caller twice", [one.repeated_ms for one in accounts])
    tell_row("all: told to a session twice", [one.told_twice_ms for one in accounts])
    tell_row("all: of the caller lost", [len(one.missing) * FRAME_MS for one in accounts])


def tell_row(name: str, values: Iterable[float | None]) -> None:
    """One line of the table."""
    known = [value for value in values if value is not None]
    tell(TOPIC, f"{name:<46} {len(known):>5} {distribution(known)}")


def gaps_after_notice(seen: Seen) -> list[float]:
    """From the moment in which the gateway knew until an agent listened again."""
    pairs = [(account.noticed_ms, account.gap_ms) for account in seen.accounts.values()]
    return [gap - known for known, gap in pairs if known is not None and gap is not None]


def judge(seen: Seen) -> None:
    """What must hold of all cuts."""
    total = len(seen.cuts) + len(seen.lost)
    stuck = seen.where(lambda _, account: not account.goes_on)
    assert total - len(seen.lost) - len(stuck) >= SHARE_THAT_GOES_ON * total, [*seen.lost.items(), *stuck]
    assert not seen.where(lambda _, account: account.repeated_ms > HALF_HEARD_MS)
    assert not seen.where(lambda cut, account: account.goes_on and cut.ran != [1])
    assert not seen.where(lambda cut, account: len(account.missing) > in_flight(cut))
    assert not seen.where(lambda cut, account: len(account.broken) > (1 if in_flight(cut) else 0))
    assert not seen.where(lambda cut, account: not cut.case.fault.loses and account.noticed_ms is not None)
    assert not seen.where(lambda cut, account: (account.noticed_ms or 0) > soonest(cut))
    gaps = gaps_after_notice(seen)
    assert not gaps or percentile(gaps, 0.95) < GAP_P95_MS
    told = [gap for cut in seen.cuts if cut.case.way in TOLD and (gap := seen.of(cut).gap_ms) is not None]
    assert not told or percentile(told, 0.95) < GAP_P95_MS


def in_flight(cut: Cut) -> int:
    """Frames that nobody can know to be lost: the session goes on, and the connection was well until it broke."""
    return IN_FLIGHT_FRAMES if cut.case.accepts_resume and cut.case.way in TOLD else 0


def soonest(cut: Cut) -> float:
    """By when the gateway must have noticed."""
    slack_ms = 4 * cut.result.pacing.late_max_ms  # both ends and the gateway share this process
    return (NOTICED_MS if cut.case.way in TOLD else SILENT_MS) + slack_ms


def test_a_cut_agent_costs_a_breath() -> None:
    """Calls go on, no sentence is heard twice, no tool runs twice, and what the caller said meanwhile is not lost."""
    judge(make(CUTS))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_cut_agents_cost_a_breath_each() -> None:
    """The same, two hundred times."""
    judge(make(MANY_CUTS))
