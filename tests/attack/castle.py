"""What is attacked: gateways in processes of their own, each with honest callers, a witness, and a prize.

The prize is an agent at which no honest call arrives: a connection to it was won by an attack. ``public`` stands as
behind a proxy, with keys; ``loopback`` has neither, and trusts whoever is on this machine; ``counted`` is as ``public``,
and counts strangers, to which the others shut their eyes.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from dialect import Dialect, Way
from dialects import DIALECTS
from ground import Ground, ground, wait_for
from handmade import Ending, HandMade, dial, upgrade
from hosts import AgentHost, good
from msgspec import Struct

Place = Literal["public", "loopback", "counted"]

PUBLIC_URL = "https://voice.example.com"
PAGE = "https://www.example.com"
"""The only page from which browsers may connect to the public gateway."""
TOKEN_S = 5.0
FIRST_MESSAGE_S = 1.0
HEAD_S = 2.0
WITHIN_S = 3.0
"""How long a door may take to say no; whoever is not sent away by then is inside."""

TWILIO_TOKEN = "the-auth-token-of-the-account"
ACCOUNT = "AC" + "0" * 32
VONAGE_SECRET = "the-signature-secret-of-the-account"
APPLICATION = "the-application"
API_KEY = "a1b2c3d4"
KEY = "the-key-of-those-who-may-do-everything"
LIMITED_KEY = "the-key-of-those-who-may-use-one-route"
MUTE_KEY = "the-key-of-those-who-may-not-connect"
OTHER_KEY = "the-key-of-somebody-else"

_KEYS = f"""
access:
  token_s: {TOKEN_S:g}
  keys:
    - {{name: all, key: {KEY}, may: [connect, tokens, calls, provider]}}
    - {{name: limited, key: {LIMITED_KEY}, may: [connect, tokens, calls], routes: [good]}}
    - {{name: mute, key: {MUTE_KEY}, may: []}}
    - {{name: other, key: {OTHER_KEY}, may: [connect, tokens]}}
"""
FEW = 20
"""Wrong proofs that an address may show in a minute, and tokens that a key may mint, where they are counted."""
MOST_SOCKETS = 100
"""Connections that there may be at once, where they are counted."""
_MANY = 1_000_000
_COUNTED = {
    "per_address": {"upgrades": 2 * FEW, "requests": 3 * FEW, "wrong_proofs": FEW},
    "per_key": {"upgrades": _MANY, "tokens": FEW, "requests": _MANY},
}
_UNCOUNTED = {name: dict.fromkeys(limits, _MANY) for name, limits in _COUNTED.items()}
_GUARDED = f"""
adapters:
  twilio: {{auth_token: {TWILIO_TOKEN}, account_sid: {ACCOUNT}}}
  vonage: {{signature_secret: {VONAGE_SECRET}, application_id: {APPLICATION}, api_key: {API_KEY}, rate_hz: 24000}}
  browser: {{origins: ['{PAGE}']}}
  pcm: {{}}
"""
_OPEN = f"""
adapters:
  twilio: {{auth_token: {TWILIO_TOKEN}, require_token: false}}
  vonage: {{signature_secret: {VONAGE_SECRET}, rate_hz: 24000}}
  browser: {{}}
  pcm: {{}}
"""


def configuration(place: Place, ports: Mapping[str, int], witness_port: int | None) -> str:
    """The configuration of one gateway; what no honest caller asks for leads to the prize."""
    every = {**ports, **({"witness": witness_port} if witness_port else {})}
    url = f"public_url: '{PUBLIC_URL}'" if place != "loopback" else "host: 0.0.0.0"
    is_counted = place == "counted"
    server = f"head_s: {60 if is_counted else HEAD_S:g}, sockets: {MOST_SOCKETS if is_counted else 10_000}"
    timing = f"port: 0, admin_port: 0, first_message_s: {FIRST_MESSAGE_S:g}, close_s: 1, drain_s: 1"
    # JSON is YAML
    counts = json.dumps(_COUNTED if is_counted else _UNCOUNTED)[1:-1]
    lines = [
        f"server: {{{url}, {timing}, {server}}}",
        f"limits: {{{counts}, return_s: 1, goodbye_s: 2, calls: 3000, silence_s: 1800}}",
        "regions:",
    ]
    lines += [f"  {name}: {{voice_agent: 'ws://127.0.0.1:{port}/v1/ws'}}" for name, port in every.items()]
    lines += ["agents:"]
    lines += [f"  {name}: {{kind: voice_agent, region: {name}, api_key: none}}" for name in every]
    lines += ["routes:"]
    lines += [f"  - {{name: {name}, match: {{callee: ['{name}']}}, agent: {name}}}" for name in every]
    lines += ["  - {name: everything, agent: prize}"]
    access = _KEYS if place != "loopback" else f"access: {{token_s: {TOKEN_S:g}}}"
    return "\n".join([*lines, access, _GUARDED if place != "loopback" else _OPEN])


class Attempt(Struct, frozen=True, kw_only=True):
    """One knock at a door."""

    what: str
    """What is wrong with it, in a few words."""
    target: str
    """Path and query, as they stand in the first line."""
    fields: tuple[tuple[str, str], ...] = ()
    """Header fields besides those of every upgrade."""
    way: Way = Way("")
    """What its messages would say, were it let in."""
    method: str = ""
    """Of a request that asks for no WebSocket; empty where one is asked for."""
    body: bytes = b""
    begin: tuple[str | bytes, ...] | None = None
    """What is said first, where that is not what the dialect begins with."""
    host: str = ""
    """The Host, where it is another one than the gateway's; ``-`` leaves it out."""
    from_host: str = ""
    """Address to which to connect, where that is another one."""


