import asyncio

import pytest
from aiohttp import web
from serving import Clock

from gateway.runtime.store import MemoryStore
from gateway.server.spent_proofs import MOST_ANSWERS, SPENT_S, SpentProofs


class Answers:
    """Makes answers that can be told apart."""

    def __init__(self) -> None:
        self.made = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> web.Response:
        await self.go_on.wait()
        self.made += 1
        return web.Response(status=201, text=f"answer {self.made}", content_type="application/json")


def spent(clock: Clock) -> SpentProofs:
    return SpentProofs(MemoryStore(clock), clock)


async def test_the_same_request_gets_the_same_answer() -> None:
    """A request that comes again with its proof is answered as before, in an answer of its own that can be sent."""
    proofs, answers = spent(Clock()), Answers()
    first, second = [await proofs.answer("p1", "r1", answers) for _ in range(2)]
    assert first is not None
    assert second is not None
    assert first is not second
    for response in (first, second):
        assert (response.status, response.text) == (201, "answer 1")
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answers.made == 1


async def test_a_spent_proof_is_good_for_no_other_request() -> None:
    """Another request with the same proof gets no answer, and nothing is done for it; another proof is fine."""
    proofs, answers = spent(Clock()), Answers()
    assert await proofs.answer("p1", "r1", answers)
    assert await proofs.answer("p1", "r2", answers) is None
    assert answers.made == 1
    assert await proofs.answer("p2", "r1", answers)


async def test_a_request_that_is_repeated_too_soon_waits_for_the_answer() -> None:
    """While the first answer is being made, the same request waits for it instead of having it made twice."""
    proofs, answers = spent(Clock()), Answers()
    answers.go_on.clear()
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(proofs.answer("p1", "r1", answers)) for _ in range(2)]
        await asyncio.sleep(0)
        answers.go_on.set()
    texts = [response.text for task in both if (response := task.result())]
    assert texts == ["answer 1", "answer 1"]


async def test_a_fault_leaves_nobody_waiting() -> None:
    """When making the answer fails, whoever waits for the same one gets none, and the proof stays spent."""
    proofs = spent(Clock())

    async def fail() -> web.Response:
        await asyncio.sleep(0)
        raise RuntimeError("a bug")

    first = asyncio.ensure_future(proofs.answer("p1", "r1", fail))
    await asyncio.sleep(0)
    assert await proofs.answer("p1", "r1", Answers()) is None
    with pytest.raises(RuntimeError, match="a bug"):
        await first
    assert await proofs.answer("p1", "r1", Answers()) is None


async def test_proofs_are_remembered_for_their_time() -> None:
    """An answer is known for as long as its proof is spent; no longer, since no proof is good for so long."""
    clock = Clock()
    proofs, answers = spent(clock), Answers()
    await proofs.answer("p1", "r1", answers)
    clock.now_s = SPENT_S - 1
    assert await proofs.answer("p1", "r1", answers)
    assert answers.made == 1
    clock.now_s = SPENT_S + 1
    await proofs.answer("p1", "r1", answers)
    assert answers.made == 2


async def test_a_proof_that_was_spent_elsewhere_is_spent() -> None:
    """Processes that share a store share what was spent, but not the answers."""
    store, answers = MemoryStore(Clock()), Answers()
    assert await SpentProofs(store, Clock()).answer("p1", "r1", answers)
    assert await SpentProofs(store, Clock()).answer("p1", "r1", answers) is None


async def test_answers_are_bounded() -> None:
    """When there are too many the oldest answer goes; its proof is refused from then on."""
    proofs, answers = spent(Clock()), Answers()
    for number in range(MOST_ANSWERS + 1):
        await proofs.answer(f"p{number}", "r", answers)
    assert await proofs.answer("p0", "r", answers) is None
    again = await proofs.answer(f"p{MOST_ANSWERS}", "r", answers)
    assert again is not None
    assert again.text == f"answer {MOST_ANSWERS + 1}"
