import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import pytest
from aiohttp import web
from fakes import FakeAgent, PlainCodec, fake_plan, no_task_left, soon, until, virtual

from gateway.audio import MULAW_8K
from gateway.commands import OpenAgent
from gateway.contracts import AgentCall, Dial, SessionMemory
from gateway.events import CallInfo
from gateway.runtime import pace
from gateway.runtime.book import book_of
from gateway.runtime.dial import (
    FAILURES,
    Attempt,
    BusyError,
    DialError,
    Dialler,
    RefusedError,
    StrangerError,
    check_book,
)
from gateway.runtime.egress import Errand
from gateway.runtime.legs import LegBounds
from gateway.settings import BUILT_IN_REGIONS, AgentSettings, RegionSettings, Settings

US = RegionSettings(
    voice_agent="wss://agents.us.assemblyai.com/v1/ws",
    rest="https://agents.us.assemblyai.com/v1",
    hosts=("tools.example.com", "hooks.example.com:8443", "not a host", ""),
)
LOCAL = RegionSettings(voice_agent="ws://127.0.0.1:9001/v1/ws")


@pytest.mark.parametrize(
    "url",
    [
        "wss://agents.us.assemblyai.com/v1/ws",
        "wss://agents.us.assemblyai.com:443/v1/ws?token=a@b",
        "wss://AGENTS.US.assemblyai.com/v1/ws",
        "wss://tools.example.com/ws",
        "wss://hooks.example.com:8443/ws",
    ],
)
def test_in_the_book(url: str) -> None:
    """The region's own host, and hosts that it names, may be dialled, each at its port."""
    assert check_book(url, US).scheme == "wss"


@pytest.mark.parametrize(
    "url",
    [
        "wss://agents.eu.assemblyai.com/v1/ws",
        "wss://agents.assemblyai.com/v1/ws",
        "wss://assemblyai.com/v1/ws",
        "wss://agents.us.assemblyai.com:8443/v1/ws",
        "wss://agents.us.assemblyai.com:80/v1/ws",
        "ws://agents.us.assemblyai.com/v1/ws",
        "ws://agents.us.assemblyai.com:443/v1/ws",
        "wss://agents.us.assemblyai.com.evil.example/v1/ws",
        "wss://agents.us.assemblyai.com./v1/ws",
        "wss://evil.example/agents.us.assemblyai.com",
        "wss://agents-us.assemblyai.com/v1/ws",
        "wss://xagents.us.assemblyai.com/v1/ws",
        "wss://agents.us.assemblyai.com@evil.example/",
        "wss://agents.us.assemblyai.com:443@evil.example/",
        "wss://evil.example@agents.us.assemblyai.com/",
        "wss://evil.example\\@agents.us.assemblyai.com/",
        "wss://agents.us.assemblyai.com\\@evil.example/",
        "wss://agents.us.assemblyai.com\\.evil.example/",
        "wss://evil.example#@agents.us.assemblyai.com/",
        "wss://evil.example?@agents.us.assemblyai.com/",
        "wss://agents.us.assemblyai.com%2eevil.example/",
        "wss://agents.us.assemblyai.com%00.evil.example/",
        "wss://agents.us.assemblyai.com\t.evil.example/",
        "wss://agents.us.\nassemblyai.com/",
        "wss://аgents.us.assemblyai.com/v1/ws",  # noqa: RUF001 - a Cyrillic letter, as somebody might try
        "wss://agents。us.assemblyai.com/v1/ws",
        "wss:agents.us.assemblyai.com/v1/ws",
        "wss:///v1/ws",
        "//agents.us.assemblyai.com/v1/ws",
        "agents.us.assemblyai.com/v1/ws",
        "file://agents.us.assemblyai.com/etc/passwd",
        "wss://hooks.example.com/ws",
        "wss://agents.us.assemblyai.com:99999/",
        "wss://[::1]/",
        "",
    ],
)
def test_not_in_the_book(url: str) -> None:
    """Another host, another port, plain text, a name that only looks alike and every trick are refused."""
    with pytest.raises(StrangerError):
        check_book(url, US)


def test_sentence_for_strangers() -> None:
    """The refusal says what was dialled and what the region has, and repeats no user name."""
    with pytest.raises(
        StrangerError, match=r"wss://evil\.example:443 is not in the address book.*agents\.us\.assembly"
    ):
        check_book("wss://evil.example/v1/ws", US)
    with pytest.raises(StrangerError) as refusal:
        check_book("wss://key:secret@agents.us.assemblyai.com/v1/ws", US)
    assert "secret" not in str(refusal.value)


