"""A person's side of a conversation over the Voice Agent API: sound and typed words in, sound and transcripts out.

Owns the session: opening it, sending sound at real time without a gap, resuming it when the socket drops, and when
to give up. Refuses microphones, loudspeakers and screens: it is given sources and told where things go.
Source: Voice Agent API reference, sections 2.7, 3 and 4.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from gateway.simulate.address import socket_address
from gateway.simulate.media_socket import MediaSocket, SocketError, open_socket

PATH: Final = "/v1/ws/browser"
RATE_HZ: Final = 24_000
FRAME_MS: Final = 20
FRAME_BYTES: Final = RATE_HZ * 2 * FRAME_MS // 1000
SILENCE: Final = bytes(FRAME_BYTES)
RESUME_WITHIN_S: Final = 30.0
"""How long the other side keeps a session whose socket has dropped (2.7)."""
FIRST_PAUSE_S: Final = 0.25
"""Before the first try to resume; each later pause is twice as long, up to `LONGEST_PAUSE_S` (2.7)."""
LONGEST_PAUSE_S: Final = 5.0
GOODBYE_S: Final = 5.0
"""How long the answer to the end of the session is waited for (3.3)."""
QUIET_S: Final = 1.0
"""How long nobody speaks before words that are said in turns go on: a greeting, or a second answer, may follow."""
ANSWER_S: Final = 60.0
"""How long the answer to words that are said in turns is waited for, and as long again until it is over."""
TYPED: Final = 'The caller typed: "{}". Answer that.'
FINAL_CODES: Final = frozenset({"session_not_found", "session_expired", "session_forbidden", "unauthorized"})
"""Refusals after which resuming again is of no use."""


class Ear(Protocol):
    """Where the agent's sound goes."""

    def play(self, pcm: bytes) -> None:
        """Play sound after what was given before: 16 bits, 24 kHz, one channel."""
        ...

    def flush(self) -> None:
        """Drop what has not been played: the agent was interrupted."""
        ...


class Unable(Exception):  # noqa: N818 - a fact, told in one sentence
    """The conversation cannot be had; one sentence that says why."""


class _Turns:
    """When the agent has done speaking, for words that are not to interrupt it."""

    def __init__(self, answer_s: float) -> None:
        self._answer_s = answer_s
        self._awaits_reply = False
        self._replies: set[str] = set()
        self._since = 0.0

    def note(self, event: dict[str, Any], now: float) -> None:
        """Take an event of the session into account."""
        match event.get("type"):
            case "session.ready":
                self._replies.clear()
                self._awaits_reply = False
            case "talk.said" | "tool.call":
                self._awaits_reply = True
            case "reply.started":
                self._replies.add(str(event.get("reply_id")))
                self._awaits_reply = False
            case "reply.done":
                self._replies.discard(str(event.get("reply_id")))
            case "session.error" | "error" | "reply.error":
                self._awaits_reply = False
            case _:
                return
        self._since = now

    def is_ours(self, now: float) -> bool:
        """Whether nobody speaks and nothing is to come; an answer that does not come, or not end, is given up."""
        if self._awaits_reply or self._replies:
            return now - self._since >= self._answer_s
        return now - self._since >= QUIET_S


