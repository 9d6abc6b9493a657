"""What an attack is: what is done, to which doors, and what must come of it."""

from collections.abc import Awaitable, Callable

from castle import Castle, Found, Place
from gates import Gate
from msgspec import Struct

Deed = Callable[[Castle, Gate], Awaitable[list[Found]]]
Judge = Callable[[Found], bool]
NO_PROOF = "came without valid proof"
POLICY, TOO_BIG, PROTOCOL = 1008, 1009, 1002


class Attack(Struct, frozen=True, kw_only=True):
    """A named case."""

    name: str
    does: str
    """A sentence for the page."""
    answer: str
    """What the gateway does, for the page."""
    deed: Deed
    """Do it; gives what came of every attempt."""
    refused: Judge
    """Whether an attempt was answered as it must be."""
    place: Place = "public"
    suits: Callable[[Gate], bool] = lambda _gate: True
    """Whether there is such a thing at this door."""
    loud: bool = False
    """Whether it lasts so long that the pace of other calls can be judged by it alone."""


def with_status(*statuses: int) -> Judge:
    """It was answered one of these, and never became a socket."""
    return lambda found: found.status in statuses and not found.heard


def without_proof(found: Found) -> bool:
    """It was told what everybody is told: the same sentence before the upgrade, or a close by policy after it."""
    if found.heard:
        return False
    if found.status == 101:
        return found.ending.code == POLICY
    return found.status in (401, 403, 404, 422)


def with_code(*codes: int) -> Judge:
    """It was closed with one of these, once it was open."""
    return lambda found: found.status == 101 and found.ending.code in codes and not found.heard


def either(*judges: Judge) -> Judge:
    """One of several answers."""
    return lambda found: any(judge(found) for judge in judges)


def is_carrier(gate: Gate) -> bool:
    """Whether calls are announced by webhooks."""
    return gate.is_carrier


def is_client(gate: Gate) -> bool:
    """Whether peers prove themselves by a key, or by being on this machine."""
    return not gate.is_carrier


def is_adapter(gate: Gate) -> bool:
    """Whether it takes calls."""
    return gate.name != "api"
