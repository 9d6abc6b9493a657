"""Fakes for tests of a running call: wires in memory, an agent that does what a test says, time that is skipped."""

import asyncio
import base64
import functools
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec

import msgspec

from gateway.adapters.pcm import PcmCodec, PcmSettings
from gateway.adapters.twilio import TwilioCodec
from gateway.adapters.twilio_http import TwilioSettings
from gateway.agents.voice_agent import VoiceAgentCodec
from gateway.agents.voice_agent_session import wire_audio
from gateway.commands import AnyCommand, Command, Play, SendAudio
from gateway.contracts import AgentCall, AgentKind, Codec, Local, ObserverKind, Parts, Plan, Route, Upgrade
from gateway.events import AnyEvent, CallerPressed, Event
from gateway.runtime.call import CallRunner
from gateway.runtime.dial import Dialler
from gateway.runtime.ears import Hear
from gateway.runtime.house import House
from gateway.runtime.legs import LegBounds, WireLeg
from gateway.runtime.plugins import Generation, build_parts
from gateway.runtime.store import MemoryStore
from gateway.runtime.toolbox import Toolbox
from gateway.settings import AgentSettings, LimitSettings, RouteSettings, Secret, ServerSettings, Settings
from gateway.tools import Tool

P = ParamSpec("P")
LOUD = b"\x00\x20\x00\xe0" * 4
"""Two samples of PCM that can be heard, a few times."""


# Time


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing else is to be done."""

    def __init__(self) -> None:
        self._virtual_s = 1000.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return self._virtual_s

    def skip(self, seconds: float) -> None:
        self._virtual_s += seconds


class _Skipping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("every task waits, and there is no timer that could wake one")
        if not ready and timeout:
            self._loop.skip(timeout)
        return ready


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a `VirtualLoop`; afterwards no task may be left."""

    @functools.wraps(test)
    def run(*given: P.args, **named: P.kwargs) -> None:
        async def checked() -> None:
            with no_task_left():
                await test(*given, **named)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(checked())

    return run


@contextmanager
def no_task_left() -> Iterator[None]:
    """See that whatever runs inside leaves no task behind."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before
    assert not left, left


async def until(condition: Callable[[], object], limit_s: float = 30.0) -> None:
    """Wait for a condition, within a limit."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


def soon() -> Awaitable[None]:
    """Let a moment pass, in which everything that is ready happens."""
    return asyncio.sleep(0.01)


