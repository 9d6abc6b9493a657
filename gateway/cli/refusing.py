"""How a command says that it cannot be carried out: sentences on standard error, or one document for programs.

Owns the form, the same for every command. Refuses to decide what is wrong.
"""

from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import typer

from gateway.errors import ConfigError, PluginError
from gateway.runtime.config import chosen_file

BUILT_IN: Final = "the built-in configuration"


def refuse(command: str, sentence: str, *, as_json: bool = False, code: int = 2) -> NoReturn:
    """Say why, and leave.

    Raises:
        typer.Exit: always.
    """
    if as_json:
        print_json({"ok": False, "problems": [sentence]})
    else:
        typer.echo(f"talkpath {command}: {sentence}", err=True)
    raise typer.Exit(code)


def refuse_configuration(
    command: str, config: Path | None, error: ConfigError | PluginError, *, as_json: bool = False
) -> NoReturn:
    """Say which configuration cannot be used and everything that is wrong with it, and leave with 2.

    Raises:
        typer.Exit: always.
    """
    if as_json:
        print_json({"ok": False, "source": _source(config), "problems": str(error).splitlines()})
    else:
        typer.echo(refusal(command, config, error), err=True)
    raise typer.Exit(2) from error


def refusal(command: str, config: Path | None, error: ConfigError | PluginError) -> str:
    """Say which configuration a command cannot use, then every problem on a line of its own."""
    problems = str(error).splitlines()
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    return "\n".join([f"talkpath {command}: {_source(config)} has {count}", *problems])


def pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """Read what was given as ``NAME=VALUE``.

    Raises:
        ValueError: naming the option, when something else was.
    """
    found: dict[str, str] = {}
    for text in given or ():
        name, is_pair, value = text.partition("=")
        if not is_pair or not name:
            raise ValueError(f"{option} {text}: expected NAME=VALUE")
        found[name] = value
    return found


def print_json(document: dict[str, Any]) -> None:
    """Print a document as the only output."""
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _source(config: Path | None) -> str:
    return str(chosen_file(config) or BUILT_IN)
