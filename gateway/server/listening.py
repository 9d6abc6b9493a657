"""Runs the applications on their ports, from the first accepted connection to the last.

Owns sockets that listen and the order of coming down: no new calls, live calls finish or are stopped, then
everything is closed, each in bounded time; carriers are answered until the last of their calls is over. Refuses configuration files and the terminal (`gateway.cli.serve`).
"""

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiohttp import web
from msgspec import Struct

from gateway.runtime.call import CallRunner
from gateway.runtime.plugins import Generation
from gateway.server.access_log import HideMalformed
from gateway.server.app import DOOR, build_app
from gateway.server.calls import CallRegistry
from gateway.server.file_limit import raise_file_limit
from gateway.server.opening import open_house
from gateway.server.threshold import Threshold, ThresholdSite
from gateway.settings import Settings

log: Final = logging.getLogger("talkpath.server")

BACKLOG: Final = 1024
"""Connections that may wait to be accepted: a deploy elsewhere sends many callers at once."""
ACCEPTING: Final = 16
"""Connections that are accepted in one turn of the loop. uvloop accepts one of each listening socket, and where live
calls make turns long, carriers would wait for theirs for many seconds; so the public port has as many, of one queue."""
RECEIVE_BYTES: Final = 128 * 1024
"""What the kernel keeps of one connection that we do not read just now; unasked it would keep megabytes."""
SEND_BYTES: Final = 128 * 1024
"""What the kernel keeps for a peer that does not read; unasked it would keep minutes of speech before it told us."""
IDLE_S: Final = 75.0
"""How long an HTTP connection may stay open between two requests."""


class Bound(Struct, frozen=True):
    """A gateway that listens."""

    url: str
    """Origin of the public port."""
    admin_url: str
    """Origin of the admin port."""
    registry: CallRegistry
    """Its calls."""
    refused: Counter[str]
    """What its public port has refused so far, by reason."""


class CannotListen(OSError):  # noqa: N818 - a fact about one of the two ports
    """One of the two ports cannot be listened on; ``errno`` and ``strerror`` say why."""

    def __init__(self, cause: OSError, port_name: str, host: str, port: int) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))
        self.cause = cause
        """What the system said."""
        self.port_name = port_name
        """``public`` or ``admin``."""
        self.host = host
        """The address that was asked for."""
        self.port = port
        """The port that was asked for."""

    def __str__(self) -> str:
        return f"the {self.port_name} port cannot listen on {self.host}:{self.port}: {self.strerror}"


@asynccontextmanager
async def serving(generation: Generation) -> AsyncIterator[Bound]:
    """Listen for the length of a ``with``; calls that are live at its end are cut off.

    Raises:
        CannotListen: when an address cannot be listened on.
        ConfigError: when what calls share cannot be built.
    """
    settings, server = generation.settings, generation.settings.server
    async with AsyncExitStack() as stack:
        # Bound first: a busy port is found before anything else is started.
        public_socket = stack.enter_context(_bind("public", server.host, server.port))
        admin_socket = stack.enter_context(_bind("admin", server.admin_host, server.admin_port))
        house = await stack.enter_async_context(open_house(generation))
        apps = build_app(
            generation,
            store=house.store,
            make_runner=lambda call_id, route: CallRunner(call_id, route, house),
        )
        door = apps.public[DOOR]
        threshold = Threshold(server, door.refused, door.manners.malformed)
        more = [stack.enter_context(public_socket.dup()) for _ in range(ACCEPTING - 1)]
        await _start(stack, apps.public, (public_socket, *more), settings, threshold)
        await _start(stack, apps.admin, (admin_socket,), settings, Threshold(server, Counter()))
        yield Bound(_origin(public_socket), _origin(admin_socket), apps.registry, apps.public[DOOR].refused)


async def listen(generation: Generation, say: Callable[[Bound], None]) -> None:
    """Serve until SIGTERM or SIGINT and the end of the last call; ``say`` is called once it listens.

    Raises:
        CannotListen: when an address cannot be listened on.
        ConfigError: when what calls share cannot be built.
    """
    raise_file_limit(generation.settings)
    async with serving(generation) as bound:
        stopping = _Stopping(bound.registry)
        say(bound)
        await stopping.wait()
        drain_s = 0.0 if stopping.in_a_hurry else generation.settings.server.drain_s
        log.info("stopping; %s", _prospects(len(bound.registry.listing()), drain_s))
        await bound.registry.drain(drain_s)
        await bound.registry.see_off()


def _prospects(calls: int, drain_s: float) -> str:
    """What becomes of the live calls, in words."""
    if not calls:
        return "no calls are live"
    subject, verb = ("1 live call", "is") if calls == 1 else (f"{calls} live calls", "are")
    if drain_s:
        return f"{subject} may go on for {drain_s:g} s; a second signal ends that"
    return f"{subject} {verb} ended after an apology; a second signal breaks off"


class _Stopping:
    """The signals that end the process: SIGTERM drains, SIGINT is quick, each further one goes a step further."""

    def __init__(self, registry: CallRegistry) -> None:
        self._registry = registry
        self._asked = asyncio.Event()
        self.in_a_hurry = False
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, False)
        loop.add_signal_handler(signal.SIGINT, self._stop, True)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    async def wait(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()

    def _stop(self, in_a_hurry: bool) -> None:
        if self._asked.is_set():
            self._registry.hurry()
        self.in_a_hurry = self.in_a_hurry or in_a_hurry
        self._asked.set()

    def _hang_up(self) -> None:
        # Without a handler it would end the process and every call, as when a terminal is closed.
        log.warning("SIGHUP is not acted upon; restart to read the configuration again")


def _bind(port_name: str, host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # REUSEADDR: a restart does not wait for the connections of the process before it.
        bound = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except UnicodeError:  # a part of a name that is empty or too long
        unknown = socket.gaierror(socket.EAI_NONAME, "no such name")
        raise CannotListen(unknown, port_name, host, port) from None
    except OSError as error:
        raise CannotListen(error, port_name, host, port) from error
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)  # each connection inherits it
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
    bound.setblocking(False)
    return bound


def _origin(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server_log() -> logging.Logger:
    """The logger of what goes wrong in the server itself, without peers' bytes."""
    # All it has to say is which unknown subprotocols a peer offers, and some put keys into them.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    server_log = logging.getLogger("talkpath.http")
    if not server_log.filters:
        server_log.addFilter(HideMalformed())
    return server_log


async def _start(
    stack: AsyncExitStack,
    app: web.Application,
    bound: Iterable[socket.socket],
    settings: Settings,
    threshold: Threshold,
) -> None:
    runner = web.AppRunner(
        app,
        logger=_server_log(),
        access_log=None,  # its lines would hold the tokens of media sockets
        shutdown_timeout=settings.server.close_s,
        keepalive_timeout=IDLE_S,
        auto_decompress=False,  # it would be done for anybody, and for a thousand times what has come
    )
    cleanup: Callable[[], Awaitable[None]] = runner.cleanup
    stack.push_async_callback(cleanup)
    await runner.setup()
    for listening in bound:
        await ThresholdSite(runner, listening, threshold, BACKLOG).start()
