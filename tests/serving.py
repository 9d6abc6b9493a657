"""A gateway on free ports for tests of the server: real HTTP, real adapters, a runner of few words."""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from gateway.adapters.pcm import PcmSettings
from gateway.adapters.twilio_http import TwilioSettings
from gateway.commands import Play
from gateway.contracts import AgentKind, Parts, Plan, Route
from gateway.events import (
    AnyEvent,
    CallerAudio,
    CallerLeft,
    CallInfo,
    CallStarted,
    EndingAsked,
    HostContacted,
    StopRequested,
)
from gateway.runtime.legs import WireLeg
from gateway.runtime.plugins import Generation, build_parts
from gateway.runtime.store import MemoryStore
from gateway.server.app import DOOR, Apps, build_app
from gateway.server.calls import CallRegistry
from gateway.settings import AgentSettings, RouteSettings, Secret, ServerSettings, Settings

TOKEN = "12345"
PUBLIC_URL = "https://voice.example.com"
LIMIT_S = 10.0


class Clock:
    """Time that passes when a test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class EchoRunner:
    """Sends the caller's audio back; ends when it is told that somebody left."""

    def __init__(self, call_id: str, route: Route) -> None:
        self.call_id = call_id
        self.route = route
        self.info: CallInfo | None = None
        self.phase = "WAITING"
        self.agent = route.agents[0]
        self.legs: list[WireLeg] = []
        self.offered: list[AnyEvent] = []
        self.heard: list[AnyEvent] = []
        self.stubborn = False
        self.contacts: list[tuple[float, HostContacted]] = []
        self._ended = asyncio.Event()

    async def run(self) -> None:
        await self._ended.wait()
        self.phase = "ENDED"
        for leg in self.legs:
            await leg.close()

    async def serve(self, leg: WireLeg) -> None:
        self.legs.append(leg)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(leg.write())
            await self._listen(leg)
            writer.cancel()
        self.legs.remove(leg)
        self.phase = "CALLER_LOST"
        if self.info and self.info.adapter == "pcm":  # its closing leaves
            self._ended.set()

    async def _listen(self, leg: WireLeg) -> None:
        async for event in leg:
            self.heard.append(event)
            if isinstance(event, CallStarted):
                self.info = event.info
                self.phase = "TALKING"
            if isinstance(event, CallerAudio):
                leg.post(Play("r1", event.audio))
            if isinstance(event, CallerLeft):
                self._ended.set()

    def offer(self, event: AnyEvent) -> None:
        self.offered.append(event)
        if isinstance(event, CallerLeft | StopRequested | EndingAsked) and not self.stubborn:
            self._ended.set()


def _no_plan(*_: object) -> Plan:
    raise AssertionError("no agent is opened here")


class House:
    """One gateway under test."""

    def __init__(self, apps: Apps, store: MemoryStore, clock: Clock, http: aiohttp.ClientSession) -> None:
        self.registry: CallRegistry = apps.registry
        self.apps = apps
        self.door = apps.public[DOOR]
        self.refused = self.door.refused
        self.store = store
        self.clock = clock
        self.http = http
        self.runners: list[EchoRunner] = []
        self.url = ""
        self.admin_url = ""

    def call_runner(self) -> EchoRunner:
        """The newest call's runner."""
        return self.runners[-1]

    async def webhook(
        self,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        origin: str = "",
        headers: Mapping[str, str] = {},
    ) -> aiohttp.ClientResponse:
        """Post what Twilio posts, signed for the origin."""
        fields = {"CallSid": "CA1", "From": "+14155555309", "To": "+33123456789", **(form or {})}
        signature = sign((origin or self.url) + path, fields)
        return await self.http.post(
            self.url + path, data=fields, headers={"X-Twilio-Signature": signature, **headers}
        )

    async def invited(self, form: Mapping[str, str] | None = None, path: str = "/twilio/voice") -> str:
        """Call in, and give the address of the media socket."""
        answer = await self.webhook(path, form)
        assert answer.status == 200
        return media_url(await answer.text())

    async def media(self, url: str, **headers: str) -> aiohttp.ClientWebSocketResponse:
        """Open a media socket as Twilio does."""
        return await self.http.ws_connect(url, headers={"X-Twilio-Signature": sign(url, {}), **headers})


