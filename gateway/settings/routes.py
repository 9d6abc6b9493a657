"""The section `routes`: which agent answers which calls, and when."""

from typing import Literal

from msgspec import field

from gateway.settings.section import Count, Section

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class TimeSettings(Section, frozen=True, kw_only=True):
    """Hours of a week; hours past midnight belong to the day on which they begin."""

    zone: str
    """Time zone, such as ``Europe/Paris``."""
    days: tuple[str, ...] = ()
    """Days such as ``sat`` or ``mon..fri``; none named are all."""
    begins: str = field(default="00:00", name="from")
    """First minute, as in ``"08:00"``."""
    ends: str = field(default="24:00", name="to")
    """Minute before which they end, as in ``"18:00"``."""


class MatchSettings(Section, frozen=True, kw_only=True):
    """Conditions of a route; all that are given must hold."""

    adapter: tuple[str, ...] = ()
    """Names of adapters."""
    caller: tuple[str, ...] = ()
    """Patterns of the calling number: exact, a prefix with ``*``, or a range such as ``+33100000000-+33199999999``."""
    callee: tuple[str, ...] = ()
    """Patterns of the called number, as for `caller`."""
    key: tuple[str, ...] = ()
    """Patterns of the name of the gateway key with which the client comes, or with which its token was minted."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Patterns of what the carrier's webhook says besides, by name; a missing parameter matches nothing."""
    claims: dict[str, str] = field(default_factory=dict)
    """Patterns of the claims with which the client's token was minted, by name; a missing one matches nothing."""
    time: TimeSettings | None = None
    """When the route is open."""


class RouteSettings(Section, frozen=True, kw_only=True):
    """Which agent answers which calls; the first match wins."""

    name: str
    """Shown in logs and tables."""
    agent: str
    """Name of the agent."""
    match: MatchSettings = MatchSettings()
    """Conditions; none match every call."""
    client_may: tuple[str, ...] = ()
    """Session fields that a client of the Voice Agent API may set, or parts of them as in ``input.keyterms``."""
    token_may: tuple[str, ...] | None = None
    """The same for clients with a minted token, of those in ``client_may``; None is all but ``agent_id`` and ``webhook``."""
    allow_regions: tuple[str, ...] = ()
    """Regions to which a call of this route may fail over, besides its agent's own."""
    calls: Count | None = None
    """Calls at once on this route, within `limits.calls`; None sets no limit of its own."""
    dtmf: Literal["ignore", "text"] = "ignore"
    """Whether the agent is told in words which keys the caller pressed."""
