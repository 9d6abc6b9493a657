"""Cases of callers that say the wrong thing, at the wrong time, or not at all; with those of their frames."""

import asyncio
import random
import time
from itertools import pairwise

from caller_frames import ACCENTED, FLOODS, FRAMES, MEBIBYTE
from case import POLICY, TOO_BIG, CallerCase, CallerDeed, Dropped, GoesOn, Left, Told, TurnedAway
from dialect import Dialect, Way, text
from fault_proxy import Fault
from handmade import close_frame, frame, upgrade
from hosts import GREETING, QUESTION
from peers import WIRE_ERRORS, Peer

PINGS_UNTIL_LOST = 6
"""Pings, one a second, that a silent peer gets before it counts as lost for not having answered."""
DRIPS, DRIPS_S = 60, 6.3
"""Pieces of a message and how long all of them take: longer than a peer may be silent."""
LOST_WITHIN_S = 8.0
"""By when a peer that is gone is let go: `server.lost_after_s`, a beat, and some patience with a busy machine."""
NOWHERE = Way("ws://nowhere", call="CA1", stream="MZ1")
"""Good enough to ask a dialect which cases it has."""


def begins_late(dialect: Dialect) -> bool:
    """Whether there is something to say before sound."""
    return dialect.begins_late


# What is said


def _wrong(dialect: Dialect, name: str) -> CallerCase:
    async def deed(peer: Peer) -> None:
        await peer.arrive()
        wrong = dialect.wrong(peer.way)[name]
        if not wrong.instead:
            await peer.say(*dialect.begin(peer.way))
            assert await peer.hears(GREETING), "no greeting was heard"
        *before, last = wrong.messages
        await peer.say(*before, *[last] * WIRE_ERRORS)

    words = dialect.wrong(NOWHERE)[name].words
    return CallerCase(
        name=name,
        does="Says it again and again.",
        answer=f"closes with 1008: “…{words}…”",
        deed=deed,
        then=Told(POLICY, words),
        own=True,
        suits=lambda other: other is dialect,
    )


async def _too_long(peer: Peer) -> None:
    await peer.call()
    await peer.say("x" * (MEBIBYTE + 1))


async def _extras(peer: Peer) -> None:
    await peer.call()
    for message in peer.dialect.extras(peer.way):
        await peer.say(message, peer.dialect.sound(peer.way, bytes(160)))


async def _forgiven(peer: Peer) -> None:
    await peer.call()
    for wrong in peer.dialect.wrong(peer.way).values():
        if not wrong.instead:
            await peer.say(
                *(wrong.messages * WIRE_ERRORS)[: WIRE_ERRORS - 1], *peer.dialect.extras(peer.way)[:1]
            )


async def _twice(peer: Peer) -> None:
    await peer.arrive()
    said = [
        *peer.dialect.begin(peer.way),
        *peer.dialect.extras(peer.way),
        peer.dialect.sound(peer.way, bytes(160)),
    ]
    await peer.say(*(message for message in said for _ in range(2)))


async def _early(peer: Peer) -> None:
    way = peer.way = await peer.dialect.invite(peer.ground.url, peer.caller, peer.callee)
    await peer.arrive(tail=peer.frames(*peer.dialect.begin(way)) + peer.sound(QUESTION) * 20)
    assert await peer.hears(GREETING), "no greeting was heard"


async def _after_the_end(peer: Peer) -> None:
    await peer.call()
    end = peer.dialect.end(peer.way)
    extras = peer.dialect.extras(peer.way)
    await peer.say(
        end, end, *extras, *[peer.dialect.sound(peer.way, QUESTION)] * 100, *peer.dialect.begin(peer.way), end
    )


async def _shuffled(peer: Peer) -> None:
    order = random.Random(peer.caller)  # noqa: S311 - the same order in every run
    await peer.arrive()
    said = [
        *peer.dialect.begin(peer.way),
        *peer.dialect.extras(peer.way),
        *[peer.dialect.sound(peer.way, bytes(160))] * 3,
    ]
    for _ in range(5):
        order.shuffle(said)
        await peer.say(*said)
    await peer.say(peer.dialect.end(peer.way))


async def _halfway(peer: Peer) -> None:
    await peer.arrive()
    await peer.say(peer.dialect.begin(peer.way)[0])


async def _mutes(peer: Peer) -> None:
    await peer.call()
    await _outlast(peer)


async def _mutes_and_answers_no_ping(peer: Peer) -> None:
    await peer.arrive()
    peer.socket.answers_pings = False
    await peer.say(*peer.dialect.begin(peer.way), peer.dialect.sound(peer.way, bytes(160)))
    assert await peer.hears(GREETING), "no greeting was heard"
    await _outlast(peer)


