"""Tools as their authors write them, and what a tool may do to its call.

Owns how a function becomes a tool. Running it is the runtime's.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, get_type_hints

import msgspec
from msgspec import Struct

from gateway.errors import PluginError
from gateway.events import CallInfo


class CallHandle(Protocol):
    """What a tool may do to the call it runs for; safe to use from any thread."""

    info: CallInfo

    def hang_up(self, reason: str = "") -> None:
        """End the call once the last words were heard."""
        ...

    def transfer(self, target: str) -> None:
        """Hand the caller to another number once the last words were heard."""
        ...

    def say(self, instructions: str) -> None:
        """Ask the agent to say something, in words of its own."""
        ...

    def configure(self, **session: Any) -> None:
        """Change the agent's session from here on, such as ``system_prompt`` or ``tools``."""
        ...

    def note(self, text: str) -> None:
        """Leave a note in the call's journal."""
        ...


class Tool(Struct, frozen=True):
    """A function that an agent may call."""

    name: str
    """1 to 64 letters, digits, ``_`` and ``-``."""
    description: str
    """Says when to call it; the agent reads it."""
    arguments: type[Struct]
    """Struct of its arguments; validated before it runs."""
    run: Callable[..., Awaitable[Any]]
    """The function; gets the arguments by name, and ``call`` when `takes_call`."""
    timeout_s: float = 10.0
    """Longest run."""
    cancellable: bool = False
    """Whether it may be cut short when nobody waits for it any more."""
    takes_call: bool = False
    """Whether it gets the call's handle as ``call``."""

    @classmethod
    def of(
        cls, function: Callable[..., Awaitable[Any]], *, timeout_s: float = 10.0, cancellable: bool = False
    ) -> "Tool":
        """Make a tool of a coroutine function: docstring is description, signature is schema.

        Raises:
            PluginError: when it is not a coroutine function, has no docstring, or an argument has no type.
        """
        name = function.__name__
        if not inspect.iscoroutinefunction(function):
            raise PluginError(f"tool {name!r} is not a coroutine function; write `async def {name}`")
        if not (description := inspect.getdoc(function)):
            raise PluginError(f"tool {name!r} has no docstring; say in one sentence when to call it")
        hints = get_type_hints(function, include_extras=True)
        fields: list[Any] = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == "call":
                continue
            if parameter.name not in hints:
                raise PluginError(f"argument {parameter.name!r} of tool {name!r} has no type; add one")
            kind = hints[parameter.name]
            optional = parameter.default is not parameter.empty
            fields.append((parameter.name, kind, parameter.default) if optional else (parameter.name, kind))
        return cls(
            name=name,
            description=description,
            arguments=msgspec.defstruct(name, fields, forbid_unknown_fields=True, kw_only=True),
            run=function,
            timeout_s=timeout_s,
            cancellable=cancellable,
            takes_call="call" in inspect.signature(function).parameters,
        )

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments: one object, without references."""
        (_,), definitions = msgspec.json.schema_components([self.arguments])
        schema = definitions[self.arguments.__name__]
        return {
            "type": "object",
            "properties": schema.get("properties", {}),
            "required": schema.get("required", []),
        }
