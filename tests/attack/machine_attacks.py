"""Attacks on a gateway that trusts this machine: pages of strangers, names that lead here, proxies, other machines."""

import secrets
import socket

from attack import Attack, is_carrier, is_client, with_status, without_proof
from castle import PAGE, Attempt, Castle, Found
from gates import Gate, TwilioGate, changed
from gates_of_clients import BrowserGate, PcmGate

PASSED_ON = (
    "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "X-Client-IP", "True-Client-IP",
    "CF-Connecting-IP", "Fastly-Client-IP", "Fly-Client-IP", "X-Cluster-Client-IP", "X-Original-URL", "X-Original-Host",
    "X-Envoy-External-Address", "X-AppEngine-User-IP", "CDN-Loop", "X_Forwarded_For",
)  # fmt: skip


def strange_hosts(port: int) -> list[str]:
    """Hosts under which a page of a stranger reaches a gateway on this machine, or that look like this machine's."""
    return [
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        f"localhost.evil.example:{port}",
        f"evil.example@127.0.0.1:{port}",
        f"127.0.0.1:{port}@evil.example",
        f"evil.example#127.0.0.1:{port}",
        f"evil.example/127.0.0.1:{port}",
        "127.0.0.1:port",
        f"127.0.0.1:{port}, evil.example",
        "[::ffff:192.0.2.1]",
        "2130706434.example",
        "0.0.0.0",
        "",
        "-",
    ]


async def _asked(castle: Castle, gate: Gate) -> list[Attempt]:
    """Every door that trusts this machine: sockets, and for the API all of its addresses."""
    if gate.name != "api":
        return [await gate.invite(castle)]
    assert isinstance(gate, PcmGate)
    return [
        gate.somewhere(castle, target, ())
        for target in ("/v1/calls", "/v1/token?expires_in_seconds=60", "/v1/agents")
    ]


async def rebound(castle: Castle, gate: Gate) -> list[Found]:
    """Come as a page whose name was led to this machine; a carrier's socket is signed for that name."""
    found = []
    for host in strange_hosts(castle.ground.port):
        for attempt in await _asked(castle, gate):
            told = f"Host {host}: {attempt.target[:30]}"
            found.append(await castle.knock(changed(attempt, told, host=host or " "), gate.dialect))
    for attempt in await _asked(castle, gate):
        absolute = f"http://evil.example{attempt.target}"
        found.append(
            await castle.knock(
                changed(attempt, "another host in the first line", target=absolute), gate.dialect
            )
        )
        doubled = (("Host", "evil.example"), *attempt.fields)
        found.append(await castle.knock(changed(attempt, "two Hosts", fields=doubled), gate.dialect))
    return found


async def rebound_carrier(castle: Castle, gate: Gate) -> list[Found]:
    """Come under a name that nobody gave this gateway, signed for it."""
    found = []
    for host in ("evil.example", "127.0.0.1.evil.example"):
        if isinstance(gate, TwilioGate):
            call = "CA" + secrets.token_hex(16)
            attempts = [
                gate.socket(castle, f"ws://{host}/v1/ws/twilio", call),
                gate.webhook(castle, {}, signed=f"http://{host}/twilio/voice"),
            ]
        else:
            attempts = [changed(await gate.invite(castle), "a socket")]
        found += [
            await castle.knock(changed(one, f"{one.what} at {host}", host=host), gate.dialect)
            for one in attempts
        ]
    return found


async def of_strange_pages(castle: Castle, gate: Gate) -> list[Found]:
    """Come as a page of somebody else, in a browser on this machine."""
    port = castle.ground.port
    origins = ["https://evil.example", f"http://evil.example:{port}", "null", "file://", "http://127.0.0.1.evil.example", "", f"http://127.0.0.1:{port}@evil.example", f"chrome-extension://localhost:{port}"]  # fmt: skip
    found = []
    for attempt in await _asked(castle, gate):
        for origin in origins:
            told = changed(attempt, f"Origin {origin!r}", fields=(*attempt.fields, ("Origin", origin)))
            found.append(await castle.knock(told, gate.dialect))
        own = ("Origin", f"http://127.0.0.1:{port}")
        both = changed(
            attempt, "two Origins", fields=(*attempt.fields, own, ("Origin", "https://evil.example"))
        )
        found.append(await castle.knock(both, gate.dialect))
    return found


async def of_unnamed_pages(castle: Castle, gate: Gate) -> list[Found]:
    """Come with a good token from a page that the configuration does not name."""
    assert isinstance(gate, BrowserGate)
    found = []
    for origin in (
        "https://evil.example",
        "http://www.example.com",
        "https://www.example.com.evil.example",
        "null",
        f"{PAGE}:8443",
        "https://example.com",
    ):
        good = gate.with_token(castle, await gate.mint(castle))
        found.append(
            await castle.knock(changed(good, f"Origin {origin}", fields=(("Origin", origin),)), gate.dialect)
        )
    good = gate.with_token(castle, await gate.mint(castle))
    both = changed(good, "two Origins", fields=(("Origin", PAGE), ("Origin", "https://evil.example")))
    return [*found, await castle.knock(both, gate.dialect)]


async def passed_on(castle: Castle, gate: Gate) -> list[Found]:
    """Come through a proxy on this machine, which says so in one of many ways."""
    return [
        await castle.knock(
            changed(attempt, name, fields=(*attempt.fields, (name, "192.0.2.1"))), gate.dialect
        )
        for attempt in await _asked(castle, gate)
        for name in PASSED_ON
    ]


def own_address() -> str:
    """An address of this machine at which it is not itself; empty where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # nothing is sent
        except OSError:
            return ""
        address = str(probe.getsockname()[0])
    return "" if address.startswith("127.") else address


async def of_other_machines(castle: Castle, gate: Gate) -> list[Found]:
    """Come from an address that is not loopback, under every name that is."""
    address = own_address()
    if not address:
        return []
    found = []
    for attempt in await _asked(castle, gate):
        for host in ("127.0.0.1", "localhost", f"{address}:{castle.ground.port}"):
            told = changed(attempt, f"Host {host}", from_host=address, host=host)
            found.append(await castle.knock(told, gate.dialect))
    return found


REFUSED = "403, or 1008 on an open socket"
MACHINE = [
    Attack(name="DNS rebinding", does="Comes as a page whose name was led to this machine.", answer=REFUSED, deed=rebound, refused=lambda found: without_proof(found) or with_status(400)(found), place="loopback", suits=is_client),
    Attack(name="DNS rebinding, signed", does="Comes under a name that nobody gave this gateway, signed for it.", answer="403", deed=rebound_carrier, refused=with_status(403), place="loopback", suits=is_carrier),
    Attack(name="foreign page", does="Comes as a page of somebody else.", answer=REFUSED, deed=of_strange_pages, refused=without_proof, place="loopback", suits=is_client),
    Attack(name="unnamed page", does="Comes with a good token from a page that the configuration does not name.", answer="closes with 1008", deed=of_unnamed_pages, refused=without_proof, suits=lambda gate: gate.name == "browser"),
    Attack(name="passed on", does="Comes through a proxy on this machine.", answer=REFUSED, deed=passed_on, refused=without_proof, place="loopback", suits=is_client),
    Attack(name="another machine", does="Comes from another machine, and says to be this one.", answer=REFUSED, deed=of_other_machines, refused=without_proof, place="loopback", suits=is_client),
]  # fmt: skip
