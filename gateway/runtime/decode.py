"""Decodes nodes of the configuration into structs and reports everything that does not fit.

Owns the walk over struct types and the words in which a type is explained. msgspec judges the leaves; it stops
at the first error and loses the names of a mapping's keys, so the walk is ours. Values are quoted only where
a choice was misspelt, never when they came from the environment or belong in a `Secret`.
"""

import difflib
import re
import types
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from gateway.runtime.yaml_source import Node, Problems
from gateway.settings import Secret


class Absent:
    """Stands for a value that could not be decoded."""


ABSENT: Final = Absent()


def one_of(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = [str(word) for word in words] or ["nothing"]
    return f"{', '.join(most)} or {last}" if most else last


def suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Advice for a name that does not exist: the nearest that does, or all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"use {one_of(names)}" if names else otherwise


def nobody(what: str, node: Node, known: Iterable[str], otherwise: str) -> str:
    """Say that a node names something that does not exist, and advise: the nearest that does, or all of them.

    The name is quoted unless it came from the environment; then the variable is named.
    """
    names = list(dict.fromkeys(name for name in known if name))
    choice = f", or use {', '.join(names)}" if names else ""
    return unknown(what, node, names, otherwise + choice)


def uninstalled(what: str, node: Node, known: Iterable[str]) -> str:
    """Say that a node names something that no plugin brings."""
    names = sorted(set(known))
    article = "an" if what[0] in "aeiou" else "a"
    advice = f"{article} {what} comes from a plugin; installed are: {', '.join(names) or 'none'}"
    return unknown(what, node, names, advice)


def unknown(what: str, node: Node, known: Iterable[str], advice: str) -> str:
    """Say that a node names something that does not exist, with the nearest that does or else the advice."""
    lead = f"{node.source} names no {what}" if node.source else f"there is no {what} '{node.value}'"
    near = difflib.get_close_matches(str(node.value), list(known), 1)
    return f"{lead}; did you mean {near[0]}?" if near else f"{lead}; {advice}"


def decode(node: Node, kind: Any, place: str, problems: Problems) -> Any:
    """Decode a node as a type, with everything that does not fit among the problems.

    Where there are problems the answer is good for finding more of them only: a struct may be a namespace of the
    same fields, what was wrong has its default or is empty, and `ABSENT` stands for what has neither.
    """
    if node.is_broken:
        problems.reports += 1
        return ABSENT
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(node, kind, place, problems)
    if kind is Secret:
        return _secret(node, place, problems)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union) and types.NoneType in arguments:
        others = [argument for argument in arguments if argument is not types.NoneType]
        if node.value is None or (node.from_environment and not node.value):
            return None
        if len(others) == 1:
            return decode(node, others[0], place, problems)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple(node, arguments[0], place, problems)
    if origin is dict:
        return _mapping(node, arguments[1], place, problems)
    return _leaf(node, kind, place, problems)


def _struct(node: Node, kind: type[msgspec.Struct], place: str, problems: Problems) -> Any:
    if node.value is None:
        node = Node({}, node.line)  # a section whose keys are all commented out
    if not isinstance(node.value, dict):
        problems.add(place, node, "expected a mapping of keys to values; indent them below it")
        return ABSENT
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    sound: dict[str, Any] = {}
    before = problems.reports
    for key, below in node.items():
        at = f"{place}.{key}" if place else key
        if key not in fields:
            problems.add(at, below, f"unknown key; {suggest(key, fields, 'leave it out')}")
            continue
        already = problems.reports
        value = decode(below, fields[key].type, at, problems)
        if value is not ABSENT:
            values[fields[key].name] = value
        if problems.reports == already:
            sound[fields[key].name] = value
    for key, field in fields.items():
        if field.required and key not in node.value:
            problems.add(f"{place}.{key}", node, f"is missing; give {explain(field.type)}")
    built = _build(kind, sound, place, node, problems)
    return built if problems.reports == before else _unfinished(kind, values)


def _build(
    kind: type[msgspec.Struct], sound: dict[str, Any], place: str, node: Node, problems: Problems
) -> msgspec.Struct | None:
    """Make a struct of its sound fields and report what its own check says of them.

    The check stops at its first sentence. What that names in backticks gets a stand-in and the struct is asked
    again, so that the next mistake is found too; a sentence that names a stand-in is none of the file's.
    """
    fields = msgspec.structs.fields(kind)
    values = dict(sound)
    unsound = {field.name for field in fields if field.name not in sound and field.encode_name in node.value}
    unsound |= {field.name for field in fields if field.required and field.name not in sound}
    for _ in range(len(fields) + 1):
        for field in fields:
            if field.name in unsound:
                values.pop(field.name, None)
                if field.required:
                    values[field.name] = _credible(field.type)
        try:
            return kind(**values)
        except ValueError as error:  # a struct's own check of its fields
            named = set(re.findall(r"`(\w+)", str(error))) & {field.name for field in fields}
            if not named & unsound:
                problems.add(place, node, str(error))
            if named <= unsound:
                break
            unsound |= named
    return None


