"""What the abuse suite must know of an adapter: how its peers open, begin, sound and end, and what they get wrong.

An adapter that is registered and not described in `registry.DIALECTS` fails the suite with a sentence. A description is made of
functions of a `Way`, and of `Wrong` messages, each with words of the sentence that answers it. Calls carry mu-law at
8000 Hz wherever the dialect can, so that sound passes through untouched and a peer knows its own again.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

Message = str | bytes
"""Text or binary."""
DEEP = 100_000
"""Levels of nesting; more than what is read of one message at all."""
STEEP = 8_000
"""Levels of nesting that are read, and far beyond what any parser follows."""
TOO_MANY = "more than 8192 values"


class Way(Struct, frozen=True):
    """One peer's way in."""

    url: str
    """Of the media socket."""
    headers: Mapping[str, str] = {}
    """Of its upgrade."""
    call: str = ""
    """The carrier's id of the call."""
    stream: str = ""
    """The carrier's id of the stream."""
    first: str = ""
    """The message that begins it, where the carrier was told what it holds."""


class Wrong(Struct, frozen=True):
    """Something that no honest peer says."""

    messages: list[Message]
    """What is said, once the call has begun."""
    words: str
    """Of the sentence that answers it when it is said again and again."""
    instead: bool = False
    """Whether it is said in place of the beginning."""


class Dialect(Struct, frozen=True, kw_only=True):
    """One adapter as the suite speaks it."""

    adapter: str
    """As registered."""
    section: str
    """Its section of the configuration, as YAML."""
    invite: Callable[[str, str, str], Awaitable[Way]]
    """Find the way in, from the gateway's address, the calling and the called number."""
    begin: Callable[[Way], list[Message]]
    """What begins a call; nothing where the upgrade does."""
    sound: Callable[[Way, bytes], Message]
    """Say a piece of sound."""
    extras: Callable[[Way], list[Message]]
    """Every other valid message of a call."""
    end: Callable[[Way], Message]
    """Hang up."""
    heard: Callable[[Message], bytes]
    """The sound in a message of the gateway; none in most."""
    played: Callable[[Way, Message], Message | None]
    """What to answer to a message once everything before it was played; for most there is nothing."""
    wrong: Callable[[Way], Mapping[str, Wrong]]
    """What is mistyped, contradictory or out of place in this dialect, by name."""
    tells: bool
    """Whether it has words for a message that was not understood."""
    begins_late: bool
    """Whether there are messages that begin the call, and more than one of them."""
    is_carrier: bool
    """Whether its callers sound all the time, so that one whose sound stops is lost."""
    bytes_s: int = 8000
    """Sound of a second."""


def truncated(message: Message) -> Message:
    """The first half of a text message."""
    assert isinstance(message, str)
    return message[: len(message) // 2]


def text(**fields: Any) -> str:
    """A JSON message."""
    return json.dumps(fields)
