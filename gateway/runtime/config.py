"""Reads ``gateway.yaml`` and the environment into settings, together with the plugins that own parts of them.

Owns where the configuration comes from, its defaults and the order of decoding. Refuses to stop at the first
problem: all of them are raised at once, also those that can be told while a plugin is broken. Paths in the file are relative to the file's folder and leave
here absolute.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec

from gateway.contracts import Adapter, AgentKind, Parts
from gateway.errors import ConfigError, PluginError
from gateway.redaction import MASK, REDACTION, secrets_of
from gateway.runtime.decode import ABSENT, decode, one_of, suggest, uninstalled, unknown
from gateway.runtime.development import development_secret, with_development_secrets
from gateway.runtime.extends import extend_agents
from gateway.runtime.plugins import Generation, Plugins, find_plugins
from gateway.runtime.references import check_references
from gateway.runtime.secret_files import with_secret_files
from gateway.runtime.secret_places import named_secrets, suspects
from gateway.runtime.yaml_source import Node, Problems, read_yaml
from gateway.settings import AgentSettings, PluginsSettings, Settings

__all__ = ["chosen_file", "development_secret", "load_generation", "load_settings"]

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
    path: str | Path | None = None,
    *,
    number: int = 1,
    extra: Sequence[object] = (),
    server: Mapping[str, Any] | None = None,
) -> Generation:
    """Load configuration and plugins.

    Args:
        path: The file; else the one that `chosen_file` finds.
        number: Counts the generations of one process.
        extra: Plugin objects besides those that are found.
        server: Fields of `server` that the command line gives, instead of the file's.

    Raises:
        ConfigError: with every problem.
        PluginError: when nothing is wrong but a plugin.
    """
    seen: list[str] = []
    try:
        return _load(path, number, extra, server or {}, seen)
    except ConfigError as error:
        raise ConfigError(*(_told(sentence, seen) for sentence in error.problems)) from error
    except PluginError as error:
        raise PluginError(_told(str(error), seen)) from error


def _told(sentence: str, suspects: list[str]) -> str:
    """A problem without what is secret, and without what looks so and stands where no secret belongs."""
    for suspect in suspects:
        sentence = sentence.replace(suspect, MASK)
    return REDACTION.without_secrets(sentence)


def _load(
    path: str | Path | None,
    number: int,
    extra: Sequence[object],
    server: Mapping[str, Any],
    seen: list[str],
) -> Generation:
    """Load it; what looks secret in the file is ``seen``, which is more than what is known to be."""
    problems = Problems()
    file = chosen_file(path)
    if file is None:
        root, folder = _built_in(), Path.cwd()
    else:
        root, folder = _read(file, problems, is_named=path is not None), file.resolve().parent
        REDACTION.learn(named_secrets(root))
        seen += suspects(root)
        _fill_in_defaults(root)
    loading = _Loading(root, folder, problems)
    settings, parts, plugins = loading.run(extra)
    if server:
        settings = msgspec.structs.replace(
            settings, server=msgspec.structs.replace(settings.server, **server)
        )
    settings = with_development_secrets(settings)
    REDACTION.learn(secrets_of(settings))
    REDACTION.use(parts.redactors)
    return Generation(
        settings=settings,
        parts=parts,
        number=number,
        source=str(file) if file else "",
        plugins=tuple(plugins.names),
    )


def chosen_file(path: str | Path | None = None) -> Path | None:
    """The file that is read: the one given, else that of ``$TALKPATH_CONFIG``, else ``./gateway.yaml`` if there."""
    if path is not None:
        return Path(path)
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def _read(file: Path, problems: Problems, *, is_named: bool) -> Node:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(
                f"{file}: the file is larger than {MAX_FILE_BYTES} bytes; is it a configuration?"
            )
        text = data.decode("utf-8-sig")
    except OSError as error:
        advice = "name another with --config"
        if not is_named and os.environ.get(VARIABLE):
            advice = f"{VARIABLE} names it: point that at your configuration or unset it, or {advice}"
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); {advice}") from error
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
            "adapters": {"twilio": {}, "vonage": {}, "pcm": {}, "browser": {}},
        }
    )


def _fill_in_defaults(root: Node) -> None:
    """Let a file that says nothing of agents and routes, or of adapters, keep the built-in ones."""
    if not isinstance(root.value, dict):
        return
    for name in ("agents", "routes", "adapters"):
        if (node := root.get(name)) and node.value is None:
            del root.value[name]  # a section whose lines are all commented out
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
        self._orphans: frozenset[str] = frozenset()
        self._all_plugins = True

    def run(self, extra: Sequence[object]) -> tuple[Settings, Parts, Plugins]:
        plain = self._plain_sections()
        plain = msgspec.structs.replace(plain, plugins=self._disabled(plain.plugins, extra))
        self._orphans = extend_agents(self._root, self._problems)
        try:
            plugins, settings, parts = self._with_plugins(plain, extra)
        except PluginError as error:
            self._without_plugins(plain)
            if not self._problems:
                raise
            raise ConfigError(*self._problems.sentences(), *str(error).splitlines()) from error
        if self._problems:
            raise ConfigError(*self._problems.sentences())
        return settings, parts, plugins

    def _with_plugins(self, plain: Settings, extra: Sequence[object]) -> tuple[Plugins, Settings, Parts]:
        plugins = Plugins(plain.plugins, extra)
        settings = self._owned_sections(plain, plugins)
        parts = plugins.parts(settings)
        for sentence in plugins.refused:
            self._refused(sentence)
        check_references(self._root, settings, parts, self._problems, all_plugins=self._all_plugins)
        return plugins, settings, parts

    def _refused(self, sentence: str) -> None:
        """Take what a plugin says of a place in the configuration among the problems, with its line."""
        place, found, rest = sentence.partition(": ")
        path = place.split(".")
        if found and path[0] in {field.name for field in msgspec.structs.fields(Settings)}:
            node = self._root.find(*path) if self._root.get(path[0]) else None
            self._problems.add(place, node, rest)
        else:
            self._problems.add("", None, sentence)

    def _without_plugins(self, plain: Settings) -> None:
        """Find what can be found while a plugin is broken: with our own alone, but what others may bring is let be."""
        self._all_plugins = False
        others = [origin.name for origin in find_plugins(plain.plugins) if not origin.is_built_in]
        disabled = (*plain.plugins.disabled, *others)
        plugins = msgspec.structs.replace(plain.plugins, disabled=disabled)
        with suppress(PluginError):  # the first one is raised
            self._with_plugins(msgspec.structs.replace(plain, plugins=plugins), ())

    def _disabled(self, plugins: PluginsSettings, extra: Sequence[object]) -> PluginsSettings:
        """Report names in ``plugins.disabled`` that no plugin has, and leave them out."""
        known = [origin.name for origin in find_plugins(plugins, extra)]
        for index, name in enumerate(plugins.disabled):
            place = f"plugins.disabled[{index}]"
            if name not in known and not self._problems.has(place):
                node = self._root.find("plugins", "disabled", index)
                advice = "leave it out; `talkpath check` lists those there are once all is well"
                self._problems.add(place, node, unknown("plugin", node, known, advice))
        return msgspec.structs.replace(
            plugins, disabled=tuple(name for name in plugins.disabled if name in known)
        )

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
        if records.path and isinstance(records, msgspec.Struct):
            records = msgspec.structs.replace(records, path=str(self._folder / records.path))
        audit = settings.audit
        if audit.path and isinstance(audit, msgspec.Struct):
            audit = msgspec.structs.replace(audit, path=str(self._folder / audit.path))
        return msgspec.structs.replace(settings, plugins=plugins, records=records, audit=audit)

    def _owned_sections(self, plain: Settings, plugins: Plugins) -> Settings:
        agents = self._named("agents", partial(self._agent, plugins.agents(plain)))
        adapters = self._named("adapters", partial(self._adapter, plugins.adapters(plain)))
        return msgspec.structs.replace(plain, agents=agents, adapters=adapters)

    def _named(self, section: str, read: Callable[[str, Node], Any]) -> dict[str, Any]:
        node = self._root.get(section) or Node({})
        if node.value is not None and not isinstance(node.value, dict):
            self._problems.add(section, node, "expected a mapping of names to sections; indent them below it")
        found = {name: read(name, below) for name, below in node.items()}
        return {name: self._with_paths(value) for name, value in found.items() if value is not ABSENT}

    def _agent(self, kinds: Mapping[str, AgentKind], name: str, node: Node) -> Any:
        place, kind = f"agents.{name}", node.get("kind")
        if kind and isinstance(kind.value, str) and kind.value in kinds:
            struct = kinds[kind.value].settings
            if name in self._orphans and isinstance(
                node.value, dict
            ):  # what is missing may be the other one's
                required = [f.encode_name for f in msgspec.structs.fields(struct) if f.required]
                lost = {key: Node(None, is_broken=True) for key in required if key not in node.value}
                node = Node(node.value | lost, node.line, node.column)
            return decode(node, struct, place, self._problems)
        if kind is None and name not in self._orphans:
            self._problems.add(place, node, f"has no kind; give kind: {one_of(sorted(kinds))}, or extends")
        elif kind and not kind.is_broken and (self._all_plugins or not isinstance(kind.value, str)):
            self._problems.add(f"{place}.kind", kind, uninstalled("kind", kind, kinds))
        # The keys that every kind has can be judged all the same.
        common = {f.encode_name for f in msgspec.structs.fields(AgentSettings)} - {"kind"}
        known = {key: below for key, below in node.items() if key in common}
        return decode(Node(known | {"kind": Node("")}, node.line), AgentSettings, place, self._problems)

    def _adapter(self, dialects: Mapping[str, Adapter], name: str, node: Node) -> Any:
        place = f"adapters.{name}"
        if name in dialects:
            section = decode(node, dialects[name].settings, place, self._problems)
            if section is ABSENT:
                return ABSENT
            return with_secret_files(section, self._folder, place, node, self._problems)
        if self._all_plugins:
            sentence = uninstalled("adapter", Node(name), dialects)
            self._problems.add(place, node, sentence)
        return ABSENT

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
