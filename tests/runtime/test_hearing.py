"""Hearing: the ends of speech, recognition through the telephone, workers that die."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import numpy as np
import pytest
from speech import SPOKEN, hearing_needed, speech

from gateway.audio import ALAW_8K, MULAW_8K, PCM_16K, PCM_24K, PCM_48K, AudioFormat
from gateway.runtime import hearing as hearing_module
from gateway.runtime.hearing import Ear, Hearing, SpeechBegan, SpeechEnded, how_to_add
from gateway.runtime.offline_script import read_script

pytestmark = hearing_needed
GRAMMAR = read_script().grammar


@pytest.fixture
async def hearing() -> AsyncIterator[Hearing]:
    async with Hearing().running(GRAMMAR) as running:
        yield running


def listen(ear: Ear, audio: bytes, frame_bytes: int) -> list[SpeechBegan | SpeechEnded]:
    return [
        event for at in range(0, len(audio), frame_bytes) for event in ear.feed(audio[at : at + frame_bytes])
    ]


async def test_people_are_understood_through_the_telephone(hearing: Hearing) -> None:
    """Every recorded command is one utterance in mu-law, and its words are found."""
    for name, words in SPOKEN.items():
        ear = hearing.open_ear(MULAW_8K)
        assert ear is not None
        events = listen(ear, speech(name, MULAW_8K), 160)
        hearing.close_ear()
        assert [type(event) for event in events] == [SpeechBegan, SpeechEnded], name
        assert isinstance(events[1], SpeechEnded)
        assert await hearing.recognise(events[1].pcm, GRAMMAR) == words


@pytest.mark.parametrize(
    "form", [PCM_16K, PCM_24K, PCM_48K, ALAW_8K], ids=lambda form: f"{form.encoding}-{form.rate_hz}"
)
async def test_every_format_is_heard(hearing: Hearing, form: AudioFormat) -> None:
    """The words are the same in every encoding and rate, and the times are those of the recording."""
    ear = Ear(form)
    began, ended = listen(ear, speech("goforward", form), form.frame_bytes(20))
    assert isinstance(began, SpeechBegan)
    assert isinstance(ended, SpeechEnded)
    assert 0.2 < began.at_s < 0.8
    assert 2.2 < ended.ended_s < 2.8
    assert await hearing.recognise(ended.pcm, GRAMMAR) == "go forward ten meters"


async def test_other_speech_is_rejected(hearing: Hearing) -> None:
    """A grammar that does not have the sentence finds nothing in it rather than something else."""
    grammar = "#JSGF V1.0;\ngrammar t;\npublic <phrase> = hello | goodbye | [please] hang up | stop;\n"
    for name in ("librivox_0890", "librivox_0920", "goforward"):
        assert await hearing.recognise(speech(name, PCM_16K, 0), grammar) is None


def test_silence_and_soft_noise_are_no_speech() -> None:
    """Neither digital silence nor a quiet line starts a turn."""
    noise = np.random.default_rng(7).normal(0, 20, 16000 * 3).astype(np.int16).tobytes()
    assert listen(Ear(PCM_16K), PCM_16K.silence(3000) + noise, 640) == []


def test_a_pause_shorter_than_the_delay_belongs_to_the_turn() -> None:
    """Two commands with a short gap are one utterance when the delay is longer than the gap, else two."""
    audio = speech("cards_001", PCM_16K, 300) + speech("cards_003", PCM_16K, 2500)
    ends = [
        sum(isinstance(event, SpeechEnded) for event in listen(Ear(PCM_16K, delay_s), audio, 640))
        for delay_s in (1.5, 0.3)
    ]
    assert ends == [1, 2]


def test_sound_that_stops_coming_is_taken_as_said() -> None:
    """Without any silence behind it an utterance can be finished by hand."""
    ear = Ear(PCM_16K)
    listen(ear, speech("goforward", PCM_16K, 0)[:60_000], 640)
    assert ear.speaking
    (ended,) = ear.finish()
    assert isinstance(ended, SpeechEnded)
    assert ear.finish() == []


async def test_a_killed_worker_is_replaced(hearing: Hearing) -> None:
    """An utterance is still understood when the process was killed before it."""
    pcm = speech("goforward", PCM_16K, 0)
    assert await hearing.recognise(pcm, GRAMMAR) == "go forward ten meters"
    process = hearing._workers[0]._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(process.wait(), 5)
    assert await hearing.recognise(pcm, GRAMMAR) == "go forward ten meters"


async def test_a_stuck_worker_is_given_up(hearing: Hearing) -> None:
    """A process that does not answer in time is replaced; the caller is not understood, and the next one is."""
    pcm = speech("goforward", PCM_16K, 0)
    await hearing.recognise(pcm, GRAMMAR)
    worker = hearing._workers[0]
    assert worker._process is not None
    stuck = worker._process.pid
    os.kill(stuck, signal.SIGSTOP)
    worker._timeout_s = 3
    assert await hearing.recognise(pcm, GRAMMAR) == "go forward ten meters"
    assert worker._process is not None
    assert worker._process.pid != stuck


async def test_a_word_that_nobody_can_hear_is_reported(
    hearing: Hearing, caplog: pytest.LogCaptureFixture
) -> None:
    """A script with a word outside the dictionary is named in the log and nothing is understood."""
    grammar = "#JSGF V1.0;\ngrammar t;\npublic <phrase> = xyzzyx;\n"
    assert await hearing.recognise(speech("goforward", PCM_16K, 0), grammar) is None
    assert "does not know xyzzyx" in caplog.text


async def test_no_more_sessions_hear_than_allowed() -> None:
    """Beyond the cap a session gets no ear, and one that ends makes room."""
    few = Hearing(sessions=1)
    assert few.open_ear(MULAW_8K) is not None
    assert few.open_ear(MULAW_8K) is None
    few.close_ear()
    assert few.open_ear(MULAW_8K) is not None


async def test_too_many_recognitions_are_not_queued() -> None:
    """Beyond the bounded queue an utterance is not understood at once."""
    async with Hearing(waiting=0).running() as full:
        assert await full.recognise(speech("goforward", PCM_16K, 0), GRAMMAR) is None


async def test_without_the_extra_nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is missing there are no ears, and the command that adds it is known."""
    monkeypatch.setattr(hearing_module, "available", lambda: False)
    async with Hearing().running(GRAMMAR) as deaf:
        assert not deaf.enabled
        assert deaf.open_ear(MULAW_8K) is None
    assert how_to_add() == "pip install 'talkpath[offline]'"
