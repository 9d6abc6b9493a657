"""Tests of the one maker of connections: it dials what the book of its errand lists, and takes note of it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fakes import PlainCodec, Street, until
from yarl import URL

from gateway.audio import PCM_24K
from gateway.commands import OpenAgent
from gateway.contracts import AgentCall, Dial, Route, SessionMemory
from gateway.events import AgentLost, AgentRefused, CallInfo, HostContacted
from gateway.runtime import egress as egress_module
from gateway.runtime.agent_side import AgentSide
from gateway.runtime.book import Book, book_of
from gateway.runtime.egress import CONTACTS, Egress, Errand, NotListedError, Reach, on_errand
from gateway.runtime.inbox import Inbox
from gateway.runtime.plugins import Generation, build_parts
from gateway.settings import AgentSettings, RegionSettings, RouteSettings, Settings

HOST = "agents.eu.test"


class Listener:
    """A server on one address of this machine, and how often it was dialled."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.dialled = 0
        self.port = 0
        self.answer: web.Response | None = None

    async def handle(self, _request: web.Request) -> web.Response:
        self.dialled += 1
        return self.answer or web.Response(text="here")


@asynccontextmanager
async def listening(address: str, port: int = 0) -> AsyncIterator[Listener]:
    there = Listener(address)
    app = web.Application()
    app.router.add_get("/", there.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    there.port = runner.addresses[0][1]
    try:
        yield there
    finally:
        await runner.cleanup()


def book(*hosts: str, **addresses: Iterable[str]) -> Book:
    pinned = {name.replace("_", "."): tuple(found) for name, found in addresses.items()}
    return book_of(RegionSettings(voice_agent="ws://none", hosts=hosts, addresses=pinned), Settings(), "eu")


async def test_a_pinned_host_is_dialled_at_its_address_and_noted() -> None:
    """The name service is not asked: nobody but the book knows this name."""
    noted: list[HostContacted] = []
    async with listening("127.0.0.2") as there, Egress() as egress:
        errand = Errand(book(f"{HOST}:{there.port}", agents_eu_test=["127.0.0.2"]), "tools", noted.append)
        async with egress.request(errand, "GET", f"http://{HOST}:{there.port}/") as answer:
            assert await answer.text() == "here"
    assert noted == [HostContacted(HOST, "127.0.0.2", there.port, "tools", "eu")]


@pytest.mark.parametrize(
    "url", ["http://{host}:{other}/", "http://localhost:{port}/", "http://127.0.0.2:{port}/"]
)
async def test_what_the_book_does_not_list_is_not_dialled(url: str) -> None:
    """Neither another port, nor another name or number of the same host; the refusal is noted and says what to do."""
    noted: list[HostContacted] = []
    async with listening("127.0.0.2") as there, Egress() as egress:
        errand = Errand(book(f"{HOST}:{there.port}", agents_eu_test=["127.0.0.2"]), "tools", noted.append)
        asked = url.format(host=HOST, port=there.port, other=there.port + 1)
        with pytest.raises(
            NotListedError, match="is not in the book of eu for tools; add it to tools of the region"
        ):
            async with egress.request(errand, "GET", asked):
                pass
        assert there.dialled == 0
    assert [(contact.refused, contact.region, contact.address) for contact in noted] == [(True, "", "")]


async def test_an_address_is_dialled_only_as_the_answer_for_the_host_that_was_checked() -> None:
    """Whatever stands between the check and the dial: a resolver of somebody else changes nothing."""
    noted: list[HostContacted] = []
    async with listening("127.0.0.3") as stranger, Egress() as egress:
        errand = Errand(book(f"{HOST}:{stranger.port}", agents_eu_test=["127.0.0.2"]), "tools", noted.append)

        async def rebound(host: str, port: int = 0, **_: Any) -> list[dict[str, Any]]:
            found = {"hostname": host, "host": "127.0.0.3", "port": port, "family": socket.AF_INET}
            return [{**found, "proto": 0, "flags": 0}]

        client = egress._open_client()
        assert isinstance(client.connector, aiohttp.TCPConnector)
        client.connector._resolver.resolve = rebound  # type: ignore[method-assign, assignment]
        with pytest.raises(aiohttp.ClientConnectorError, match="is no address of"):
            async with egress.request(errand, "GET", f"http://{HOST}:{stranger.port}/"):
                pass
        assert stranger.dialled == 0
    assert [(contact.address, contact.refused) for contact in noted] == [("127.0.0.3", True)]


async def test_nothing_is_dialled_without_an_errand() -> None:
    """The pool itself refuses who does not say for whom."""
    async with listening("127.0.0.1") as there, Egress() as egress:
        with pytest.raises(aiohttp.ClientError):
            await egress._open_client().get(f"http://127.0.0.1:{there.port}/")
        with pytest.raises(aiohttp.ClientError):
            await egress._open_client().get(f"http://localhost:{there.port}/")
        assert there.dialled == 0


class NameService:
    """Stands in the place of the machine's, and answers when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.answer: str | OSError = "127.0.0.1"
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._look_up)

    async def _look_up(self, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        await self.open.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (self.answer, 0))]


async def reached(egress: Egress, port: int) -> bool:
    """Whether one call gets through to the host."""
    try:
        url = f"http://{HOST}:{port}/"
        async with egress.request(Errand(book(f"http://{HOST}:{port}"), "agent"), "GET", url):
            return True
    except aiohttp.ClientError:
        return False


@pytest.mark.parametrize("known", [True, False])
async def test_calls_that_start_together_ask_for_a_name_once(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many want to know the same host at the same moment, one question is asked, and all learn what came of it."""
    names = NameService(monkeypatch)
    names.answer = names.answer if known else socket.gaierror(socket.EAI_NONAME, "no such name")
    async with listening("127.0.0.1") as here, Egress() as egress, asyncio.TaskGroup() as group:
        calls = [group.create_task(reached(egress, here.port)) for _ in range(50)]
        await until(lambda: names.asked > 0)
        names.open.set()
        assert [await call for call in calls] == [known] * 50
    assert names.asked == 1


async def test_one_that_gives_up_takes_no_answer_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that asks for all may end before the answer: another one asks then, and the rest wait for that."""
    names = NameService(monkeypatch)
    async with listening("127.0.0.1") as here, Egress() as egress, asyncio.TaskGroup() as group:
        first, *others = [group.create_task(reached(egress, here.port)) for _ in range(5)]
        await until(lambda: names.asked == 1)
        first.cancel()
        await until(lambda: names.asked == 2)
        names.open.set()
        assert [await call for call in others] == [True] * 4
    assert first.cancelled()
    assert names.asked == 2


async def test_a_name_that_was_unknown_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """That there was no answer is believed for a moment only: the name service may be back for the next try."""
    monkeypatch.setattr(egress_module, "UNKNOWN_S", 0.0)
    names = NameService(monkeypatch)
    names.open.set()
    names.answer = socket.gaierror(socket.EAI_AGAIN, "come again")
    async with listening("127.0.0.1") as here, Egress() as egress:
        assert not await reached(egress, here.port)
        names.answer = "127.0.0.1"
        assert await reached(egress, here.port)


async def test_a_redirect_is_not_followed() -> None:
    """It could lead out of the region."""
    async with listening("127.0.0.2") as there, Egress() as egress:
        there.answer = web.Response(status=302, headers={"Location": "http://127.0.0.1/"})
        errand = Errand(book(f"127.0.0.2:{there.port}"), "agent")
        async with egress.request(errand, "GET", f"http://127.0.0.2:{there.port}/") as answer:
            assert answer.status == 302
        with pytest.raises(aiohttp.ClientError):
            await egress.open_socket(errand, URL(f"ws://127.0.0.2:{there.port}/"))


async def test_two_errands_at_once_do_not_take_each_others_host() -> None:
    """Each dials its own address for one and the same name."""
    async with listening("127.0.0.2") as here, listening("127.0.0.3", here.port) as there, Egress() as egress:

        async def ask(address: str) -> str:
            noted: list[HostContacted] = []
            errand = Errand(book(f"{HOST}:{here.port}", agents_eu_test=[address]), "tools", noted.append)
            async with egress.request(errand, "GET", f"http://{HOST}:{here.port}/"):
                return noted[0].address

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(f"127.0.0.{2 + number % 2}")) for number in range(20)]
        assert [task.result() for task in tasks] == ["127.0.0.2", "127.0.0.3"] * 10
        assert (here.dialled, there.dialled) == (10, 10)


def reach_of(settings: Settings, route: RouteSettings, *agents: str) -> tuple[Reach, list[HostContacted]]:
    noted: list[HostContacted] = []
    generation = Generation(settings=settings, parts=build_parts(settings))
    return Reach(Route(route, agents, ""), generation, noted.append), noted


ABROAD = Settings(
    agents={"here": AgentSettings(kind="voice_agent", region="eu"), "local": AgentSettings(kind="offline")},
    regions={"eu": RegionSettings(tools=("crm.eu.test",)), "us": RegionSettings(tools=("crm.us.test",))},
)


async def test_a_call_may_reach_its_own_region_and_those_its_route_allows() -> None:
    """The home region comes first; a contact says whose book lists the host."""
    reach, _ = reach_of(ABROAD, RouteSettings(name="r", agent="here"), "local", "here")
    assert reach.regions == ("eu",)
    assert not reach.errand("tools").book.lists("tools", "crm.us.test", 443)
    reach, _ = reach_of(ABROAD, RouteSettings(name="r", agent="here", allow_regions=("us",)), "here")
    assert reach.regions == ("eu", "us")
    shared = reach.errand("tools").book
    assert shared.region_of("tools", "crm.us.test", 443) == "us"
    assert shared.region_of("tools", "crm.eu.test", 443) == "eu"


async def test_contacts_are_noted_from_every_thread_and_bounded() -> None:
    """A tool that opens sockets without end fills no memory."""
    reach, noted = reach_of(ABROAD, RouteSettings(name="r", agent="here"), "here")
    errand = reach.errand("tools")
    with on_errand(errand):
        await asyncio.to_thread(errand.contacted, ("crm.eu.test", 443), "10.0.0.7")
    await until(lambda: noted)
    for _ in range(CONTACTS + 5):
        errand.contacted(("crm.eu.test", 443), "10.0.0.7")
    assert len(noted) == len(reach.contacts) == CONTACTS
    assert noted[0] == HostContacted("crm.eu.test", "10.0.0.7", 443, "tools", "eu")


async def test_a_plugins_route_does_not_lead_abroad_either() -> None:
    """An agent of another region than the call may be in is not dialled, whoever has put it on the ladder."""
    here, there = (AgentSettings(kind="fake", region=region) for region in ("eu", "us"))
    async with listening("127.0.0.3") as abroad:
        regions = {"us": RegionSettings(voice_agent=f"ws://127.0.0.3:{abroad.port}/")}
        street = Street(
            plan=_dials(f"ws://127.0.0.3:{abroad.port}/"),
            agents={"here": here, "there": there},
            regions=regions,
        )
        info = CallInfo("call_1", "pcm", PCM_24K)
        for allowed, expected in (((), AgentRefused), (("us",), AgentLost)):
            route = Route(
                RouteSettings(name="r", agent="here", allow_regions=allowed), ("here", "there"), "a plugin's"
            )
            inbox, noted = Inbox(64), list[HostContacted]()
            reach = Reach(route, street.house.generation, noted.append)
            async with street.dialler:
                await AgentSide(OpenAgent("there"), info, SessionMemory(), street.house, reach).run(inbox)
            event = await inbox.get()
            assert isinstance(event, expected), event
            assert bool(noted) is bool(allowed)
        assert abroad.dialled == 1


def _dials(url: str) -> Callable[[AgentCall], Dial]:
    return lambda _call: Dial(url, {}, PlainCodec(), PCM_24K)