def sign(url: str, fields: Mapping[str, str], token: str = TOKEN) -> str:
    """Twilio's signature, written from its documentation."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def media_url(twiml: str) -> str:
    """Address of the stream in a document."""
    found = re.search(r'<Stream[^>]* url="([^"]+)"', twiml)
    assert found, twiml
    return found.group(1)


def start_stream(call_sid: str = "CA1", stream_sid: str = "MZ1") -> list[str]:
    """The messages with which Twilio begins."""
    start: dict[str, Any] = {
        "accountSid": "AC1",
        "streamSid": stream_sid,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {},
    }
    messages = [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {"event": "start", "sequenceNumber": "1", "streamSid": stream_sid, "start": start},
    ]
    return [msgspec.json.encode(message).decode() for message in messages]


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, within a limit."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


def settings_of(**sections: Any) -> Settings:
    """Settings with one agent and a route to it."""
    given: dict[str, Any] = {
        "agents": {"house": AgentSettings(kind="silent")},
        "routes": (RouteSettings(name="default", agent="house"),),
        "adapters": {"twilio": TwilioSettings(auth_token=(Secret(TOKEN),)), "pcm": PcmSettings()},
        "server": ServerSettings(port=0, admin_port=0, close_s=1),
        **sections,
    }
    return Settings(**given)


def parts_of(settings: Settings) -> Parts:
    """Built-in parts, and a kind of agent that is never opened."""
    parts = build_parts(settings)
    kinds = {**parts.agents, "silent": AgentKind("silent", AgentSettings, _no_plan, remote=False)}
    return msgspec.structs.replace(parts, agents=kinds)


@asynccontextmanager
async def serving(
    settings: Settings | None = None, make_runner: Callable[[str, Route], EchoRunner] = EchoRunner
) -> AsyncIterator[House]:
    """Run a gateway on free ports."""
    settings = settings or settings_of()
    clock = Clock()
    store = MemoryStore(clock)
    runners: list[EchoRunner] = []

    def made(call_id: str, route: Route) -> EchoRunner:
        runners.append(make_runner(call_id, route))
        return runners[-1]

    apps = build_app(
        Generation(settings=settings, parts=parts_of(settings)),
        store=store,
        make_runner=made,
    )
    public = web.AppRunner(apps.public, access_log=None, shutdown_timeout=1)
    admin = web.AppRunner(apps.admin, access_log=None, shutdown_timeout=1)
    try:
        for runner in (public, admin):
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            house = House(apps, store, clock, http)
            house.runners = runners
            house.url = f"http://127.0.0.1:{public.addresses[0][1]}"
            house.admin_url = f"http://127.0.0.1:{admin.addresses[0][1]}"
            yield house
    finally:
        await public.cleanup()
        await admin.cleanup()


async def talk(house: House, query: str = "") -> aiohttp.ClientWebSocketResponse:
    """Begin a call over raw PCM."""
    socket = await house.http.ws_connect(f"{house.url}/v1/ws/pcm{query}")
    await socket.send_bytes(b"\x01\x02" * 160)
    return socket


async def closing(socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
    """Read until the close; give its code and reason."""
    while True:
        message = await socket.receive(timeout=LIMIT_S)
        if message.type is aiohttp.WSMsgType.CLOSE:
            return int(message.data), str(message.extra)


async def refused(house: House, path: str, **headers: str) -> tuple[int, str]:
    """Ask for an upgrade that is not given; status and sentence."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await house.http.get(house.url + path, headers={**upgrade, **headers})
    return answer.status, await answer.text()
