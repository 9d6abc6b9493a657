"""The shapes that rooms agree on: codecs, adapters, agents, tools, observers and the store.

Owns interfaces and the values that pass between them. Refuses behaviour, beyond what a value tells of itself.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from gateway.audio import AudioFormat
from gateway.commands import Command, Entry, OpenAgent
from gateway.errors import PluginError
from gateway.events import CallInfo, Event
from gateway.redaction import Redactor
from gateway.settings import AdapterSettings, AgentSettings, RegionSettings, RouteSettings
from gateway.terms import CallTerms
from gateway.tools import Tool

# Wires


class Codec(Protocol):
    """Turns one connection's messages into events and commands into messages; pure, one per connection."""

    def decode(self, message: str | bytes) -> list[Event]:
        """Read a message.

        Raises:
            WireError: when the dialect does not know it, in one sentence for the peer.
        """
        ...

    def encode(self, command: Command) -> list[str | bytes]:
        """Write the messages that carry out a command; none when the dialect has no words for it."""
        ...


class ClientCodec(Codec, Protocol):
    """Codec of a dialect that is refused in words of its own and whose client may come back by what it says."""

    resumes: str
    """After the first message: the session that the client wants to go on with; empty for a new one."""
    session: Any
    """What is known of the client's session, to be given to the codec of its next connection."""

    def go_on(self, session: Any) -> None:
        """Go on with a session that began on another connection."""

    def turn_away(self, code: str, message: str) -> list[str | bytes]:
        """Write why the connection is not taken, with an error code of the Voice Agent API."""


# Callers


class Knock(Struct, frozen=True):
    """A request at the public door, webhook or upgrade, before anything in it is believed."""

    method: str
    """HTTP method, upper case."""
    path: str
    """Path as received."""
    query: str = ""
    """Query as received, without the question mark."""
    headers: Mapping[str, str] = {}
    """Header fields, names in lower case."""
    body: bytes = b""
    """The body; empty for an upgrade."""
    origin: str = ""
    """Public origin that the peer must have used: scheme, host, port; ``ws`` and ``wss`` for upgrades."""


class Upgrade(Struct, frozen=True):
    """What is known of a media socket when its first message is read."""

    call_id: str
    """The call that it opens or continues."""
    query: Mapping[str, str] = {}
    """Decoded query parameters."""
    caller: str = ""
    """From the verified webhook; empty where there was none."""
    callee: str = ""
    """From the verified webhook; empty where there was none."""
    carrier_call_id: str = ""
    """From the verified webhook; empty where there was none."""
    parameters: Mapping[str, str] = {}
    """From the verified webhook; empty where there was none."""
    admitted_by: Literal["carrier", "key", "token", "machine"] = "key"
    """What the socket was let in for."""
    session_id: str = ""
    """Name of the call towards its client, which may come back by it: nobody can guess it, also from the call's id."""
    resume_token: str = ""
    """Proof by which its client may come back, for dialects that show one."""
    session_s: float = 3600.0
    """Longest call that is allowed."""
    clock: Callable[[], float] = lambda: 0.0
    """Unix time in seconds, for dialects whose messages say when they were sent; a codec asks no other clock."""


class Visit(Struct, frozen=True):
    """A webhook of a carrier, proven and read."""

    kind: Literal["call", "after", "status"]
    """A new call, the stream of a call has ended, or news of a call."""
    carrier_call_id: str
    """The carrier's id of the call."""
    caller: str = ""
    """Calling party."""
    callee: str = ""
    """Called party."""
    over: bool = False
    """Whether the carrier says that the phone call is over."""
    parameters: Mapping[str, str] = {}
    """Anything else worth routing by."""
    detail: str = ""
    """What the carrier says went wrong; for the log."""


class Invitation(Struct, frozen=True):
    """What a call document tells the carrier about our media socket."""

    media_url: str
    """Address of the socket, with the one-time token in its path."""
    after_url: str
    """Where the carrier asks what follows the stream."""
    status_url: str
    """Where the carrier reports on the call."""
    carrier_call_id: str = ""
    """The carrier's id of the call."""
    token: str = ""
    """The one-time token by itself, for carriers that can give it back when the stream starts."""
    parameters: Mapping[str, str] = {}
    """To be given back when the stream starts."""


