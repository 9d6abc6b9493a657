"""A person calls from the playground: Chromium, a recorded voice as its microphone, a whole gateway, no network."""

import re
from collections.abc import Callable
from pathlib import Path

from browsing import chromium, window, write_microphone
from live_gateway import live_gateway
from speech import hearing_needed

from gateway.audio import PCM_16K, PCM_24K, convert
from gateway.commands import ReplyHeard
from gateway.runtime.hearing import Ear, Hearing, SpeechEnded

CONFIGURATION = """
server: {port: 0, admin_port: 0}
agents: {rover: {kind: offline, tools: [drive], session: {greeting: Hello.}}}
routes: [{name: demo, agent: rover}]
adapters: {browser: {}}
"""
LONG = "I would go somewhere and do something, if you told me where and what."
ANSWERS = "#JSGF V1.0;\ngrammar t;\npublic <p> = hello | going (forward|backward) (ten|five|two) meters | i heard ten of clubs;\n"


@hearing_needed
async def test_a_call_from_the_playground(require: Callable[[str], str], tmp_path: Path) -> None:
    """A recorded sentence is spoken, shown and answered aloud; an interruption strikes out what was not heard."""
    microphone = write_microphone(
        tmp_path / "said.wav", 2, "goforward", 4.8, "something", 2.8, "cards_001", 60
    )
    async with (
        live_gateway(CONFIGURATION) as gateway,
        chromium(require("chromium"), microphone=microphone) as browser,
        window(browser, gateway.url) as shown,
    ):
        await shown.button("Start call").click()
        await shown.state("live")
        await shown.sees(".line.you .words", "go forward ten meters")
        await shown.sees(".tool", re.compile(r"drive\(direction: \"forward\", meters: 10\)"))
        await shown.sees(".line.agent .words", "Going forward ten meters.")
        await shown.sees(".latency", re.compile(r"\d ms.*turn end \d+.*agent \d+.*playback \d+"))
        await shown.sees("#hint", "The agent listens.")
        assert "going forward ten meters" in await understood(await shown.heard())
        struck = await shown.sees(".line.agent:has(del)", "you interrupted")
        words = await struck.locator(".words").evaluate("(it) => it.firstChild.textContent.trim()")
        unheard = await struck.locator("del").inner_text()
        assert f"{words} {unheard}" == LONG
        assert words
        assert unheard
        await shown.page.keyboard.press("Escape")
        await shown.state("ended")
        story = await gateway.witness.ended("")
        assert story.tools_run[0] == "drive"
        assert all(fact.confirmed for fact in story.facts(ReplyHeard))
        (cut,) = [line for line in gateway.witness.lines[""] if line.interrupted]
        assert (cut.heard.strip(), cut.unheard.strip()) == (words, unheard)


async def understood(pcm: bytes) -> list[str]:
    """What can be made out of the sound that came from the loudspeaker."""
    sound = convert(pcm, PCM_24K, PCM_16K) + PCM_16K.silence(1000)
    ear = Ear(PCM_16K)
    utterances = [found for found in ear.feed(sound) if isinstance(found, SpeechEnded)]
    async with Hearing().running(ANSWERS) as hearing:
        return [await hearing.recognise(utterance.pcm, ANSWERS) or "" for utterance in utterances]
