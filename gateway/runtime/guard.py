"""Sees every connection that Python code of this process makes by itself, and with strict egress refuses strangers.

Owns the process's audit hook. What `gateway.runtime.egress` makes is checked and noted there; here stand those who
open sockets themselves: tools, plugins, libraries. A tool's connection is judged by the books of its call's regions,
for tools, and noted in that call; one of which nobody knows for whom it is, by all books together. A name that may
be reached is remembered with the addresses that it was answered, so that an address is let through as that host only.

What an audit hook cannot see is code that asks the kernel without Python: extensions in C, other processes, and
uvloop's own `create_connection`, for which `Loop` speaks. Keep those in with rules of the network.
"""

import errno
import ipaddress
import logging
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvloop

from gateway.runtime.book import Book, Purpose, is_address
from gateway.runtime.egress import ERRAND, Errand

log: Final = logging.getLogger("talkpath.egress")

NAMES: Final = 10_000
"""Most addresses of which the names are remembered."""
KEPT: Final = 1000
"""Newest connections that are remembered of those that belong to no call."""
_SENDS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKUPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_NOWHERE: Final = frozenset({"", "localhost"})
"""Names that are no host elsewhere."""


class Refused(PermissionError):  # noqa: N818 - a fact about a connection
    """A connection that no book lists was not let through."""

    def __init__(self, what: str) -> None:
        super().__init__(
            errno.EACCES,
            f"{what} is in no book that counts here, and server.egress is strict; add it to tools of the region",
        )


class Guard:
    """Judges connections by a book; one for the process."""

    def __init__(self, book: Book, *, strict: bool) -> None:
        self.reached: deque[tuple[str, str, int]] = deque(maxlen=KEPT)
        """Connections that belong to no call: host, address, port."""
        self._book = book
        self._strict = strict
        self._names: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        for host, addresses in book.addresses.items():
            self.learn(host, addresses)

    def learn(self, host: str, addresses: Any) -> None:
        """Remember which addresses a host has."""
        with self._lock:
            for address in addresses:
                if len(self._names) >= NAMES:
                    del self._names[next(iter(self._names))]
                self._names.setdefault(_plain(str(address)), set()).add(host.lower().rstrip("."))

    def look_up(self, host: Any) -> None:
        """Somebody asks for the addresses of a host.

        Raises:
            Refused: when egress is strict and no book that counts here has the host.
        """
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
        if not self._strict or name in _NOWHERE or is_address(name):
            return
        errand = ERRAND.get()
        if not (errand.book if errand else self._book).knows(name):
            if errand:
                errand.contacted((name, 0), "", refused=True)
                _tell(errand, name, 0)
            raise Refused(name)

    def connect(self, where: Any) -> None:
        """Somebody connects, or sends without connecting.

        Raises:
            Refused: when egress is strict and no book that counts here has the place.
        """
        if not isinstance(where, tuple) or len(where) < 2:
            return
        address, port = _plain(str(where[0])), int(where[1])
        errand = ERRAND.get()
        if errand and errand.place:
            if port == errand.place[1] and str(where[0]) in errand.addresses:
                return  # one of the gateway's own, which has been checked and noted
            errand = None
        hosts = sorted({address, *self._names.get(address, ())})
        book, purposes = (
            (errand.book, (errand.purpose,)) if errand else (self._book, tuple(self._book.places))
        )
        listed = next((host for host in hosts if _lists(book, purposes, host, port)), None)
        refused = listed is None and self._strict
        host = listed or next((host for host in hosts if host != address), address)
        if errand:
            errand.contacted((host, port), address, refused=refused)
            if refused:
                _tell(errand, host, port)
        else:
            self._note(host, address, port, refused=refused)
        if refused:
            raise Refused(f"{host}:{port}")

    def name(self, host: str, port: int) -> None:
        """Somebody connects to a host by its name, in code that Python does not see.

        Raises:
            Refused: when egress is strict and no book that counts here has the place.
        """
        if is_address(host):
            self.connect((host, port))
            return
        self.look_up(host)
        errand = ERRAND.get()
        book = errand.book if errand else self._book
        if self._strict and not _lists(book, tuple(book.places), host, port):
            if errand:
                _tell(errand, host, port)
            raise Refused(f"{host}:{port}")
        self._note(host, "", port, refused=False)

    def _note(self, host: str, address: str, port: int, *, refused: bool) -> None:
        self.reached.append((host, address, port))
        log.log(
            logging.WARNING if refused else logging.INFO,
            "egress host=%s address=%s port=%d%s",
            host,
            address,
            port,
            " refused" if refused else "",
        )


def _tell(errand: Errand, host: str, port: int) -> None:
    if errand.tells_of(host):  # asked first: whoever takes the line may connect, too
        at = f" port={port}" if port else ""
        log.warning("egress host=%s%s refused purpose=%s %s", host, at, errand.purpose, errand.whom)


_guard: Guard | None = None
_lookup: Any = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    guard = _guard
    if guard is None:
        return
    if event in _SENDS:
        guard.connect(arguments[1])
    elif event in _LOOKUPS:
        guard.look_up(arguments[0])


def _answers(host: Any, *arguments: Any, **options: Any) -> Any:
    """In front of `socket.getaddrinfo`: an audit hook sees the question only, and the answers are what is dialled."""
    answers = _lookup(host, *arguments, **options)
    guard = _guard
    if guard is not None and host and not is_address(str(host)):
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        guard.learn(name, {answer[4][0] for answer in answers})
    return answers


@contextmanager
def guarding(book: Book, *, strict: bool) -> Iterator[Guard]:
    """Watch this process for the length of a ``with``; there is one guard at a time."""
    global _guard, _lookup  # noqa: PLW0603 - an audit hook belongs to the process, and cannot be taken away
    if _lookup is None:
        sys.addaudithook(_hook)
        _lookup = socket.getaddrinfo
    socket.getaddrinfo = _answers
    before, _guard = _guard, Guard(book, strict=strict)
    try:
        yield _guard
    finally:
        _guard = before
        if before is None:
            socket.getaddrinfo = _lookup


class Loop(uvloop.Loop):
    """The event loop of a gateway: what it would connect by itself, in C, is asked of the guard first."""

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Connect, where the guard lets it."""
        if _guard is not None and host is not None:
            _guard.name(str(host), int(port or 0))
        return await super().create_connection(factory, host, port, **options)

    async def create_datagram_endpoint(  # type: ignore[override]
        self, factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any
    ) -> Any:
        """Send datagrams to one host, where the guard lets it."""
        if _guard is not None and remote_addr is not None:
            _guard.name(str(remote_addr[0]), int(remote_addr[1]))
        return await super().create_datagram_endpoint(factory, local_addr, remote_addr, **options)


def _lists(book: Book, purposes: tuple[Purpose, ...], host: str, port: int) -> bool:
    # a carrier may be asked where its adapter says, and that is not said of sockets that nobody announced
    return any((host, port) in book.places[purpose] for purpose in purposes)


def _plain(address: str) -> str:
    """An IP address in its one form, without zone, and not as one of the other family."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address.lower().rstrip(".")
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
