"""Checks what sections of the configuration say of each other, and of plugins.

Owns references by name, residency and addresses. Refuses types and unknown keys, which `decode` has judged;
a section that did not decode counts as known here, so that one mistake is one problem.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from gateway.agents.voice_agent_session import SESSION_FIELDS
from gateway.contracts import Parts
from gateway.errors import ConfigError
from gateway.places import place_of
from gateway.runtime.book import addresses_of, book_of, carriers_of, is_address
from gateway.runtime.clips import BUILT_IN_CLIPS, why_unusable
from gateway.runtime.conditions import why_no_pattern, why_no_time
from gateway.runtime.decode import nobody, one_of, suggest, uninstalled
from gateway.runtime.gateway_keys import why_no_key
from gateway.runtime.offline_script import read_script
from gateway.runtime.routing import ConfiguredRoutes, address_book, fallbacks, home_region, strangers
from gateway.runtime.terms import covered
from gateway.runtime.unmet import carriers_among, unmet
from gateway.runtime.yaml_source import Node, Problems
from gateway.settings import (
    BUILT_IN_REGIONS,
    AgentSettings,
    RegionSettings,
    RouteSettings,
    Secrets,
    ServerSettings,
    Settings,
)

_T = TypeVar("_T")

CLIENT_FIELDS = (*SESSION_FIELDS, "agent_id")
"""What a route may let its clients set; of `input` and `output` also parts."""


def check_references(
    root: Node, settings: Settings, parts: Parts, problems: Problems, *, all_plugins: bool = True
) -> None:
    """Report every reference that leads nowhere, and every route that leaves its region unasked.

    Where plugins are missing because they are broken (not ``all_plugins``), what they may bring is not missed.
    """
    check = _Check(root, settings, parts, problems, all_plugins=all_plugins)
    check.addresses()
    check.agents()
    check.routes()
    check.residency()
    check.secrets()
    check.keys()
    check.store()


class _Check:
    def __init__(
        self, root: Node, settings: Settings, parts: Parts, problems: Problems, *, all_plugins: bool
    ) -> None:
        self._root = root
        self._settings = settings
        self._parts = parts
        self._problems = problems
        self._all_plugins = all_plugins
        self._section = root.get("agents") or Node({})
        self._agents = [name for name, _ in self._section.items()]
        self._regions = list(address_book(settings))

    def _add(self, path: tuple[str | int, ...], sentence: str) -> None:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
        if not self._problems.has(place):  # its value is a stand-in then
            self._problems.add(place, self._root.find(*path), sentence)

    def _agent(self, path: tuple[str | int, ...], name: str) -> None:
        if name in self._agents or not isinstance(self._section.value, dict):
            return  # a section that is no mapping has been judged
        otherwise = "define it under agents"
        if self._root.get("agents") is None:
            otherwise = "a file that names routes has no built-in agent, so define it under agents"
        self._add(path, nobody("agent", self._root.find(*path), self._agents, otherwise))

    def _region(self, path: tuple[str | int, ...], name: str) -> None:
        if name not in self._regions:
            node = self._root.find(*path)
            self._add(path, nobody("region", node, self._regions, "define it under regions"))

    def _installed(self, what: str, path: tuple[str | int, ...], name: str, known: Iterable[str]) -> None:
        if name not in known and self._all_plugins:
            self._add(path, uninstalled(what, self._root.find(*path), known))

    def _numbered(self, values: Sequence[_T], *path: str) -> Iterator[tuple[int, _T]]:
        """Values with their places in the file; what was no mapping is none of the values."""
        nodes = self._root.find(*path).value
        if not isinstance(nodes, list):
            return iter(())
        places = [index for index, node in enumerate(nodes) if isinstance(node.value, dict | None)]
        return zip(places, values, strict=False)

    def addresses(self) -> None:
        """Addresses must be ones that can be used, and the two ports two."""
        server = self._settings.server
        if server.public_url and not _is_origin(server.public_url):
            self._add(
                ("server", "public_url"),
                "expected an origin such as https://voice.example.com, without a path; this is what carriers sign",
            )
        for name, adapter in self._settings.adapters.items():
            for index, origin in enumerate(getattr(adapter, "origins", ())):
                if not _is_origin(origin):
                    self._add(
                        ("adapters", name, "origins", index),
                        "expected an origin as browsers name it, such as https://www.example.com, without a path",
                    )
        for index, network in enumerate(server.trusted_proxies):
            if sentence := _why_no_network(network):
                self._add(("server", "trusted_proxies", index), sentence)
        if _is_one_place(server):
            given = self._root.get("server")
            key, other = (
                ("admin_port", "port") if given and given.get("admin_port") else ("port", "admin_port")
            )
            self._add(("server", key), f"is server.{other} too ({server.port}); choose another")
        for name, region in self._settings.regions.items():
            self._book(("regions", name), region)

    def _book(self, here: tuple[str, ...], region: RegionSettings) -> None:
        """Every entry of a book must be one that can be read in one way only."""
        if not region.voice_agent and here[-1] not in BUILT_IN_REGIONS:
            self._add((*here, "voice_agent"), "is missing; give text")
        elif region.voice_agent and not _is_address(region.voice_agent, "wss", "ws"):
            self._add((*here, "voice_agent"), "expected an address that begins with wss:// or ws://")
        if region.rest and not _is_address(region.rest, "https", "http"):
            self._add((*here, "rest"), "expected an address that begins with https:// or http://")
        for purpose in ("hosts", "carrier", "tools", "telemetry", "webhooks"):
            for position, entry in enumerate(getattr(region, purpose)):
                if place_of(entry) is None:
                    self._add(
                        (*here, purpose, position),
                        "expected a host such as crm.internal or crm.internal:8080; no patterns",
                    )
        for host, addresses in region.addresses.items():
            for position, address in enumerate(addresses):
                if not is_address(address):
                    self._add((*here, "addresses", host, position), "expected an IP address such as 10.0.0.7")

    def agents(self) -> None:
        """Regions, fallbacks, tools, scripts and clips of agents."""
        for name, agent in self._settings.agents.items():
            here = ("agents", name)
            self._region((*here, "region"), agent.region)
            if agent.fallback:
                self._agent((*here, "fallback"), agent.fallback)
            if agent.fallback == name:
                self._add((*here, "fallback"), "is the agent itself; name another, or leave it out")
            for index, tool in enumerate(agent.tools):
                self._installed("tool", (*here, "tools", index), tool, self._parts.tools)
            if agent.kind == "offline":
                self._script(name, getattr(agent, "script", ""))
            if ConfiguredRoutes(self._parts.agents).is_remote(agent):
                self._session_addresses(name, agent)
            for clip, path in agent.clips.items():
                if clip not in BUILT_IN_CLIPS:
                    self._add((*here, "clips", clip), f"unknown sound; use {one_of(BUILT_IN_CLIPS)}")
                elif why := why_unusable(Path(path)):
                    self._add((*here, "clips", clip), why)

    def _session_addresses(self, name: str, agent: AgentSettings) -> None:
        """Whom the agent's provider is to tell or ask must be in the book of the agent's region."""
        region = address_book(self._settings).get(agent.region)
        if region is None:
            return
        book = book_of(region, self._settings, agent.region)
        for purpose, path, url in addresses_of(agent.session):
            place = place_of(url)
            here = ("agents", name, "session", *path)
            if place is None:
                self._add(here, "expected an address such as https://crm.example.com/hook")
            elif not book.lists(purpose, *place):
                where = f"{place[0]}:{place[1]}"
                self._add(
                    here,
                    f"{where} is not in the book of {agent.region}, the region of this agent; add {where} to "
                    f"regions.{agent.region}.{purpose}, or use a host that is listed there",
                )

    def _script(self, agent: str, name: str) -> None:
        place = f"agents.{agent}.script"
        if self._problems.has(place):
            return
        try:
            read_script(name)
        except ConfigError as error:
            for problem in error.problems:
                self._problems.add(place, self._root.find("agents", agent, "script"), problem)

    def routes(self) -> None:
        """Agents, regions, adapters and patterns of routes."""
        section = self._root.get("routes") or Node([])
        if section.value == []:
            first = next(iter(self._agents), "…")
            self._add(
                ("routes",),
                f"there are none, so every call would be refused; add - {{name: default, agent: {first}}}",
            )
        names: dict[str, int] = {}
        for index, route in self._numbered(self._settings.routes, "routes"):
            here = ("routes", index)
            if route.name in names:
                self._add((*here, "name"), f"is the name of routes[{names[route.name]}] too; choose another")
            names.setdefault(route.name, index)
            self._agent((*here, "agent"), route.agent)
            self._client_fields(route, here)
            for position, region in enumerate(route.allow_regions):
                self._region((*here, "allow_regions", position), region)
            for position, adapter in enumerate(route.match.adapter):
                self._installed(
                    "adapter", (*here, "match", "adapter", position), adapter, self._parts.adapters
                )
            self._conditions(route, here)

    def _conditions(self, route: RouteSettings, here: tuple[str | int, ...]) -> None:
        """Patterns and hours must be ones that a call can meet, and keys ones that there are."""
        match = route.match
        lists = {"caller": match.caller, "callee": match.callee, "key": match.key}
        for name, patterns in lists.items():
            for position, pattern in enumerate(patterns):
                if why := why_no_pattern(pattern):
                    self._add((*here, "match", name, position), why)
        for name, named in (("parameters", match.parameters), ("claims", match.claims)):
            for key, pattern in named.items():
                if why := why_no_pattern(pattern):
                    self._add((*here, "match", name, key), why)
        keys = [key.name for key in self._settings.access.keys if key.name]
        for position, pattern in enumerate(match.key):
            if "*" not in pattern and pattern not in keys and not self._problems.has("access"):
                path = (*here, "match", "key", position)
                self._add(path, nobody("key", self._root.find(*path), keys, "define it under access.keys"))
        for found in unmet(match, self._settings, carriers_among(self._parts.adapters)):
            if found.is_wrong:
                self._add((*here, "match", *found.path), found.sentence)
        for key, why in (why_no_time(match.time) if match.time else {}).items():
            self._add((*here, "match", "time", key), why)

    def _client_fields(self, route: RouteSettings, here: tuple[str | int, ...]) -> None:
        """What clients may set must be fields of a session, and with a token no more than with a key."""
        for position, field in enumerate(route.client_may):
            if field not in CLIENT_FIELDS and not field.startswith(("input.", "output.")):
                advice = suggest(field, CLIENT_FIELDS, "")
                self._add((*here, "client_may", position), f"the session has no such field; {advice}")
        for position, field in enumerate(route.token_may or ()):
            if not covered(field, route.client_may):
                self._add(
                    (*here, "token_may", position),
                    f"clients with a key may not set it either; add {field} to client_may, or leave it out",
                )

    def residency(self) -> None:
        """No call may reach another region by failing over, unless its route says so."""
        is_remote = ConfiguredRoutes(self._parts.agents).is_remote
        for index, route in self._numbered(self._settings.routes, "routes"):
            names = fallbacks(route.agent, self._settings.agents)
            if any(self._settings.agents[name].kind not in self._parts.agents for name in names):
                continue  # nobody knows whether such an agent is in this process
            home = home_region(route, self._settings, is_remote)
            for name in strangers(route, self._settings, is_remote):
                region = self._settings.agents[name].region
                self._add(
                    ("routes", index, "agent"),
                    f"its fallback {name} is in region {region}, so calls would leave {home}; "
                    f"add {region} to allow_regions of this route, or choose another fallback",
                )
            for region in dict.fromkeys((home, *route.allow_regions)):
                self._contacts(route, region)

    def _contacts(self, route: RouteSettings, name: str) -> None:
        """Whom the house itself tells of a call must be in the book of the region in which it lives."""
        region = address_book(self._settings).get(name)
        if region is None:
            return
        book = book_of(region, self._settings, name)
        endpoint = self._settings.telemetry.otlp_endpoint
        place = place_of(endpoint)
        if endpoint and place is None:
            self._add(("telemetry", "otlp_endpoint"), "expected an address such as http://collector:4318")
        elif place and not (book.lists("telemetry", *place) or self._is_beside_us(place[0])):
            self._add(("telemetry", "otlp_endpoint"), _outside(place, name, route, "telemetry"))
        for adapter, rest in carriers_of(self._settings).items():
            place = place_of(rest)
            serves = not route.match.adapter or adapter in route.match.adapter
            if place and serves and not book.lists("carrier", *place):
                self._add(("adapters", adapter, "rest"), _outside(place, name, route, "carrier"))

    def _is_beside_us(self, host: str) -> bool:
        """Whether a host is in the network where the gateway runs: nobody outside of it can have a name of one label."""
        return self._settings.server.egress != "strict" and "." not in host and ":" not in host

    def secrets(self) -> None:
        """Agents that calls can come to must have the secrets that their kind needs; others may wait for theirs."""
        agents = self._settings.agents
        reached: dict[str, str] = {}
        for _, route in self._numbered(self._settings.routes, "routes"):
            for name in fallbacks(route.agent, agents):
                reached.setdefault(name, route.name)
        for name, route_name in reached.items():
            kind = self._parts.agents.get(agents[name].kind)
            for field in msgspec.structs.fields(kind.settings) if kind else ():
                path = ("agents", name, field.encode_name)
                node = self._root.find("agents", name).get(field.encode_name)
                if field.type != Secrets or not field.required or node is None or node.is_broken:
                    continue  # a secret that may be left out, or one that is missing, which has been said
                if not any(getattr(agents[name], field.name)):
                    self._add(
                        path, f"is empty, and calls of the route {route_name} come to this agent; set it"
                    )

    def keys(self) -> None:
        """Gateway keys must have a text and a name of their own, and routes that exist."""
        routes = [route.name for route in self._settings.routes if route.name]
        names: set[str] = set()
        first: dict[str, int] = {}
        for index, key in self._numbered(self._settings.access.keys, "access", "keys"):
            here = ("access", "keys", index)
            for text in dict.fromkeys(secret.reveal() for secret in key.key):
                if text in first:
                    other = f"access.keys[{first[text]}].key"
                    self._add(
                        (*here, "key"),
                        f"is {other} too, and only the first one would count; give each its own",
                    )
                first.setdefault(text, index)
            if not key.key:
                self._add((*here, "key"), "is empty, and an empty key would let everybody in; give it a text")
            for sentence in filter(None, map(why_no_key, key.key)):
                self._add((*here, "key"), sentence)
            if key.name in names:
                self._add((*here, "name"), "is the name of another key too; choose another")
            names.add(key.name)
            for position, route in enumerate(key.routes):
                if route not in routes:
                    path = (*here, "routes", position)
                    self._add(path, nobody("route", self._root.find(*path), routes, "define it under routes"))

    def store(self) -> None:
        """The store must be one that exists."""
        if self._settings.store.kind == "redis":
            self._add(("store", "kind"), "redis is not available in this version; use memory")


def _outside(place: tuple[str, int], region: str, route: RouteSettings, purpose: str) -> str:
    where = f"{place[0]}:{place[1]}"
    return (
        f"{where} is not in the book of {region}, where calls of the route {route.name} live; add {where} to "
        f"regions.{region}.{purpose}, or use a host that is listed there"
    )


def _why_no_network(text: str) -> str:
    """Say why a text names no network; empty when it does."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return "expected an address or a network such as 10.0.0.0/8"
        return f"is an address inside a network; write {meant}, or the address alone"
    return ""


def _is_one_place(server: ServerSettings) -> bool:
    """Whether both ports are to be opened on one address."""
    everywhere = {"0.0.0.0", "::", ""}
    hosts = {server.host, server.admin_host}
    return server.port == server.admin_port != 0 and (len(hosts) == 1 or bool(hosts & everywhere))


def _is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname)


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and not parts.username
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bare
