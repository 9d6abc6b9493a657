"""Messages that are nearly right: mutations that know the structure of what they mutate.

Whatever is done is decided by one generator of random numbers, so that a seed repeats a run.
"""

import copy
import random
from typing import Any

import msgspec

Message = str | bytes
Path = tuple[Any, ...]

SCALARS: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**31, -(2**63) - 1, 2**64, 1e308, -0.0, "", " ", "x", "0", "8000Hz", "\x00", "é" * 40,
    "🤖", "null", "=", "!!!!", "A", [], {}, [[]], [None], {"a": 1}, {"": {}}, ["event"], {"type": "x", "event": "media"},
]  # fmt: skip
NUMBERS = ["1e999", "-1e999", "1" * 400, "-0", "0.1e-400", "1E+2", "00", "1.", "NaN", "Infinity", "0x10"]
DEPTHS = [1, 2, 30, 900, 1100, 5000]
SIZES = [100, 5000, 70_000]
LONGEST = 1 << 20
"""What a wire takes at all."""


class Mutator:
    """Makes messages out of those that one wire receives."""

    def __init__(self, messages: list[Any], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it must be repeatable
        self._written = messages
        self._objects = [
            message for message in messages if isinstance(message, dict) and "$hex" not in message
        ]
        self._kinds = sorted(
            {
                message[key]
                for message in self._objects
                for key in ("type", "event")
                if isinstance(message.get(key), str)
            }
        )
        self._in_structure = (
            self._drop,
            self._retype,
            self._swap,
            self._rename,
            self._base64,
            self._confuse,
            self._grow,
        )
        self._in_text = (self._cut, self._splice, self._repeat, self._number, self._nest, self._double)

    def good(self) -> list[Message]:
        """All messages as they are, in order."""
        return [as_message(message) for message in self._written]

    def next(self) -> Message:
        """One more message, with one to three things wrong; a few with none."""
        chance = self._random
        if not self._objects or chance.random() < 0.1:
            message = as_message(chance.choice(self._written))
        else:
            tree = msgspec.json.decode(msgspec.json.encode(chance.choice(self._objects)))
            for _ in range(chance.choice((0, 1, 1, 2))):
                tree = chance.choice(self._in_structure)(tree)
            message = as_message(tree)
        for _ in range(chance.choice((0, 0, 1, 1, 2))):
            message = chance.choice(self._in_text)(message)
        message = message[:LONGEST]
        if chance.random() < 0.01:
            return (
                message.encode(errors="surrogatepass")
                if isinstance(message, str)
                else message.decode("latin-1")
            )
        return message

    # In its structure

    def _drop(self, tree: Any) -> Any:
        holder, key = self._place(tree)
        if holder is None:
            return tree
        del holder[key]
        return tree

    def _retype(self, tree: Any) -> Any:
        holder, key = self._place(tree)
        value = copy.deepcopy(self._random.choice(SCALARS))
        if holder is None:
            return value
        holder[key] = value
        return tree

    def _swap(self, tree: Any) -> Any:
        (one, here), (other, there) = self._place(tree), self._place(tree)
        if one is not None and other is not None:
            one[here], other[there] = other[there], one[here]
        # what now holds itself cannot be written, and no peer could
        return tree if _is_a_tree(tree) else {}

    def _rename(self, tree: Any) -> Any:
        holder, key = self._place(tree)
        if isinstance(holder, dict):
            name = self._random.choice(
                (key.upper(), key + " ", key[:-1], "", "type", "event", key + "\u0000")
            )
            holder[name] = holder.pop(key)
        return tree

    def _base64(self, tree: Any) -> Any:
        holder, key = self._place(tree)
        if holder is not None and isinstance(holder[key], str):
            text, at = holder[key], self._random.randrange(len(holder[key]) + 1)
            holder[key] = self._random.choice(
                (
                    text[:at],
                    text + "=",
                    text[:at] + "!" + text[at:],
                    text[at:],
                    text + "====",
                    text[:at] + "\n" + text[at:],
                )
            )
        return tree

    def _confuse(self, tree: Any) -> Any:
        if isinstance(tree, dict) and self._kinds:
            tree[self._random.choice(("type", "event"))] = self._random.choice(self._kinds)
        return tree

    def _grow(self, tree: Any) -> Any:
        holder, key = self._place(tree)
        if holder is None:
            return tree
        size = self._random.choice(SIZES)
        value = holder[key]
        holder[key] = self._random.choice(
            ("A" * size, "é" * size, [value] * (size // 100), {str(n): n for n in range(size // 100)})
        )
        return tree

    # In its text

    def _cut(self, message: Message) -> Message:
        return message[: self._random.randrange(len(message) + 1)]

    def _splice(self, message: Message) -> Message:
        other = as_message(self._random.choice(self._written))
        if type(other) is not type(message):
            return message
        here, there = self._random.randrange(len(message) + 1), self._random.randrange(len(other) + 1)
        return message[:here] + other[there:]  # type: ignore[operator]

    def _repeat(self, message: Message) -> Message:
        begin = self._random.randrange(len(message) + 1)
        end = min(len(message), begin + self._random.randrange(40))
        return message[:end] + message[begin:]  # type: ignore[operator]

    def _number(self, message: Message) -> Message:
        if isinstance(message, bytes):
            return message
        digits = [at for at, letter in enumerate(message[:2000]) if letter.isdigit()]
        if not digits:
            return message
        at = self._random.choice(digits)
        return message[:at] + self._random.choice(NUMBERS) + message[at + 1 :]

    def _nest(self, message: Message) -> Message:
        if isinstance(message, bytes):
            return message
        at, depth = message.find(":") + 1, self._random.choice(DEPTHS)
        opening, closing = self._random.choice((("[", "]"), ('{"a":', "}")))
        return (
            message[:at]
            + opening * depth
            + "0"
            + closing * depth * self._random.choice((0, 1))
            + "," * (at > 0)
            + message[at:]
        )

    def _double(self, message: Message) -> Message:
        """Give a field twice, with different values."""
        if isinstance(message, bytes) or not message.startswith("{"):
            return message
        name = self._random.choice(("type", "event", "streamSid", "media", "audio", "data", "session"))
        return f'{{"{name}":{msgspec.json.encode(self._random.choice(SCALARS)).decode()},{message[1:]}'

    def _place(self, tree: Any) -> tuple[Any, Any]:
        """Some value inside: what holds it, and where; None when there is none."""
        holder, key = None, None
        node = tree
        while isinstance(node, dict | list) and node and (holder is None or self._random.random() < 0.7):
            holder = node
            key = (
                self._random.choice(list(node))
                if isinstance(node, dict)
                else self._random.randrange(len(node))
            )
            node = node[key]
        return holder, key


def as_message(written: Any) -> Message:
    """A JSON value as text; ``{"$hex": …}`` as bytes."""
    if isinstance(written, str):
        return written
    if isinstance(written, dict) and set(written) == {"$hex"} and isinstance(written["$hex"], str):
        return bytes.fromhex(written["$hex"])
    return msgspec.json.encode(written).decode()


def _is_a_tree(node: Any, above: tuple[int, ...] = ()) -> bool:
    if not isinstance(node, dict | list):
        return True
    inside = node.values() if isinstance(node, dict) else node
    return id(node) not in above and all(_is_a_tree(value, (*above, id(node))) for value in inside)
