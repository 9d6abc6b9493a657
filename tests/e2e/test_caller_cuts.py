"""The caller's media connection is cut at seeded instants, on Twilio: the call goes on over the next one."""

import asyncio

import pytest
from caller_cut_accounts import CallerAccount, caller_account
from caller_cuts import CallerCut, cut_every_caller, plan_caller_cut
from cut_table import AT_ONCE, CUTS, MANY_CUTS, SEED, Seen, tell_row, wanted_numbers
from figures import percentile

TOPIC = "caller cut"
SHARE_THAT_GOES_ON = 0.99
GAP_P95_MS = 2000.0
LOST_AFTER_MS = 5000.0
"""`server.lost_after_s`, as it is unless it is set."""
NOTICED_MS = 1500.0
"""How much later a silent connection may be missed: a beat, and half a second for a busy machine."""
WRONG_MS = 20.0
"""What of the agent's words may be missing or heard twice: a frame."""


def make(count: int) -> Seen[CallerCut, CallerAccount]:
    """Make so many calls, or the one that is asked for."""
    numbers = wanted_numbers(count)
    outcomes = asyncio.run(cut_every_caller([plan_caller_cut(SEED, number) for number in numbers], AT_ONCE))
    seen = Seen(outcomes, numbers, caller_account)
    seen.tell(TOPIC, "test_caller_cuts.py", "the caller is back")
    told = [seen.of(cut).gap_ms for cut in seen.cuts if cut.case.fault.kind != "drop"]
    tell_row(TOPIC, "all but drops: until the caller is back", told)
    tell_row(TOPIC, "all: of the agent's words never heard", [one.missing_ms for one in seen.accounts])
    tell_row(TOPIC, "all: of the agent's words heard twice", [one.repeated_ms for one in seen.accounts])
    return seen


def judge(seen: Seen[CallerCut, CallerAccount]) -> None:
    """What must hold of all cuts; where this process stood still, no clock can be right to a frame."""
    total = len(seen.cuts) + len(seen.lost)
    assert total - len(seen.stuck()) >= SHARE_THAT_GOES_ON * total, seen.stuck()
    assert not seen.where(lambda cut, _: len(cut.persona.sessions) != 1)
    assert not seen.where(lambda cut, _: cut.ran != [1])
    assert not seen.where(lambda _, one: one.missing_ms > WRONG_MS + 2 * one.stalled_ms)
    assert not seen.where(
        lambda cut, one: one.repeated_ms > WRONG_MS + played_on_ms(cut) + 2 * one.stalled_ms
    )
    assert not seen.where(lambda _, one: one.unheard_frames > 0)
    assert not seen.where(lambda cut, one: (one.noticed_ms or 0) - one.late_ms > latest_notice_ms(cut))
    assert not seen.where(lambda cut, _: not cut.case.fault.loses and cut.result.sockets != 1)
    told = [seen.of(cut) for cut in seen.cuts if cut.case.fault.kind != "drop"]
    gaps = [max(0.0, one.gap_ms - one.late_ms) for one in told if one.gap_ms is not None]
    assert not gaps or percentile(gaps, 0.95) < GAP_P95_MS


def played_on_ms(cut: CallerCut) -> float:
    """How long the carrier, which learned of the cut later than the gateway, went on playing what it had got."""
    fault = cut.case.fault
    return fault.for_s * 1000 if fault.loses and fault.kind != "drop" else 0.0


def latest_notice_ms(cut: CallerCut) -> float:
    """By when the gateway must have noticed; a connection that is dropped in silence is also reset in the end."""
    fault = cut.case.fault
    return NOTICED_MS + (min(fault.for_s * 1000, LOST_AFTER_MS) if fault.kind == "drop" else 0.0)


def test_a_cut_caller_is_back_in_a_breath() -> None:
    """The conversation goes on over the next stream; nothing that was buffered is lost, or heard twice."""
    judge(make(CUTS))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_cut_callers_are_back_in_a_breath_each() -> None:
    """The same, two hundred times."""
    judge(make(MANY_CUTS))
