"""Finds plugins, checks them and collects what they register: one pluggy manager per generation.

Owns where plugins come from (our own rooms, entry points of the group ``talkpath``, single files in a folder,
objects handed in) and the rule that a name is registered once. Refuses what is misspelt, with the plugin and the
hook in the sentence. `register_adapters` and `register_agents` are first asked with settings that hold no
``agents`` and ``adapters`` yet, because only their answers can decode these sections; answers must not depend on
them.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar

import pluggy
from msgspec import Struct

from gateway import adapters, agents, hookspecs, observers
from gateway.contracts import Adapter, AgentKind, ObserverKind, Parts, Route
from gateway.errors import ConfigError, PluginError
from gateway.events import CallInfo
from gateway.redaction import Redactor
from gateway.runtime.routing import NOTHING_TOLD, ConfiguredRoutes
from gateway.settings import PluginsSettings, Settings
from gateway.terms import Circumstances
from gateway.tools import Tool

ROOMS: Final = (adapters, agents, observers)
"""Packages whose modules with hooks are plugins."""
HOUSE_MODULES: Final = ("gateway.runtime.house_tools",)
"""Further modules of ours that are plugins."""


class Generation(Struct, frozen=True):
    """Configuration, plugins and what they brought; calls keep the one that they began with."""

    settings: Settings
    """The configuration."""
    parts: Parts
    """What the plugins registered."""
    number: int = 1
    """Counts from 1 in one process."""
    source: str = ""
    """Path of the configuration; empty for the built-in one."""
    plugins: tuple[str, ...] = ()
    """Names of the plugins, in the order in which they were found."""


class Origin(Struct, frozen=True):
    """A plugin before it is loaded."""

    name: str
    """As in ``plugins.disabled``."""
    where: str
    """For people: module, package or file."""
    load: Callable[[], object]
    """Imports it."""
    is_built_in: bool = False
    """Whether it comes with Talkpath."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_T = TypeVar("_T", bound=_Named)


def find_plugins(settings: PluginsSettings, extra: Sequence[object] = ()) -> Iterator[Origin]:
    """Every plugin of this machine, disabled ones included; those that are asked last come first."""
    for room in ROOMS:
        for module in sorted(pkgutil.iter_modules(room.__path__), key=lambda found: found.name):
            yield _built_in(f"{room.__name__}.{module.name}")
    for name in HOUSE_MODULES:
        yield _built_in(name)
    for entry in importlib.metadata.entry_points(group=hookspecs.PROJECT):
        package = entry.dist.name if entry.dist else "an unknown package"
        yield Origin(entry.name, f"{entry.value} of {package}", entry.load)
    folder = Path(settings.folder)
    for path in sorted(folder.glob("*.py")) if settings.folder else ():
        if not path.name.startswith("_"):
            yield Origin(path.stem, str(path), partial(_import_file, path))
    for plugin in extra:
        name = str(getattr(plugin, "__name__", type(plugin).__name__))
        yield Origin(name.rpartition(".")[2], name, partial(_itself, plugin))


def _itself(plugin: object) -> object:
    return plugin


def _built_in(module: str) -> Origin:
    return Origin(
        module.removeprefix("gateway."), module, lambda: importlib.import_module(module), is_built_in=True
    )


def _import_file(path: Path) -> ModuleType:
    # One name per file, not per generation: the newest module takes the place of the one before, which lives on
    # in the generation that loaded it.
    name = f"talkpath_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.pop(name, None)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        before = module
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
    return module


