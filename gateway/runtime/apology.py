"""The last sound of a call whose machine is gone: a clip, at the pace at which it is heard.

Owns that pace, by a ledger of its own, since nobody else is left to keep one. Refuses whatever could have had the bug.
"""

import asyncio
from typing import Final

from gateway.audio import AudioFormat
from gateway.call.playback import PlaybackLedger
from gateway.commands import Clear, Play, PlayClip
from gateway.runtime.legs import WireLeg
from gateway.runtime.terms import LEAD_WITHOUT_CLEAR_MS

NAME: Final = "apology"
LOOK_S: Final = 0.1
"""Between two looks, where the ledger names no moment."""


async def apologise(leg: WireLeg, clip: bytes, audio: AudioFormat, most_s: float) -> None:
    """Play a clip, or so much of it, in place of all that was to be heard; returns once it was heard, or the leg is gone."""
    loop = asyncio.get_running_loop()
    ledger = PlaybackLedger(LEAD_WITHOUT_CLEAR_MS, marks=False, clears=False)
    ledger.add_clip(NAME, min(audio.ms(len(clip)), most_s * 1000))
    leg.post(Clear())
    while leg.is_open:
        now = loop.time()
        for command in ledger.release(now):
            if isinstance(command, PlayClip):
                at, size = audio.frame_bytes(command.at_ms), audio.frame_bytes(command.ms)
                leg.post(Play(f"clip:{NAME}", clip[at : at + size]))
        ledger.settle(now)
        if ledger.idle:
            return
        due = ledger.deadline
        await asyncio.sleep(LOOK_S if due is None else max(0.0, due - now))
