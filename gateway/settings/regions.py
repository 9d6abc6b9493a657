"""The section `regions`: the address book, with the two regions that are built in."""

from msgspec import field

from gateway.settings.section import Section


class RegionSettings(Section, frozen=True, kw_only=True):
    """The only hosts that calls of a region may reach: its book. A section `us` or `eu` adds to the built-in one."""

    voice_agent: str = ""
    """WebSocket address of the Voice Agent API; needed but in `us` and `eu`."""
    rest: str = ""
    """REST base of the Voice Agent API."""
    hosts: tuple[str, ...] = ()
    """Hosts for any purpose: ``crm.internal`` stands for port 443, ``crm.internal:8080`` for that one."""
    carrier: tuple[str, ...] = ()
    """Hosts at which carriers are asked to hang up and transfer; none named are those in `adapters`."""
    tools: tuple[str, ...] = ()
    """Hosts that tools may reach."""
    telemetry: tuple[str, ...] = ()
    """Hosts that traces may go to."""
    webhooks: tuple[str, ...] = ()
    """Hosts that may be told what happens in calls."""
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """IP addresses of hosts, by name, so that no name service is asked for them."""


BUILT_IN_REGIONS = {
    # Only a regional host keeps data in its region; the unqualified host is routed to the nearest edge
    # (reference: Voice Agent API, 1.1).
    "us": RegionSettings(
        voice_agent="wss://agents.us.assemblyai.com/v1/ws", rest="https://agents.us.assemblyai.com/v1"
    ),
    "eu": RegionSettings(
        voice_agent="wss://agents.eu.assemblyai.com/v1/ws", rest="https://agents.eu.assemblyai.com/v1"
    ),
}
