"""Tests of the process's guard: what Python code connects by itself is seen, noted in its call, and refused if strict."""

import asyncio
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import SimpleNamespace

import aiohttp
import msgspec
import pytest
from fakes import until

from gateway.audio import MULAW_8K
from gateway.commands import RunTool
from gateway.events import CallInfo, HostContacted
from gateway.runtime.book import Book, book_of
from gateway.runtime.egress import Egress, Errand, on_errand
from gateway.runtime.guard import Guard, Loop, Refused, guarding
from gateway.runtime.toolbox import Toolbox
from gateway.settings import RegionSettings, Settings
from gateway.tools import Tool

HERE, ABROAD = "127.0.0.2", "127.0.0.3"


class Witness:
    """A port on two addresses, and which of them was reached."""

    def __init__(self) -> None:
        self.port = 0
        self.reached: list[str] = []

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.append(writer.get_extra_info("sockname")[0])
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
        writer.close()


@asynccontextmanager
async def witness() -> AsyncIterator[Witness]:
    seen = Witness()
    first = await asyncio.start_server(seen.meet, HERE, 0)
    seen.port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(seen.meet, ABROAD, seen.port)
    async with first, second:
        yield seen


def book(port: int) -> Book:
    """One host for tools, and the agent's."""
    region = RegionSettings(
        voice_agent=f"ws://127.0.0.9:{port}/", tools=(f"{HERE}:{port}", f"localhost:{port}")
    )
    return book_of(region, Settings(), "eu")


def by_socket(address: str, port: int) -> None:
    with socket.create_connection((address, port), timeout=2) as opened:
        opened.sendall(b"GET / HTTP/1.1\r\n\r\n")
        opened.recv(100)


def by_http_client(address: str, port: int) -> None:
    connection = http.client.HTTPConnection(address, port, timeout=2)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


async def plain(address: str, port: int) -> None:
    by_socket(address, port)


async def library(address: str, port: int) -> None:
    by_http_client(address, port)


async def by_aiohttp(address: str, port: int) -> None:
    async with aiohttp.ClientSession() as client, client.get(f"http://{address}:{port}/") as answer:
        await answer.read()


async def by_streams(address: str, port: int) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.read(100)
    writer.close()
    await writer.wait_closed()


async def by_thread(address: str, port: int) -> None:
    await asyncio.to_thread(by_socket, address, port)


WAYS = [plain, library, by_aiohttp, by_streams, by_thread]
Way = Callable[[str, int], Awaitable[None]]


async def run_as_tool(way: Way, errand: Errand, address: str, port: int) -> bool:
    """Run it as a tool of a call does, on the tools' thread; whether it succeeded."""

    async def reach() -> str:
        """Reach a host."""
        await way(address, port)
        return "reached"

    toolbox = Toolbox()
    handle = SimpleNamespace(info=CallInfo("c", "pcm", MULAW_8K))
    try:
        with on_errand(errand):
            finished = await toolbox.run(Tool.of(reach), RunTool("t", "reach", "{}"), handle)
    finally:
        await toolbox.close()
    return not finished.failed and msgspec.json.decode(finished.result) == "reached"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
async def test_a_tool_reaches_what_its_calls_book_lists_and_nothing_else(way: Way) -> None:
    """Whichever library it takes; both are noted in its call, and the stranger hears nothing."""
    async with witness() as seen:
        noted: list[HostContacted] = []
        errand = Errand(book(seen.port), "tools", noted.append)
        with guarding(errand.book, strict=True):
            assert await run_as_tool(way, errand, HERE, seen.port)
            assert not await run_as_tool(way, errand, ABROAD, seen.port)
        assert seen.reached == [HERE]
        assert noted[0] == HostContacted(HERE, HERE, seen.port, "tools", "eu")
        assert noted[-1] == HostContacted(ABROAD, ABROAD, seen.port, "tools", "", refused=True)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
async def test_open_egress_lets_a_tool_out_and_says_that_no_book_lists_it(way: Way) -> None:
    """It is in the call's record without a region."""
    async with witness() as seen:
        noted: list[HostContacted] = []
        errand = Errand(book(seen.port), "tools", noted.append)
        with guarding(errand.book, strict=False):
            assert await run_as_tool(way, errand, ABROAD, seen.port)
        assert seen.reached == [ABROAD]
        assert noted == [HostContacted(ABROAD, ABROAD, seen.port, "tools", "")]


async def test_a_host_listed_for_another_purpose_is_none_of_a_tool() -> None:
    """The agent's host takes no tool's connection."""
    async with witness() as seen:
        errand = Errand(book(seen.port), "tools")
        with guarding(errand.book, strict=True):
            assert not await run_as_tool(plain, errand, "127.0.0.9", seen.port)


async def test_a_name_is_let_through_with_the_addresses_it_was_answered() -> None:
    """The same address without the name is a stranger until the name was asked for, and unlisted names are not asked."""
    async with witness() as seen:
        server = await asyncio.start_server(seen.meet, "127.0.0.1", seen.port)
        async with server:
            noted: list[HostContacted] = []
            errand = Errand(book(seen.port), "tools", noted.append)
            with guarding(errand.book, strict=True):
                assert not await run_as_tool(plain, errand, "127.0.0.1", seen.port)
                assert await run_as_tool(library, errand, "localhost", seen.port)
                assert not await run_as_tool(library, errand, "crm.us.test", seen.port)
    assert seen.reached == ["127.0.0.1"]
    assert [(one.host, one.refused) for one in noted if one.address != "::1"] == [
        ("127.0.0.1", True),
        ("localhost", False),
        ("crm.us.test", True),
    ]


