"""``talkpath check``: what is wrong with the configuration, or where its routes lead."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from gateway.errors import ConfigError, PluginError
from gateway.runtime.config import load_generation
from gateway.runtime.plugins import Generation
from gateway.runtime.routing import ConfiguredRoutes, ladder
from gateway.runtime.without_effect import without_effect
from gateway.settings import MatchSettings, RouteSettings

Config = Annotated[
    Path | None,
    typer.Option(help="Configuration file; else $TALKPATH_CONFIG, else ./gateway.yaml, else built-in."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def check(*, config: Config = None, json: Json = False) -> None:
    """Read the configuration and plugins; print every problem and how to mend it, or the routes as a table.

    Exit code 0: it can be used; 2: it cannot.

    Example: talkpath check --config gateway.yaml
    """
    try:
        generation = load_generation(config)
    except (ConfigError, PluginError) as error:
        problems = str(error).splitlines()
        if json:
            print_json({"ok": False, "problems": problems})
        else:
            for problem in problems:
                typer.echo(problem, err=True)
            typer.echo(f"talkpath check: {len(problems)} to mend", err=True)
        raise typer.Exit(2) from error
    if json:
        print_json({"ok": True, **summary(generation)})
        return
    console = Console(highlight=False)
    console.print(f"Configuration: {generation.source or 'built-in'}", soft_wrap=True, markup=False)
    console.print(routes_table(generation))
    console.print(f"Adapters: {', '.join(generation.settings.adapters)}", soft_wrap=True, markup=False)
    for note in without_effect(generation.settings):
        console.print(f"Note: {note}", soft_wrap=True, markup=False)
    console.print(f"Plugins: {', '.join(generation.plugins)}", soft_wrap=True, markup=False)


def summary(generation: Generation) -> dict[str, Any]:
    """The configuration for programs, without secrets."""
    return {
        "source": generation.source or "built-in",
        "routes": [describe_route(route, generation) for route in generation.settings.routes],
        "adapters": list(generation.settings.adapters),
        "plugins": list(generation.plugins),
        "notes": without_effect(generation.settings),
    }


def describe_route(route: RouteSettings, generation: Generation) -> dict[str, Any]:
    """A route, with the agents behind it in the order in which they are tried."""
    settings = generation.settings
    is_remote = ConfiguredRoutes(generation.parts.agents).is_remote
    agents = [
        {
            "name": name,
            "kind": settings.agents[name].kind,
            "region": settings.agents[name].region if is_remote(settings.agents[name]) else "this machine",
        }
        for name in ladder(route, settings, is_remote)
    ]
    return {"name": route.name, "when": condition(route.match), "agents": agents}


def condition(match: MatchSettings) -> str:
    """Conditions of a route in words."""
    parts = [
        f"{name} {' or '.join(patterns)}"
        for name, patterns in (("adapter", match.adapter), ("caller", match.caller), ("callee", match.callee))
        if patterns
    ]
    return " and ".join(parts) or "any call"


def routes_table(generation: Generation) -> Table:
    """Where calls go, for people."""
    table = Table("route", "takes", "agent", "region", "then")
    for column in table.columns:
        column.overflow = "fold"
    for route in generation.settings.routes:
        first, *others = describe_route(route, generation)["agents"]
        then = ", ".join(f"{other['name']} ({other['region']})" for other in others)
        table.add_row(route.name, condition(route.match), first["name"], first["region"], then)
    return table


def print_json(document: dict[str, Any]) -> None:
    """Print a document as the only output."""
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
