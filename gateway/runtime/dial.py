"""Opens an agent: the only place from which a call's connections are made.

Owns which address an agent of a region may have (`egress` then dials that host and no other), the circuit breaker of each address, the pace of new sessions and the
jitter of repeated attempts. What a failure means, and who is tried next, is the machine's.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import aiohttp
from msgspec import Struct
from yarl import URL

from gateway.audio import AudioFormat
from gateway.contracts import AgentCall, Dial, Local
from gateway.runtime.agent_sound import AgentSound
from gateway.runtime.egress import Egress, Errand, NotListedError
from gateway.runtime.legs import LegBounds, WireLeg
from gateway.runtime.pace import Pace
from gateway.runtime.watched_leg import WatchedLeg
from gateway.runtime.wires import LocalSession, LocalWire
from gateway.settings import RegionSettings

MESSAGE_BYTES: Final = 1024 * 1024
"""Largest message taken from an agent: 16 seconds of PCM. A longer one would be more than a moment's work."""
FAILURES: Final = 20
"""Failures in a row after which an address is left alone; more than one call's own attempts make."""
REST_S: Final = 3.0
"""How long it is left alone."""
JITTER: Final = 0.25
"""Most that is added to a pause, as a part of it, so that calls lost together do not come back together."""


class DialError(Exception):
    """The agent could not be reached; the text says why."""


class RefusedError(DialError):
    """The agent does not take our credential; trying it again is pointless."""


class StrangerError(DialError):
    """The address is not in the book of the call's region; trying again is pointless."""


class BusyError(DialError):
    """A new session would have to wait too long for its turn; another agent should take over."""


class Breaker:
    """Leaves an address alone for a while after it failed several times in a row."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    def check(self, address: str) -> None:
        """Raise DialError while the address is left alone; after that one attempt decides."""
        if self._failures < FAILURES:
            return
        now = self._clock()
        if now < self._rests_until:
            raise DialError(f"{address} failed {self._failures} times in a row and is left alone for a while")
        self._rests_until = now + REST_S  # the others wait for the outcome of this attempt

    def failed(self) -> None:
        """An attempt failed."""
        self._failures += 1
        self._rests_until = self._clock() + REST_S

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
    errand: Errand
    """For whom it is dialled, within the book of the agent's region."""
    queued: Callable[[float], None] = lambda _wait_s: None
    """Is told how long the session waits for its turn, if it does."""


