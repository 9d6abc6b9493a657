"""Attacks by insisting: more wrong proofs, sockets and tokens than an address or a key may have."""

from attack import Attack, Judge, either, with_status, without_proof
from castle import FEW, MOST_SOCKETS, OTHER_KEY, Attempt, Castle, Found
from flood_attacks import calls
from gates import Gate, bearer, changed
from gates_of_clients import GATES
from handmade import Ending, HandMade

TOO_OFTEN = 429
OPENED = 101


def _none_of(status: int, found: list[Found]) -> list[Found]:
    """What was found, and that something is missing from it."""
    missing = Found(f"nothing was answered {status}", 0, Ending("open"), heard=True)
    return found if any(one.status == status for one in found) else [*found, missing]


async def insisting(castle: Castle, gate: Gate) -> list[Found]:
    """Show one wrong proof after the other; then somebody at the same address has a good one."""
    every = await gate.wrongly_proven(castle)
    kinds = [
        next(one for one in every if bool(one.method) is asks) for asks in {bool(one.method) for one in every}
    ]
    found = [await castle.knock(wrong, gate.dialect) for wrong in kinds for _ in range(4 * FEW)]
    good = await gate.invite(castle, "good")
    honest = await castle.knock(changed(good, "an honest call"), gate.dialect)
    if honest.status not in (101, 200) or (honest.status == 101 and not honest.heard):
        found.append(Found(f"a good proof was refused: {honest}", 0, Ending("open"), heard=True))
    return _none_of(TOO_OFTEN, found)


async def unknown(castle: Castle, gate: Gate) -> list[Found]:
    """Open one socket after the other that must be listened to, to learn whose it is."""
    sockets: list[HandMade] = []
    found = []
    try:
        for _ in range(3 * FEW):
            sockets.append(await castle.connect())
            sockets[-1].write(castle.written(gate.somewhere(castle, "/v1/ws", ())))
            found.append(Found("a socket", await sockets[-1].opened(), Ending("open")))
    finally:
        for socket in sockets:
            await socket.leave()
    return _none_of(TOO_OFTEN, found)


async def minting(castle: Castle, _gate: Gate) -> list[Found]:
    """Mint one token after the other."""
    asked = Attempt(
        what="a token", method="GET", target="/v1/token?expires_in_seconds=60", fields=bearer(OTHER_KEY)
    )
    return _none_of(TOO_OFTEN, [await castle.knock(asked) for _ in range(2 * FEW)])


async def crowding(castle: Castle, _gate: Gate) -> list[Found]:
    """Open three times as many connections as there may be; meanwhile somebody calls over every adapter."""
    sockets: list[HandMade] = []
    pcm = GATES["pcm"]
    caller = await castle.connect()
    try:
        caller.write(castle.written(await pcm.invite(castle, "good")))
        assert await caller.opened() == OPENED
        await caller.say(bytes(160))
        sockets += [await castle.connect() for _ in range(3 * MOST_SOCKETS)]
        missed = [one for one in await calls(castle) if not one.heard]
        held = {socket.port for socket in sockets} & castle.ground.held_now()
        assert len(held) <= MOST_SOCKETS, f"{len(held)} are held"
        assert not caller.is_over, "a call was crowded out"
    finally:
        await caller.leave()
        for socket in sockets:
            await socket.leave()
    refused = [Found(f"an honest call: {one.what}", 0, one.ending, heard=True) for one in missed]
    return refused or [Found("crowded out", 0, Ending("eof"))]


_NO: Judge = either(without_proof, with_status(TOO_OFTEN))
COUNTED = [
    Attack(name="insisting: wrong proofs", does="Shows one wrong proof after the other, from an address that honest peers share.", answer="429 from some on; a good proof is let in all the same", deed=insisting, refused=_NO, place="counted"),
    Attack(name="insisting: unknown sockets", does="Opens one socket after the other that must be listened to.", answer="429 from some on", deed=unknown, refused=with_status(101, TOO_OFTEN), place="counted", suits=lambda gate: gate.name == "pcm"),
    Attack(name="insisting: tokens", does="Mints one token after the other with a key of its own.", answer="429 from some on", deed=minting, refused=with_status(200, TOO_OFTEN), place="counted", suits=lambda gate: gate.name == "api"),
    Attack(name="crowding", does="Opens three times as many connections as there may be.", answer="closes those that have been here longest without a proof; every honest call is taken", deed=crowding, refused=with_status(0), place="counted", suits=lambda gate: gate.name == "twilio"),
]  # fmt: skip
