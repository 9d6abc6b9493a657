"""Strangers have turns: few of them are heard before the loop turns, each is, and in the order in which they came."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from gateway.runtime.config import load_generation
from gateway.server.listening import serving
from gateway.server.turnstile import PER_TURN, Turnstile

REQUEST = b"GET /v1/calls HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"
MANY = 60


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.now = 0
        self._loop = asyncio.get_running_loop()
        self._turn()

    def _turn(self) -> None:
        self.now += 1
        self._handle = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        """Count no more."""
        self._handle.cancel()


async def test_few_are_heard_in_a_turn() -> None:
    """However many come at once, no more than a few go on before the loop turns; all do, in their order."""
    turnstile, turns, went = Turnstile(), Turns(), list[tuple[int, int]]()
    for number in range(MANY):
        if turnstile.enter():
            went.append((number, turns.now))
        else:
            turnstile.wait(lambda number=number: went.append((number, turns.now)))  # type: ignore[misc]
    while len(went) < MANY:  # noqa: ASYNC110 - turns of the loop are what is counted
        await asyncio.sleep(0)
    turns.stop()
    assert [number for number, _ in went] == list(range(MANY))
    assert max(Counter(turn for _, turn in went).values()) == PER_TURN


async def test_nobody_overtakes() -> None:
    """Who comes while others wait, waits behind them, also where there is a place in this turn."""
    turnstile, went = Turnstile(), list[int]()
    for _ in range(PER_TURN):
        assert turnstile.enter()
    for number in range(2 * PER_TURN):
        turnstile.wait(lambda number=number: went.append(number))  # type: ignore[misc]
    assert not turnstile.enter()
    await turnstile.wait_turn()
    assert went == list(range(2 * PER_TURN))


async def test_one_that_was_given_up_holds_up_nobody() -> None:
    """A place that nobody wants any more is passed over."""
    turnstile = Turnstile()
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(turnstile.wait_turn()) for _ in range(MANY)]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
        await turnstile.wait_turn()
    assert sum(task.cancelled() for task in waiting) > MANY // 4


@pytest.mark.parametrize("leaves", [False, True])
async def test_many_strangers_at_once(tmp_path: Path, leaves: bool) -> None:
    """Of a crowd that asks at the same moment everybody is answered; one that has gone meanwhile is no trouble."""
    (tmp_path / "gateway.yaml").write_text("server: {port: 0, admin_port: 0}\n", encoding="utf-8")
    async with serving(load_generation(tmp_path / "gateway.yaml")) as bound:
        host, port = bound.url.removeprefix("http://").split(":")
        crowd = await asyncio.gather(*[asyncio.open_connection(host, int(port)) for _ in range(MANY)])
        for _, writer in crowd:
            writer.write(REQUEST)
        if leaves:
            for _, writer in crowd[::2]:
                writer.transport.abort()
        staying = crowd[1::2] if leaves else crowd
        async with asyncio.timeout(10):
            heads = await asyncio.gather(*[reader.readuntil(b"\r\n\r\n") for reader, _ in staying])
        for _, writer in crowd:
            writer.transport.abort()
        assert {head.split()[1] for head in heads} == {b"403"}
