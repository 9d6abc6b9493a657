"""Writes the tables of the reference that come from the source: `python docs/reference/generate.py`.

Owns what stands between ``<!-- from the source: NAME -->`` and ``<!-- end -->`` in the pages of this folder, and
nothing else of them. The configuration's page has a generator of its own, `gateway.runtime.schema`.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from gateway import cli, commands, events
from gateway.adapters import detect
from gateway.agents.voice_agent_errors import CLOSES, CODES
from gateway.simulate.faults import fault_table

FOLDER = Path(__file__).parent
REGION = re.compile(r"(<!-- from the source: ([a-z -]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def refreshed(page: str) -> str:
    """The page with its tables as the source has them now.

    Raises:
        KeyError: when it asks for a table that there is not.
    """
    tables = _tables()
    return REGION.sub(lambda found: f"{found[1]}\n{tables[found[2]]()}\n{found[3]}", page)


def pages() -> Iterator[Path]:
    """The pages of this folder that hold such tables."""
    for path in sorted(FOLDER.glob("*.md")):
        if REGION.search(path.read_text(encoding="utf-8")):
            yield path


def _tables() -> dict[str, Callable[[], str]]:
    def options(name: str) -> Callable[[], str]:
        return lambda: _options(name)

    return {
        **{f"options of {name}": options(name) for name in cli.COMMANDS},
        "faults": lambda: f"```text\n{fault_table()}\n```\n",
        "events": lambda: _vocabulary(events, events.Event),
        "commands": lambda: _vocabulary(commands, commands.Command),
        "facts": lambda: _vocabulary(commands, commands.Fact),
        "error codes": _error_codes,
        "close codes": _close_codes,
        "signs of clients": _signs,
        "clients that stay unknown": _unknown,
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _options(command: str) -> str:
    """A row per parameter of the function that is the command."""
    name = cli.COMMANDS[command]
    function = getattr(importlib.import_module(f"gateway.cli.{name}"), name)
    hints = get_type_hints(function, include_extras=True)
    rows = []
    for parameter in inspect.signature(function).parameters.values():
        if not hasattr(hints[parameter.name], "__metadata__"):
            continue  # the context of the command line, which nobody types
        kind, info = get_args(hints[parameter.name])
        if isinstance(info, ArgumentInfo):
            shown = parameter.name.upper()
        else:
            dashed = "--" + parameter.name.replace("_", "-")
            # in an annotation the first name that is given stands where a default would
            named = info.default if isinstance(info.default, str) else ""
            shown = named or (f"{dashed}`, `--no-{dashed[2:]}" if kind is bool else dashed)
        rows.append(
            (f"`{shown}`", _value(kind, info), _default(parameter), " ".join((info.help or "").split()))
        )
    return _table(("option", "value", "default", "meaning"), rows)


def _value(kind: Any, info: OptionInfo | ArgumentInfo) -> str:
    kinds = [
        one for one in (get_args(kind) if isinstance(kind, UnionType) else (kind,)) if one is not type(None)
    ]
    inner = kinds[0]
    again = ""
    if get_origin(inner) is list:
        inner, again = get_args(inner)[0], ", repeatable"
    if info.metavar:
        return info.metavar.replace("|", " or ") + again
    if get_origin(inner) is Literal:
        return " or ".join(get_args(inner)) + again
    if info.min is not None:
        return (
            f"{info.min:g} to {info.max:g}{again}" if info.max is not None else f"{info.min:g} or more{again}"
        )
    words = {"int": "whole number", "float": "number", "str": "text", "Path": "file", "bool": "switch"}
    return words[inner.__name__] + again


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return "required"
    if isinstance(parameter.default, bool):
        return "on" if parameter.default else "off"
    return "" if parameter.default is None else f"`{parameter.default}`"


def _vocabulary(module: ModuleType, base: type) -> str:
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
    rows = []
    for node in tree.body:
        kind = vars(module).get(node.name) if isinstance(node, ast.ClassDef) else None
        if (
            isinstance(node, ast.ClassDef)
            and kind is not base
            and inspect.isclass(kind)
            and issubclass(kind, base)
        ):
            rows.append(
                (f"`{events.wire_name(node.name)}`", _first_line(kind), "<br>".join(_fields(node)) or "none")
            )
    return _table(("name", "meaning", "fields"), rows)


def _first_line(kind: Any) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0].replace("``", "`")


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = ast.literal_eval(below.value) if isinstance(below, ast.Expr) else ""
            yield f"`{field.target.id}`: {' '.join(str(said).replace('``', '`').split())}"


def _error_codes() -> str:
    rows = [
        (f"`{code}`", rule.opening, rule.resuming, rule.live, rule.clause) for code, rule in CODES.items()
    ]
    return _table(("code", "opening", "resuming", "live", "source"), rows)


def _close_codes() -> str:
    rows = [
        (
            str(code),
            rule.opening,
            rule.resuming,
            rule.live,
            "refused" if rule.refused else "lost",
            rule.clause,
        )
        for code, rule in CLOSES.items()
    ]
    return _table(("code", "opening", "resuming", "live", "counts as", "source"), rows)


def _signs() -> str:
    """A row per sign, in the order in which they are looked for."""
    rows = [
        (where, sign.look, sign.adapter or f"{sign.stranger}: refused", f"`{sign.why}`")
        for where, signs in (("upgrade", detect.UPGRADE_SIGNS), ("message", detect.MESSAGE_SIGNS))
        for sign in signs
    ]
    return _table(("seen in", "sign", "means", "`why`"), rows)


def _unknown() -> str:
    found = (detect.NOTHING, detect.UNKNOWN, detect.BINARY, detect.CONNECTED, detect.CONTRADICTION)
    return _table(("`why`", "reason of the close"), ((f"`{one.why}`", one.sentence) for one in found))


def main() -> None:
    """Bring every page up to date."""
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (new := refreshed(text)) != text:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{path.name} was brought up to date\n")


if __name__ == "__main__":
    main()
