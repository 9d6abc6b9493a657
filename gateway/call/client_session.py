"""What a client may set of the agent's session, and how what it sets lies over what the route has.

Owns the merge rule, field by field:

* A field that neither the route's list nor `ALWAYS` names keeps the route's value; the client is told its name. So does
  one below `input`, `output` or in a tool that `gateway.client_rules` does not let pass.
* `system_prompt`, `greeting` and `webhook` of the client stand in the place of the route's.
* A `webhook` must lead to a place that is listed for it, else the route's stays.
* `input` and `output` are laid over the route's field by field, and so is `input.turn_detection` below them: the whole
  of it is sent on, because the provider does not say how it merges a part (reference: Voice Agent API, 3.1).
* `tools` of the client stand beside the route's, and take the place of those that it declared before. Two tools of one
  name are an error, and nothing of that update holds.
* The formats of its sound are the client's own matter and never the agent's.

Refuses the shapes of values, which are the dialect's to judge: what has none here is kept back.
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

import msgspec

from gateway.client_rules import TURN_DETECTION, passes
from gateway.places import Place, place_of

ALWAYS: Final = frozenset({"output.volume"})
"""Fields that every client may set: how loud it hears the agent is nobody else's matter."""
LINE: Final = frozenset({"input.type", "input.format", "output.type", "output.format"})
"""Fields that say what the client's own line carries."""
TOOL_S: Final = 120.0
"""How long a client's tool may take that does not say so (9)."""
MOST_TOOLS: Final = 128
"""Tools that a client may declare in one session."""
_SIDES: Final = ("input", "output")

Json = dict[str, Any]


class _SessionUpdate(msgspec.Struct):
    session: Json = {}


class Asked(NamedTuple):
    """What becomes of one `session.update`."""

    changes: str
    """The fields to change, as JSON text; empty when there are none."""
    kept: list[str]
    """Fields that keep the route's value."""
    error: tuple[str, str, str] | None = None
    """Code, sentence and place of what is wrong with it; nothing of it holds then."""


