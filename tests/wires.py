"""What the tests of all wires share: the registered adapters and agents, their codecs, and vector files.

A vector file is ``tests/vectors/<name>/*.jsonl``, named after an adapter or a kind of agent. Each line is one object:

* ``{"note": …}`` says where the lines below come from; any line may carry one.
* ``{"setup": {…}}`` begins a new connection; without one the first line begins it with defaults. Adapters take
  ``upgrade`` (fields of `Upgrade`) and ``settings``; agents take ``settings``, ``info``, ``opening`` (fields of
  `OpenAgent`) and ``memory``. With ``"error": TEXT`` the connection must be refused.
* ``{"opening": [EVENT…]}`` for dialects without a start message: what an opened connection means.
* ``{"wire": MESSAGE, "events": [EVENT…]}`` or ``{"wire": MESSAGE, "error": TEXT}`` decodes.
* ``{"command": COMMAND, "wire": [MESSAGE…]}`` encodes; ``{"refuse": SENTENCE, "wire": [MESSAGE…]}`` refuses.

A MESSAGE is an object (sent as JSON text), a string (text as it is) or ``{"$hex": "00ff"}`` (binary). In events only
the fields that are written are compared; bytes are base64 and ``"raw": "$wire"`` is the text of the message. TEXT must be
part of the error's sentence. The clock of every upgrade stands at `CLOCK_S`.
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
from gateway.commands import AnyCommand, Command, OpenAgent
from gateway.contracts import Adapter, AgentCall, AgentKind, Codec, SessionMemory, Upgrade
from gateway.events import CallInfo, Event
from gateway.settings import BUILT_IN_REGIONS, RegionSettings, Secret, Secrets, Settings

VECTORS = Path(__file__).parent / "vectors"
NOWHERE = RegionSettings(voice_agent="wss://agents.invalid/v1/ws")
CLOCK_S = 1790210425.654
Message = str | bytes


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


def _secret(kind: type, value: Any) -> Any:
    return Secret(value) if kind is Secret else value


def filled(kind: type, fields: Mapping[str, Any]) -> Any:
    """A struct from the fields of a vector file: one secret counts as a list of them, a missing one is invented."""
    values = dict(fields)
    for field in msgspec.structs.fields(kind):
        if field.type == Secrets:
            given = values.get(field.name, ["secret"] if field.required else [])
            values[field.name] = [given] if isinstance(given, str) else given
    return msgspec.convert(values, kind, dec_hook=_secret)


def new_codec(name: str, setup: Mapping[str, Any] | None = None) -> Codec:
    """Codec of a new connection of an adapter or agent.

    Raises:
        WireError: when the dialect refuses the connection.
    """
    setup = setup or {}
    if adapter := adapters().get(name):
        upgrade = filled(Upgrade, {"call_id": "call-1", **setup.get("upgrade", {})})
        upgrade = msgspec.structs.replace(upgrade, clock=lambda: CLOCK_S)
        return adapter.codec(upgrade, filled(adapter.settings, setup.get("settings", {})))
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


def lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a vector file."""
    return [msgspec.json.decode(line) for line in path.read_text("utf-8").split("\n") if line.strip()]


def message(written: Any) -> Message:
    """The message that a vector file writes."""
    if isinstance(written, str):
        return written
    if set(written) == {"$hex"}:
        return bytes.fromhex(written["$hex"])
    return msgspec.json.encode(written).decode()


def command(written: Mapping[str, Any]) -> Command:
    """The command that a vector file writes."""
    return msgspec.convert(written, AnyCommand)  # type: ignore[no-any-return]


def shown(event: Event) -> dict[str, Any]:
    """An event as a vector file writes it."""
    return msgspec.to_builtins(event)  # type: ignore[no-any-return]


def fits(written: Any, found: Any) -> bool:
    """Whether everything that is written is found; numbers may differ by a tenth."""
    if isinstance(written, dict) and isinstance(found, dict):
        return all(name in found and fits(value, found[name]) for name, value in written.items())
    if isinstance(written, list) and isinstance(found, list):
        return len(written) == len(found) and all(map(fits, written, found))
    if isinstance(written, float) and isinstance(found, int | float):
        return abs(written - found) < 0.1
    return bool(written == found) and type(written) is type(found)
