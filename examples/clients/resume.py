"""A client whose connection breaks in the middle of a reply, and that goes on with its session.

    python resume.py --url ws://127.0.0.1:8080
    python resume.py --url wss://agents.assemblyai.com --key "$ASSEMBLYAI_API_KEY"

The session is kept for 30 seconds. Each try opens a new socket and sends `session.resume` as its first message; with
`--resume-token` it comes back with the token of `session.ready` in the place of the key. A session that is gone is
answered with `session.error`, after which a client begins a new one. Address and key may also stand in
VOICE_AGENT_URL and VOICE_AGENT_KEY. Needs the package `websockets`.
"""

import argparse
import asyncio
import base64
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

WITHIN_S = 60.0
TRIES = 5
BREAKS_AFTER_BYTES = 24_000  # half a second of 16-bit PCM at 24000 Hz
GREETING = "This greeting is long enough to be cut off, and what was not heard of it comes after the break."


@asynccontextmanager
async def opened(url: str, proof: str) -> AsyncIterator[ClientConnection]:
    """Open a socket."""
    headers = {"Authorization": f"Bearer {proof}"} if proof else {}
    async with connect(f"{url}/v1/ws", additional_headers=headers) as socket:
        yield socket


async def begin(url: str, key: str) -> dict[str, Any]:
    """Begin a session, and lose it in the middle of its greeting; gives `session.ready`."""
    ready: dict[str, Any] = {}
    heard = 0
    async with opened(url, key) as socket:
        await socket.send(json.dumps({"type": "session.update", "session": {"greeting": GREETING}}))
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "session.ready":
                ready = event
                print("session:", ready["session_id"])
            if event["type"] == "reply.audio":
                heard += len(base64.b64decode(event["data"]))
            if heard >= BREAKS_AFTER_BYTES:
                socket.transport.abort()
                break
    print("the connection broke")
    return ready


async def go_on(url: str, proof: str, session_id: str) -> None:
    """Go on with a session on a new socket; a failed attempt raises, a session that is gone is printed."""
    heard = 0
    gone = False
    async with opened(url, proof) as socket:
        await socket.send(json.dumps({"type": "session.resume", "session_id": session_id}))
        try:
            async for message in socket:
                event = json.loads(message)
                match event["type"]:
                    case "session.ready":
                        print("session:", event["session_id"])
                    case "reply.audio":
                        heard += len(base64.b64decode(event["data"]))
                    case "transcript.agent":
                        print("agent:", event["text"])
                    case "reply.done":
                        print(f"heard {heard} bytes after the break")
                        await socket.send(json.dumps({"type": "session.end"}))
                    case "session.error":
                        print("error:", event["code"])
                        gone = True
        except ConnectionClosedError:
            if not gone:
                raise
        print("closed:", socket.close_code)


async def talk(url: str, key: str, *, with_token: bool) -> None:
    """Begin a session, lose it, and come back as often as it takes."""
    async with asyncio.timeout(WITHIN_S):
        ready = await begin(url, key)
        proof = ready["resume_token"] if with_token else key
        for attempt in range(TRIES):
            try:
                await go_on(url, proof, ready["session_id"])
            except (OSError, ConnectionClosedError):
                wait_s = min(0.25 * 2**attempt, 5.0)
                await asyncio.sleep(wait_s * random.uniform(1.0, 1.25))  # noqa: S311 - not a secret
            else:
                return


def main() -> None:
    """Read the address and the key."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resume-token", action="store_true")
    parser.add_argument("--url", default=os.environ.get("VOICE_AGENT_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--key", default=os.environ.get("VOICE_AGENT_KEY", ""))
    given = parser.parse_args()
    asyncio.run(talk(given.url, given.key, with_token=given.resume_token))


if __name__ == "__main__":
    main()
