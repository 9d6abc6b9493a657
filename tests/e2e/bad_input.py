"""Everything that a peer can do wrong, at the same time, while other calls go on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
from live_gateway import TOKEN, LiveGateway, live_gateway
from msgspec import Struct
from raw_sockets import RawSocket, invited, opened
from sounds import noise
from together import Outcomes, run_together, until

from gateway.simulate import CallResult, CallScript, Utterance, call_twilio
from gateway.simulate.provider import Provider
from gateway.simulate.voice import recording

FIRST_MESSAGE_S = 1.0
ERRORS = 10
"""Unreadable messages in a row after which a connection is closed; the default."""
READING = noise(9.0, seed=9)
UNDERSTOOD, READ = "+1900000001", "+1900000002"
"""The calls that go on."""
TOO_LONG = "x" * (1 << 20) + "x"
CONFIGURATION = """
server: {{port: 0, admin_port: 0, first_message_s: {first_message_s}}}
regions: {{one: {{voice_agent: "{one}"}}, reader: {{voice_agent: "{reader}"}}}}
agents:
  one: {{kind: voice_agent, sessions_per_minute: 100000, region: one, api_key: none, session: {{greeting: "Hello."}}, tools: [drive]}}
  reader: {{kind: voice_agent, sessions_per_minute: 100000, region: reader, api_key: none, session: {{greeting: "Hello."}}}}
routes:
  - {{name: reader, match: {{callee: ["{read}"]}}, agent: reader}}
  - {{name: all, agent: one}}