async def _outlast(peer: Peer) -> None:
    """Stay until the gateway has asked so often that it would have let go of whoever has to answer."""
    enough = peer.socket.pings + PINGS_UNTIL_LOST
    assert await peer.socket.until(lambda: peer.socket.pings >= enough, LOST_WITHIN_S), (
        f"after {enough - peer.socket.pings} pings too few: {peer.socket.ended}"
    )


MESSAGES = [
    CallerCase(name="huge: over the limit", does="Sends a message of more than 1 MiB.", answer="closes with 1009", deed=_too_long, then=Told(TOO_BIG)),
    CallerCase(name="unusual: every other message", does="Sends whatever else the dialect has, with absurd numbers, and kinds that do not exist yet.", answer="ignores what means nothing", deed=_extras, then=GoesOn()),
    CallerCase(name="unreadable: nine in a row", does="Says every wrong thing nine times in a row, and a good one in between.", answer="forgives", deed=_forgiven, then=GoesOn()),
    CallerCase(name="twice: everything", does="Says everything twice, its beginning too.", answer="takes the first of each where two make no sense", deed=_twice, then=GoesOn()),
    CallerCase(name="early: with the upgrade", does="Sends its beginning and a question in one packet with the upgrade.", answer="answers the question", deed=_early, then=GoesOn()),
    CallerCase(name="late: after the end", does="Hangs up, and goes on talking, hanging up and beginning again.", answer="closes with 1000", deed=_after_the_end, then=Told(1000)),
    CallerCase(name="shuffled: everything", does="Says everything in a random order, again and again.", answer="one ending, whatever comes first", deed=_shuffled, then=Left()),
    CallerCase(name="silence: from the start", does="Opens and says nothing.", answer="closes with 1008 after `server.first_message_s`", deed=Peer.arrive, then=Told(POLICY, "within 1 s")),
    CallerCase(name="silence: half begun", does="Says hello and never begins.", answer="closes with 1008 after `server.first_message_s`", deed=_halfway, then=Told(POLICY, "within 1 s"), suits=begins_late),
    CallerCase(name="silence: in the call", does="Stops sounding in the middle of a call, and stays.", answer="the house sound, then closes with 1000, after `limits.silence_s`", deed=Peer.call, then=Told(1000, within_s=25.0), suits=lambda dialect: not dialect.is_carrier),
    CallerCase(name="silence: muted", does="Says nothing for longer than `server.lost_after_s`, and answers pings.", answer="keeps the call", deed=_mutes, then=GoesOn(), suits=lambda dialect: not dialect.is_carrier),
    CallerCase(name="silence: muted, answers no ping", does="Says nothing for longer than `server.lost_after_s`, and never answers a ping.", answer="keeps the call: who never answered is not held to it", deed=_mutes_and_answers_no_ping, then=GoesOn(), suits=lambda dialect: not dialect.is_carrier),
    CallerCase(name="silence: of a line", does="Sends no sound any more, which carriers do even when nobody speaks, and stays.", answer="counts it as lost after six seconds, and waits for its return", deed=Peer.call, then=Dropped(within_s=25.0), suits=lambda dialect: dialect.is_carrier),
]  # fmt: skip

# How it comes and goes


async def _refused(peer: Peer, *, answers_close: bool = True, reads: bool = True) -> None:
    wrong = next(wrong for wrong in peer.dialect.wrong(peer.way).values() if not wrong.instead)
    peer.socket.answers_close = answers_close
    if not reads:
        peer.socket.stop_reading()
    await peer.say(*wrong.messages * WIRE_ERRORS)


async def _never_closes(peer: Peer) -> None:
    await peer.call()
    await _refused(peer, answers_close=False)


async def _never_reads(peer: Peer) -> None:
    await peer.call()
    await _refused(peer, reads=False)


async def _deaf(peer: Peer) -> None:
    await peer.arrive(buffer_bytes=2048)
    await peer.say(*peer.dialect.begin(peer.way))
    peer.socket.stop_reading()
    for _ in range(60):
        await peer.socket.push(peer.sound(QUESTION))
        await asyncio.sleep(0.02)


async def _deaf_for_long(peer: Peer) -> None:
    await peer.arrive(buffer_bytes=2048)
    await peer.say(*peer.dialect.begin(peer.way))
    peer.socket.stop_reading()
    while await peer.socket.push(peer.sound(QUESTION)):  # noqa: ASYNC110 - it is the deed
        await asyncio.sleep(0.02)


