"""Barge-in, hundreds of times at seeded instants: how fast the carrier is told, and what is heard and told after it."""

import asyncio
import os

import pytest
from figures import percentile, spread, tell
from interruptions import (
    CALLS,
    REPLY_MS,
    TIMES,
    WORD_MS,
    WORDS,
    Interrupted,
    Interruption,
    interrupt_everybody,
    profile_of,
)

from gateway.audio import MULAW_8K

SEED = int(os.environ.get("TALKPATH_SEED", "1"))
LIMIT_MS = 10.0
CLEARED_WITHIN_S = 0.5
SHORT_MS = WORD_MS / 2
PROFILES = ("realtime", "burst")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """All calls, made at the same time."""
    return asyncio.run(interrupt_everybody(tmp_path_factory.mktemp("interruptions"), SEED))


def latency_ms(interrupted: Interrupted, one: Interruption) -> float:
    """From the agent's signal to the carrier's clear."""
    clears = interrupted.clears[one.call]
    after = [at for at in clears if one.signal_at <= at < one.signal_at + CLEARED_WITHIN_S]
    assert after, f"the carrier was not told to clear: {one}"
    return (after[0] - one.signal_at) * 1000


@pytest.mark.parametrize("profile", PROFILES)
def test_carrier_is_told_within_ten_milliseconds(interrupted: Interrupted, profile: str) -> None:
    """From the agent's signal to the carrier's clear it takes less than 10 ms at the 99th percentile.

    What a bare WebSocket between two processes takes in the same run, on the same machine, is added to the limit.
    """
    every = [one for call in interrupted.interruptions for one in call if one.profile == profile]
    assert len(every) == CALLS // 2 * TIMES
    latencies = [latency_ms(interrupted, one) for one in every]
    tail = [latency_ms(interrupted, one) for one in every if one.in_tail]
    p99, echo_p99 = percentile(latencies, 0.99), percentile(interrupted.echo_ms, 0.99)
    tell(
        "barge-in to clear",
        f"{profile}: {spread(latencies)} (seed {SEED}); of these in the tail: {spread(tail)}",
    )
    ratio = percentile(latencies, 0.5) / percentile(interrupted.echo_ms, 0.5)
    tell(
        "barge-in to clear",
        f"{profile}: a bare WebSocket echo meanwhile: {spread(interrupted.echo_ms)}; "
        f"ratio at p50 {ratio:.1f}, at p99 {p99 / echo_p99:.1f}",
    )
    assert p99 < LIMIT_MS + echo_p99


def test_one_clear_for_each_interruption(interrupted: Interrupted) -> None:
    """The carrier is told to clear exactly once for each interruption, also in the tail of a finished reply."""
    assert [len(clears) for clears in interrupted.clears] == [TIMES] * CALLS
    assert [result.warnings for result in interrupted.results] == [[]] * CALLS


def test_nothing_of_the_old_reply_follows_the_clear(interrupted: Interrupted) -> None:
    """After a clear not one byte of the old reply is sent or heard, although its agent had more on the way."""
    for call, result in zip(interrupted.interruptions, interrupted.results, strict=True):
        for one, clear in zip(call, result.clears, strict=True):
            value = bytes([one.value])
            assert value not in result.received_audio[clear.received_bytes :]
            assert value not in result.heard_audio[round(clear.at_s * MULAW_8K.rate_hz) :]
            assert value in result.received_audio


@pytest.mark.parametrize("profile", PROFILES)
def test_transcript_says_what_was_not_heard(interrupted: Interrupted, profile: str) -> None:
    """The transcript divides each reply where the caller's ear was cut off, to half a word."""
    off_ms: list[float] = []
    for number, (call, result) in enumerate(zip(interrupted.interruptions, interrupted.results, strict=True)):
        if profile_of(number) != profile:
            continue
        lines = interrupted.transcripts[f"+1800555{number:04}"]
        assert len(lines) == TIMES
        for one, (_, heard, unheard) in zip(call, lines, strict=True):
            assert len(heard.split()) + len(unheard.split()) == WORDS
            ear_ms = result.heard_audio.count(bytes([one.value])) / MULAW_8K.bytes_per_ms
            words_ms = len(heard.split()) * WORD_MS
            off_ms.append(max(0.0, abs(words_ms - ear_ms) - SHORT_MS))
            assert unheard.strip() or ear_ms > REPLY_MS - WORD_MS  # then only the last word was cut short
    tell("unheard words", f"{profile}: beyond half a word of {WORD_MS} ms: {spread(off_ms)}")
    assert percentile(off_ms, 0.95) <= SHORT_MS
