"""A gateway whose process is stopped for a while: what its callers heard meanwhile and afterwards."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dialects import DIALECTS
from ground import Ground, ground
from hosts import FRAME_BYTES, AgentPeer
from peers import Peer

STOPPED_S = 3.0
PIECES = 215
"""Four seconds of a reply, in frames of 20 ms."""
STOPPED_DIALECTS = [dialect for dialect in DIALECTS.values() if dialect.bytes_s == 8000]
"""Those whose sound is that of the story."""


async def _narrate(peer: AgentPeer) -> None:
    """Say numbered frames at the pace of speech, and then be good."""
    if not await peer.begin():
        return
    peer.ready()
    peer.tell("reply.started", reply_id="story")
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number in range(PIECES):
        peer.sound("story", piece(number))
        await asyncio.sleep(max(0.0, begin + number * 0.02 - loop.time()))
    peer.tell("reply.done", reply_id="story", status="completed")
    await peer.go_on()


def piece(number: int) -> bytes:
    """A frame that no other is like."""
    return number.to_bytes(2, "big") * 3 + bytes(0x20 + at * 5 % 64 for at in range(FRAME_BYTES - 6))


@asynccontextmanager
async def stopped(place: Ground) -> AsyncIterator[None]:
    """Stop the gateway's process, and let it go on."""
    place.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        place.process.send_signal(signal.SIGCONT)


async def listen_through_a_stop(folder: Path) -> dict[str, tuple[Peer, list[str]]]:
    """Hold a call of each dialect over a stop; gives what they heard, and what went wrong."""
    found: dict[str, tuple[Peer, list[str]]] = {}
    async with ground(folder, {"story": _narrate}, witnessed=False) as place:
        peers = [
            Peer(place, dialect, f"+1900555000{at}", "story") for at, dialect in enumerate(STOPPED_DIALECTS)
        ]
        for peer in peers:
            await peer.arrive()
            await peer.say(*peer.dialect.begin(peer.way))
            found[peer.dialect.adapter] = (peer, [])
        async with asyncio.TaskGroup() as group:
            talking_ = [group.create_task(_talk(peer)) for peer in peers]
            assert all([await peer.hears(piece(20)) for peer in peers])
            async with stopped(place):
                await asyncio.sleep(STOPPED_S)
            for peer in peers:
                problems = found[peer.dialect.adapter][1]
                if not await peer.hears(piece(PIECES - 1)):
                    problems.append(f"the story was not heard to its end: {peer.socket.ended}")
            for task in talking_:
                task.cancel()
        for peer in peers:
            problems = found[peer.dialect.adapter][1]
            story = bytes(peer.ever_heard)
            places = [story.find(piece(number)) for number in range(PIECES)]
            if -1 in places or places != sorted(places):
                problems.append(
                    f"frame {places.index(-1) if -1 in places else places} is missing or misplaced"
                )
            if not await peer.asks():
                problems.append("the call did not go on")
            await peer.leave()
        assert not place.faults(0)
    return found


async def _talk(peer: Peer) -> None:
    while True:
        await peer.say(peer.dialect.sound(peer.way, bytes(FRAME_BYTES)))
        await asyncio.sleep(0.02)
