"""Conditions that are well written and that no call of a carrier meets: numbers without their plus, keys, claims.

Owns the sentences, and which of them is a mistake: one that leaves a route without any call. Where other adapters
bring calls too, whose numbers are whatever their clients say, it is a note. Refuses patterns that are none
(`conditions.why_no_pattern`).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from gateway.contracts import Adapter
from gateway.runtime.conditions import range_of, why_no_pattern
from gateway.settings import MatchSettings, Settings

SHORTEST_NUMBER: Final = 8
"""Digits of the shortest telephone number with its country code; what is shorter is an extension or a service."""
_WRITTEN: Final = re.compile(r"[+\d\s().\-/]*\d[+\d\s().\-/]*", re.ASCII)
"""What people write for a telephone number."""


class Unmet(NamedTuple):
    """A condition that calls do not meet."""

    path: tuple[str | int, ...]
    """Where it is, below ``match``."""
    sentence: str
    """What is wrong with it, and what to do."""
    is_wrong: bool
    """Whether no call at all can meet it."""


def carriers_among(adapters: Mapping[str, Adapter]) -> frozenset[str]:
    """The adapters whose calls a carrier brings, with numbers in E.164 and without a gateway key."""
    return frozenset(name for name, adapter in adapters.items() if adapter.proof == "carrier")


def unmet(match: MatchSettings, settings: Settings, carriers: Collection[str]) -> Iterator[Unmet]:
    """What calls of the carriers among a route's adapters do not meet."""
    served = match.adapter or tuple(settings.adapters)
    ours = [name for name in served if name in carriers]
    if not ours:
        return
    only_carriers = len(ours) == len(served)
    for name, patterns in (("caller", match.caller), ("callee", match.callee)):
        for position, pattern in enumerate(patterns):
            path = (name, position)
            if why_no_pattern(pattern):
                continue
            if why := _why_no_number(pattern):
                yield Unmet(path, f"calls of {' and '.join(ours)} do not match: {why}", only_carriers)
            elif why := _why_too_short(pattern):
                yield Unmet(path, why, is_wrong=False)
    if only_carriers:
        yield from _of_clients(match, ours)


def _of_clients(match: MatchSettings, carriers: Iterable[str]) -> Iterator[Unmet]:
    advice = (
        f"calls of {' and '.join(carriers)} have none; leave it out, or let the route take pcm or browser"
    )
    for position, pattern in enumerate(match.key):
        if pattern != "*":  # which an absent key matches, too
            yield Unmet(("key", position), f"is a gateway key's name, and {advice}", is_wrong=True)
    for name in match.claims:
        yield Unmet(("claims", name), f"is said of clients with a token, and {advice}", is_wrong=True)


def _why_no_number(pattern: str) -> str:
    """Why no number in E.164 matches a pattern that reads like one; empty when some may."""
    if ends := range_of(pattern):
        is_number = len(ends[0]) >= SHORTEST_NUMBER and not ends[0].startswith("+")
        return _written(f"+{ends[0]}-+{ends[1]}") if is_number else ""
    body = pattern.removesuffix("*")
    star = pattern[len(body) :]
    if not _WRITTEN.fullmatch(body):
        return ""  # a name, a SIP address, or everything
    digits = re.sub(r"\D", "", body)
    if body == digits and len(digits) < SHORTEST_NUMBER and not star:
        return ""  # a short number of the carrier's own, which has no country
    if digits.startswith("00"):
        return _written(f"+{digits[2:]}{star}")
    if digits.startswith("0"):
        return "numbers come with a plus and the country's code; write these in place of the 0, as in +33*"
    right = f"+{digits}{star}"
    return "" if pattern == right else _written(right)


def _written(right: str) -> str:
    return f"numbers come as a plus and digits alone; write {right}"


def _why_too_short(pattern: str) -> str:
    ends = range_of(pattern)
    if ends is None or not ends[0].startswith("+") or len(ends[0]) > SHORTEST_NUMBER:
        return ""
    return (
        f"is a range of numbers of {len(ends[0]) - 1} digits, and telephone numbers have more; give its ends as many "
        "digits as the numbers have, as in +33100000000-+33199999999"
    )