def _credible(kind: Any) -> Any:
    """A stand-in that a struct's own check does not take for missing."""
    if kind is Secret or kind == tuple[Secret, ...]:
        return Secret("-") if kind is Secret else (Secret("-"),)
    return "-" if kind is str else _stand_in(kind)


def _unfinished(kind: type[msgspec.Struct], values: dict[str, Any]) -> SimpleNamespace:
    """What has the fields of a struct, with stand-ins for wrong ones: good for checking the rest of them."""
    stand_in = SimpleNamespace(**values)
    for field in msgspec.structs.fields(kind):
        if field.name in values:
            continue
        if field.default is not msgspec.NODEFAULT:
            value = field.default
        else:
            factory = field.default_factory
            value = _stand_in(field.type) if factory is msgspec.NODEFAULT else factory()
        setattr(stand_in, field.name, value)
    return stand_in


def _stand_in(kind: Any) -> Any:
    if kind is Secret:
        return Secret("")
    if get_origin(kind) is tuple:
        return ()
    return "" if kind is str else None


def _secret(node: Node, place: str, problems: Problems) -> Any:
    if isinstance(node.value, str):
        return Secret(node.value)
    problems.add(place, node, "expected text; put it in quotes")
    return ABSENT


def _tuple(node: Node, kind: Any, place: str, problems: Problems) -> Any:
    if kind is Secret and isinstance(node.value, str):
        node = Node([node], node.line)
    if not isinstance(node.value, list):
        advice = "put it in quotes" if kind is Secret else "write [ … ]"
        problems.add(place, node, f"expected {explain(tuple[kind, ...])}; {advice}")
        return ABSENT
    values = [decode(below, kind, f"{place}[{index}]", problems) for index, below in enumerate(node.value)]
    if kind is str:  # the others keep their places for later checks
        values = ["" if value is ABSENT else value for value in values]
    # An empty text proves nothing: it must never be taken for a secret that matches an empty signature.
    return tuple(value for value in values if value is not ABSENT and (kind is not Secret or value))


def _mapping(node: Node, kind: Any, place: str, problems: Problems) -> Any:
    if node.value is None:
        return {}
    if not isinstance(node.value, dict):
        problems.add(place, node, "expected a mapping of names to values; indent them below it")
        return ABSENT
    values = {key: decode(below, kind, f"{place}.{key}", problems) for key, below in node.items()}
    return {key: value for key, value in values.items() if value is not ABSENT}


def _leaf(node: Node, kind: Any, place: str, problems: Problems) -> Any:
    try:
        # What the environment gave is text even where a number is meant.
        return msgspec.convert(node.plain(), kind, strict=not node.from_environment)
    except msgspec.ValidationError:
        wanted = explain(kind)
        choice = isinstance(node.value, str) and isinstance(inspect.type_info(kind), inspect.LiteralType)
        if node.source:
            problems.add(place, node, f"{node.source} is not {wanted}; change it")
        elif choice:
            problems.add(place, node, f"invalid value '{node.value}'; use {wanted}")
        else:
            advice = (
                "; put it in quotes" if wanted == "text" and not isinstance(node.value, list | dict) else ""
            )
            problems.add(place, node, f"expected {wanted}, got {_got(node)}{advice}")
        return ABSENT


def _got(node: Node) -> str:
    match node.value:
        case bool() | None:
            return "null" if node.value is None else str(node.value).lower()
        case int() | float():
            return str(node.value)
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return "a date"


def explain(kind: Any) -> str:
    """A type in words: ``a whole number from 0 to 65535``."""
    if kind is Secret or kind == tuple[Secret, ...]:
        return "text" if kind is Secret else "text, or a list of texts while they are rotated"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "a mapping"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return f"a list, each {explain(arguments[0])}"
    if origin is dict:
        return "a mapping" if arguments[1] is Any else f"a mapping of names, each {explain(arguments[1])}"
    return _explain_info(inspect.type_info(kind))


def _explain_info(info: inspect.Type) -> str:
    match info:
        case inspect.IntType() | inspect.FloatType():
            return ("a whole number" if isinstance(info, inspect.IntType) else "a number") + _range(info)
        case inspect.StrType():
            return "text"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return one_of(sorted(str(value) for value in info.values))
        case inspect.UnionType():
            return one_of(_explain_info(part) for part in info.types)
        case inspect.NoneType():
            return "null"
        case inspect.Metadata():
            return _explain_info(info.type)
    return "a value"


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    low = (
        f" from {info.ge:g}" if info.ge is not None else f" above {info.gt:g}" if info.gt is not None else ""
    )
    high = f" to {_plain(info.le)}" if info.le is not None else ""
    return low + high


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