class ClientSession:
    """What the client of one call has set so far."""

    def __init__(
        self,
        may: AbstractSet[str],
        route_tools: AbstractSet[str],
        *,
        anybody: bool = False,
        webhooks: AbstractSet[Place] = frozenset(),
    ) -> None:
        """Begin with nothing set.

        Args:
            may: Fields that the route lets it set.
            route_tools: Names that its own tools may not have.
            anybody: Whether it came with a minted token.
            webhooks: The only places that a webhook of its may lead to.
        """
        self._webhooks = webhooks
        self._may = may | ALWAYS
        self._anybody = anybody
        self._route_tools = route_tools
        self._fields: Json = {}
        self.tools: dict[str, float] = {}
        """The tools that the client answers, with the seconds that it may take."""

    def first(self, raw: str, agent: str) -> Asked:
        """Take the first update; ``agent`` is the one that answers, which the client may have named itself."""
        session = _read(raw)
        if session is not None and session.get("agent_id") == agent:
            return Asked("", [])
        if session is not None and "agent_id" in session and "agent_id" not in self._may:
            return Asked("", [], ("agent_not_found", "Agent not found", "agent_id"))
        return self.update(raw)

    def update(self, raw: str) -> Asked:
        """Take an update as far as the route lets it through."""
        session = _read(raw)
        if session is None:
            return Asked("", [], ("invalid_format", "Invalid message format for type 'session.update'", ""))
        allowed, kept = self._divided(session)
        tools = _declared(allowed.get("tools"))
        if len(tools) > MOST_TOOLS:
            return Asked("", [], ("invalid_value", f"'tools' may hold {MOST_TOOLS} at most", "tools"))
        names = [name for name, _ in tools]
        for place, name in enumerate(names):
            if name in self._route_tools or names.count(name) > 1:
                sentence = f"'{name}' is the name of another tool of this session; choose another"
                return Asked("", [], ("invalid_value", sentence, f"tools[{place}].name"))
        if "tools" in allowed:
            self.tools = dict(tools)
        changes = {name: self._laid(name, value) for name, value in allowed.items()}
        return Asked(msgspec.json.encode(changes).decode() if changes else "", sorted(kept))

    def opening(self, *, greets: bool) -> str:
        """What a session is opened with besides the route's own fields, as JSON text; empty when it is nothing.

        Only the route's first agent ``greets`` in the client's words: one that takes over has its own.
        """
        fields = {name: value for name, value in self._fields.items() if greets or name != "greeting"}
        return msgspec.json.encode(fields).decode() if fields else ""

    @property
    def may_instruct(self) -> bool:
        """Whether it may tell the agent what to do, rather than only speak to it as its caller."""
        return "system_prompt" in self._may

    @property
    def has_asked(self) -> bool:
        """Whether it has set anything at all."""
        return bool(self._fields)

    @property
    def interruptible(self) -> bool | None:
        """Whether the client wants to be able to interrupt; None where it has said nothing."""
        heard = self._fields.get("input")
        detection = heard.get("turn_detection") if isinstance(heard, dict) else None
        wanted = detection.get("interrupt_response") if isinstance(detection, dict) else None
        return wanted if isinstance(wanted, bool) else None

    def _divided(self, session: Json) -> tuple[Json, list[str]]:
        """The fields that the route lets through, and the names of the others."""
        allowed: Json = {}
        kept: list[str] = []
        for name, value in session.items():
            if name in _SIDES and isinstance(value, dict):
                if passed := self._side(name, value, kept):
                    allowed[name] = passed
            elif (
                name not in self._may
                or (name in _SIDES and value is not None)
                or (name == "webhook" and not self._is_listed(value))
            ):
                kept.append(name)
            elif name == "tools" and isinstance(value, list):
                allowed[name] = [self._tool(place, tool, kept) for place, tool in enumerate(value)]
            else:
                allowed[name] = value
        return allowed, kept

    def _is_listed(self, webhook: Any) -> bool:
        """Whether a webhook leads nowhere else than the call's own regions let it; none leads nowhere."""
        url = webhook.get("url") if isinstance(webhook, dict) else None
        return webhook is None or (isinstance(url, str) and place_of(url) in self._webhooks)

    def _side(self, side: str, fields: Json, kept: list[str]) -> Json:
        """Of `input` or `output` what passes."""
        passed: Json = {}
        for key, value in fields.items():
            path = f"{side}.{key}"
            if path in LINE:
                continue
            if not {side, path} & self._may:
                kept.append(path)
            elif path == TURN_DETECTION and isinstance(value, dict):
                passed[key] = self._passed(TURN_DETECTION, value, path, kept)
            elif passes(side, key, value, anybody=self._anybody, named=path in self._may):
                passed[key] = value
            else:
                kept.append(path)
        return passed

    def _tool(self, place: int, tool: Any, kept: list[str]) -> Any:
        """A declared tool with what of it passes."""
        return self._passed("tools", tool, f"tools[{place}]", kept) if isinstance(tool, dict) else tool

    def _passed(self, part: str, fields: Json, path: str, kept: list[str]) -> Json:
        passed: Json = {}
        for key, value in fields.items():
            if passes(part, key, value, anybody=self._anybody):
                passed[key] = value
            elif value is not None:  # clients send back what a session is echoed with
                kept.append(f"{path}.{key[:100]}")
        return passed

    def _laid(self, name: str, value: Any) -> Any:
        """Lay a field over what the client has set before; gives what is to be sent on."""
        if name not in _SIDES or not isinstance(value, dict):
            self._fields[name] = value
            return value
        before: Json = self._fields.setdefault(name, {})
        for key, nested in value.items():
            known = before.get(key)
            both = key == "turn_detection" and isinstance(known, dict) and isinstance(nested, dict)
            before[key] = {**known, **nested} if both else nested  # type: ignore[dict-item]
        return {key: before[key] for key in value}


def _read(raw: str) -> Json | None:
    try:
        return msgspec.json.decode(raw, type=_SessionUpdate).session
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _declared(tools: Any) -> list[tuple[str, float]]:
    """Names of declared tools and how long each may take; of what is none, nothing."""
    return [
        (
            tool["name"],
            wanted_s if isinstance(wanted_s := tool.get("timeout_seconds"), int | float) else TOOL_S,
        )
        for tool in (tools if isinstance(tools, list) else [])
        if isinstance(tool, dict) and isinstance(tool.get("name"), str)
    ]
