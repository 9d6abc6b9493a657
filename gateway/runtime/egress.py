"""Makes every connection that the gateway itself makes, and knows for which call, where to, and what for.

Owns the errand: a book, a purpose and somebody who takes note. A host that the errand's book does not list is not
asked of the name service, let alone dialled; an address is dialled only when it was the answer for the host that was
checked. Refuses redirects, cookies and connections kept for the next errand. What others connect by themselves, such
as tools, is `gateway.runtime.guard`'s, which sees their errand here.
"""

import asyncio
import errno
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, Final, Self
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.contracts import Route
from gateway.events import HostContacted
from gateway.places import Place, place_of
from gateway.runtime.book import Book, Purpose, is_address, joined_book
from gateway.runtime.plugins import Generation
from gateway.runtime.routing import ConfiguredRoutes, regions_of

Note = Callable[[HostContacted], None]

CONNECT: Final = "talkpath.connect"
"""Audit event of each connection made here: host, address, port, purpose, regions."""
CONTACTS: Final = 1000
"""Most contacts that are noted of one call; a tool may open sockets without end."""
HOSTS_TOLD: Final = 10
"""Most refused hosts of which the log tells, per errand."""
NAMES_S: Final = 60.0
"""How long the answer of a name service is believed."""
UNKNOWN_S: Final = 1.0
"""How long it is believed that a name service has no answer, so that calls which ask together do not ask in turn."""
NAMES: Final = 1000
"""Most answers that are kept."""


class NotListedError(Exception):
    """A host is not in the book of whoever wants to connect to it; the text says what to do."""


def unnoted(_contact: HostContacted) -> None:
    """Take no note: there is no call to which it would belong."""


class Errand:
    """Why something connects: within which book, what for, and who takes note of it."""

    def __init__(self, book: Book, purpose: Purpose, note: Note = unnoted, whom: str = "") -> None:
        """``whom`` says in the log for whom it is, as in ``call_id=… tool=…``."""
        self.book: Final = book
        self.purpose: Final = purpose
        self.place: Place | None = None
        """The only place, for connections made here; None for a tool, which may go wherever the book lets it."""
        self.addresses: set[str] = set()
        """What the name service answered for that place."""
        self.whom: Final = whom
        self._told: set[str] = set()
        self._note = note

    def check(self, url: str) -> None:
        """Bind the errand to the place that an address names.

        Raises:
            NotListedError: when the book does not list it.
        """
        place = place_of(url)
        if place is None or not self.book.lists(self.purpose, *place):
            self.contacted(place or ("", 0), "", refused=True)
            shown = f"{place[0]}:{place[1]}" if place else "this address"
            regions = " or ".join(self.book.regions) or "the call"
            raise NotListedError(
                f"{shown} is not in the book of {regions} for {self.purpose}; add it to {self.purpose} of the region, "
                f"or use one of {self.book.shown(self.purpose)}"
            )
        self.place = place
        self.addresses = {place[0]} if is_address(place[0]) else set()

    def contacted(self, place: Place, address: str, *, refused: bool = False) -> None:
        """Let it be noted that a connection was begun, or refused."""
        region = self.book.region_of(self.purpose, *place)
        self._note(HostContacted(place[0] or address, address, place[1], self.purpose, region, refused))

    def tells_of(self, host: str) -> bool:
        """Whether a refusal of this host is worth a line in the log: once each, and of `HOSTS_TOLD` at most."""
        is_new = host not in self._told and len(self._told) < HOSTS_TOLD
        if is_new:
            self._told.add(host)
        return is_new


ERRAND: Final[ContextVar[Errand | None]] = ContextVar("errand", default=None)
"""What the running task connects for."""


@contextmanager
def on_errand(errand: Errand) -> Iterator[None]:
    """Let everything that connects in here, in this task and those it starts, do so on an errand."""
    token = ERRAND.set(errand)
    try:
        yield
    finally:
        ERRAND.reset(token)


class Reach:
    """Where one call may connect, and where it has."""

    def __init__(self, route: Route, generation: Generation, note: Note) -> None:
        is_remote = ConfiguredRoutes(generation.parts.agents).is_remote
        self.regions: Final = regions_of(route, generation.settings, is_remote)
        """The region in which the call lives, then those that its route allows; none for a call within this process."""
        self.contacts: list[tuple[float, HostContacted]] = []
        """Who was contacted and when, in Unix time."""
        self._settings = generation.settings
        self._books: dict[Purpose, Book] = {}
        self._tell = note
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def errand(self, purpose: Purpose, book: Book | None = None, whom: str = "") -> Errand:
        """Begin an errand within the books of the call's regions, or within one of them; the log names ``whom``."""
        if book is None:
            book = self._books.get(purpose) or joined_book(self._settings, self.regions)
            self._books[purpose] = book
        return Errand(book, purpose, self._note, whom)

    def _note(self, contact: HostContacted) -> None:
        """Take note, from whatever thread."""
        if threading.get_ident() == self._thread:
            self._keep(contact)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._keep, contact)

    def _keep(self, contact: HostContacted) -> None:
        if len(self.contacts) < CONTACTS:
            self.contacts.append((time.time(), contact))
            self._tell(contact)