class Found(Struct, frozen=True):
    """What came of an attempt."""

    what: str
    status: int
    """Of the answer; 0 without one."""
    ending: Ending
    """Of a socket that was opened."""
    heard: bool = False
    """Whether it was let in so far that it heard the agent."""
    text: str = ""
    """The body of an answer, or the last text that was said on a socket."""
    head: str = ""
    """Header of the answer."""

    def __str__(self) -> str:
        how = "it was let in" if self.heard else f"{self.status} {self.ending.code or ''} {self.text[:200]!r}"
        return f"{self.what}: {how}"


class Castle:
    """One gateway under attack."""

    _numbers = itertools.count(1)

    def __init__(self, place: Place, ground: Ground) -> None:
        self.place = place
        self.ground = ground
        self.aged: dict[str, list[Attempt]] = {}
        """Ways in that were good at the beginning, and will be too old, by gate."""
        self.aged_at = 0.0
        """When they were made, on the loop's clock."""
        self.honest_prizes = 0
        """How often the prize was won by an attacker who first was honest."""

    @property
    def origin(self) -> str:
        """What carriers believe to be its address."""
        return PUBLIC_URL if self.place != "loopback" else self.ground.url

    @property
    def host(self) -> str:
        """What honest peers write as Host."""
        return self.origin.partition("://")[2]

    @property
    def prizes(self) -> int:
        """How often the prize was won."""
        return len(self.ground.hosts["prize"].peers)

    def number(self) -> str:
        """A calling number that nobody else has."""
        return f"+1700777{next(self._numbers):05}"

    # Requests by hand

    def written(self, attempt: Attempt) -> bytes:
        """An attempt as it goes over the wire."""
        host = {} if attempt.host == "-" else {"Host": attempt.host or self.host}
        if attempt.method:
            lines = [f"{attempt.method} {attempt.target} HTTP/1.1"]
            told = [*host.items(), ("Connection", "close"), *attempt.fields]
            if attempt.body and not any(
                name.lower() in ("content-length", "transfer-encoding") for name, _ in told
            ):
                told.append(("Content-Length", str(len(attempt.body))))
        else:
            whole = upgrade(f"ws://{self.host}/", Host=None).decode().rstrip("\r\n").split("\r\n")
            lines = [f"GET {attempt.target} HTTP/1.1", *whole[1:]]
            told = [*host.items(), *attempt.fields]
        lines += [f"{name}: {value}" for name, value in told]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + attempt.body

    async def connect(self, host: str = "") -> HandMade:
        """Open a connection and say nothing."""
        return await dial(f"http://{host or '127.0.0.1'}:{self.ground.port}")

    async def knock(
        self, attempt: Attempt, dialect: Dialect | None = None, within_s: float = WITHIN_S
    ) -> Found:
        """Carry out an attempt; where a socket is opened, say what a caller of the dialect says and see what comes."""
        socket = await self.connect(attempt.from_host)
        try:
            status, heard, ending = 0, bytearray(), Ending("open")
            if dialect:
                socket.listener(lambda message: heard.extend(dialect.heard(message)))
            socket.write(self.written(attempt))
            status = await socket.opened()
            if status == 101 and dialect:
                await socket.say(*(dialect.begin(attempt.way) if attempt.begin is None else attempt.begin))
                await socket.say(*[dialect.sound(attempt.way, bytes(160))] * 3)
                await socket.until(lambda: heard, within_s)
                ending = socket.ended
            texts = [message for message in socket.received if isinstance(message, str)]
            text = ending.reason or socket.answer or "".join(texts[-1:])
            return Found(attempt.what, status, ending, bool(heard), text, socket.head)
        finally:
            await socket.leave()

    async def raw(self, data: bytes, within_s: float = WITHIN_S) -> str:
        """Say bytes and give everything that is answered until the connection is closed, or the time is over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ground.port)
        answer = b""
        try:
            writer.write(data)
            async with asyncio.timeout(within_s):
                while piece := await reader.read(65_536):
                    answer += piece
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
        return answer.decode("latin-1")

    async def until_calm(self) -> bool:
        """Wait until no call is there but the witness's."""
        return await wait_for(lambda: all(name.startswith("+1888") for name in self.ground.callers), 15)


@asynccontextmanager
async def castle(
    folder: Path, place: Place, *, witnessed: bool = True, package: Path | None = None
) -> AsyncIterator[Castle]:
    """Run one gateway, with what is to be guarded."""
    async with ground(
        folder,
        {"prize": good},
        witnessed=witnessed,
        settings=lambda ports, witness_port: configuration(place, ports, witness_port),
        key=KEY if place != "loopback" else "",
        package=package,
    ) as under:
        yield Castle(place, under)


def dialects() -> list[Dialect]:
    """Every adapter that is registered."""
    return list(DIALECTS.values())


__all__ = ["AgentHost", "Attempt", "Castle", "Found", "Place", "castle", "dialects"]
