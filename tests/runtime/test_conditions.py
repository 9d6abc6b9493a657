"""Tests of conditions: patterns, ranges and hours, each with what is said of it when it cannot be used."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.audio import MULAW_8K
from gateway.events import CallInfo
from gateway.runtime.conditions import (
    condition,
    covers,
    is_open,
    matches,
    mismatch,
    why_met,
    why_no_pattern,
    why_no_time,
)
from gateway.settings import MatchSettings, TimeSettings
from gateway.terms import Circumstances

PARIS = "Europe/Paris"
OFFICE = TimeSettings(zone=PARIS, days=("mon..fri",), begins="08:00", ends="18:00")
NIGHT = TimeSettings(zone=PARIS, days=("fri",), begins="22:00", ends="06:00")


def moment(text: str, zone: str = PARIS) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def call(**given: str) -> CallInfo:
    return CallInfo("c", "twilio", MULAW_8K, callee="+33123", parameters=given)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("+33100000000", True),
        ("+33150000000", True),
        ("+33199999999", True),
        ("+33200000000", False),
        ("+33099999999", False),
        ("+3315000000", False),
        ("+331500000000", False),
        ("33150000000", False),
        ("133150000000", False),
        ("+3315000000x", False),
        ("+3315000000²", False),
        ("", False),
    ],
)
def test_a_range_takes_numbers_of_its_own_length_between_its_ends(text: str, answer: bool) -> None:
    """Both ends belong to it; a number of another length, or with something else in it, does not."""
    assert matches("+33100000000-+33199999999", text) is answer


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("+33*", ""),
        ("+33100-+33199", ""),
        ("100-199", ""),
        ("alice-smith", ""),
        ("+3*3", "a * may only stand at the end; shorten it"),
        ("+33100-33199", "both ends of a range need the same number of digits"),
        ("+33100-+3319", "both ends of a range need the same number of digits"),
        ("+33199-+33100", "the range ends before it begins; swap its ends"),
    ],
)
def test_a_pattern_that_cannot_match_says_why(pattern: str, why: str) -> None:
    """One sentence for each mistake, none for what can be used."""
    assert why_no_pattern(pattern).startswith(why)
    assert bool(why_no_pattern(pattern)) is bool(why)


@pytest.mark.parametrize(
    ("hours", "at", "answer"),
    [
        (OFFICE, "2026-11-20T08:00", True),  # a Friday
        (OFFICE, "2026-11-20T17:59:59", True),
        (OFFICE, "2026-11-20T18:00", False),
        (OFFICE, "2026-11-20T07:59", False),
        (OFFICE, "2026-11-21T10:00", False),
        (NIGHT, "2026-11-20T22:00", True),
        (NIGHT, "2026-11-21T05:59", True),
        (NIGHT, "2026-11-21T06:00", False),
        (NIGHT, "2026-11-20T05:00", False),
        (NIGHT, "2026-11-21T23:00", False),
        (TimeSettings(zone=PARIS, days=("sat..mon",)), "2026-11-23T23:59", True),
        (TimeSettings(zone=PARIS, days=("sat..mon",)), "2026-11-24T00:00", False),
        (TimeSettings(zone=PARIS, begins="12:00"), "2026-11-24T23:59:59", True),
    ],
)
def test_hours_are_those_of_their_zone(hours: TimeSettings, at: str, answer: bool) -> None:
    """The first minute belongs to them, the last does not; a night belongs to the day on which it begins."""
    assert is_open(hours, moment(at)) is answer


def test_hours_follow_summer_time() -> None:
    """Eight in Paris is seven o'clock UTC in winter and six in summer."""
    assert is_open(OFFICE, moment("2026-11-20T07:00", "UTC"))
    assert not is_open(OFFICE, moment("2026-11-20T06:59", "UTC"))
    assert is_open(OFFICE, moment("2026-07-17T06:00", "UTC"))


