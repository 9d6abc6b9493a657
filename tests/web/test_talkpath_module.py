"""The module beneath the page: used from another site, its sound, its words, its tools."""

import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web
from browsing import Window, chromium, window
from playwright.async_api import Browser
from stage import Socket, Stage, stage, tone

from gateway.commands import ReplyHeard
from gateway.events import AgentSaid
from gateway.words import ReplyWords

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE_HZ = 24_000
SITE = """<!doctype html><title>A shop</title><link rel="icon" href="data:,"><button>Call us</button><script type="module">
  import {{ Talkpath }} from "{gateway}/talkpath.js";
  window.told = [];
  window.tokens = 0;
  window.call = new Talkpath({{
    microphone: false,
    token: async () => `token-${{++window.tokens}}`,
    session: {{ greeting: "Hi." }},
    tools: {{
      price: {{ description: "Says what a thing costs.", run: ({{ thing }}) => ({{ thing, euros: 12 }}) }},
      broken: {{ description: "Fails.", run: () => {{ throw new Error("out of stock"); }} }},
    }},
  }});
  for (const name of ["state", "user", "tool", "problem", "agent"]) call.on(name, (it) => told.push([name, it]));
  document.querySelector("button").onclick = () => call.connect();
</script>"""
OF_ANOTHER_RATE = """
  // As in a browser that connects no microphone to a context of another rate than its own.
  const Native = AudioContext;
  window.AudioContext = class extends Native {
    constructor(given) { super({ ...given, sampleRate: given.sampleRate ?? 48000 }); }
    createMediaStreamSource(stream) {
      if (this.sampleRate !== 48000) throw new DOMException("different rates", "NotSupportedError");
      return super.createMediaStreamSource(stream);
    }
  };
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(require: Callable[[str], str]) -> AsyncIterator[Browser]:
    async with chromium(require("chromium")) as opened:
        yield opened


@asynccontextmanager
async def another_site(gateway: str) -> AsyncIterator[str]:
    """A page of another origin that uses the module."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=SITE.format(gateway=gateway), content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", page)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def talk(shown: Window, played: Stage) -> Socket:
    await shown.button("Start call").click()
    socket = await played.socket()
    await socket.begin()
    await shown.state("live")
    return socket


async def told(shown: Window, name: str, **fields: Any) -> dict[str, Any]:
    """Wait until a page of ours was told this."""
    found = "([name, fields]) => told.find(([n, it]) => n === name && Object.keys(fields).every((f) => it[f] === fields[f]))"
    handle = await shown.page.wait_for_function(found, arg=[name, fields])
    event: dict[str, Any] = (await handle.json_value())[1]
    return event


async def test_another_site_can_use_it(browser: Browser) -> None:
    """Imported from the gateway, it calls the gateway, with a token that the site fetches anew for each connection."""
    async with stage() as played, another_site(played.url) as site, window(browser, site) as shown:
        await shown.button("Call us").click()
        socket = await played.socket()
        assert socket.query == {"token": "token-1"}
        session = (await socket.until("session.update"))["session"]
        assert session["greeting"] == "Hi."
        assert [tool["name"] for tool in session["tools"]] == ["price", "broken"]
        await socket.ready()
        await told(shown, "state", state="live")
        socket.break_off()
        again = await played.socket()
        assert again.query == {"token": "token-2"}
        await again.until("session.resume", session_id="sess_1")
        await again.ready()
        await told(shown, "state", state="live", reason="resumed")
        await shown.page.evaluate("call.disconnect()")
        await again.until("session.end")
        await told(shown, "state", state="ended", reason="hung_up")


