"""What can go wrong, and the sentence with which the page says so."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from browsing import Window, chromium, window
from playwright.async_api import Browser
from stage import KEYS, Socket, Stage, stage, tone

pytestmark = pytest.mark.asyncio(loop_scope="module")

NETWORK = "WebSocket connection to"
"""What a browser writes into its console by itself when a socket cannot be opened."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(require: Callable[[str], str]) -> AsyncIterator[Browser]:
    arguments = "--host-resolver-rules=MAP gateway.test 127.0.0.1"
    async with chromium(require("chromium"), arguments) as opened:
        yield opened


async def call(shown: Window, played: Stage) -> Socket:
    await shown.button("Start call").click()
    socket = await played.socket()
    await socket.begin()
    await shown.state("live")
    return socket


def failing(error: str) -> str:
    """A browser whose microphone fails in a way that cannot be brought about here."""
    fails = f"async () => {{ throw new DOMException('no', '{error}'); }}"
    return f"() => {{ navigator.mediaDevices.getUserMedia = {fails}; }}"


async def goes_on_without_a_microphone(shown: Window, played: Stage) -> None:
    await shown.state("failed")
    await shown.button("Start without a microphone").click()
    socket = await played.socket()
    await socket.begin()
    await shown.sees("#hint", "No microphone: write below")
    assert await shown.find("#problem").is_hidden()
    assert await shown.button("Mute").is_disabled()
    for _ in range(3):
        await socket.until("input.audio")
    assert not any(socket.sound), "silence is sent, because the agent listens for pauses"


async def test_a_microphone_that_is_refused(require: Callable[[str], str]) -> None:
    """Where the permission is, and a way to go on without it."""
    async with (
        chromium(require("chromium"), allowed=False) as strict,
        stage() as played,
        window(strict, played.url) as shown,
    ):
        await shown.button("Start call").click()
        await shown.sees(
            "#problem", "was told not to let this page use the microphone. Allow it next to the address"
        )
        await goes_on_without_a_microphone(shown, played)


async def test_a_device_without_a_microphone(require: Callable[[str], str]) -> None:
    """That there is none, and a way to go on without one."""
    async with (
        chromium(require("chromium"), device=False) as deaf,
        stage() as played,
        window(deaf, played.url) as shown,
    ):
        await shown.button("Start call").click()
        await shown.sees("#problem", "No microphone was found.")
        await goes_on_without_a_microphone(shown, played)


async def test_a_microphone_that_cannot_be_opened(browser: Browser) -> None:
    """Other reasons have other sentences."""
    sentences = {
        "NotReadableError": "another program may be using it",
        "OverconstrainedError": "No microphone was found. Plug one in or choose another",
    }
    async with stage() as played, window(browser, played.url) as shown:
        for error, sentence in sentences.items():
            await shown.page.evaluate(failing(error))
            await shown.button("Start call").click()
            await shown.sees("#problem", sentence)


async def test_a_microphone_that_is_unplugged(browser: Browser) -> None:
    """The call goes on, and the sentence says what to do."""
    keep = """
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => (window.__stream = await open(wanted));
    """
    async with stage() as played, window(browser, played.url, script=keep) as shown:
        await call(shown, played)
        await shown.page.evaluate("__stream.getTracks()[0].dispatchEvent(new Event('ended'))")
        await shown.sees("#problem", "The microphone was unplugged. The call goes on")
        await shown.state("live")
        await shown.button("Dismiss").click()
        assert await shown.find("#problem").is_hidden()


async def test_a_page_that_is_not_secure(browser: Browser) -> None:
    """Browsers give no microphone to plain http from elsewhere; the sentence says how to open the page instead."""
    async with stage() as played:
        url = played.url.replace("127.0.0.1", "gateway.test")
        async with window(browser, url, expects="Cross-Origin-Opener-Policy") as shown:
            await shown.button("Start call").click()
            await shown.sees("#problem", "Open it with https://, or as http://localhost")
            assert await shown.find("#problem button").count() == 0, "without sound there is no call at all"


async def test_a_token_that_is_too_old(browser: Browser) -> None:
    """What may be wrong with it, and a way back to the field for the next one."""
    async with stage(access=KEYS) as played, window(browser, played.url) as shown:
        played.refuses = ("unauthorized", "Authentication failed")
        await shown.find("#token").fill("yesterday's")
        await shown.button("Start call").click()
        await shown.sees("#problem", "it is too old, was used before, or is for another gateway")
        await shown.button("Enter a token").click()
        assert await shown.page.evaluate("document.activeElement.id") == "token"


