"""Phrases a caller may say: their little language, the closed grammar made from them, and what was meant.

Owns the parsing of ``go {direction:forward|backward} {meters:number} [meters]``, its JSGF rule and its match
against a recognised sentence. Refuses to guess: a sentence fits a phrase word for word or not at all.

The language: words; ``[this|that]`` may be left out; ``(this|that)`` is a choice; ``<name>`` is a list of the script;
``{slot:this|that}``, ``{slot:list}``, ``{slot:number}`` or ``{slot}`` (the list of that name) remember what was said;
a slot for one word alone is ``{slot:(word)}``.
"""

import re
from typing import Final

import msgspec

from gateway.errors import ConfigError

HEARD_CHARACTERS: Final = 500
"""A recognised sentence longer than this is cut: no phrase is as long."""

_UNITS: Final = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
)
_TEENS: Final = ("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_SMALL: Final = (*_UNITS, *_TEENS)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUE: Final = {word: value for value, word in enumerate(_SMALL)} | {
    word: 20 + 10 * place for place, word in enumerate(_TENS)
}
_TOKEN: Final = re.compile(r"\s*([][(){}<>|:]|[^\s\][(){}<>|:]+)")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\Z")
_WORD: Final = re.compile(r"[a-z][a-z'.-]*\Z")
_DEPTH: Final = 12


class Word(msgspec.Struct, frozen=True, tag=True):
    """One word that must be said."""

    text: str


class Sequence(msgspec.Struct, frozen=True, tag=True):
    """Parts said one after the other."""

    parts: tuple["Part", ...]


class Choice(msgspec.Struct, frozen=True, tag=True):
    """One of several parts; with ``optional`` possibly none."""

    parts: tuple["Part", ...]
    optional: bool = False


class Slot(msgspec.Struct, frozen=True, tag=True):
    """A part that is remembered under a name; ``number`` slots hold a whole number."""

    name: str
    part: "Part"
    number: bool = False


Part = Word | Sequence | Choice | Slot


def normalise(sentence: str) -> list[str]:
    """The bare lower-case words of a sentence."""
    text = re.sub(r"[^a-z0-9' ]+", " ", sentence[:HEARD_CHARACTERS].lower())
    return text.split()