async def test_the_agent_can_call_functions_of_the_page(browser: Browser) -> None:
    """They answer, fail in words, and are not run again when the call is repeated after a reconnection."""
    async with stage() as played, another_site(played.url) as site, window(browser, site) as shown:
        await shown.button("Call us").click()
        socket = await played.socket()
        await socket.begin()
        await socket.say("tool.call", call_id="t1", name="price", arguments={"thing": "cake"})
        answer = await socket.until("tool.result", call_id="t1", is_error=False)
        assert json.loads(answer["result"]) == {"thing": "cake", "euros": 12}
        await socket.say("tool.call", call_id="t1", name="price", arguments={"thing": "cake"})
        assert (await socket.until("tool.result", call_id="t1"))["result"] == answer["result"]
        await socket.say("tool.call", call_id="t2", name="broken", arguments={})
        failure = await socket.until("tool.result", call_id="t2", is_error=True)
        assert json.loads(failure["result"]) == {"error": "out of stock"}
        runs = await shown.page.evaluate(
            "told.filter(([name, it]) => name === 'tool' && it.callId === 't1').length"
        )
        assert runs == 2, "running and done, once each"


NOTES_THE_CLEAR = """
  // On the clock of the sound, so that a page or a test that stands still for a while makes no difference.
  const Plain = WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        if (data.includes('"talkpath.clear"')) window.cleared = (__heard.context.currentTime - __heard.since) * 1000;
      });
    }
  };
"""


async def test_an_interruption_is_silent_at_once(browser: Browser) -> None:
    """A second of sound lies in the buffer; a tenth of a second after the clear nothing comes out any more."""
    async with stage() as played, window(browser, played.url, script=NOTES_THE_CLEAR) as shown:
        socket = await talk(shown, played)
        await socket.words("r1", "one two three four five six seven eight")
        await socket.play("r1", tone(4000), lead_s=9)
        while (await socket.until("talkpath.played", reply_id="r1"))["ms"] < 400:
            pass
        await socket.say("talkpath.clear")
        await shown.sees(".line.agent", "you interrupted")
        await socket.play("r1", tone(500), lead_s=9)
        await socket.reply("r2", "And on.", audio=b"\0" * 48 * 200)
        told = await socket.until("talkpath.played")
        while told["reply_id"] == "r1":
            stopped, told = told, await socket.until("talkpath.played")
        loud_ms = np.flatnonzero(np.abs(pieces_of(await shown.heard(), 5)).max(axis=1) > 300) * 5
        assert loud_ms[-1] - await shown.page.evaluate("cleared") < 100, "what came late was dropped too"
        assert stopped["ms"] < 3900
        assert abs(5 * len(loud_ms) - stopped["ms"]) < 40, "what it says was played is what was played"