class Plugins:
    """The plugins of one generation, loaded and checked."""

    def __init__(self, settings: PluginsSettings, extra: Sequence[object] = ()) -> None:
        """Load all plugins that are not disabled.

        Raises:
            PluginError: one line per plugin that cannot be imported or does not fit the hooks.
        """
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.names: list[str] = []
        """Names of those that have hooks."""
        self.refused: list[str] = []
        """What their hooks refused of the configuration, each ``place: what is wrong; what to do``."""
        found = list(find_plugins(settings, extra))
        wrong = [
            f"plugins.disabled names {name!r}, but no plugin is called so; see `talkpath check` for their names"
            for name in settings.disabled
            if name not in [origin.name for origin in found]
        ]
        for origin in found:
            if origin.name in settings.disabled:
                continue
            try:
                self._add(origin)
            except PluginError as error:
                wrong.append(str(error))
        if wrong:
            raise PluginError("\n".join(wrong))

    def _add(self, origin: Origin) -> None:
        who = f"plugin {origin.name!r} ({origin.where})"
        try:
            plugin = origin.load()
        except Exception as error:
            raise PluginError(
                f"{who} cannot be loaded: {type(error).__name__}: {error}; mend it, or name it in plugins.disabled"
            ) from error
        marked = [name for name in dir(plugin) if self._manager.parse_hookimpl_opts(plugin, name) is not None]
        if not marked:
            if origin.is_built_in:
                return  # a module of a room that is no plugin
            raise PluginError(f"{who} has no hooks; mark at least one function with @hookimpl")
        if self._manager.has_plugin(origin.name):
            raise PluginError(f"{who} has the name of another plugin; rename one of them")
        known = [
            name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), f"{hookspecs.PROJECT}_spec")
        ]
        for name in marked:
            if name not in known:
                raise PluginError(f"{who} has an unknown hook {name!r}; the hooks are {', '.join(known)}")
        try:
            self._manager.register(plugin, origin.name)
        except pluggy.PluginValidationError as error:
            self._manager.set_blocked(origin.name)
            raise PluginError(f"{who} does not fit its hooks: {_first_lines(error)}") from error
        self.names.append(origin.name)

    def adapters(self, settings: Settings) -> dict[str, Adapter]:
        """Adapters by name."""
        return self._collect("register_adapters", Adapter, settings)

    def agents(self, settings: Settings) -> dict[str, AgentKind]:
        """Kinds of agents by name."""
        return self._collect("register_agents", AgentKind, settings)

    def parts(self, settings: Settings) -> Parts:
        """Everything that the plugins register under these settings; what they refuse of them is in `refused`.

        Raises:
            PluginError: when a hook fails, returns something else than it should, or a name is taken.
        """
        kinds = self.agents(settings)
        routes = ConfiguredRoutes(kinds)
        if not self._manager.has_plugin("configured routes"):
            self._manager.register(routes, "configured routes")
        return Parts(
            adapters=self.adapters(settings),
            agents=kinds,
            tools=self._collect("register_tools", Tool, settings),
            observers=tuple(self._collect("register_observers", ObserverKind, settings).values()),
            route_call=self._route_call,
            redactors=tuple(self._collect("register_redactors", Redactor, settings).values()),
        )

    def _route_call(
        self, info: CallInfo, settings: Settings, circumstances: Circumstances = NOTHING_TOLD
    ) -> Route | None:
        """Ask the plugins and at last the configuration.

        Raises:
            PluginError: when a plugin fails, or names an agent that is not configured.
        """
        for hook in reversed(self._manager.hook.route_call.get_hookimpls()):
            arguments = {"info": info, "settings": settings, "circumstances": circumstances}
            answer = _ask(hook, "route_call", arguments)
            if answer is None:
                continue
            if (
                not isinstance(answer, Route)
                or not answer.agents
                or set(answer.agents) - set(settings.agents)
            ):
                raise PluginError(
                    f"plugin {hook.plugin_name!r}: route_call must answer None or a Route to configured agents"
                )
            return answer
        return None

    def _collect(self, hook_name: str, kind: type[_T], settings: Settings) -> dict[str, _T]:
        found: dict[str, _T] = {}
        owners: dict[str, str] = {}
        for hook in getattr(self._manager.hook, hook_name).get_hookimpls():
            try:
                answer = _ask(hook, hook_name, {"settings": settings}, lets_through=ConfigError)
            except ConfigError as error:
                self.refused += [sentence for sentence in error.problems if sentence not in self.refused]
                continue
            if not isinstance(answer, list) or not all(isinstance(part, kind) for part in answer):
                raise PluginError(
                    f"plugin {hook.plugin_name!r}: {hook_name} must return a list of {kind.__name__}"
                )
            for part in answer:
                if part.name in found:
                    raise PluginError(
                        f"plugins {owners[part.name]!r} and {hook.plugin_name!r} both register the "
                        f"{_word(kind)} {part.name!r}; rename one, or name one of them in plugins.disabled"
                    )
                found[part.name], owners[part.name] = part, hook.plugin_name
        return found


def _ask(
    hook: pluggy.HookImpl,
    hook_name: str,
    arguments: Mapping[str, Any],
    lets_through: type[Exception] | tuple[()] = (),
) -> Any:
    """Call one plugin's hook: pluggy's own call would not say whose answer is whose."""
    try:
        return hook.function(*(arguments[name] for name in hook.argnames))
    except lets_through:
        raise
    except PluginError as error:
        raise PluginError(f"plugin {hook.plugin_name!r}: {error}") from error
    except Exception as error:
        raise PluginError(
            f"plugin {hook.plugin_name!r}: {hook_name} failed with {type(error).__name__}: {error}"
        ) from error


def _word(kind: type) -> str:
    return {"AgentKind": "agent kind", "ObserverKind": "observer"}.get(kind.__name__, kind.__name__.lower())


def _first_lines(error: pluggy.PluginValidationError) -> str:
    """Pluggy's sentence about arguments, without the names of its own machinery."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[1:] or lines)


def build_parts(settings: Settings, extra: Sequence[object] = ()) -> Parts:
    """Load the plugins that the settings ask for and collect what they register.

    Raises:
        PluginError: see `Plugins`.
        ConfigError: when they refuse something of the settings.
    """
    plugins = Plugins(settings.plugins, extra)
    parts = plugins.parts(settings)
    if plugins.refused:
        raise ConfigError(*plugins.refused)
    return parts
