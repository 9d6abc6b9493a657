"""Attacks below the proof: header fields, paths, sizes, depth and compression."""

import functools
import gzip
import json
import zlib

from attack import Attack, Judge, either, is_adapter, is_carrier, with_code, with_status, without_proof
from castle import Attempt, Castle, Found
from dialect import DEEP
from gates import FORM, Gate, VonageGate, changed
from gates_of_clients import PcmGate
from handmade import Ending, frame

MEBIBYTE = 1 << 20
UNPACKING_S = 1.0
"""Far less than it takes to unpack all bombs, and far more than it takes to refuse them."""


def told(what: str, answer: str) -> Found:
    """What came of bytes that were sent as they are."""
    status = int(answer.split(" ", 2)[1]) if answer.startswith("HTTP/") else 0
    return Found(what, status, Ending("open"), text=answer[-300:], head=answer)


# Header fields


async def smuggled_proofs(castle: Castle, gate: Gate) -> list[Found]:
    """Bring a proof in a way that two readers understand differently."""
    good = await gate.invite(castle)
    if isinstance(gate, PcmGate) and gate.name != "api":
        good = gate.plain(castle)
    (name, value), *_ = good.fields
    under = name.replace("-", "_")
    wrong = "A" * len(value)
    forms: dict[str, tuple[tuple[str, str], ...]] = {
        "folded": ((name, f"\r\n {value}"),),
        "behind another one": ((name, wrong), (name, value)),
        "in a field behind a line feed": (("X-A", f"b\n{name}: {value}"),),
        "in a field behind a carriage return": (("X-A", f"b\r{name}: {value}"),),
        "in a name with a space": ((f"{name} ", value),),
        "in a name with a tab": ((f"{name}\t", value),),
        "behind a NUL": ((name, f"\x00{value}"),),
    }
    if under != name:
        forms["in a name with underscores"] = ((under, value),)
    return [
        await castle.knock(changed(good, what, fields=fields), gate.dialect) for what, fields in forms.items()
    ]


async def smuggled_requests(castle: Castle, gate: Gate) -> list[Found]:
    """Hide a second request behind one whose length may be read in two ways."""
    inner = castle.written(Attempt(what="", method="GET", target="/v1/calls", fields=()))
    path = {"twilio": "/twilio/voice", "vonage": "/vonage/answer"}.get(gate.name, f"/v1/ws/{gate.name}")
    method = "POST" if gate.is_carrier else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: {castle.host}\r\n".encode()
    chunked = b"Transfer-Encoding: chunked\r\n"
    size = f"Content-Length: {len(inner)}\r\n".encode()
    forms = {
        "both lengths": head + size + chunked + b"\r\n0\r\n\r\n" + inner,
        "two lengths": head + b"Content-Length: 0\r\n" + size + b"\r\n" + inner,
        "a length with a sign": head + b"Content-Length: +0\r\n\r\n" + inner,
        "a negative length": head + b"Content-Length: -1\r\n\r\n" + inner,
        "two codings": head
        + b"Transfer-Encoding: identity, chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"
        + inner,
        "a coding with a tab": head + b"Transfer-Encoding:\tchunked, x\r\n" + size + b"\r\n0\r\n\r\n" + inner,
        "a chunk of a wrong size": head + chunked + b"\r\nfffffffffffffffff\r\n" + inner,
        "bare line feeds": head.replace(b"\r\n", b"\n") + size.replace(b"\r\n", b"\n") + b"\n" + inner,
    }
    found = []
    for what, data in forms.items():
        answer = await castle.raw(data, 0.5)
        found.append(told(what, answer))
        if answer.count("HTTP/") > 1 and '"calls"' in answer:
            found.append(Found(f"{what}: the second request was answered", 200, Ending("open"), heard=True))
    return found


def _no_calls(found: Found) -> bool:
    return not found.heard and found.status not in (101, 200)


# Paths


async def tricked_paths(castle: Castle, gate: Gate) -> list[Found]:
    """Come without proof to an address that might be taken for another one."""
    name, dialect = gate.name, gate.dialect
    api = {"api": "/v1/calls"}.get(name, f"/v1/ws/{name}")
    last = api.rpartition("/")[2]
    targets = [
        f"/v1/ws/../ws/{last}", f"/{api}", f"{api}/", f"{api}/.", f"{api}/..", f"{api}//", f"{api}/%2e%2e/{last}", f"{api}%00", f"{api};a=b",
        f"/v1/./{api.removeprefix('/v1/')}", api.upper(), f"{api}%20", f"{api}%2f", api.replace("/v1", "/V1"), api.replace("v1", "%76%31"),
        f"/%2e%2e{api}", f"/healthz/..{api}", f"{api}#fragment", f"{api}?", f"{api}\\..", f"/v1%2fws%2f{last}", f"*{api}",
        f"{api}/%2e%2e%2f%2e%2e%2fetc%2fpasswd", f"{api}/{'A' * 43}/more",
    ]  # fmt: skip
    found = []
    for target in targets:
        attempt = gate.somewhere(castle, target, ())
        found.append(await castle.knock(changed(attempt, f"the address {target[:60]}"), dialect, 0.3))
    return found


