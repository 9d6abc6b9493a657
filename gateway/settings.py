"""The configuration as types: one frozen struct per section of ``gateway.yaml``.

Owns names, defaults and ranges. Refuses files and the environment, which `gateway.runtime.config` reads.
Adapters and agents extend `AdapterSettings` and `AgentSettings` with the fields of their own section.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Secret:
    """A text that never prints itself; `reveal` gives it where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


Secrets = tuple[Secret, ...]
"""One value in the file, or a list of them while they are rotated; the first is the one we sign with."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the configuration; unknown keys are errors."""


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
    """Seconds in which nothing comes from a carrier, whose sound never pauses, after which its connection
    counts as lost; null never. The call then waits for the carrier to come back, `limits.return_s`."""


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
    addresses: dict[str, tuple[str, ...]] = {}
    """IP addresses of hosts, by name, so that no name service is asked for them."""


class CatchUpSettings(Section, frozen=True, kw_only=True):
    """What happens to the caller's words while the agent is away."""

    keep_s: Annotated[float, Meta(ge=0, le=30)] = 5.0
    """Newest seconds kept."""
    rate: Annotated[float, Meta(ge=1, le=4)] = 1.5
    """Speed at which they are passed on, after a burst of at most one second."""


class AgentSettings(Section, frozen=True, kw_only=True):
    """What every kind of agent has; each kind adds its own fields."""

    kind: str
    """``voice_agent``, ``offline``, or one that a plugin registers."""
    region: str = "us"
    """``us``, ``eu`` or a name from `regions`."""
    session: dict[str, Any] = {}
    """The provider's session fields, sent as they are in `session.update`."""
    turn_detection: Literal["fast", "standard", "deliberate"] | None = None
    """Profile over `session.input.turn_detection`; None leaves the provider's adaptive mode on."""
    tools: tuple[str, ...] = ()
    """Names of the tools that this agent may call."""
    tool_results: Literal["immediate", "after_reply"] = "immediate"
    """When a result is sent: at once, or after the reply in progress."""
    catch_up: CatchUpSettings = CatchUpSettings()
    """What happens to the caller's words while the agent is away."""
    clips: dict[str, str] = {}
    """House sounds by name (``hold``, ``apology``): WAV files; built-in ones by default."""
    fallback: str = ""
    """Agent that takes over when this one cannot be reached."""
    ready_s: Seconds = 10
    """How long the agent may take until its session is ready."""
    sessions_per_minute: Annotated[int, Meta(ge=1, le=100_000)] = 100
    """New sessions that this process begins in a minute with one key on one host; a busy minute adds a tenth."""
    queue_s: Annotated[float, Meta(ge=0, le=120)] = 20
    """How long a new session may wait for its turn, besides ``ready_s``; when it would be longer, the fallback takes over."""
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """How many failures of this agent bring the next one; a session that is lost for the first time is none."""
    resume_s: Annotated[float, Meta(gt=0, le=30)] = 25
    """How long a lost session is tried to be resumed; the provider keeps it for 30 s."""
    deaf_s: Annotated[float, Meta(ge=2, le=120)] = 12
    """Seconds of the caller's voice without any sign from the agent after which its session is replaced."""
    stalled_reply_s: Annotated[float, Meta(ge=2, le=120)] = 15
    """Silence of an unfinished reply after which it counts as ended."""
    lost_after_s: Annotated[float, Meta(ge=1, le=120)] | None = 6.0
    """Seconds in which nothing comes from its connection, not even the answer to a ping, after which that counts as
    lost; null never. An agent that has never answered a ping is not held to it."""


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
    parameters: dict[str, str] = {}
    """Patterns of what the carrier's webhook says besides, by name; a missing parameter matches nothing."""
    claims: dict[str, str] = {}
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


class AdapterSettings(Section, frozen=True, kw_only=True):
    """What every adapter has; each adds its own fields."""


class KeySettings(Section, frozen=True, kw_only=True):
    """A gateway key."""

    name: str
    """Shown in logs."""
    key: Secrets
    """The key, or several while they are rotated: each as it is, of 16 characters or more, or as ``sha256:`` and the
    hexadecimal digest of it, so that the gateway does not know it."""
    may: tuple[Literal["connect", "tokens", "calls", "provider"], ...] = ("connect",)
    """What its owner may do."""
    routes: tuple[str, ...] = ()
    """Routes it may use; none named means all."""
    calls: Count | None = None
    """How many calls it may have at once."""


