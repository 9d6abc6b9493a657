"""``talkpath token``: a token that opens a session, or one sentence that says why there is none."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from api_client import ApiHouse, api_house

from gateway import cli
from gateway.settings import AccessSettings, KeyLimits, KeySettings, Secret
from gateway.simulate.webhook import NO_TLS

KEYS = AccessSettings(
    keys=(
        KeySettings(name="backend", key=(Secret("the-key-of-a-backend"),), may=("connect", "tokens")),
        KeySettings(name="plain", key=(Secret("the-key-of-a-plain-one"),)),
    )
)


@pytest.fixture(autouse=True)
def somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without a configuration, and no key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TALKPATH_KEY", raising=False)
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)


async def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """Exit code and what was printed, beside a gateway that runs."""

    def run() -> object:
        with pytest.raises(SystemExit) as left:
            cli.main(["token", *arguments])
        return left.value.code

    code = await asyncio.to_thread(run)
    out, err = capsys.readouterr()
    return code, out, err


async def opens(house: ApiHouse, token: str) -> None:
    async with house.client(f"/v1/ws/browser?token={token}") as client:
        ready = await client.begin()
        assert abs(ready["expires_at"] - ready["timestamp"] - 90) < 3


async def test_a_token_is_printed_and_opens_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    """The token is all that is printed; with --json the whole answer is."""
    async with api_house(access=KEYS) as house:
        options = (house.url, "--key", "the-key-of-a-backend", "--max-session", "90")
        code, out, err = await typed(capsys, *options)
        assert (code, err) == (0, "")
        await opens(house, out.strip())
        code, out, err = await typed(capsys, *options, "--expires-in", "30", "--json")
        answer = json.loads(out)
        assert (code, err, answer["expires_in_seconds"]) == (0, "", 30)
        await opens(house, answer["token"])


async def test_the_key_comes_from_the_environment_or_the_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no key is given, $TALKPATH_KEY is used, else the first key that may mint and is no hash."""
    (tmp_path / "gateway.yaml").write_text(
        "agents: {a: {kind: offline}}\nroutes: [{name: all, agent: a}]\n"
        "access: {keys: [{name: p, key: the-key-of-a-plain-one, may: [connect]}, {name: b, may: [tokens],\n"
        f"  key: ['sha256:{'0' * 64}', the-key-of-a-backend]}}]}}\n"
    )
    async with api_house(access=KEYS) as house:
        code, out, err = await typed(capsys, house.url)
        assert (code, err) == (0, "")
        assert len(out.strip()) > 40
        monkeypatch.setenv("TALKPATH_KEY", "the-key-of-a-plain-one")
        code, _, err = await typed(capsys, house.url)
        assert code == 1
        assert "403" in err


async def test_who_asks_too_often_is_told_to_wait(capsys: pytest.CaptureFixture[str]) -> None:
    """A key that has minted all that it may in a minute is told so, and when to come again."""
    limits = {"per_key": KeyLimits(tokens=1)}
    async with api_house(access=KEYS, limits=limits) as house:
        assert (await typed(capsys, house.url, "--key", "the-key-of-a-backend"))[0] == 0
        code, _, err = await typed(capsys, house.url, "--key", "the-key-of-a-backend")
        assert (code, "asked too often; try again in a minute" in err) == (1, True)


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        ((), 1, "the gateway wants a key; give --key, set TALKPATH_KEY"),
        (("--key", "wrong"), 1, "answered 404: Invalid API key"),
        (("--key", "the-key-of-a-plain-one"), 1, "answered 403: This key may not mint tokens"),
        (
            ("--key", "the-key-of-a-backend", "--expires-in", "601"),
            2,
            "--expires-in takes a whole number from 1 to 600",
        ),
    ],
)
async def test_a_refusal_is_one_sentence(
    options: tuple[str, ...], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 for what the gateway says, 2 for wrong usage."""
    async with api_house(access=KEYS) as house:
        left, out, err = await typed(capsys, house.url, *options)
    assert (left, out) == (code, "")
    assert complaint in err
    assert err.startswith("talkpath token: ")
    assert err.count("\n") == 1


async def test_a_gateway_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody who answers, and an address that is none, are told apart."""
    async with api_house() as house:
        url = house.url
    code, _, err = await typed(capsys, url)
    assert code == 1
    assert "is a gateway running there?" in err
    code, _, err = await typed(capsys, "http://")
    assert code == 2
    assert "no address of a gateway" in err


async def test_an_answer_in_words_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks the admin port, or anybody else, is told what that says."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(
            status=404, text="There is nothing at this address; the admin port has /healthz.\n"
        )

    async with elsewhere(answer) as url:
        code, out, err = await typed(capsys, url)
    assert (code, out) == (1, "")
    assert err == (
        f"talkpath token: {url} answered 404: There is nothing at this address; the admin port has /healthz\n"
    )


async def test_https_where_http_is_spoken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody answers there, but without TLS; that nobody does would be wrong."""
    async with api_house() as house:
        url = house.url.replace("http", "https")
        code, out, err = await typed(capsys, url)
    assert (code, out) == (1, "")
    assert err == f"talkpath token: {url} {NO_TLS}\n"


async def test_nobody_there_is_told_without_the_words_of_a_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sentence says what the system said, once."""
    async with api_house() as house:
        url = house.url
    _, _, err = await typed(capsys, url)
    assert err.startswith(f"talkpath token: nobody answers at {url} (")
    assert "ssl:default" not in err
    assert err.endswith("; is a gateway running there?\n")


@asynccontextmanager
async def elsewhere(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A server that is no gateway."""
    app = web.Application()
    app.router.add_get("/v1/token", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()