async def tricked_files(castle: Castle, gate: Gate) -> list[Found]:
    """Ask the playground and the probes for what is not theirs."""
    targets = [
        "/../pyproject.toml", "/%2e%2e/app.py", "/..%2fapp.py", "/web/../app.py", "/index.html%00.js", "//etc/passwd", "/....//app.py",
        "/talkpath.js/../../app.py", "/healthz", "/readyz", "/metrics", "/ops", "/gateway.yaml", "/.env", "http://127.0.0.1:8081/healthz",
    ]  # fmt: skip
    found = [
        await castle.knock(Attempt(what=target, method="GET", target=target), gate.dialect)
        for target in targets
    ]
    odd = [b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n", b"TRACE /v1/calls HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /v1/calls\r\n\r\n", b"GET /v1/calls HTTP/9.9\r\nHost: a\r\n\r\n"]  # fmt: skip
    return [*found, *[told(repr(data[:40]), await castle.raw(data, 0.5)) for data in odd]]


# Sizes and depth


async def oversized(castle: Castle, gate: Gate) -> list[Found]:
    """Say more than anybody needs before anything is proven."""
    here = "/v1/calls" if gate.name == "api" else f"/v1/ws/{gate.name}"
    base = gate.somewhere(castle, here, ())
    attempts = [
        changed(base, "an address of 100 kB", target=f"{here}?a={'b' * 100_000}"),
        changed(base, "a path of 100 kB", target=f"{here}/{'b' * 100_000}"),
        changed(base, "a field of 100 kB", fields=(("X-A", "b" * 100_000),)),
        changed(base, "a thousand fields", fields=tuple((f"X-{number}", "b" * 60) for number in range(1000))),
        changed(
            base,
            "a proof of 7 kB",
            fields=(("Authorization", "Bearer " + "e" * 7000), ("X-Twilio-Signature", "e" * 7000)),
        ),
    ]
    return [await castle.knock(attempt, gate.dialect) for attempt in attempts]


async def long_bodies(castle: Castle, gate: Gate) -> list[Found]:
    """Send webhooks without proof that are longer than any."""
    path = "/twilio/voice" if gate.name == "twilio" else "/vonage/answer"
    kind = (("Content-Type", FORM if gate.name == "twilio" else "application/json"),)
    pieces = (*kind, ("Transfer-Encoding", "chunked"))
    chunked = b"".join(b"4000\r\n" + b"a" * 0x4000 + b"\r\n" for _ in range(64)) + b"0\r\n\r\n"
    attempts = [
        Attempt(what="1 MiB", method="POST", target=path, fields=kind, body=b"a" * MEBIBYTE),
        Attempt(what="100,000 fields", method="POST", target=path, fields=kind, body=b"a=b&" * 100_000),
        Attempt(what="1 MiB in chunks", method="POST", target=path, fields=pieces, body=chunked),
    ]
    return [await castle.knock(attempt) for attempt in attempts]


async def long_messages(castle: Castle, gate: Gate) -> list[Found]:
    """Send first messages that are longer than any, before it is known whose they are."""
    big = "x" * (300 << 10)
    base = gate.somewhere(castle, "/v1/ws", ())
    long = {"300 kB of text": big, "300 kB of sound": big.encode(), "300 kB of spaces": " " * len(big)}
    attempts = [changed(base, what, begin=(message,)) for what, message in long.items()]
    return [await castle.knock(attempt, gate.dialect) for attempt in attempts]


async def deep(castle: Castle, gate: Gate) -> list[Found]:
    """Nest without end where something is read before it was proven."""
    nests = [
        "[" * DEEP,
        '{"event":' * DEEP,
        '{"event":"start","start":' + "[" * DEEP,
        '{"type":"session.update","session":' + '{"a":' * 30_000,
    ]
    base = gate.somewhere(castle, "/v1/ws", ())
    found = [
        await castle.knock(changed(base, f"a first message of {nest[:20]}", begin=(nest, nest)), gate.dialect)
        for nest in nests
    ]
    if gate.is_carrier:
        path, body = (
            ("/twilio/voice", b"a=" + b"%5B" * 20_000)
            if gate.name == "twilio"
            else ("/vonage/answer", b"[" * 60_000)
        )
        hook = Attempt(
            what="a nested webhook",
            method="POST",
            target=path,
            fields=(("Content-Type", "application/json"),),
            body=body,
        )
        found.append(await castle.knock(hook))
    if isinstance(gate, VonageGate):
        proof = gate.proof(deep=json.loads("[" * 500 + "]" * 500))
        found.append(
            await castle.knock(
                changed(
                    await gate.invite(castle),
                    "nested claims",
                    fields=proof,
                    target="/v1/ws/vonage/" + "A" * 43,
                ),
                gate.dialect,
            )
        )
    return found


# Compression


@functools.cache
def _bomb(level: int) -> bytes:
    """Sixty-four kilobytes that are many megabytes; packed twice, gigabytes."""
    data = bytes(60 * MEBIBYTE)
    for _ in range(level):
        data = gzip.compress(data, 9)
    return data


async def bombs(castle: Castle, gate: Gate) -> list[Found]:
    """Send packed bodies and messages that unpack to a thousand times their size."""
    before_mb = castle.ground.memory_mb()
    found = []
    good = await gate.invite(castle, "good" if gate.is_carrier else "prize")
    extension = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
    castle.honest_prizes += not gate.is_carrier
    packed = zlib.compress(b"x" * MEBIBYTE)[2:-4]
    socket = await castle.connect()
    try:
        socket.write(castle.written(changed(good, "", fields=(*good.fields, extension))))
        status = await socket.opened()
        assert "sec-websocket-extensions" not in socket.head.lower(), "compression was agreed to"
        await socket.say(*gate.dialect.begin(good.way))
        await socket.push(frame(packed, 1, reserved=4))
        ending = await socket.ending(3)
        found.append(Found("a packed message", status, ending, text=ending.reason))
    finally:
        await socket.leave()
    began_s = castle.ground.processor_s()
    path = {"twilio": "/twilio/voice", "vonage": "/vonage/answer"}.get(gate.name, "/v1/sessions")
    for coding, body in (
        ("gzip", _bomb(1)),
        ("gzip", _bomb(2)),
        ("deflate", zlib.compress(bytes(60 * MEBIBYTE), 9)),
        ("br", b"\x00" * 100),
    ):
        for number in range(4):
            fields = (("Content-Encoding", coding), ("Content-Type", FORM))
            what = f"{len(body)} bytes of {coding}, {number}"
            found.append(
                await castle.knock(
                    Attempt(what=what, method="POST", target=path, fields=fields, body=body), None, 10
                )
            )
    spent_s = castle.ground.processor_s() - began_s
    assert spent_s < UNPACKING_S, f"the bodies took {spent_s:.1f} s of processor time"
    grown_mb = castle.ground.memory_mb() - before_mb
    assert grown_mb < 30, f"the process has grown by {grown_mb:.0f} MB"
    return found


SENTENCE = "400, 403, 404, 405, 413 or 426; 1008 or 1009 on an open socket"
_WRONG: Judge = either(
    with_status(400, 403, 404, 405, 408, 411, 413, 414, 415, 422, 426, 431, 501),
    with_code(1002, 1003, 1008, 1009),
    without_proof,
)
HTTP = [
    Attack(name="smuggled proof", does="Brings a good proof in a header field that others might read differently.", answer="400 or 403", deed=smuggled_proofs, refused=either(with_status(400, 403), without_proof)),
    Attack(name="smuggled request", does="Hides a request in the body of another one.", answer="400", deed=smuggled_requests, refused=_no_calls),
    Attack(name="path tricks", does="Comes without proof to addresses that might be taken for others.", answer=SENTENCE, deed=tricked_paths, refused=_WRONG),
    Attack(name="path tricks: files", does="Asks for files, probes and other hosts.", answer="400, 404 or 405", deed=tricked_files, refused=with_status(400, 403, 404, 405, 501), suits=lambda gate: gate.name == "api"),
    Attack(name="oversized", does="Says more than anybody needs before anything is proven.", answer=SENTENCE, deed=oversized, refused=_WRONG),
    Attack(name="oversized: bodies", does="Sends webhooks that are longer than any, without proof.", answer="413", deed=long_bodies, refused=with_status(413), suits=is_carrier),
    Attack(name="oversized: messages", does="Sends first messages that are longer than any.", answer="closes with 1009", deed=long_messages, refused=with_code(1009), suits=is_adapter),
    Attack(name="deep", does="Nests without end where something is read before it was proven.", answer=SENTENCE, deed=deep, refused=_WRONG, suits=is_adapter),
    Attack(name="compression bombs", does="Sends bodies and messages that unpack to a thousand times their size.", answer="agrees to no compression: 1002 on an open socket; unpacks nothing: 415", deed=bombs, refused=either(with_status(415), with_code(1002)), suits=is_adapter),
]  # fmt: skip
