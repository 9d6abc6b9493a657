"""A terminal client of the Voice Agent API: says a WAV file where others have a microphone, prints the conversation.

    python terminal.py said.wav --url ws://127.0.0.1:8080
    python terminal.py said.wav --url wss://agents.assemblyai.com --key "$ASSEMBLYAI_API_KEY"

The first line talks to Talkpath, the second to the provider; nothing but the address differs. Both may also stand in
VOICE_AGENT_URL and VOICE_AGENT_KEY. The WAV file must be 16-bit, mono, 24000 Hz. `--heard heard.wav` keeps what a
loudspeaker would have been given. Needs the package `websockets`.
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
    "system_prompt": "You drive a rover. Be brief.",
    "greeting": "Hello, I drive the rover.",
    "input": {"type": "audio", "format": {"encoding": "audio/pcm", "sample_rate": RATE_HZ}},
    "output": {"type": "audio", "format": {"encoding": "audio/pcm", "sample_rate": RATE_HZ}},
}


async def send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    """Send one event."""
    await socket.send(json.dumps({"type": kind, **fields}))


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


async def conversation(socket: ClientConnection, may_speak: asyncio.Event, heard: bytearray) -> None:
    """Print what is said until the recording was answered, and keep the sound of all replies."""
    understood = False
    async for message in socket:
        event = json.loads(message)
        match event["type"]:
            case "session.ready":
                print("session:", event["session_id"])
            case "reply.audio":
                heard += base64.b64decode(
                    event["data"]
                )  # a loudspeaker drops its queue on input.speech.started
            case "transcript.user":
                print("caller:", event["text"])
                understood = True
            case "transcript.agent":
                print("agent:", event["text"])
            case "reply.done":
                may_speak.set()  # the greeting is over
                if understood:
                    await send(socket, "session.end")
            case "session.error":
                print("error:", event["code"], event["message"])
            case "session.ended":
                print(f"ended after {event['session_duration_seconds']:.0f} s")


async def talk(url: str, key: str, said: bytes) -> bytes:
    """Hold one session; gives what was heard."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    may_speak = asyncio.Event()
    heard = bytearray()
    async with asyncio.timeout(WITHIN_S), connect(f"{url}/v1/ws", additional_headers=headers) as socket:
        await send(socket, "session.update", session=SESSION)
        async with asyncio.TaskGroup() as group:
            speaking = group.create_task(microphone(socket, said, may_speak))
            with suppress(ConnectionClosedError):  # what was wrong has been printed
                await conversation(socket, may_speak, heard)
            speaking.cancel()
        print("closed:", socket.close_code)
    return bytes(heard)


def main() -> None:
    """Read the WAV file, talk, and write what was heard."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("said")
    parser.add_argument("--heard")
    parser.add_argument("--url", default=os.environ.get("VOICE_AGENT_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--key", default=os.environ.get("VOICE_AGENT_KEY", ""))
    given = parser.parse_args()
    with wave.open(given.said) as file:
        if (file.getsampwidth(), file.getnchannels(), file.getframerate()) != (2, 1, RATE_HZ):
            parser.error("the WAV file must be 16-bit, mono, 24000 Hz")
        said = file.readframes(file.getnframes())
    heard = asyncio.run(talk(given.url, given.key, said))
    if given.heard:
        with wave.open(given.heard, "wb") as file:
            file.setsampwidth(2)
            file.setnchannels(1)
            file.setframerate(RATE_HZ)
            file.writeframes(heard)


if __name__ == "__main__":
    main()
