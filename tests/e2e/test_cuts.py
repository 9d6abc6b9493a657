"""The agent's connection is cut at seeded instants, in every way a network has: what it costs the conversation."""

import asyncio
from collections.abc import Iterable

import pytest
from cut_accounts import FRAME_MS, IN_FLIGHT_FRAMES, Account, account_of
from cut_table import AT_ONCE, CUTS, MANY_CUTS, SEED, Seen, tell_row, wanted_numbers
from cuts import Cut, cut_everybody, plan_cut
from figures import percentile

TOPIC = "agent cut"
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


def make(count: int) -> Seen[Cut, Account]:
    """Make so many calls, or the one that is asked for."""
    numbers = wanted_numbers(count)
    outcomes = asyncio.run(cut_everybody([plan_cut(SEED, number) for number in numbers], AT_ONCE))
    seen = Seen(outcomes, numbers, account_of)
    seen.tell(TOPIC, "test_cuts.py", "an agent is back")
    accounts = seen.accounts
    after_notice = [
        one.gap_ms - one.noticed_ms
        for one in accounts
        if one.gap_ms is not None and one.noticed_ms is not None
    ]
    tell_row(TOPIC, "all: from notice to an agent back", after_notice)
    tell_row(TOPIC, "all: heard by the caller twice", [one.repeated_ms for one in accounts])
    tell_row(TOPIC, "all: told to a session twice", [one.told_twice_ms for one in accounts])
    tell_row(TOPIC, "all: of the caller lost", [len(one.missing) * FRAME_MS for one in accounts])
    return seen


def on_a_quiet_machine(accounts: Iterable[Account], *, since_noticed: bool) -> list[float]:
    """The gaps without what this process was late meanwhile: nobody else's clock can be better than its own."""
    return [
        max(0.0, one.gap_ms - (one.noticed_ms or 0) * since_noticed - one.late_ms)
        for one in accounts
        if one.gap_ms is not None
    ]


def judge(seen: Seen[Cut, Account]) -> None:
    """What must hold of all cuts."""
    total = len(seen.cuts) + len(seen.lost)
    assert total - len(seen.stuck()) >= SHARE_THAT_GOES_ON * total, seen.stuck()
    assert not seen.where(lambda _, one: one.repeated_ms > HALF_HEARD_MS)
    assert not seen.where(lambda cut, one: one.goes_on and cut.ran != [1])
    assert not seen.where(lambda cut, one: len(one.missing) > in_flight(cut))
    assert not seen.where(lambda cut, one: len(one.broken) > (1 if in_flight(cut) else 0))
    assert not seen.where(lambda cut, one: not cut.case.fault.loses and one.noticed_ms is not None)
    assert not seen.where(lambda cut, one: (one.noticed_ms or 0) - one.late_ms > latest_notice_ms(cut))
    for gaps in (
        on_a_quiet_machine(seen.accounts, since_noticed=True),
        on_a_quiet_machine(map(seen.of, (cut for cut in seen.cuts if is_told(cut))), since_noticed=False),
    ):
        assert not gaps or percentile(gaps, 0.95) < GAP_P95_MS


def is_told(cut: Cut) -> bool:
    """Whether the network tells the gateway of the cut."""
    return cut.case.way in TOLD


def in_flight(cut: Cut) -> int:
    """Frames that nobody can know to be lost: the session goes on, and the connection was well until it broke."""
    return IN_FLIGHT_FRAMES if cut.case.accepts_resume and is_told(cut) else 0


def latest_notice_ms(cut: Cut) -> float:
    """By when the gateway must have noticed."""
    return NOTICED_MS if is_told(cut) else SILENT_MS


def test_a_cut_agent_costs_a_breath() -> None:
    """Calls go on, no sentence is heard twice, no tool runs twice, and what the caller said meanwhile is not lost."""
    judge(make(CUTS))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_cut_agents_cost_a_breath_each() -> None:
    """The same, two hundred times."""
    judge(make(MANY_CUTS))
