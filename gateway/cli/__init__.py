"""The command ``talkpath``: one module per command."""

import importlib
from typing import Final

import typer

app: Final = typer.Typer(
    name="talkpath",
    help="A self-hosted voice gateway.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

# Named in the order of the help page; each module holds one function of the same name.
COMMANDS: Final = {
    "serve": "serve",
    "check": "check",
    "route-test": "route_test",
    "call": "call",
    "agent": "agent",
    "demo": "demo",
}


def main() -> None:
    """Run the command line."""
    for name, module_name in COMMANDS.items():
        module = importlib.import_module(f"gateway.cli.{module_name}")
        command_class = getattr(module, "COMMAND_CLASS", None)
        app.command(name, cls=command_class)(getattr(module, module_name))
    app()
