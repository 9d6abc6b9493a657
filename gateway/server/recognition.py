"""Whose client is it? Listens to sockets on the unified address until that is known, and for tokens in first messages.

Owns what is listened to for it and how long, and the line in the log that says on which sign a decision rests. The
signs are `gateway.adapters.detect`'s. Refuses proof (`door`): being recognised lets nobody in.
"""

from collections.abc import Callable
from typing import Final

from gateway.adapters.detect import MOST_MESSAGES, NeedMore, Recognised, Refused, recognise
from gateway.errors import WireError
from gateway.server.access_log import log_line
from gateway.server.arrival import Arrival, Heard, TurnedAway
from gateway.server.door import knock_of

SOON_S: Final = 1.0
"""How long words are waited for that a frame of sound may have overtaken."""


async def recognise_arrival(arrival: Arrival, wait_s: float = 0.0) -> Recognised | TurnedAway:
    """Find out whose a socket is, from its upgrade or else from its first messages; not by those within ``wait_s``.

    Of somebody who must wait, no line is written either: a proof that the upgrade holds may still let it in.
    """
    knock = knock_of(arrival.request)
    while isinstance(found := recognise(knock, arrival.heard), NeedMore):
        if wait_s:
            return TurnedAway.for_haste(wait_s)  # no socket is opened for somebody who has had too many
        heard = await arrival.hear(SOON_S if found.soon else None)
        if heard != "heard":
            return _unheard(heard, found.why, found.sentence)
    if isinstance(found, Refused) and wait_s:
        return TurnedAway.for_haste(wait_s)
    if isinstance(found, Refused):
        return TurnedAway(400, found.why, found.sentence)
    if not wait_s:
        log_line("socket", arrival.request, recognised=found.adapter, why=found.why)
    return found


async def read_token(arrival: Arrival, first_token: Callable[[str | bytes], str | None]) -> str | TurnedAway:
    """Read the one-time token out of the first messages of a socket; empty when they hold none."""
    read = 0
    while True:
        for message in arrival.heard[read:]:
            read += 1
            try:
                token = first_token(message)
            except WireError as error:
                if error.fatal:
                    return TurnedAway(400, "format", str(error))
                continue  # unreadable, and perhaps the next one is not
            if token is not None:
                return token
        if read >= MOST_MESSAGES:
            return ""
        if (heard := await arrival.hear()) != "heard":
            return _unheard(heard, "silent", f"nothing of a call came within {arrival.patience_s:g} s")


def _unheard(heard: Heard, why: str, sentence: str) -> TurnedAway:
    """Why a socket is not taken of which no further message could be read."""
    if heard == "too_long":
        return TurnedAway(413, heard, "the first messages are too long")
    if heard == "gone":
        return TurnedAway(400, heard, "")
    return TurnedAway(408, why, sentence)
