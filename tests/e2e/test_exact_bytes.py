"""Sound passes unchanged and in order, both ways at once."""

import pytest
from exact_calls import LINES, TWILIO, Exact, run_exact_calls
from figures import tell
from sounds import gaps_in, still_ms_allowed
from together import Outcomes

SHORT_S = 20.0
TEN_MINUTES_S = 590.0
UNDER_WAY_MS = 200.0
"""What may be on its way to the agent when the caller hangs up."""


@pytest.fixture(scope="module")
def calls() -> Outcomes[Exact]:
    """One call per line, made at the same time."""
    return run_exact_calls(SHORT_S)


def passes_unchanged(exact: Exact, line: str) -> None:
    """Every byte of either side arrived at the other, once and in order."""
    result, arrived = exact.result, bytes(exact.session.audio)
    gaps = gaps_in(exact.said, result.heard_audio, result.format)
    tell(
        "exact bytes",
        f"{line}: {len(arrived)} bytes of the caller at the agent, {len(result.received_audio)} of the agent at the "
        f"caller, {result.duration_s:.0f} s, caller punctual to {result.pacing.late_p99_ms:.1f} ms, "
        f"gaps in what was heard {[round(gap_ms) for _, gap_ms in gaps]} ms",
    )
    assert result.warnings == []
    assert result.received_audio == exact.said
    assert result.sent_audio.startswith(arrived)
    assert result.format.ms(len(result.sent_audio) - len(arrived)) <= UNDER_WAY_MS
    assert sum(gap_ms for _, gap_ms in gaps) <= still_ms_allowed(result)


@pytest.mark.parametrize("line", LINES)
def test_sound_passes_unchanged(calls: Outcomes[Exact], line: str) -> None:
    """For twenty seconds both sides speak at once, and each hears the other byte for byte; also with TLS to the agent."""
    passes_unchanged(calls[line], line)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes_pass_unchanged() -> None:
    """A real Twilio call of ten minutes passes byte for byte, both ways."""
    passes_unchanged(run_exact_calls(TEN_MINUTES_S, (TWILIO,))[TWILIO], "ten minutes on twilio")
