"""Opens an agent: the only place from which a call's connections are made.

Owns the region's address book (no other host can be dialled), the circuit breaker of each address and the
jitter of repeated attempts. What a failure means, and who is tried next, is the machine's.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct

from gateway.audio import AudioFormat
from gateway.contracts import AgentCall, Dial, Local
from gateway.runtime.legs import AgentSound, LegBounds, LocalSession, LocalWire, WebSocketLeg, WireLeg
from gateway.settings import RegionSettings

MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message taken from an agent: a whole reply may come at once."""
FAILURES: Final = 5
"""Failures in a row after which an address is left alone for a while."""
REST_S: Final = 10.0
"""How long it is left alone."""


class DialError(Exception):
    """The agent could not be reached; the text says why."""


class StrangerError(DialError):
    """The address is not in the book of the call's region; trying again is pointless."""


class Breaker:
    """Leaves an address alone for a while after it failed several times in a row."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_at = 0.0

    def check(self, address: str) -> None:
        """Raise DialError while the address is left alone; after that one attempt decides."""
        if self._failures >= FAILURES and self._clock() < self._closed_at:
            raise DialError(f"{address} failed {self._failures} times in a row and is left alone for a while")

    def failed(self) -> None:
        """An attempt failed."""
        self._failures += 1
        self._closed_at = self._clock() + REST_S

    def succeeded(self) -> None:
        """An attempt succeeded."""
        self._failures = 0


class Attempt(Struct, frozen=True):
    """What is needed to open an agent once."""

    call: AgentCall
    """Who is wanted, and for whom."""
    plan: Dial | Local
    """As the agent's kind made it."""
    call_audio: AudioFormat
    """Format of the call."""
    ready_s: float
    """How long opening may take."""
    bounds: LegBounds
    """What the connection may cost."""


class Dialler:
    """Opens agents for all calls of the process.

    ``services`` are the agents that live in this process: by name, a function that gives a session for the
    plan's options.
    """

    def __init__(self, services: Mapping[str, Callable[[Any], LocalSession]]) -> None:
        self._services = services
        self._breakers: dict[str, Breaker] = {}
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool of connections."""
        # aiohttp's pool stops at 100 connections unless told otherwise
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)
        self._client = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close what is left."""
        if self._client:
            await self._client.close()

    async def open(self, attempt: Attempt) -> WireLeg:
        """Open the agent's connection; its first message is still to be posted.

        Raises:
            DialError: when it cannot be reached, in one sentence.
        """
        if attempt.call.opening.after_s:
            await asyncio.sleep(attempt.call.opening.after_s * random.uniform(1.0, 1.25))  # noqa: S311 - jitter
        sound = AgentSound(attempt.plan.audio, attempt.call_audio)
        if isinstance(attempt.plan, Local):
            session = self._services[attempt.plan.service](attempt.plan.options)
            return WireLeg(LocalWire(session), attempt.plan.codec, bounds=attempt.bounds, sound=sound)
        check_book(attempt.plan.url, attempt.call.region)
        return await self._connect(attempt.plan, attempt, sound)

    async def _connect(self, plan: Dial, attempt: Attempt, sound: AgentSound) -> WireLeg:
        if self._client is None:
            raise DialError("the dialler is not open; enter it first")
        address = urlsplit(plan.url).netloc
        breaker = self._breakers.setdefault(address, Breaker(asyncio.get_running_loop().time))
        breaker.check(address)
        try:
            async with asyncio.timeout(attempt.ready_s):
                socket = await self._client.ws_connect(
                    plan.url,
                    headers=dict(plan.headers),
                    compress=0,  # deflating base64 audio costs much and gains nothing (1.2)
                    max_msg_size=MESSAGE_BYTES,
                    autoping=True,
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            breaker.failed()
            reason = str(error) or type(error).__name__
            raise DialError(f"agent {attempt.call.name} at {address} was not reached: {reason}") from error
        breaker.succeeded()
        return WebSocketLeg(socket, plan.codec, bounds=attempt.bounds, sound=sound)


def check_book(url: str, region: RegionSettings) -> None:
    """Raise StrangerError unless the address is in the region's book."""
    host = urlsplit(url).netloc
    book = {urlsplit(region.voice_agent).netloc, urlsplit(region.rest).netloc, *region.hosts} - {""}
    if host not in book and urlsplit(url).hostname not in book:
        raise StrangerError(
            f"{host} is not in the address book of the call's region; add it to regions, or use "
            f"one of {', '.join(sorted(book))}"
        )