def test_own_agent_on_this_machine() -> None:
    """A region may name an address without TLS, which then is good for that address alone."""
    assert check_book("ws://127.0.0.1:9001/other", LOCAL).port == 9001
    for url in (
        "ws://127.0.0.1:9002/",
        "ws://127.0.0.2:9001/",
        "ws://localhost:9001/",
        "http://127.0.0.1:9001/",
    ):
        with pytest.raises(StrangerError):
            check_book(url, LOCAL)


def test_regions_do_not_meet() -> None:
    """The built-in regions take their own hosts and not each other's."""
    for here, there in itertools.permutations(BUILT_IN_REGIONS.values(), 2):
        check_book(here.voice_agent, here)
        with pytest.raises(StrangerError):
            check_book(there.voice_agent, here)


# Dialling


def attempt(url: str = "", *, ready_s: float = 2.0, after_s: float = 0.0) -> Attempt:
    origin = url.rpartition("/")[0]
    call = AgentCall(
        name="main",
        settings=AgentSettings(kind="fake", sessions_per_minute=1000),
        region=RegionSettings(voice_agent=f"{origin}/"),
        info=CallInfo("call_1", "pcm", MULAW_8K),
        tools=(),
        opening=OpenAgent("main", after_s=after_s),
        memory=SessionMemory(),
    )
    plan = Dial(url, {"Authorization": "Bearer key"}, PlainCodec(), MULAW_8K) if url else fake_plan(call)
    return Attempt(
        call,
        plan,
        MULAW_8K,
        ready_s,
        LegBounds(close_s=0.5),
        Errand(book_of(call.region, Settings()), "agent"),
    )


class Provider:
    """A provider's door: a status, a redirect, silence, or a WebSocket."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: int | str = 101
        self.requests: list[web.Request] = []
        self.release = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.path == "/elsewhere" or self.answer == 101:
            response = web.WebSocketResponse()
            response.set_cookie("session", "of-another-call")
            await response.prepare(request)
            async for _ in response:
                pass
            return response
        if isinstance(self.answer, str):
            return web.Response(status=302, headers={"Location": self.answer})
        if self.answer == 0:
            await self.release.wait()
        return web.Response(status=self.answer or 500)


@asynccontextmanager
async def provider() -> AsyncIterator[tuple[Provider, Dialler]]:
    """A provider on a free port, and a dialler."""
    door = Provider()
    app = web.Application()
    app.router.add_get("/{any:.*}", door.handle)
    server = web.AppRunner(app, shutdown_timeout=0.1)
    with no_task_left():
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        door.url = f"ws://127.0.0.1:{server.addresses[0][1]}/ws"
        try:
            async with Dialler({"fake": lambda _options: FakeAgent()}) as dialler:
                yield door, dialler
        finally:
            door.release.set()
            await server.cleanup()
        await asyncio.sleep(0)


async def test_open() -> None:
    """A connection carries the credential, offers no compression and shows no cookie of another call."""
    async with provider() as (door, dialler):
        by_name = door.url.replace("127.0.0.1", "localhost")  # cookies go by name
        for _ in range(2):
            leg = await dialler.open(attempt(by_name))
            assert leg.is_open
            await leg.close()
        assert len(door.requests) == 2
        for request in door.requests:
            assert request.headers["Authorization"] == "Bearer key"
            assert "Sec-WebSocket-Extensions" not in request.headers
            assert "Cookie" not in request.headers


async def test_many_at_once() -> None:
    """More calls than aiohttp's usual hundred connections are open at the same time."""
    async with provider() as (door, dialler):
        legs = await asyncio.gather(*[dialler.open(attempt(door.url, ready_s=20)) for _ in range(130)])
        assert len(door.requests) == 130
        await asyncio.gather(*[leg.close() for leg in legs])


async def test_redirects_are_not_followed() -> None:
    """A host of the book cannot send a call to another address."""
    async with provider() as (door, dialler):
        door.answer = "/elsewhere"
        with pytest.raises(DialError, match="redirect"):
            await dialler.open(attempt(door.url))
        assert len(door.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, RefusedError), (403, RefusedError), (503, DialError), (404, DialError)]
)
async def test_status_instead_of_a_socket(status: int, kind: type[DialError]) -> None:
    """An answer that is no WebSocket is told from a refused credential, each in a sentence with the status."""
    async with provider() as (door, dialler):
        door.answer = status
        with pytest.raises(DialError, match=f"answered {status}") as failure:
            await dialler.open(attempt(door.url))
        assert type(failure.value) is kind


async def test_an_answer_that_is_no_socket_leaves_none() -> None:
    """The connection on which an upgrade was refused is of no further use, and closed."""
    async with provider() as (door, dialler):
        door.answer = 401
        with pytest.raises(RefusedError):
            await dialler.open(attempt(door.url))
        await until(lambda: door.requests[0].transport is None, limit_s=2)


