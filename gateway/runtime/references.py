"""Checks what sections of the configuration say of each other, and of plugins.

Owns references by name, residency and addresses. Refuses types and unknown keys, which `decode` has judged;
a section that did not decode counts as known here, so that one mistake is one problem.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from gateway.contracts import Parts
from gateway.errors import ConfigError
from gateway.runtime.clips import BUILT_IN_CLIPS, why_unusable
from gateway.runtime.decode import one_of, suggest
from gateway.runtime.offline_session import read_script
from gateway.runtime.routing import ConfiguredRoutes, address_book, home_region, strangers
from gateway.runtime.yaml_source import Node, Problems
from gateway.settings import Settings

_T = TypeVar("_T")


def check_references(root: Node, settings: Settings, parts: Parts, problems: Problems) -> None:
    """Report every reference that leads nowhere, and every route that leaves its region unasked."""
    check = _Check(root, settings, parts, problems)
    check.addresses()
    check.agents()
    check.routes()
    check.residency()
    check.keys()
    check.store()


class _Check:
    def __init__(self, root: Node, settings: Settings, parts: Parts, problems: Problems) -> None:
        self._root = root
        self._settings = settings
        self._parts = parts
        self._problems = problems
        self._agents = [name for name, _ in root.find("agents").items()]
        self._regions = list(address_book(settings))

    def _add(self, path: tuple[str | int, ...], sentence: str) -> None:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
        if not self._problems.has(place):  # its value is a stand-in then
            self._problems.add(place, self._root.find(*path), sentence)

    def _name(self, path: tuple[str | int, ...], name: str, known: Collection[str], otherwise: str) -> None:
        if name not in known:
            self._add(path, f"invalid value '{self._shown(path, name)}'; {suggest(name, known, otherwise)}")

    def _region(self, path: tuple[str | int, ...], name: str) -> None:
        if name not in self._regions:
            own = [region for region in self._regions if region not in ("us", "eu")]
            names = one_of(["us", "eu", *(own or ["a name from regions"])])
            self._add(path, f"invalid value '{self._shown(path, name)}'; use {names}")

    def _numbered(self, values: Sequence[_T], *path: str) -> Iterator[tuple[int, _T]]:
        """Values with their places in the file; what was no mapping is none of the values."""
        nodes = self._root.find(*path).value
        if not isinstance(nodes, list):
            return iter(())
        places = [index for index, node in enumerate(nodes) if isinstance(node.value, dict | None)]
        return zip(places, values, strict=False)

    def _shown(self, path: tuple[str | int, ...], value: str) -> str:
        """A value as a problem may quote it: not when it came from the environment, which holds secrets."""
        return "(from the environment)" if self._root.find(*path).from_environment else value

    def addresses(self) -> None:
        """Addresses must be ones that can be used."""
        public_url = self._settings.server.public_url
        if public_url and not _is_origin(public_url):
            self._add(
                ("server", "public_url"),
                "expected an origin such as https://voice.example.com, without a path; this is what carriers sign",
            )
        for name, region in self._settings.regions.items():
            if (
                urlsplit(region.voice_agent).scheme not in ("ws", "wss")
                or not urlsplit(region.voice_agent).hostname
            ):
                self._add(
                    ("regions", name, "voice_agent"), "expected an address that begins with wss:// or ws://"
                )

    def agents(self) -> None:
        """Regions, fallbacks, tools, scripts and clips of agents."""
        for name, agent in self._settings.agents.items():
            here = ("agents", name)
            self._region((*here, "region"), agent.region)
            if agent.fallback:
                self._name((*here, "fallback"), agent.fallback, self._agents, "define the agent")
            for index, tool in enumerate(agent.tools):
                self._name(
                    (*here, "tools", index), tool, self._parts.tools, "install the plugin that brings it"
                )
            if agent.kind == "offline" and (why := _why_no_script(getattr(agent, "script", ""))):
                self._add((*here, "script"), why)
            for clip, path in agent.clips.items():
                if clip not in BUILT_IN_CLIPS:
                    self._add((*here, "clips", clip), f"unknown sound; use {one_of(BUILT_IN_CLIPS)}")
                elif why := why_unusable(Path(path)):
                    self._add((*here, "clips", clip), why)

    def routes(self) -> None:
        """Agents, regions, adapters and patterns of routes."""
        if not self._settings.routes and not self._root.find("routes").value:
            self._add(
                ("routes",), "there are none, so no call would be answered; add {name: default, agent: …}"
            )
        names: dict[str, int] = {}
        for index, route in self._numbered(self._settings.routes, "routes"):
            here = ("routes", index)
            if route.name in names:
                self._add((*here, "name"), f"is the name of routes[{names[route.name]}] too; choose another")
            names.setdefault(route.name, index)
            self._name((*here, "agent"), route.agent, self._agents, "define the agent")
            for position, region in enumerate(route.allow_regions):
                self._region((*here, "allow_regions", position), region)
            for position, adapter in enumerate(route.match.adapter):
                self._name((*here, "match", "adapter", position), adapter, self._parts.adapters, "")
            for side, patterns in (("caller", route.match.caller), ("callee", route.match.callee)):
                for position, pattern in enumerate(patterns):
                    if "*" in pattern[:-1]:
                        self._add(
                            (*here, "match", side, position), "a * may only stand at the end; shorten it"
                        )

    def residency(self) -> None:
        """No call may reach another region by failing over, unless its route says so."""
        is_remote = ConfiguredRoutes(self._parts.agents).is_remote
        for index, route in self._numbered(self._settings.routes, "routes"):
            home = home_region(route, self._settings, is_remote)
            for name in strangers(route, self._settings, is_remote):
                region = self._settings.agents[name].region
                self._add(
                    ("routes", index, "agent"),
                    f"its fallback {name} is in region {region}, so calls would leave {home}; "
                    f"add {region} to allow_regions of this route, or choose another fallback",
                )

    def keys(self) -> None:
        """Gateway keys must have a text, a name of their own and routes that exist."""
        routes = [route.name for route in self._settings.routes if route.name]
        names: set[str] = set()
        for index, key in self._numbered(self._settings.access.keys, "access", "keys"):
            here = ("access", "keys", index)
            if not key.key:
                self._add((*here, "key"), "is empty, and an empty key would let everybody in; give it a text")
            if key.name in names:
                self._add((*here, "name"), "is the name of another key too; choose another")
            names.add(key.name)
            for position, route in enumerate(key.routes):
                self._name((*here, "routes", position), route, routes, "define the route")

    def store(self) -> None:
        """The store must be one that exists."""
        if self._settings.store.kind == "redis":
            self._add(("store", "kind"), "redis is not available in this version; use memory")


def _why_no_script(name: str) -> str:
    """Why an offline agent's script cannot be used; empty when it can."""
    try:
        read_script(name)
    except ConfigError as error:
        return " ".join(str(error).split())
    return ""


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and not parts.username
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bare