class Document(Struct, frozen=True):
    """An answer to a webhook."""

    body: str
    """Text of the document."""
    content_type: str
    """Its media type."""


class HttpRequest(Struct, frozen=True):
    """A request to a carrier's REST interface."""

    method: str
    """HTTP method, upper case."""
    url: str
    """Absolute address."""
    headers: Mapping[str, str] = {}
    """Header fields, with the credentials."""
    body: bytes = b""
    """The body."""
    done_when: tuple[int, ...] = ()
    """Statuses besides 2xx that mean that it is already so."""


class Adapter(Struct, frozen=True, kw_only=True):
    """A caller's dialect: codec, proof, and what the carrier can do."""

    name: str
    """As in ``/v1/ws/{name}``."""
    codec: Callable[[Upgrade, Any], Codec]
    """Makes the codec of one connection from the upgrade and the adapter's settings.

    Raises WireError when the upgrade asks for something that the dialect does not have.
    """
    settings: type[AdapterSettings]
    """Struct of the adapter's section."""
    proof: Literal["key", "carrier"]
    """Who vouches for a media socket: a gateway key, or the carrier's signature and our one-time token."""
    authorize: Callable[[Knock, Any, float], str] | None = None
    """For carriers: checks the signature on a webhook or upgrade at a Unix time; answers "" or the reason."""
    token_needed: Callable[[Any], bool] = lambda _settings: True
    """For carriers: whether the media socket also needs our one-time token."""
    number: Callable[[str], str] = lambda given: given
    """For carriers: a telephone number as the carrier writes it, in the form that routes have (E.164, with the plus)."""
    visit: Callable[[Knock, str], Visit] | None = None
    """For carriers: reads a proven webhook; the kind is what its address stands for, the visit says what it is."""
    first_token: Callable[[str | bytes], str | None] | None = None
    """For carriers: our one-time token in a first message; None where the next one may have it, "" where none has."""
    serial: Callable[[Knock], str] | None = None
    """For carriers whose proofs are numbered: the number of a proven webhook, which is good for that one only."""
    answer: Callable[[Invitation, Any], Document] | None = None
    """For carriers: the document that leads a call to our media socket."""
    goodbye: Callable[[str], Document | None] | None = None
    """For carriers: the document that ends a call, after a sentence if one is given; None where it ends without."""
    control: Callable[[Command, CallInfo, Any, float], HttpRequest | None] | None = None
    """For carriers: the request that hangs up or transfers at a Unix time; None when the settings hold no credentials."""
    marks: bool = False
    """Whether the far end says what it has played."""
    marks_at_will: bool = False
    """Whether only some far ends do: marks are believed from the first one that comes back."""
    clears: bool = False
    """Whether the far end can drop what it has buffered."""
    lead_ms: float | None = None
    """How far ahead of the caller's ear we send; None is 2 s where the far end can clear, else 200 ms."""
    steady: bool = False
    """Whether the far end's sound never pauses, so that a connection on which nothing comes is lost; else it is pinged."""
    closing_leaves: bool = False
    """Whether a closed socket ends the call; else the caller may come back."""
    in_band: bool = False
    """Whether a `ClientCodec` refuses whoever is not let in, and its first message says for which call the socket is."""

    def __post_init__(self) -> None:
        """Refuse an adapter without a proof."""
        if self.proof == "carrier" and (self.authorize is None or self.visit is None or self.answer is None):
            raise PluginError(
                f"adapter {self.name!r} says that its carrier proves it but has no authorize, visit and answer; "
                "add them, or use proof='key'"
            )


# Agents


class SessionMemory(Struct):
    """What an agent's connections of one call remember from one to the next."""

    session_id: str = ""
    """The provider's id of the session."""
    resume_token: str = ""
    """Proof for resuming it."""


class AgentCall(Struct, frozen=True):
    """Everything that an agent's plan may depend on."""

    name: str
    """Name of the agent in the configuration."""
    settings: Any
    """Its section."""
    region: RegionSettings
    """The address book of its region."""
    info: CallInfo
    """Who calls whom."""
    tools: tuple[Tool, ...]
    """The tools that it may call."""
    opening: OpenAgent
    """The command that asks for it."""
    memory: SessionMemory
    """What earlier connections of this call left."""


