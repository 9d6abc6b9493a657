"""The playground in Firefox, driven by its own WebDriver; its sound device is a mock that keeps time."""

from collections.abc import Callable

import numpy as np
from firefox import firefox
from stage import stage, tone

STATE = "document.querySelector('#status').dataset.state"


async def test_a_call_from_firefox(require: Callable[[str], str]) -> None:
    """It hears the microphone at its pitch, plays a reply to its end, falls silent when told to, and hangs up."""
    async with stage() as played, firefox(require("firefox-esr")) as browser:
        await browser.open(played.url)
        await browser.press("#start")
        socket = await played.socket()
        await socket.begin()
        await browser.until(f"{STATE} === 'live'")
        for _ in range(50):
            await socket.until("input.audio")
        hum = np.frombuffer(bytes(socket.sound[-24_000:]), "<i2").astype(float)
        spectrum = np.abs(np.fft.rfft(hum * np.hanning(len(hum))))
        assert abs(np.argmax(spectrum) * 24_000 / len(hum) - 1000) < 5, "its fake microphone hums at 1 kHz"
        await socket.reply("r1", "This was heard.", audio=tone(450))
        while (await socket.until("talkpath.played", reply_id="r1"))["ms"] < 450:
            pass
        await socket.words("r2", "This is not heard to its end.", each_ms=300)
        await socket.play("r2", tone(2100), lead_s=9)
        while (await socket.until("talkpath.played", reply_id="r2"))["ms"] < 500:
            pass
        await socket.say("talkpath.clear")
        await browser.until("document.querySelector('del')?.textContent.endsWith('to its end.')")
        assert await browser.find("document.querySelector('#problem').hidden")
        await browser.press("#start")
        await socket.until("session.end")
        await browser.until(f"{STATE} === 'ended'")
