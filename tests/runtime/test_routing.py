"""Tests of routes: the first match wins, and a ladder never leaves its region unasked."""

import pytest

from gateway.audio import MULAW_8K
from gateway.events import CallInfo
from gateway.runtime.conditions import matches
from gateway.runtime.routing import choose_route, explain_mismatches, ladder, named_route, strangers
from gateway.settings import AgentSettings, MatchSettings, RouteSettings, Settings


def call(callee: str = "", caller: str = "", adapter: str = "twilio") -> CallInfo:
    return CallInfo(call_id="c", adapter=adapter, audio=MULAW_8K, caller=caller, callee=callee)


def is_remote(agent: AgentSettings) -> bool:
    return agent.kind != "offline"


SETTINGS = Settings(
    agents={
        "us": AgentSettings(kind="voice_agent", fallback="eu"),
        "eu": AgentSettings(kind="voice_agent", region="eu", fallback="sorry"),
        "sorry": AgentSettings(kind="offline", fallback="us"),
    },
    routes=(
        RouteSettings(
            name="europe", match=MatchSettings(callee=("+33*", "+49*"), adapter=("twilio",)), agent="eu"
        ),
        RouteSettings(
            name="boss", match=MatchSettings(caller=("+15550100",)), agent="us", allow_regions=("eu",)
        ),
        RouteSettings(name="home", match=MatchSettings(adapter=("pcm", "twilio")), agent="us"),
    ),
)


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        ("+33*", "+33123", True),
        ("+33*", "+33", True),
        ("+33*", "+4933", False),
        ("+331", "+331", True),
        ("+331", "+3312", False),
        ("*", "", True),
        ("", "", True),
    ],
)
def test_patterns_are_exact_or_a_prefix(pattern: str, text: str, answer: bool) -> None:
    """A star stands at the end and for anything."""
    assert matches(pattern, text) is answer


@pytest.mark.parametrize(
    ("info", "route", "why"),
    [
        (call("+33123"), "europe", "the adapter twilio matches twilio and the callee +33123 matches +33*"),
        (call("+33123", adapter="pcm"), "home", "the adapter pcm matches pcm"),
        (call("+1", caller="+15550100"), "boss", "the caller +15550100 matches +15550100"),
        (
            call("+49", caller="+15550100"),
            "europe",
            "the adapter twilio matches twilio and the callee +49 matches +49*",
        ),
    ],
)
def test_the_first_match_wins_and_says_why(info: CallInfo, route: str, why: str) -> None:
    """All conditions of a route must hold; the order of the file decides."""
    found = choose_route(info, SETTINGS, is_remote)
    assert found is not None
    assert (found.settings.name, found.why) == (route, why)


def test_a_call_that_no_route_takes_is_refused_with_reasons() -> None:
    """None, and per route what did not match."""
    info = call(adapter="browser")
    assert choose_route(info, SETTINGS, is_remote) is None
    assert explain_mismatches(info, SETTINGS) == [
        "europe: the adapter browser is none of twilio",
        "boss: the caller (unknown) is none of +15550100",
        "home: the adapter browser is none of pcm, twilio",
    ]


def test_the_ladder_follows_fallbacks_and_skips_regions_that_are_not_allowed() -> None:
    """Fallbacks of fallbacks, no agent twice; local agents have no region."""
    europe, boss, home = SETTINGS.routes
    assert ladder(europe, SETTINGS, is_remote) == ("eu", "sorry")
    assert ladder(boss, SETTINGS, is_remote) == ("us", "eu", "sorry")
    assert ladder(home, SETTINGS, is_remote) == ("us", "sorry")
    assert strangers(home, SETTINGS, is_remote) == ["eu"]


def test_a_route_may_be_named_by_the_address() -> None:
    """A webhook's address may name its route; an unknown one is none."""
    found = named_route("boss", SETTINGS, is_remote)
    assert found is not None
    assert found.why == "the address names the route boss"
    assert named_route("nobody", SETTINGS, is_remote) is None
