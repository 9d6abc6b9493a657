"""Tests of what the machine of a call is told: what a client may set depends on the route's agent, too."""

from pathlib import Path

import pytest

from gateway.audio import MULAW_8K
from gateway.call.client_session import ClientSession
from gateway.events import CallInfo
from gateway.runtime.config import load_generation
from gateway.runtime.routing import named_route
from gateway.runtime.terms import call_terms
from gateway.terms import CallTerms

CONFIG = """
agents:
  near: {kind: offline}
  far: {kind: voice_agent, api_key: k, fallback: near}
routes:
  - {name: local, agent: near, client_may: [agent_id, greeting]}
  - {name: abroad, agent: far, client_may: [agent_id, greeting]}
adapters: {browser: {}}
"""


def terms(route_name: str, place: Path) -> CallTerms:
    path = place / "gateway.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    generation = load_generation(path)
    route = named_route(route_name, generation.settings, lambda agent: agent.kind == "voice_agent")
    assert route is not None
    info = CallInfo("call_1", "browser", MULAW_8K)
    return call_terms(generation, generation.parts.adapters["browser"], route, info, {})


@pytest.mark.parametrize(("route", "error"), [("local", "agent_not_found"), ("abroad", "")])
def test_an_offline_agent_has_no_stored_ones(route: str, error: str, tmp_path: Path) -> None:
    """A name that is none of ours is nobody where the route's agent is offline, whatever clients may set."""
    found = terms(route, tmp_path)
    asked = ClientSession(found.client_may, frozenset()).first(
        '{"type":"session.update","session":{"agent_id":"suport"}}', found.agents[0].name
    )
    assert (asked.error[0] if asked.error else "") == error
    assert "greeting" in found.client_may
