"""The script of an agent that needs no network: what was understood goes in, what to say or call comes out.

Owns intents, slots, keypad menus and sentences. Refuses sound, clocks and sockets: somebody else hears, speaks and
waits, and tells this file. A script is data (see ``scripts/default.yaml``); unknown keys are errors.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from gateway.agents.offline_phrases import (
    Part,
    grammar_of,
    normalise,
    number_value,
    number_words,
    parse_phrase,
    slots_of,
    to_pattern,
)
from gateway.errors import ConfigError

HANG_UP_TOOL: Final = "hang_up"
"""The client-side tool by which an agent ends a call on the Voice Agent API."""

_MOST_WAITING: Final = 64
_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_.]*)\}")
_KEY: Final = re.compile(r"[0-9*#]")
_KEYPAD: Final = re.compile(r"the caller pressed ([0-9*#]+) on the keypad", re.IGNORECASE)
_TYPED: Final = re.compile(r"the caller typed: [\"“](.+)[\"”]", re.IGNORECASE | re.DOTALL)
_SAY: Final = re.compile(r"\s*say(?:\s*:|\s+exactly\s*:?|\s+this\s*:)?\s+(.+)", re.IGNORECASE | re.DOTALL)
_TELL: Final = re.compile(
    r"\s*(?:please\s+)?tell (?:the caller|them|the user)(?: that)?\s+(.+)", re.IGNORECASE | re.DOTALL
)
_QUOTED: Final = re.compile(r"[\"“”]([^\"“”]+)[\"“”]|(?<!\w)'([^']+(?:'\w[^']*)*)'(?!\w)")


class OfflineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the offline agent behaves on the wire; times in seconds unless a name says otherwise."""

    profile: Literal["realtime", "burst"] = "realtime"
    """``realtime``: small chunks slightly ahead of the clock; ``burst``: a whole reply at once."""
    lead_ms: float = 110
    """How far ahead of real time the realtime profile sends (reference 5.3)."""
    greeting_silence_ms: float = 250
    """Digital silence in front of the greeting (reference 2.9)."""
    reply_silence_ms: float = 300
    """Digital silence in front of every other reply; the service has 200 to 2000."""
    preamble_ms: float = 200
    """Length of the silent reply that carries a tool call (reference 2.5)."""
    commit_delay_s: float = 0.5
    """Silence after which what the caller said is a turn."""
    reply_delay_s: float = 0.02
    """Between a turn, a tool's result or ``reply.create`` and the reply."""
    grace_s: float = 30
    """How long a dropped session may be resumed."""
    session_s: float = 3600
    """The longest session."""
    wrong_rate_close_s: float = 10
    """After which a session with an impossible PCM rate ends in 1011 (reference 5.1)."""
    reply_audio: bytes = b""
    """Played, byte for byte, as the sound of every reply instead of speech; already in the session's output format."""
    agents: tuple[str, ...] | None = None
    """Ids of stored agents that exist; ``None`` accepts every id."""


class Say(msgspec.Struct, frozen=True):
    """Speak one sentence or more."""

    text: str


class CallTool(msgspec.Struct, frozen=True):
    """Call a tool of the session; its answer goes to `OfflineDialogue.tool_result` with the same ``key``."""

    key: int
    name: str
    arguments: dict[str, Any]


class HangUp(msgspec.Struct, frozen=True):
    """End the call once everything before was heard."""


Action = Say | CallTool | HangUp


