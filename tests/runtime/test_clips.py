"""Tests of the house's sounds: read, converted to a call's format, and read again when they change."""

import os
from pathlib import Path

import pytest

from gateway.audio import MULAW_8K, PCM_16K, PCM_44K, AudioFormat, level_dbfs, write_wav
from gateway.errors import ConfigError
from gateway.runtime.clips import BUILT_IN_CLIPS, load_clip, load_clips, why_unusable
from gateway.settings import AgentSettings


@pytest.mark.parametrize("audio_format", [MULAW_8K, PCM_16K, PCM_44K])
def test_every_agent_has_the_built_in_sounds(audio_format: AudioFormat) -> None:
    """Hold and apology can be heard in whatever format a call has, and are not long."""
    clips = load_clips(AgentSettings(kind="offline"), audio_format)
    assert clips.keys() == set(BUILT_IN_CLIPS)
    for audio in clips.values():
        assert 500 < audio_format.ms(len(audio)) < 30_000
        assert level_dbfs(audio, audio_format) > -50


def test_an_agents_own_sound_takes_the_place_of_the_built_in_one(tmp_path: Path) -> None:
    """100 ms at 16 kHz are 100 ms at 8 kHz mu-law; the other sound stays the built-in one."""
    path = tmp_path / "hold.wav"
    path.write_bytes(write_wav(b"\x00\x10" * 1600, 16000))
    clips = load_clips(AgentSettings(kind="offline", clips={"hold": str(path)}), MULAW_8K)
    assert MULAW_8K.ms(len(clips["hold"])) == pytest.approx(100, abs=2)
    assert clips["apology"] == load_clip("", "apology", MULAW_8K)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """Unchanged it comes from the cache."""
    path = tmp_path / "hold.wav"
    path.write_bytes(write_wav(b"\x00\x10" * 800, 8000))
    os.utime(path, (1, 1))
    first = load_clip(str(path), "hold", MULAW_8K)
    assert load_clip(str(path), "hold", MULAW_8K) is first
    path.write_bytes(write_wav(b"\x00\x10" * 1600, 8000))
    os.utime(path, (2, 2))
    assert len(load_clip(str(path), "hold", MULAW_8K)) == 2 * len(first)


def test_what_is_no_sound_says_so(tmp_path: Path) -> None:
    """Missing, no WAV, a folder: one sentence each."""
    (tmp_path / "text.wav").write_text("no sound")
    assert "cannot be read (No such file" in why_unusable(tmp_path / "none.wav")
    assert "not a WAV file" in why_unusable(tmp_path / "text.wav")
    assert "Is a directory" in why_unusable(tmp_path)
    with pytest.raises(ConfigError, match=r"clip hold .*: .*cannot be read"):
        load_clip(str(tmp_path / "none.wav"), "hold", MULAW_8K)
