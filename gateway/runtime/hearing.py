"""Hearing for the offline agent: where speech begins and ends, and which phrase it was.

Owns one `Ear` per session (end of speech, cheap, in the event loop) and the processes that recognise (dear, outside of
it). Refuses free speech: a closed grammar works on telephone audio and can say no. Without the extra it says how to
add it and nobody hears. Times are seconds of the session's own sound, counted from its first sample.
"""

import asyncio
import contextlib
import importlib.util
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from gateway.audio import PCM_16K, AudioFormat, Converter

_LOG: Final = logging.getLogger(__name__)
_LONGEST_UTTERANCE_S: Final = 20.0
_AIR_S: Final = 0.15
"""Sound kept around what was said. Less cuts words, more invites words into the noise (measured on real speech)."""


def available() -> bool:
    """Whether the extra that hears is installed."""
    return importlib.util.find_spec("pocketsphinx") is not None


def how_to_add() -> str:
    """The one command that adds hearing."""
    return "pip install 'talkpath[offline]'"


class SpeechBegan(msgspec.Struct, frozen=True):
    """The caller began to speak."""

    at_s: float
    """When, in the session's sound."""


class SpeechEnded(msgspec.Struct, frozen=True):
    """The caller has said something and been quiet since."""

    began_s: float
    ended_s: float
    pcm: bytes
    """What was said, PCM at 16 kHz, with a little air around it."""


class Ear:
    """Finds speech in one session's sound; feed it everything, in order, silence too."""

    def __init__(self, source: AudioFormat, commit_delay_s: float = 0.5) -> None:
        import pocketsphinx  # noqa: PLC0415 - the optional part

        self._endpointer: Any = pocketsphinx.Endpointer(sample_rate=PCM_16K.rate_hz)
        self._frame_bytes: int = self._endpointer.frame_bytes
        self._frame_s: float = self._endpointer.frame_length
        self._converter = Converter(source, PCM_16K)
        self._commit_delay_s = commit_delay_s
        self._rest = b""
        self._heard = bytearray()
        self._heard_from_s = 0.0
        self._now_s = 0.0
        self._began_s: float | None = None
        self._ended_s: float | None = None

    @property
    def speaking(self) -> bool:
        """Whether the caller's turn has begun and is not over."""
        return self._began_s is not None

    def feed(self, audio: bytes) -> list[SpeechBegan | SpeechEnded]:
        """Listen to some more sound; may find nothing, one thing or several."""
        self._rest += self._converter.feed(audio)
        found: list[SpeechBegan | SpeechEnded] = []
        size = self._frame_bytes
        whole = len(self._rest) - len(self._rest) % size
        for at in range(0, whole, size):
            found += self._frame(self._rest[at : at + size])
        self._rest = self._rest[whole:]
        return found

    def finish(self) -> list[SpeechBegan | SpeechEnded]:
        """No sound comes any more at the moment: take what there is as said."""
        return [self._commit(self._ended_s or self._now_s)] if self._began_s is not None else []

    def _frame(self, frame: bytes) -> list[SpeechBegan | SpeechEnded]:
        endpointer = self._endpointer
        was_speech = endpointer.in_speech
        endpointer.process(frame)
        self._heard += frame
        self._now_s += self._frame_s
        found: list[SpeechBegan | SpeechEnded] = []
        if endpointer.in_speech and not was_speech:
            self._ended_s = None
            if self._began_s is None:
                self._began_s = endpointer.speech_start
                found.append(SpeechBegan(endpointer.speech_start))
        if was_speech and not endpointer.in_speech:
            self._ended_s = endpointer.speech_end
        if self._began_s is None:
            self._forget(self._now_s - 1.0)
        elif self._ended_s is not None and self._now_s - self._ended_s >= self._commit_delay_s:
            found.append(self._commit(self._ended_s))
        elif self._now_s - self._began_s > _LONGEST_UTTERANCE_S:
            found.append(self._commit(self._now_s))
        return found

    def _commit(self, ended_s: float) -> SpeechEnded:
        began_s = self._began_s if self._began_s is not None else self._heard_from_s
        self._forget(began_s - _AIR_S)
        size = PCM_16K.frame_bytes((ended_s + _AIR_S - self._heard_from_s) * 1000)
        self._began_s = self._ended_s = None
        return SpeechEnded(began_s, ended_s, bytes(self._heard[:size]))

    def _forget(self, before_s: float) -> None:
        if before_s > self._heard_from_s:
            size = PCM_16K.frame_bytes((before_s - self._heard_from_s) * 1000)
            del self._heard[:size]
            self._heard_from_s += PCM_16K.ms(size) / 1000