async def test_slow_provider() -> None:
    """A provider that does not answer the upgrade is given up after its time."""
    async with provider() as (door, dialler):
        door.answer = 0
        with pytest.raises(DialError, match=r"did not answer within 0\.1 s"):
            await dialler.open(attempt(door.url, ready_s=0.1))


async def test_nobody_there() -> None:
    """An address where nobody listens is not reached, and after five times is left alone."""
    async with provider() as (door, dialler):
        url = "ws://127.0.0.1:1/ws"
        for _ in range(FAILURES):
            with pytest.raises(DialError, match="was not reached"):
                await dialler.open(attempt(url))
        with pytest.raises(DialError, match="left alone"):
            await dialler.open(attempt(url))
        leg = await dialler.open(attempt(door.url))  # another address is none of that one's business
        await leg.close()


async def test_refused_credentials_open_no_breaker() -> None:
    """Somebody who says no is there: an address is not left alone for that."""
    async with provider() as (door, dialler):
        door.answer = 401
        for _ in range(FAILURES + 1):
            with pytest.raises(RefusedError):
                await dialler.open(attempt(door.url))


async def test_cancelled_dial() -> None:
    """A dial that is cancelled in the middle leaves no connection."""
    async with provider() as (door, dialler):
        door.answer = 0
        dialling = asyncio.ensure_future(dialler.open(attempt(door.url)))
        await until(lambda: door.requests)
        dialling.cancel()
        await asyncio.wait({dialling})
        assert dialling.cancelled()


@virtual
async def test_pause_with_jitter() -> None:
    """A repeated attempt waits its pause and up to a quarter more, differently each time."""
    dialler = Dialler({"fake": lambda _options: FakeAgent()})
    clock = asyncio.get_running_loop().time
    waits = []
    for _ in range(200):
        before = clock()
        await dialler.open(attempt(after_s=4.0))
        waits.append(clock() - before)
    assert min(waits) >= 4.0
    assert max(waits) <= 5.0
    assert max(waits) - min(waits) > 0.5


@virtual
async def test_unknown_service() -> None:
    """A plan for a service that does not run here is refused in a sentence, without trying again."""
    with pytest.raises(StrangerError, match="'fake'"):
        await Dialler({}).open(attempt())
    await soon()


def test_unopened_dialler() -> None:
    """A dialler that was not entered says so."""

    async def dial() -> Any:
        return await Dialler({}).open(attempt("ws://127.0.0.1:1/ws"))

    with pytest.raises(DialError, match="not open"):
        asyncio.run(dial())


async def test_local_session() -> None:
    """An agent in this process is opened without a network."""
    leg = await Dialler({"fake": lambda _options: FakeAgent()}).open(attempt())
    assert leg.is_open
    await leg.close()


# Turns


async def test_a_new_session_waits_for_its_turn_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one key on one host; another key, and the return to a session, do not wait."""
    monkeypatch.setattr(pace, "WINDOW_S", 0.5)
    waits: list[float] = []
    async with provider() as (door, dialler):

        async def opened(
            key: str = "key", rung: Literal["new", "token"] = "new", *, queue_s: float = 5.0
        ) -> float:
            began = asyncio.get_running_loop().time()
            asked = attempt(door.url)
            settings = AgentSettings(kind="fake", sessions_per_minute=1, queue_s=queue_s)
            call = msgspec.structs.replace(asked.call, settings=settings, opening=OpenAgent("main", rung))
            plan = Dial(door.url, {"Authorization": f"Bearer {key}"}, PlainCodec(), MULAW_8K)
            leg = await dialler.open(
                msgspec.structs.replace(asked, call=call, plan=plan, queued=waits.append)
            )
            await leg.close()
            return asyncio.get_running_loop().time() - began

        await opened()
        await opened("another")
        await opened(rung="token")
        assert not waits
        assert await opened() >= 0.3
        assert len(waits) == 1
        with pytest.raises(
            BusyError, match="the next one would wait for more than 0 s; see sessions_per_minute"
        ):
            await opened(queue_s=0.0)
        waiting = asyncio.ensure_future(opened())
        await until(lambda: len(waits) == 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await opened()  # in the place that was given back: else it would wait a window longer
        assert waits[2] <= 0.5


async def test_a_host_that_was_not_reached_has_begun_nothing() -> None:
    """So its turns are not used up while it is away."""
    async with Dialler({}) as dialler:
        asked = attempt("ws://127.0.0.1:1/ws")
        settings = AgentSettings(kind="fake", sessions_per_minute=1, queue_s=0)
        call = msgspec.structs.replace(asked.call, settings=settings)
        for _ in range(3):
            with pytest.raises(DialError, match="was not reached"):
                await dialler.open(msgspec.structs.replace(asked, call=call))
