"""``talkpath route-test``: which route a call would take, and why."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.audio import MULAW_8K
from gateway.cli.check import Config, Json
from gateway.cli.printing import wide_console
from gateway.cli.refusing import pairs, print_json, refuse, refuse_configuration
from gateway.contracts import Adapter as Contract
from gateway.contracts import Route
from gateway.errors import ConfigError, PluginError
from gateway.events import CallInfo
from gateway.redaction import REDACTION
from gateway.runtime.config import load_generation
from gateway.runtime.plugins import Generation
from gateway.runtime.routing import ConfiguredRoutes, explain_mismatches, narrowed, regions_of
from gateway.settings import Settings
from gateway.terms import Circumstances

Adapter = Annotated[str, typer.Option(help="Adapter on which the call comes, such as twilio.")]
Caller = Annotated[str, typer.Option(help="The calling number, as the carrier gives it.")]
Callee = Annotated[str, typer.Option(help="The called number, as the carrier gives it.")]
Key = Annotated[str, typer.Option(help="Name of the gateway key with which a client comes.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        help="NAME=VALUE that the carrier's webhook says besides; may be repeated.",
        show_default=False,
    ),
]
Claims = Annotated[
    list[str] | None,
    typer.Option("--claim", help="NAME=VALUE of the client's token; may be repeated.", show_default=False),
]
At = Annotated[
    str,
    typer.Option(help="Moment of the call, such as 2026-11-21T09:30+01:00 (without a zone: UTC); else now."),
]


def route_test(
    *,
    adapter: Adapter,
    caller: Caller = "",
    callee: Callee = "",
    key: Key = "",
    parameter: Parameters = None,
    claim: Claims = None,
    at: At = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Tell which route, agent and region a call would get, and why.

    Exit code 0: a route takes it; 1: the call would be refused; 2: wrong usage or configuration.

    Example: talkpath route-test --adapter twilio --caller +15550100 --callee +33123456789
    """
    try:
        parameters, claims = pairs("--parameter", parameter), pairs("--claim", claim)
        told = Circumstances(key=key, claims=claims, at=_moment(at))
        generation = load_generation(config)
        settings = _of_key(key, generation.settings)
        read_number = _adapter(adapter, generation).number
        info = CallInfo(
            call_id="route-test",
            adapter=adapter,
            audio=MULAW_8K,
            caller=read_number(caller),
            callee=read_number(callee),
            parameters=parameters,
        )
        route = generation.parts.route_call(info, settings, told)
    except (ConfigError, PluginError) as error:
        refuse_configuration("route-test", config, error, as_json=json)
    except ValueError as error:
        refuse("route-test", str(error), as_json=json)
    if route is None:
        reasons = explain_mismatches(info, settings, told)
        if json:
            print_json({"route": None, "why": reasons})
        refuse(
            "route-test", "\n  ".join(["no route takes this call, so it would be refused:", *reasons]), code=1
        )
    _print(describe(route, generation), as_json=json)


def _adapter(name: str, generation: Generation) -> Contract:
    """The adapter on which the call comes.

    Raises:
        ValueError: when it is not configured.
    """
    configured = generation.settings.adapters
    if name not in configured:
        raise ValueError(
            f"the adapter {name} is not configured; adapters are: {', '.join(configured) or 'none'}"
        )
    return generation.parts.adapters[name]


def _of_key(name: str, settings: Settings) -> Settings:
    """The settings as they are for a client with this key; without a key, as they are.

    Raises:
        ValueError: when no key has this name.
    """
    if not name:
        return settings
    keys = {key.name: key for key in settings.access.keys}
    if name not in keys:
        raise ValueError(f"there is no key {name}; keys are: {', '.join(keys) or 'none'}")
    return narrowed(settings, keys[name].routes)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    table = Table.grid(padding=(0, 2))
    for name, text in found.items():
        if text:
            table.add_row(name, ", ".join(text) if isinstance(text, list) else text)
    wide_console(markup=False).print(table)


def _moment(at: str) -> float:
    """Unix time of a moment; now where none is given.

    Raises:
        ValueError: when it is none.
    """
    if not at:
        return time.time()
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise ValueError(f"--at {at}: expected a moment such as 2026-11-21T09:30+01:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def describe(route: Route, generation: Generation) -> dict[str, Any]:
    """What a call on this route gets."""
    agents = generation.settings.agents
    is_remote = ConfiguredRoutes(generation.parts.agents).is_remote
    first, *others = route.agents
    return {
        "route": route.settings.name,
        "agent": first,
        "region": agents[first].region if is_remote(agents[first]) else "this machine",
        "then": list(others),
        "regions": list(regions_of(route, generation.settings, is_remote)),
        "why": REDACTION.clean(route.why),
    }
