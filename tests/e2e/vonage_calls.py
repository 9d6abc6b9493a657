"""Calls from Vonage at every rate, all at the same time: spoken ones by command, exact ones, and their ends."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from command_line import gateway_process, talkpath
from live_gateway import LiveGateway, Story, live_gateway
from msgspec import Struct
from together import Outcomes, run_together, until

from gateway.audio import PCM_24K, AudioFormat, convert
from gateway.events import EndingAsked
from gateway.simulate import (
    CallerFaults,
    CallResult,
    CallScript,
    Utterance,
    VonageCaller,
    VonageRest,
)
from gateway.simulate.provider import Provider
from gateway.simulate.vonage_rest import RestRequest

RATES_HZ = (8000, 16000, 24000)
BY_REST, IN_REGION, WITHOUT_REST, TRANSFERRED, CUT = (
    "by REST",
    "in a region",
    "without REST",
    "transferred",
    "cut",
)
SECRET = "the account's signature secret, for tests"
TARGET = "+14155550100"
LEAD_IN_S = 0.2
TAIL_S = 1.0
LEAD_S = 2.0
LATE_S = 30.0
"""How much longer a call may take on a busy machine."""
PIECE_S = 2.0
CUT_AT_S = 2.0
READING_S = 6.0
READING_SEED = 7
COMMAND = """
agents: {{one: {{kind: offline, session: {{greeting: Hello.}}, tools: [hang_up]}}}}
routes: [{{name: all, agent: one, dtmf: text}}]
adapters: {{vonage: {{signature_secret: "{secret}", rate_hz: {rate_hz}}}}}
records: {{path: records, transcripts: true}}
"""
LIVE = """
server: {{port: 0, admin_port: 0}}
regions: {{here: {{voice_agent: "{url}"}}}}
agents: {{one: {{kind: voice_agent, sessions_per_minute: 100000, region: here, api_key: none, session: {{greeting: Hello}}, tools: [hang_up]}}}}
routes: [{{name: all, agent: one, dtmf: text}}]
adapters: {{vonage: {{signature_secret: "{secret}", rate_hz: {rate_hz}{rest}}}}}
"""


Meanwhile = Callable[[LiveGateway, VonageCaller], Coroutine[Any, Any, None]]


class Spoken(Struct, frozen=True):
    """A spoken exchange between two processes."""

    code: int
    """Exit code of `talkpath call`."""
    report: dict[str, Any]
    """What it printed."""
    complaint: str
    """What it complained about."""
    journal: str
    """What the gateway kept of the call."""


class Exact(Struct, frozen=True):
    """A call in which every byte is known beforehand."""

    result: CallResult
    """The caller's end."""
    sent: bytes
    """The caller's sound, converted to 24 kHz as a whole."""
    arrived: bytes
    """What arrived of it at the agent; nothing when that was something else."""
    said: bytes
    """What the agent said, 24 kHz."""


class Ended(Struct, frozen=True):
    """A call that came to its end in some way."""

    result: CallResult
    story: Story
    requests: list[RestRequest]
    """What the carrier's REST interface was asked."""


class Seen(Struct, frozen=True):
    """Everything that was tried."""

    spoken: Outcomes[Spoken]
    """By rate."""
    exact: Outcomes[Exact]
    """By rate."""
    ended: Outcomes[Ended]
    """By the way it ended."""


async def _speak(rate_hz: int) -> Spoken:
    """`talkpath serve` and `talkpath call`: press a key, talk over its long answer, be understood, hang up."""
    with tempfile.TemporaryDirectory(prefix="talkpath-e2e-") as name:
        folder = Path(name)
        (folder / "gateway.yaml").write_text(COMMAND.format(secret=SECRET, rate_hz=rate_hz))
        said = ("--dtmf", "1", "--barge-in-after", "1", "--audio", "goforward.wav")
        async with gateway_process(folder) as served:
            finished = await talkpath(
                "call", served.url, "--as", "vonage", *said, "--json", folder=folder, runtime_folder=folder
            )
            records = folder / "records"
            await until(lambda: "call.ended" in _journal(records))
        report = json.loads(finished.out) if finished.out else {}
        return Spoken(finished.code, report, finished.err, _journal(records))


