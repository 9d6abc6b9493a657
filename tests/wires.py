"""What the tests of all wires share: the registered adapters and agents, their codecs, and vector files.

A vector file is ``tests/vectors/<name>/*.jsonl``, named after an adapter or a kind of agent. Its lines are told in
`gateway.certify.vectors`; the setup of agents takes ``settings``, ``info``, ``opening`` (fields of `OpenAgent`) and ``memory``.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pluggy

import gateway.adapters
import gateway.agents
from gateway import hookspecs
from gateway.audio import MULAW_8K
from gateway.certify import vectors
from gateway.certify.speaker import Message
from gateway.certify.vectors import CLOCK_S, command, filled, fits, lines, message, shown
from gateway.commands import OpenAgent
from gateway.contracts import Adapter, AgentCall, AgentKind, Codec, SessionMemory
from gateway.events import CallInfo
from gateway.settings import BUILT_IN_REGIONS, RegionSettings, Settings

__all__ = ["CLOCK_S", "Message", "command", "filled", "fits", "lines", "message", "shown"]
VECTORS = Path(__file__).parent / "vectors"
NOWHERE = RegionSettings(voice_agent="wss://agents.invalid/v1/ws")


def _manager(room: ModuleType) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for found in pkgutil.iter_modules(room.__path__):
        manager.register(importlib.import_module(f"{room.__name__}.{found.name}"))
    return manager


@functools.cache
def adapters() -> dict[str, Adapter]:
    """Every adapter that a module in `gateway.adapters` registers."""
    brought: list[list[Adapter]] = _manager(gateway.adapters).hook.register_adapters(settings=Settings())
    return {adapter.name: adapter for some in brought for adapter in some}


@functools.cache
def agent_kinds() -> dict[str, AgentKind]:
    """Every kind of agent that a module in `gateway.agents` registers."""
    brought: list[list[AgentKind]] = _manager(gateway.agents).hook.register_agents(settings=Settings())
    return {kind.name: kind for some in brought for kind in some}


def new_codec(name: str, setup: Mapping[str, Any] | None = None) -> Codec:
    """Codec of a new connection of an adapter or agent.

    Raises:
        WireError: when the dialect refuses the connection.
    """
    setup = setup or {}
    if adapter := adapters().get(name):
        return vectors.new_codec(adapter, setup)
    kind = agent_kinds()[name]
    settings = filled(kind.settings, {"kind": name, **setup.get("settings", {})})
    info = {"call_id": "call-1", "adapter": "twilio", "audio": MULAW_8K, **setup.get("info", {})}
    call = AgentCall(
        name="main",
        settings=settings,
        region=BUILT_IN_REGIONS.get(settings.region, NOWHERE),
        info=filled(CallInfo, msgspec.to_builtins(info)),
        tools=(),
        opening=filled(OpenAgent, {"type": "open.agent", "agent": "main", **setup.get("opening", {})}),
        memory=filled(SessionMemory, setup.get("memory", {})),
    )
    return kind.plan(call).codec


def vector_files() -> list[Path]:
    """Every vector file of a wire; those of ``detect`` show whose wire it is, and `test_detect` reads them."""
    return sorted(path for path in VECTORS.glob("*/*.jsonl") if path.parent.name != "detect")
