"""The section `server`: where the gateway listens and what a connection may cost."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.settings.section import Count, Port, Seconds, Section


class ServerSettings(Section, frozen=True, kw_only=True):
    """Where the gateway listens and what a connection may cost."""

    host: str = "127.0.0.1"
    """Address of the public port."""
    port: Port = 8080
    """Public port; 0 picks a free one."""
    admin_host: str = "127.0.0.1"
    """Address of the admin port."""
    admin_port: Port = 8081
    """Admin port; 0 picks a free one."""
    public_url: str = ""
    """Origin under which carriers reach the gateway, such as ``https://voice.example.com``; what they sign."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies that are believed when they say in `X-Forwarded-For` who asked them, such as ``10.0.0.0/8``."""
    playground: bool = True
    """Whether ``/`` serves the playground."""
    egress: Literal["open", "strict"] = "open"
    """``strict`` refuses every connection of the process to a host that no region's book lists."""
    drain_s: Seconds = 600
    """How long live calls may go on after SIGTERM."""
    sockets: Annotated[int, Meta(ge=16, le=1_000_000)] = 4096
    """Connections to the public port at once; over it, the oldest that has proven nothing makes room, or one at rest."""
    head_s: Annotated[float, Meta(ge=0.1, le=120)] = 10
    """How long the head of a request may take: of the first from the beginning of the connection, of others from their first byte."""
    first_message_s: Seconds = 10
    """How long a new media socket may say nothing."""
    message_bytes: Annotated[int, Meta(ge=65_536, le=16_777_216)] = 1_048_576
    """Largest message that a media socket may send."""
    audio_ahead_s: Annotated[float, Meta(ge=1, le=600)] = 30
    """How far a caller's sound may run ahead of the clock; what is further ahead stays unread until its time has come."""
    close_s: Seconds = 5
    """How long a connection may take to close."""
    wire_errors: Count = 10
    """Unreadable messages in a row after which a connection is closed."""
    lost_after_s: Annotated[float, Meta(ge=1, le=120)] | None = 5.0
    """Seconds in which nothing comes from a caller's connection after which it counts as lost; null never. Carriers sound
    all the time; other clients are pinged, and one that has never answered a ping is not held to it. The call then waits
    for the caller to come back, `limits.return_s`, where its adapter allows that."""
