"""``talkpath agent``: the offline agent as a stand-alone server of the Voice Agent API."""

import asyncio
import signal
from typing import Annotated, Final, Literal

import typer

from gateway.cli.listening import why_not
from gateway.cli.printing import Output
from gateway.errors import ConfigError
from gateway.runtime.hearing import how_to_add
from gateway.simulate.faults import fault_table
from gateway.simulate.provider import Provider

# the first character keeps the help page from joining the lines of the table
_EPILOG: Final = "Example: talkpath agent --port 9000 --fault drop-after=5 --fault refuse-resume"


def agent(  # noqa: D103, PLR0917 - typer reads the options from here, the help is set below
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)
    ] = 8090,
    profile: Annotated[
        Literal["realtime", "burst"],
        typer.Option(help="realtime: sound slightly ahead of the clock; burst: a whole reply at once."),
    ] = "realtime",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A fault to show, may be repeated; all are listed above.", show_default=False),
    ] = None,
    script: Annotated[str, typer.Option(help="A script file (YAML), or a shipped one's name.")] = "default",
    key: Annotated[
        str | None,
        typer.Option(help="The only API key that is accepted; without it any is.", show_default=False),
    ] = None,
) -> None:
    try:
        provider = Provider(host=host, port=port, profile=profile, faults=fault or [], key=key, script=script)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"talkpath agent: {problem}", err=True)
        raise typer.Exit(2) from None
    try:
        asyncio.run(_serve(provider))
    except OSError as error:
        typer.echo(f"talkpath agent: {why_not(error, host, port, '--host', '--port')}", err=True)
        raise typer.Exit(1) from None
    except UnicodeError:  # a part of a name that is empty or too long
        typer.echo(f"talkpath agent: {host} is no address of this machine; choose one with --host", err=True)
        raise typer.Exit(1) from None


agent.__doc__ = f"""Serve the offline agent as a stand-alone server that speaks the Voice Agent API.

For tests and demos without a key: point a region at the address that it prints.

Faults to order:

\b
{fault_table()}

{_EPILOG}
"""


async def _serve(provider: Provider) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with provider:
        hint = "" if provider.hears else f" (plays and takes digits; to hear: {how_to_add()})"
        # it serves on, whether or not anybody goes on reading
        Output(markup=False, soft_wrap=True).print(f"agent listening on {provider.url}{hint}")
        await stopped.wait()
