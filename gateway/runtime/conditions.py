"""The conditions of routes: whether a call meets them, which, and how they read.

Owns patterns and times of day. Refuses I/O and clocks: what time it is comes with the call.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, time, timedelta
from functools import cache
from typing import Final, get_args
from zoneinfo import ZoneInfo

from gateway.events import CallInfo
from gateway.settings import Day, MatchSettings, TimeSettings
from gateway.terms import Circumstances

DAYS: Final[tuple[str, ...]] = get_args(Day)
"""The days in the order of `datetime.weekday`."""
_RANGE: Final = re.compile(r"(\+?)([0-9]+)-(\+?)([0-9]+)")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_ANYTHING: Final = "*"


# Patterns


def matches(pattern: str, text: str) -> bool:
    """Whether a text is what the pattern says: exact, a prefix with ``*``, or a number in a range."""
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    ends = range_of(pattern)
    return text == pattern if ends is None else ends[0] <= text <= ends[1] and _is_like(text, ends[0])


def why_no_pattern(pattern: str) -> str:
    """What is wrong with a pattern; empty when it can be used."""
    if _ANYTHING in pattern[:-1]:
        return "a * may only stand at the end; shorten it"
    found = _RANGE.fullmatch(pattern)
    if found is None:
        return ""
    if found[1] != found[3] or len(found[2]) != len(found[4]):
        return "both ends of a range need the same number of digits, with + or both without; write +33100000000-+33199999999"
    return "" if found[2] <= found[4] else "the range ends before it begins; swap its ends"


@cache
def range_of(pattern: str) -> tuple[str, str] | None:
    """The ends of a range, each with its plus; None for a pattern that is none."""
    found = _RANGE.fullmatch(pattern)
    return (found[1] + found[2], found[3] + found[4]) if found and not why_no_pattern(pattern) else None


def _is_like(text: str, end: str) -> bool:
    """Whether a text is a number of as many digits as the end of a range, so that the two compare as numbers do."""
    digits = text.removeprefix("+")
    is_number = digits.isascii() and digits.isdecimal()
    return len(text) == len(end) and text.startswith("+") == end.startswith("+") and is_number


def _is_within(pattern: str, patterns: Iterable[str]) -> bool:
    """Whether all that a pattern matches is matched by one of the others."""
    ends = range_of(pattern) or (pattern.removesuffix("*"),) * 2
    if pattern.endswith("*"):
        return any(wide.endswith("*") and ends[0].startswith(wide[:-1]) for wide in patterns)
    return any(all(matches(wide, end) for end in ends) for wide in patterns)


# Time


def why_no_time(settings: TimeSettings) -> dict[str, str]:
    """What is wrong with a time of day, by the key it is said of; empty when it can be used."""
    wrong: dict[str, str] = {}
    try:
        ZoneInfo(settings.zone)
    except (KeyError, OSError, ValueError):  # what is not there, is a folder, or could be no file
        wrong["zone"] = f"there is no time zone {settings.zone!r}; use a name such as Europe/Paris"
    for text in settings.days:
        if not _days_of(text):
            wrong["days"] = f"{text!r} is no day; use {', '.join(DAYS)}, or a range such as mon..fri"
    for key, text in (("from", settings.begins), ("to", settings.ends)):
        if not _CLOCK.fullmatch(text) or (key == "from" and text == "24:00"):
            wrong[key] = f'{text!r} is no time of day; write "08:00", in quotes'
    if not wrong and settings.begins == settings.ends:
        wrong["to"] = "is the same as from, so no call would match; leave both out for the whole day"
    return wrong


def is_open(settings: TimeSettings, at: float) -> bool:
    """Whether a moment, in Unix time, is within the hours; hours past midnight belong to the day they began on."""
    local = datetime.fromtimestamp(at, ZoneInfo(settings.zone))
    days = {day for text in settings.days for day in _days_of(text)} or set(DAYS)
    today, yesterday = (DAYS[(local - timedelta(days=ago)).weekday()] for ago in (0, 1))
    clock = local.time()
    if settings.ends == "24:00" or settings.begins < settings.ends:
        before_end = settings.ends == "24:00" or clock < time.fromisoformat(settings.ends)
        return today in days and time.fromisoformat(settings.begins) <= clock and before_end
    evening = today in days and clock >= time.fromisoformat(settings.begins)
    return evening or (yesterday in days and clock < time.fromisoformat(settings.ends))


def _days_of(text: str) -> tuple[str, ...]:
    """The days that ``wed`` or ``fri..mon`` names; none where it names none."""
    first, is_range, last = text.partition("..")
    last = last if is_range else first
    if first not in DAYS or last not in DAYS:
        return ()
    begin, end = DAYS.index(first), DAYS.index(last)
    return tuple(DAYS[day % 7] for day in range(begin, end + 1 if end >= begin else end + 8))


def _hours(settings: TimeSettings) -> str:
    days = f"{' '.join(settings.days)} " if settings.days else ""
    return f"{days}{settings.begins}-{settings.ends} {settings.zone}"


# Routes


def mismatch(match: MatchSettings, info: CallInfo, told: Circumstances) -> str:
    """Why a call does not meet the conditions; empty when it does."""
    for name, patterns, text in _asked(match, info, told):
        if text is None:
            return f"there is no {name}"
        if not any(matches(pattern, text) for pattern in patterns):
            return f"the {name} {text or '(unknown)'} is none of {', '.join(patterns)}"
    if match.time and not is_open(match.time, told.at):
        return f"{_moment(match.time, told.at)} is not within {_hours(match.time)}"
    return ""


def why_met(match: MatchSettings, info: CallInfo, told: Circumstances) -> str:
    """Which conditions a call meets that meets them all."""
    met = [
        f"the {name} {text} matches {next(pattern for pattern in patterns if matches(pattern, text or ''))}"
        for name, patterns, text in _asked(match, info, told)
    ]
    if match.time:
        met.append(f"{_moment(match.time, told.at)} is within {_hours(match.time)}")
    return " and ".join(met) or "it takes every call that no route before it took"


def condition(match: MatchSettings) -> str:
    """Conditions in words."""
    parts = [f"{name} {' or '.join(patterns)}" for name, patterns in _given(match).items()]
    parts += [_hours(match.time)] if match.time else []
    return " and ".join(parts) or "any call"


def covers(match: MatchSettings, other: MatchSettings) -> bool:
    """Whether every call that meets the other conditions meets these too, as far as can be told from patterns."""
    narrow = _given(other)
    return match.time in (None, other.time) and all(
        name in narrow and all(_is_within(pattern, patterns) for pattern in narrow[name])
        for name, patterns in _given(match).items()
        if _ANYTHING not in patterns
        or name.startswith(("parameter ", "claim "))  # these need not be there at all
    )


def _given(match: MatchSettings) -> dict[str, tuple[str, ...]]:
    """The patterns of a route by what they are asked of."""
    lists = {"adapter": match.adapter, "caller": match.caller, "callee": match.callee, "key": match.key}
    named = {f"parameter {name}": (pattern,) for name, pattern in match.parameters.items()}
    claims = {f"claim {name}": (pattern,) for name, pattern in match.claims.items()}
    return {**{name: patterns for name, patterns in lists.items() if patterns}, **named, **claims}


def _asked(
    match: MatchSettings, info: CallInfo, told: Circumstances
) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    """Per condition its name, its patterns, and what the call has there."""
    texts = {"adapter": info.adapter, "caller": info.caller, "callee": info.callee, "key": told.key}
    for name, patterns in _given(match).items():
        kind, _, key = name.partition(" ")
        if kind == "parameter":
            yield name, patterns, info.parameters.get(key)
        elif kind == "claim":
            yield name, patterns, told.claims.get(key)
        else:
            yield name, patterns, texts[name]


def _moment(settings: TimeSettings, at: float) -> str:
    local = datetime.fromtimestamp(at, ZoneInfo(settings.zone))
    return f"{DAYS[local.weekday()]} {local:%H:%M}"
