"""Takes the pictures of the playground that stand in the documentation: a real call in Chromium, no network.

    python tests/web/screenshots.py        writes docs/images/playground-{light,dark,phone,failing}.png

The agent, the gateway and the browser are on this machine; the microphone is a recording. Needs Chromium, the extra
that hears, and looks best where the font Inter is installed.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("", "e2e", "web"))]

from browsing import CHROMIUM, Window, chromium, window, write_microphone  # noqa: E402 - our own folders come first
from live_gateway import live_gateway  # noqa: E402
from playwright.async_api import Browser, WebSocketRoute  # noqa: E402

from gateway.simulate.provider import Provider  # noqa: E402

IMAGES: Final = ROOT / "docs" / "images"
WIDE: Final = {"width": 1180, "height": 760}
PHONE: Final = {"width": 390, "height": 844}
CONFIGURATION: Final = """
server: {{port: 0, admin_port: 0}}
regions: {{frankfurt: {{voice_agent: "{url}"}}}}
agents:
  rover: {{kind: voice_agent, region: frankfurt, api_key: none, tools: [drive], session: {{greeting: "{greeting}"}}}}
routes: [{{name: demo, agent: rover}}]
adapters: {{browser: {{}}}}
"""
LIMIT_MS: Final = 40_000
GREETING: Final = "Hello, this is the rover. Tell me where to go."
SAID: Final = (5.5, "goforward", 6, "something", 3.4, "cards_001", 60)
FONTS: Final = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<include>/etc/fonts/fonts.conf</include>
<match target="pattern"><test qual="any" name="family"><string>sans-serif</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>
<match target="pattern"><test qual="any" name="family"><string>system-ui</string></test>
<edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match></fontconfig>"""


async def main() -> None:
    """Make one call and look at it from all sides, then let one fail."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fonts.conf").write_text(FONTS)
        os.environ["FONTCONFIG_FILE"] = str(folder / "fonts.conf")
        microphone = write_microphone(folder / "said.wav", *SAID)
        async with Provider() as provider:
            configuration = CONFIGURATION.format(url=provider.url, greeting=GREETING)
            async with (
                live_gateway(configuration) as gateway,
                chromium(CHROMIUM, microphone=microphone) as browser,
            ):
                await _live(browser, gateway.url)
                await _failing(browser, gateway.url)


async def _live(browser: Browser, url: str) -> None:
    async with window(browser, url, viewport=WIDE, device_scale_factor=2, color_scheme="light") as shown:
        shown.page.set_default_timeout(LIMIT_MS)
        await shown.button("Start call").click()
        await shown.sees(".line.agent .words", "Going forward")
        await shown.find(".line.agent:has(del)").wait_for()
        await shown.sees(".line.agent .words", "ten of clubs")
        await _picture(shown, "light")
        await shown.page.emulate_media(color_scheme="dark")
        await _picture(shown, "dark")
        await shown.page.emulate_media(color_scheme="light")
        await shown.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        await shown.page.evaluate("document.querySelector('#settings').open = false")
        await shown.page.evaluate("document.querySelector('#lines').scrollTop = 1e6")
        await _picture(shown, "phone")


async def _failing(browser: Browser, url: str) -> None:
    """The connection drops in the middle of a call, and the gateway has forgotten it when the page comes back."""
    sockets: list[WebSocketRoute] = []

    def connect(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if len(sockets) == 1:
            socket.connect_to_server()
        else:
            gone = '{"type": "session.error", "code": "session_not_found", "message": "Session not found or grace window has expired"}'
            socket.on_message(lambda _message: socket.send(gone))

    async with window(browser, "about:blank", viewport=WIDE, device_scale_factor=2) as shown:
        shown.page.set_default_timeout(LIMIT_MS)
        await shown.page.route_web_socket("**/v1/ws/browser*", connect)
        await shown.page.goto(url)
        await shown.button("Start call").click()
        await shown.sees(".line.agent .words", "Going forward")
        await shown.sees("#hint", "The agent listens.")
        await sockets[0].close(code=1001)
        await shown.state("failed")
        await _picture(shown, "failing")


async def _picture(shown: Window, name: str) -> None:
    await shown.page.screenshot(path=IMAGES / f"playground-{name}.png", animations="disabled")


if __name__ == "__main__":
    asyncio.run(main())