def number_words(value: int) -> str:
    """How a whole number is said; digit by digit from 10 000 on."""
    if value < 0:
        return f"minus {number_words(-value)}"
    if value > 9999:
        return " ".join(_SMALL[int(digit)] for digit in str(value))
    words: list[str] = []
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if value >= size:
            words += [_SMALL[value // size], name]
            value %= size
    if value >= 20:
        words.append(_TENS[value // 10 - 2])
        value %= 10
        if value:
            words.append(_SMALL[value])
    elif value or not words:
        words.append(_SMALL[value])
    return " ".join(words)


def number_value(said: str) -> int:
    """The number in words such as ``two hundred and five`` or in digits; the words must be a number's."""
    total = 0
    for word in said.split():
        if word.isdecimal():
            total += int(word)
        elif word == "hundred":
            total = max(total, 1) * 100
        elif word != "and":
            total += _VALUE[word]
    return total


def _number() -> Part:
    def one_of(words: tuple[str, ...]) -> Part:
        return Choice(tuple(Word(word) for word in words))

    tens = Sequence((one_of(_TENS), Choice((one_of(_SMALL[1:10]),), optional=True)))
    below_hundred = Choice((one_of(_SMALL), tens))
    hundreds = Sequence(
        (
            one_of(_SMALL[1:10]),
            Word("hundred"),
            Choice((Sequence((Choice((Word("and"),), optional=True), below_hundred)),), optional=True),
        )
    )
    return Choice((hundreds, below_hundred))


NUMBER: Final = _number()


class _Parser:
    """Reads one phrase from left to right."""

    def __init__(self, text: str, lists: dict[str, str], depth: int) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)
        self._lists = lists
        self._depth = depth
        self._at = 0

    def whole(self) -> Part:
        part = self._choice()
        if self._at < len(self._tokens):
            raise self._wrong(f"'{self._tokens[self._at]}' stands where nothing opened it")
        return part

    def _wrong(self, what: str, advice: str = "write it like 'go {way:left|right} [please]'") -> ConfigError:
        return ConfigError(f"phrase '{self._text}': {what}; {advice}")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise self._wrong(f"a '{token}' is missing")

    def _choice(self) -> Part:
        if self._depth > _DEPTH:
            raise self._wrong("it is nested too deeply, or a list contains itself")
        parts = [self._sequence()]
        while self._peek() == "|":
            self._take()
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Part:
        parts = []
        while self._peek() not in {"", "|", "]", ")", "}", ">"}:
            parts.append(self._item())
        if not parts:
            raise self._wrong("a choice is empty")
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _item(self) -> Part:
        token = self._take()
        self._depth += 1
        try:
            match token:
                case "[":
                    inside = self._choice()
                    self._expect("]")
                    return Choice((inside,), optional=True)
                case "(":
                    inside = self._choice()
                    self._expect(")")
                    return inside
                case "<":
                    name = self._take()
                    self._expect(">")
                    return self._list(name)
                case "{":
                    return self._slot()
        finally:
            self._depth -= 1
        if not _WORD.match(token.lower()):
            raise self._wrong(f"'{token}' is no word that can be said (digits are written as words)")
        return Word(token.lower())

    def _list(self, name: str, word: str = "") -> Part:
        if name == "number":
            return NUMBER
        if name not in self._lists:
            there = "define it under lists"
            advice = f"{there}, or for the word itself write {word}" if word else there
            raise self._wrong(f"there is no list '{name}'", advice)
        return _Parser(self._lists[name], self._lists, self._depth + 1).whole()

    def _slot(self) -> Part:
        name = self._take()
        if not _NAME.match(name):
            raise self._wrong(f"'{name}' is no name for a slot (lower-case letters, digits, '_')")
        if self._peek() != ":":
            self._expect("}")
            return Slot(name, self._list(name), number=name == "number")
        self._take()
        first = self._peek()
        if self._at + 1 < len(self._tokens) and self._tokens[self._at + 1] == "}":
            self._at += 2
            return Slot(name, self._list(first, f"{{{name}:({first})}}"), number=first == "number")
        inside = self._choice()
        self._expect("}")
        return Slot(name, inside)


def parse_phrase(text: str, lists: dict[str, str]) -> Part:
    """Parse one phrase.

    Raises:
        ConfigError: in one sentence that quotes the phrase.
    """
    return _Parser(text, lists, 0).whole()


def to_jsgf(part: Part) -> str:
    """The part as the right-hand side of a JSGF rule."""
    match part:
        case Word(text):
            return text
        case Sequence(parts):
            return " ".join(to_jsgf(inner) for inner in parts)
        case Choice(parts, optional):
            inside = " | ".join(to_jsgf(inner) for inner in parts)
            return f"[ {inside} ]" if optional else f"( {inside} )"
        case Slot(_, inner, number):
            return "<number>" if number else f"( {to_jsgf(inner)} )"


def to_pattern(part: Part) -> str:
    """The part as a regular expression over words that each end in one space."""
    match part:
        case Word(text):
            return re.escape(text) + " "
        case Sequence(parts):
            return "".join(to_pattern(inner) for inner in parts)
        case Choice(parts, optional):
            inside = "|".join(to_pattern(inner) for inner in parts)
            return f"(?:{inside})" + ("?" if optional else "")
        case Slot(name, inner, number):
            inside = to_pattern(inner) + (r"|[0-9]{1,9} " if number else "")
            return f"(?P<{name}>{inside})"


def slots_of(part: Part) -> dict[str, bool]:
    """The names of all slots in a part, and whether each holds a number."""
    match part:
        case Word():
            return {}
        case Sequence(parts) | Choice(parts):
            found: dict[str, bool] = {}
            for inner in parts:
                found |= slots_of(inner)
            return found
        case Slot(name, inner, number):
            return {name: number} | slots_of(inner)


def words_of(part: Part) -> set[str]:
    """Every word a part can contain."""
    match part:
        case Word(text):
            return {text}
        case Sequence(parts) | Choice(parts):
            return {word for inner in parts for word in words_of(inner)}
        case Slot(_, inner, _):
            return words_of(inner)


def grammar_of(parts: list[Part]) -> str:
    """A closed JSGF grammar that accepts exactly the given phrases."""
    phrases = "\n  | ".join(to_jsgf(part) for part in parts)
    return (
        f"#JSGF V1.0;\ngrammar talkpath;\n<number> = {to_jsgf(NUMBER)};\npublic <phrase> = {phrases}\n  ;\n"
    )