def _journal(records: Path) -> str:
    return "".join(path.read_text() for path in sorted(records.glob("*.jsonl")))


def noise(seconds: float, seed: int, rate_hz: int) -> bytes:
    """16-bit noise in which no two moments are alike."""
    samples = np.random.default_rng(seed).integers(-12_000, 12_000, int(seconds * rate_hz), np.int16)
    return samples.astype("<i2").tobytes()


async def exact_vonage_calls(seconds: float, opened: asyncio.Barrier | None = None) -> Outcomes[Exact]:
    """At each rate a call in which both sides speak at the same time; the agent hears but does not mind.

    ``opened`` keeps everybody from calling while others open what they need, which stops this process for a while.
    """
    said = noise(seconds, 1, 24_000)[:-14]  # no whole number of frames
    async with AsyncExitStack() as stack:
        whole = PCM_24K.frame_bytes((seconds + LATE_S) * 1000)
        provider = await stack.enter_async_context(
            Provider(faults=["deaf"], reply_audio=said, recorded_bytes=whole)
        )
        gateways = {
            rate_hz: await stack.enter_async_context(
                live_gateway(LIVE.format(url=provider.url, secret=SECRET, rate_hz=rate_hz, rest=""))
            )
            for rate_hz in RATES_HZ
        }
        calls = {
            str(rate_hz): partial(_exact, gateway, provider, said, rate_hz, seconds)
            for rate_hz, gateway in gateways.items()
        }
        if opened is not None:
            await opened.wait()
        return await run_together(calls, limit_s=seconds + LATE_S + 10)


async def _exact(
    gateway: LiveGateway, provider: Provider, said: bytes, rate_hz: int, seconds: float
) -> Exact:
    # in short pieces: a simulated caller measures each of them when it begins
    voices = tuple(
        Utterance(pcm=noise(PIECE_S, place, rate_hz), rate_hz=rate_hz, at_s=LEAD_IN_S + place * PIECE_S)
        for place in range(int(seconds / PIECE_S))
    )
    script = CallScript(utterances=voices, hang_up=False, max_s=seconds + LATE_S)
    caller = VonageCaller(gateway.url, secret=SECRET, caller=str(rate_hz), callee="15550100", script=script)
    size = len(expected(said, AudioFormat("pcm16", rate_hz)))
    async with asyncio.TaskGroup() as group:
        patience = group.create_task(_hang_up_after(caller, size))
        result = await caller.run()
        patience.cancel()
    await gateway.witness.ended("+15550100")
    back = convert(result.sent_audio, result.format, PCM_24K)
    mine = (bytes(one.audio) for one in provider.sessions.values())
    return Exact(result, back, next((one for one in mine if back.startswith(one[:9600])), b""), said)


async def _hang_up_after(caller: VonageCaller, size_bytes: int) -> None:
    """Hang up when so much has come and was played, however late a busy machine is with it."""
    seen = size = 0
    while size < size_bytes:
        await asyncio.sleep(0.1)
        fresh = caller.phone.result.messages[seen:]
        seen += len(fresh)
        size += sum(message.size_bytes for message in fresh if message.kind == "audio")
    await asyncio.sleep(LEAD_S + TAIL_S)
    caller.hang_up()


