"""The page: what it lets a browser do, what it says of itself, how it is used without a mouse or without eyes."""

import re
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from browsing import Window, chromium, window
from playwright.async_api import Browser
from stage import KEYS, Socket, Stage, stage

from gateway.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(require: Callable[[str], str]) -> AsyncIterator[Browser]:
    async with chromium(require("chromium")) as opened:
        yield opened


async def call(shown: Window, played: Stage) -> Socket:
    """Start a call and take it."""
    await shown.button("Start call").click()
    socket = await played.socket()
    await socket.begin()
    await shown.state("live")
    return socket


async def test_the_page_may_only_do_what_it_must(browser: Browser) -> None:
    """The policy forbids everything but the page's own files and its own gateway, and the page works under it."""
    async with stage() as played, window(browser, played.url) as shown:
        answer = await shown.page.request.get(played.url)
        said = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        host = played.url.removeprefix("http://")
        assert said["default-src"] == "'none'"
        assert said["connect-src"] == f"'self' ws://{host} wss://{host}"
        assert not any(word in " ".join(said.values()) for word in ("unsafe", "*", "http:", "https:"))
        await call(shown, played)
        blocked = await shown.page.evaluate("fetch('https://example.com/').then(() => false, () => true)")
        assert blocked
        shown.errors.clear()


async def test_the_page_is_small_and_asks_nobody_else(browser: Browser) -> None:
    """All that it loads, until it is live, comes from the gateway it is on, and is less than 120 kB."""
    async with stage() as played, window(browser, "about:blank") as shown:
        asked: list[str] = []
        shown.page.on("request", lambda request: asked.append(request.url))
        await shown.page.goto(played.url)
        await call(shown, played)
        assert asked
        assert all(url.startswith(f"{played.url}/") for url in asked)
        sizes = "performance.getEntriesByType('resource').reduce((sum, it) => sum + it.decodedBodySize, 0)"
        page_bytes = "performance.getEntriesByType('navigation')[0].decodedBodySize"
        assert 40_000 < await shown.page.evaluate(f"{sizes} + {page_bytes}") < 120_000


NAMELESS = """() => {
  const wrong = [];
  const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id is there twice");
  if (document.documentElement.lang !== "en") wrong.push("the page has no language");
  for (const tag of ["main", "h1", "header"]) if (document.querySelectorAll(tag).length !== 1) wrong.push(`not one ${tag}`);
  for (const it of document.querySelectorAll("*")) {
    for (const name of ["aria-labelledby", "aria-describedby", "for"]) {
      for (const id of (it.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!ids.includes(id)) wrong.push(`${name}=${id}`);
    }
    if (it.tabIndex > 0) wrong.push(`tabindex ${it.tabIndex}`);
    const isHidden = it.closest("[aria-hidden=true]") !== null;
    if (it.tabIndex === 0 && isHidden && it.checkVisibility()) wrong.push(`${it.tagName} is reached and not told`);
    if (it.tagName === "svg" && !isHidden) wrong.push("a picture without words");
  }
  return wrong;
}"""


async def test_every_control_has_a_name(browser: Browser) -> None:
    """Before a call, in one and after one that failed: a name for each control, and nothing that points nowhere."""

    async def look() -> None:
        assert await shown.page.evaluate(NAMELESS) == []
        nameless = r'- (?:button|textbox|combobox|checkbox|meter|heading|region)(?! ").*'
        assert re.findall(nameless, await shown.find("body").aria_snapshot()) == []

    async with stage(access=KEYS) as played, window(browser, played.url) as shown:
        await shown.sees("#hint", "Paste a token")
        await look()
        await shown.find("#token").fill("minted")
        socket = await call(shown, played)
        await socket.say("talkpath.tool", call_id="t1", name="drive", arguments={"meters": 10})
        await socket.reply("r1", "Going forward.")
        await look()
        await socket.close(1011)
        await shown.state("failed")
        await look()


