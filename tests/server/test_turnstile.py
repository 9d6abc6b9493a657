"""Strangers have turns: few of them are heard before the loop turns, each is, and in the order in which they came."""

import asyncio
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from gateway.runtime.config import load_generation
from gateway.server.listening import serving
from gateway.server.turnstile import MOST, PER_S, PER_TURN, Turnstile

REQUEST = b"GET /v1/calls HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"
MANY = 60


class Turns:
    """Counts the turns of the loop, and does something in each."""

    def __init__(self, each: Callable[[], None]) -> None:
        self.now = 0
        self._each = each
        self._loop = asyncio.get_running_loop()
        self._turn()

    def _turn(self) -> None:
        self.now += 1
        self._each()
        self._handle = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        """Count no more."""
        self._handle.cancel()


async def crowd_through(turnstile: Turnstile, crowd: int, each_turn: Callable[[], None]) -> list[int]:
    """Send a crowd through at once; gives how many of them were heard in each turn, after seeing that all kept their order."""
    turns, went = Turns(each_turn), list[tuple[int, int]]()
    for number in range(crowd):
        if turnstile.enter():
            went.append((number, turns.now))
        else:
            turnstile.wait(lambda number=number: went.append((number, turns.now)))  # type: ignore[misc]
    while len(went) < crowd:  # noqa: ASYNC110 - turns of the loop are what is counted
        await asyncio.sleep(0)
    turns.stop()
    assert [number for number, _ in went] == list(range(crowd))
    return [len(list(heard)) for _, heard in groupby(went, key=lambda one: one[1])]


async def test_few_are_heard_in_a_turn() -> None:
    """However many come at once, no more than a few go on before the loop turns; all do, in their order."""
    turnstile = Turnstile(lambda: 0.0)
    assert max(await crowd_through(turnstile, MANY, lambda: None)) == PER_TURN


@pytest.mark.parametrize(("turn_s", "places"), [(0.005, PER_TURN), (0.1, 20), (3.0, MOST)])
async def test_long_turns_hear_more(turn_s: float, places: int) -> None:
    """Where the calls that there are make turns long, strangers are heard by the second, but never too many at once."""
    clock = [0.0]

    def pass_time() -> None:
        clock[0] += turn_s

    heard = await crowd_through(Turnstile(lambda: clock[0]), 4 * MOST, pass_time)
    assert heard[0] == PER_TURN  # nobody knows yet how long this one will take
    assert max(heard) == places
    assert len(heard) <= 2 + 4 * MOST / places
    assert places in (PER_TURN, MOST, turn_s * PER_S)


async def test_one_long_turn_lets_no_later_crowd_in() -> None:
    """Places of a long turn that nobody took are gone with it."""
    times = [0.0]
    turnstile = Turnstile(lambda: times[0])
    assert turnstile.enter()
    for now in (3.0, 3.0, 3.0):
        times[0] = now
        await asyncio.sleep(0)
    assert [turnstile.enter() for _ in range(PER_TURN + 1)] == [True] * PER_TURN + [False]


async def test_a_fault_with_one_holds_up_nobody() -> None:
    """Whoever waits behind one that a fault of ours ends is heard all the same, and the fault is not hidden."""
    loop, faults, heard = asyncio.get_running_loop(), list[object](), asyncio.Event()
    loop.set_exception_handler(lambda _, context: faults.append(context.get("exception")))
    turnstile, fault = Turnstile(), RuntimeError("a fault")

    def fail() -> None:
        raise fault

    turnstile.wait(fail)
    turnstile.wait(heard.set)
    async with asyncio.timeout(5):
        await heard.wait()
    assert faults == [fault]


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
