"""Tests of the memory store: one-time tokens, names seen once, and counts that hold under racing tasks."""

import asyncio

from gateway.contracts import MediaPass, Store
from gateway.runtime.store import MemoryStore

PASS = MediaPass(call_id="c1", adapter="twilio", route="default")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_is_good_once() -> None:
    """Minted, spent, gone; an unknown one never was."""
    store: Store = MemoryStore()
    token = await store.mint(PASS, 60)
    other = await store.mint(PASS, 60)
    assert token != other
    assert len(token) >= 43
    assert await store.spend(token) == PASS
    assert await store.spend(token) is None
    assert await store.spend("\udcff no token") is None
    assert await store.spend(other) == PASS


async def test_a_token_grows_too_old() -> None:
    """From its end on it is worth nothing."""
    clock = Clock()
    store = MemoryStore(clock)
    first, second = await store.mint(PASS, 60), await store.mint(PASS, 60)
    clock.now += 59.9
    assert await store.spend(first) == PASS
    clock.now += 0.1
    assert await store.spend(second) is None


async def test_of_racing_spenders_one_wins() -> None:
    """A captured token cannot be used beside its owner."""
    store = MemoryStore()
    token = await store.mint(PASS, 60)
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(store.spend(token)) for _ in range(100)]
    assert sum(task.result() is not None for task in tries) == 1


async def test_a_name_is_new_once_within_its_time() -> None:
    """Each stream id opens one call; long after it may be used again."""
    clock = Clock()
    store = MemoryStore(clock)
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(store.first_time("MZ1", 60)) for _ in range(100)]
    assert sum(task.result() for task in tries) == 1
    assert await store.first_time("MZ2", 60)
    clock.now += 60
    assert await store.first_time("MZ1", 60)


async def test_a_thousand_racing_claims_never_pass_the_limit() -> None:
    """1000 claims against a limit of 50 give exactly 50, and each release makes room for one."""
    store = MemoryStore()
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(store.claim("calls", 50)) for _ in range(1000)]
    assert sum(task.result() for task in tries) == 50
    await store.release("calls")
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(store.claim("calls", 50)) for _ in range(1000)]
    assert sum(task.result() for task in tries) == 1


async def test_releasing_what_was_not_claimed_gives_no_room() -> None:
    """Counts do not fall below zero, and names without a count are forgotten."""
    store = MemoryStore()
    await store.release("calls")
    assert await store.claim("calls", 1)
    assert not await store.claim("calls", 1)
    await store.release("calls")
    assert not store._counts


async def test_a_full_store_errs_on_the_careful_side() -> None:
    """The oldest token goes; no name is new, nothing more is counted, until time makes room."""
    clock = Clock()
    store = MemoryStore(clock, entries=10)
    tokens = []
    for _ in range(11):
        tokens.append(await store.mint(PASS, 60))
        clock.now += 1
    assert await store.spend(tokens[0]) is None
    assert await store.spend(tokens[10]) == PASS
    seen = [await store.first_time(f"name{number}", 60) for number in range(11)]
    assert seen == [True] * 10 + [False]
    counted = [await store.claim(f"name{number}", 1) for number in range(11)]
    assert counted == [True] * 10 + [False]
    clock.now += 60
    assert await store.first_time("name10", 60)


async def test_spent_tokens_leave_nothing_behind() -> None:
    """Minting and spending for ever needs no more memory."""
    store = MemoryStore(Clock(), entries=10)
    for _ in range(1000):
        await store.spend(await store.mint(PASS, 3600))
    assert len(store._passes._ends) <= 21
