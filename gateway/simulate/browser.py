"""A simulated client of the Voice Agent API: a browser or an app that is written for the provider.

Owns the client's side of the reference (sections 2 to 5 and 9): base64 frames at real time, a loudspeaker that is
flushed when the agent is interrupted, tools that it answers itself, and the return within 30 s when its socket breaks.
It complains of whatever the live service would not send. With ``ours`` it also reads and sends our own events; without,
it is the client of another house, to which they mean nothing.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K, AudioFormat
from gateway.simulate.address import socket_address
from gateway.simulate.api_lines import event_line
from gateway.simulate.browser_judge import Judge
from gateway.simulate.browser_playback import PlayedReplies
from gateway.simulate.clock import Clock
from gateway.simulate.ear import Interval
from gateway.simulate.media_socket import MediaSocket, SocketError, open_socket
from gateway.simulate.phone import Observer, Phone, gap_note
from gateway.simulate.result import CallResult
from gateway.simulate.script import CallerFaults, CallScript

FORMATS: Final[dict[str, tuple[str, AudioFormat]]] = {
    "pcm_s16le": ("audio/pcm", PCM_24K),
    "pcm_mulaw": ("audio/pcmu", MULAW_8K),
    "pcm_alaw": ("audio/pcma", ALAW_8K),
}
PATH: Final = "/v1/ws/browser"
READY_WITHIN_S: Final = 60.0
"""A session may wait for its turn and for more than one try of its agent; a server that never answers ends the call."""
FAREWELL_S: Final = 5.0
RESUME_WITHIN_S: Final = 25.0
RESUME_TRIES: Final = 5
REPORT_EVERY: Final = 10
"""Frames between two reports of what was played."""
MOST_QUEUED_MS: Final = 1000.0
"""Sound ahead of the ear above which the delivery is not paced (13.7)."""

Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""A tool of the client: given the arguments, gives the result."""


