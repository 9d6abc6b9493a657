"""Cases of callers that break the WebSocket itself: frames, closes, and what is said too much of."""

import asyncio
from collections.abc import Callable

from case import PROTOCOL, TEXT_BROKEN, TOO_BIG, CallerCase, CallerDeed, CallerOutcome, GoesOn, Left, Told
from dialect import text
from handmade import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame
from hosts import QUESTION
from peers import Peer

MEBIBYTE = 1 << 20
ACCENTED = text(type="weather", event="weather", note="é").replace("\\u00e9", "é")
REFUSED = "closes with 1002"


def saying(data: bytes | Callable[[Peer], bytes]) -> CallerDeed:
    """Say these bytes in the middle of a call."""

    async def deed(peer: Peer) -> None:
        await peer.call()
        await peer.socket.push(data if isinstance(data, bytes) else data(peer))

    return deed


def _breaks(name: str, does: str, data: bytes, code: int = PROTOCOL) -> CallerCase:
    then = Told(code)
    return CallerCase(name=name, does=does, answer=f"closes with {code}", deed=saying(data), then=then)


def _stands(name: str, does: str, answer: str, data: bytes | Callable[[Peer], bytes]) -> CallerCase:
    return CallerCase(name=name, does=does, answer=answer, deed=saying(data), then=GoesOn())


def _in_fragments(peer: Peer) -> bytes:
    """A message byte by byte, with a ping in each gap."""
    message = peer.dialect.sound(peer.way, QUESTION[:20])
    body = message.encode() if isinstance(message, str) else message
    kind = TEXT if isinstance(message, str) else BINARY
    pieces = [
        frame(body[:1], kind, fin=False),
        *(frame(body[at : at + 1], 0, fin=False) for at in range(1, len(body))),
    ]
    return b"".join(piece + frame(b"still there?", PING) for piece in pieces) + frame(b"", 0)


