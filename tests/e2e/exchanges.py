"""Spoken exchanges with a gateway that nobody has configured, and with the example configuration."""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from command_line import Finished, gateway_process, talkpath
from live_gateway import live_gateway
from msgspec import Struct
from together import Outcomes, run_together

import gateway
from gateway.observers.transcript import TranscriptLine
from gateway.simulate import CallResult, CallScript, call_pcm
from gateway.simulate.voice import recording

ROOT = Path(gateway.__file__).parent.parent
RATES_HZ = (8000, 16000, 24000, 44100, 48000)
ENCODINGS = ("pcm_s16le", "pcm_mulaw", "pcm_alaw")
OFFLINE_CALLS = 8
"""Calls for which the offline agent listens at once; the default."""
BUILT_IN = "server: {port: 0, admin_port: 0}\n"
"""The built-in agent, route and adapters, on free ports."""


class Exchange(Struct, frozen=True):
    """A PCM call in this process."""

    result: CallResult
    lines: list[TranscriptLine]


class Seen(Struct, frozen=True):
    """Everything that was tried."""

    commands: Outcomes[Finished]
    """`talkpath call` and `talkpath demo`, by what they were."""
    matrix: Outcomes[Exchange]
    """By encoding and rate."""


def key(encoding: str, rate_hz: int) -> str:
    """Name of a format."""
    return f"{encoding} {rate_hz} Hz"


async def _call_command(folder: Path, *options: str) -> Finished:
    """`talkpath serve` and `talkpath call`, both in the same folder, each a process of its own."""
    with tempfile.TemporaryDirectory() as runtime:
        async with gateway_process(folder, runtime_folder=Path(runtime)) as served:
            return await talkpath(
                "call",
                served.url,
                *options,
                "--audio",
                "goforward.wav",
                "--json",
                folder=folder,
                runtime_folder=Path(runtime),
            )


async def _demo(folder: Path) -> Finished:
    return await talkpath("demo", folder=folder, runtime_folder=folder)


async def _matrix() -> Outcomes[Exchange]:
    async with live_gateway(BUILT_IN) as live:

        async def call(encoding: str, rate_hz: int) -> Exchange:
            callee = key(encoding, rate_hz)
            script = CallScript(utterances=(recording("goforward.wav"),))
            result = await call_pcm(
                live.url, encoding=encoding, rate_hz=rate_hz, callee=callee, script=script, events=True
            )
            await live.witness.ended(callee)
            return Exchange(result, live.witness.lines[callee])

        scenarios: dict[str, Callable[[], Awaitable[Exchange]]] = {
            key(encoding, rate_hz): partial(call, encoding, rate_hz)
            for rate_hz in RATES_HZ
            for encoding in ENCODINGS
        }
        return await run_together(scenarios, at_once=OFFLINE_CALLS)


async def exchange_everywhere(folder: Path) -> Seen:
    """All of it side by side."""
    empty = folder / "empty"
    empty.mkdir()
    commands: dict[str, Callable[[], Awaitable[Finished]]] = {
        "twilio": partial(_call_command, empty, "--as", "twilio"),
        "pcm": partial(_call_command, empty, "--as", "pcm"),
        "twilio from the repository": partial(_call_command, ROOT, "--as", "twilio"),
        "demo": partial(_demo, empty),
    }
    async with asyncio.TaskGroup() as group:
        first = group.create_task(run_together(commands))
        second = group.create_task(_matrix())
    return Seen(first.result(), second.result())


def printed(finished: Finished) -> Any:
    """The one JSON document that `talkpath call --json` prints."""
    return json.loads(finished.out)
