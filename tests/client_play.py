"""A client of the Voice Agent API in a play: how it begins, and what it is told."""

import json
from typing import Any

from play import INFO, Play, terms

from gateway.commands import OpenAgent, Tell
from gateway.events import AgentForwarded, AgentReady, CallStarted, ToolCalled
from gateway.terms import AgentTerms, CallTerms

MAY = frozenset({"system_prompt", "greeting", "tools", "input", "output"})
ASK = ToolCalled("t1", "get_stock", "{}", raw="asked")


def client_terms(**changes: Any) -> CallTerms:
    agents = (AgentTerms("main", tools=frozenset({"hang_up"})), AgentTerms("spare"))
    fields = {"client_may": MAY, "speaks_api": True, "marks_at_will": True, "lead_ms": 250.0}
    return terms(*agents, **(fields | changes))


def update(**session: Any) -> str:
    return json.dumps({"type": "session.update", "session": session})


def started(play: Play, **session: Any) -> OpenAgent:
    """Begin a session; gives how the agent is opened."""
    (opened,) = play.on(CallStarted(INFO, update(**session)), ...)
    assert isinstance(opened, OpenAgent)
    return opened


def talking(session: dict[str, Any] | None = None, **changes: Any) -> Play:
    play = Play(client_terms(**changes))
    started(play, **(session or {}))
    play.on(AgentReady("session-1"))
    return play


def with_tool(**changes: Any) -> Play:
    return talking({"tools": [{"type": "function", "name": "get_stock", "timeout_seconds": 20}]}, **changes)


def told(play: Play, since: int = 0) -> list[Any]:
    """What the client was told, but for who answers, which is said beside every `session.ready`."""
    return [event for event in all_told(play) if '"talkpath.agent"' not in getattr(event, "raw", "")][since:]


def all_told(play: Play) -> list[Any]:
    return [item.event for item in play.items(Tell)]


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def ours(event: Any) -> Any:
    assert isinstance(event, AgentForwarded)
    return json.loads(event.raw)
