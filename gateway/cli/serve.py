"""``talkpath serve``: runs the gateway."""

import errno
import gc
import logging
import os
import sys
from typing import Annotated, Final, NoReturn

import typer

from gateway.cli.check import Config, routes_table
from gateway.cli.listening import why_not
from gateway.cli.printing import Output
from gateway.cli.refusing import refusal
from gateway.errors import ConfigError, PluginError
from gateway.runtime.config import load_generation
from gateway.runtime.notes import notes
from gateway.runtime.plugins import Generation
from gateway.runtime.unmet import carriers_among

COLLECT_AFTER: Final = (20_000, 1, 1)
"""Objects made and not freed after which Python looks for cycles among the young ones, and how many such looks bring
one among the older ones; (700, 10, 10) by its own default. An ended call leaves about two hundred objects in cycles,
its sockets' and their exceptions', so all of them are looked for once in some four hundred calls."""

NAME: Final = "talkpath serve"
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

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
    """Run the gateway until SIGTERM (live calls may finish) or SIGINT (they are ended after an apology).

    Exit code 0: stopped; 1: could not listen; 2: the configuration cannot be used.

    Example: talkpath serve --config gateway.yaml --port 8080
    """
    try:
        given = {"host": host, "port": port, "admin_port": admin_port}
        server = {name: value for name, value in given.items() if value is not None}
        generation = load_generation(config, server=server)
    except (ConfigError, PluginError) as error:
        _leave(2, refusal("serve", config, error))
    _log_to_stderr()
    try:
        _run(generation)
    except (ConfigError, PluginError) as error:
        _leave(2, str(error))
    except OSError as error:
        _leave(1, _why_not(error, generation))


def _run(generation: Generation) -> None:
    # Imported late: `talkpath --help` does not need a web server.
    import asyncio

    from gateway.runtime.book import joined_book
    from gateway.runtime.guard import Loop, guarding
    from gateway.server.listening import Bound, listen
    from gateway.server.opening import missing_hearing

    def say(bound: Bound) -> None:
        public_url = generation.settings.server.public_url
        known_as = f", to carriers {public_url}" if public_url else ""
        out = Output(markup=False)  # calls come in whether or not anybody goes on reading this
        out.print(f"Talkpath listens on {bound.url}{known_as}, admin {bound.admin_url}", soft_wrap=True)
        out.print(routes_table(generation))
        for note in notes(generation.settings, carriers_among(generation.parts.adapters)):
            out.print(f"Note: {note}", soft_wrap=True)
        if sentence := missing_hearing(generation.settings):
            out.print(sentence, soft_wrap=True)
        _spare_the_collector()

    settings = generation.settings
    with (
        guarding(joined_book(settings), strict=settings.server.egress == "strict"),
        asyncio.Runner(loop_factory=Loop) as runner,
    ):
        runner.run(listen(generation, say))


def _spare_the_collector() -> None:
    """Keep what start-up made out of the garbage collector's sight; a frame leaves no cycles behind.

    With Python's own thresholds it walks through everything that lives once for every few hundred frames. With few
    walks through the old, ended calls lie about for hours: ten megabytes for each thousand.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _log_to_stderr() -> None:
    level = os.environ.get("TALKPATH_LOG", "").upper() or "INFO"
    if level not in LEVELS:
        _leave(2, f"TALKPATH_LOG={level} is no level of a log; use {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")
    logging.basicConfig(
        stream=sys.stderr,
        level=level,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


def _why_not(error: OSError, generation: Generation) -> str:
    from gateway.server.listening import CannotListen

    if not isinstance(error, CannotListen):
        raise error
    public_port = generation.settings.server.port
    is_admin = error.port_name == "admin"
    if is_admin and error.errno == errno.EADDRINUSE and error.port == public_port:
        return (
            f"the public and the admin port are both {public_port}; choose another for one of them with --port or "
            "--admin-port"
        )
    host_option = "server.admin_host" if is_admin else "--host"
    port_option = "--admin-port" if is_admin else "--port"
    sentence = why_not(error.cause, error.host, error.port, host_option, port_option)
    return f"the {error.port_name} port: {sentence}"


def _leave(code: int, sentences: str) -> NoReturn:
    """Say why, on one line each; the first says who speaks."""
    if not sentences.startswith(NAME):
        sentences = f"{NAME}: {sentences}"
    for sentence in sentences.splitlines():
        typer.echo(sentence, err=True)
    raise typer.Exit(code)
