"""The hooks through which everything enters: built-in parts and yours alike.

Hooks are plain functions. A plugin takes only the arguments it names; misspelt hooks and arguments fail at
start-up. Registration hooks return lists; decision hooks return an answer or None, and the first answer wins.
"""

from typing import Final

import pluggy

from gateway.contracts import Adapter, AgentKind, ObserverKind, Route
from gateway.events import CallInfo
from gateway.redaction import Redactor
from gateway.settings import Settings
from gateway.terms import Circumstances
from gateway.tools import Tool

PROJECT: Final = "talkpath"
"""Name of the entry-point group and of the markers."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_adapters(settings: Settings) -> list[Adapter]:  # type: ignore[empty-body]
    """Bring callers' dialects."""


@hookspec
def register_agents(settings: Settings) -> list[AgentKind]:  # type: ignore[empty-body]
    """Bring kinds of agents."""


@hookspec
def register_tools(settings: Settings) -> list[Tool]:  # type: ignore[empty-body]
    """Bring tools; an agent gets those that its section names."""


@hookspec
def register_observers(settings: Settings) -> list[ObserverKind]:  # type: ignore[empty-body]
    """Bring readings of the journal."""


@hookspec
def register_redactors(settings: Settings) -> list[Redactor]:  # type: ignore[empty-body]
    """Bring patterns of what must not appear in any log, error or record."""


@hookspec(firstresult=True)
def route_call(info: CallInfo, settings: Settings, circumstances: Circumstances) -> Route | None:
    """Choose the route of a call; None leaves it to the next plugin and at last to ``routes``.

    A route may name agents of other regions only where its own ``allow_regions`` does: the others are not dialled.
    """
