"""Cases of agents that break the Voice Agent API, at every moment of its connection; their callers are good."""

import asyncio
import base64
import json
from collections.abc import Callable

from agent_replies import REPLIES, STORMS
from case import PROTOCOL, TEXT_BROKEN, TOO_BIG, AgentCase, Ends, GoesOn, GoesOnAnew
from handmade import TEXT, close_frame, frame
from hosts import SPEECH, AgentDeed, AgentHost, AgentPeer, first, good, raw, saying, text
from peers import WIRE_ERRORS, Peer

DEEP = 100_000
MEBIBYTE = 1 << 20
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
)


# Before it is an agent


def _answers(data: bytes) -> AgentDeed:
    """Answer the upgrade with this."""

    async def deed(peer: AgentPeer) -> None:
        await peer.knock()
        await peer.push(data)
        await asyncio.sleep(0.05)

    return deed


async def _resets_at_once(peer: AgentPeer) -> None:
    peer.reset()


async def _hangs_up_at_once(peer: AgentPeer) -> None:
    await peer.leave()


async def _says_nothing(_peer: AgentPeer) -> None:
    await asyncio.sleep(8)


async def _trickles_the_answer(peer: AgentPeer) -> None:
    for byte in await peer.knock():
        await peer.push(bytes([byte]))
        await asyncio.sleep(0.002)
    peer.listen()
    await peer.until(lambda: peer.told, 5)
    peer.ready()
    await peer.go_on()


def _door(name: str, does: str, deed: AgentDeed) -> AgentCase:
    return AgentCase(
        name=f"upgrade: {name}", does=does, answer="tries again, then the apology", deed=deed, then=Ends()
    )


