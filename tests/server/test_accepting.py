"""Callers who come at the same moment are let in by the handful, however long the calls that there are make a turn."""

import asyncio
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.runtime.config import load_generation
from gateway.runtime.guard import Loop
from gateway.server.listening import ACCEPTING, serving
from gateway.server.threshold import Connection

CROWD = 5 * ACCEPTING
CONFIG = """
server: {port: 0, admin_port: 0}
agents: {main: {kind: voice_agent, region: eu, api_key: none-needed}}
routes: [{name: default, agent: main}]
"""


class Accepted:
    """Counts connections by the turn of the loop in which they were accepted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.in_turn: Counter[int] = Counter()
        self._turn = 0
        made = Connection.connection_made

        def count(connection: Connection, transport: asyncio.BaseTransport) -> None:
            self.in_turn[self._turn] += 1
            made(connection, transport)

        monkeypatch.setattr(Connection, "connection_made", count)

    async def wait_for(self, connections: int) -> None:
        """Let the loop turn until so many have come."""
        async with asyncio.timeout(10):
            while self.in_turn.total() < connections:
                self._turn += 1
                await asyncio.sleep(0)


def connect(stack: ExitStack, url: str) -> socket.socket:
    """Open a connection, which the kernel takes before the process accepts it."""
    host, port = url.removeprefix("http://").split(":")
    return stack.enter_context(socket.create_connection((host, int(port))))


def test_several_are_accepted_in_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loop with which the gateway is served a crowd needs few turns, and no turn takes all of it."""
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    accepted = Accepted(monkeypatch)

    async def crowd() -> None:
        async with serving(load_generation(config)) as bound:
            with ExitStack() as stack:
                for _ in range(CROWD):
                    connect(stack, bound.url)
                await accepted.wait_for(CROWD)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(crowd())
    assert max(accepted.in_turn.values()) <= ACCEPTING
    assert len(accepted.in_turn) <= 2 * CROWD / ACCEPTING


def test_nothing_listens_afterwards(tmp_path: Path) -> None:
    """Once the gateway is down, all of its listening sockets are: nobody waits for an answer that will not come."""
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG, encoding="utf-8")

    async def serve() -> str:
        async with serving(load_generation(config)) as bound:
            return bound.url

    with asyncio.Runner(loop_factory=Loop) as runner:
        url = runner.run(serve())
        with ExitStack() as stack, pytest.raises(ConnectionRefusedError):
            connect(stack, url)
