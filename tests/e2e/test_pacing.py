"""A burst of calls against a provider that admits so many sessions a minute: it refuses none of them."""

import asyncio
import contextlib
import resource

import aiohttp
from live_gateway import live_gateway

from gateway.audio import PCM_24K
from gateway.simulate.provider import Provider

CALLS = 150
ADMITTED = 100
CONFIGURATION = """
server: {{port: 0, admin_port: 0, close_s: 1}}
regions: {{here: {{voice_agent: "{url}"}}}}
agents:
  main: {{kind: voice_agent, region: here, api_key: k, fallback: sorry, ready_s: 60, {pace},
         session: {{greeting: Hello.}}}}
  sorry: {{kind: offline, script: apology, tools: [hang_up]}}
routes: [{{name: default, agent: main}}]
adapters: {{pcm: {{}}}}
"""
UNPACED = "sessions_per_minute: 100000, tries: 1"
PACED = "queue_s: 0.5"
"""The rate is the one that comes by default."""


async def first_sound(http: aiohttp.ClientSession, url: str) -> bool:
    """Call, listen to the first piece of sound, and leave; whether there was any."""
    address = url.replace("http", "ws", 1) + "/v1/ws/pcm?encoding=pcm_s16le&sample_rate=24000"
    async with http.ws_connect(address) as socket:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY and any(message.data):
                return True
    return False


async def burst(pace: str) -> tuple[int, int, int]:
    """How many callers heard somebody, how many sessions began, and how many were refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    async with (
        Provider(faults=[f"session-rate={ADMITTED}"], reply_audio=b"\x00\x20" * PCM_24K.rate_hz) as provider,
        live_gateway(CONFIGURATION.format(url=provider.url, pace=pace)) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            calls = [group.create_task(first_sound(http, gateway.url)) for _ in range(CALLS)]
        return sum(call.result() for call in calls), len(provider.sessions), provider.refused


async def test_a_burst_of_calls_is_no_burst_of_refusals() -> None:
    """As many sessions begin as the provider admits; callers whose turn would come too late hear the fallback at once."""
    assert await burst(PACED) == (CALLS, ADMITTED, 0)


async def test_without_a_pace_the_provider_refuses() -> None:
    """What the other test would see if nothing held the calls back."""
    _, _, refused = await burst(UNPACED)
    assert refused > 0
