"""Calls in which every byte is known beforehand, on both sides."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Literal
from unittest.mock import patch

import numpy as np
import trustme
from live_gateway import TOKEN, live_gateway
from msgspec import Struct
from network import Network
from sounds import noise
from together import Outcomes, run_together

from gateway.simulate import CallerFaults, CallResult, CallScript, Utterance, call_pcm, call_twilio
from gateway.simulate.provider import Provider, Record

TWILIO, TWILIO_BURST, ODD_SIZES, PCM_24K = "twilio", "twilio-burst", "odd-sizes", "pcm-24k"
TWILIO_TLS, TWILIO_TLS_BURST = "twilio-tls", "twilio-tls-burst"
LINES = (TWILIO, TWILIO_BURST, ODD_SIZES, PCM_24K, TWILIO_TLS, TWILIO_TLS_BURST)
LEAD_IN_S = 0.2
TAIL_S = 1.0
PIECE_S = 2.0
CONFIGURATION = """
server: {{port: 0, admin_port: 0}}
regions: {{{regions}}}
agents:
{agents}
routes:
{routes}
adapters: {{twilio: {{auth_token: {token}}}, pcm: {{}}}}
"""


class Exact(Struct, frozen=True):
    """One call and what both ends have of it."""

    result: CallResult
    """The caller's end."""
    session: Record
    """The agent's end."""
    said: bytes
    """What the agent said."""


def believed_here(stack: AsyncExitStack) -> ssl.SSLContext:
    """Certify agents on this machine; for now, this process believes nobody else."""
    authority = trustme.CA()
    believes = ssl.create_default_context()
    authority.configure_trust(believes)
    stack.enter_context(patch("aiohttp.connector._SSL_CONTEXT_VERIFIED", believes))
    shows = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(shows)
    return shows


def _voice(seconds: float, seed: int, rate_hz: int = 8000) -> bytes:
    """16-bit noise for the caller to say."""
    samples = np.random.default_rng(seed).integers(-12_000, 12_000, int(seconds * rate_hz), np.int16)
    return samples.astype("<i2").tobytes()


async def exact_calls(seconds: float, lines: tuple[str, ...] = LINES) -> Outcomes[Exact]:
    """Both sides speak for so long at the same time, and the agent hears but does not mind."""
    async with AsyncExitStack() as stack:
        said: dict[str, bytes] = {}
        providers: dict[str, Provider] = {}
        urls: dict[str, str] = {}
        tls = believed_here(stack)
        for number, line in enumerate(lines):
            profile: Literal["realtime", "burst"] = "burst" if line.endswith("burst") else "realtime"
            sound = _voice(seconds, number, 24_000) if line == PCM_24K else noise(seconds, number)
            said[line] = sound
            providers[line] = await stack.enter_async_context(
                Provider(profile=profile, faults=["deaf"], reply_audio=sound)
            )
            urls[line] = providers[line].url
            if line in (TWILIO_TLS, TWILIO_TLS_BURST):
                urls[line] = (await stack.enter_async_context(Network(urls[line], tls))).url
        configuration = CONFIGURATION.format(
            regions=", ".join(f'{line}: {{voice_agent: "{url}"}}' for line, url in urls.items()),
            agents="\n".join(
                f"  {line}: {{kind: voice_agent, sessions_per_minute: 100000, region: {line}, api_key: none, session: {{greeting: Hello}}}}"
                for line in lines
            ),
            routes="\n".join(
                f'  - {{name: {line}, match: {{callee: ["{line}"]}}, agent: {line}}}' for line in lines
            ),
            token=TOKEN,
        )
        gateway = await stack.enter_async_context(live_gateway(configuration))

        async def call(line: str, number: int) -> Exact:
            rate_hz = 24_000 if line == PCM_24K else 8000
            # in short pieces: a simulated caller measures each of them when it begins
            voices = tuple(
                Utterance(
                    pcm=_voice(PIECE_S, 100 * number + place, rate_hz),
                    rate_hz=rate_hz,
                    at_s=LEAD_IN_S + place * PIECE_S,
                )
                for place in range(int(seconds / PIECE_S))
            )
            script = CallScript(utterances=voices, hang_up=False, max_s=seconds + TAIL_S)
            if line == PCM_24K:
                result = await call_pcm(gateway.url, rate_hz=rate_hz, callee=line, script=script)
            else:
                sizes = (37, 160, 1, 480, 333) if line == ODD_SIZES else ()
                result = await call_twilio(
                    gateway.url,
                    token=TOKEN,
                    caller=f"+1415555{number:04}",
                    callee=line,
                    script=script,
                    faults=CallerFaults(frame_bytes=sizes),
                )
            await gateway.witness.ended(line)
            (session,) = providers[line].sessions.values()
            return Exact(result, session, said[line])

        scenarios: dict[str, Callable[[], Awaitable[Exact]]] = {
            line: partial(call, line, number) for number, line in enumerate(lines)
        }
        return await run_together(scenarios, limit_s=seconds + 60)


def run_exact_calls(seconds: float, lines: tuple[str, ...] = LINES) -> Outcomes[Exact]:
    """The same, from where nothing runs yet."""
    return asyncio.run(exact_calls(seconds, lines))
