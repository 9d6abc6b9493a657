"""Tests of plugins: found, checked, and never two of one name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.audio import MULAW_8K
from gateway.contracts import Route
from gateway.errors import PluginError
from gateway.events import CallInfo
from gateway.hookspecs import hookimpl
from gateway.runtime.plugins import Plugins, build_parts
from gateway.settings import PluginsSettings, RouteSettings, Settings
from gateway.tools import Tool

INFO = CallInfo(call_id="c", adapter="pcm", audio=MULAW_8K)


async def greet(name: str) -> str:
    """Greet somebody by name."""
    return name


def plugin(name: str, **hooks: Callable[..., Any]) -> object:
    """A plugin object with these hooks."""
    marked = {hook: staticmethod(hookimpl(function)) for hook, function in hooks.items()}
    return type(name, (), {"__name__": name, **marked})()


def without_folder(*extra: object, disabled: tuple[str, ...] = ()) -> Plugins:
    return Plugins(PluginsSettings(folder="", disabled=disabled), extra)


def test_the_parts_of_the_house_enter_by_the_hooks() -> None:
    """Adapters, kinds of agents and tools of our own rooms are found by themselves."""
    parts = build_parts(Settings(plugins=PluginsSettings(folder="")))
    assert {"twilio", "pcm"} <= parts.adapters.keys()
    assert {"voice_agent", "offline"} <= parts.agents.keys()
    assert parts.tools.keys() == {"hang_up"}


def test_objects_handed_in_are_plugins() -> None:
    """The demo and tests bring plugins that are not installed; a plugin takes only the arguments it names."""
    extra = plugin("demo", register_tools=lambda: [Tool.of(greet)])
    assert without_folder(extra).parts(Settings()).tools.keys() == {"hang_up", "greet"}


def test_single_files_are_plugins(tmp_path: Path) -> None:
    """A file in the folder is loaded by its name, and anew in the next generation; _files are left alone."""
    text = (
        "from gateway.contracts import Tool\nfrom gateway.hookspecs import hookimpl\n"
        "async def {0}(order_id: str) -> str:\n    'Say where an order is.'\n    return order_id\n"
        "@hookimpl\ndef register_tools(settings):\n    return [Tool.of({0})]\n"
    )
    (tmp_path / "orders.py").write_text(text.format("track"))
    (tmp_path / "_draft.py").write_text("raise RuntimeError")
    settings = Settings(plugins=PluginsSettings(folder=str(tmp_path)))
    first = build_parts(settings)
    (tmp_path / "orders.py").write_text(text.format("find_order"))
    assert "track" in first.tools
    assert "find_order" in build_parts(settings).tools


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere_at_all", "plugin 'acme' .* cannot be loaded: ModuleNotFoundError"),
        ("def f(:", "plugin 'acme' .* cannot be loaded: SyntaxError"),
        ("x = 1", "plugin 'acme' .* has no hooks; mark at least one function with @hookimpl"),
        ("@hookimpl\ndef register_tool(settings): ...", "plugin 'acme' .* unknown hook 'register_tool'"),
        ("@hookimpl\ndef register_tools(seting): ...", "plugin 'acme' .* register_tools.*seting"),
        (
            "@hookimpl\ndef register_tools(): return 7",
            "plugin 'acme': register_tools must return a list of Tool",
        ),
        (
            "@hookimpl\ndef register_tools(): return [7]",
            "plugin 'acme': register_tools must return a list of Tool",
        ),
        (
            "@hookimpl\ndef register_tools(): return 1 / 0",
            "plugin 'acme': register_tools failed with ZeroDivision",
        ),
        (
            "@hookimpl\ndef register_tools(): return [Tool.of(print)]",
            "plugin 'acme': tool 'print' is not a coroutine function",
        ),
    ],
)
def test_what_is_wrong_with_a_plugin_names_it_and_the_hook(tmp_path: Path, text: str, words: str) -> None:
    """Broken files, misspelt hooks and arguments, and useless answers fail at the start, in a sentence."""
    header = "from gateway.contracts import Tool\nfrom gateway.hookspecs import hookimpl\n"
    (tmp_path / "acme.py").write_text(header + text)
    with pytest.raises(PluginError) as refused:
        build_parts(Settings(plugins=PluginsSettings(folder=str(tmp_path))))
    pattern = pytest.RaisesExc(PluginError, match=f"(?s){words}")
    assert pattern.matches(refused.value), refused.value


def test_all_broken_plugins_are_named_at_once(tmp_path: Path) -> None:
    """One line for each."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    with pytest.raises(PluginError) as refused:
        Plugins(PluginsSettings(folder=str(tmp_path)))
    assert [line.partition(" (")[0] for line in str(refused.value).splitlines()] == [
        "plugin 'one'",
        "plugin 'two'",
    ]


def test_two_plugins_with_the_same_part_are_both_named() -> None:
    """Nobody silently replaces somebody else's tool."""
    first = plugin("first", register_tools=lambda: [Tool.of(greet)])
    second = plugin("second", register_tools=lambda: [Tool.of(greet)])
    with pytest.raises(PluginError, match="plugins 'first' and 'second' both register the tool 'greet'"):
        without_folder(first, second).parts(Settings())


def test_two_plugins_of_one_name_are_refused() -> None:
    """Names are for switching plugins off, so they are unique."""
    with pytest.raises(PluginError, match=r"plugin 'same' .* has the name of another plugin"):
        without_folder(*(plugin("same", register_tools=lambda: [Tool.of(greet)]) for _ in range(2)))


def test_a_disabled_plugin_is_not_even_imported(tmp_path: Path) -> None:
    """So that a broken one can be switched off; a name that no plugin has is refused."""
    (tmp_path / "broken.py").write_text("raise RuntimeError")
    found = Plugins(PluginsSettings(folder=str(tmp_path), disabled=("broken", "adapters.twilio")))
    assert "twilio" not in found.parts(Settings()).adapters
    with pytest.raises(PluginError, match="disabled names 'twillio'"):
        without_folder(disabled=("twillio",))


def test_a_plugin_is_asked_for_the_route_before_the_configuration() -> None:
    """The first answer wins; None leaves it to the next, and at last to the routes of the file."""
    first = RouteSettings(name="by plugin", agent="a")
    answers = [None, Route(settings=first, agents=("a",), why="because")]
    extra = plugin("router", route_call=lambda info: answers.pop())  # noqa: ARG005 - the hook's argument
    agents: Any = {"a": build_parts(Settings()).agents["offline"].settings(kind="offline")}
    settings = Settings(agents=agents, routes=(RouteSettings(name="by file", agent="a"),))
    parts = without_folder(extra).parts(settings)
    names = [route.settings.name for _ in range(2) if (route := parts.route_call(INFO, settings))]
    assert names == ["by plugin", "by file"]


def test_a_plugins_route_must_lead_to_configured_agents() -> None:
    """A route into nothing is the plugin's fault and says so."""
    route = Route(settings=RouteSettings(name="r", agent="ghost"), agents=("ghost",), why="because")
    parts = without_folder(plugin("router", route_call=lambda: route)).parts(Settings())
    with pytest.raises(PluginError, match="plugin 'router': route_call must answer None or a Route"):
        parts.route_call(INFO, Settings())