async def test_everything_can_be_done_with_the_keyboard(browser: Browser) -> None:
    """Tab finds every control in the order in which it is seen; Enter calls, M mutes, Escape hangs up."""
    async with stage() as played, window(browser, played.url) as shown:
        page = shown.page
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        socket = await played.socket()
        await socket.begin()
        await socket.say("transcript.user", item_id="u1", text="go forward")
        await shown.sees(".line.you", "go forward")
        reached = []
        for _ in range(7):
            focused = "(it => it.id || it.tagName)(document.activeElement)"
            ring = "getComputedStyle(document.activeElement).outlineStyle"
            reached.append(await page.evaluate(focused))
            assert await page.evaluate(ring) == "solid", reached
            await page.keyboard.press("Tab")
        assert reached == ["start", "mute", "SUMMARY", "microphone", "lines", "text", "send"]
        await page.keyboard.press("m")
        await shown.sees("#state", "Live, muted")
        assert await shown.button("Unmute").get_attribute("aria-pressed") == "true"
        await shown.find("#text").focus()
        await page.keyboard.type("mm")
        assert await shown.button("Unmute").count() == 1, "a letter that is typed mutes nothing"
        await page.keyboard.press("Escape")
        await socket.until("session.end")
        await shown.sees("#hint", "You hung up")


async def test_what_is_typed_is_said_to_the_agent(browser: Browser) -> None:
    """Enter in the text field sends it; it stands in the conversation as written."""
    async with stage() as played, window(browser, played.url) as shown:
        socket = await call(shown, played)
        await shown.find("#text").fill("what are your opening hours")
        await shown.page.keyboard.press("Enter")
        asked = await socket.until("reply.create")
        assert asked["instructions"].startswith('The caller typed: "what are your opening hours"')
        await shown.sees(".line.you .words", "what are your opening hours")
        assert await shown.find("#text").input_value() == ""
        await socket.reply("r1", "From nine to six.")
        latency = await shown.sees(".line.agent .latency", "playback")
        assert "turn end" not in await latency.inner_text()


async def test_muting_sends_silence(browser: Browser) -> None:
    """The beeping microphone is heard, then silence at the same pace."""
    async with stage() as played, window(browser, played.url) as shown:
        socket = await call(shown, played)
        while not any(socket.sound):
            await socket.until("input.audio")
        await shown.button("Mute").click()
        await shown.sees("#state", "Live, muted")
        for _ in range(10):
            await socket.until("input.audio")
        begun = len(socket.sound)
        for _ in range(25):
            await socket.until("input.audio")
        assert not any(socket.sound[begun:])


async def test_a_screen_reader_is_told_what_happens(browser: Browser) -> None:
    """Controls have names and roles, lines are announced once, problems at once, meters have values."""
    async with stage() as played, window(browser, played.url) as shown:
        socket = await call(shown, played)
        await socket.say("transcript.user.delta", item_id="u1", text="go for")
        await shown.sees(".line.you", "go for")
        tree = await shown.find("body").aria_snapshot()
        for expected in (
            'heading "Talkpath playground" [level=1]',
            'button "Hang up Esc"',
            'button "Mute M"',
            'meter "You"',
            'meter "Agent"',
            'combobox "Microphone"',
            'checkbox "Cancel echo leave it on unless you wear headphones" [checked]',
            'list "Conversation"',
            'textbox "Write to the agent instead of speaking"',
        ):
            assert expected in tree
        status = shown.page.get_by_role("status")
        assert await status.get_attribute("aria-live") == "polite"
        assert "go for" not in await status.inner_text(), "half a sentence is not announced"
        await socket.say("transcript.user", item_id="u1", text="go forward")
        await shown.sees("#spoken", "You: go forward")
        await socket.reply("r1", "Going forward.")
        await shown.sees("#spoken", "Agent: Going forward.")
        await socket.say("session.error", code="llm_failed", message="the model did not answer")
        assert "The agent reported a problem" in await shown.page.get_by_role("alert").inner_text()


async def test_unheard_words_are_marked_for_ears_too(browser: Browser) -> None:
    """Struck words are a deletion, with words before them that say so."""
    async with stage() as played, window(browser, played.url) as shown:
        socket = await call(shown, played)
        await socket.words("r1", "We are open on Monday and on Tuesday")
        await socket.say("reply.audio", reply_id="r1", data="")
        await socket.play("r1", b"\0\x20" * 24 * 1500, lead_s=9)
        while (await socket.until("talkpath.played", reply_id="r1"))["ms"] < 700:
            pass
        await socket.say("talkpath.clear")
        cut = await shown.sees(".line.agent:has(del)", "you interrupted")
        assert re.search(r"deletion: .*Tuesday|- deletion", await cut.aria_snapshot())
        assert "Not heard:" in (await cut.locator(".words").text_content() or "")
        await shown.sees("#spoken", "Agent, interrupted: We are")


async def pale(shown: Window) -> list[str]:
    """The texts with too little contrast, in both themes."""
    found: list[str] = []
    for scheme in ("light", "dark"):
        await shown.page.emulate_media(color_scheme=scheme)
        found += await shown.page.evaluate(PALE)
    return found


