"""What the suite is worth: each of twenty mistakes is found, by the check that is there for it."""

from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant

from gateway.certify import CHECKS, certify, find_speaker

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "certify.md"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.mistake)
async def test_mistake_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named check fails, and says what it saw of the mistake."""
    adapter = mutant.make(monkeypatch)
    certificate = await certify(adapter, find_speaker(mutant.adapter), only=[mutant.check], tries=1)
    (finding,) = certificate.findings
    assert finding.verdict == "failed"
    assert mutant.says in finding.sentence


def test_there_are_twenty() -> None:
    """Twenty different mistakes are tried, in every adapter of ours."""
    assert len({mutant.mistake for mutant in MUTANTS}) == 20
    assert {mutant.adapter for mutant in MUTANTS} == {"twilio", "vonage", "pcm", "browser"}


def test_the_page_has_the_tables() -> None:
    """The page on the suite lists its checks, and the mistakes with the check that finds each."""
    checks = "\n".join(f"| `{check.name}` | {check.asks} |" for check in CHECKS)
    found = "\n".join(
        f"| {one.mistake} | {one.adapter} | `{one.check}` | “… {one.says} …” |" for one in MUTANTS
    )
    page = PAGE.read_text()
    assert checks in page, f"write into {PAGE}:\n{checks}"
    assert found in page, f"write into {PAGE}:\n{found}"
