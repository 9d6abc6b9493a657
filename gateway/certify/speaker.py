"""How a caller speaks one dialect: what the suite cannot know by itself and an adapter's author tells it.

Owns the words in which a speaker answers. A speaker is written from the carrier's documentation alone, never from the
adapter: it judges that. Refuses to open sockets and to decide what is right; the suite does both.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from msgspec import Struct

from gateway.audio import AudioFormat

Message = str | bytes
Feature = Literal["keys", "marks", "clears", "start", "stop", "kinds", "return", "once"]
"""What a dialect may lack: telephone keys; word of what was played; a word for dropping what is buffered; a first
message; a last message; kinds of messages; a way back after a lost connection; proofs that are good once."""


class Way(Struct, frozen=True):
    """One way to open a media socket."""

    url: str
    """Address, beginning with ``ws``."""
    headers: Mapping[str, str] = {}
    """Header fields of the upgrade."""


class Ready(Struct, frozen=True):
    """The gateway said that the caller may speak now."""


class Sound(Struct, frozen=True):
    """The gateway sent sound to play."""

    audio: bytes
    """In the call's format."""
    reply_id: str = ""
    """Whose sound it is, where the dialect says so."""


class MarkAsked(Struct, frozen=True):
    """The gateway wants to know when what was sent so far has been played."""

    name: str
    """What is to be given back."""


class ClearAsked(Struct, frozen=True):
    """The gateway wants whatever is buffered to be dropped."""


class Wrong(Struct, frozen=True):
    """The gateway sent what this far end does not accept."""

    sentence: str
    """What was wrong with it."""


Heard = Ready | Sound | MarkAsked | ClearAsked | Wrong


class Speaker:
    """One call's far end; a new one for each call. Override what the dialect has, name in `lacks` what it has not.

    ``gateway_url`` is the gateway's public origin, such as ``http://127.0.0.1:8080``; ``key`` is a gateway key that may
    connect and mint tokens, for adapters with ``proof="key"``.
    """

    adapter: ClassVar[str] = ""
    """Name of the adapter, as in ``/v1/ws/{name}``."""
    section: ClassVar[Mapping[str, Any]] = {}
    """The adapter's section of the configuration, with the secrets that `invite` signs with."""
    lacks: ClassVar[Mapping[Feature, str]] = {}
    """Why a feature cannot be tested: one sentence for the report."""
    sources: ClassVar[Mapping[str, str]] = {}
    """Where the carrier's documentation says what a check asks for, by the check's name."""
    audio: AudioFormat
    """Format of the call, both ways."""
    says_ready: ClassVar[bool] = False
    """Whether the caller must wait for `Ready` before it speaks."""
    buffer_ms: ClassVar[float] = float("inf")
    """How much sound the far end takes before it plays; what comes beyond is lost."""

    report_every_s: ClassVar[float] = 0.2
    """How often `progress` is asked for."""

    def __init__(self, gateway_url: str, key: str) -> None:
        self.gateway_url = gateway_url
        self.key = key

    async def invite(self) -> Way:
        """Announce the call where the carrier does, and give the way to its media socket."""
        return Way(f"{self.gateway_url.replace('http', 'ws', 1)}/v1/ws/{self.adapter}")

    async def strangers(self) -> Sequence[tuple[str, Way]]:
        """Ways that must not lead in, each with what is wrong with it: no proof, a wrong one, another call's."""
        raise NotImplementedError

    async def come_back(self) -> Way:
        """The way back after the media connection broke; `begin` is asked again on the new one."""
        raise NotImplementedError

    def begin(self) -> list[Message]:
        """What is said first on a connection."""
        return []

    def begin_again(self) -> list[Message]:
        """What must be refused in the middle of a call: the beginning of another one, on the same connection."""
        return self.begin()

    def speak(self, audio: bytes) -> Message:
        """A message with the caller's sound, of any size."""
        return audio

    def press(self, digit: str) -> Message:
        """The message of a telephone key."""
        raise NotImplementedError

    def played(self, name: str, *, dropped: bool = False) -> list[Message]:
        """What is said when a mark is reached, or because a clear has dropped what was before it."""
        raise NotImplementedError

    def progress(self, reply_id: str, ms: float) -> list[Message]:  # noqa: ARG002 - for dialects that tell unasked
        """What is said unasked, every `report_every_s`, of how much of a reply was played."""
        return []

    def cleared(self) -> list[Message]:
        """What is said when a clear was carried out."""
        return []

    def unknown(self) -> Message:
        """A well-formed message of a kind that nobody knows: the carrier may add one at any time."""
        raise NotImplementedError

    def unreadable(self) -> list[Message]:
        """Messages that mean nothing; at most seven."""
        return ["", "hello", "[]", "null", "{}", '{"event":7,"type":7}']

    def stop(self) -> list[Message]:
        """What is said last."""
        raise NotImplementedError

    async def gone(self) -> None:
        """Report that the call is over where the carrier does; asked after the connection was closed."""

    def read(self, message: Message) -> Sequence[Heard]:
        """Understand what the gateway sent, as strictly as the carrier; nothing for what means nothing."""
        raise NotImplementedError
