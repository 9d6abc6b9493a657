"""Each check of the doors is needed: without it, the attack that is named for it succeeds."""

import asyncio
from pathlib import Path

import pytest
from attack_page import BEGIN, PAGE, REMOVED_BEGIN, refreshed
from castle import castle
from faults import copy_into
from gates_of_clients import GATES
from removals import REMOVALS, Removal
from siege import ATTACKS, Verdict, tried

BY_NAME = {attack.name: attack for attack in ATTACKS}
EACH = [pytest.param(removal, id=f"{removal.gate}-{removal.check}") for removal in REMOVALS]


def without(removal: Removal, folder: Path) -> Path:
    """A copy of the gateway in which the check is gone."""
    folder.mkdir()
    copy = copy_into(folder, ("gateway",))
    removal.take_from(copy)
    return copy


@pytest.mark.parametrize("removal", EACH)
def test_a_check_is_there(removal: Removal, tmp_path: Path) -> None:
    """What is taken out is there, once; when a door has changed, so must tests/attack/removals.py."""
    without(removal, tmp_path / "copy")
    assert BY_NAME[removal.attack].suits(GATES[removal.gate])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("removal", EACH)
def test_a_check_is_needed(removal: Removal, tmp_path: Path) -> None:
    """Without the check the attack is red; with it, test_attack.py runs the same attack green."""
    attack = BY_NAME[removal.attack]

    async def try_it() -> Verdict:
        copy = without(removal, tmp_path / "copy")
        async with castle(tmp_path, attack.place, witnessed=False, package=copy) as under:
            verdict = await tried(under, attack, GATES[removal.gate])
            fault = under.ground.faults(0)
            return Verdict([*verdict.problems, *([fault] if fault else [])])

    assert asyncio.run(try_it()).problems != []


def test_every_attack_guards_a_check_or_is_told_of() -> None:
    """An attack that no removal makes red proves nothing of a check; the page says of which that is so."""
    unguarded = {attack.name for attack in ATTACKS} - {removal.attack for removal in REMOVALS}
    assert unguarded == BY_LIBRARY | BY_PACE


BY_LIBRARY = {"smuggled proof", "smuggled request", "path tricks", "path tricks: files", "oversized"}
"""Attacks that aiohttp turns away, or that no single check stands against."""
BY_PACE = {"flood: guesses", "flood: webhooks", "flood: pipelined", "flood: a crowd"}
"""Attacks of which only the pace of other calls tells."""


def test_the_page_lists_what_is_done() -> None:
    """docs/explanation/attacks.md tells every attack and every check; mend it by `python tests/attack/attack_page.py`."""
    page = PAGE.read_text("utf-8")
    assert BEGIN in page
    assert REMOVED_BEGIN in page
    assert refreshed(page) == page
