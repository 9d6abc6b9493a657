"""Attacks by number: floods of requests, sockets that do nothing, and requests that never end."""

import asyncio
import time
from collections.abc import Callable

from attack import Attack, Judge, either, is_adapter, is_carrier, with_status
from castle import HEAD_S, Attempt, Castle, Found
from dialects import DIALECTS
from gates import FORM, Gate, changed
from gates_of_clients import GATES
from handmade import Ending, HandMade

FLOOD_S = 2.0
AT_ONCE = 4
"""Connections of a flood, each as fast as it is answered."""
IDLE = 2000
CROWD = 300
HELD_S = 10.0
"""How long a body may take; the gateway's own bound."""


async def _flood(castle: Castle, attempts: Callable[[], Attempt]) -> list[Found]:
    """Knock as fast as is answered; gives what every hundredth knock was answered, and those that were let in."""
    until, found = time.monotonic() + FLOOD_S, []

    async def knock_again() -> None:
        count = 0
        while time.monotonic() < until:
            one = await castle.knock(attempts())
            if count % 100 == 0 or one.status in (0, 101, 200):
                found.append(one)
            count += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(knock_again())
    return found


async def upgrades(castle: Castle, gate: Gate) -> list[Found]:
    """Ask for upgrades with tokens and signatures that are guessed."""
    target = "/v1/calls" if gate.name == "api" else f"/v1/ws/{gate.name}/{'A' * 43}"
    fields = (("X-Twilio-Signature", "A" * 28), ("Authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA"))
    return await _flood(castle, lambda: changed(gate.somewhere(castle, target, fields), "a guess"))


async def webhooks(castle: Castle, gate: Gate) -> list[Found]:
    """Send webhooks as long as they may be, with signatures that are guessed."""
    path = "/twilio/voice" if gate.name == "twilio" else "/vonage/answer"
    fields = (
        ("Content-Type", FORM),
        ("X-Twilio-Signature", "A" * 28),
        ("Authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA"),
    )
    body = b"a=" + b"b" * 60_000
    return await _flood(
        castle, lambda: Attempt(what="a guess", method="POST", target=path, fields=fields, body=body)
    )


async def pipelined(castle: Castle, gate: Gate) -> list[Found]:
    """Send hundreds of requests in one packet, again and again."""
    target = "/v1/calls" if gate.name == "api" else f"/v1/ws/{gate.name}"
    one = f"GET {target} HTTP/1.1\r\nHost: {castle.host}\r\n\r\n".encode()
    found, until = [], time.monotonic() + FLOOD_S
    while time.monotonic() < until:
        answer = await castle.raw(one * 500, 0.3)
        status = int(answer.split(" ", 2)[1]) if answer else 0
        found.append(Found("five hundred at once", status, Ending("open"), text=answer[-200:]))
    return found


async def _all_gone(castle: Castle, ports: set[int], limit_s: float) -> bool:
    since = time.monotonic()
    while time.monotonic() < since + limit_s:
        looked_at = castle.ground.looked_at
        if looked_at > since and not ports & castle.ground.held:
            return True
        await asyncio.sleep(0.1)
    return False


async def idle(castle: Castle, _gate: Gate) -> list[Found]:
    """Open two thousand connections and say nothing; meanwhile somebody calls over every adapter."""
    sockets: list[HandMade] = []
    try:
        while len(sockets) < IDLE:
            sockets += await asyncio.gather(*[castle.connect() for _ in range(50)])
            await asyncio.sleep(0.02)
        missed = [one for one in await calls(castle) if not one.heard]
        ports = {socket.port for socket in sockets}
        assert await _all_gone(castle, ports, HEAD_S + 10), "they are still held"
    finally:
        for socket in sockets:
            await socket.leave()
    return [Found(f"an honest call: {one.what}", 101, one.ending, heard=True) for one in missed] or [
        Found("idle", 0, Ending("eof"))
    ]


async def calls(castle: Castle) -> list[Found]:
    """An honest call over every adapter."""
    found = []
    for gate in GATES.values():
        if gate.name in DIALECTS:
            attempt = await gate.invite(castle, "good")
            found.append(await castle.knock(changed(attempt, gate.name), gate.dialect, 10))
    return found


async def silent(castle: Castle, gate: Gate) -> list[Found]:
    """Open three hundred sockets that must say whose they are, and say nothing."""

    async def say_nothing() -> Found:
        socket = await castle.connect()
        try:
            socket.write(castle.written(gate.somewhere(castle, "/v1/ws", ())))
            status = await socket.opened()
            ending = await socket.ending(10)
            return Found("silence", status, ending, text=ending.reason)
        finally:
            await socket.leave()

    return await asyncio.gather(*[say_nothing() for _ in range(300)])