class Talk:
    """One conversation; `run` once."""

    def __init__(
        self,
        url: str,
        *,
        credential: str,
        mouth: Callable[[], bytes],
        ear: Ear,
        tell: Callable[[dict[str, Any]], None],
        in_turns: bool = False,
        answer_s: float = ANSWER_S,
    ) -> None:
        """Prepare a conversation.

        Args:
            url: Of a gateway; with a path other than ``/``, of any server of the Voice Agent API.
            credential: A gateway key or a minted token; empty where none is needed.
            mouth: Gives the next 20 ms of the person's sound; silence counts (3.4).
            ear: Plays the agent's sound.
            tell: Is given each event that is not sound, and our own ``talk.*`` ones.
            in_turns: Whether typed words wait until the agent has done speaking; else they are said at once.
            answer_s: How long an answer is waited for then.

        Raises:
            ValueError: when the address cannot be one, in a sentence.
        """
        self._url = socket_address(url, PATH)
        self._credential = credential
        self._mouth = mouth
        self._ear = ear
        self._tell = tell
        self._typed: deque[str] = deque()
        self._session_id = self._resume_token = ""
        self._turns = _Turns(answer_s) if in_turns else None
        self._has_said = self._is_last = self._over = False
        self._ending = asyncio.Event()
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Talk until somebody ends it.

        Raises:
            Unable: when no session comes about, or a lost one cannot be resumed.
        """
        first = json.dumps({"type": "session.update", "session": {}})
        await self._converse(first, self._credential)
        while not self._over:
            await self._resume()

    def type(self, words: str) -> None:
        """Say something in writing."""
        self._has_said = True
        self._typed.append(words)

    def end_after_answers(self) -> None:
        """End the session once all that was typed has been answered, or at once where that is nothing."""
        self._is_last = True
        if not self._has_said or self._turns is None:
            self.end()

    def end(self) -> None:
        """End the session in the orderly way."""
        self._ending.set()

    async def _resume(self) -> None:
        """Come back to the session over another socket, in the time that the other side gives.

        Raises:
            Unable: when it does not.
        """
        if not self._session_id:
            raise Unable("the connection closed before the session had begun; look at the server's log")
        self._ear.flush()
        self._tell({"type": "talk.lost"})
        first = json.dumps({"type": "session.resume", "session_id": self._session_id})
        pause_s, loop = FIRST_PAUSE_S, asyncio.get_running_loop()
        until = loop.time() + RESUME_WITHIN_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                await self._converse(first, self._resume_token or self._credential)
            except SocketError as gone:
                if loop.time() + pause_s > until:
                    raise Unable(f"the connection was lost and did not come back: {gone}") from None
                continue
            return

    async def _converse(self, first: str, credential: str) -> None:
        """Talk over one socket until it is gone."""
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        try:
            socket = await open_socket(self._url, headers, "talkpath-talk")
        except SocketError as refused:
            if self._session_id:
                raise
            raise Unable(str(refused)) from None
        self._ready.clear()
        await socket.send(first)
        try:
            async with asyncio.TaskGroup() as group:
                speaking = group.create_task(self._speak(socket))
                ending = group.create_task(self._say_goodbye(socket))
                async for message in socket.messages():
                    self._hear(message)
                speaking.cancel()
                ending.cancel()
        except* Unable as group_of_one:
            raise group_of_one.exceptions[0] from None
        finally:
            socket.kill()

    async def _speak(self, socket: MediaSocket) -> None:
        """Send 20 ms of sound every 20 ms, on one clock."""
        await self._ready.wait()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._say_typed(socket, loop.time())
            audio = base64.b64encode(self._mouth()).decode()
            await socket.send(f'{{"type":"input.audio","audio":"{audio}"}}')
            due = max(due + FRAME_MS / 1000, loop.time() - 1)  # what a stall held up is not sent in one burst
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _say_typed(self, socket: MediaSocket, now: float) -> None:
        while self._typed and (self._turns is None or self._turns.is_ours(now)):
            words = self._typed[0]
            await socket.send(json.dumps({"type": "reply.create", "instructions": TYPED.format(words)}))
            self._typed.popleft()
            self._note({"type": "talk.said", "text": words})
        if self._is_last and not self._typed and self._turns is not None and self._turns.is_ours(now):
            self._ending.set()

    def _note(self, event: dict[str, Any]) -> None:
        if self._turns is not None:
            self._turns.note(event, asyncio.get_running_loop().time())
        self._tell(event)

    async def _say_goodbye(self, socket: MediaSocket) -> None:
        await self._ending.wait()
        self._over = True
        await socket.send('{"type":"session.end"}')
        await asyncio.sleep(GOODBYE_S)
        await socket.close()

    def _hear(self, message: str | bytes) -> None:
        event = json.loads(message)
        match event.get("type"):
            case "reply.audio":
                pcm = base64.b64decode(event["data"])
                self._tell({"type": "talk.sound", "reply_id": event.get("reply_id", ""), "pcm": pcm})
                self._ear.play(pcm)
                return
            case "session.ready":
                self._session_id = event.get("session_id") or self._session_id
                self._resume_token = event.get("resume_token") or self._resume_token
                self._ready.set()
            case "reply.done" if event.get("status") == "interrupted":
                self._ear.flush()
            case "session.ended":
                self._over = True
                if not self._ending.is_set():
                    self._note({"type": "talk.left", "unsaid": len(self._typed)})
            case "session.error" | "error" if event.get("code") in FINAL_CODES or not self._session_id:
                raise Unable(f"the server refused: {event.get('message') or event.get('code')}")
        self._note(event)
