import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from fakes import no_task_left, until

from gateway.contracts import HttpRequest, Route
from gateway.events import ControlAnswered
from gateway.runtime import control
from gateway.runtime.call import AFTERWORK_S
from gateway.runtime.control import PAUSE_S, carry_out
from gateway.runtime.egress import Egress, Reach, unnoted
from gateway.runtime.plugins import Generation, build_parts
from gateway.settings import RegionSettings, RouteSettings, Settings


class Carrier:
    """A carrier's REST interface that answers with one status after the other."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.url = ""
        self.seen: list[tuple[str, str, bytes]] = []
        self.release = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.headers.get("Authorization", ""), await request.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if not status:
            await self.release.wait()
            status = 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


async def carry(action: str, asked: HttpRequest, *, listed: str = "") -> ControlAnswered:
    """Ask as a call does whose region lists the carrier."""
    settings = Settings(regions={"eu": RegionSettings(carrier=(listed or asked.url,))})
    generation = Generation(settings=settings, parts=build_parts(settings))
    reach = Reach(
        Route(RouteSettings(name="r", agent="a", allow_regions=("eu",)), (), ""), generation, unnoted
    )
    async with Egress() as egress:
        return await carry_out(action, asked, egress, reach)


@asynccontextmanager
async def carrier(*statuses: int) -> AsyncIterator[Carrier]:
    """A carrier on a free port."""
    there = Carrier(*statuses)
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", there.handle)
    server = web.AppRunner(app, shutdown_timeout=0.1)
    with no_task_left():
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        there.url = f"http://127.0.0.1:{server.addresses[0][1]}/Calls/CA1.json"
        try:
            yield there
        finally:
            there.release.set()
            await server.cleanup()
        await asyncio.sleep(0)


def request(url: str) -> HttpRequest:
    return HttpRequest("POST", url, {"Authorization": "Basic abc"}, b"Status=completed", done_when=(404,))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PAUSE_S", 0.01)


@pytest.mark.parametrize(
    ("status", "succeeded"),
    [
        (200, True),
        (201, True),
        (204, True),
        (404, True),
        (400, False),
        (401, False),
        (409, False),
        (302, False),
    ],
)
async def test_one_answer(status: int, succeeded: bool) -> None:
    """An answer decides at once: 2xx is done, so is what the adapter says is done already, anything else is not."""
    async with carrier(status) as there:
        answered = await carry("hang_up", request(there.url))
        assert (answered.action, answered.succeeded) == ("hang_up", succeeded)
        assert str(status) in answered.detail
        assert there.seen == [("POST", "Basic abc", b"Status=completed")]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_passes(status: int) -> None:
    """A carrier in trouble is asked again."""
    async with carrier(status, status, 200) as there:
        assert (await carry("transfer", request(there.url))).succeeded
        assert len(there.seen) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_stays(status: int) -> None:
    """A carrier that stays in trouble is asked three times, and the answer says what it said."""
    async with carrier(status) as there:
        answered = await carry("transfer", request(there.url))
        assert not answered.succeeded
        assert str(status) in answered.detail
        assert len(there.seen) == control.TRIES


async def test_unreachable() -> None:
    """A carrier that cannot be reached is an answer too."""
    answered = await carry("hang_up", request("http://127.0.0.1:1/"))
    assert not answered.succeeded
    assert answered.detail


async def test_a_carrier_outside_the_book_is_not_asked() -> None:
    """It gets no connection, and the answer says what to add where."""
    async with carrier(200) as there:
        answered = await carry("transfer", request(there.url), listed="api.carrier.example")
        assert not answered.succeeded
        assert "is not in the book of eu for carrier; add it to carrier of the region" in answered.detail
        assert not there.seen


async def test_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A carrier that does not answer is given up in bounded time, in a sentence."""
    monkeypatch.setattr(control, "REQUEST_S", 0.05)
    async with carrier(0) as there:
        async with asyncio.timeout(2):
            answered = await carry("hang_up", request(there.url))
        assert not answered.succeeded
        assert "did not answer within 0.05 s" in answered.detail
        assert len(there.seen) == control.TRIES


def test_bound() -> None:
    """All attempts with their pauses end before the call stops waiting for them."""
    longest_s = control.TRIES * control.REQUEST_S + (control.TRIES - 1) * PAUSE_S
    assert longest_s < AFTERWORK_S


async def test_cancelled() -> None:
    """A request that is cancelled leaves nothing behind."""
    async with carrier(0) as there:
        asking = asyncio.ensure_future(carry("hang_up", request(there.url)))
        await until(lambda: there.seen)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
