"""Writes down the configuration from its structs: a JSON Schema for editors and a reference for people.

Owns both texts; ``python -m gateway.runtime.schema json`` (or ``markdown``) prints one. Refuses plugins from
elsewhere, so that the texts are the same on every machine. What a field means is the line under it in the source.
"""

import ast
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from gateway.runtime.decode import explain
from gateway.runtime.plugins import Plugins, find_plugins
from gateway.settings import AdapterSettings, AgentSettings, PluginsSettings, Secret, Section, Settings

Kinds = Mapping[str, type[Section]]

_VARIABLE: Final = {"type": "string", "pattern": r"\$\{"}
"""Stands wherever a number, a truth or a choice may come from the environment."""

_INTRODUCTION: Final = """\
# Configuration

Generated from the source by `python -m gateway.runtime.schema markdown`; do not edit. Editors can check
`gateway.yaml` against `gateway.schema.json` beside this page.

The file is named by `--config`, else by `$TALKPATH_CONFIG`, else it is `./gateway.yaml`. Where there is none, the
offline agent answers on 127.0.0.1, and a secret that Talkpath makes for you stands in for the carriers' secrets.
A file that names neither agents nor routes keeps that agent and route; one that names no adapters gets `pcm`.

* Unknown keys are errors. `talkpath check` prints every problem at once.
* `${NAME}` in a text reads the environment and is an error when NAME is not set; `${NAME:-default}` gives the default
  when it is not set or empty; `$${` stands for `${`. What is filled in may also be a number or true or false. Put
  quotes around it inside `{…}` and `[…]`.
* Secrets are one text, or a list of texts while they are rotated; the first is the one we sign with. They are never
  printed. An empty one proves nobody.
* An adapter is served when it has a section, which may be empty.
* Numbers of telephones, and other texts that look like numbers, need quotes.
* Paths of `plugins.folder`, `clips`, a `script` that ends in `.yaml` and keys that end in `_file` are relative to the
  folder of the file.
* `extends: NAME` in an agent takes over the keys of another one. Mappings are merged key by key; lists and single values
  are replaced. `fallback: ""` takes an inherited fallback away.
"""


@cache
def field_docs(struct: type) -> dict[str, str]:
    """The line under each field, inherited fields included."""
    docs: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        if owner.__module__.startswith("gateway."):
            body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
            assert isinstance(body, ast.ClassDef)  # noqa: S101 - what the source of a class is
            docs.update(_lines_under(body))
    return docs


def _lines_under(body: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, line in zip(body.body, body.body[1:], strict=False):
        match field, line:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=said)):
                yield name, " ".join(str(said).split())


def built_in_kinds() -> tuple[Kinds, Kinds]:
    """Structs of the agents' and the adapters' sections that come with Talkpath."""
    others = [origin.name for origin in find_plugins(PluginsSettings(folder="")) if not origin.is_built_in]
    plugins = Plugins(PluginsSettings(folder="", disabled=tuple(others)))
    agents = {name: kind.settings for name, kind in sorted(plugins.agents(Settings()).items())}
    return agents, {name: one.settings for name, one in sorted(plugins.adapters(Settings()).items())}


def configuration_schema() -> dict[str, Any]:
    """JSON Schema of ``gateway.yaml``."""
    agents, adapters = built_in_kinds()
    schema = _object(Settings)
    schema["properties"]["agents"] = {
        "type": "object",
        "description": _first_line(AgentSettings),
        "additionalProperties": {
            "anyOf": [
                *(_agent(name, struct) for name, struct in agents.items()),
                {"type": "object", "required": ["extends"], "properties": {"extends": {"type": "string"}}},
            ]
        },
    }
    schema["properties"]["adapters"] = {
        "type": "object",
        "description": _first_line(AdapterSettings),
        "properties": {name: {"anyOf": [_object(one), {"type": "null"}]} for name, one in adapters.items()},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Talkpath configuration (gateway.yaml)",
        **schema,
    }


def _agent(name: str, struct: type[Section]) -> dict[str, Any]:
    schema = _object(struct)
    schema["properties"]["kind"] = {"const": name}
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Agent whose keys this one takes over.",
    }
    # A required key may be taken over from the agent that is extended.
    required = schema.pop("required", [])
    return {**schema, "anyOf": [{"required": required}, {"required": ["kind", "extends"]}]}


