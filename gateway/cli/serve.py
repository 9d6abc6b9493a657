"""``talkpath serve``: runs the gateway."""

import errno
import logging
import os
import socket
import sys
from typing import Annotated, NoReturn

import msgspec
import typer

from gateway.cli.check import Config, refusal, routes_table
from gateway.errors import ConfigError, PluginError
from gateway.runtime.config import load_generation
from gateway.runtime.notes import notes
from gateway.runtime.plugins import Generation

Host = Annotated[str | None, typer.Option(help="Address of the public port, instead of server.host.")]
Port = Annotated[
    int | None,
    typer.Option(min=0, max=65_535, help="Public port, instead of server.port; 0 picks a free one."),
]
AdminPort = Annotated[
    int | None,
    typer.Option(min=0, max=65_535, help="Admin port, instead of server.admin_port; 0 picks a free one."),
]


def serve(
    *, config: Config = None, host: Host = None, port: Port = None, admin_port: AdminPort = None
) -> None:
    """Run the gateway until SIGTERM (live calls may finish) or SIGINT (they are ended at once).

    Exit code 0: stopped; 1: could not listen; 2: the configuration cannot be used.

    Example: talkpath serve --config gateway.yaml --port 8080
    """
    try:
        generation = _with_options(load_generation(config), host, port, admin_port)
    except (ConfigError, PluginError) as error:
        _leave(2, refusal("serve", config, error))
    _log_to_stderr()
    try:
        _run(generation)
    except (ConfigError, PluginError) as error:
        _leave(2, str(error))
    except OSError as error:
        _leave(1, _why_not(error, generation))


def _with_options(
    generation: Generation, host: str | None, port: int | None, admin_port: int | None
) -> Generation:
    given = {"host": host, "port": port, "admin_port": admin_port}
    server = msgspec.structs.replace(
        generation.settings.server, **{name: value for name, value in given.items() if value is not None}
    )
    settings = msgspec.structs.replace(generation.settings, server=server)
    return msgspec.structs.replace(generation, settings=settings)


def _run(generation: Generation) -> None:
    # Imported late: `talkpath --help` does not need a web server.
    import asyncio  # noqa: PLC0415

    import uvloop  # noqa: PLC0415

    from gateway.server.listening import Bound, listen  # noqa: PLC0415
    from gateway.server.opening import missing_hearing  # noqa: PLC0415

    def say(bound: Bound) -> None:
        public_url = generation.settings.server.public_url
        known_as = f", to carriers {public_url}" if public_url else ""
        typer.echo(f"Talkpath listens on {bound.url}{known_as}, admin {bound.admin_url}")
        _show_routes(generation)
        for note in notes(generation.settings):
            typer.echo(f"Note: {note}")
        if sentence := missing_hearing(generation.settings):
            typer.echo(sentence)
        sys.stdout.flush()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(listen(generation, say))


def _show_routes(generation: Generation) -> None:
    from rich.console import Console  # noqa: PLC0415

    Console(highlight=False).print(routes_table(generation))


def _log_to_stderr() -> None:
    level = os.environ.get("TALKPATH_LOG", "INFO").upper()
    logging.basicConfig(
        stream=sys.stderr,
        level=level if level in logging.getLevelNamesMapping() else "INFO",
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


def _why_not(error: OSError, generation: Generation) -> str:
    server = generation.settings.server
    places = f"{server.host}:{server.port} and {server.admin_host}:{server.admin_port}"
    if error.errno == errno.EADDRINUSE:
        return f"one of {places} is in use; stop the other program, or choose with --port and --admin-port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on one of {places}; choose ports above 1023"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"one of {places} is no address of this machine; choose another with --host"
    return f"cannot listen on {places}: {error.strerror or error}"


def _leave(code: int, sentences: str) -> NoReturn:
    for sentence in sentences.splitlines():
        typer.echo(sentence, err=True)
    raise typer.Exit(code)
