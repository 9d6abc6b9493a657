"""Whoever abuses the gateway is answered in its dialect's words, leaves nothing behind, and disturbs no other call."""

import asyncio
from pathlib import Path

import pytest
import wires
from campaign import Campaign, Verdict
from case import Case
from dialect import Dialect
from dialects import DIALECTS
from figures import tell
from ground import BOUND_MS, BUSY_MS, ground
from registry import BEGIN, PAGE, pairs, refreshed

PAIRS = [
    pytest.param(
        dialect,
        case,
        id=f"{dialect.adapter}-{case.side}-{case.name}",
        marks=pytest.mark.slow if is_slow else (),
    )
    for dialect, case, is_slow in pairs()
]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """All cases that are asked for, on one gateway, beside two calls that go on."""
    here = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    asked = [(item.callspec.params["dialect"], item.callspec.params["case"]) for item in here]
    wanted = {(dialect.adapter, case.name): (dialect, case) for dialect, case in asked}
    return asyncio.run(_carry_out(tmp_path_factory.mktemp("abuse"), list(wanted.values())))


async def _carry_out(folder: Path, wanted: list[tuple[Dialect, Case]]) -> Campaign:
    agents = {case.number: case.deed for _, case in wanted if case.side == "agent"}
    async with ground(folder, agents) as place:
        done = Campaign(place)
        await done.carry_out(wanted)
    verdicts = sorted(done.verdicts.values(), key=lambda verdict: verdict.pacing.gateway_ms)
    again = sum(verdict.tries > 1 for verdict in verdicts)
    if verdicts:
        tell(
            "abuse",
            f"{len(verdicts)} cases, {again} more than once; frames of the calls beside them were late by "
            f"{_pace(verdicts[len(verdicts) // 2])} in the median case and {_pace(verdicts[-1])} in the worst",
        )
    return done


def _pace(verdict: Verdict) -> str:
    return f"{verdict.pacing.gateway_ms:.1f} ms (a plain echo: {verdict.pacing.echo_ms:.1f} ms)"


def verdict_of(campaign: Campaign, dialect: Dialect, case: Case) -> Verdict:
    return campaign.verdicts[dialect.adapter, case.name]


@pytest.mark.parametrize(("dialect", "case"), PAIRS)
def test_abuse_is_answered_and_leaves_nothing(campaign: Campaign, dialect: Dialect, case: Case) -> None:
    """The peer gets its answer; its call, its sockets and the agent's are gone; and the next call is taken."""
    assert verdict_of(campaign, dialect, case).problems == []


@pytest.mark.parametrize(("dialect", "case"), PAIRS)
def test_other_calls_keep_their_pace(campaign: Campaign, dialect: Dialect, case: Case) -> None:
    """Frames of the calls beside it are under way for no more than 5 ms, 99 times of 100, or what the machine takes."""
    pacing = verdict_of(campaign, dialect, case).pacing
    assert pacing.frames > 0, "the calls beside it have ended"
    assert pacing.is_kept, pacing
    assert pacing.bound_ms == BOUND_MS or pacing.echo_ms > BUSY_MS


def test_nothing_is_left_of_all_of_them(campaign: Campaign) -> None:
    """Afterwards the process has as many calls, tasks and open files as before."""
    assert campaign.left == []


def test_none_of_it_is_a_fault(campaign: Campaign) -> None:
    """What peers do wrong is nowhere in the log as a fault of the gateway: no traceback, no task that was lost."""
    assert campaign.faults == []


def test_every_adapter_is_described() -> None:
    """An adapter that is registered is abused too; describe how its peers speak in tests/abuse/dialects.py."""
    assert set(DIALECTS) == set(wires.adapters())


def test_every_case_has_a_name_of_its_own() -> None:
    """No case hides another one."""
    names = [(dialect.adapter, case.side, case.name) for dialect, case, _ in pairs()]
    assert len(names) == len(set(names))


def test_the_page_lists_what_is_done() -> None:
    """docs/explanation/abuse.md tells every case and its answer; mend it by `python tests/abuse/registry.py`."""
    page = PAGE.read_text("utf-8")
    assert BEGIN in page
    assert refreshed(page) == page