def _object(struct: type[msgspec.Struct]) -> dict[str, Any]:
    docs = field_docs(struct)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in msgspec.structs.fields(struct):
        described: dict[str, Any] = {"description": docs[field.name]} if field.name in docs else {}
        if field.required:
            required.append(field.encode_name)
        elif isinstance(field.default, str | int | float):
            described["default"] = field.default
        properties[field.encode_name] = {**_type(field.type), **described}
    schema = {
        "type": "object",
        "description": _first_line(struct),
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": required} if required else schema


def _type(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _object(kind)
    if kind is Secret:
        return {"type": "string"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        array = {"type": "array", "items": _type(arguments[0])}
        return {"anyOf": [{"type": "string"}, array]} if arguments[0] is Secret else array
    if origin is dict:
        return {
            "type": "object",
            **({"additionalProperties": _type(arguments[1])} if arguments[1] is not Any else {}),
        }
    if origin in (types.UnionType, Union):
        return {"anyOf": [{"type": "null"} if one is types.NoneType else _type(one) for one in arguments]}
    leaf = msgspec.json.schema(kind)
    return leaf if leaf.get("type") == "string" else {"anyOf": [leaf, _VARIABLE]}


def configuration_reference() -> str:
    """The reference page, as Markdown."""
    agents, adapters = built_in_kinds()
    parts = [_INTRODUCTION]
    for field in msgspec.structs.fields(Settings):
        struct = _section_of(field.type)
        parts.append(f"## `{field.name}{_shape(field.type)}`\n\n{_first_line(struct)}\n")
        if field.name == "agents":
            parts.append(_table(AgentSettings))
            parts += [_special(f"kind: {name}", one, AgentSettings) for name, one in agents.items()]
        elif field.name == "adapters":
            parts += [_special(f"adapters.{name}", one, AdapterSettings) for name, one in adapters.items()]
        else:
            parts.append(_table(struct))
    return "\n".join(parts)


def _section_of(kind: Any) -> Any:
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        kind = arguments[1]
    elif get_origin(kind) is tuple:
        kind = arguments[0]
    elif get_origin(kind) in (types.UnionType, Union):
        structs = [one for one in arguments if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        kind = structs[0] if structs else kind
    return kind


def _shape(kind: Any) -> str:
    origin = get_origin(kind)
    return ".NAME" if origin is dict else "[]" if origin is tuple else ""


def _special(title: str, struct: type[msgspec.Struct], general: type[msgspec.Struct]) -> str:
    known = {field.name for field in msgspec.structs.fields(general)}
    return f"### `{title}`\n\n{_first_line(struct)}\n\n{_table(struct, leave_out=known)}"


def _table(struct: type[msgspec.Struct], leave_out: set[str] | frozenset[str] = frozenset()) -> str:
    rows = [row for row in _flat(struct, "") if row[0].partition(".")[0] not in leave_out]
    if not rows:
        return ""
    lines = [f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in rows]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *lines, ""])


def _flat(struct: type[msgspec.Struct], above: str) -> Iterator[tuple[str, str, str, str]]:
    """Rows of a section and of the mappings in it."""
    docs = field_docs(struct)
    for field in msgspec.structs.fields(struct):
        key, meaning = f"{above}{field.encode_name}", docs.get(field.name, "").replace("``", "`")
        inner = _section_of(field.type)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            suffix = _shape(field.type)
            yield f"{key}{suffix}", "a list of mappings" if suffix == "[]" else "a mapping", "", meaning
            yield from _flat(inner, f"{key}{suffix}.")
        else:
            yield key, explain(field.type), _default(field), meaning


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT or field.default in ((), "", None, Secret("")):
        return ""
    value = field.default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    shown = msgspec.json.encode(value).decode() if not isinstance(value, str) else value
    return f"`{shown}`"


def _first_line(struct: type) -> str:
    return (inspect.getdoc(struct) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def main(arguments: list[str]) -> int:
    """Print one of the texts."""
    match arguments:
        case ["json"]:
            text = msgspec.json.format(msgspec.json.encode(configuration_schema()), indent=2).decode() + "\n"
        case ["markdown"]:
            text = configuration_reference()
        case _:
            sys.stderr.write("python -m gateway.runtime.schema json|markdown\n")
            return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