class Response(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent does about something: say, call a tool, hang up."""

    say: str = ""
    """Spoken; with a tool, after its result, whose values it may name as ``{value}``."""
    say_before: str = ""
    """Spoken before the tool is called."""
    tool: str = ""
    """Name of the tool to call, if the session has it."""
    arguments: dict[str, Any] | None = None
    """Arguments of the tool; ``"{slot}"`` is the slot's value. Without them: all slots."""
    say_error: str = "Sorry, that did not work."
    """Spoken when the tool failed."""
    say_without_tool: str = ""
    """Spoken when the session has no such tool."""
    hang_up: bool = False
    """End the call afterwards, also when the tool failed."""


class Intent(Response, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A response to phrases."""

    name: str
    phrases: tuple[str, ...]


class Menu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What pressed keys do."""

    keys: dict[str, Response] = {}
    otherwise: Response = Response(say="Sorry, that key does nothing here.")


class NoInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens when the caller says nothing."""

    after_s: float = 15
    say: tuple[str, ...] = ()
    """One prompt per silence, in turn; afterwards ``finally``."""
    finally_: Response | None = msgspec.field(default=None, name="finally")


class ScriptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A script as it is written."""

    greeting: str = ""
    """Spoken first where the session brings no greeting of its own but wants one."""
    otherwise: tuple[str, ...] = ("Sorry, I did not understand that.",)
    """Spoken in turn when nothing fits."""
    prompted: str = "I am still here."
    """Spoken when the gateway asks for a reply without saying which."""
    after_greeting: Response | None = None
    """Done right after the greeting, without waiting for the caller."""
    lists: dict[str, str] = {}
    intents: tuple[Intent, ...] = ()
    digits: Menu = Menu()
    no_input: NoInput = NoInput()


Path = tuple[str | int, ...]
"""A place in a script, such as ``("intents", 0, "phrases")``."""


def shown(path: Path) -> str:
    """A place as people write it: ``intents[0].phrases``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def faults(file: ScriptFile) -> Iterator[tuple[Path, str]]:
    """Everything that is wrong with a script whose types are right, each with its place."""
    of_lists: set[str] = set()  # a phrase that uses a wrong list has the same fault
    for name, phrase in file.lists.items():
        if why := _why_no_phrase(phrase, file.lists):
            of_lists.add(why)
            yield ("lists", name), why
    names: set[str] = set()
    for index, intent in enumerate(file.intents):
        if intent.name in names:
            yield ("intents", index, "name"), "is the name of another intent too; choose another"
        names.add(intent.name)
        if not intent.phrases:
            yield ("intents", index, "phrases"), "are none, so nobody can mean it; give it one"
        for position, phrase in enumerate(intent.phrases):
            if (why := _why_no_phrase(phrase, file.lists)) and why not in of_lists:
                yield ("intents", index, "phrases", position), why
    for key in file.digits.keys:
        if not _KEY.fullmatch(key):
            yield ("digits", "keys", key), "is no key of a telephone; use one of 0 to 9, * and #"


def _why_no_phrase(phrase: str, lists: dict[str, str]) -> str:
    try:
        re.compile(to_pattern(parse_phrase(phrase, lists)))
    except ConfigError as error:
        return str(error)
    except re.error:
        return f"phrase '{phrase}' names a slot twice; rename one of them"
    return ""


class Script:
    """A script that was read and found sound; shared by all sessions."""

    def __init__(self, file: ScriptFile) -> None:
        if problems := [f"{shown(path)}: {sentence}" for path, sentence in faults(file)]:
            raise ConfigError(*problems)
        self.file = file
        self._patterns: list[tuple[Intent, re.Pattern[str], dict[str, bool]]] = []
        parts: list[Part] = []
        for intent in file.intents:
            for phrase in intent.phrases:
                part = parse_phrase(phrase, file.lists)
                self._patterns.append((intent, re.compile(to_pattern(part)), slots_of(part)))
                parts.append(part)
        self.grammar = grammar_of(parts) if parts else ""

    def understand(self, sentence: str) -> tuple[Intent, dict[str, Any], dict[str, str]] | None:
        """The intent, its slots' values and its slots as said; ``None`` if no phrase fits."""
        text = "".join(word + " " for word in normalise(sentence))
        for intent, pattern, slots in self._patterns:
            if found := pattern.fullmatch(text):
                said = {name: value.strip() for name, value in found.groupdict().items() if value}
                values: dict[str, Any] = {
                    name: number_value(value) if slots[name] else value for name, value in said.items()
                }
                said |= {name: number_words(value) for name, value in values.items() if slots[name]}
                return intent, values, said
        return None

    def sentences(self) -> list[str]:
        """Every sentence that can be said as it stands, without slots or results."""
        file = self.file
        responses: list[Response] = [*file.intents, *file.digits.keys.values(), file.digits.otherwise]
        responses += [found for found in (file.after_greeting, file.no_input.finally_) if found]
        said = [file.greeting, *file.otherwise, file.prompted, *file.no_input.say]
        for found in responses:
            said += [found.say, found.say_before, found.say_without_tool]
            said += [found.say_error] if found.tool else []
        return list(dict.fromkeys(text for text in said if text))


def load_script(data: object, source: str = "script") -> Script:
    """Read a script from what a YAML file held.

    Raises:
        ConfigError: with every problem found, each with its place.
    """
    try:
        return Script(msgspec.convert(data, ScriptFile))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}; see the scripts that come with the product") from error
    except ConfigError as error:
        raise ConfigError(*(f"{source}: {problem}" for problem in error.problems)) from error


def _look_up(values: dict[str, Any], path: str) -> Any:
    found: Any = values
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _spoken(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return number_words(value)
        case float() | str():
            return str(value)
        case list():
            return ", ".join(_spoken(item) for item in value[:20])
        case _:
            return "unknown"


def render(template: str, values: dict[str, Any]) -> str:
    """Fill ``{name}`` and ``{name.part}``; what is missing is said as "unknown"."""
    return _PLACEHOLDER.sub(lambda found: _spoken(_look_up(values, found.group(1))), template)


def _arguments(response: Response, values: dict[str, Any]) -> dict[str, Any]:
    if response.arguments is None:
        return dict(values)
    filled = {}
    for name, value in response.arguments.items():
        if isinstance(value, str) and (only := _PLACEHOLDER.fullmatch(value)):
            filled[name] = _look_up(values, only.group(1))
        else:
            filled[name] = render(value, values) if isinstance(value, str) else value
    return filled


class OfflineDialogue:
    """One conversation by a script: facts in, actions out, nothing waits."""

    def __init__(self, script: Script, tools: frozenset[str] = frozenset()) -> None:
        self.tools = tools
        """Names of the tools that the session declares at the moment."""
        self._script = script
        self._waiting: dict[int, tuple[Response, dict[str, Any]]] = {}
        self._next_key = 1
        self._misses = 0
        self._silences = 0

    def started(self) -> list[Action]:
        """The greeting was said, or there was none to say."""
        after = self._script.file.after_greeting
        return self._respond(after, {}, {}) if after else []

    def heard(self, sentence: str) -> list[Action]:
        """The caller said something that was recognised."""
        self._silences = 0
        found = self._script.understand(sentence)
        if found is None:
            return self.not_understood()
        self._misses = 0
        return self._respond(*found)

    def not_understood(self) -> list[Action]:
        """The caller said something that fits no phrase."""
        self._silences = 0
        sentences = self._script.file.otherwise
        if not sentences:
            return []
        sentence = sentences[min(self._misses, len(sentences) - 1)]
        self._misses += 1
        return [Say(sentence)]

    def pressed(self, digit: str) -> list[Action]:
        """The caller pressed one key of ``0-9*#``."""
        self._silences = 0
        menu = self._script.file.digits
        return self._respond(menu.keys.get(digit, menu.otherwise), {"digit": digit}, {"digit": digit})

    def tool_result(self, key: int, result: str, *, failed: bool = False) -> list[Action]:
        """A tool that `CallTool` asked for has answered; an unknown key is no news."""
        if key not in self._waiting:
            return []
        response, values = self._waiting.pop(key)
        answer = _read_result(result)
        if failed or (isinstance(answer, dict) and answer.get("error")):
            told = answer.get("error") if isinstance(answer, dict) else None
            text = render(response.say_error, values | {"error": told})
        else:
            values = values | answer if isinstance(answer, dict) else values
            text = render(response.say, values | {"result": answer})
        actions: list[Action] = [Say(text)] if text else []
        return [*actions, HangUp()] if response.hang_up else actions

    def no_input(self) -> list[Action]:
        """The caller has said nothing for the script's ``no_input.after_s``."""
        rule = self._script.file.no_input
        self._silences += 1
        if self._silences <= len(rule.say):
            return [Say(rule.say[self._silences - 1])]
        if self._silences == len(rule.say) + 1 and rule.finally_ is not None:
            return self._respond(rule.finally_, {}, {})
        return []

    def instructed(self, instructions: str) -> list[Action]:
        """The gateway asked for a reply: pressed keys, typed words, a sentence to say, or anything."""
        if keys := _KEYPAD.search(instructions):
            actions: list[Action] = []
            for digit in keys.group(1):
                actions = self.pressed(digit)
            return actions
        if typed := _TYPED.search(instructions):
            return self.heard(typed.group(1))
        if said := _SAY.match(instructions):
            quoted = _QUOTED.search(said.group(1))
            return [Say((quoted.group(1) or quoted.group(2)) if quoted else said.group(1).strip())]
        quoted = None if "{" in instructions else _QUOTED.search(instructions)  # JSON is not a sentence
        if quoted:
            return [Say(quoted.group(1) or quoted.group(2))]
        if told := _TELL.match(instructions):
            sentence = told.group(1).strip()
            return [Say(sentence[:1].upper() + sentence[1:])]
        return [Say(self._script.file.prompted)] if self._script.file.prompted else []

    def _respond(self, response: Response, values: dict[str, Any], said: dict[str, str]) -> list[Action]:
        actions: list[Action] = []
        if response.tool and response.tool in self.tools:
            if response.say_before:
                actions.append(Say(render(response.say_before, said)))
            key, self._next_key = self._next_key, self._next_key + 1
            self._waiting[key] = (response, dict(said))
            if len(self._waiting) > _MOST_WAITING:  # calls that an interruption kept from being made
                del self._waiting[min(self._waiting)]
            return [*actions, CallTool(key, response.tool, _arguments(response, values))]
        text = response.say_without_tool if response.tool else response.say
        if text:
            actions.append(Say(render(text, dict(said))))
        return [*actions, HangUp()] if response.hang_up else actions


def _read_result(result: str) -> Any:
    """A tool's result is normally JSON text, but any string is allowed."""
    try:
        return msgspec.json.decode(result)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return result
