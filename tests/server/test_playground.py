"""What the gateway serves to browsers: the page, its files, and whether it may call."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest
from api_client import ApiHouse, api_house

from gateway.adapters.pcm import PcmSettings
from gateway.server.playground import FOLDER
from gateway.settings import AccessSettings, KeySettings, Secret, ServerSettings

ROOT = Path(__file__).parent.parent.parent
KEYS = AccessSettings(keys=(KeySettings(name="site", key=(Secret("k1"),), may=("connect", "tokens")),))
FILES = sorted(path.name for path in FOLDER.iterdir())


async def get(house: ApiHouse, path: str, **headers: str) -> aiohttp.ClientResponse:
    async with house.http.get(house.url + path, headers=headers) as answer:
        await answer.read()
        return answer


async def test_the_page_and_its_files_are_served_with_care() -> None:
    """Each has its type, a tag by which it is not sent twice, and no leave to be guessed at or framed."""
    async with api_house() as house:
        for name in ["", *(name for name in FILES if name != "index.html")]:
            answer = await get(house, f"/{name}")
            assert answer.status == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-cache"
            kind = {"": "text/html", ".css": "text/css", ".svg": "image/svg+xml"}.get(
                Path(name).suffix, "text/javascript"
            )
            assert answer.content_type == kind
            again = await get(house, f"/{name}", **{"If-None-Match": answer.headers["ETag"]})
            assert again.status == 304
        page = await get(house, "/")
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Permissions-Policy"].startswith("microphone=(self)")
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


async def test_other_sites_may_read_the_module_and_nothing_else() -> None:
    """The module's files are for every origin; the page, its own script and its question are not."""
    async with api_house() as house:
        for name in FILES:
            answer = await get(house, f"/{name}" if name != "index.html" else "/")
            is_module = re.fullmatch(r"talkpath(-\w+)?\.js", name) is not None
            assert (answer.headers.get("Access-Control-Allow-Origin") == "*") is is_module, name
        assert "Access-Control-Allow-Origin" not in (await get(house, "/playground.json")).headers


async def test_the_page_can_be_switched_off() -> None:
    """Without it the module is still there, for pages of others."""
    async with api_house(server=ServerSettings(playground=False, close_s=1)) as house:
        for path in ("/", "/playground.json", "/playground.js", "/index.html"):
            assert (await get(house, path)).status == 404, path
        assert (await get(house, "/talkpath.js")).status == 200


@pytest.mark.parametrize("host", ["evil; script-src *", "a b", "x'y", "[::1", "a/b"])
async def test_a_host_that_is_none_does_not_reach_the_policy(host: str) -> None:
    """Whatever stands in the Host header, the page may connect to its own origin and nowhere else."""
    async with api_house() as house:
        answer = await get(house, "/", Host=host)
        if answer.status == 200:
            assert answer.headers["Content-Security-Policy"].endswith("connect-src 'self'")


async def test_the_policy_names_the_public_address() -> None:
    """Behind a proxy that changes the Host, the page still reaches the gateway under its public name."""
    server = ServerSettings(public_url="https://voice.example.com", close_s=1)
    async with api_house(server=server, access=KEYS) as house:
        policy = (await get(house, "/")).headers["Content-Security-Policy"]
        assert "wss://voice.example.com" in policy


async def test_the_page_is_told_whether_it_may_call() -> None:
    """This machine may without keys, others may not; with keys a token is asked for; the adapter must be there."""
    async with api_house() as house:
        assert await door(house) == "open"
        assert await door(house, Host="voice.example.com") == "closed"
        assert await door(house, **{"X-Forwarded-For": "10.0.0.1"}) == "closed"
        assert house.refused == {}, "to ask is no attempt to come in"
    async with api_house(access=KEYS) as house:
        assert await door(house) == "token"
    async with api_house(adapters={"pcm": PcmSettings()}) as house:
        assert await door(house) == "absent"
    async with api_house(server=ServerSettings(public_url="https://voice.example.com", close_s=1)) as house:
        assert await door(house) == "closed"


async def door(house: ApiHouse, **headers: str) -> str:
    async with house.http.get(house.url + "/playground.json", headers=headers) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        found: str = (await answer.json())["door"]
        return found


def test_the_files_are_in_the_package(tmp_path: Path) -> None:
    """Whoever installs the wheel gets the page."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"gateway/server/web/{name}" for name in FILES} <= set(names)
