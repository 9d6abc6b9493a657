"""Speaking: the voices of a machine, the shipped clips, and the limits on both."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from gateway.audio import PCM_24K, level_dbfs
from gateway.runtime.make_clips import shipped_scripts, wanted_clips
from gateway.runtime.speaking import (
    CLIPS,
    Clips,
    Engine,
    Speaking,
    clip_name,
    find_engine,
    read_clip,
    tone,
    write_mulaw_clip,
)


@pytest.mark.parametrize("engine", ["flite", "espeak-ng", "clips"])
async def test_each_voice_speaks(require: Callable[[str], str], engine: Engine) -> None:
    """A sentence becomes audible sound of about its length, whoever speaks it."""
    if engine != "clips":
        require(engine)
    sound = await Speaking(engine=engine).speak("Sorry, I did not understand that.")
    assert 1000 < PCM_24K.ms(len(sound)) < 4000
    assert level_dbfs(sound, PCM_24K) > -40


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("engine", ["flite", "espeak-ng"])
def test_synthesisers_speak_what_was_never_recorded(
    require: Callable[[str], str],
    tmp_path: Path,
    engine: Engine,
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A sentence without a clip is synthesised, on the event loop of the tests and on that of the gateway."""
    require(engine)
    with asyncio.Runner(loop_factory=loop) as runner:
        sound = runner.run(Speaking(engine=engine, clips=tmp_path).speak("There are seventeen loaves left."))
    assert PCM_24K.ms(len(sound)) > 1000


@pytest.mark.parametrize(
    "text", ["-o /tmp/x", "$(reboot); `ls` 'a", "--help", "a\x00b\nc", "", "…", "x" * 5000]
)
@pytest.mark.parametrize("engine", ["flite", "espeak-ng", "clips"])
async def test_any_text_is_only_spoken(require: Callable[[str], str], engine: Engine, text: str) -> None:
    """Options, shell signs, control characters and nothing at all are harmless, and never silent bytes."""
    if engine != "clips":
        require(engine)
    assert len(await Speaking(engine=engine, timeout_s=20).speak(text)) > 0


async def test_a_voice_that_fails_or_hangs_is_replaced_by_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is heard all the same, from the clips, within the time that is allowed."""
    clip = await Speaking(engine="clips").speak("All right.")
    for body in ("exit 3", "exec sleep 60", "printf nonsense"):
        voice = tmp_path / "flite"
        voice.write_text(f"#!/bin/sh\n{body}\n")
        voice.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert await Speaking(engine="flite", timeout_s=0.5).speak("All right.") == clip


async def test_what_was_said_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence is synthesised once while it is among the last ones said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    speaking = Speaking(engine="clips", cached=2)
    first = await speaking.speak("All right.")
    await speaking.speak("Are you still there?")
    assert await speaking.speak("All right.") is first
    await speaking.speak("I am still here.")
    assert list(speaking._cache) == ["All right.", "I am still here."]


def test_every_fixed_sentence_of_the_scripts_is_shipped() -> None:
    """The clips fit the scripts; run gateway.runtime.make_clips when this fails."""
    clips = Clips()
    assert [text for text in wanted_clips(shipped_scripts()) if clips.whole(text) is None] == []
    assert sum(path.stat().st_size for path in CLIPS.rglob("*.wav")) < 2_000_000


async def test_slots_are_put_together_from_pieces() -> None:
    """A sentence with slot values is as long as its words, not one tone."""
    clips = Clips()
    long = clips.spoken("Going forward ten meters.")
    assert PCM_24K.ms(len(long)) > 1500
    assert len(clips.spoken("I heard eight of spades four of clubs.")) > len(long)
    assert clips.spoken("xyzzy") == b""


def test_clips_are_named_by_their_words() -> None:
    """Punctuation and case do not matter; long sentences stay distinct."""
    assert clip_name("All right!") == clip_name("all RIGHT") == "all-right"
    names = {clip_name("word " * 30 + end) for end in ("a", "b")}
    assert len(names) == 2
    assert all(len(name) <= 48 for name in names)


def test_a_clip_survives_being_written() -> None:
    """mu-law in a WAV file is read back as its samples; anything else is refused in a sentence."""
    form, pcm = read_clip(write_mulaw_clip(b"\xff\x80\x00", 8000))
    assert form.rate_hz == 8000
    assert len(pcm) == 6
    assert len(tone(440, 100)) == 4800
    for data in (b"", b"RIFF\x00\x00\x00\x00WAVE", b"RIFF\x00\x00\x00\x00WAVEdata\xff\xff\xff\xff"):
        with pytest.raises(ValueError, match="convert it"):
            read_clip(data)


def test_the_best_voice_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine speaks with flite before espeak-ng before clips."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine() == "clips"
    for name in ("espeak-ng", "flite"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert find_engine() == name