class _Carrier:
    """Gateways that end calls, with the carrier's REST interface configured or not."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._rest = VonageRest()
        self._key = ""

    async def open(self) -> None:
        """Begin to answer REST requests."""
        await self._stack.enter_async_context(self._rest)
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="talkpath-e2e-")))
        (folder / "vonage.pem").write_text(self._rest.private_key)
        self._key = str(folder / "vonage.pem")

    async def gateway(self, *, rest: bool = True, reply: bytes = b"") -> LiveGateway:
        """A gateway with an agent of its own; ``reply`` takes the place of what that says."""
        provider = await self._stack.enter_async_context(Provider(faults=["deaf"], reply_audio=reply))
        credentials = (
            f", application_id: {self._rest.application_id}, rest: '{self._rest.url}'"
            f", private_key_file: '{self._key}'"
        )
        configuration = LIVE.format(
            url=provider.url, secret=SECRET, rate_hz=16000, rest=credentials if rest else ""
        )
        return await self._stack.enter_async_context(live_gateway(configuration))

    async def call(
        self,
        gateway: LiveGateway,
        callee: str,
        script: CallScript,
        *,
        region: bool = False,
        faults: CallerFaults | None = None,
        meanwhile: Meanwhile | None = None,
    ) -> Ended:
        """One call to its end."""
        caller = VonageCaller(
            gateway.url,
            secret=SECRET,
            caller=callee,
            callee=callee,
            script=script,
            faults=faults,
            rest=self._rest,
            application_id=self._rest.application_id,
            region_url=self._rest.region_url if region else "",
        )
        async with asyncio.TaskGroup() as group:
            if meanwhile is not None:
                group.create_task(meanwhile(gateway, caller))
            result = await caller.run()
        story = await gateway.witness.ended(f"+{callee}", 20)
        requests = [one for one in self._rest.requests if one.path.endswith(caller.identity.call_uuid)]
        return Ended(result, story, requests)


async def _transfer(gateway: LiveGateway, caller: VonageCaller) -> None:
    """Once the greeting is heard, hand the caller over."""
    await until(lambda: bool(caller.phone.result.messages))
    call = gateway.registry.find_carrier("vonage", caller.identity.call_uuid)
    assert call is not None
    assert call.runner is not None
    call.runner.offer(EndingAsked("transfer", TARGET))


async def _end_everywhere(opened: asyncio.Barrier) -> Outcomes[Ended]:
    nine = CallScript(utterances=(Utterance(label="key 9", digits="9"),), hang_up=False, max_s=25.0)
    patient = CallScript(hang_up=False, max_s=25.0)
    listening = CallScript(hang_up=False, max_s=READING_S + 4)
    cut = CallerFaults(kill_socket_at_s=(CUT_AT_S,), sound_first=True)
    async with AsyncExitStack() as stack:
        carrier = _Carrier(stack)
        await carrier.open()
        with_rest, without = await carrier.gateway(), await carrier.gateway(rest=False)
        reading = await carrier.gateway(reply=noise(READING_S, READING_SEED, 24_000))
        await opened.wait()
        return await run_together(
            {
                BY_REST: lambda: carrier.call(with_rest, "15550101", nine),
                IN_REGION: lambda: carrier.call(with_rest, "15550102", nine, region=True),
                WITHOUT_REST: lambda: carrier.call(without, "15550103", nine),
                TRANSFERRED: lambda: carrier.call(with_rest, "15550104", patient, meanwhile=_transfer),
                CUT: lambda: carrier.call(reading, "15550105", listening, faults=cut),
            }
        )


async def vonage_everywhere(seconds: float) -> Seen:
    """All of it side by side."""
    spoken = {str(rate_hz): partial(_speak, rate_hz) for rate_hz in RATES_HZ}
    opened = asyncio.Barrier(2)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(run_together(spoken))
        second = group.create_task(exact_vonage_calls(seconds, opened))
        third = group.create_task(_end_everywhere(opened))
    return Seen(first.result(), second.result(), third.result())


def expected(said: bytes, audio: AudioFormat) -> bytes:
    """What Vonage must be sent of a reply: converted as a whole, in frames, the last one filled up with silence."""
    sound = convert(said, PCM_24K, audio)
    return sound + bytes(-len(sound) % audio.frame_bytes(20))