async def test_colours_can_be_read(browser: Browser) -> None:
    """Every text has a contrast of at least 4.5 to what it stands on, in a call that shows nearly all there is."""
    async with stage() as played, window(browser, played.url, reduced_motion="reduce") as shown:
        assert not await pale(shown)
        socket = await call(shown, played)
        await socket.say("talkpath.agent", agent="rover", region="eu")
        await socket.say("transcript.user", item_id="u1", text="go forward")
        await socket.say("transcript.user.delta", item_id="u2", text="and then")
        await socket.say("talkpath.tool", call_id="t1", name="drive", arguments={"meters": 10})
        await socket.say("talkpath.tool", call_id="t1", outcome="error", result="no battery")
        await socket.say("talkpath.notice", message="the route keeps its own greeting")
        await socket.say("session.error", code="llm_failed", message="the model did not answer")
        await socket.words("r1", "We are open on Monday")
        await socket.play("r1", b"\0\x20" * 24 * 900, lead_s=9)
        await shown.sees(".latency", "playback")
        assert not await pale(shown)
        await socket.say("talkpath.clear")
        await shown.sees(".tag", "you interrupted")
        assert not await pale(shown)
        await socket.close(1011)
        await shown.state("failed")
        assert not await pale(shown)


PALE = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (it) => {
    for (; it; it = it.parentElement) { const c = parse(getComputedStyle(it).backgroundColor); if (c[3] === 255) return c; }
    return parse("white");
  };
  const pale = [];
  for (const it of document.querySelectorAll("body *")) {
    const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !it.checkVisibility() || it.closest(".unseen, option")) continue;
    const [one, other] = [light(parse(getComputedStyle(it).color)), light(behind(it))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < 4.5) pale.push(`${it.tagName}.${it.className} ${it.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return pale;
}"""


async def test_a_phone_has_room_for_everything(browser: Browser) -> None:
    """At 360 pixels nothing is cut off at the side, and the conversation has a third of the height or more."""
    size = {"width": 360, "height": 740}
    async with stage() as played, window(browser, played.url, viewport=size) as shown:
        socket = await call(shown, played)
        await socket.say("talkpath.agent", agent="customer-support", region="eu")
        await socket.reply(
            "r1", "https://example.com/a/very/long/address/that/does/not/break/by/itself is where it is."
        )
        await shown.sees(".line.agent", "is where it is.")
        wide = "document.scrollingElement.scrollWidth"
        assert await shown.page.evaluate(wide) == 360
        box = await shown.find("#lines").bounding_box()
        assert box
        assert box["height"] > 250


async def test_whoever_does_not_want_motion_gets_none(browser: Browser) -> None:
    """With reduced motion nothing turns and nothing slides."""
    async with stage() as played, window(browser, played.url, reduced_motion="reduce") as shown:
        await shown.button("Start call").click()
        await played.socket()
        await shown.state("connecting")
        still = "document.getAnimations().filter((it) => it.playState === 'running').length"
        assert await shown.page.evaluate(still) == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"is_local": False}, "Nobody may call this gateway from a browser"),
        ({"adapters": ()}, "takes no calls from browsers"),
        (
            {"server": ServerSettings(public_url="https://voice.example.com"), "is_local": False},
            "access.keys",
        ),
    ],
)
async def test_a_gateway_that_takes_no_calls_says_so_at_once(
    browser: Browser, given: dict[str, object], sentence: str
) -> None:
    """The button is off, and the page says what to configure."""
    async with stage(**given) as played, window(browser, played.url) as shown:  # type: ignore[arg-type]
        await shown.sees("#problem", sentence)
        assert await shown.button("Start call").is_disabled()


async def test_with_keys_the_page_asks_for_a_token(browser: Browser) -> None:
    """Without one it says what to run and shows where to put it; with one it calls, and forgets it."""
    async with stage(access=KEYS) as played, window(browser, played.url) as shown:
        await shown.sees("#hint", "Paste a token")
        await shown.button("Start call").click()
        await shown.sees("#problem", "talkpath token")
        assert await shown.page.evaluate("document.activeElement.id") == "token"
        await shown.find("#token").fill(" minted ")
        await shown.button("Start call").click()
        socket = await played.socket()
        assert socket.query == {"token": "minted"}
        assert await shown.find("#token").input_value() == ""
        await socket.begin()
        await shown.state("live")
