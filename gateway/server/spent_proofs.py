"""Proofs that are good once: a request that comes again gets the answer of the first, another one gets none.

Owns how long a spent proof is remembered, and the answers of this process that may be asked for again: a carrier
whose question was slow to be answered asks it once more, word for word. Refuses to check proofs (`door`).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from msgspec import Struct

from gateway.contracts import Store

SPENT_S: Final = 600.0
"""How long a spent proof is remembered; no proof may be good for longer."""
MOST_ANSWERS: Final = 10_000
"""Answers that are kept; a proof whose answer was dropped early is still spent."""


class _Answered(Struct):
    request: str
    at: float
    done: asyncio.Event
    response: web.Response | None = None


class SpentProofs:
    """Which proofs were used, and what they were answered."""

    def __init__(self, store: Store, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = now
        self._answers: OrderedDict[str, _Answered] = OrderedDict()

    async def answer(
        self, proof: str, request: str, make: Callable[[], Awaitable[web.Response]]
    ) -> web.Response | None:
        """Answer a request, with what ``make`` gives, the first time that its proof is used.

        The same request with the same proof gets the same answer again, also while the first is being made.
        None when the proof was spent on another request, or its answer is not known here any more.
        """
        self._forget()
        if (known := self._answers.get(proof)) is not None:
            if known.request != request:
                return None
            await known.done.wait()
            return _again(known.response) if known.response else None
        mine = self._answers[proof] = _Answered(request, self._now(), asyncio.Event())
        try:
            if await self._store.first_time(f"proof:{proof}", SPENT_S):
                mine.response = await make()
        finally:
            mine.done.set()
            if mine.response is None:
                self._answers.pop(proof, None)
        return _again(mine.response) if mine.response else None

    def _forget(self) -> None:
        oldest = self._now() - SPENT_S
        while self._answers:
            proof, first = next(iter(self._answers.items()))
            if first.at > oldest and len(self._answers) < MOST_ANSWERS:
                return
            del self._answers[proof]


def _again(response: web.Response) -> web.Response:
    """A copy, as one that was sent cannot be sent once more."""
    kind = response.headers.get(hdrs.CONTENT_TYPE)
    return web.Response(
        status=response.status, body=response.body, headers={hdrs.CONTENT_TYPE: kind} if kind else None
    )
