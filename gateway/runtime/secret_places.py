"""Finds what is secret in a configuration before anything is known to be right in it.

Owns where to look: under names that tell, in variables that tell, in addresses; and what looks secret wherever it
stands, because a key that slipped into the wrong line must not be quoted as a wrong value. Refuses to judge the file.
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from gateway.redaction import SHORTEST_SECRET, looks_secret, names_a_secret
from gateway.runtime.yaml_source import Node

_PASSWORD: Final = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_VARIABLE: Final = re.compile(r"of (\w+)")
MOST: Final = 1000


def named_secrets(root: Node) -> list[str]:
    """What stands where secrets stand, also in sections that nobody knows."""
    return list(dict.fromkeys(_named(root, "", is_secret=False)))[:MOST]


def _named(node: Node, section: str, *, is_secret: bool) -> Iterator[str]:
    for key, below in node.items():
        is_key_name = (section, key) == ("match", "key")  # a route asks for names of keys
        yield from _named(below, key, is_secret=names_a_secret(key) and not is_key_name)
    if isinstance(node.value, list):
        for below in node.value:
            yield from _named(below, section, is_secret=is_secret)
    elif isinstance(node.value, str):
        if is_secret or any(names_a_secret(name) for name in _VARIABLE.findall(node.source)):
            yield node.value
        for password in _PASSWORD.findall(node.value):
            yield password
            yield unquote(password)


def suspects(root: Node) -> list[str]:
    """Keys and values that look secret, the longest first; nothing that is short enough to be an ordinary word."""
    found = {text for text in _texts(root) if len(text) >= SHORTEST_SECRET and looks_secret(text)}
    return sorted(found, key=len, reverse=True)[:MOST]


def _texts(node: Node) -> Iterator[str]:
    for key, below in node.items():
        yield key
        yield from _texts(below)
    if isinstance(node.value, list):
        for below in node.value:
            yield from _texts(below)
    elif isinstance(node.value, str):
        yield node.value
        yield from (line for line in node.value.splitlines() if len(line) < len(node.value))
