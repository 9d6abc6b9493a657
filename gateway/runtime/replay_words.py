"""Commands in words, and stretches of them as one: what people compare two calls by.

Owns how much of a command is shown. Sound is told by its length, texts are cut short, messages (``raw``) left out.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from gateway.audio import AudioFormat
from gateway.commands import AnyCommand, Mark, Play, PlayClip, Remember, RunTool, SendAudio, Tell, TellHeard
from gateway.events import AgentSaid, AnyEvent, ToolCalled, wire_name

_PAUSE_S: Final = 1.0
"""Time without a piece of sound after which the next one is a stretch of its own."""
_SHOWN: Final = 60
"""Characters of a field's value."""
_LONGEST_NAME: Final = 16
"""Characters of a reply's name that are shown."""
_UNSHOWN: Final = frozenset({"raw", "audio", "event", "fact", "reply_id", "name"})


class Timed(NamedTuple):
    """A command with its moment."""

    at: float
    """In the clock of the journal."""
    command: AnyCommand
    """What was wished."""
    key: object
    """What must be equal in both calls."""


class Stretch(NamedTuple):
    """Commands that people take for one: a reply's sound, its marks, the sound for the agent; or a single one."""

    name: str
    """What they are."""
    commands: list[Timed]
    """One or more."""


def stretches(commands: Iterable[Timed]) -> list[Stretch]:
    """Gather what belongs together; stretches are in the order in which they begin, and may overlap."""
    found: list[Stretch] = []
    last: dict[type, Stretch] = {}  # of each kind that comes in pieces
    for timed in commands:
        command = timed.command
        kind, name = type(command), name_of(command)
        before = last.get(kind)
        goes_on = before and before.name == name and timed.at - before.commands[-1].at <= _PAUSE_S
        if before and goes_on and _is_piece(command):
            before.commands.append(timed)
            continue
        found.append(Stretch(name, [timed]))
        if _is_piece(command):
            last[kind] = found[-1]
    return found


def _is_piece(command: AnyCommand) -> bool:
    """Whether many of these are one thing to people."""
    match command:
        case SendAudio() | Play() | PlayClip() | Mark() | Tell(event=AgentSaid(final=False)):
            return True
    return False


def name_of(item: AnyCommand | AnyEvent) -> str:
    """What a command or an event is, and of which reply, sound or tool."""
    name = wire_name(type(item).__name__)
    match item:
        case PlayClip(clip=of) | RunTool(name=of) | ToolCalled(name=of):
            return f"{name} {of}"
        case Tell(event=inner) | TellHeard(fact=inner) | Remember(fact=inner):
            return f"{name} {wire_name(type(inner).__name__)} {_reply_of(inner)}".rstrip()
    return f"{name} {_reply_of(item)}".rstrip()


def _reply_of(item: object) -> str:
    """The reply that something is about; providers' names for them are long."""
    name = str(getattr(item, "reply_id", ""))
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def in_words(commands: Sequence[Timed], audio: AudioFormat) -> str:
    """A stretch of commands in one line."""
    first, last = commands[0].command, commands[-1].command
    match first:
        case Play() | SendAudio() | PlayClip():
            return f"{name_of(first)}, {sum(_ms(timed.command, audio) for timed in commands):g} ms"
        case Mark(name=name) if isinstance(last, Mark):
            return f"mark {name}" if last is first else f"mark {name} to {last.name}"
        case Tell(event=AgentSaid(final=False)):
            said = " ".join(_words_of(timed.command) for timed in commands)
            return f"{name_of(first)} {_short(' '.join(said.split()))!r}"
    return one_in_words(first)


def _words_of(command: AnyCommand) -> str:
    return command.event.text if isinstance(command, Tell) and isinstance(command.event, AgentSaid) else ""


def one_in_words(item: AnyCommand | AnyEvent) -> str:
    """A command or an event in one line; what is as it always is goes without saying."""
    inner: Struct = item
    if isinstance(item, Tell | Remember | TellHeard):
        inner = item.event if isinstance(item, Tell) else item.fact
    return " ".join((name_of(item), *_fields(inner)))


def _ms(command: AnyCommand, audio: AudioFormat) -> float:
    if isinstance(command, PlayClip):
        return command.ms
    return audio.ms(len(command.audio)) if isinstance(command, Play | SendAudio) else 0.0


def _fields(item: Struct) -> Iterable[str]:
    for field in msgspec.structs.fields(item):
        value: Any = getattr(item, field.name)
        if field.name not in _UNSHOWN and value != field.default:
            yield f"{field.name}={_short(f'{value:g}' if isinstance(value, float) else str(value))}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
