"""Reads YAML into nodes that know their lines, with the environment filled in.

Owns syntax: duplicate keys, ``${NAME}`` and ``${NAME:-default}`` in text, bounds on size. Refuses to know what a
key means, which is `gateway.runtime.decode`'s. Problems never quote a value.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import yaml

MAX_NODES: Final = 100_000
"""Values in one file, aliases counted each time: a file of a few lines can otherwise expand without end."""
MAX_DEPTH: Final = 50
"""Nesting of one file."""
UNREADABLE: Final = "this is not YAML: it holds characters or nesting that cannot be read; mend it"

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|\$\{")


class Node(msgspec.Struct):
    """A value of the file and where it stands."""

    value: Any
    """Text, number, truth, None, ``list[Node]`` or ``dict[str, Node]``."""
    line: int = 0
    """Line in the file, from 1; 0 for values that no file holds."""
    column: int = 0
    """Column of the key or list item in that line; with the line it tells values apart."""
    source: str = ""
    """Which variables were filled in, such as ``the value of PORT``: the text may be secret then."""

    is_broken: bool = False
    """Whether it could not be read, which has been said."""

    @property
    def from_environment(self) -> bool:
        """Whether a variable was filled in: the text may be secret, and may stand for a number."""
        return bool(self.source)

    @classmethod
    def of(cls, plain: Any, line: int = 0) -> "Node":
        """Wrap a plain value."""
        if isinstance(plain, dict):
            return cls({key: cls.of(value, line) for key, value in plain.items()}, line)
        if isinstance(plain, list | tuple):
            return cls([cls.of(value, line) for value in plain], line)
        return cls(plain, line)

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def get(self, key: str) -> "Node | None":
        """What stands under a key; None when this is no mapping or has no such key."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def find(self, *path: str | int) -> "Node":
        """The node at a path, or the nearest one above it."""
        node = self
        for step in path:
            is_item = isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
            if not is_item and not (isinstance(node.value, dict) and step in node.value):
                break
            node = node.value[step]
        return node

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """Keys and nodes of a mapping; nothing for other values."""
        if isinstance(self.value, dict):
            yield from self.value.items()


class Problems:
    """Everything that is wrong, each as ``place: what; what to do (line N)``."""

    def __init__(self, source: str = "") -> None:
        """``source`` is named before each problem, with the line, where there are several files."""
        self._source = source
        self._found: dict[tuple[object, ...], tuple[int, str]] = {}
        self._places: set[str] = set()
        self.reports = 0
        """How often anything was wrong, counting what was inherited or said before."""

    def __bool__(self) -> bool:
        return bool(self._found)

    def has(self, place: str) -> bool:
        """Whether something is wrong at this very place."""
        return place in self._places

    def add(self, place: str, node: Node | None, sentence: str) -> None:
        """Note a problem; the same one of the same node, inherited by ``extends``, counts once."""
        self._places.add(place)
        self.reports += 1
        line = node.line if node else 0
        told = [f"line {line}"] if line else []
        if node and node.source and node.source not in sentence:
            told.append(node.source)
        where = f" ({', '.join(told)})" if told and not self._source else ""
        text = f"{place}: {sentence}{where}" if place else f"{sentence}{where}"
        if self._source:
            text = f"{', '.join([self._source, *told])}: {text}"
        last = place.rsplit(".", 1)[-1]
        key = (line, node.column, last, sentence) if node and line else (place, sentence)
        self._found.setdefault(key, (line, text))

    def sentences(self) -> tuple[str, ...]:
        """All of them, in the order of the file."""
        return tuple(text for _, text in sorted(self._found.values(), key=lambda found: found[0]))


