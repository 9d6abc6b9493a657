"""Where a request comes from: the peer's address, or behind proxies that the configuration names the one that they tell.

Owns whom to believe about that (reference: carriers, 1.12). Refuses proof: an address lets nobody in, it is only what
strangers are counted by, and what the loopback rule asks of a peer is the peer's own address (`door`).
"""

import ipaddress
import logging
from collections.abc import Iterable
from typing import Final

from aiohttp import hdrs, web

log: Final = logging.getLogger("talkpath.door")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CLIENT: Final = web.RequestKey("client", str)
"""The address that a request came from, whole; for the lines that tell of it."""
MOST_HOPS: Final = 16
"""Proxies that are walked back over; what stands before them is nobody's to know."""
NEIGHBOURS: Final = 64
"""Bits of an IPv6 address that are one customer's; counting whole ones would let each have as many as it likes."""


class ClientAddresses:
    """Finds out from where requests come, for one generation of settings."""

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        self._trusted = tuple(ipaddress.ip_network(network) for network in trusted_proxies)
        self._has_warned = False

    def of(self, request: web.BaseRequest) -> str:
        """The address by which a stranger is counted, an IPv6 one as its network of 64 bits; notes the whole one."""
        address = self._find(request)
        request[CLIENT] = "unknown" if address is None else str(address)
        return "unknown" if address is None else _counted(address)

    def _find(self, request: web.BaseRequest) -> Address | None:
        peer = _read(request.remote or "")
        if peer is None:
            return None
        told = ""
        if (
            hdrs.X_FORWARDED_FOR in request.headers
        ):  # of what was no HTTP they are a plain dict, without `getall`
            told = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR))
        if not self._is_trusted(peer):
            if told:
                self._warn(peer)
            return peer
        # From the right: each proxy has written down who asked it, and only the words of ours are believed.
        for text in reversed(told.split(",")[-MOST_HOPS:]):
            before = _read(text)
            if before is None:
                break
            peer = before
            if not self._is_trusted(peer):
                break
        return peer

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _warn(self, peer: Address) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "requests come through a proxy at %s that server.trusted_proxies does not name, so all who come "
                "through it are counted as one; name it there if it is yours",
                peer,
            )


def _read(text: str) -> Address | None:
    """An address as proxies write it: bare, in brackets, with a port or a zone."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _counted(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, NEIGHBOURS), strict=False))
