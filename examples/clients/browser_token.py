"""How a page talks to the Voice Agent API: a backend that has the key mints a token, the page connects with that.

    python browser_token.py --url ws://127.0.0.1:8080 --key "$TALKPATH_KEY"
    python browser_token.py --url wss://agents.assemblyai.com --key "$ASSEMBLYAI_API_KEY"

`backend` runs on your server and is the only part that knows the key, which needs the right `tokens`. `page` does what
JavaScript in a browser does: it can set no header, says where it comes from (`Origin`), and passes the token in the
address. A token opens one socket, so the page asks for another one before each connection; here it does not, to show
the refusal. Both may also stand in VOICE_AGENT_URL and VOICE_AGENT_KEY. Needs the package `websockets`.
"""

import argparse
import asyncio
import json
import os
import urllib.request
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

WITHIN_S = 60.0


def backend(url: str, key: str) -> str:
    """Mint a token that is good for one session of ten minutes, to be begun within a minute."""
    address = url.replace("ws", "http", 1)  # the same host serves both
    query = "expires_in_seconds=60&max_session_duration_seconds=600"
    headers = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{address}/v1/token?{query}", headers=headers)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return str(json.load(answer)["token"])


async def page(url: str, token: str, origin: str) -> None:
    """Hold a session of one greeting."""
    # browsers offer compression and cannot send Authorization
    async with asyncio.timeout(WITHIN_S), connect(f"{url}/v1/ws?token={token}", origin=origin) as socket:
        await socket.send(json.dumps({"type": "session.update", "session": {"greeting": "Hello, page."}}))
        with suppress(ConnectionClosedError):  # what was wrong has been printed
            async for message in socket:
                event = json.loads(message)
                match event["type"]:
                    case "session.ready":
                        print("session:", event["session_id"])
                        print("prompt:", json.dumps(event["config"]["system_prompt"]))
                    case "transcript.agent":
                        print("agent:", event["text"])
                    case "reply.done":
                        await socket.send(json.dumps({"type": "session.end"}))
                    case "session.error":
                        print("error:", event["code"])
        print("closed:", socket.close_code)


async def visit(url: str, key: str, origin: str) -> None:
    """Connect twice with the same token."""
    token = await asyncio.to_thread(backend, url, key)
    await page(url, token, origin)
    await page(url, token, origin)


def main() -> None:
    """Read the address and the key."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default=os.environ.get("VOICE_AGENT_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--key", default=os.environ.get("VOICE_AGENT_KEY", ""))
    parser.add_argument("--origin", default="https://www.example.com")
    given = parser.parse_args()
    asyncio.run(visit(given.url, given.key, given.origin))


if __name__ == "__main__":
    main()
