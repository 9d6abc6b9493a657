"""Bad input is refused by rule, in one sentence, while every other call goes on undisturbed."""

import asyncio

import pytest
from bad_input import ERRORS, READ, READING, UNDERSTOOD, Seen, make_trouble
from figures import tell
from sounds import gaps_in, still_ms_allowed
from speech import hearing_needed

from gateway.audio import MULAW_8K

pytestmark = hearing_needed
POLICY, TOO_BIG = 1008, 1009
REFUSED = {
    "twilio: not JSON": "not a JSON object",
    "twilio: binary": "text messages only",
    "twilio: a list": "not a JSON object",
    "twilio: wrong type": "`media` message cannot be read",
    "twilio: broken base64": "`media` message cannot be read",
    "twilio: wrong stream id": "streamSid of another stream",
    "twilio: second start": "a second `start` is refused",
    "twilio: deep nesting": "more than 8192 values",
    "twilio: audio before start": "has not started",
    "twilio: another call's id": "not the call that this socket was opened for",
    "twilio: wrong format": "must be audio/x-mulaw",
    "twilio: ConversationRelay": "ConversationRelay",
    "twilio: says nothing": "within 1 s",
    "twilio: never starts": "within 1 s",
    "pcm: not JSON": "JSON objects",
    "pcm: text without events": "add events=1",
    "pcm: says nothing": "within 1 s",
    "stranger: garbage": "not known",
    "stranger: bare binary": "/v1/ws/pcm",
    "stranger: says nothing": "Nothing came",
}
"""Closed, and the words of the reason."""
TURNED_AWAY = {
    "twilio: spent token": (403, "without valid proof"),
    "twilio: unsigned": (403, "without valid proof"),
    "pcm: unknown encoding": (400, "pcm_s16le, pcm_mulaw or pcm_alaw"),
    "pcm: unknown rate": (400, "8000, 16000, 24000, 44100, 48000"),
    "unknown adapter": (404, "/v1/ws/twilio"),
    "no upgrade": (426, "WebSocket"),
    "webhook: unsigned": (403, "without valid proof"),
    "webhook: GET": (405, "POST"),
    "webhook: large": (413, "65536"),
}
"""Never let in: HTTP status, and words of the answer."""


@pytest.fixture(scope="module")
def seen() -> Seen:
    """All of it at the same time, while two calls go on."""
    return asyncio.run(make_trouble())


@pytest.mark.parametrize("name", REFUSED)
def test_socket_is_closed_with_a_sentence(seen: Seen, name: str) -> None:
    """Who sends what the dialect does not have, or nothing, is closed with 1008 and told why in one sentence."""
    closed = seen.bad[name]
    assert closed.code == POLICY
    assert REFUSED[name] in closed.reason
    assert "\n" not in closed.reason


@pytest.mark.parametrize("name", TURNED_AWAY)
def test_request_is_turned_away_with_a_sentence(seen: Seen, name: str) -> None:
    """Who has no proof, or asks for what is not there, is answered by status and one sentence."""
    status, words = TURNED_AWAY[name]
    closed = seen.bad[name]
    assert closed.code == status
    assert words in closed.reason
    assert closed.reason.strip().count("\n") == 0


@pytest.mark.parametrize("name", ["twilio: too long", "pcm: too long"])
def test_messages_over_one_mebibyte(seen: Seen, name: str) -> None:
    """A message over 1 MiB closes its socket with 1009."""
    assert seen.bad[name].code == TOO_BIG


def test_each_is_answered_where_the_dialect_has_words(seen: Seen) -> None:
    """A PCM client with events is told of each unreadable message; Twilio, which would only warn, never is."""
    assert len(seen.bad["pcm: not JSON"].texts) == ERRORS
    assert not [name for name in REFUSED if name.startswith("twilio") and seen.bad[name].texts]


def test_a_few_mistakes_are_forgiven(seen: Seen) -> None:
    """Messages of new kinds are ignored, and unreadable ones are counted and forgiven when good ones follow."""
    closed = seen.bad["twilio: tolerated"]
    assert closed.code == 0
    assert closed.counted == 3 * (ERRORS - 1)


def test_other_calls_go_on_undisturbed(seen: Seen) -> None:
    """Meanwhile one caller is understood and answered, and another hears nine seconds without a missing byte."""
    understood, read = seen.good[UNDERSTOOD], seen.good[READ]
    gaps = gaps_in(READING, read.heard_audio, MULAW_8K)
    tell(
        "bad input",
        f"{len(REFUSED) + len(TURNED_AWAY) + 3} kinds at once; the calls beside them: answered after "
        f"{understood.turns[0].latency_ms:.0f} ms, gaps in nine seconds of speech {[round(ms) for _, ms in gaps]} ms",
    )
    assert seen.driven == 1
    assert understood.end_reason == "caller_hung_up"
    assert understood.warnings == read.warnings == []
    assert read.received_audio == READING
    assert sum(gap_ms for _, gap_ms in gaps) <= still_ms_allowed(read)


def test_nothing_is_left_behind(seen: Seen) -> None:
    """Afterwards the gateway takes calls as before, and none of the bad ones is still there."""
    assert seen.alive
    assert seen.left == 0
