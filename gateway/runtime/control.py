"""Carries out an adapter's request to its carrier, and brings the answer back as an event.

Owns how often and how long it is tried: `TRIES` times `REQUEST_S` and short pauses, less than ten seconds in all.
What the request says is the adapter's.
"""

import time
from typing import Final

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from gateway.commands import HangUp, Transfer
from gateway.contracts import HttpRequest
from gateway.events import CallInfo, ControlAnswered
from gateway.runtime.egress import Egress, Errand, NotListedError, Reach
from gateway.runtime.house import House

TRIES: Final = 3
"""Attempts while the carrier cannot be reached or is in trouble."""
REQUEST_S: Final = 2.5
"""How long one attempt may take."""
PAUSE_S: Final = 1.0
"""Longest pause between two attempts."""


class _CarrierInTrouble(Exception):  # noqa: N818 - a fact about the carrier
    """The carrier answered with a status that asks for another try."""


async def ask_carrier(
    action: str, command: HangUp | Transfer, info: CallInfo, house: House, reach: Reach
) -> ControlAnswered | None:
    """Have the carrier hang up or transfer; None where it cannot be asked to hang up, which the closed socket does too."""
    generation = house.generation
    control = generation.parts.adapters[info.adapter].control
    settings = generation.settings.adapters.get(info.adapter)
    request = control(command, info, settings, time.time()) if control else None
    if request:
        return await carry_out(action, request, house.dialler.egress, reach)
    if action == "transfer":
        detail = "the adapter has no credentials for it, or does not take this number"
        return ControlAnswered(action, succeeded=False, detail=detail)
    return None


async def carry_out(action: str, request: HttpRequest, egress: Egress, reach: Reach) -> ControlAnswered:
    """Send the request; a carrier that says that it is already so has done it."""
    try:
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.5, max=PAUSE_S),
            retry=retry_if_exception_type((aiohttp.ClientError, OSError, _CarrierInTrouble)),
        ):
            with attempt:
                status = await _send(request, egress, reach.errand("carrier"))
    except NotListedError as error:
        return ControlAnswered(action, succeeded=False, detail=str(error))
    except RetryError as error:
        return ControlAnswered(action, succeeded=False, detail=_why(error.last_attempt.exception()))
    succeeded = 200 <= status < 300 or status in request.done_when
    return ControlAnswered(action, succeeded=succeeded, detail=f"the carrier answered {status}")


async def _send(request: HttpRequest, egress: Egress, errand: Errand) -> int:
    timeout = aiohttp.ClientTimeout(total=REQUEST_S)
    async with egress.request(
        errand,
        request.method,
        request.url,
        headers=dict(request.headers),
        data=request.body,
        timeout=timeout,
    ) as answer:
        if answer.status == 429 or answer.status >= 500:
            raise _CarrierInTrouble(f"the carrier answered {answer.status}")
        return answer.status


def _why(error: BaseException | None) -> str:
    if isinstance(error, TimeoutError):
        return f"the carrier did not answer within {REQUEST_S:g} s"
    return str(error) or type(error).__name__
