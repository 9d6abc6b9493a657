"""What the tests of clients' sessions share: keys, a route that lets clients set much, an agent that echoes."""

import json
from typing import Any

from api_client import ApiHouse
from fakes import FakeAgent

from gateway.settings import AccessSettings, AgentSettings, KeySettings, RouteSettings, Secret

KEYS = AccessSettings(
    keys=(
        KeySettings(name="backend", key=(Secret("k1"),), may=("connect", "tokens")),
        KeySettings(name="other", key=(Secret("k2"),), may=("connect", "tokens")),
    )
)
OPEN = (
    RouteSettings(
        name="default",
        agent="main",
        client_may=("system_prompt", "greeting", "tools", "input.keyterms", "webhook", "agent_id"),
    ),
)
ROUTE_SESSION = {"system_prompt": "secret prompt", "greeting": "Hello.", "output": {"voice": "alba"}}
TOOL = {"type": "function", "name": "get_stock", "description": "d", "parameters": {}}
SECOND = b"\1\2" * 24_000


def agents(**session: Any) -> dict[str, AgentSettings]:
    return {"main": AgentSettings(kind="fake", session=session or ROUTE_SESSION)}


async def token_of(house: ApiHouse, key: str = "k1") -> str:
    async with house.http.get(
        f"{house.url}/v1/token?expires_in_seconds=60", headers={"Authorization": key}
    ) as answer:
        return str((await answer.json())["token"])


class Echoing(FakeAgent):
    """An agent whose `session.ready` echoes what it was opened with."""

    async def receive(self, text: str) -> None:
        message = json.loads(text)
        if message["type"] != "session.update":
            await super().receive(text)
            return
        self.received.append(message)
        first = not any(one["type"] == "session.update" for one in self.received[:-1])
        self.say("session.updated", config=message["session"])
        if first:
            self.say("session.ready", session_id="sess_p", resume_token="t", config=message["session"])


def opened_with(agent: FakeAgent) -> dict[str, Any]:
    session: dict[str, Any] = agent.received[0]["session"]
    return session