@contextmanager
def strict(port: int) -> Iterator[Guard]:
    with guarding(book(port), strict=True) as guard:
        yield guard


async def test_what_belongs_to_no_call_is_judged_by_all_books_together() -> None:
    """Plugins and libraries at work by themselves: any purpose, and kept for the process."""
    async with witness() as seen:
        with strict(seen.port) as guard:
            await by_thread(HERE, seen.port)
            with pytest.raises(Refused, match=f"{ABROAD}:{seen.port} is in no book that counts here"):
                by_socket(ABROAD, seen.port)
        assert list(guard.reached) == [(HERE, HERE, seen.port), (ABROAD, ABROAD, seen.port)]
        await by_thread(ABROAD, seen.port)  # nobody watches any more


@pytest.mark.parametrize("address", ["::ffff:127.0.0.3", "::ffff:7f00:3"])
async def test_an_address_in_other_clothes_is_the_same(address: str) -> None:
    """IPv4 within IPv6 is judged as what it is."""
    with strict(9), socket.socket(socket.AF_INET6) as opened, pytest.raises(Refused, match=ABROAD):
        opened.connect((address, 9))


async def test_datagrams_and_lookups_are_judged_too() -> None:
    """Nothing is sent without connecting either, and no name service hears of a stranger."""
    with strict(9), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        with pytest.raises(Refused):
            opened.sendto(b"x", (ABROAD, 9))
        with pytest.raises(Refused):
            opened.sendmsg([b"x"], [], 0, (ABROAD, 9))
        with pytest.raises(Refused):
            socket.getaddrinfo("crm.us.test", 443)
        with pytest.raises(Refused):
            socket.gethostbyname("crm.us.test")


async def test_what_stays_on_this_machine_is_let_through() -> None:
    """Sockets with a path, and pairs, lead nowhere."""
    with strict(9), socket.socket(socket.AF_UNIX) as opened:
        with pytest.raises(FileNotFoundError):
            opened.connect("/nowhere/at/all")
        for one in socket.socketpair():
            one.close()


async def test_the_gateways_own_connections_pass_as_what_was_checked() -> None:
    """They are noted once, by the one who makes them."""
    async with witness() as seen, Egress() as egress:
        noted: list[HostContacted] = []
        errand = Errand(book(seen.port), "tools", noted.append)
        with strict(seen.port) as guard:
            async with egress.request(errand, "GET", f"http://{HERE}:{seen.port}/") as answer:
                assert answer.status == 200
        assert (len(noted), list(guard.reached)) == (1, [])


def test_the_gateways_loop_asks_before_it_connects_in_c() -> None:
    """What uvloop connects raises no audit event; `Loop` asks the guard in their place."""

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        async with witness() as seen:
            with strict(seen.port):
                transport, _ = await loop.create_connection(asyncio.Protocol, HERE, seen.port)
                transport.close()
                for host in (ABROAD, "crm.us.test"):
                    with pytest.raises(Refused):
                        await loop.create_connection(asyncio.Protocol, host, seen.port)
                with pytest.raises(Refused):
                    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(ABROAD, 9))
            await until(lambda: seen.reached)
            assert seen.reached == [HERE]

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(connect())


def test_a_thread_of_its_own_is_watched_too() -> None:
    """Nobody knows its call, so all books count, and it does not get out."""
    raised: list[BaseException] = []

    def escape() -> None:
        try:
            by_socket(ABROAD, 9)
        except OSError as error:
            raised.append(error)

    with strict(9):
        thread = threading.Thread(target=escape)
        thread.start()
        thread.join(5)
    assert [type(error) for error in raised] == [Refused]


async def test_a_refused_tool_is_told_of_in_the_log_once_per_host(caplog: pytest.LogCaptureFixture) -> None:
    """With the host, the purpose, the call and the tool; the failure names the tool's own line."""

    async def insist(address: str, port: int) -> None:
        for _ in range(3):
            with suppress(Refused):
                socket.gethostbyname("crm.us.test")
        by_http_client(address, port)

    async with witness() as seen:
        errand = Errand(book(seen.port), "tools", whom="call_id=c1 tool=reach")
        with guarding(errand.book, strict=True):
            assert not await run_as_tool(insist, errand, ABROAD, seen.port)
    told = [record.getMessage() for record in caplog.records if record.name == "talkpath.egress"]
    assert told == [
        "egress host=crm.us.test refused purpose=tools call_id=c1 tool=reach",
        f"egress host={ABROAD} port={seen.port} refused purpose=tools call_id=c1 tool=reach",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert f"tool reach failed with Refused at {__file__}:" in caplog.text


async def test_lines_about_refusals_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A tool that tries host after host costs ten lines."""
    errand = Errand(book(9), "tools", whom="call_id=c1 tool=reach")
    with guarding(errand.book, strict=True), on_errand(errand):
        for number in range(30):
            with pytest.raises(Refused):
                socket.getaddrinfo(f"crm{number}.us.test", 443)
    assert caplog.text.count(" refused ") == 10
