"""Long messages in pieces, so that nobody's sound takes the turns of other calls."""

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.events import CallerAudio, Event, ReplyAudio

PIECE_BYTES: Final = 8192
"""Sound that is worked on without giving other calls a turn."""


def cut_up(event: Event) -> Iterator[Event]:
    """Cut a long stretch of sound into pieces; its level is that of the whole."""
    if not isinstance(event, CallerAudio | ReplyAudio) or len(event.audio) <= PIECE_BYTES:
        yield event
        return
    for at in range(0, len(event.audio), PIECE_BYTES):
        yield msgspec.structs.replace(event, audio=event.audio[at : at + PIECE_BYTES])
