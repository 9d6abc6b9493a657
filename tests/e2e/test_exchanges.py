"""A person is understood and answered: by the commands as people type them, in every format, and in the demo."""

import asyncio
import re

import pytest
from exchanges import ENCODINGS, RATES_HZ, Seen, exchange_everywhere, key, printed
from figures import spread, tell
from speech import hearing_needed

pytestmark = hearing_needed
ANSWERED_WITHIN_MS = 12_000
"""Recognition takes a second on a quiet machine, and its processes give way to everything else."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """All of it at the same time."""
    return asyncio.run(exchange_everywhere(tmp_path_factory.mktemp("exchanges")))


@pytest.mark.parametrize("name", ["twilio", "pcm", "twilio from the repository"])
def test_commands_hold_a_spoken_exchange(seen: Seen, name: str) -> None:
    """`talkpath serve` and `talkpath call`, without configuration or with the repository's, hold a spoken exchange."""
    finished = seen.commands[name]
    assert finished.code == 0, finished.err
    report = printed(finished)
    (turn,) = report["turns"]
    tell("spoken exchange", f"command, {name}: answered {turn['latency_ms']:.0f} ms after the last word")
    assert report["end_reason"] == "caller_hung_up"
    assert 0 < turn["latency_ms"] < ANSWERED_WITHIN_MS
    assert report["warnings"] == []
    assert len(report["heard"]) == 2  # the greeting and the answer
    if name == "pcm":
        understood = [event["text"] for event in report["events"] if event["type"] == "transcript.user"]
        assert understood == ["go forward ten meters"]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_format_is_understood(seen: Seen, encoding: str, rate_hz: int) -> None:
    """A PCM client is understood and answered in every encoding at every rate."""
    exchange = seen.matrix[key(encoding, rate_hz)]
    words = [line.text for line in exchange.lines]
    (turn,) = exchange.result.turns
    assert words[1:] == ["go forward ten meters", "Going forward ten meters."]
    assert exchange.result.end_reason == "caller_hung_up"
    assert exchange.result.warnings == []
    assert turn.latency_ms is not None
    assert 0 < turn.latency_ms < ANSWERED_WITHIN_MS


def test_formats_are_equally_fast(seen: Seen) -> None:
    """The latencies of all formats are printed, per encoding."""
    for encoding in ENCODINGS:
        turns = [seen.matrix[key(encoding, rate_hz)].result.turns[0].latency_ms for rate_hz in RATES_HZ]
        known = [latency_ms for latency_ms in turns if latency_ms is not None]
        assert len(known) == len(RATES_HZ)
        tell("spoken exchange", f"{encoding} at {len(RATES_HZ)} rates: answered after {spread(known)}")


def test_demo(seen: Seen) -> None:
    """The demonstration shows a tool call, an interruption with its unheard words in brackets, and the goodbye."""
    finished = seen.commands["demo"]
    assert finished.code == 0, finished.err
    assert "caller: go forward ten meters" in finished.out
    assert re.search(r"drive: ok \d+ ms", finished.out)
    assert "phone: the caller says over the agent: cards_001.wav" in finished.out
    assert re.search(r"phone: told to stop playing, \d+ ms unheard", finished.out)
    assert re.search(r"agent: We are open on Monday.*\[.*so are our phones\.\]", finished.out)
    assert "agent: Goodbye, and thank you for calling." in finished.out
    assert "phone: agent hung up" in finished.out
    assert "the call ended because agent_hung_up" in finished.out
    assert "Traceback" not in finished.err
