"""A raw PCM client of Talkpath in one file: says a WAV file at real time and keeps what a person would have heard.

    python pcm_client.py said.wav heard.wav --url ws://127.0.0.1:8080/v1/ws/pcm

The WAV file must be 16-bit, mono, at 8000, 16000, 24000, 44100 or 48000 Hz. Needs the package `websockets`.
"""

import argparse
import asyncio
import json
import sys
import time
import wave
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

FRAME_S = 0.02
GREETING_S = 10.0


class Line:
    """One call: what is still to be said, and a loudspeaker with a buffer that can be emptied."""

    def __init__(self, said: bytes, rate_hz: int) -> None:
        self.frame_bytes = int(rate_hz * FRAME_S) * 2
        self.heard = bytearray()
        self._to_say = said
        self._buffer = bytearray()
        self._may_speak = asyncio.Event()
        self._replies = 0
        self.answered = asyncio.Event()

    def next_frame(self) -> bytes:
        """The next 20 ms of the microphone; silence before and after the recording, so that its end is noticed."""
        silence = bytes(self.frame_bytes)
        if not self._may_speak.is_set() or not self._to_say:
            return silence
        frame, self._to_say = self._to_say[: self.frame_bytes], self._to_say[self.frame_bytes :]
        return frame.ljust(self.frame_bytes, b"\0")

    def play_frame(self) -> None:
        """Let the loudspeaker play 20 ms."""
        frame = self._buffer[: self.frame_bytes].ljust(self.frame_bytes, b"\0")
        del self._buffer[: self.frame_bytes]
        self.heard += frame

    def receive(self, message: str | bytes) -> None:
        """Take what the gateway sends: sound is binary, everything else is a JSON object with a `type`."""
        if isinstance(message, bytes):
            self._buffer += message
            return
        event = json.loads(message)
        match event["type"]:
            case "talkpath.clear":  # the caller interrupted: what is buffered must not be heard any more
                self._buffer.clear()
            case "transcript.user":
                print("caller:", event["text"])
            case "transcript.agent":
                print("agent: ", event["text"])
            case "talkpath.heard":
                print(f"        (heard {event['heard_ms'] / 1000:.1f} s of it)")
                self._reply_heard()
            case "session.error":
                print("error: ", event["message"])

    def speak(self) -> None:
        """Begin to say the recording."""
        self._may_speak.set()

    def _reply_heard(self) -> None:
        self._replies += 1
        self.speak()  # the greeting is over
        if self._replies > 1 and not self._to_say:
            self.answered.set()


async def call(url: str, said: bytes, rate_hz: int, *, key: str = "", answer_within_s: float = 30.0) -> bytes:
    """Say a recording after the agent's greeting, wait for one answer, and give what was heard."""
    line = Line(said, rate_hz)
    address = f"{url}?encoding=pcm_s16le&sample_rate={rate_hz}&events=1"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        connect(address, additional_headers=headers, compression=None) as socket,
        asyncio.TaskGroup() as group,
    ):
        pacing = group.create_task(_pace(line, socket))
        listening = group.create_task(_listen(line, socket))
        answer = group.create_task(line.answered.wait())
        await asyncio.wait({listening, answer}, timeout=answer_within_s, return_when="FIRST_COMPLETED")
        answer.cancel()
        pacing.cancel()
        if not listening.done():
            await socket.send(json.dumps({"type": "session.end"}))
    print(f"the call ended: {socket.close_code} {socket.close_reason}")
    return bytes(line.heard)


async def _pace(line: Line, socket: ClientConnection) -> None:
    """Send and play one frame every 20 ms, on a clock that does not drift."""
    began = time.monotonic()
    frames = 0
    try:
        while True:
            await socket.send(line.next_frame())
            line.play_frame()
            frames += 1
            if frames * FRAME_S > GREETING_S:
                line.speak()  # an agent without a greeting waits for us
            await asyncio.sleep(max(0.0, began + frames * FRAME_S - time.monotonic()))
    except ConnectionClosed:
        return


async def _listen(line: Line, socket: ClientConnection) -> None:
    """Take messages until the gateway closes the connection."""
    try:
        async for message in socket:
            line.receive(message)
    except ConnectionClosed as closed:
        print(f"the gateway closed the connection: {closed}")


def main() -> None:
    """Read the WAV file, make the call, write what was heard."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("said", type=Path)
    parser.add_argument("heard", type=Path)
    parser.add_argument("--url", default="ws://127.0.0.1:8080/v1/ws/pcm")
    parser.add_argument("--key", default="", help="a gateway key, where some are configured")
    given = parser.parse_args()
    with wave.open(str(given.said)) as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:
            parser.error("the WAV file must be 16-bit and mono")
        rate_hz, said = file.getframerate(), file.readframes(file.getnframes())
    try:
        heard = asyncio.run(call(given.url, said, rate_hz, key=given.key))
    except InvalidStatus as refused:
        status = refused.response.status_code
        sys.exit(f"the gateway let nobody in (HTTP {status}); with 403, give one of its keys with --key")
    except OSError as error:
        sys.exit(f"nobody answers at {given.url} ({error}); start the gateway, or correct --url")
    with wave.open(str(given.heard), "wb") as file:
        file.setsampwidth(2)
        file.setnchannels(1)
        file.setframerate(rate_hz)
        file.writeframes(heard)


if __name__ == "__main__":
    main()
