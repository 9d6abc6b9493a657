"""A client that changes the prompt and the turn detection of its session while it goes on.

    python update.py --url ws://127.0.0.1:8080
    python update.py --url wss://agents.assemblyai.com --key "$ASSEMBLYAI_API_KEY"

It asks for a reply, changes both, and asks for another one. Whatever cannot be changed any more, here the greeting, is
answered with `immutable_field`, and the session goes on. Address and key may also stand in VOICE_AGENT_URL and
VOICE_AGENT_KEY. Needs the package `websockets`.
"""

import argparse
import asyncio
import json
import os
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

WITHIN_S = 60.0
BEFORE = "You are a baker. Say in one sentence what you are."
AFTER = "You are a florist. Say in one sentence what you are."
PATIENT = {"min_silence": 1200, "max_silence": 4000, "interrupt_response": False}


async def until(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    """Read up to an event of one of these kinds, and print what the agent says."""
    async for message in socket:
        event: dict[str, Any] = json.loads(message)
        if event["type"] == "transcript.agent":
            print("agent:", event["text"])
        if event["type"] in kinds:
            return event
    raise SystemExit(f"closed with {socket.close_code} before {' or '.join(kinds)}")


async def send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    """Send one event."""
    await socket.send(json.dumps({"type": kind, **fields}))


async def talk(url: str, key: str) -> None:
    """Hold one session."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with asyncio.timeout(WITHIN_S), connect(f"{url}/v1/ws", additional_headers=headers) as socket:
        await send(socket, "session.update", session={"system_prompt": BEFORE, "greeting": "Hello."})
        ready = await until(socket, "session.ready")
        print("prompt:", ready["config"]["system_prompt"])
        await until(socket, "reply.done")  # of the greeting, which `reply.create` would replace
        await send(socket, "reply.create")
        await until(socket, "reply.done")

        # a part of `input` is sent whole: how the provider merges it is not documented
        session = {"system_prompt": AFTER, "input": {"turn_detection": PATIENT}}
        await send(socket, "session.update", session=session)
        config = (await until(socket, "session.updated"))["config"]
        print("prompt:", config["system_prompt"])
        print("turn detection:", json.dumps(config["input"]["turn_detection"], sort_keys=True))
        await send(socket, "reply.create")
        await until(socket, "reply.done")

        await send(socket, "session.update", session={"greeting": "Too late."})
        error = await until(socket, "session.error")
        print("error:", error["code"], error["param"])
        await send(socket, "session.end")
        ended = await until(socket, "session.ended")
        print("ended after", round(ended["session_duration_seconds"]), "s")
        await socket.wait_closed()
        print("closed:", socket.close_code)


def main() -> None:
    """Read the address and the key."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default=os.environ.get("VOICE_AGENT_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--key", default=os.environ.get("VOICE_AGENT_KEY", ""))
    given = parser.parse_args()
    asyncio.run(talk(given.url, given.key))


if __name__ == "__main__":
    main()
