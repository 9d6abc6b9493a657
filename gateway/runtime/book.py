"""The address book of a region: the only hosts that its calls may reach, by purpose.

Owns what an entry stands for and whether a place is listed. "Residency" in Talkpath means these lists and nothing
vaguer. Refuses I/O; `egress` keeps to it and `references` refuses configurations that could not.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from gateway.places import Place, place_of
from gateway.runtime.routing import address_book
from gateway.settings import RegionSettings, Settings

Purpose = Literal["agent", "carrier", "tools", "telemetry", "webhooks"]
PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)


class Book(Struct, frozen=True):
    """What may be reached from one region, or from several."""

    regions: tuple[str, ...]
    """Names of the regions."""
    places: Mapping[Purpose, frozenset[Place]]
    """All places by purpose."""
    addresses: Mapping[str, tuple[str, ...]] = {}
    """IP addresses of hosts for which no name service is asked."""
    parts: tuple["Book", ...] = ()
    """The books of which this one is made; none where it is that of one region."""
    own_carriers: bool = False
    """Whether a carrier may be asked where its adapter says, because no carriers are listed and egress is not strict."""

    def lists(self, purpose: Purpose, host: str, port: int) -> bool:
        """Whether a place may be reached for a purpose."""
        return (_plain(host), port) in self.places[purpose] or (purpose == "carrier" and self.own_carriers)

    def knows(self, host: str) -> bool:
        """Whether a host is listed for anything, on whatever port."""
        name = _plain(host)
        return any(name == listed for places in self.places.values() for listed, _ in places)

    def purpose_of(self, host: str, port: int) -> Purpose | None:
        """The first purpose for which a place is listed."""
        return next((one for one in PURPOSES if (_plain(host), port) in self.places[one]), None)

    def region_of(self, purpose: Purpose, host: str, port: int) -> str:
        """The first region that lists a place for a purpose; empty where none does."""
        books = (book for book in self.parts or (self,) if book.lists(purpose, host, port))
        return next((name for book in books for name in book.regions), "")

    def shown(self, purpose: Purpose) -> str:
        """The places for a purpose, for people."""
        return ", ".join(sorted(f"{host}:{port}" for host, port in self.places[purpose])) or "nothing"


def carriers_of(settings: Settings) -> dict[str, str]:
    """Addresses of the carriers' own interfaces, by the name of the adapter that asks there."""
    rests = {name: getattr(adapter, "rest", "") for name, adapter in settings.adapters.items()}
    return {name: rest for name, rest in rests.items() if isinstance(rest, str) and rest}


def book_of(region: RegionSettings, settings: Settings, name: str = "") -> Book:
    """The book of one region."""
    entries: dict[Purpose, Iterable[str]] = {
        "agent": (region.voice_agent, region.rest),
        "carrier": region.carrier or carriers_of(settings).values(),
        "tools": region.tools,
        "telemetry": region.telemetry,
        "webhooks": region.webhooks,
    }
    places = {
        purpose: frozenset(place for entry in (*given, *region.hosts) if (place := place_of(entry)))
        for purpose, given in entries.items()
    }
    addresses = {_plain(host): found for host, found in region.addresses.items()}
    own_carriers = not region.carrier and settings.server.egress != "strict"
    return Book((name,) if name else (), places, addresses, (), own_carriers)


def addresses_of(session: Mapping[str, Any]) -> Iterator[tuple[Purpose, tuple[str | int, ...], str]]:
    """The addresses in an agent's session: what each is for, its place in the section, and itself."""
    webhook, tools = session.get("webhook"), session.get("tools")
    if isinstance(webhook, dict) and isinstance(url := webhook.get("url"), str):
        yield "webhooks", ("webhook", "url"), url
    for position, tool in enumerate(tools if isinstance(tools, list) else []):
        http = tool.get("http") if isinstance(tool, dict) else None
        if isinstance(http, dict) and isinstance(url := http.get("url"), str):
            yield "tools", ("tools", position, "http", "url"), url


def joined_book(settings: Settings, regions: Iterable[str] | None = None) -> Book:
    """The book of a call that may be in any of these regions; of all that are configured where none are named.

    A call that is in no region, because all its agents are in this process, is bound by all books together.
    """
    known = address_book(settings)
    named = tuple(name for name in regions or () if name in known) or tuple(known)
    books = [book_of(known[name], settings, name) for name in named]
    places = {
        purpose: frozenset[Place]().union(*(book.places[purpose] for book in books)) for purpose in PURPOSES
    }
    addresses: dict[str, tuple[str, ...]] = {}
    for book in books:
        for host, found in book.addresses.items():
            addresses[host] = tuple(dict.fromkeys((*addresses.get(host, ()), *found)))
    return Book(named, places, addresses, tuple(books), any(book.own_carriers for book in books))


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