class Dial(Struct, frozen=True):
    """Plan: open a WebSocket to an agent elsewhere."""

    url: str
    """Address; its host must be in the region's book."""
    headers: Mapping[str, str]
    """With the credentials."""
    codec: Codec
    """For this connection."""
    audio: AudioFormat
    """Format on this wire."""


class Local(Struct, frozen=True):
    """Plan: talk to an agent that lives in this process."""

    service: str
    """Name of the service in the runtime."""
    options: Any
    """The service's own options for this session."""
    codec: Codec
    """For this connection."""
    audio: AudioFormat
    """Format on this wire."""


Plan = Dial | Local


class AgentKind(Struct, frozen=True):
    """A kind of agent that the configuration may name."""

    name: str
    """As in ``kind: …``."""
    settings: type[AgentSettings]
    """Struct of its section."""
    plan: Callable[[AgentCall], Plan]
    """How to reach it."""
    remote: bool = True
    """Whether audio leaves this process, so that the region's address book applies."""


class Route(Struct, frozen=True):
    """Where a call goes, and why."""

    settings: RouteSettings
    """The route."""
    agents: tuple[str, ...]
    """Names of its agents, in the order in which they are tried."""
    why: str
    """For people."""


# Observers and the store


class Observer(Protocol):
    """A reading of one call's journal."""

    wants: tuple[type, ...]
    """Types of events and commands that it is shown."""

    def see(self, entry: Entry) -> None:
        """Take note; runs between two frames of audio, so it must be quick."""
        ...

    def close(self) -> None:
        """The call is over."""
        ...


class ObserverKind(Struct, frozen=True):
    """An observer that watches every call."""

    name: str
    """Shown in logs when it fails."""
    watch: Callable[[CallInfo, CallTerms], Observer | None]
    """Begins to watch a call, or leaves it alone."""
    lifetime: Callable[[], AbstractAsyncContextManager[None]] | None = None
    """What it needs beside the calls: entered before the first one, left after the last one, in bounded time."""


class MediaPass(Struct, frozen=True):
    """What a one-time token stands for: a carrier's media socket, or with `key` a client's."""

    call_id: str
    """The call that it opens or continues; empty for a client's."""
    adapter: str
    """The only adapter on which it is good; empty for a client's."""
    route: str
    """The route that was chosen; empty for a client's."""
    caller: str = ""
    """Calling party, from the verified webhook."""
    callee: str = ""
    """Called party, from the verified webhook."""
    carrier_call_id: str = ""
    """The carrier's id of the call."""
    parameters: Mapping[str, str] = {}
    """Anything else from the webhook; of a client's token its claims."""
    key: str | None = None
    """Name of the gateway key in whose name a client comes; None for carriers."""
    session_s: float | None = None
    """Longest call that a client may have with it."""


NO_COUNT: Final = "*"
"""What a `Store` gives instead of a name when no limit is reached, and it can count no more names."""


class Store(Protocol):
    """What calls share and what survives them."""

    async def mint(self, media_pass: MediaPass, expires_s: float) -> str:
        """Make a one-time token."""

    async def spend(self, token: str, adapter: str) -> MediaPass | None:
        """Use a token up; None when it is unknown, used or too old. One of another adapter is shown, and stays good."""

    async def first_time(self, name: str, expires_s: float) -> bool:
        """Whether this name is seen for the first time within ``expires_s``; atomic. Only what was proven may be a name."""

    async def claim(self, limits: Mapping[str, int]) -> str:
        """Count one more under each name and give "", or under none and give the first whose limit is reached; atomic.

        Where the store is full it gives `NO_COUNT`.
        """

    async def release(self, names: Iterable[str]) -> None:
        """Count one less under each name."""


class Parts(Struct, frozen=True):
    """Everything that the plugins of one generation registered, by name."""

    adapters: Mapping[str, Adapter]
    agents: Mapping[str, AgentKind]
    tools: Mapping[str, Tool]
    observers: Iterable[ObserverKind]
    route_call: Callable[..., Route | None]
    redactors: Iterable[Redactor] = ()
