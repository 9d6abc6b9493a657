"""An agent that counts: numbered sentences, numbered requests to a tool, and an account of all that it heard.

A server of the Voice Agent API written from its reference (2.2 to 2.8, 4 and 9). It hears the caller begin and end by
the loudness of numbered frames, keeps sessions whose connection broke, and takes a session over from the words in its
prompt, as a language model would: it goes on behind the last word that was heard.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from numbered import FRAME_BYTES, WORD_BYTES, WORD_MS, number_of, word_sound, word_text
from persona import Heard, Persona, Request, Said
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

CHUNK_BYTES = 300
LEAD_S = 0.11
VOICE_FRAMES = 5
"""Loud frames in a row after which the caller counts as speaking."""
PAUSE_FRAMES = 15
"""Quiet frames after which an utterance is over."""
THINKING_S = 0.3
"""From a tool's result to the reply with it."""
TOOL_LIMIT_S = 2.0
"""How long a result may take before the tool is asked for again."""
READY_S = 0.15
"""From `session.update` or `session.resume` to its answer."""
TOOL_TURN = 2
LAST_TURN = 3
"""Turns that a call has at least; the agent hangs up in the first one that began after every cut."""
WORD = re.compile(r"s(\d+)w(\d+)")


class Session:
    """One session of a persona: what the provider keeps for a while when the connection breaks."""

    def __init__(self, persona: Persona, number: int) -> None:
        self.persona = persona
        self.number = number
        self.session_id = f"sess_{persona.call}_{number}"
        self.account = Heard([])
        self._loop = asyncio.get_running_loop()
        self._socket: ServerConnection | None = None
        self._rest = b""
        self._loud: list[int] = []
        self._quiet = 0
        self._speaks = False
        self._turn_began_at = 0.0
        self._place = (0, 0)  # the next sentence, and word of it
        self._replies = 0
        self._speaking: asyncio.Task[None] | None = None
        self._reply_id = ""
        self._open: dict[str, float] = {}  # requests without a result, and since when it is waited for
        self._group: asyncio.TaskGroup | None = None
        self._detached = asyncio.Event()
        self._detached.set()

    # Its connections

    def begin(self, config: dict[str, Any]) -> None:
        """Take over from what the prompt says was heard."""
        words = [line for line in config.get("system_prompt", "").splitlines() if line.startswith("You: ")]
        places = [(int(s), int(w)) for line in words for s, w in WORD.findall(line)]
        if places:
            sentence, word = max(places)
            self._place = (sentence, word + 1) if word + 1 < self.persona.words else (sentence + 1, 0)

    async def greet(self) -> None:
        """Say the first sentence."""
        await self._speak()

    async def live(self, socket: ServerConnection, first: Callable[[], Any]) -> None:
        """Be connected until the connection ends."""
        await self._detach()
        self._socket = socket
        self._rest = b""
        self._detached.clear()
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await first()
                async for text in socket:
                    await self._take(json.loads(text))
            except ConnectionClosed:
                pass
            finally:
                self._stop()
                self._socket = self._group = None
                self._detached.set()

    async def _detach(self) -> None:
        """A session has one connection: the one that comes takes the place of one that may not know it is dead."""
        if self._socket is not None:
            self._socket.transport.abort()
        await self._detached.wait()

    async def resume(self) -> None:
        """Answer the one who has come back."""
        self.account.resumed_at.append(len(self.account.frames))
        ids = {"session_id": self.session_id, "resume_token": self.session_id}
        await self.send("session.ready", **ids, config={}, expires_at=0)
        for tool_call_id in self._open:
            self._open[tool_call_id] = self._loop.time()
            if self.persona.repeats_requests:
                await self._send_request(tool_call_id)

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event; into the void where the connection is gone."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(json.dumps({"type": kind, **fields, "timestamp": time.time()}))

    async def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "input.audio":
                await self._hear(base64.b64decode(message["audio"]))
            case "tool.result":
                self._take_result(message["call_id"], message["result"])
            case "reply.create":
                await self._go_on(message.get("instructions", ""))
            case "session.end":
                self._stop()
                await self.send("session.ended")
                assert self._socket is not None
                await self._socket.close()

    # Hearing

    async def _hear(self, audio: bytes) -> None:
        audio = self._rest + audio
        whole = len(audio) - len(audio) % FRAME_BYTES
        self._rest = audio[whole:]
        for at in range(0, whole, FRAME_BYTES):
            number, loud = number_of(audio[at : at + FRAME_BYTES])
            self.account.frames.append(number)
            self.account.zero_at = min(self.account.zero_at, self._loop.time() - number * 0.02)
            await self._listen(number, loud=loud)

    async def _listen(self, number: int, *, loud: bool) -> None:
        if loud:
            self._quiet = 0
            self._loud.append(number)
            if len(self._loud) == VOICE_FRAMES and not self._speaks:
                self._speaks = True
                self._turn_began_at = self._loop.time()
                await self._begin_turn()
            return
        self._quiet += 1
        if self._speaks and self._quiet == PAUSE_FRAMES:
            self._speaks = False
            turn, self._loud = self._loud, []
            await self._end_turn(turn)
        elif not self._speaks:
            self._loud = []

    async def _begin_turn(self) -> None:
        await self.send("input.speech.started")
        await self._break_off_reply()
        self.persona.reach("caller_speaks")

    async def _end_turn(self, frames: list[int]) -> None:
        persona = self.persona
        persona.turns.append(range(min(frames), max(frames) + 1))
        await self.send("input.speech.stopped")
        text = f"turn {len(persona.turns)}"
        await self.send("transcript.user", item_id=f"u{len(persona.turns)}", text=text)
        if self._wants_tool:
            await self._ask_tool()
        else:
            after_cuts = self._turn_began_at > persona.last_cut_at and not persona.more_cuts
            await self._speak(
                hang_up=len(persona.turns) >= LAST_TURN and after_cuts and 1 in persona.answered
            )

    # Speaking

    async def _break_off_reply(self) -> None:
        """Stop in the middle, and say so."""
        if self._speaking is not None:
            self._stop()
            await self.send("transcript.agent", reply_id=self._reply_id, text="", interrupted=True)
            await self.send("reply.done", reply_id=self._reply_id, status="interrupted")

    async def _speak(self, *, hang_up: bool = False) -> None:
        """Say the rest of the sentence in turn."""
        await self._break_off_reply()
        if self._group is None:
            return
        self._replies += 1
        self._reply_id = f"r{self.number}-{self._replies}"
        self._speaking = self._group.create_task(self._say(self._reply_id, hang_up=hang_up))

    async def _say(self, reply_id: str, *, hang_up: bool) -> None:
        (sentence, first), persona = self._place, self.persona
        self._place = (sentence + 1, 0)
        persona.said.append(Said(sentence, first, self._loop.time(), self.number, reply_id))
        sound = b"".join(word_sound(persona.call, sentence, word) for word in range(first, persona.words))
        try:
            await self._begin_reply(reply_id, sentence, first)
            if hang_up:
                await self.send("tool.call", call_id=f"hang-{reply_id}", name="hang_up", arguments={})
                persona.reach("hang_up")
            began = self._loop.time()
            for at in range(0, len(sound), CHUNK_BYTES):
                if not persona.burst:
                    await asyncio.sleep(max(0.0, began + at / 8000 - LEAD_S - self._loop.time()))
                await self.send(
                    "reply.audio",
                    reply_id=reply_id,
                    data=base64.b64encode(sound[at : at + CHUNK_BYTES]).decode(),
                )
                self._place = (sentence, min(persona.words, first + (at + CHUNK_BYTES) // WORD_BYTES))
            self._place = (sentence + 1, 0)
            text = " ".join(word_text(sentence, word) for word in range(first, persona.words))
            await self.send("transcript.agent", reply_id=reply_id, text=text, interrupted=False)
            await self.send("reply.done", reply_id=reply_id, status="completed")
            self._speaking = None
            persona.reach("tail")
            if self._group is not None:
                self._group.create_task(self._fall_silent(began))
        except ConnectionClosed:
            return

    async def _begin_reply(self, reply_id: str, sentence: int, first: int) -> None:
        await self.send("reply.started", reply_id=reply_id)
        for place, word in enumerate(range(first, self.persona.words)):
            text = word_text(sentence, word) + " "
            span = {"start_ms": place * WORD_MS, "end_ms": (place + 1) * WORD_MS}
            await self.send("transcript.agent.delta", reply_id=reply_id, delta=text, **span)
        self.persona.reach("streaming")

    async def _fall_silent(self, began: float) -> None:
        await asyncio.sleep(max(0.0, began + self.persona.words * WORD_MS / 1000 - self._loop.time()))
        self.persona.reach("between")

    def _stop(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None

    # Its tool

    @property
    def _wants_tool(self) -> bool:
        """Whether the one thing that this call needs is still to be asked for, or again."""
        overdue = [i for i, since in self._open.items() if self._loop.time() - since > TOOL_LIMIT_S]
        for tool_call_id in overdue:
            del self._open[tool_call_id]
        persona = self.persona
        return len(persona.turns) >= TOOL_TURN and 1 not in persona.answered and not self._open

    async def _ask_tool(self) -> None:
        persona = self.persona
        tool_call_id = f"call-{persona.call}-{len(persona.requests)}"
        persona.requests.append(Request(1, tool_call_id, self.number))
        self._open[tool_call_id] = self._loop.time()
        await self._send_request(tool_call_id)
        persona.reach("tool_pending")

    async def _send_request(self, tool_call_id: str) -> None:
        await self.send("tool.call", call_id=tool_call_id, name="count", arguments={"request": 1})

    def _take_result(self, tool_call_id: str, result: str) -> None:
        if self._open.pop(tool_call_id, None) is None:
            return  # a result nobody waits for is ignored (13.7)
        self.persona.answered[1] = result
        self.persona.reach("result_sent")
        if self._group is not None:
            self._group.create_task(self._answer_with_result())

    async def _answer_with_result(self) -> None:
        await asyncio.sleep(THINKING_S)
        await self._speak()

    async def _go_on(self, instructions: str) -> None:
        """Speak because the gateway asks for it; a wish of the caller that was never served comes first."""
        self.persona.asked.append((self.number, instructions))
        if "The tool count has answered" in instructions:
            self.persona.answered[1] = instructions
            self._open.clear()
        if self._wants_tool:
            await self._ask_tool()
        else:
            await self._speak()


class CountingAgents:
    """The server: one persona per path."""

    def __init__(self, personas: Iterable[Persona]) -> None:
        self.url = ""
        self._personas = {persona.call: persona for persona in personas}
        self._sessions: dict[str, Session] = {}

    def address(self, call: str) -> str:
        """Where the persona of a call is dialled."""
        return f"{self.url}/{call}"

    async def attend(self, socket: ServerConnection) -> None:
        """One connection."""
        assert socket.request is not None
        persona = self._personas[socket.request.path.rpartition("/")[2]]
        persona.reach("dialled")
        try:
            message = json.loads(await socket.recv())
            if message["type"] == "session.resume":
                await self._resume(socket, persona, message["session_id"])
            else:
                await self._begin(socket, persona, message["session"])
        except ConnectionClosed:
            return

    async def _begin(self, socket: ServerConnection, persona: Persona, config: dict[str, Any]) -> None:
        session = Session(persona, len(persona.sessions))
        persona.sessions.append(session.account)
        self._sessions[session.session_id] = session
        session.begin(config)

        async def answer() -> None:
            await asyncio.sleep(READY_S)
            ids = {"session_id": session.session_id, "config": config}
            await session.send("session.updated", config=config)
            await session.send("session.ready", **ids, expires_at=0, resume_token=session.session_id)
            if config.get("greeting"):
                await session.greet()

        await session.live(socket, answer)

    async def _resume(self, socket: ServerConnection, persona: Persona, session_id: str) -> None:
        persona.reach("resuming")
        await asyncio.sleep(READY_S)
        session = self._sessions.get(session_id)
        if session is None or not persona.accepts_resume:
            error = {"code": "session_not_found", "message": "Session not found or grace window has expired"}
            await socket.send(json.dumps({"type": "session.error", **error, "timestamp": time.time()}))
            await socket.wait_closed()  # the socket is left open: in-band, as it was seen live (2.7)
            return

        await session.live(socket, session.resume)


@asynccontextmanager
async def counting_agents(personas: Iterable[Persona]) -> AsyncIterator[CountingAgents]:
    """Serve all of them on a free port."""
    agents = CountingAgents(personas)
    async with serve(
        agents.attend, "127.0.0.1", 0, compression=None, max_size=1 << 20, ping_interval=None, close_timeout=1
    ) as server:
        agents.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/ws"
        yield agents