async def _endless_fragments(peer: Peer) -> None:
    await peer.call()
    peer.answer_nothing()  # a mark that is told between the pieces would be a message within a message
    await peer.socket.push(frame(b"x" * 1000, TEXT, fin=False))
    for _ in range(MEBIBYTE // 8000):  # to the limit and not a byte more, which would reset what is answered
        await peer.socket.push(frame(b"x" * 1000, 0, fin=False) * 8)


FRAMES = [
    _breaks("frame: compressed", "Sends a compressed frame that nobody agreed to.", frame("x", reserved=4)),
    _breaks("frame: reserved bits", "Sets the reserved bits of a frame.", frame("x", reserved=3)),
    _breaks("frame: unknown opcode", "Uses an opcode that does not exist.", frame(b"x", 3)),
    _breaks("frame: unknown control", "Uses a control opcode that does not exist.", frame(b"x", 11)),
    _breaks("frame: long ping", "Pings with more than 125 bytes.", frame(b"x" * 126, PING)),
    _breaks("frame: ping in pieces", "Fragments a control frame.", frame(b"x", PING, fin=False)),
    _breaks("frame: loose continuation", "Continues a message that never began.", frame(b"x", 0)),
    _breaks(
        "frame: message within a message",
        "Begins a message in the middle of another.",
        frame("x", fin=False) + frame("y"),
    ),
    _breaks(
        "frame: claims 4 exbibytes",
        "Announces a frame of 2^62 bytes and sends three.",
        frame(b"abc", BINARY, claims=1 << 62),
        TOO_BIG,
    ),
    _breaks(
        "frame: claims more than there is",
        "Announces a frame of 2^64-1 bytes and sends three.",
        frame(b"abc", BINARY, claims=(1 << 64) - 1),
        TOO_BIG,
    ),
    CallerCase(
        name="frame: endless fragments",
        does="Continues one message again and again, past 1 MiB.",
        answer="closes with 1009",
        deed=_endless_fragments,
        then=Told(TOO_BIG),
    ),
    _stands(
        "frame: fragments",
        "Sends a message byte by byte, with a ping in every gap.",
        "reads the message",
        _in_fragments,
    ),
    _stands(
        "frame: wider than needed",
        "Writes the length of a short frame in eight bytes.",
        "reads the message",
        frame(ACCENTED, wide=True),
    ),
    _stands(
        "frame: unmasked",
        "Does not mask its frames.",
        "reads the message; masks protect proxies, not us",
        frame(ACCENTED, mask=None),
    ),
    _stands("frame: odd mask", "Masks each frame with a key of its own.", "reads the message", frame(ACCENTED, mask=b"\xa5\x00\xff\x01")),
    _stands("frame: empty pings", "Pings and pongs without a body, unasked.", "answers the pings", frame(b"", PING) * 20 + frame(b"", PONG) * 20),
    _breaks("close: code 1005", "Closes with a code that only stands for the lack of one.", close_frame(1005)),
    _breaks("close: code 999", "Closes with a code below all codes.", close_frame(999)),
    _breaks("close: half a code", "Closes with a single byte.", frame(b"\x03", CLOSE)),
    _breaks("close: broken reason", "Closes with a reason that is no UTF-8.", close_frame(1000, b"\xff\xfe"), TEXT_BROKEN),
    CallerCase(
        name="close: and goes on talking",
        does="Closes twice and goes on sending.",
        answer="answers the first close and reads no further",
        deed=saying(lambda peer: close_frame(1000) + peer.sound(QUESTION) * 50 + close_frame(4000) + b"junk"),
        then=Told(1000),
    ),
    _breaks("UTF-8: broken", "Sends text that is no UTF-8.", frame(b'{"type":"\xff\xfe"}', TEXT), TEXT_BROKEN),
    _breaks("UTF-8: surrogate", "Sends half of a surrogate pair as UTF-8.", frame(b'{"type":"\xed\xa0\x80"}', TEXT), TEXT_BROKEN),
    _breaks("UTF-8: truncated", "Ends a text in the middle of a letter.", frame(b'{"type":"\xc3', TEXT), TEXT_BROKEN),
    _stands(
        "UTF-8: letter cut in two",
        "Cuts a text into fragments in the middle of a letter.",
        "reads the message",
        frame(ACCENTED.encode()[:-3], TEXT, fin=False) + frame(ACCENTED.encode()[-3:], 0),
    ),
]  # fmt: skip

# Too much


async def flood(peer: Peer, data: bytes, seconds: float = 0.8) -> None:
    """Send the same bytes again and again, as fast as they are taken."""
    until = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(until):
            while await peer.socket.push(data):
                pass
            await peer.socket.ending(60)
    except TimeoutError:
        pass


def _floods(
    name: str, does: str, data: Callable[[Peer], bytes], answer: str = "", then: CallerOutcome | None = None
) -> CallerCase:
    async def deed(peer: Peer) -> None:
        await peer.call()
        await flood(peer, data(peer))

    answer = answer or "reads it at its own pace and leaves the rest unread"
    return CallerCase(
        name=f"flood: {name}", does=does, answer=answer, deed=deed, then=then or Left(), loud=True
    )


def _almost_unreadable(peer: Peer) -> bytes:
    wrong = frame(next(iter(peer.dialect.wrong(peer.way).values())).messages[0])
    return (wrong * 9 + peer.sound(b"\xff" * 160)) * 50


def _fragments(_peer: Peer) -> bytes:
    return frame(b"", TEXT, fin=False) + frame(b"x", 0, fin=False) * 20_000 + frame(b"", 0)


async def _trickle(peer: Peer) -> None:
    await peer.call()
    peer.answer_nothing()
    for byte in peer.frames(*peer.dialect.extras(peer.way)[:2]) + peer.sound(QUESTION):
        await peer.socket.push(bytes([byte]))
        await asyncio.sleep(0.002)
    peer.answer_nothing(answers=True)


async def _drops(peer: Peer) -> None:
    await peer.call()
    for byte in QUESTION:
        await peer.socket.push(peer.sound(bytes([byte])))
        await asyncio.sleep(0.004)


FLOODS = [
    _floods("sound", "Sends sound as fast as the network takes it.", lambda peer: peer.sound(b"\x90" * 160) * 100),
    _floods("drops of sound", "Sends sound sample by sample, as fast as the network takes it.", lambda peer: peer.sound(b"\x90") * 1000),
    _floods("pings", "Pings without end.", lambda _peer: frame(b"", PING) * 5000, "answers at its own pace"),
    _floods("pongs", "Answers pings that nobody sent, without end.", lambda _peer: frame(b"x" * 100, PONG) * 1000),
    _floods("unknown messages", "Sends messages of an unknown kind without end.", lambda _peer: frame(ACCENTED) * 1000),
    _floods("nearly unreadable", "Sends nine unreadable messages to every good one, without end.", _almost_unreadable, "forgives, at its own pace"),
    _floods("messages in splinters", "Sends messages in fragments of one byte, without end.", _fragments, "closes with 1008", Told(1008)),
    _floods(
        "largest messages",
        "Sends a megabyte of sound in each message, as fast as the network takes it.",
        lambda peer: peer.sound(b"\x90" * (MEBIBYTE * 7 // 10)),
        "takes the newest seconds, and a few messages in as many seconds",
    ),
    _floods(
        "largest nests",
        "Sends a megabyte of brackets, as deep as a parser follows, in each message.",
        lambda _peer: frame(
            '{"type":"weather","event":"weather","x":[' + ("[" * 900 + "]" * 900 + ",") * 500 + "0]}"
        ),
        "reads a few in as many seconds",
    ),
    CallerCase(name="trickle: bytes", does="Sends a question byte by byte, each in a packet of its own.", answer="answers it", deed=_trickle, then=GoesOn()),
    CallerCase(name="trickle: sound", does="Sends sound sample by sample.", answer="passes it on", deed=_drops, then=GoesOn()),
]  # fmt: skip
