"""A client with a tool whose results are sent as soon as they are there.

    python tools_at_once.py go-forward.wav --url ws://127.0.0.1:8080
    python tools_at_once.py go-forward.wav --url wss://agents.assemblyai.com --key "$ASSEMBLYAI_API_KEY"

The answer then comes about a second earlier than with `tools_held.py`, which waits for the end of the reply that called
the tool. The WAV file, which should ask to be driven somewhere, must be 16-bit, mono, 24000 Hz. Address and key may
also stand in VOICE_AGENT_URL and VOICE_AGENT_KEY. Needs the package `websockets`.
"""

import argparse
import asyncio
import base64
import json
import os
import time
import wave
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

RATE_HZ = 24_000
FRAME_S = 0.05
FRAME_BYTES = int(RATE_HZ * FRAME_S) * 2
WITHIN_S = 60.0
SESSION = {
    "system_prompt": "You drive a rover. Call the tool `drive` when you are asked to go somewhere.",
    "greeting": "Where to?",
    "tools": [
        {
            "type": "function",
            "name": "drive",
            "description": "Call this when the caller asks the rover to move.",
            "parameters": {
                "type": "object",
                "properties": {
                    "direction": {"type": "string", "enum": ["forward", "backward"]},
                    "meters": {"type": "integer"},
                },
                "required": ["direction", "meters"],
            },
        }
    ],
}


async def drive(arguments: dict[str, Any]) -> dict[str, Any]:
    """Drive the rover."""
    print(f"tool: drives {arguments['direction']} {arguments['meters']} meters")
    return arguments


async def send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    """Send one event."""
    await socket.send(json.dumps({"type": kind, **fields}))


async def answer(socket: ClientConnection, event: dict[str, Any], answered: set[str]) -> None:
    """Run the tool that the agent calls, and send its result."""
    result = await drive(event["arguments"])
    print("tool: sends its result")
    answered.add(event["call_id"])
    await send(socket, "tool.result", call_id=event["call_id"], result=json.dumps(result))


async def microphone(socket: ClientConnection, said: bytes, may_speak: asyncio.Event) -> None:
    """Send sound at the pace of speech: silence, the recording once it may be said, and silence again."""
    began, frames = time.monotonic(), 0
    with suppress(ConnectionClosed):
        while True:
            frame = b""
            if may_speak.is_set():
                frame, said = said[:FRAME_BYTES], said[FRAME_BYTES:]
            frame = frame.ljust(FRAME_BYTES, b"\0")
            await send(socket, "input.audio", audio=base64.b64encode(frame).decode())
            frames += 1
            await asyncio.sleep(max(0.0, began + frames * FRAME_S - time.monotonic()))


async def conversation(socket: ClientConnection, may_speak: asyncio.Event, group: asyncio.TaskGroup) -> None:
    """Print what happens until the agent has spoken about the tool's result."""
    answered: set[str] = set()  # calls of the tool
    answers: set[str] = set()  # replies about them
    async for message in socket:
        event = json.loads(message)
        match event["type"]:
            case "transcript.user":
                print("caller:", event["text"])
            case "transcript.agent":
                print("agent:", event["text"])
            case "tool.call":
                print("agent: calls", event["name"])
                # a tool may take its time, and the socket is to be read meanwhile
                group.create_task(answer(socket, event, answered))
            case "reply.started" if answered:
                answers.add(event["reply_id"])
            case "reply.done":
                print("agent: has done a reply")
                may_speak.set()
                if event["reply_id"] in answers:
                    await send(socket, "session.end")
            case "session.error":
                print("error:", event["code"], event["message"])


async def talk(url: str, key: str, said: bytes) -> None:
    """Hold one session."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    may_speak = asyncio.Event()
    async with asyncio.timeout(WITHIN_S), connect(f"{url}/v1/ws", additional_headers=headers) as socket:
        await send(socket, "session.update", session=SESSION)
        async with asyncio.TaskGroup() as group:
            speaking = group.create_task(microphone(socket, said, may_speak))
            with suppress(ConnectionClosedError):  # what was wrong has been printed
                await conversation(socket, may_speak, group)
            speaking.cancel()
        print("closed:", socket.close_code)


def main() -> None:
    """Read the WAV file and talk."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("said")
    parser.add_argument("--url", default=os.environ.get("VOICE_AGENT_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--key", default=os.environ.get("VOICE_AGENT_KEY", ""))
    given = parser.parse_args()
    with wave.open(given.said) as file:
        if (file.getsampwidth(), file.getnchannels(), file.getframerate()) != (2, 1, RATE_HZ):
            parser.error("the WAV file must be 16-bit, mono, 24000 Hz")
        said = file.readframes(file.getnframes())
    asyncio.run(talk(given.url, given.key, said))


if __name__ == "__main__":
    main()