REFUSAL = b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nHelp"
UPGRADES = [
    _door("reset", "Resets every connection.", _resets_at_once),
    _door("closed", "Hangs up on every connection.", _hangs_up_at_once),
    _door("silence", "Takes connections and never answers.", _says_nothing),
    _door("500", "Answers 500 to every upgrade.", _answers(REFUSAL)),
    _door("401", "Answers 401 to every upgrade.", _answers(REFUSAL.replace(b"500", b"401"))),
    _door("302", "Sends every upgrade elsewhere.", _answers(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")),
    _door("garbage", "Answers no HTTP.", _answers(b"\x00\xff garbage \r\n\r\n")),
    _door("wrong key", "Accepts another key than was sent.", _answers(ACCEPT + b"bm8=\r\n\r\n")),
    _door("endless header", "Answers with a header that does not end.", _answers(b"HTTP/1.1 101 Go\r\nX: " + b"x" * 300_000)),
    AgentCase(name="upgrade: trickled", does="Answers the upgrade byte by byte.", answer="goes on", deed=_trickles_the_answer, then=GoesOn()),
]  # fmt: skip

# Before it is ready


async def _never_ready(peer: AgentPeer) -> None:
    await peer.begin()
    await peer.ending(8)


async def _only_updated(peer: AgentPeer) -> None:
    await peer.begin()
    for _ in range(100):
        peer.tell("session.updated", config=peer.session)
        await asyncio.sleep(0.05)


async def _ready_early(peer: AgentPeer) -> None:
    await peer.push(await peer.knock())
    peer.listen()
    peer.tell("session.ready", session_id="early")
    await peer.go_on()


async def _in_another_format(peer: AgentPeer) -> None:
    await peer.begin()
    sound = {"format": {"encoding": "audio/pcm", "sample_rate": 24000}}
    peer.tell("session.ready", session_id="s", config={"input": sound, "output": sound})
    await peer.ending(5)


async def _talks_first(peer: AgentPeer) -> None:
    await peer.begin()
    for _ in range(50):
        peer.sound("r0", SPEECH[:160])
    peer.tell("reply.done", reply_id="r0")
    peer.tell("tool.call", call_id="t0", name="drive", arguments={"meters": 1})
    peer.ready()
    await peer.go_on()


async def _refuses(peer: AgentPeer) -> None:
    await peer.begin()
    peer.tell("session.error", code="unauthorized", message="no such key")
    peer.write(close_frame(1008, mask=None))
    await peer.ending(5)


async def _ready_and_gone(peer: AgentPeer) -> None:
    if await peer.begin():
        peer.ready()
        await peer.drain()
        await asyncio.sleep(0.02)
    peer.reset()


BEGINNINGS = [
    AgentCase(name="ready: never", does="Takes every session and is never ready.", answer="after `ready_s` tries again, then the apology", deed=_never_ready, then=Ends()),
    AgentCase(name="ready: not the first time", does="Is not ready, and ready the second time.", answer="after `ready_s` a new connection", deed=first(_never_ready), then=GoesOnAnew()),
    AgentCase(name="ready: updates for ever", does="Says `session.updated` again and again, and is never ready.", answer="after `ready_s` tries again, then the apology", deed=_only_updated, then=Ends()),
    AgentCase(name="ready: early", does="Is ready before it was asked.", answer="goes on", deed=_ready_early, then=GoesOn()),
    AgentCase(name="ready: twice", does="Is ready again and again.", answer="the first counts", deed=saying(*[text("session.ready", session_id="again")] * 50), then=GoesOn()),
    AgentCase(name="ready: in another format", does="Says that the session has another format.", answer="refuses it: the apology", deed=_in_another_format, then=Ends()),
    AgentCase(name="ready: talks first", does="Speaks, ends replies and calls tools before it is ready.", answer="ignores that", deed=_talks_first, then=GoesOn()),
    AgentCase(name="ready: refuses", does="Says that it does not know us, and closes.", answer="the apology", deed=_refuses, then=Ends()),
    AgentCase(name="ready: gone again", does="Is ready and resets, every time.", answer="a few new sessions, then the apology", deed=_ready_and_gone, then=Ends()),
]  # fmt: skip

# What it says


def _unreadable(name: str, does: str, message: str | bytes) -> AgentCase:
    return AgentCase(
        name=f"unreadable: {name}",
        does=does,
        answer="after ten in a row a new connection",
        deed=first(saying(raw(message) * WIRE_ERRORS)),
        then=GoesOnAnew(),
    )


def _breaks(name: str, does: str, data: bytes, code: int = PROTOCOL) -> AgentCase:
    def told(_peer: Peer, host: AgentHost) -> str:
        ending = host.peers[-2].ended
        return "" if ending.code == code else f"the agent was told {ending}, not {code}"

    return AgentCase(
        name=name,
        does=does,
        answer=f"closes with {code}, and a new connection",
        deed=first(saying(data)),
        then=GoesOnAnew(),
        also=told,
    )


def _stands(name: str, does: str, answer: str, *frames: bytes) -> AgentCase:
    return AgentCase(name=name, does=does, answer=answer, deed=saying(*frames), then=GoesOn())


SOUND = json.dumps({"type": "reply.audio", "reply_id": "r1", "data": base64.b64encode(bytes(160)).decode()})
UNREADABLE = [
    _unreadable("garbage", "Says what is no JSON.", "garbage"),
    _unreadable("truncated", "Sends halves of messages.", SOUND[: len(SOUND) // 2]),
    _unreadable("nested", "Nests brackets without end.", "[" * DEEP),
    _unreadable("nested in a message", "Nests brackets without end in a message.", SOUND[:-1] + ',"x":' + "[" * DEEP),
    _unreadable("binary", "Sends sound as binary messages.", b"\xff" * 160),
    _unreadable("a list", "Sends lists.", "[1,2,3]"),
    _unreadable("mistyped type", "Gives a number as the type.", '{"type":7}'),
    _unreadable("mistyped id", "Gives an object as the reply's id.", '{"type":"reply.started","reply_id":{}}'),
    _unreadable("mistyped sound", "Gives a list as sound.", '{"type":"reply.audio","reply_id":"r1","data":[1]}'),
    _unreadable("base64", "Sends broken base64.", '{"type":"reply.audio","reply_id":"r1","data":"!!!!"}'),
    _unreadable("no type", "Leaves out the type.", '{"reply_id":"r1"}'),
    _unreadable("tool without a name", "Calls a tool without a name.", '{"type":"tool.call","call_id":"t1"}'),
    _stands("unreadable: nine in a row", "Says nine unreadable things for each good one.", "forgives", *[raw("garbage") * 9, text("input.speech.stopped")] * 20),
    _breaks("UTF-8: broken", "Sends text that is no UTF-8.", frame(b'{"type":"\xff\xfe"}', TEXT, mask=None), TEXT_BROKEN),
    _breaks("huge: over the limit", "Sends a message of more than 1 MiB.", raw("x" * (MEBIBYTE + 1)), TOO_BIG),
    _breaks("frame: reserved bits", "Sets the reserved bits of a frame.", frame("x", reserved=4, mask=None)),
    _breaks("frame: unknown opcode", "Uses an opcode that does not exist.", frame(b"x", 5, mask=None)),
    _breaks("frame: long ping", "Pings with more than 125 bytes.", frame(b"x" * 200, 9, mask=None)),
    _breaks("close: code 999", "Closes with a code below all codes.", close_frame(999, mask=None)),
    _stands("frame: masked", "Masks its frames, as only clients do.", "reads them", frame(SOUND, mask=b"\x01\x02\x03\x04")),
    _stands("frame: fragments", "Sends a message in fragments, with pings in between.", "reads it", frame(SOUND[:9], fin=False, mask=None), frame(b"?", 9, mask=None), frame(SOUND[9:], 0, mask=None)),
]  # fmt: skip

# How it goes


def _leaving(leave: Callable[[AgentPeer], None]) -> AgentDeed:
    async def deed(peer: AgentPeer) -> None:
        if await peer.begin():
            peer.ready()
            peer.tell("reply.started", reply_id="r1")
            peer.sound("r1", SPEECH[:1600])
            await peer.drain()
            await asyncio.sleep(0.05)
            leave(peer)
            await peer.ending(3)

    return first(deed)


def _goes(name: str, does: str, leave: Callable[[AgentPeer], None]) -> AgentCase:
    return AgentCase(
        name=f"gone: {name}",
        does=does,
        answer="a new connection",
        deed=_leaving(leave),
        then=GoesOnAnew(),
    )


def _closing(code: int) -> Callable[[AgentPeer], None]:
    return lambda peer: peer.write(close_frame(code, b"bye", mask=None))


def _mid_frame(peer: AgentPeer) -> None:
    peer.write(raw(SOUND)[:50])
    peer.half_close()


def _ends(peer: AgentPeer) -> None:
    peer.tell("session.ended")


async def _keeps_talking(peer: AgentPeer) -> None:
    """After the session's end: neither answer nor close, but go on."""
    peer.answers_end = peer.answers_close = False
    if not await peer.begin():
        return
    peer.ready()
    going = asyncio.ensure_future(peer.go_on())
    try:
        while await peer.drain():
            if peer.kinds("session.end"):
                peer.sound("late", SPEECH[:160])
            await asyncio.sleep(0.02)
    finally:
        going.cancel()


async def _never_reads(peer: AgentPeer) -> None:
    if await peer.begin():
        peer.ready()
        await peer.until(lambda: peer.pings, 5)
        peer.stop_reading()
        await asyncio.sleep(15)


async def _never_closes(peer: AgentPeer) -> None:
    peer.answers_end = peer.answers_close = False
    await good(peer)


GONE = [
    _goes("reset", "Resets in mid-reply.", AgentPeer.reset),
    _goes("without a close", "Ends the connection without a close.", AgentPeer.half_close),
    _goes("in mid-frame", "Ends the connection in the middle of a frame.", _mid_frame),
    _goes("1000", "Closes with 1000 in mid-reply.", _closing(1000)),
    _goes("1001", "Closes with 1001 in mid-reply.", _closing(1001)),
    _goes("1011", "Closes with 1011 in mid-reply.", _closing(1011)),
    _goes("4321", "Closes with a code that nobody knows.", _closing(4321)),
    _goes("session ended", "Ends its session unasked.", _ends),
    AgentCase(name="gone: never reads", does="Reads nothing any more, and so answers no ping.", answer="a new connection after `lost_after_s`", deed=first(_never_reads), then=GoesOnAnew()),
    AgentCase(name="gone: never closes", does="Neither answers the session's end nor closes, for ever.", answer="waits five seconds, then lets go", deed=_never_closes, then=GoesOn()),
    AgentCase(name="gone: talks on", does="Goes on speaking after the session's end.", answer="waits five seconds, then lets go", deed=_keeps_talking, then=GoesOn()),
]  # fmt: skip

AGENT_CASES = [*UPGRADES, *BEGINNINGS, *UNREADABLE, *GONE, *REPLIES, *STORMS]
