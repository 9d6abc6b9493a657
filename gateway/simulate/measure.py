"""Turns the record of a call into numbers: latencies, dead air, punctuality. Pure."""

from gateway.simulate.ear import Interval, answer_to, audible_at
from gateway.simulate.result import ClearHeard, Pacing, Turn
from gateway.simulate.script import Spoken

DEAD_AIR_S = 2.0
RELIABLE_P99_MS = 2.0
"""Up to here the latencies of a call are good enough for a benchmark."""
ALERT_P99_MS = 10.0
"""From here on a person who reads them should know."""


def measure_turn(spoken: Spoken, heard: list[Interval], clears: list[ClearHeard]) -> Turn:
    """Measure what followed one utterance."""
    onset_s = spoken.extent.start_s
    clear_after_ms = silent_after_ms = None
    if spoken.over:
        reply = audible_at(onset_s, heard)
        silent_after_ms = (reply.end_s - onset_s) * 1000 if reply else 0.0
        clear = next((clear for clear in clears if clear.at_s >= onset_s), None)
        clear_after_ms = (clear.at_s - onset_s) * 1000 if clear else None
    answer = answer_to(spoken.extent, heard)
    return Turn(
        label=spoken.utterance.label,
        spoken=spoken.extent,
        over=spoken.over,
        answered_at_s=answer.start_s if answer else None,
        latency_ms=(answer.start_s - spoken.extent.end_s) * 1000 if answer else None,
        clear_after_ms=clear_after_ms,
        silent_after_ms=silent_after_ms,
    )


def measure_turns(spoken: list[Spoken], heard: list[Interval], clears: list[ClearHeard]) -> list[Turn]:
    """Measure every utterance; what is heard or cleared after the next one began belongs to that one."""
    turns = []
    for place, one in enumerate(spoken):
        until_s = spoken[place + 1].extent.start_s if place + 1 < len(spoken) else float("inf")
        turns.append(
            measure_turn(
                one,
                [interval for interval in heard if interval.start_s < until_s],
                [clear for clear in clears if clear.at_s < until_s],
            )
        )
    return turns


def silences(sounds: list[Interval], duration_s: float) -> list[Interval]:
    """Stretches of a call in which none of ``sounds`` could be heard."""
    gaps = []
    silent_from_s = 0.0
    for sound in sorted(sounds, key=lambda interval: interval.start_s):
        if sound.start_s > silent_from_s:
            gaps.append(Interval(silent_from_s, sound.start_s))
        silent_from_s = max(silent_from_s, sound.end_s)
    if duration_s > silent_from_s:
        gaps.append(Interval(silent_from_s, duration_s))
    return gaps


def measure_pacing(late_s: list[float]) -> Pacing:
    """Summarise how late each frame was."""
    if not late_s:
        return Pacing()
    ranked = sorted(late_s)
    return Pacing(len(ranked), ranked[int(0.99 * (len(ranked) - 1))] * 1000, ranked[-1] * 1000)