@pytest.mark.parametrize(
    ("hours", "wrong"),
    [
        (OFFICE, set()),
        (TimeSettings(zone=PARIS), set()),
        (TimeSettings(zone="Europe/Atlantis"), {"zone"}),
        (TimeSettings(zone="../etc/passwd"), {"zone"}),
        (TimeSettings(zone=""), {"zone"}),
        (TimeSettings(zone="Europe"), {"zone"}),
        (TimeSettings(zone=PARIS, days=("someday",)), {"days"}),
        (TimeSettings(zone=PARIS, days=("mon..",)), {"days"}),
        (TimeSettings(zone=PARIS, begins="8:00"), {"from"}),
        (TimeSettings(zone=PARIS, begins="24:00"), {"from"}),
        (TimeSettings(zone=PARIS, ends="25:00"), {"to"}),
        (TimeSettings(zone=PARIS, begins="08:00", ends="08:00"), {"to"}),
    ],
)
def test_hours_that_cannot_be_told_say_which_key_is_wrong(hours: TimeSettings, wrong: set[str]) -> None:
    """Zone, days and both times are judged each for itself."""
    assert set(why_no_time(hours)) == wrong


@pytest.mark.parametrize(
    ("match", "told", "why"),
    [
        (MatchSettings(parameters={"CallerCountry": "FR"}), Circumstances(), ""),
        (
            MatchSettings(parameters={"CallerCountry": "DE"}),
            Circumstances(),
            "the parameter CallerCountry FR is none of DE",
        ),
        (
            MatchSettings(parameters={"ForwardedFrom": "*"}),
            Circumstances(),
            "there is no parameter ForwardedFrom",
        ),
        (MatchSettings(key=("partner-*",)), Circumstances(key="partner-7"), ""),
        (MatchSettings(key=("partner-*",)), Circumstances(), "the key (unknown) is none of partner-*"),
        (MatchSettings(claims={"plan": "gold"}), Circumstances(claims={"plan": "gold"}), ""),
        (MatchSettings(claims={"plan": "gold"}), Circumstances(), "there is no claim plan"),
        (
            MatchSettings(time=OFFICE),
            Circumstances(at=moment("2026-11-21T10:00")),
            "sat 10:00 is not within mon..fri 08:00-18:00 Europe/Paris",
        ),
    ],
)
def test_every_condition_says_why_it_is_not_met(match: MatchSettings, told: Circumstances, why: str) -> None:
    """Parameters, keys, claims and hours; what is absent matches no pattern, not even a star."""
    assert mismatch(match, call(CallerCountry="FR"), told) == why


def test_all_conditions_are_told_together() -> None:
    """In the order of the file's sections, for the log and for the table of routes."""
    match = MatchSettings(callee=("+33*",), key=("web",), claims={"plan": "gold"}, time=OFFICE)
    told = Circumstances(key="web", claims={"plan": "gold"}, at=moment("2026-11-20T09:30"))
    assert why_met(match, call(), told) == (
        "the callee +33123 matches +33* and the key web matches web and the claim plan gold matches gold"
        " and fri 09:30 is within mon..fri 08:00-18:00 Europe/Paris"
    )
    assert condition(match) == (
        "callee +33* and key web and claim plan gold and mon..fri 08:00-18:00 Europe/Paris"
    )


@pytest.mark.parametrize(
    ("wide", "narrow", "answer"),
    [
        (MatchSettings(), MatchSettings(time=OFFICE), True),
        (MatchSettings(time=OFFICE), MatchSettings(), False),
        (MatchSettings(time=OFFICE), MatchSettings(time=OFFICE), True),
        (MatchSettings(time=OFFICE), MatchSettings(time=NIGHT), False),
        (MatchSettings(callee=("+33*",)), MatchSettings(callee=("+33100-+33199",)), True),
        (MatchSettings(callee=("+33100-+33199",)), MatchSettings(callee=("+33150",)), True),
        (MatchSettings(callee=("+33100-+33199",)), MatchSettings(callee=("+33120-+33201",)), False),
        (MatchSettings(callee=("+33100-+33199",)), MatchSettings(callee=("+331*",)), False),
        (MatchSettings(callee=("*",)), MatchSettings(), True),
        (MatchSettings(claims={"plan": "*"}), MatchSettings(), False),
        (MatchSettings(claims={"plan": "*"}), MatchSettings(claims={"plan": "gold"}), True),
        (MatchSettings(parameters={"a": "b"}), MatchSettings(parameters={"c": "b"}), False),
    ],
)
def test_a_route_that_takes_all_calls_of_a_later_one_is_found(
    wide: MatchSettings, narrow: MatchSettings, answer: bool
) -> None:
    """Ranges lie within prefixes and each other; hours only within none or the same."""
    assert covers(wide, narrow) is answer
