"""Tests of the memory store: one-time tokens, names seen once, and counts that hold under racing tasks."""

import asyncio

import pytest

from gateway.contracts import NO_COUNT, MediaPass, Store
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
    assert await store.spend(token, "twilio") == PASS
    assert await store.spend(token, "twilio") is None
    assert await store.spend("\udcff no token", "twilio") is None
    assert await store.spend(other, "twilio") == PASS


async def test_a_token_at_another_adapter_is_not_used_up() -> None:
    """It says whose it is, and stays good there, until it is too old."""
    clock = Clock()
    store = MemoryStore(clock)
    token = await store.mint(PASS, 60)
    assert await store.spend(token, "vonage") == PASS
    assert await store.spend(token, "") == PASS
    assert await store.spend(token, "twilio") == PASS
    assert await store.spend(token, "vonage") is None
    late = await store.mint(PASS, 60)
    clock.now += 60
    assert await store.spend(late, "vonage") is None


async def test_a_token_grows_too_old() -> None:
    """From its end on it is worth nothing."""
    clock = Clock()
    store = MemoryStore(clock)
    first, second = await store.mint(PASS, 60), await store.mint(PASS, 60)
    clock.now += 59.9
    assert await store.spend(first, "twilio") == PASS
    clock.now += 0.1
    assert await store.spend(second, "twilio") is None


async def test_of_racing_spenders_one_wins() -> None:
    """A captured token cannot be used beside its owner."""
    store = MemoryStore()
    token = await store.mint(PASS, 60)
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(store.spend(token, "twilio")) for _ in range(100)]
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
        tries = [group.create_task(store.claim({"calls": 50})) for _ in range(1000)]
    assert [task.result() for task in tries].count("") == 50
    await store.release(["calls"])
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(store.claim({"calls": 50})) for _ in range(1000)]
    assert [task.result() for task in tries].count("") == 1


async def test_a_claim_takes_all_of_its_places_or_none() -> None:
    """Who fails on one limit has taken nothing of another, and is told the first one that was reached."""
    store = MemoryStore()
    assert await store.claim({"caller": 1, "calls": 3}) == ""
    for _ in range(5):
        assert await store.claim({"caller": 1, "calls": 3}) == "caller"
    assert await store.claim({"other": 1, "calls": 3}) == ""
    assert await store.claim({"third": 1, "calls": 3}) == ""
    assert await store.claim({"fourth": 1, "calls": 3}) == "calls"
    await store.release(["caller", "calls"])
    assert await store.claim({"fourth": 1, "calls": 3}) == ""


async def test_releasing_what_was_not_claimed_gives_no_room() -> None:
    """Counts do not fall below zero, and names without a count are forgotten."""
    store = MemoryStore()
    await store.release(["calls"])
    assert not await store.claim({"calls": 1})
    assert await store.claim({"calls": 1}) == "calls"
    await store.release(["calls"])
    assert not store._counts


async def test_a_full_store_forgets_the_oldest_token_and_counts_nothing_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The oldest token goes when there are too many; a name that cannot be counted gets no place, as the log tells once."""
    clock = Clock()
    store = MemoryStore(clock, entries=10)
    tokens = []
    for _ in range(11):
        tokens.append(await store.mint(PASS, 60))
        clock.now += 1
    assert await store.spend(tokens[0], "twilio") is None
    assert await store.spend(tokens[10], "twilio") == PASS
    counted = [await store.claim({f"name{number}": 1}) for number in range(12)]
    assert counted == [""] * 10 + [NO_COUNT] * 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert "than can be counted" in line


async def test_a_flood_of_proofs_turns_no_real_one_away(caplog: pytest.LogCaptureFixture) -> None:
    """When too many names were seen, a new one is still new; the oldest is forgotten, and the log says so once."""
    clock = Clock()
    store = MemoryStore(clock, seen=10)
    assert [await store.first_time(f"name{number}", 600) for number in range(15)] == [True] * 15
    assert not any([await store.first_time(f"name{number}", 600) for number in range(5, 15)])
    assert len(store._seen._values) == 10
    (line,) = [record.getMessage() for record in caplog.records if record.name == "talkpath.store"]
    assert "the oldest are forgotten" in line
    clock.now += 61
    assert await store.first_time("name15", 600)
    assert len([record for record in caplog.records if record.name == "talkpath.store"]) == 2


async def test_names_are_forgotten_when_their_time_is_over() -> None:
    """Names that are too old make room by themselves, before any is forgotten early."""
    clock = Clock()
    store = MemoryStore(clock, seen=10)
    for number in range(10):
        assert await store.first_time(f"name{number}", 60)
    clock.now += 60
    for number in range(10):
        assert await store.first_time(f"new{number}", 60)
    assert not await store.first_time("new0", 60)


async def test_spent_tokens_leave_nothing_behind() -> None:
    """Minting and spending for ever needs no more memory."""
    store = MemoryStore(Clock(), entries=10)
    for _ in range(1000):
        await store.spend(await store.mint(PASS, 3600), "twilio")
    assert len(store._passes._ends) <= 21