class Dialler:
    """Opens agents for all calls of the process.

    ``services`` are the agents that live in this process: by name, a function that gives a session for the
    plan's options.
    """

    def __init__(self, services: Mapping[str, Callable[[Any], LocalSession]]) -> None:
        self._services = services
        self._breakers: dict[str, Breaker] = {}
        self._paces: dict[tuple[str, str], Pace] = {}
        self.egress: Final = Egress()
        """Through which all connections are made; open while this is."""

    async def __aenter__(self) -> Self:
        """Open the pool of connections."""
        await self.egress.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close what is left."""
        await self.egress.__aexit__(*exception)

    async def open(self, attempt: Attempt) -> WireLeg:
        """Open the agent's connection; its first message is still to be posted.

        Raises:
            DialError: when it cannot be reached, in one sentence.
        """
        if after_s := attempt.call.opening.after_s:
            await asyncio.sleep(after_s * random.uniform(1.0, 1.0 + JITTER))  # noqa: S311 - no secret
        sound = AgentSound(attempt.plan.audio, attempt.call_audio)
        if isinstance(attempt.plan, Local):
            service = self._services.get(attempt.plan.service)
            if service is None:
                raise StrangerError(f"no service {attempt.plan.service!r} runs in this process")
            wire = LocalWire(service(attempt.plan.options))
            return WireLeg(wire, attempt.plan.codec, bounds=attempt.bounds, sound=sound)
        url = check_book(attempt.plan.url, attempt.call.region)
        if attempt.call.opening.rung != "new":
            return await self._connect(url, attempt.plan, attempt, sound)
        async with self._turn(url, attempt.plan, attempt):
            return await self._connect(url, attempt.plan, attempt, sound)

    @asynccontextmanager
    async def _turn(self, url: URL, plan: Dial, attempt: Attempt) -> AsyncIterator[None]:
        """Wait until a new session may begin with this key on this host; one that did not begin gives its place back.

        Raises:
            BusyError: when its turn would come too late.
        """
        settings, now = attempt.call.settings, asyncio.get_running_loop().time()
        whose = (url.authority, plan.headers.get("Authorization", ""))
        pace = self._paces.setdefault(whose, Pace(settings.sessions_per_minute))
        begins_at = pace.reserve(now, settings.queue_s)
        if begins_at is None:
            raise BusyError(
                f"so many sessions with this key began at {url.authority} in the last minute that the next one would "
                f"wait for more than {settings.queue_s:g} s; see sessions_per_minute and queue_s of {attempt.call.name}"
            )
        began = False
        try:
            if begins_at > now:
                attempt.queued(begins_at - now)
                await asyncio.sleep(begins_at - now)
            yield
            began = True
        finally:
            if not began:
                pace.give_back(begins_at)

    async def _connect(self, url: URL, plan: Dial, attempt: Attempt, sound: AgentSound) -> WireLeg:
        if not self.egress.is_open:
            raise DialError("the dialler is not open; enter it first")
        breaker = self._breakers.setdefault(url.authority, Breaker(asyncio.get_running_loop().time))
        breaker.check(url.authority)
        who = f"agent {attempt.call.name} at {url.authority}"
        try:
            async with asyncio.timeout(attempt.ready_s):
                socket = await self.egress.open_socket(
                    attempt.errand,
                    url,
                    headers=dict(plan.headers),
                    compress=0,  # deflating base64 audio costs much and gains nothing (1.2)
                    max_msg_size=MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=attempt.bounds.close_s),
                )
        except NotListedError as error:
            raise StrangerError(str(error)) from error
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 429 or error.status >= 500:
                breaker.failed()
            else:
                breaker.succeeded()  # somebody is there and answers
            sentence = f"{who} answered {error.status} instead of opening a WebSocket"
            raise (RefusedError if error.status in (401, 403) else DialError)(sentence) from error
        except TimeoutError as error:
            breaker.failed()
            raise DialError(f"{who} did not answer within {attempt.ready_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            breaker.failed()
            raise DialError(f"{who} was not reached: {str(error) or type(error).__name__}") from error
        breaker.succeeded()
        lost_after_s = attempt.call.settings.lost_after_s
        return WatchedLeg(socket, plan.codec, bounds=attempt.bounds, sound=sound, lost_after_s=lost_after_s)


def check_book(address: str, region: RegionSettings) -> URL:
    """Give the address as it will be dialled.

    It must have the origin of the region's ``voice_agent``, or be ``wss`` on a host (and port) that the region
    names. Only a plain address is taken, so that nobody can read it differently.

    Raises:
        StrangerError: when it is not in the region's book.
    """
    url = _plain(address)
    if url is None:
        raise StrangerError("the agent's address is not a plain wss:// address without user name; correct it")
    own = _plain(region.voice_agent)
    named = (name if "://" in name else f"wss://{name}" for name in (region.rest, *region.hosts))
    places = {(book.raw_host, book.port) for book in (own, *map(_plain, named)) if book}
    place = (url.raw_host, url.port)
    is_own = own is not None and (own.scheme, own.raw_host, own.port) == (url.scheme, *place)
    if not is_own and not (url.scheme == "wss" and place in places):
        raise StrangerError(
            f"{url.scheme}://{url.authority} is not in the address book of the call's region; add it to regions, "
            f"or use one of {', '.join(sorted(f'{host}:{port}' for host, port in places))}"
        )
    return url


def _plain(address: str) -> URL | None:
    """Read an address that leaves nothing to interpretation; None for any other."""
    if not address.isascii() or not address.isprintable() or set(" \\@") & set(address.partition("?")[0]):
        return None
    try:
        url = URL(address)
    except ValueError:
        return None
    return url if url.scheme in ("ws", "wss", "http", "https") and url.raw_host and url.port else None