class BrowserCaller:
    """One session of a client; `run` once."""

    def __init__(
        self,
        url: str,
        *,
        encoding: str = "pcm_s16le",
        session: Mapping[str, Any] | None = None,
        tools: Mapping[str, Answer] | None = None,
        ours: bool = True,
        key: str | None = None,
        token: str | None = None,
        caller: str | None = None,
        callee: str | None = None,
        script: CallScript | None = None,
        observer: Observer | None = None,
        faults: CallerFaults | None = None,
        clock: Clock | None = None,
    ) -> None:
        if encoding not in FORMATS:
            raise ValueError(f"{encoding!r} is no encoding of this dialect; use one of {', '.join(FORMATS)}")
        name, self._format = FORMATS[encoding]
        form = {"encoding": name, "sample_rate": self._format.rate_hz}
        given = dict(session or {})
        if "agent_id" not in given:
            for side in ("input", "output"):
                given[side] = {**given.get(side, {}), "type": "audio", "format": form}
        self._session = given
        query = {"token": token, "caller": caller, "callee": callee}
        self._url = socket_address(url, PATH, {name: value for name, value in query.items() if value})
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._tools = tools or {}
        self._ours = ours
        self._script = script or CallScript()
        self._observer = observer
        self._faults = faults or CallerFaults()
        self._clock = clock or Clock()
        self._kills = list(self._faults.kill_socket_at_s)
        self._hang_up_reason: str | None = None
        self._given_up = False
        self._interrupted = asyncio.Event()
        self._ready = asyncio.Event()
        self._judge = Judge()
        self._played = PlayedReplies()
        self._socket: MediaSocket | None = None
        self._paced = True
        self.phone = Phone(self._format, self._script, self._clock.now(), observer)

    def hang_up(self, reason: str = "caller_hung_up") -> None:
        """End the session from the client's side, as soon as the flow can."""
        self._hang_up_reason = self._hang_up_reason or reason
        self._interrupted.set()

    async def run(self) -> CallResult:
        """Hold the session; gives what came of it, also when it was refused."""
        try:
            socket = await open_socket(self._url, self._headers, "talkpath-call")
        except SocketError as refused:
            self.phone.result.refused_status = refused.status
            return self.phone.finish(
                "refused" if refused.status else "failed", self._clock.now(), str(refused)
            )
        async with asyncio.TaskGroup() as group:
            talk = group.create_task(self._talk(socket))
            pacer = group.create_task(self._pace())
            patience = group.create_task(self._lose_patience())
            interruption = group.create_task(self._interrupted.wait())
            await asyncio.wait({talk, interruption}, return_when=asyncio.FIRST_COMPLETED)
            if not talk.done():
                await self._take_leave(talk)
            for task in (talk, pacer, patience, interruption):
                task.cancel()
        return self._finish()

    def _finish(self) -> CallResult:
        result, error = self.phone.result, self._judge.fatal
        if error is not None:
            reason = "refused" if not self._judge.session_id else "failed"
            return self.phone.finish(reason, self._clock.now(), f"{error['code']}: {error['message']}")
        if self._hang_up_reason is not None:
            return self.phone.finish(self._hang_up_reason, self._clock.now())
        if self._given_up:
            failure = f"the session was not ready within {READY_WITHIN_S:g} s"
            return self.phone.finish("failed", self._clock.now(), failure)
        if self._judge.ended:
            return self.phone.finish("agent_hung_up", self._clock.now())
        failure = (
            f"the socket was closed with {result.close_code}: {result.close_reason or 'no reason given'}"
        )
        return self.phone.finish("failed", self._clock.now(), failure)

    async def _lose_patience(self) -> None:
        await self._clock.sleep(READY_WITHIN_S)
        if not self._ready.is_set():
            self._given_up = True
            self._interrupted.set()

    def _answered(self, now: float) -> None:
        """The session is ready: the call's clock begins, and the person may speak."""
        before = self.phone.result
        self.phone = Phone(self._format, self._script, now, self._observer)
        result = self.phone.result
        result.events, result.messages, result.warnings = before.events, before.messages, before.warnings
        result.sockets = before.sockets
        self.phone.note("answered", "the session is ready", now)
        self._ready.set()

    # Sockets

    async def _talk(self, socket: MediaSocket) -> None:
        """Begin the session, go on with it over as many sockets as it takes, until it is over."""
        await self._say(socket, "session.update", session=self._session)
        while True:
            self._socket = socket
            self.phone.result.sockets += 1
            await self._read(socket)
            self._socket = None
            result = self.phone.result
            result.close_code, result.close_reason = socket.close_code, socket.close_reason
            if self._judge.ended and socket.close_code not in (1000, 1008):
                self._complain(f"closed with {socket.close_code} after session.ended")
            over = self._judge.ended or self._judge.fatal or self._hang_up_reason
            if over or not self._judge.session_id or (again := await self._return()) is None:
                return
            socket = again

    async def _return(self) -> MediaSocket | None:
        """Open another socket for the session, with its resume token; None when that cannot be done in time."""
        lost_at = self._clock.now()
        self.phone.lose_line(lost_at)
        self._played.forget()
        headers = {"Authorization": f"Bearer {self._judge.resume_token}"}
        for attempt in range(RESUME_TRIES):
            try:
                socket = await open_socket(self._url, headers, "talkpath-call")
            except SocketError:
                await self._clock.sleep(min(0.25 * 2**attempt, 5.0))
                if self._clock.now() - lost_at > RESUME_WITHIN_S:
                    return None
                continue
            self._judge.reconnect()
            await self._say(socket, "session.resume", session_id=self._judge.session_id)
            gap = Interval(self.phone.at_s(lost_at), self.phone.at_s(self._clock.now()))
            self.phone.result.socket_gaps.append(gap)
            self.phone.note("socket", gap_note(gap), self._clock.now())
            return socket
        return None

    async def _take_leave(self, talk: asyncio.Task[None]) -> None:
        socket = self._socket
        if socket is not None and not self._given_up and not self._faults.close_without_stop:
            await self._say(socket, "session.end")
            await asyncio.wait({talk}, timeout=FAREWELL_S)
            if not self._judge.ended:
                self._complain("session.end was not answered")
        if not talk.done() and socket is not None:
            await socket.close()
            await asyncio.wait({talk}, timeout=FAREWELL_S)

    # Sound out

    async def _pace(self) -> None:
        """Send one frame every 20 ms from `session.ready` on, until cancelled."""
        await self._ready.wait()
        count = 0
        while True:
            await self._clock.sleep_until(self.phone.next_frame_at)
            now = self._clock.now()
            tick = self.phone.tick(now)
            if (socket := self._socket) is not None and self._judge.ready:
                if await self._say(socket, "input.audio", audio=base64.b64encode(tick.audio).decode()):
                    self.phone.sent(tick.audio)
                count += 1
                if self._ours and count % REPORT_EVERY == 0:
                    await self._report(socket)
                if self._kills and self.phone.at_s(now) >= self._kills[0]:
                    self._kills.pop(0)
                    socket.kill()
            if (reason := self.phone.ending(now)) is not None:
                self.hang_up(reason)

    async def _report(self, socket: MediaSocket) -> None:
        for reply_id, ms in self._played.advance(self.phone.queued_ms):
            await self._say(socket, "talkpath.played", reply_id=reply_id, ms=round(ms, 1))

    async def _say(self, socket: MediaSocket, kind: str, **fields: Any) -> bool:
        return await socket.send(json.dumps({"type": kind, **fields}))

    # What comes in

    async def _read(self, socket: MediaSocket) -> None:
        async for message in socket.messages():
            try:
                event = json.loads(message)
            except ValueError:
                event = None
            if isinstance(message, bytes) or not isinstance(event, dict):
                self._complain("a message that is no JSON object in a text frame")
                continue
            await self._take(socket, event, message)
            if self._faults.read_every_s:
                await self._clock.sleep(self._faults.read_every_s)

    async def _take(self, socket: MediaSocket, event: dict[str, Any], text: str) -> None:
        now, kind = self._clock.now(), str(event.get("type"))
        for complaint in self._judge.see(event):
            self._complain(complaint)
        if self._judge.ready and not self._ready.is_set():
            self._answered(now)
        if kind == "reply.audio":
            self._hear(event, now)
            return
        self.phone.message(kind, text, now)
        self.phone.result.events.append(event)
        if (line := event_line(event)) is not None:
            self.phone.note("event", line, now)
        interrupted = kind == "reply.done" and event.get("status") == "interrupted"
        if interrupted or kind == "input.speech.started" or (self._ours and kind == "talkpath.clear"):
            self._flush(now)
        if kind == "tool.call":
            await self._run_tool(socket, event)

    def _hear(self, event: dict[str, Any], now: float) -> None:
        audio = base64.b64decode(event.get("data") or "")
        self.phone.hear(audio, now)
        self._played.queue(str(event.get("reply_id")), self._format.ms(len(audio)))
        if self._paced and self.phone.queued_ms > MOST_QUEUED_MS:
            self._paced = False
            self._complain(f"sound came {self.phone.queued_ms:.0f} ms ahead of when it is to be heard")

    def _flush(self, now: float) -> None:
        """Stop at once: what is queued will not be heard (2.3)."""
        self._played.advance(self.phone.queued_ms)
        self._played.clear()
        if self.phone.queued_ms > 0:
            self.phone.clear(now)

    async def _run_tool(self, socket: MediaSocket, event: dict[str, Any]) -> None:
        name, call_id = str(event.get("name")), event.get("call_id")
        answer = self._tools.get(name)
        if answer is None:
            self._complain(f"tool.call of {name}, which the client has not declared")
            return
        result = json.dumps(answer(event.get("arguments") or {}))
        await self._say(socket, "tool.result", call_id=call_id, result=result)

    def _complain(self, sentence: str) -> None:
        self.phone.warn(0, sentence, self._clock.now())