async def test_a_gateway_that_refuses(browser: Browser) -> None:
    """Every refusal has a sentence, and under it what the gateway said."""
    sentences = {
        "at_capacity": "no room for another call just now",
        "concurrency_exceeded": "no room for another call just now",
        "agent_not_found": "The gateway refused this call.",
    }
    async with stage() as played, window(browser, played.url) as shown:
        for code, sentence in sentences.items():
            played.refuses = (code, f"Because of {code}.")
            await shown.button("Start call").click()
            await shown.sees("#problem code", f"{code}: Because of {code}.")
            await shown.sees("#problem", sentence)
            await shown.sees("#state", "No call")


async def test_a_gateway_that_does_not_answer(browser: Browser) -> None:
    """It says so; the same button tries again."""
    async with stage() as played, window(browser, played.url, expects=NETWORK) as shown:
        played.is_down = True
        await shown.button("Start call").click()
        await shown.sees("#problem", "The gateway did not answer")
        played.is_down = False
        await call(shown, played)
        assert await shown.find("#problem").is_hidden()


async def test_a_connection_that_drops_comes_back(browser: Browser) -> None:
    """It says so, resumes the session with its proof, says that it is back, and plays on what was not heard."""
    async with stage(access=KEYS) as played, window(browser, played.url) as shown:
        await shown.find("#token").fill("minted")
        socket = await call(shown, played)
        await socket.words("r1", "We are open on Monday and on Tuesday")
        await socket.play("r1", tone(600), lead_s=9)
        while (await socket.until("talkpath.played", reply_id="r1"))["ms"] < 300:
            pass
        socket.break_off()
        await shown.state("reconnecting")
        await shown.sees("#problem", "dropped. Reconnecting")
        again = await played.socket()
        assert again.query == {"token": "come-back"}
        assert (await again.until("session.resume"))["session_id"] == "sess_1"
        await again.ready()
        await shown.state("live")
        await shown.sees(".note", "The connection is back after")
        assert await shown.find("#problem").is_hidden()
        await again.until("input.audio")
        await again.play("r1", tone(900), lead_s=9)
        await again.say("reply.done", reply_id="r1", status="completed")
        while (await again.until("talkpath.played", reply_id="r1"))["ms"] < 900:
            pass
        line = shown.find(".line.agent")
        assert await line.count() == 1
        assert await line.locator("del, .later").count() == 0


async def test_a_connection_that_cannot_be_brought_back(browser: Browser) -> None:
    """When the gateway does not know the call any more, it has ended, and the page says so."""
    async with stage() as played, window(browser, played.url) as shown:
        socket = await call(shown, played)
        socket.break_off()
        again = await played.socket()
        await again.until("session.resume")
        await again.say("session.error", code="session_not_found", message="grace window has expired")
        await shown.state("failed")
        await shown.sees("#problem", "could not be brought back in time")
        await shown.sees("#state", "Call failed")


async def test_hanging_up_while_the_connection_is_away(browser: Browser) -> None:
    """The call ends at once, and nothing is brought back."""
    async with stage() as played, window(browser, played.url, expects=NETWORK) as shown:
        socket = await call(shown, played)
        played.is_down = True
        socket.break_off()
        await shown.state("reconnecting")
        await shown.page.keyboard.press("Escape")
        await shown.sees("#hint", "You hung up")


async def test_a_call_that_the_gateway_ends(browser: Browser) -> None:
    """A failure and a goodbye look different."""
    async with stage() as played, window(browser, played.url) as shown:
        socket = await call(shown, played)
        await socket.say("session.error", code="internal_error", message="Internal service error")
        await socket.close(1011)
        await shown.state("failed")
        await shown.sees("#problem", "The agent or the gateway failed, and the call has ended.")
        socket = await call(shown, played)
        await socket.say("session.ended", session_duration_seconds=1)
        await socket.close(1000)
        await shown.state("ended")
        await shown.sees("#hint", "The agent hung up")
        assert await shown.find("#problem").is_hidden()


async def test_an_agent_that_only_complains(browser: Browser) -> None:
    """The call goes on; the sentence can be put away."""
    async with stage() as played, window(browser, played.url) as shown:
        socket = await call(shown, played)
        await socket.say("reply.error", reply_id="r1", code="llm_error", message="model overloaded")
        await shown.sees("#problem", "The agent reported a problem; the call goes on.")
        await shown.sees("#problem code", "llm_error: model overloaded")
        await shown.state("live")