class _WorkerLostError(Exception):
    """The process died, answered nonsense or took too long."""


class _Worker:
    """One recognising process, started when needed and replaced when lost."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it has loaded its model."""
        if self._process is not None and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.runtime.hearing_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal is for us alone
        )
        await self._read(self._process)

    async def ask(self, grammar: str, pcm: bytes) -> dict[str, Any]:
        """One recognition.

        Raises:
            _WorkerLostError: the process is gone; the next `ask` starts another.
        """
        try:
            await self.start()
            process = self._process
            if process is None or process.stdin is None:
                raise _WorkerLostError("it did not start")
            process.stdin.write(msgspec.json.encode({"grammar": grammar, "size": len(pcm)}) + b"\n" + pcm)
            async with asyncio.timeout(self._timeout_s):
                await process.stdin.drain()
            return await self._read(process)
        except (OSError, TimeoutError) as error:
            raise _WorkerLostError(str(error) or "it took too long") from error

    async def _read(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        if process.stdout is None:
            raise _WorkerLostError("it has no output")
        async with asyncio.timeout(self._timeout_s):
            line = await process.stdout.readline()
        if not line:
            raise _WorkerLostError("it ended")
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer

    async def stop(self) -> None:
        """End the process; safe at any time."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


class Hearing:
    """The ears of one process: at most ``sessions`` hear at once, ``workers`` processes recognise for all of them."""

    def __init__(
        self, *, sessions: int = 8, workers: int = 1, timeout_s: float = 10.0, waiting: int = 16
    ) -> None:
        """A recognition may take ``timeout_s``; beyond ``waiting`` of them, further ones are not understood."""
        self.enabled = available() and sessions > 0
        self._sessions = sessions
        self._hearing = 0
        self._waiting = 0
        self._most_waiting = waiting
        self._workers = [_Worker(timeout_s) for _ in range(workers if self.enabled else 0)]
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        for worker in self._workers:
            self._idle.put_nowait(worker)

    @asynccontextmanager
    async def running(self, grammar: str = "") -> AsyncIterator["Hearing"]:
        """Keep the workers for the length of a ``with``, warmed up with a grammar in the background."""
        try:
            async with asyncio.TaskGroup() as group:
                warm = group.create_task(self._warm_up(grammar))
                try:
                    yield self
                finally:
                    warm.cancel()
        finally:
            for worker in self._workers:
                await worker.stop()

    async def _warm_up(self, grammar: str) -> None:
        if grammar and self.enabled:
            await self.recognise(b"\x00" * PCM_16K.frame_bytes(300), grammar)

    def open_ear(self, source: AudioFormat, commit_delay_s: float = 0.5) -> Ear | None:
        """An ear for one session, or ``None`` when nobody hears here or too many do; give it back with `close_ear`."""
        if not self.enabled or self._hearing >= self._sessions:
            return None
        self._hearing += 1
        return Ear(source, commit_delay_s)

    def close_ear(self) -> None:
        """Give one ear back."""
        self._hearing -= 1

    async def recognise(self, pcm: bytes, grammar: str) -> str | None:
        """The phrase in an utterance (PCM at 16 kHz), or ``None`` when it fits none or nobody had time for it."""
        if not self.enabled or not grammar or self._waiting >= self._most_waiting:
            return None
        self._waiting += 1
        try:
            worker = await self._idle.get()
            try:
                return await self._recognise(worker, pcm, grammar)
            finally:
                self._idle.put_nowait(worker)
        finally:
            self._waiting -= 1

    async def _recognise(self, worker: _Worker, pcm: bytes, grammar: str) -> str | None:
        for _ in range(2):  # a process that died takes one utterance with it at most
            try:
                done = False
                answer = await worker.ask(grammar, pcm)
                done = True
            except _WorkerLostError as error:
                _LOG.warning("a recogniser was lost (%s); another is started", error)
                continue
            finally:
                if not done:  # also when cancelled: its answer would be taken for the next one's
                    await worker.stop()
            if problem := answer.get("problem"):
                _LOG.error("hearing: %s", problem)
            text = answer.get("text")
            return text if isinstance(text, str) else None
        return None
