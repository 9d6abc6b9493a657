"""The command ``talkpath``: one module per command.

Owns how a command is found, how wrong usage is told and which exit code is left. Refuses what commands do.
"""

import contextlib
import errno
import importlib
import importlib.metadata
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import hide_in_title, secrets_typed
from gateway.cli.refusing import print_json
from gateway.cli.usage import UsageError, Vocabulary, explain
from gateway.redaction import REDACTION
from gateway.runtime.sinks import Hidden, redacted_sinks

# Named in the order of the help page; each module holds one function of the same name.
COMMANDS: Final = {
    "serve": "serve",
    "check": "check",
    "route-test": "route_test",
    "call": "call",
    "agent": "agent",
    "demo": "demo",
    "talk": "talk",
    "token": "token",
    "certify": "certify",
    "replay": "replay",
    "audit": "audit",
    "hosts": "hosts",
    "bench": "bench",
}

INTERRUPTED: Final = 130
"""What is left where Ctrl-C ends a command that does nothing about it; shells know it by this."""
DISK_REFUSES: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Reasons for which a file that takes standard output can take no more."""

SHOWS: Final[dict[str, Hidden]] = {
    # What somebody asks for is shown: of a simulated caller its numbers, of `token` the token.
    **dict.fromkeys(("call", "agent", "demo", "talk", "bench"), "secrets"),
    "token": "configured",
}
"""Commands whose standard output hides less than everything."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; ``arguments`` instead of what was typed.

    Raises:
        SystemExit: always; 0 done, 1 failed or nobody reads what is printed, 2 wrong usage or configuration, 130
            interrupted from the keyboard.
    """
    typed = sys.argv[1:] if arguments is None else list(arguments)
    secrets = secrets_typed(typed)
    REDACTION.learn(secrets)
    hide_in_title(secrets)
    with redacted_sinks(out=SHOWS.get(next(iter(typed), ""), "all")):
        try:
            code = _run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
        except KeyboardInterrupt:
            code = INTERRUPTED  # while modules were still being read; commands listen for it themselves
        except BrokenPipeError:
            _print_nowhere()  # whoever read us has gone
            code = 1
        except Exception as fault:  # noqa: BLE001 - a fault of ours, told here while it is still redacted
            if isinstance(fault, OSError) and fault.errno in DISK_REFUSES and fault.filename is None:
                _print_nowhere()
                typer.echo(
                    f"talkpath: what it prints cannot be written ({fault.strerror}); send it elsewhere",
                    err=True,
                )
            else:
                sys.excepthook(type(fault), fault, fault.__traceback__)
            code = 1
    sys.exit(code)


def _print_nowhere() -> None:
    """Let the interpreter not complain, while it ends, of what it could not write."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    try:
        # what a command returns is nobody's exit code, what it leaves with is
        code = _app()(args=arguments, prog_name="talkpath", standalone_mode=False)
    except UsageError as error:
        _tell(error, sys.argv[1:] if arguments is None else arguments)
        return 2
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _app() -> typer.Typer:
    app = typer.Typer(
        name="talkpath",
        cls=Vocabulary,
        help="A self-hosted voice gateway.",
        callback=_talkpath,
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for name in COMMANDS:
        function = _function(name)
        command_class = getattr(sys.modules[function.__module__], "COMMAND_CLASS", None)
        app.command(name, cls=command_class, help=_filled(inspect.getdoc(function) or ""))(function)
    return app


def _filled(text: str) -> str:
    """Paragraphs of one line each, for the library to wrap; it would keep the line ends of the source."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _function(command: str) -> Callable[..., None]:
    """The function that is a command."""
    module_name = COMMANDS[command]
    function: Callable[..., None] = getattr(
        importlib.import_module(f"gateway.cli.{module_name}"), module_name
    )
    return function


def _tell(error: Any, typed: Sequence[str]) -> None:
    """Say what is wrong with what was typed; to a program that asked for JSON, in JSON."""
    command = next(iter(typed), "")  # not from the error, which does not always know
    if command not in COMMANDS:
        typer.echo(explain(error, "", None), err=True)
        return
    function = _function(command)
    sentence = explain(error, command, function)
    if "--json" in typed and "json" in inspect.signature(function).parameters:
        print_json({"ok": False, "problems": [sentence.removeprefix(f"talkpath {command}: ")]})
    else:
        typer.echo(sentence, err=True)


def _print_version(asked: bool) -> None:
    if asked:
        try:
            version = importlib.metadata.version("talkpath")
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed)"  # run from a folder of the source
        typer.echo(f"talkpath {version}")
        raise typer.Exit


def _talkpath(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - the callback has answered it
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A self-hosted voice gateway."""
    if context.invoked_subcommand is None:
        page: Any = context.get_help()
        if page:  # empty where it has been printed already
            typer.echo(page)
        raise typer.Exit(2)