adapters: {{twilio: {{auth_token: {token}}}, pcm: {{}}}}
limits: {{return_s: 2}}
access: {{token_s: 5}}
"""


class Closed(Struct, frozen=True):
    """How a bad peer was dealt with."""

    code: int
    """WebSocket close code or HTTP status; 0 while the connection is still good."""
    reason: str
    """The sentence that came with it."""
    texts: list[str] = []
    """What was said on the socket before."""
    counted: int = 0
    """Unreadable messages that its leg counted."""


class Seen(Struct):
    """What came of it all."""

    bad: Outcomes[Closed]
    good: Outcomes[CallResult]
    driven: int
    """How often the caller who goes on was understood."""
    alive: bool
    """Whether another call was taken afterwards."""
    left: int
    """Calls that were still there when all of it was over."""


Deed = Callable[[RawSocket, str], Awaitable[None]]


async def _flood(socket: RawSocket, call_sid: str, message: object) -> None:
    await socket.begin(call_sid)
    await socket.say(message, ERRORS)  # type: ignore[arg-type]


TWILIO_DEEDS: dict[str, Deed] = {
    "not JSON": lambda socket, sid: _flood(socket, sid, "this is not JSON"),
    "binary": lambda socket, sid: _flood(socket, sid, b"\x00" * 160),
    "a list": lambda socket, sid: _flood(socket, sid, "[1, 2, 3]"),
    "wrong type": lambda socket, sid: _flood(socket, sid, socket.media(payload=5)),
    "broken base64": lambda socket, sid: _flood(socket, sid, socket.media(payload="!!!")),
    "wrong stream id": lambda socket, sid: _flood(socket, sid, socket.media(streamSid="MZ" + "0" * 32)),
    "second start": lambda socket, sid: _flood(socket, sid, socket.start(sid)),
    "deep nesting": lambda socket, sid: _flood(socket, sid, "[" * 100_000),
    "audio before start": lambda socket, _sid: socket.say(socket.media(), ERRORS),
    "another call's id": lambda socket, _sid: socket.say(socket.start("CA" + "f" * 32), ERRORS),
    "wrong format": lambda socket, sid: socket.say(socket.start(sid, mediaFormat={"encoding": "audio/l16", "sampleRate": 16000, "channels": 1}), ERRORS),
    "ConversationRelay": lambda socket, _sid: socket.say({"type": "setup", "sessionId": "VX1"}, ERRORS),
    "too long": lambda socket, sid: _one(socket, sid, TOO_LONG),
}  # fmt: skip


async def _one(socket: RawSocket, call_sid: str, message: str) -> None:
    await socket.begin(call_sid)
    await socket.say(message)


class Trouble:
    """Makes trouble for one gateway."""

    def __init__(self, gateway: LiveGateway) -> None:
        self._gateway = gateway
        self._ws = gateway.url.replace("http", "ws")
        self._callers = 0

    async def twilio(self, deed: Deed) -> Closed:
        """An invited stream that does something wrong."""
        self._callers += 1
        one = await invited(self._gateway.url, f"+1700000{self._callers:04}", "+1900000003")
        async with opened(one.url, one.headers) as socket:
            async with asyncio.TaskGroup() as group:
                ending = group.create_task(socket.listen())
                await deed(socket, one.call_sid)
            code, reason = ending.result()
        greeting = ("media", "mark")  # which may have begun, where the trouble takes its time
        told = [str(text) for text in socket.texts if text.get("event") not in greeting]
        return Closed(code, reason, told)

    async def tolerated(self) -> Closed:
        """New kinds of messages, and fewer bad ones in a row than end a call, between good ones."""
        one = await invited(self._gateway.url, "+17000009999", "+1900000003")
        async with opened(one.url, one.headers) as socket:
            await socket.begin(one.call_sid)
            await socket.say({"event": "weather", "streamSid": socket.stream_sid}, 3 * ERRORS)
            for _ in range(3):
                await socket.say("this is not JSON", ERRORS - 1)
                await socket.say(socket.media())
            code, reason = await socket.listen(until="media")
            call = self._gateway.registry.find_carrier("twilio", one.call_sid)
            assert call is not None
            leg = call.runner._caller  # type: ignore[union-attr]
            await until(lambda: leg.wire_errors == 3 * (ERRORS - 1))
            await socket.say(socket.message("stop", stop={"callSid": one.call_sid}))
        return Closed(code, reason, counted=leg.wire_errors)

    async def silent_twilio(self) -> Closed:
        """An invited stream that opens and says nothing."""
        return await self.twilio(lambda _socket, _sid: asyncio.sleep(0))

    async def never_starts(self) -> Closed:
        """A stream that says hello and never starts."""
        hello = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return await self.twilio(lambda socket, _sid: socket.say(hello))

    async def spent_token(self) -> Closed:
        """A token that was used before."""
        one = await invited(self._gateway.url, "+17000008888", "+1900000003")
        async with opened(one.url, one.headers) as socket:
            await socket.begin(one.call_sid)
            status, text = await self._upgrade(one.url.replace("ws", "http", 1), one.headers)
            await socket.say(socket.message("stop", stop={"callSid": one.call_sid}))
        return Closed(status, text)

    async def pcm(self, query: str, *messages: str | bytes) -> Closed:
        """A PCM client that does something wrong."""
        return await self._say(f"/v1/ws/pcm{query}", *messages)

    async def stranger(self, *messages: str | bytes) -> Closed:
        """A client of no known kind."""
        return await self._say("/v1/ws", *messages)

    async def _say(self, path: str, *messages: str | bytes) -> Closed:
        async with opened(self._ws + path) as socket:
            async with asyncio.TaskGroup() as group:
                ending = group.create_task(socket.listen())
                for message in messages:
                    await socket.say(message)
            code, reason = ending.result()
        refusals = [text["message"] for text in socket.texts if text.get("type") == "session.error"]
        return Closed(code, reason, refusals)

    async def ask(self, method: str, path: str, **options: object) -> Closed:
        """A request that is not right."""
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self._gateway.url + path, **options) as answer,  # type: ignore[arg-type]
        ):
            return Closed(answer.status, await answer.text())

    async def upgrade(self, path: str, **headers: str) -> Closed:
        """An upgrade that is refused."""
        return Closed(*await self._upgrade(self._gateway.url + path, headers))

    async def _upgrade(self, url: str, headers: dict[str, str]) -> tuple[int, str]:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        async with aiohttp.ClientSession() as http, http.get(url, headers={**upgrade, **headers}) as answer:
            return answer.status, await answer.text()

    def deeds(self) -> dict[str, Callable[[], Awaitable[Closed]]]:
        """All of it, by name."""
        done: dict[str, Callable[[], Awaitable[Closed]]] = {
            f"twilio: {name}": partial(self.twilio, deed) for name, deed in TWILIO_DEEDS.items()
        }
        sound = b"\x00" * 640
        return done | {
            "twilio: tolerated": self.tolerated,
            "twilio: says nothing": self.silent_twilio,
            "twilio: never starts": self.never_starts,
            "twilio: spent token": self.spent_token,
            "twilio: unsigned": lambda: self.upgrade("/v1/ws/twilio/never-minted"),
            "pcm: not JSON": lambda: self.pcm("?events=1", sound, *["not JSON"] * ERRORS),
            "pcm: text without events": lambda: self.pcm("", sound, *['{"type": "hello"}'] * ERRORS),
            "pcm: too long": lambda: self.pcm("", sound, TOO_LONG.encode()),
            "pcm: says nothing": lambda: self.pcm("?events=1"),
            "pcm: unknown encoding": lambda: self.upgrade("/v1/ws/pcm?encoding=mp3"),
            "pcm: unknown rate": lambda: self.upgrade("/v1/ws/pcm?sample_rate=11025"),
            "unknown adapter": lambda: self.upgrade("/v1/ws/morse"),
            "stranger: garbage": lambda: self.stranger("hello", "hello"),
            "stranger: bare binary": lambda: self.stranger(sound, sound),
            "stranger: says nothing": self.stranger,
            "no upgrade": lambda: self.ask("GET", "/v1/ws/pcm"),
            "webhook: unsigned": lambda: self.ask("POST", "/twilio/voice", data={"CallSid": "CA1"}),
            "webhook: GET": lambda: self.ask("GET", "/twilio/voice"),
            "webhook: large": lambda: self.ask("POST", "/twilio/voice", data={"CallSid": "C" * 100_000}),
        }


async def make_trouble() -> Seen:
    """All of it, while two calls go on."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(Provider())
        reader = await stack.enter_async_context(Provider(reply_audio=READING))
        configuration = CONFIGURATION.format(
            first_message_s=FIRST_MESSAGE_S, one=one.url, reader=reader.url, read=READ, token=TOKEN
        )
        gateway = await stack.enter_async_context(live_gateway(configuration))
        scripts = {
            UNDERSTOOD: CallScript(utterances=(recording("goforward.wav"),)),
            READ: CallScript(utterances=(Utterance(at_s=60.0),), max_s=10.0, hang_up=False),
        }

        async def call(callee: str) -> CallResult:
            caller = callee.replace("+19", "+16")
            return await call_twilio(
                gateway.url, token=TOKEN, caller=caller, callee=callee, script=scripts[callee]
            )

        async with asyncio.TaskGroup() as group:
            good = group.create_task(run_together({callee: partial(call, callee) for callee in scripts}))
            bad = group.create_task(run_together(Trouble(gateway).deeds(), limit_s=15))
        again = await call_twilio(
            gateway.url, token=TOKEN, callee="+1900000009", script=CallScript(max_s=2.0, hang_up=False)
        )
        await until(lambda: len(gateway.registry.listing()) == 0, 40)
        return Seen(
            bad.result(),
            good.result(),
            driven=len(gateway.witness.driven.get(UNDERSTOOD, [])),
            alive=again.agent_was_heard,
            left=len(gateway.registry.listing()),
        )