class AccessSettings(Section, frozen=True, kw_only=True):
    """Who may do what on the doors that keys guard."""

    keys: tuple[KeySettings, ...] = ()
    """Gateway keys; with none, only this machine is let in."""
    token_s: Annotated[float, Meta(ge=5, le=600)] = 60
    """How long a media token may wait to be used."""


class AddressLimits(Section, frozen=True, kw_only=True):
    """What one address may ask for in a minute, also all at once; an IPv6 address counts as its network of 64 bits.

    What carriers have signed, and what comes with a gateway key, does not count.
    """

    upgrades: Count = 300
    """Media sockets, of clients with a minted token and of those who show no proof; more get 429."""
    requests: Count = 600
    """Other requests: pages, wrong addresses, webhooks and requests for tokens without proof; more get 429."""
    wrong_proofs: Count = 100
    """Wrong or missing proofs on all doors; more get 429 and no line in the log. A right one is let in all the same."""
    addresses: Annotated[int, Meta(ge=100, le=1_000_000)] = 10_000
    """Addresses that are remembered, the latest ones."""


class KeyLimits(Section, frozen=True, kw_only=True):
    """What one gateway key may ask for in a minute, also all at once; what comes with tokens that it minted counts too."""

    upgrades: Count = 1200
    """Media sockets; more get 429."""
    tokens: Count = 1200
    """Tokens that are minted; more get 429."""
    requests: Count = 1200
    """Other requests, such as to `/v1/calls`; more get 429."""


class LimitSettings(Section, frozen=True, kw_only=True):
    """Bounds of a call and of all calls."""

    calls: Count = 400
    """Calls at once."""
    call_s: Seconds = 3600
    """Longest call."""
    silence_s: Seconds = 60
    """Longest time in which nobody says anything."""
    offline_calls: Count = 8
    """Calls at once for which the offline agent listens; more get clips and keys."""
    calls_per_caller: Count = 3
    """Calls at once from one number."""
    per_address: AddressLimits = AddressLimits()
    """What an address may ask for that shows no proof."""
    per_key: KeyLimits = KeyLimits()
    """What a gateway key may ask for."""
    return_s: Annotated[float, Meta(gt=0, le=300)] = 30
    """How long a call waits for a caller whose connection broke."""
    goodbye_s: Annotated[float, Meta(gt=0, le=120)] = 20
    """How long an ending waits for the last words to be heard."""
    inbox: Annotated[int, Meta(ge=64, le=100_000)] = 1024
    """Events of one call that may wait to be read."""
    agent_outbox_s: Annotated[float, Meta(ge=1, le=30)] = 5
    """Seconds of audio that may wait towards an agent; older audio is dropped."""
    tool_calls: Count = 8
    """Tools of one call that may run at once."""


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


class RecordsSettings(Section, frozen=True, kw_only=True):
    """What is kept of calls."""

    path: str = ""
    """Folder of call journals, whatever its name; made where there is none. Empty keeps none."""
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """Days after which they are deleted."""
    max_bytes: Annotated[int, Meta(ge=1_048_576)] = 1_073_741_824
    """Size of all of them together; when it is reached, the oldest ones are deleted."""
    call_bytes: Annotated[int, Meta(ge=65_536)] = 67_108_864
    """Size of one of them, the sound in a full one not counted; what comes after is left out, and it says so."""
    transcripts: bool = False
    """Whether words, keys and whole numbers are kept."""
    form: Literal["compact", "full"] = "compact"
    """``compact`` keeps how long and how loud sound was; ``full`` keeps every byte of it."""


class AuditSettings(Section, frozen=True, kw_only=True):
    """Who was let in and who was not, in lines that are chained to each other."""

    path: str = ""
    """File of the trail, JSON lines; empty keeps none. One process writes it."""
    key: Secrets = ()
    """Key without which nobody can write the chain anew; several while it is rotated: the first seals, all are believed."""
    sync_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Longest time for which lines may be with the system and not on the disk; 0 waits for the disk after every line."""
    max_bytes: Annotated[int, Meta(ge=65_536)] = 67_108_864
    """Size at which a file is put aside, under the number of its last line, and another one goes on."""
    keep_files: Count = 1000
    """How many of those are kept; the trail itself notes which were deleted."""


class RecordingSettings(Section, frozen=True, kw_only=True):
    """Whether calls are recorded."""

    enabled: bool = False
    """Off unless asked for."""


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

    @property
    def is_default(self) -> bool:
        """Whether nothing was configured that proves callers from outside this machine."""
        return not self.server.public_url and not self.access.keys


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