def pieces_of(pcm: bytes, ms: int) -> Any:
    """The samples of 24 kHz sound, a row for each so many milliseconds."""
    samples = np.frombuffer(pcm, "<i2").astype(int)
    return samples[: len(samples) // (24 * ms) * 24 * ms].reshape(-1, 24 * ms)


COUNTS_THE_MICROPHONE = """
  window.spoken = 0;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    if (text.includes('"input.audio"')) window.spoken += 1;
    return send.call(this, text);
  };
"""


@pytest.mark.parametrize("script", ["", OF_ANOTHER_RATE], ids=["24 kHz", "48 kHz"])
async def test_sound_is_played_whole_at_every_rate_of_the_device(browser: Browser, script: str) -> None:
    """Sound that comes unevenly is played evenly, at its pitch, to its end, and the end is told to the millisecond."""
    async with stage() as played, window(browser, played.url, script=COUNTS_THE_MICROPHONE + script) as shown:
        socket = await talk(shown, played)
        await socket.words("r1", "Beep.")
        await socket.play("r1", tone(1200), lead_s=0.8, burst_ms=200)
        await socket.say("reply.done", reply_id="r1", status="completed")
        while (position := (await socket.until("talkpath.played", reply_id="r1"))["ms"]) < 1199:
            pass
        assert position == 1200
        assert await shown.page.evaluate("__heard.context.sampleRate") == (48_000 if script else RATE_HZ)
        wave = np.frombuffer(await shown.heard(), "<i2").astype(float)
        loud = np.flatnonzero(np.abs(wave) > 300)
        whole = wave[loud[0] : loud[-1]]
        assert abs(len(whole) / RATE_HZ - 1.2) < 0.02, "no gap in it, nothing missing"
        spectrum = np.abs(np.fft.rfft(whole * np.hanning(len(whole))))
        pitch_hz = np.argmax(spectrum) * RATE_HZ / len(whole)
        assert abs(pitch_hz - 440) < 3
        since = await shown.page.evaluate("[spoken, __heard.context.currentTime]")
        keeps = "([n, at]) => spoken - n > 50 && Math.abs((spoken - n) * 0.02 - (__heard.context.currentTime - at)) < 0.1"
        await shown.page.wait_for_function(keeps, arg=since)  # the microphone keeps its pace too


async def test_resampling_is_clean(browser: Browser) -> None:
    """A tone keeps its height to a tenth and comes out 70 dB above what is added; what cannot be kept is removed."""
    code = """async () => {
      const { Resampler } = await import("/talkpath-worklets.js");
      const told = [];
      for (const [from, to] of [[48000, 24000], [44100, 24000], [24000, 44100], [24000, 48000], [24000, 24000]]) {
        const resampler = new Resampler(from, to);
        const sine = new Float32Array(from / 2).map((_, at) => Math.sin((2 * Math.PI * 1000 * at) / from) / 2);
        const made = [];
        for (let at = 0; at < from / 2; at += 128) made.push(...resampler.push(sine.subarray(at, at + 128)));
        told.push({ to, made });
      }
      const high = new Float32Array(9600).map((_, at) => Math.sin((2 * Math.PI * 15000 * at) / 48000) / 2);
      return [told, [...new Resampler(48000, 24000).push(high)]];
    }"""
    async with stage() as played, window(browser, played.url) as shown:
        results, folded = await shown.page.evaluate(code)
    for result in results:
        made, rate_hz = np.array(result["made"]), result["to"]
        assert abs(len(made) - rate_hz / 2) < 64
        middle = made[1000:-1000]
        at = np.arange(len(middle)) * 2 * np.pi * 1000 / rate_hz
        basis = np.stack([np.sin(at), np.cos(at)], axis=1)
        found, *_ = np.linalg.lstsq(basis, middle, rcond=None)
        noise = middle - basis @ found
        assert 0.45 < np.hypot(*found) < 0.55
        assert 10 * np.log10(np.mean(middle**2) / max(1e-20, np.mean(noise**2))) > 70
    assert np.sqrt(np.mean(np.array(folded)[200:] ** 2)) < 0.001


SENTENCES = ["Hello, this is Talkpath.", "I would go somewhere, if you told me where and what.", "Yes."]


async def test_words_are_cut_where_the_gateway_cuts_them(browser: Browser) -> None:
    """For every place of an interruption, the page strikes out the words that the transcript calls unheard."""
    code = """async (cases) => {
      const { Reply } = await import("/talkpath-replies.js");
      return cases.map(({ deltas, heardMs, sentMs, silentMs }) => {
        const reply = new Reply("r1");
        reply.receivedMs = sentMs;
        reply.audibleFromMs = silentMs;
        for (const delta of deltas) reply.add(delta);
        reply.state = "speaking";
        reply.played(heardMs);
        reply.interrupt(heardMs);
        return [reply.heardText, reply.unheardText];
      });
    }"""
    cases, expected = [], []
    choices = itertools.product(SENTENCES, (True, False), (True, False), (0.0, 250.0), range(1, 12))
    for text, timed, spaced, silent_ms, heard in choices:
        words = text.split()
        sent_ms = 300.0 * len(words)
        heard_ms = sent_ms * heard / 12
        gateway = ReplyWords()
        deltas = []
        for place, word in enumerate(words):
            delta = f"{word} " if spaced else word
            start_ms, end_ms = (place * 300, place * 300 + 300) if timed else (None, None)
            deltas.append({"delta": delta, "start_ms": start_ms, "end_ms": end_ms})
            gateway.add(AgentSaid("r1", delta, False, start_ms=start_ms, end_ms=end_ms))
        cases.append({"deltas": deltas, "heardMs": heard_ms, "sentMs": sent_ms, "silentMs": silent_ms})
        fact = ReplyHeard("r1", sent_ms, heard_ms, sent_ms - heard_ms, True, True, silent_ms)
        expected.append([half.strip() for half in gateway.split_by(fact)])
    async with stage() as played, window(browser, played.url) as shown:
        assert await shown.page.evaluate(code, cases) == expected