async def passing(seconds: float) -> None:
    """Let time pass that costs nothing; only on a `VirtualLoop`."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    await asyncio.sleep(seconds)


# Wires


class MemoryWire:
    """A connection in memory: a test is the peer."""

    def __init__(self, *, answers_close: bool = True) -> None:
        self.close_code = 1006
        self.close_reason = ""
        self.sent: list[str | bytes] = []
        self.closed_with: int | None = None
        self.is_stuck = False
        self.is_clogged = False
        self.is_broken = False
        self._answers_close = answers_close
        self.hear: Hear | None = None
        self._incoming: deque[str | bytes] = deque()
        self._changed = asyncio.Event()
        self._is_gone = False

    # The peer's side

    def give(self, *messages: str | bytes | dict[str, Any]) -> None:
        for message in messages:
            text = msgspec.json.encode(message).decode() if isinstance(message, dict) else message
            self._incoming.append(text)
        self._changed.set()

    def hang_up(self, code: int = 1006) -> None:
        self.close_code, self._is_gone = code, True
        self._changed.set()

    def sound(self) -> bytes:
        """All binary messages."""
        return b"".join(message for message in self.sent if isinstance(message, bytes))

    def texts(self, kind: str) -> list[dict[str, Any]]:
        """All JSON messages of a kind."""
        read = [msgspec.json.decode(message) for message in self.sent if isinstance(message, str)]
        return [message for message in read if kind in (message.get("type"), message.get("event"))]

    # Our side

    async def receive(self) -> str | bytes | None:
        while not self._incoming:
            if self._is_gone:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._incoming.popleft()

    @property
    def takes_at_once(self) -> bool:
        return not (self.is_stuck or self.is_clogged) and type(self).send is MemoryWire.send

    def send_at_once(self, message: str | bytes) -> None:
        if self.is_broken:
            raise ConnectionResetError("broken")
        self.sent.append(message)

    async def send(self, message: str | bytes) -> None:
        if self.is_broken:
            raise ConnectionResetError("broken")
        while self.is_stuck:
            await asyncio.Event().wait()
        self.sent.append(message)

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - as the protocol says
        if self.closed_with is None:
            self.closed_with = code
            self._is_gone = True
            self._changed.set()
            if not self._answers_close:
                await asyncio.Event().wait()


class FakeAgent:
    """A session of an agent in this process; a test says what it does."""

    def __init__(self, *, ready: bool = True, ends: bool = True) -> None:
        self.close_code: int | None = None
        self.close_reason = ""
        self.received: list[dict[str, Any]] = []
        self.audio = bytearray()
        self.ended_at: float | None = None
        self.gone_at: float | None = None
        self._ready = ready
        self._ends = ends
        self._outbox: deque[str] = deque()
        self._changed = asyncio.Event()

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.received]

    def say(self, kind: str, **fields: Any) -> None:
        self.say_raw(msgspec.json.encode({"type": kind, **fields}).decode())

    def say_raw(self, text: str) -> None:
        self._outbox.append(text)
        self._changed.set()

    def speak(self, reply_id: str, audio: bytes, chunk_bytes: int = 0) -> None:
        """A whole reply at once."""
        self.say("reply.started", reply_id=reply_id)
        self.sound(reply_id, audio, chunk_bytes)
        self.say("reply.done", reply_id=reply_id, status="completed")

    def sound(self, reply_id: str, audio: bytes, chunk_bytes: int = 0) -> None:
        size = chunk_bytes or len(audio)
        for at in range(0, len(audio), size):
            data = base64.b64encode(audio[at : at + size]).decode()
            self.say_raw(f'{{"type":"reply.audio","reply_id":"{reply_id}","data":"{data}"}}')

    def drop(self, code: int = 1006) -> None:
        if self.close_code is None:
            self.close_code = code
        self._changed.set()

    async def receive(self, text: str) -> None:
        message = msgspec.json.decode(text)
        if message["type"] == "input.audio":
            self.audio += base64.b64decode(message["audio"])
            return
        self.received.append(message)
        if message["type"] in ("session.update", "session.resume") and self._ready:
            self._ready = False
            self.say("session.ready", session_id=message.get("session_id", "sess_1"), resume_token="t")
        if message["type"] == "session.end":
            self.ended_at = asyncio.get_running_loop().time()
            if self._ends:
                self.say("session.ended")
                self.drop(1000)

    def __aiter__(self) -> "FakeAgent":
        return self

    async def __anext__(self) -> str:
        while not self._outbox:
            if self.close_code is not None:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._outbox.popleft()

    async def disconnect(self) -> None:
        self.gone_at = self.gone_at or asyncio.get_running_loop().time()
        self.drop()


# The house


class Watcher:
    """An observer that keeps everything but sound."""

    def __init__(self, kinds: Iterable[type]) -> None:
        self.wants = tuple(kinds)
        self.seen: list[tuple[float, AnyEvent | AnyCommand]] = []
        self.closed = False

    def see(self, entry: Any) -> None:
        self.seen.append((entry.at, entry.item))

    def of(self, kind: type) -> list[Any]:
        return [item for _, item in self.seen if type(item) is kind]

    def close(self) -> None:
        self.closed = True


class Street:
    """One house with agents in memory, and the calls in it."""

    def __init__(
        self,
        *agents: FakeAgent,
        plan: Callable[[AgentCall], Plan] | None = None,
        tools: Iterable[Tool] = (),
        observers: Iterable[ObserverKind] = (),
        **sections: Any,
    ) -> None:
        self.agents = list(agents)
        self.opened: list[FakeAgent] = []
        toolbox = {tool.name: tool for tool in tools}
        limits = {"call_s": 80_000.0, "silence_s": 80_000.0, **sections.pop("limits", {})}
        given: dict[str, Any] = {
            "agents": {"main": AgentSettings(kind="fake", tools=tuple(toolbox))},
            "routes": (RouteSettings(name="default", agent="main"),),
            "adapters": {"twilio": TwilioSettings(auth_token=(Secret("1"),)), "pcm": PcmSettings()},
            "server": ServerSettings(close_s=1),
            "limits": LimitSettings(**limits),
            **sections,
        }
        self.settings = Settings(**given)
        built = build_parts(self.settings)
        kinds = {
            **built.agents,
            "fake": AgentKind("fake", AgentSettings, plan or fake_plan, remote=plan is not None),
        }
        parts: Parts = msgspec.structs.replace(built, agents=kinds, tools=toolbox, observers=tuple(observers))
        self.toolbox = Toolbox()
        self.dialler = Dialler({"fake": self._connect})
        self.house = House(Generation(self.settings, parts), MemoryStore(), self.toolbox, self.dialler)

    def _connect(self, _options: Any) -> FakeAgent:
        agent = self.agents.pop(0) if self.agents else FakeAgent()
        self.opened.append(agent)
        return agent

    def runner(self) -> CallRunner:
        route = Route(self.settings.routes[0], tuple(self.settings.agents), "")
        return CallRunner("call_1", route, self.house)

    @property
    def agent(self) -> FakeAgent:
        """The newest agent that was opened."""
        return self.opened[-1]


def fake_plan(call: AgentCall) -> Local:
    return Local("fake", None, VoiceAgentCodec(call), wire_audio(call))


class PlainCodec:
    """Writes a command as its wire name, sound as it is; reads keys."""

    def decode(self, message: str | bytes) -> list[Event]:
        return [CallerPressed(str(message))]

    def encode(self, command: Command) -> list[str | bytes]:
        if isinstance(command, SendAudio | Play):
            return [command.audio]
        return [type(command).__name__]


def pcm_codec(query: str = "") -> PcmCodec:
    given = dict(pair.split("=") for pair in query.split("&") if pair)
    return PcmCodec(Upgrade("call_1", given), PcmSettings())


def twilio_codec() -> TwilioCodec:
    return TwilioCodec(Upgrade("call_1", carrier_call_id="CA1"), TwilioSettings(auth_token=(Secret("1"),)))


def caller_leg(wire: MemoryWire, codec: Codec, **bounds: float) -> WireLeg:
    return WireLeg(wire, codec, bounds=LegBounds(**{"close_s": 1.0, **bounds}))  # type: ignore[arg-type]


def twilio_media(stream: str, audio: bytes) -> dict[str, Any]:
    payload = base64.b64encode(audio).decode()
    return {"event": "media", "streamSid": stream, "media": {"track": "inbound", "payload": payload}}
