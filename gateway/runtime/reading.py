"""The reading of a leg, as ``async for`` wants it."""

from collections.abc import Awaitable, Callable
from typing import Self

from gateway.events import AnyEvent


class Reading:
    """Gives what ``next_event`` gives; holds nothing else, so that it may be dropped in the middle."""

    def __init__(self, next_event: Callable[[], Awaitable[AnyEvent]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[AnyEvent]:
        return self._next_event()