async def _mid_frame(peer: Peer) -> None:
    await peer.call()
    peer.answer_nothing()
    await peer.socket.push(peer.sound(bytes(160))[:50])


async def _closes_mid_frame(peer: Peer) -> None:
    await _mid_frame(peer)
    peer.socket.half_close()


async def _half_open(peer: Peer) -> None:
    await peer.call()
    peer.socket.half_close()


async def _vanishes(peer: Peer) -> None:
    network = await peer.go_through_network()
    await peer.call()
    network.carried[0].strike(Fault("drop"))


async def _drips(peer: Peer) -> None:
    await peer.call()
    peer.answer_nothing()
    message = frame(text(type="weather", event="weather", rain="x" * DRIPS))
    began, step = time.monotonic(), -(-len(message) // DRIPS)
    for number in range(DRIPS):
        await peer.socket.push(message[number * step :][:step])
        await asyncio.sleep(max(0.0, began + (number + 1) * DRIPS_S / DRIPS - time.monotonic()))
    peer.answer_nothing(answers=True)


async def _resets(peer: Peer) -> None:
    await peer.call()
    peer.socket.reset()


async def _resets_mid_frame(peer: Peer) -> None:
    await _mid_frame(peer)
    peer.socket.reset()


async def _resets_upgrade(peer: Peer) -> None:
    for at in (1, 40, None):
        socket = await peer.connect()
        socket.write(upgrade(peer.way.url, peer.way.headers)[:at])
        await asyncio.sleep(0)
        socket.reset()


async def _resets_talking(peer: Peer) -> None:
    """Reset while data is on its way in both directions."""
    await peer.call()
    await peer.socket.push(peer.sound(QUESTION) * 200)
    peer.socket.reset()


async def _closes_while_answered(peer: Peer) -> None:
    await peer.call()
    await peer.socket.push(peer.sound(QUESTION) * 20 + close_frame(1001, b"page closed"))


def _gone(name: str, does: str, deed: CallerDeed, then: Left | Told | Dropped) -> CallerCase:
    return CallerCase(
        name=name,
        does=does,
        answer="the call is over, or waits for the caller's return, and nothing is left open",
        deed=deed,
        then=then,
    )


CONNECTIONS = [
    CallerCase(name="connection: drips", does="Takes longer over one message than a connection may be silent, and cannot answer pings meanwhile.", answer="keeps the call: bytes are signs of life", deed=_drips, then=GoesOn()),
    CallerCase(name="connection: never closes", does="Is closed for what it said, and neither answers the close nor hangs up.", answer="lets go after `server.close_s`", deed=_never_closes, then=Dropped()),
    CallerCase(name="connection: never reads the refusal", does="Is closed for what it said, and reads nothing.", answer="lets go after `server.close_s`", deed=_never_reads, then=Dropped()),
    CallerCase(name="connection: never reads", does="Talks and reads nothing.", answer="goes on until it has gone", deed=_deaf, then=Left()),
    CallerCase(name="connection: never reads, for long", does="Talks and reads nothing, until its buffers are full.", answer="lets go ten seconds later", deed=_deaf_for_long, then=Dropped(within_s=20.0), slow=True),
    _gone("connection: closes in mid-frame", "Ends its side in the middle of a frame.", _closes_mid_frame, Dropped()),
    _gone("connection: half-open", "Ends its side and goes on listening.", _half_open, Dropped()),
    CallerCase(name="connection: vanishes", does="Is gone without a word, as a laptop that is closed: nothing comes any more, and nothing arrives.", answer="counts it as lost `server.lost_after_s` after the last that came, and up to a second more; the call is over, or waits for its return", deed=_vanishes, then=Dropped(LOST_WITHIN_S)),
    _gone("connection: reset", "Resets the connection.", _resets, Left()),
    _gone("connection: reset in mid-frame", "Resets the connection in the middle of a frame.", _resets_mid_frame, Left()),
    _gone("connection: reset while it talks", "Resets the connection while sound is on its way both ways.", _resets_talking, Left()),
    _gone("connection: reset in the upgrade", "Resets its connections before, in and after the upgrade's request.", _resets_upgrade, Left()),
    _gone("connection: closes while it is answered", "Closes while the answer to its question is on the way.", _closes_while_answered, Told(1000)),
]  # fmt: skip

# The upgrade


def _knocks(data: bytes, *, stays_s: float = 5.0) -> CallerDeed:
    """Say this instead of an upgrade."""

    async def deed(peer: Peer) -> None:
        socket = await peer.connect()
        await socket.push(data)
        await socket.eof(stays_s)

    return deed


def _upgrades(**changed: str | None) -> CallerDeed:
    """Ask for an upgrade in which something is different."""

    async def deed(peer: Peer) -> None:
        socket = await peer.connect()
        await socket.push(
            upgrade(peer.way.url, {**peer.way.headers, "Connection": "Upgrade, close"}, **changed)
        )
        await socket.opened()

    return deed


async def _slow_upgrade(peer: Peer) -> None:
    socket = await peer.connect()
    request = upgrade(peer.way.url, peer.way.headers)
    for at, after in pairwise([*range(0, len(request), 7), len(request)]):
        await socket.push(request[at:after])
        await asyncio.sleep(0.002)
    await socket.opened()
    await peer.say(*peer.dialect.begin(peer.way))


async def _two_upgrades(peer: Peer) -> None:
    socket = await peer.connect()
    await socket.open(peer.way.url, peer.way.headers, upgrade(peer.way.url, peer.way.headers))


async def _unfinished(peer: Peer) -> None:
    socket = await peer.connect()
    await socket.push(upgrade(peer.way.url, peer.way.headers)[:-2])


HELLO_TLS = bytes.fromhex("16030100c8010000c40303") + bytes(195)
UPGRADES = [
    CallerCase(name="upgrade: unknown version", does="Asks for version 99 of the protocol.", answer="426", deed=_upgrades(Sec_WebSocket_Version="99"), then=TurnedAway(426, "WebSocket")),
    CallerCase(name="upgrade: without a key", does="Leaves out the key.", answer="426", deed=_upgrades(Sec_WebSocket_Key=None), then=TurnedAway(426, "WebSocket")),
    CallerCase(name="upgrade: huge header", does="Sends a header field of 100 kB.", answer="400", deed=_knocks(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), then=TurnedAway(400)),
    CallerCase(name="upgrade: a thousand headers", does="Sends a thousand header fields.", answer="400", deed=_knocks(b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 1000 + b"\r\n"), then=TurnedAway(400)),
    CallerCase(name="upgrade: TLS", does="Speaks TLS to a port that does not.", answer="400", deed=_knocks(HELLO_TLS), then=TurnedAway(400)),
    CallerCase(name="upgrade: HTTP/2", does="Speaks HTTP/2.", answer="400", deed=_knocks(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), then=TurnedAway(400)),
    CallerCase(name="upgrade: frames at once", does="Sends frames without an upgrade.", answer="400", deed=_knocks(frame(ACCENTED) + b"\r\n\r\n"), then=TurnedAway(400)),
    CallerCase(name="upgrade: trickled", does="Sends its request in crumbs.", answer="takes the call", deed=_slow_upgrade, then=GoesOn()),
    CallerCase(name="upgrade: twice", does="Sends a second upgrade right behind the first.", answer="closes with 1002: it is no frame", deed=_two_upgrades, then=Told(1002)),
    CallerCase(name="upgrade: never finished", does="Begins a request and never ends it.", answer="hangs up after 75 s", deed=_unfinished, then=Dropped(within_s=80.0), slow=True),
]  # fmt: skip

# Many at once


async def _connects(peer: Peer) -> None:
    await peer.call()
    for _ in range(10):
        for _ in range(20):
            (await peer.connect()).reset()
        await asyncio.sleep(0.1)
    peer.sockets = peer.sockets[:1]


async def _strangers(peer: Peer) -> None:
    await peer.call()
    for _ in range(10):
        sockets = [await peer.connect() for _ in range(5)]
        for socket in sockets:
            socket.write(upgrade(f"{peer.ground.url}/v1/ws/twilio/never-minted"))
        for socket in sockets:
            await socket.opened()
            await socket.leave()
        await asyncio.sleep(0.08)
    peer.sockets = peer.sockets[:1]


MANY = [
    CallerCase(name="many: connections", does="Opens and resets 200 connections a second.", answer="lets them go", deed=_connects, then=GoesOn(), loud=True),
    CallerCase(name="many: strangers", does="Asks for 60 upgrades a second without proof.", answer="403 to each", deed=_strangers, then=GoesOn(), loud=True),
]  # fmt: skip


def cases_of(dialect: Dialect) -> list[CallerCase]:
    """Everything that callers of a dialect do wrong."""
    own = [_wrong(dialect, name) for name in dialect.wrong(NOWHERE)]
    every = [*own, *MESSAGES, *FRAMES, *CONNECTIONS, *UPGRADES, *FLOODS, *MANY]
    return [case for case in every if case.suits(dialect)]
