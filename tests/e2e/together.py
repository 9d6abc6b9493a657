"""Runs calls side by side: a phone call takes its time, and a machine can take many at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Outcomes(Generic[T]):
    """What came of scenarios that ran at the same time; asking for one that failed raises its error."""

    def __init__(self) -> None:
        self._found: dict[str, T] = {}
        self._failed: dict[str, Exception] = {}

    def __getitem__(self, name: str) -> T:
        if name in self._failed:
            raise self._failed[name]
        return self._found[name]

    async def keep(self, name: str, scenario: Callable[[], Awaitable[T]], limit_s: float) -> None:
        """Run a scenario and keep what it gives, or how it failed, so that the others go on."""
        try:
            async with asyncio.timeout(limit_s):
                self._found[name] = await scenario()
        except Exception as error:  # noqa: BLE001 - raised in the test that asks for this scenario
            self._failed[name] = error


async def run_together(
    scenarios: Mapping[str, Callable[[], Awaitable[T]]], *, limit_s: float = 80.0, at_once: int = 100
) -> Outcomes[T]:
    """Run all scenarios side by side, ``at_once`` at a time, each for ``limit_s`` at most."""
    outcomes: Outcomes[T] = Outcomes()
    places = asyncio.Semaphore(at_once)

    async def take_place(name: str, scenario: Callable[[], Awaitable[T]]) -> None:
        async with places:
            await outcomes.keep(name, scenario, limit_s)

    async with asyncio.TaskGroup() as group:
        for name, scenario in scenarios.items():
            group.create_task(take_place(name, scenario))
    return outcomes


async def until(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Look every few milliseconds until a condition holds; TimeoutError when it never does."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what it looks at has no event
            await asyncio.sleep(0.005)