def read_yaml(text: str, environment: Mapping[str, str] | None, problems: Problems) -> Node:
    """Read a document; what cannot be read is a problem, and left out of the answer.

    Without an environment ``${`` means nothing.
    """
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError:  # it looks for characters that cannot be read before anything else
        problems.add("", None, UNREADABLE)
        return Node({}, 1)
    try:
        root = loader.get_single_node()
        if root is None:
            return Node({}, 1)
        return _Reader(loader, environment, problems).read(root, "", 0)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        advice = f"{error.problem or 'it cannot be read'}; mend it"
        if environment is not None and _is_bare_variable(text, error.problem_mark):
            advice = 'inside {…} and […] a variable needs quotes, as in "${NAME}"'
        problems.add("", Node(None, line), f"this is not YAML: {advice}")
    except (yaml.YAMLError, RecursionError):
        problems.add("", None, UNREADABLE)
    finally:
        loader.dispose()
    return Node({}, 1)


def _is_bare_variable(text: str, mark: yaml.Mark | None) -> bool:
    """Whether YAML stumbled over the brace of a ``${…}`` without quotes."""
    return mark is not None and text[mark.index - 1 : mark.index + 1] == "${"


class _Reader:
    def __init__(
        self, loader: yaml.SafeLoader, environment: Mapping[str, str] | None, problems: Problems
    ) -> None:
        self._loader = loader
        self._environment = environment
        self._problems = problems
        self._nodes = 0

    def read(self, node: yaml.Node, place: str, depth: int) -> Node:
        line, column = node.start_mark.line + 1, node.start_mark.column
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            self._problems.add(
                "", None, f"the file holds more than {MAX_NODES} values or {MAX_DEPTH} levels; shorten it"
            )
            return Node(None, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode):
            parts = [self.read(part, f"{place}[{index}]", depth + 1) for index, part in enumerate(node.value)]
            return Node(parts, line, column)
        return self._scalar(node, place, line, column)

    def _mapping(self, node: yaml.MappingNode, place: str, depth: int) -> Node:
        found: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str) or key_node.tag != "tag:yaml.org,2002:str":
                shown = key if isinstance(key, str) else "a list or mapping"
                advice = "merging is not supported; write the keys out" if key == "<<" else "put it in quotes"
                self._problems.add(place, Node(None, line), f"the key {shown} is not text; {advice}")
                continue
            below = f"{place}.{key}" if place else key
            if key in found:
                self._problems.add(
                    below, Node(None, line), f"appears twice, first in line {found[key].line}; keep one"
                )
                continue
            found[key] = self.read(value_node, below, depth + 1)
            found[key].line, found[key].column = line, key_node.start_mark.column
        return Node(found, node.start_mark.line + 1, node.start_mark.column)

    def _scalar(self, node: yaml.Node, place: str, line: int, column: int) -> Node:
        try:
            value = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._problems.add(place, Node(None, line), "cannot be read; put it in quotes if it is text")
            return Node(None, line, column, is_broken=True)
        if self._environment is None or not isinstance(value, str) or "${" not in value:
            return Node(value, line, column)
        before = self._problems.reports
        text, source = self._filled_in(value, place, line, self._environment)
        return Node(text, line, column, source, is_broken=self._problems.reports > before)

    def _filled_in(self, text: str, place: str, line: int, environment: Mapping[str, str]) -> tuple[str, str]:
        """A text with its variables filled in, and which these were."""
        sources: list[str] = []

        def fill(found: re.Match[str]) -> str:
            if found.group() == "$${":
                return "${"
            name, default = found["name"], found["default"]
            if name is None:
                self._problems.add(
                    place,
                    Node(None, line),
                    "${ must be followed by a name and }; write $${ for these characters",
                )
                return ""
            value = environment.get(name)
            sources.append(f"the {'value' if value or default is None else 'default'} of {name}")
            if default is not None:
                return value or default.removeprefix(":-")
            if value is None:
                self._problems.add(
                    place,
                    Node(None, line),
                    f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}",
                )
            return value or ""

        filled = _VARIABLE.sub(fill, text)
        return filled, " and ".join(dict.fromkeys(sources))
