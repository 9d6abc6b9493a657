"""A client that asks for an agent by its id, and lets it greet.

    python stored_agent.py support --url ws://127.0.0.1:8080
    python stored_agent.py agent_0f3c… --url wss://agents.assemblyai.com --key "$ASSEMBLYAI_API_KEY"

At the provider the id is that of a stored agent. At Talkpath it is the name of one of the agents of `gateway.yaml`, or
a stored one of the provider where the route's `client_may` has `agent_id`. Nothing else may stand in the first update;
prompt and tools may be changed afterwards. Address and key may also stand in VOICE_AGENT_URL and VOICE_AGENT_KEY.
Needs the package `websockets`.
"""

import argparse
import asyncio
import json
import os
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

WITHIN_S = 60.0


async def listen(url: str, key: str, agent_id: str) -> None:
    """Hold a session of one greeting."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with asyncio.timeout(WITHIN_S), connect(f"{url}/v1/ws", additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "session.update", "session": {"agent_id": agent_id}}))
        with suppress(ConnectionClosedError):  # what was wrong has been printed
            async for message in socket:
                event = json.loads(message)
                match event["type"]:
                    case "session.ready":
                        print("session:", event["session_id"])
                    case "transcript.agent":
                        print("agent:", event["text"])
                    case "reply.done":
                        await socket.send(json.dumps({"type": "session.end"}))
                    case "session.error":
                        print("error:", event["code"])
        print("closed:", socket.close_code)


def main() -> None:
    """Read the id, the address and the key."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("agent_id")
    parser.add_argument("--url", default=os.environ.get("VOICE_AGENT_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--key", default=os.environ.get("VOICE_AGENT_KEY", ""))
    given = parser.parse_args()
    asyncio.run(listen(given.url, given.key, given.agent_id))


if __name__ == "__main__":
    main()