class Egress:
    """The one maker of connections; enter it before use."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool of connections."""
        connector = aiohttp.TCPConnector(
            limit=0,  # aiohttp's pool stops at 100 connections unless told otherwise
            force_close=True,  # what one call has opened is never another's
            use_dns_cache=False,  # its cache would not ask us for whom
            resolver=_Resolver(),
            socket_factory=_socket_for,
        )
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(_refuse_redirect)
        # a cookie that one call was given must not be shown by another
        cookies = aiohttp.DummyCookieJar()
        self._client = aiohttp.ClientSession(
            connector=connector, cookie_jar=cookies, trace_configs=[tracing], timeout=aiohttp.ClientTimeout()
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close what is left."""
        client, self._client = self._client, None
        if client:
            await client.close()

    @property
    def is_open(self) -> bool:
        """Whether it was entered."""
        return self._client is not None

    async def open_socket(self, errand: Errand, url: URL, **options: Any) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket.

        Raises:
            NotListedError: when the errand's book does not list the host.
            aiohttp.ClientError: as aiohttp does.
        """
        errand.check(str(url))
        with on_errand(errand):
            opened: aiohttp.ClientWebSocketResponse = await self._open_client().ws_connect(url, **options)
        return opened

    @asynccontextmanager
    async def request(
        self, errand: Errand, method: str, url: str | URL, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; its answer can be read within the context. Redirects are not followed.

        Raises:
            NotListedError: when the errand's book does not list the host.
            aiohttp.ClientError: as aiohttp does.
        """
        errand.check(str(url))
        with on_errand(errand):
            asked = self._open_client().request(method, url, allow_redirects=False, **options)
            answer = await asked
        async with answer:
            yield answer

    def _open_client(self) -> aiohttp.ClientSession:
        if self._client is None:
            raise RuntimeError("the egress is not open; enter it first")
        return self._client


class _Resolver(AbstractResolver):
    """Asks for the addresses of the errand's host, and of no other."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[float, list[str] | OSError]] = {}
        self._asking: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        errand = ERRAND.get()
        if errand is None or errand.place is None or (host.lower().rstrip("."), port) != errand.place:
            raise OSError(errno.EACCES, f"{host}:{port} is not where this connection goes")
        addresses = errand.book.addresses.get(errand.place[0]) or await self._ask(host, family)
        errand.addresses.update(addresses)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def _ask(self, host: str, family: int) -> list[str]:
        """Give what is known of a host, else ask once for however many want to know at the same time."""
        asked = (host, family)
        if (addresses := self._recall(asked)) is not None:
            return addresses
        asking = self._asking.setdefault(asked, asyncio.Lock())
        async with asking:
            if (addresses := self._recall(asked)) is not None:
                return addresses
            try:
                addresses = await _look_up(host, family)
            except OSError as error:
                self._keep(asked, error, UNKNOWN_S)
                raise
            self._keep(asked, addresses, NAMES_S)
            return addresses

    def _recall(self, asked: tuple[str, int]) -> list[str] | None:
        """The answer of a while ago; None where there is none that is still believed."""
        until, answer = self._known.get(asked, (0.0, []))
        if asyncio.get_running_loop().time() >= until:
            return None
        if isinstance(answer, OSError):
            raise type(answer)(*answer.args)  # one of its own for each, with its own way through the code
        return answer

    def _keep(self, asked: tuple[str, int], answer: list[str] | OSError, for_s: float) -> None:
        if len(self._known) >= NAMES:
            del self._known[next(iter(self._known))]
        self._known[asked] = (asyncio.get_running_loop().time() + for_s, answer)

    async def close(self) -> None:
        self._known.clear()


async def _look_up(host: str, family: int) -> list[str]:
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def _socket_for(info: tuple[Any, ...]) -> socket.socket:
    """Make the socket for one attempt: the last moment before something is sent, with the very address."""
    family, kind, proto, _, where = info
    address, port = str(where[0]), int(where[1])
    errand = ERRAND.get()
    if errand is None or errand.place is None:
        raise OSError(errno.EACCES, "no connection is made without saying for whom")
    if port != errand.place[1] or address not in errand.addresses:
        errand.contacted(errand.place, address, refused=True)
        raise OSError(errno.EACCES, f"{address} is no address of {errand.place[0]}:{errand.place[1]}")
    sys.audit(CONNECT, errand.place[0], address, port, errand.purpose, ",".join(errand.book.regions))
    errand.contacted(errand.place, address)
    return socket.socket(family, kind, proto)


async def _refuse_redirect(
    _client: aiohttp.ClientSession,
    _context: SimpleNamespace,
    _redirect: aiohttp.TraceRequestRedirectParams,
) -> None:
    # aiohttp would follow it to any host, past the address book
    raise aiohttp.ClientConnectionError("it redirects to another address, which is not followed")
