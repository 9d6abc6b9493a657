"""Reads ``gateway.yaml`` and the environment into settings, together with the plugins that own parts of them.

Owns where the configuration comes from, its defaults, ``extends`` and the order of decoding. Refuses to stop at
the first problem: all of them are raised at once. Paths in the file are relative to the file's folder and leave
here absolute.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec

from gateway.contracts import Parts
from gateway.errors import ConfigError, PluginError
from gateway.runtime.decode import ABSENT, decode, one_of, suggest
from gateway.runtime.development import development_secret, with_development_secrets
from gateway.runtime.plugins import Generation, Plugins
from gateway.runtime.references import check_references
from gateway.runtime.yaml_source import Node, Problems, read_yaml
from gateway.settings import PluginsSettings, Settings

__all__ = ["development_secret", "load_generation", "load_settings"]

DEFAULT_FILE: Final = "gateway.yaml"
VARIABLE: Final = "TALKPATH_CONFIG"
MAX_FILE_BYTES: Final = 4_194_304

_OWNED_BY_PLUGINS: Final = ("agents", "adapters")
_DEFAULT_AGENTS: Final = {"offline": {"kind": "offline", "tools": ["hang_up"]}}
_DEFAULT_ROUTES: Final = [{"name": "default", "agent": "offline", "dtmf": "text"}]


def load_settings(path: str | Path | None = None) -> Settings:
    """Settings of a file, else of ``$TALKPATH_CONFIG``, else of ``./gateway.yaml``, else the built-in ones.

    Raises:
        ConfigError: with every problem.
        PluginError: when nothing is wrong but a plugin.
    """
    return load_generation(path).settings


def load_generation(
    path: str | Path | None = None, *, number: int = 1, extra: Sequence[object] = ()
) -> Generation:
    """Load configuration and plugins; ``extra`` are plugin objects besides those that are found.

    Raises:
        ConfigError: with every problem.
        PluginError: when nothing is wrong but a plugin.
    """
    problems = Problems()
    file = _choose_file(path)
    if file is None:
        root, folder = _built_in(), Path.cwd()
    else:
        root, folder = _read(file, problems), file.resolve().parent
        _fill_in_defaults(root)
    loading = _Loading(root, folder, problems)
    settings, parts, plugins = loading.run(extra)
    return Generation(
        settings=with_development_secrets(settings),
        parts=parts,
        number=number,
        source=str(file) if file else "",
        plugins=tuple(plugins.names),
    )


def _choose_file(path: str | Path | None) -> Path | None:
    if path is not None:
        return Path(path)
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def _read(file: Path, problems: Problems) -> Node:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(
                f"{file}: the file is larger than {MAX_FILE_BYTES} bytes; is it a configuration?"
            )
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); name another with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text; save it as UTF-8") from error
    root = read_yaml(text, os.environ, problems)
    if problems and not root.value:
        raise ConfigError(*problems.sentences())  # nothing could be read, so nothing more can be said
    return root


def _built_in() -> Node:
    """What holds where nothing is configured: the offline agent."""
    return Node.of(
        {
            "agents": _DEFAULT_AGENTS,
            "routes": _DEFAULT_ROUTES,
            "adapters": {"twilio": {}, "pcm": {}},
        }
    )


def _fill_in_defaults(root: Node) -> None:
    """Let a file that says nothing of agents and routes, or of adapters, keep the built-in ones."""
    if not isinstance(root.value, dict):
        return
    if not (root.value.keys() & {"agents", "routes"}):
        root.value["agents"] = Node.of(_DEFAULT_AGENTS)
        root.value["routes"] = Node.of(_DEFAULT_ROUTES)
    root.value.setdefault("adapters", Node.of({"pcm": {}}))


class _Loading:
    """One run of the loader; goes as far as it can, so that every problem is found."""

    def __init__(self, root: Node, folder: Path, problems: Problems) -> None:
        self._root = root
        self._folder = folder
        self._problems = problems

    def run(self, extra: Sequence[object]) -> tuple[Settings, Parts, Plugins]:
        plain = self._plain_sections()
        try:
            plugins = Plugins(plain.plugins, extra)
            settings = self._owned_sections(plain, plugins)
            parts = plugins.parts(settings)
            check_references(self._root, settings, parts, self._problems)
        except PluginError as error:
            if not self._problems:
                raise
            raise ConfigError(*self._problems.sentences(), *str(error).splitlines()) from error
        if self._problems:
            raise ConfigError(*self._problems.sentences())
        return settings, parts, plugins

    def _plain_sections(self) -> Settings:
        """Everything but the sections of plugins; a section that is wrong keeps its defaults for now."""
        if not isinstance(self._root.value, dict):
            self._problems.add("", self._root, "the file must be a mapping of sections; see docs/reference")
            raise ConfigError(*self._problems.sentences())
        fields = {field.name: field for field in msgspec.structs.fields(Settings)}
        sections: dict[str, Any] = {}
        for name, node in self._root.items():
            if name not in fields:
                self._problems.add(name, node, f"unknown section; {suggest(name, fields, '')}")
            elif name not in _OWNED_BY_PLUGINS:
                value = decode(node, fields[name].type, name, self._problems)
                if value is not ABSENT:
                    sections[name] = value
        settings = Settings(**sections)
        folder = settings.plugins.folder
        if folder:
            found = self._folder / folder
            if self._root.find("plugins").get("folder") and not found.is_dir():
                self._problems.add(
                    "plugins.folder",
                    self._root.find("plugins", "folder"),
                    f"there is no folder {found}; make it",
                )
            folder = str(found)
        plugins = PluginsSettings(disabled=settings.plugins.disabled, folder=folder)
        records = settings.records
        if records.path:
            records = msgspec.structs.replace(records, path=str(self._folder / records.path))
        return msgspec.structs.replace(settings, plugins=plugins, records=records)

    def _owned_sections(self, plain: Settings, plugins: Plugins) -> Settings:
        kinds, dialects = plugins.agents(plain), plugins.adapters(plain)
        self._extend_agents()
        agents = self._named(
            "agents",
            lambda node, place: self._agent_struct(
                node, place, {name: kind.settings for name, kind in kinds.items()}
            ),
        )
        adapters = self._named(
            "adapters",
            lambda node, place: self._adapter_struct(
                node, place, {name: one.settings for name, one in dialects.items()}
            ),
        )
        return msgspec.structs.replace(plain, agents=agents, adapters=adapters)

    def _named(
        self, section: str, struct: Callable[[Node, str], type[msgspec.Struct] | None]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        node = self._root.get(section) or Node({})
        if node.value is not None and not isinstance(node.value, dict):
            self._problems.add(section, node, "expected a mapping of names to sections; indent them below it")
        for name, below in node.items():
            place = f"{section}.{name}"
            kind = struct(below, place)
            value = decode(below, kind, place, self._problems) if kind else ABSENT
            if value is not ABSENT:
                found[name] = self._with_paths(value)
        return found

    def _agent_struct(
        self, node: Node, place: str, kinds: Mapping[str, type[msgspec.Struct]]
    ) -> type[msgspec.Struct] | None:
        kind = node.get("kind")
        if kind is None and node.get("extends"):
            pass  # it extends nothing that exists, which has been said
        elif kind is None:
            self._problems.add(place, node, f"has no kind; give kind: {one_of(sorted(kinds))}, or extends")
        elif not isinstance(kind.value, str) or kind.value not in kinds:
            self._problems.add(f"{place}.kind", kind, f"unknown kind; use {one_of(sorted(kinds))}")
        else:
            return kinds[kind.value]
        return None

    def _adapter_struct(
        self, node: Node, place: str, dialects: Mapping[str, type[msgspec.Struct]]
    ) -> type[msgspec.Struct] | None:
        name = place.partition(".")[2]
        if name not in dialects:
            self._problems.add(
                place, node, f"unknown adapter; {suggest(name, dialects, 'install its plugin')}"
            )
        return dialects.get(name)

    def _with_paths(self, value: Any) -> Any:
        """Make the paths of an agent's clips and script absolute; a script may also be a shipped one's name."""
        changes: dict[str, Any] = {}
        if clips := getattr(value, "clips", None):
            changes["clips"] = {name: str(self._folder / clip) for name, clip in clips.items()}
        script = getattr(value, "script", None)
        if isinstance(script, str) and script.endswith((".yaml", ".yml")):
            changes["script"] = str(self._folder / script)
        if not isinstance(value, msgspec.Struct):  # a stand-in for a section that has problems
            return SimpleNamespace(**{**vars(value), **changes})
        return msgspec.structs.replace(value, **changes) if changes else value

    def _extend_agents(self) -> None:
        agents = self._root.get("agents")
        if agents is None or not isinstance(agents.value, dict):
            return
        self._root.value["agents"] = Node(
            {name: self._extended(name, agents, ()) for name in agents.value}, agents.line, agents.column
        )

    def _extended(self, name: str, agents: Node, above: tuple[str, ...]) -> Node:
        """An agent's section laid over the one that it extends, and that one over its own."""
        node: Node = agents.value[name]
        extends = node.get("extends")
        if extends is None:
            return node
        place = f"agents.{name}.extends"
        own = Node({key: below for key, below in node.items() if key != "extends"}, node.line, node.column)
        if not isinstance(extends.value, str) or extends.value not in agents.value:
            others = [other for other in agents.value if other != name]
            self._problems.add(
                place, extends, f"no such agent; {suggest(str(extends.value), others, 'define it')}"
            )
        elif extends.value in (chain := (*above, name)):
            circle = chain[chain.index(extends.value) :]
            if name == max(
                circle, key=list(agents.value).index
            ):  # each of them finds the circle; one says it
                shown = " → ".join((*circle, extends.value))
                self._problems.add(
                    place, extends, f"agents extend each other in a circle ({shown}); break it"
                )
        else:
            return merge(self._extended(extends.value, agents, chain), own)
        return own if node.get("kind") else node


def merge(below: Node, above: Node) -> Node:
    """Lay one node over another: mappings merge key by key, everything else is replaced."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    merged = dict(below.value)
    for key, node in above.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, above.line, above.column)
