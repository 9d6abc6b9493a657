"""Checks of sound: both ways sample by sample, in messages of any size, at the right pace, to a slow reader, after a clear."""

import asyncio
from typing import Final

from gateway.certify.checks.check import Check, accepted, agent_hears, caller_hears, reply_came
from gateway.certify.sound import difference, noise, voice_ms
from gateway.certify.trial import Failed, Trial

ODD_SIZES: Final = (160, 2, 1, 3, 1366, 320, 37, 640)
LEAD_MS: Final = {True: 2000.0, False: 200.0}
"""How far ahead of the caller's ear sound may be, by whether the far end can drop it (docs/explanation/playback.md)."""
SLACK_MS: Final = 150.0
"""What a busy machine may add to that."""
GAP_MS: Final = 60.0
"""Silence in the middle of a reply that a busy machine may cause."""
CLEAR_WITHIN_S: Final = 1.0
LONG_MS: Final = 4000.0
UNREAD_S: Final = 1.2


async def messages_of_any_size(trial: Trial) -> None:
    """Speak in messages of odd sizes, empty ones among them."""
    async with trial.call() as call:
        await call.line.send(call.speaker.speak(b""))
        await agent_hears(call, seed=61, ms=1200, sizes=ODD_SIZES)


async def replies_arrive(trial: Trial) -> None:
    """Say two replies, the first of which ends in the middle of a frame."""
    async with trial.call() as call:
        await caller_hears(call, "r1", seed=71, ms=613)
        await caller_hears(call, "r2", seed=72, ms=400)


async def sound_is_paced(trial: Trial) -> None:
    """Say a long reply at once."""
    async with trial.call() as call:
        line, session, audio = call.line, call.session, call.speaker.audio
        said = noise(LONG_MS, session.speaks, seed=81)
        await session.say("r1", said)
        await reply_came(call, line, 0, LONG_MS)
        lead_ms = LEAD_MS[trial.adapter.clears]
        if line.buffer.most_queued_ms > lead_ms + SLACK_MS:
            raise Failed(
                f"{line.buffer.most_queued_ms:.0f} ms of a reply were sent ahead of the caller's ear; "
                f"expected at most {lead_ms:.0f} ms"
            )
        took_ms = voice_ms(line.buffer.heard, audio)
        if abs(took_ms - LONG_MS) > GAP_MS:
            raise Failed(
                f"a reply of {LONG_MS:.0f} ms was heard for {took_ms:.0f} ms; expected no gaps in it"
            )
        if wrong := difference(said, session.speaks, bytes(line.received), audio):
            raise Failed(f"of a long reply, {wrong}; expected what the agent said")


async def slow_readers_lose_nothing(trial: Trial) -> None:
    """Leave what comes unread for a while, in the middle of a reply."""
    async with trial.call() as call:
        said = noise(2500, call.session.speaks, seed=91)
        await call.session.say("r1", said)
        await call.played_ms(200, "the agent speaks, and the caller hears nothing; expected sound")
        call.line.stop_reading()
        await agent_hears(call, seed=92, ms=UNREAD_S * 1000)
        call.line.read_on()
        await reply_came(call, call.line, 0, 2500)
        heard = bytes(call.line.received)
        if wrong := difference(said, call.session.speaks, heard, call.speaker.audio):
            raise Failed(f"to a caller that read slowly, {wrong}; expected that it loses nothing")


async def clear_drops_the_rest(trial: Trial) -> None:
    """Break a reply off, send more of it late, and say another one."""
    trial.lacks("clears")
    if not trial.adapter.clears:
        raise Failed("the dialect can drop what it has buffered, and the adapter does not say clears=True")
    async with trial.call() as call:
        line, session = call.line, call.session
        await session.begin_reply("r1")
        await session.sound("r1", noise(3000, session.speaks, seed=101))
        await call.played_ms(500, "the agent speaks, and the caller hears nothing; expected sound")
        await session.interrupt("r1")
        deaf = f"{CLEAR_WITHIN_S:g} s after the caller interrupted, nothing told it to drop what it has; expected a clear"
        await call.until(lambda: line.clears, deaf, CLEAR_WITHIN_S)
        since = line.clears[0].received_bytes
        await session.sound("r1", noise(300, session.speaks, seed=102))
        second = noise(400, session.speaks, seed=103)
        await session.say("r2", second)
        await reply_came(call, line, since, 400)
        await asyncio.sleep(0.1)  # what comes late comes now
        heard = bytes(line.received[since:])
        if wrong := difference(second, session.speaks, heard, call.speaker.audio):
            raise Failed(f"after a clear, {wrong}; expected the next reply and nothing of the one before")
        accepted(line)


CHECKS: Final = (
    Check(
        "sizes",
        "The caller's sound arrives unchanged, in messages of any size.",
        "docs/reference/dialects.md",
        messages_of_any_size,
    ),
    Check(
        "reply",
        "The agent's sound arrives unchanged, in the dialect's frames.",
        "docs/reference/dialects.md",
        replies_arrive,
    ),
    Check(
        "pace",
        "Sound is sent neither too far ahead of the caller's ear nor too late for it.",
        "docs/explanation/playback.md",
        sound_is_paced,
    ),
    Check(
        "slow",
        "A caller that reads slowly loses nothing, and is heard meanwhile.",
        "docs/reference/dialects.md",
        slow_readers_lose_nothing,
    ),
    Check(
        "clear",
        "An interrupted caller is told to drop what it has, and hears no more of it.",
        "docs/reference/dialects.md",
        clear_drops_the_rest,
    ),
)
