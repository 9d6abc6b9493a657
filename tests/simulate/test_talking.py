"""Talking to an agent from the terminal: the client's session, without a screen."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from gateway.cli.printing import Output
from gateway.cli.talk import Screen
from gateway.simulate.provider import Provider
from gateway.simulate.talking import SILENCE, Talk, Unable


class Listener:
    """An ear that counts."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.flushed = 0

    def play(self, pcm: bytes) -> None:
        self.heard += pcm

    def flush(self) -> None:
        self.flushed += 1


class Person:
    """Somebody who types."""

    def __init__(self, url: str, credential: str = "key") -> None:
        self.ear = Listener()
        self.events: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self.talk = Talk(url, credential=credential, mouth=lambda: SILENCE, ear=self.ear, tell=self._note)

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._changed.set()

    async def sees(self, kind: str, text: str = "", times: int = 1) -> None:
        async with asyncio.timeout(30):
            while times > sum(
                event["type"] == kind and text in str(event.get("text", "")).lower() for event in self.events
            ):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def conversation(*faults: str, key: str | None = None) -> AsyncIterator[Person]:
    async with Provider(port=0, faults=list(faults), key=key) as provider:
        person = Person(provider.url)
        life = asyncio.ensure_future(person.talk.run())
        try:
            yield person
            await asyncio.wait_for(life, 30)
        finally:
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unable):
                await life


async def test_typed_words_are_answered() -> None:
    """What is typed is understood like what is said, the answer is heard, and the goodbye is orderly."""
    async with conversation() as person:
        await person.sees("transcript.agent")
        greeting = len(person.ear.heard)
        assert greeting > 24_000
        person.talk.type("what are your opening hours")
        await person.sees("transcript.agent", times=2)
        assert len(person.ear.heard) > greeting
        person.talk.end()
    assert person.events[-1]["type"] == "session.ended"


async def test_an_answer_that_does_not_end_is_given_up() -> None:
    """Words in turns wait for an answer only so long; then the goodbye comes."""
    async with Provider(port=0) as provider:
        events: list[dict[str, Any]] = []
        talk = Talk(
            provider.url, credential="key", mouth=lambda: SILENCE, ear=Listener(), tell=events.append,
            in_turns=True, answer_s=0.1,
        )  # fmt: skip
        talk.type("what are your opening hours")
        talk.end_after_answers()
        await asyncio.wait_for(talk.run(), 30)
    kinds = [event["type"] for event in events]
    assert "talk.said" in kinds
    assert "We are open" not in str(events)
    assert kinds[-1] == "session.ended"


async def test_a_dropped_socket_is_resumed() -> None:
    """When the socket drops the session goes on over another one, with the same id."""
    async with conversation("drop-after=1") as person:
        await person.sees("talk.lost")
        assert person.ear.flushed == 1
        await person.sees("session.ready", times=2)
        ids = [event["session_id"] for event in person.events if event["type"] == "session.ready"]
        assert ids[0] == ids[1]
        person.talk.end()


async def test_an_agent_that_was_interrupted_is_not_played_on() -> None:
    """What waits for the loudspeaker is dropped when a reply was cut off, and kept when it ended by itself."""

    async def interrupted(socket: ServerConnection) -> None:
        await socket.recv()
        for message in (
            {"type": "session.ready", "session_id": "s"},
            {"type": "reply.done", "reply_id": "r1", "status": "completed"},
            {"type": "reply.done", "reply_id": "r2", "status": "interrupted"},
            {"type": "session.ended"},
        ):
            await socket.send(json.dumps(message))

    async with serve(interrupted, "127.0.0.1", 0) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        person = Person(f"ws://{host}:{port}")
        await asyncio.wait_for(person.talk.run(), 30)
    ends = [event.get("status") for event in person.events if event["type"] == "reply.done"]
    assert ends == ["completed", "interrupted"]
    assert person.ear.flushed == 1


async def test_a_session_that_cannot_be_resumed_is_the_end() -> None:
    """A refused resume is told in a sentence, and not tried again."""
    async with Provider(port=0, faults=["drop-after=1", "refuse-resume"]) as provider:
        person = Person(provider.url)
        with pytest.raises(Unable, match="refused"):
            await asyncio.wait_for(person.talk.run(), 30)


async def test_a_refused_key() -> None:
    """A credential that is not accepted is told in a sentence."""
    async with Provider(port=0, key="right") as provider:
        person = Person(provider.url, credential="wrong")
        with pytest.raises(Unable):
            await asyncio.wait_for(person.talk.run(), 30)


async def test_nobody_there() -> None:
    """An address where nobody answers is told in a sentence."""
    with pytest.raises(Unable, match="nobody answers"):
        await Person("ws://127.0.0.1:9").talk.run()


@pytest.mark.parametrize("lines", [0, 1, 2])
async def test_a_session_that_the_other_side_ends_is_told(
    lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever typed learns that it is over, and how many lines nobody will answer."""

    async def attend(connection: ServerConnection) -> None:
        await connection.recv()
        for event in (
            '"session.ready","session_id":"s1"',
            '"reply.started","reply_id":"r1"',
            '"session.ended"',
        ):
            await connection.send(f'{{"type":{event}}}')

    screen = Screen(Output(soft_wrap=True), None, echoes=True)
    async with serve(attend, "127.0.0.1", 0, compression=None) as server, asyncio.timeout(10):
        port = next(iter(server.sockets)).getsockname()[1]
        talk = Talk(
            f"ws://127.0.0.1:{port}/v1/ws",
            credential="",
            mouth=lambda: SILENCE,
            ear=Listener(),
            tell=screen.show,
            in_turns=True,
        )
        for _ in range(lines):
            talk.type("hello")
        await talk.run()
    told = {0: "", 1: "; 1 line was not said", 2: "; 2 lines were not said"}[lines]
    assert capsys.readouterr().out.splitlines()[-1] == f"the other side ended the session{told}"
