"""``talkpath check``: what is wrong with the configuration, or where its routes lead."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli.printing import wide_console
from gateway.cli.refusing import BUILT_IN, print_json, refuse_configuration
from gateway.errors import ConfigError, PluginError
from gateway.redaction import REDACTION
from gateway.runtime.conditions import condition
from gateway.runtime.config import load_generation
from gateway.runtime.notes import notes
from gateway.runtime.plugins import Generation, find_plugins
from gateway.runtime.preflight import Finding, preflight
from gateway.runtime.routing import ConfiguredRoutes, ladder
from gateway.runtime.unmet import carriers_among
from gateway.server.opening import missing_hearing
from gateway.settings import RouteSettings

Config = Annotated[
    Path | None,
    typer.Option(help="Configuration file; else $TALKPATH_CONFIG, else ./gateway.yaml, else built-in."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


Online = Annotated[
    bool,
    typer.Option(
        "--online",
        help="Also try each key on its regional host (a token, one session), signature secrets and the public URL.",
    ),
]


def check(*, config: Config = None, online: Online = False, json: Json = False) -> None:
    """Read the configuration and plugins; print every problem and how to mend it, or the routes as a table.

    Exit code 0: it can be used; 1: something that was tried online failed; 2: it cannot be used.

    Example: talkpath check --config gateway.yaml
    """
    try:
        generation = load_generation(config)
    except (ConfigError, PluginError) as error:
        refuse_configuration("check", config, error, as_json=json)
    findings = asyncio.run(preflight(generation)) if online else []
    works = not any(finding.outcome == "failed" for finding in findings)
    if json:
        tried = {"online": [msgspec.structs.asdict(finding) for finding in findings]} if online else {}
        print_json({"ok": works, **summary(generation), **tried})
    else:
        _print(summary(generation), routes_table(generation))
        if online:
            wide_console().print(_online_table(findings))
    if not works:
        raise typer.Exit(1)


def _online_table(findings: list[Finding]) -> Table:
    """What was tried, and what to do about it."""
    table = Table("tried", "at", "", "found", "what to do")
    for column in table.columns:
        column.overflow = "fold"
    for finding in findings:
        cells = (finding.what, finding.where, finding.outcome, finding.detail, finding.advice)
        table.add_row(*map(escape, cells))
    return table


def _print(found: dict[str, Any], routes: Table) -> None:
    """Print the configuration for people."""
    console = wide_console()
    console.print(f"Configuration: {found['source']}", soft_wrap=True, markup=False)
    console.print(routes)
    lines = [
        f"Adapters: {', '.join(found['adapters'])}",
        f"Plugins: {', '.join(found['plugins']) or 'none besides the built-in ones'}",
        *(f"Note: {note}" for note in found["notes"]),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    built_in = f"Built-in plugins: {', '.join(found['built_in_plugins'])}"
    console.print(built_in, soft_wrap=True, markup=False, style="dim")


def summary(generation: Generation) -> dict[str, Any]:
    """The configuration for programs, without secrets."""
    settings = generation.settings
    built_in = {origin.name for origin in find_plugins(settings.plugins) if origin.is_built_in}
    hearing = missing_hearing(settings)
    return {
        "source": generation.source or BUILT_IN,
        "routes": [describe_route(route, generation) for route in settings.routes],
        "adapters": list(settings.adapters),
        "plugins": [name for name in generation.plugins if name not in built_in],
        "built_in_plugins": [name for name in generation.plugins if name in built_in],
        "notes": [
            *notes(settings, carriers_among(generation.parts.adapters)),
            *([hearing] if hearing else []),
        ],
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
    return {"name": route.name, "when": _when(route), "agents": agents}


def _when(route: RouteSettings) -> str:
    return REDACTION.clean(condition(route.match))  # here, before a table breaks numbers over lines


def routes_table(generation: Generation) -> Table:
    """Where calls go, for people."""
    table = Table("route", "takes", "agent", "region", "then")
    for column in table.columns:
        column.overflow = "fold"
    for route in generation.settings.routes:
        first, *others = describe_route(route, generation)["agents"]
        then = ", ".join(f"{other['name']} ({other['region']})" for other in others)
        table.add_row(route.name, _when(route), first["name"], first["region"], then)
    return table
