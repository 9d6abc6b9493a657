"""The configuration as types: one frozen struct per section of ``gateway.yaml``.

Owns names, defaults and ranges, and is where all of them are imported from; the larger sections stand in modules of
their own. Refuses files and the environment, which `gateway.runtime.config` reads. Adapters and agents extend
`AdapterSettings` and `AgentSettings` with the fields of their own section.
"""

from typing import Literal

from msgspec import field

from gateway.settings.access import AccessSettings, KeySettings
from gateway.settings.agents import AgentSettings, CatchUpSettings
from gateway.settings.limits import AddressLimits, KeyLimits, LimitSettings
from gateway.settings.records import AuditSettings, RecordingSettings, RecordsSettings
from gateway.settings.regions import BUILT_IN_REGIONS, RegionSettings
from gateway.settings.routes import Day, MatchSettings, RouteSettings, TimeSettings
from gateway.settings.section import Count, Port, Seconds, Secret, Secrets, Section
from gateway.settings.server import ServerSettings

__all__ = [
    "BUILT_IN_REGIONS",
    "AccessSettings",
    "AdapterSettings",
    "AddressLimits",
    "AgentSettings",
    "AuditSettings",
    "CatchUpSettings",
    "Count",
    "Day",
    "KeyLimits",
    "KeySettings",
    "LimitSettings",
    "MatchSettings",
    "PluginsSettings",
    "Port",
    "RecordingSettings",
    "RecordsSettings",
    "RegionSettings",
    "RouteSettings",
    "Seconds",
    "Secret",
    "Secrets",
    "Section",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "TelemetrySettings",
    "TimeSettings",
]


class AdapterSettings(Section, frozen=True, kw_only=True):
    """What every adapter has; each adds its own fields."""


class StoreSettings(Section, frozen=True, kw_only=True):
    """What calls share."""

    kind: Literal["memory", "redis"] = "memory"
    """``memory`` for one process, ``redis`` for several."""
    url: str = ""
    """Address of the Redis server."""


class TelemetrySettings(Section, frozen=True, kw_only=True):
    """Where traces go."""

    otlp_endpoint: str = ""
    """OTLP over HTTP; empty exports nothing."""
    content: bool | None = None
    """Whether what people say may appear in spans and logs."""


class PluginsSettings(Section, frozen=True, kw_only=True):
    """Which plugins are loaded."""

    disabled: tuple[str, ...] = ()
    """Names of plugins to leave out."""
    folder: str = "plugins.d"
    """Folder of single-file plugins."""


class Settings(Section, frozen=True, kw_only=True):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    regions: dict[str, RegionSettings] = field(default_factory=dict)
    agents: dict[str, AgentSettings] = field(default_factory=dict)
    routes: tuple[RouteSettings, ...] = ()
    adapters: dict[str, AdapterSettings] = field(default_factory=dict)
    access: AccessSettings = AccessSettings()
    limits: LimitSettings = LimitSettings()
    store: StoreSettings = StoreSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    records: RecordsSettings = RecordsSettings()
    audit: AuditSettings = AuditSettings()
    recording: RecordingSettings = RecordingSettings()
    plugins: PluginsSettings = PluginsSettings()
