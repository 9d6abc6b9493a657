"""A process that holds calls through a gateway while others abuse it, and measures how late each frame comes.

``python witness_process.py echo`` is the comparator's far end: a plain echo over asyncio and the library
``websockets``. ``python witness_process.py witness FILE`` serves an agent that never stops talking, and on its standard
input takes one line: the gateway's WebSocket address, the comparator's, and perhaps a gateway key. It then holds `CALLS` calls of a caller who
never stops either, sends the same frames through the comparator, and appends a `SAMPLE` to the file for every frame
that arrived: when it was sent, how many milliseconds it was under way, and over which path. Both clocks are the
system's monotonic one, so that other processes can say what they did when.
"""

import asyncio
import base64
import json
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

SAMPLE: Final = struct.Struct("<ddB")
THROUGH_GATEWAY, THROUGH_ECHO = 0, 1
CALLS: Final = 2
FRAME_S: Final = 0.02
HEAD: Final = struct.Struct(">d")
LOUD: Final = b"\x10\x90" * 76
"""Speech, as far as levels go: 19 ms of mu-law."""
QUIET: Final = b"\x7e\xfe" * 76
"""A caller who listens."""
CALLER: Final = "+1888000"


class Record:
    """Samples on their way into the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._waiting = bytearray()
        self.arrived = [0, 0]

    def arrive(self, frame: bytes, path: int) -> None:
        """Take note of a frame that carries the moment at which it was sent."""
        (sent_at,) = HEAD.unpack_from(frame)
        self._waiting += SAMPLE.pack(sent_at, (time.monotonic() - sent_at) * 1000, path)
        self.arrived[path] += 1
        if len(self._waiting) >= 20 * SAMPLE.size:
            self._file.write(self._waiting)
            self._waiting.clear()


async def pace(send: Callable[[bytes], Awaitable[None]], rest: bytes, phase: float) -> None:
    """Send a frame every 20 ms for ever, each with the moment at which it is handed over."""
    loop = asyncio.get_running_loop()
    due = loop.time() + phase * FRAME_S
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        await send(HEAD.pack(time.monotonic()) + rest)
        due = max(due + FRAME_S, loop.time() - FRAME_S)


async def talk(socket: ServerConnection, record: Record) -> None:
    """Be the agent: greet without end, and note when the caller's frames come."""
    first = json.loads(await socket.recv())
    await socket.send(json.dumps({"type": "session.updated", "config": first["session"]}))
    await socket.send(
        json.dumps({"type": "session.ready", "session_id": "sess_w", "config": first["session"]})
    )
    await socket.send('{"type":"reply.started","reply_id":"w"}')

    async def say(audio: bytes) -> None:
        data = base64.b64encode(audio).decode()
        await socket.send(f'{{"type":"reply.audio","reply_id":"w","data":"{data}"}}')

    async with asyncio.TaskGroup() as group:
        group.create_task(pace(say, LOUD, hash(socket.id) % 100 / 100))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "input.audio":
                audio = base64.b64decode(message["audio"])
                for at in range(0, len(audio), HEAD.size + len(QUIET)):
                    record.arrive(audio[at:], THROUGH_GATEWAY)


async def call(url: str, key: str, number: int, record: Record) -> None:
    """Be a caller, for ever."""
    address = f"{url}/v1/ws/pcm?encoding=pcm_mulaw&sample_rate=8000&caller={CALLER}{number}&callee=witness"
    proof = {"Authorization": key} if key else None
    async with (
        connect(
            address.replace("+", "%2B"),
            additional_headers=proof,
            compression=None,
            proxy=None,
            ping_interval=None,
        ) as socket,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(pace(socket.send, QUIET, number / CALLS))
        async for message in socket:
            assert isinstance(message, bytes), message
            record.arrive(message, THROUGH_GATEWAY)
    sys.exit("a witness's call has ended")


async def compare(url: str, number: int, record: Record) -> None:
    """Send frames to the comparator and take them back, for ever."""
    async with (
        connect(url, compression=None, proxy=None, ping_interval=None) as socket,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(pace(socket.send, LOUD, number / CALLS + 0.25))
        async for message in socket:
            assert isinstance(message, bytes)
            record.arrive(message, THROUGH_ECHO)


def tell(word: object) -> None:
    """Tell the process that started this one."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def bear_witness(path: Path) -> None:
    """Serve the agent, then call and compare until the standard input ends."""
    record = Record(path)

    async def attend(socket: ServerConnection) -> None:
        await talk(socket, record)

    loop = asyncio.get_running_loop()
    async with serve(attend, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        tell(next(iter(server.sockets)).getsockname()[1])
        gateway, echo, *keys = (await loop.run_in_executor(None, sys.stdin.readline)).split()
        async with asyncio.TaskGroup() as group:
            for number in range(CALLS):
                group.create_task(call(gateway, "".join(keys), number, record))
                group.create_task(compare(echo, number, record))
            while min(record.arrived) < 20 * CALLS:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
            tell("ready")
            await loop.run_in_executor(None, sys.stdin.read)
            sys.exit(0)


async def echo() -> None:
    """Send everything back."""

    async def attend(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(attend, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        tell(next(iter(server.sockets)).getsockname()[1])
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        sys.exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        asyncio.run(echo())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bear_witness(Path(sys.argv[2])))