async def crowds(castle: Castle, gate: Gate) -> list[Found]:
    """Open three hundred connections and have all of them ask at the same moment."""
    found = []
    for attempt in (await gate.wrongly_proven(castle) or [gate.somewhere(castle, "/v1/ws/pcm", ())])[:3]:
        sockets = [await castle.connect() for _ in range(CROWD)]
        try:
            data = castle.written(attempt)
            for socket in sockets:
                socket.write(data)
            statuses = await asyncio.gather(*[socket.opened() for socket in sockets])
            found += [Found(attempt.what, status, Ending("open")) for status in sorted(set(statuses) - {101})]
        finally:
            for socket in sockets:
                await socket.leave()
    return found or [Found("all were opened, to be told no", 403, Ending("open"))]


async def slow_heads(castle: Castle, gate: Gate) -> list[Found]:
    """Send the head of a request byte by byte, over fifty connections."""
    request = castle.written(gate.somewhere(castle, f"/v1/ws/{gate.name}", ()))
    return await _slowly(castle, request, HEAD_S + 5)


async def slow_bodies(castle: Castle, gate: Gate) -> list[Found]:
    """Send a webhook's body byte by byte, over fifty connections."""
    path = "/twilio/voice" if gate.name == "twilio" else "/vonage/answer"
    fields = (("Content-Type", FORM), ("Content-Length", "60000"))
    request = castle.written(Attempt(what="", method="POST", target=path, fields=fields))
    return await _slowly(castle, request + b"a" * 400, HELD_S + 5, at_once=len(request))


async def _slowly(castle: Castle, data: bytes, limit_s: float, at_once: int = 20) -> list[Found]:
    async def trickle() -> Found:
        reader, writer = await asyncio.open_connection("127.0.0.1", castle.ground.port)
        try:
            writer.write(data[:at_once])
            async with asyncio.timeout(limit_s):
                answered = asyncio.ensure_future(reader.read(65_536))  # the answer, or the end
                for at in range(at_once, len(data)):
                    done, _ = await asyncio.wait({answered}, timeout=0.1)
                    if done:
                        break
                    writer.write(data[at : at + 1])
                answer = (await answered).decode("latin-1")
        except TimeoutError:
            return Found("it is still held", 101, Ending("open"), heard=True)
        except ConnectionError:
            answer = ""
        finally:
            writer.transport.abort()
        status = int(answer.split(" ", 2)[1]) if answer else 0
        return Found("slowly", status, Ending("eof"), text=answer[-200:])

    return await asyncio.gather(*[trickle() for _ in range(50)])


_GONE: Judge = with_status(0, 400, 403, 404, 408, 426, 429, 503)
FLOODS = [
    Attack(name="flood: guesses", does="Guesses tokens and signatures as fast as it is answered.", answer="403 to each", deed=upgrades, refused=either(with_status(401, 403, 429), lambda found: found.status == 101 and not found.heard), loud=True),
    Attack(name="flood: webhooks", does="Sends the longest webhooks as fast as they are answered.", answer="403 to each", deed=webhooks, refused=with_status(403, 429), suits=is_carrier, loud=True),
    Attack(name="flood: pipelined", does="Sends five hundred requests in one packet, again and again.", answer="answers them one by one", deed=pipelined, refused=_GONE, loud=True),
    Attack(name="flood: a crowd", does="Has three hundred connections ask at the same moment.", answer="hears few of them in each turn of its loop, and refuses each, or closes those for which there is no room", deed=crowds, refused=with_status(0, 401, 403, 404, 422, 429, 503), place="counted", loud=True),
    Attack(name="idle: two thousand sockets", does="Opens two thousand connections and says nothing.", answer="takes calls meanwhile, and lets them go after `server.head_s`", deed=idle, refused=with_status(0), suits=lambda gate: gate.name == "twilio", loud=True),
    Attack(name="idle: unknown sockets", does="Opens three hundred sockets that must say whose they are, and says nothing.", answer="closes with 1008 after `server.first_message_s`", deed=silent, refused=lambda found: found.ending.code == 1008, suits=lambda gate: gate.name == "pcm", loud=True),
    Attack(name="slow: heads", does="Sends the head of a request byte by byte.", answer="hangs up after `server.head_s`", deed=slow_heads, refused=_GONE, suits=is_adapter, loud=True),
    Attack(name="slow: bodies", does="Sends a webhook's body byte by byte.", answer="408 after 10 s", deed=slow_bodies, refused=_GONE, suits=is_carrier, loud=True),
]  # fmt: skip
