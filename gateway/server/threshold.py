"""Connections, from when they are accepted: how many there may be, and how long one may take to say what it wants.

Owns the bound on all connections of a port and the patience with the head of each request. Connections over
which nobody has shown a valid proof make room for new ones, the oldest first; those of carriers and clients that have
are never closed for it. Refuses to know what a proof is: `door` calls `vouch_for`. What comes after the first head has
deadlines of its own: of a body, of a first message, and `listening.IDLE_S` between two requests. What is not HTTP counts
for its address where ``mind`` says so (`manners`).
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import StreamReader, hdrs, http_exceptions, web
from aiohttp.web_protocol import RequestHandler

from gateway.server.client_address import CLIENT
from gateway.server.headers import SERVER
from gateway.server.turnstile import Turnstile
from gateway.settings import ServerSettings

RETRY_AFTER_S: Final = 5
LOOKED_AT: Final = 64
"""Connections that are looked at for one at rest; each newcomer looks at the next ones."""
LATE_S: Final = 1.0
"""After which it is looked once more whether a head has come that waited for its turn."""
NOT_HTTP: Final = "This is not valid HTTP.\n"
_HEAD: Final = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {size}\r\n"
    "{more}Connection: close\r\n\r\n{text}"
)


class Threshold:
    """The connections of one port; ``refused`` counts those that were closed here, by reason."""

    def __init__(
        self,
        server: ServerSettings,
        refused: Counter[str],
        mind: Callable[[web.BaseRequest], web.Response | None] = lambda _: None,
    ) -> None:
        self.head_s: Final = server.head_s
        self.mind: Final = mind
        """Counts a connection on which no valid HTTP came; gives the answer to those who did it too often."""
        self.turnstile: Final = Turnstile()
        self._most: Final = server.sockets
        self._refused = refused
        self._strangers: OrderedDict[Connection, None] = OrderedDict()
        self._known: OrderedDict[Connection, None] = OrderedDict()

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._strangers) + len(self._known)

    def enter(self, connection: "Connection") -> bool:
        """Take a new connection, if need be in the place of the oldest stranger or of one at rest; or say no."""
        if self.open >= self._most:
            oldest = next(iter(self._strangers), None) or self._at_rest()
            if oldest is None:
                self.count("sockets")
                return False
            self.leave(oldest)
            self.count("crowded_out")
            oldest.drop()
        self._strangers[connection] = None
        return True

    def _at_rest(self) -> "Connection | None":
        """One that has shown a proof and is kept for a next request only; else one owner of a key could take all places."""
        for _ in range(min(LOOKED_AT, len(self._known))):
            connection, _ = self._known.popitem(last=False)
            self._known[connection] = None  # to the end, so that the next look is at others
            if connection.is_at_rest:
                return connection
        return None

    def leave(self, connection: "Connection") -> None:
        """Forget a connection that is gone."""
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def know(self, connection: "Connection") -> None:
        """Take note that somebody has shown a valid proof over a connection."""
        if connection in self._strangers:
            del self._strangers[connection]
            self._known[connection] = None

    def is_strange(self, connection: "Connection") -> bool:
        """Whether nobody has shown a valid proof over a connection."""
        return connection in self._strangers

    def count(self, reason: str) -> None:
        """Count a connection that is closed here."""
        self._refused[reason] += 1


class Connection(RequestHandler):
    """One connection of aiohttp's server with a deadline for each head and a place among all of them."""

    def __init__(self, threshold: Threshold, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._threshold = threshold
        self._deadline: asyncio.TimerHandle | None = None
        self._is_known = False
        self._unheard = b""  # what waits for its turn
        self._heads = 0  # that have come whole
        self._body: StreamReader | None = None  # of the newest of them

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, where there is room."""
        if not self._threshold.enter(self):
            more = f"Retry-After: {RETRY_AFTER_S}\r\n"
            _say(
                transport,
                "503 Service Unavailable",
                "There are too many connections; come again later.\n",
                more,
            )
            return
        super().connection_made(transport)
        self._set_deadline(self._threshold.head_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        self._threshold.leave(self)
        self._set_deadline(None)
        turnstile = self._threshold.turnstile
        if self._is_known or turnstile.enter():
            super().connection_lost(exc)
        else:
            turnstile.wait(lambda: super(Connection, self).connection_lost(exc))

    def data_received(self, data: bytes) -> None:
        """Take what has come; of a stranger it may have to wait."""
        turnstile = self._threshold.turnstile
        if self._unheard:
            self._unheard += data
        elif not data or not self._threshold.is_strange(self) or turnstile.enter():
            self._take(data)
        else:
            self._unheard = data
            self._pause_transport_reading()
            turnstile.wait(self._hear)

    def _hear(self) -> None:
        data, self._unheard = self._unheard, b""
        if self.transport is None or self.transport.is_closing():
            return  # gone meanwhile
        if not (self._buffer_paused or self._reading_paused):
            self._resume_transport_reading()
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Have bytes parsed; the first of a head begin its time, its last end it."""
        in_body = self._body is not None and not self._body.is_eof()
        super().data_received(data)
        if self._request_count != self._heads:
            self._heads = self._request_count
            self._body = self._messages[-1][1] if self._messages else None
            self._set_deadline(None)
        elif data and self._deadline is None and not (in_body or self._upgraded or self._payload_parser):
            self._set_deadline(self._threshold.head_s)

    def _set_deadline(self, within_s: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if within_s is None else self._loop.call_later(within_s, self._give_up)

    async def wait_turn(self) -> None:
        """Wait for a turn among strangers; somebody who has shown a proof need not."""
        if not self._is_known:  # also of one that is gone: many may go at the same moment
            await self._threshold.turnstile.wait_turn()

    @property
    def is_known(self) -> bool:
        """Whether somebody has shown a valid proof here."""
        return self._is_known

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is being asked or answered, nor any socket open."""
        return not (self._request_in_progress or self._messages or self._unheard)

    def vouch(self) -> None:
        """Somebody has shown a valid proof here."""
        self._is_known = True
        self._threshold.know(self)

    def drop(self) -> None:
        """Close the connection now; what is being answered on it ends."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what went wrong before or in a request; what is no valid HTTP is not quoted, since keys are in it."""
        if isinstance(exc, ConnectionError) and self.transport is None:
            return web.Response(status=400)  # nobody is there to read it, and it is no fault of ours
        if isinstance(exc, http_exceptions.HttpProcessingError) and not request.writer.output_size:
            answer = self._not_http(request, exc)
        else:
            answer = super().handle_error(request, status, exc, message)
        answer.headers[hdrs.SERVER] = SERVER
        return answer

    def _not_http(
        self, request: web.BaseRequest, error: http_exceptions.HttpProcessingError
    ) -> web.StreamResponse:
        """Refuse what could not be parsed, with one quiet line for as many as an address may ask."""
        answer = self._threshold.mind(request)
        if answer is None:
            answer = web.Response(status=400, text=NOT_HTTP)
            if not isinstance(error, http_exceptions.BadHttpMethod):  # mostly TLS on a port without it
                come_from = request.get(CLIENT, request.remote)
                self.logger.info("a request was refused: it is not valid HTTP from=%s", come_from)
        answer.force_close()
        return answer

    def _give_up(self) -> None:
        """Close a connection that has not sent the whole head of a request in time."""
        self._deadline = None
        if self.transport is None:
            return
        if not self.is_at_rest:  # it has come and it is we who are late, or one before it is being answered
            self._set_deadline(LATE_S)
            return
        self._threshold.count("head_late")
        sentence = f"The head of a request did not come within {self._threshold.head_s:g} s.\n"
        _say(self.transport, "408 Request Timeout", sentence)
        self.force_close()


class ThresholdSite(web.SockSite):
    """A listening socket whose connections pass a threshold."""

    def __init__(self, runner: web.AppRunner, bound: Any, threshold: Threshold, backlog: int) -> None:
        super().__init__(runner, bound, backlog=backlog)
        self._threshold = threshold

    async def start(self) -> None:
        """Begin to accept connections."""
        await super(web.SockSite, self).start()
        manager = self._runner.server
        if manager is None:
            raise RuntimeError("a site can be started once its runner is set up")
        loop = asyncio.get_running_loop()

        def connect() -> Connection:
            return Connection(self._threshold, manager, loop=loop, **manager._kwargs)  # noqa: SLF001 - its factory's own words

        self._server = await loop.create_server(connect, sock=self._sock, backlog=self._backlog)


def vouch_for(request: web.Request) -> None:
    """Take note that whoever sent a request has shown a valid proof."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.vouch()


async def wait_turn(request: web.Request) -> None:
    """Wait until it is the turn of whoever sent a request, where it is a stranger of whom many may be dealt with at once."""
    connection = request.protocol
    if isinstance(connection, Connection):
        await connection.wait_turn()


def _say(transport: asyncio.BaseTransport, status: str, text: str, more: str = "") -> None:
    """Answer somebody who has not asked anything yet, and close."""
    answer = _HEAD.format(status=status, size=len(text), text=text, more=more)
    transport = cast("asyncio.Transport", transport)
    transport.write(answer.encode())
    transport.close()
