"""Chromium for tests: one window on a page, with a microphone that is a file, and with an ear at its loudspeaker."""

import base64
import re
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, async_playwright
from speech import speech

from gateway.audio import AudioFormat

MICROPHONE_FORMAT = AudioFormat("pcm16", 48_000)
LIMIT_MS = 30_000.0
CHROMIUM = "/usr/bin/chromium"

_EAR = """
// Hears what goes to the loudspeaker: a second wire from the playback worklet, into an array.
(() => {
  const heard = (window.__heard = { pieces: [], samples: 0, context: null, since: 0 });
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode && this instanceof AudioWorkletNode && this.numberOfInputs === 0) {
      // A worklet too, on the thread of the sound: what hears on that of the page misses what comes while it is busy.
      const ear = new AudioWorkletNode(this.context, "talkpath-capture", { channelCount: 1 });
      heard.context = this.context;
      heard.since = this.context.currentTime;
      ear.port.onmessage = ({ data }) => {
        const piece = new Int16Array(data.pcm);
        heard.pieces.push(piece);
        heard.samples += piece.length;
      };
      connect.call(this, ear);
      connect.call(ear, target);
      window.__ear = ear;
    }
    return connect.call(this, target, ...rest);
  };
})();
"""
_HEARD = """
() => {
  const { pieces, samples } = window.__heard;
  const all = new Int16Array(samples);
  let at = 0;
  for (const piece of pieces) { all.set(piece, at); at += piece.length; }
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}
"""


class Window:
    """A page, and everything that its console complains of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(LIMIT_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    async def sees(self, selector: str, text: str | re.Pattern[str]) -> Locator:
        """Wait until something on the page says this."""
        found = self.page.locator(selector).filter(has_text=text)
        await found.first.wait_for()
        return found.first

    async def state(self, name: str, limit_ms: float = LIMIT_MS) -> None:
        """Wait for a state of the call."""
        await self.page.locator(f'#status[data-state="{name}"]').wait_for(timeout=limit_ms)

    async def heard(self) -> bytes:
        """Everything that went to the loudspeaker so far, at 24 kHz."""
        return base64.b64decode(await self.page.evaluate(_HEARD))


@asynccontextmanager
async def chromium(
    path: str, *more: str, microphone: Path | None = None, device: bool = True, allowed: bool = True
) -> AsyncIterator[Browser]:
    """A browser whose microphone is a file, or beeps; with ``allowed`` every page may use it."""
    arguments = [*more]
    if device:
        arguments.append("--use-fake-device-for-media-stream")
    if allowed:
        arguments.append("--use-fake-ui-for-media-stream")
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(
    browser: Browser, url: str, *, expects: str | None = None, script: str = "", **context: Any
) -> AsyncIterator[Window]:
    """Open a page; in the end its console has complained of nothing but ``expects``."""
    opened = await browser.new_context(**{"viewport": {"width": 1180, "height": 780}, **context})
    try:
        await opened.add_init_script(_EAR + script)
        shown = Window(await opened.new_page())
        await shown.page.goto(url)
        try:
            yield shown
        except Exception as error:
            error.add_note(f"the page said:\n{await shown.find('body').inner_text()}\n{shown.errors}")
            raise
        errors = [text for text in shown.errors if expects is None or not re.search(expects, text)]
        assert not errors
    finally:
        await opened.close()


def write_microphone(path: Path, *parts: str | float) -> Path:
    """Write what the microphone hears: recordings by name, and silence in seconds."""
    sound = b"".join(
        speech(part, MICROPHONE_FORMAT, 0)
        if isinstance(part, str)
        else MICROPHONE_FORMAT.silence(part * 1000)
        for part in parts
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_FORMAT.rate_hz)
        file.writeframes(sound)
    return path
