"""What a check is, and what several of them do: have each side hear the other."""

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from gateway.certify.line import Line
from gateway.certify.sound import difference, noise
from gateway.certify.trial import PATIENCE_S, Call, Failed, Trial, wait

TAIL_MS: Final = 100.0
"""Silence after a voice, by which whatever the gateway's filter holds of it comes out."""


class Check(Struct, frozen=True):
    """One thing that every adapter must do."""

    name: str
    """One word for the command line."""
    asks: str
    """What is asked for, in a sentence."""
    source: str
    """Where that is written."""
    run: Callable[[Trial], Awaitable[None]]
    """Tries it; raises Failed or NotApplicable."""


async def agent_hears(
    call: Call, seed: int, *, line: Line | None = None, ms: float = 400, sizes: tuple[int, ...] = ()
) -> None:
    """Have the caller speak and the agent hear it, sample by sample.

    Raises:
        Failed: when it hears something else.
    """
    line, session = line or call.line, call.session
    voice = noise(ms, call.speaker.audio, seed)
    before = len(session.heard)
    line.speak(voice, sizes)
    until_ms = session.hears.ms(before) + ms + TAIL_MS

    def came() -> bool:
        return not line.is_speaking and session.hears.ms(len(session.heard)) >= until_ms

    too_little = (
        f"less than {ms:.0f} ms of the caller's sound reached the agent in {ms / 1000 + PATIENCE_S:.0f} s; "
        "expected all of it"
    )
    await wait(came, too_little, line, ms / 1000 + PATIENCE_S)
    if wrong := difference(
        voice, call.speaker.audio, bytes(session.heard[before:]), session.hears, amid_silence=True
    ):
        raise Failed(f"of the caller's sound at the agent, {wrong}; expected what the caller said")


async def caller_hears(
    call: Call, reply_id: str, seed: int, *, line: Line | None = None, ms: float = 400
) -> None:
    """Have the agent speak and the caller hear it, sample by sample.

    Raises:
        Failed: when it hears something else.
    """
    line, session = line or call.line, call.session
    said = noise(ms, session.speaks, seed)
    since = len(line.received)
    await session.say(reply_id, said)
    await reply_came(call, line, since, ms)
    heard = bytes(line.received[since:])
    if wrong := difference(said, session.speaks, heard, call.speaker.audio):
        raise Failed(f"of the agent's sound at the caller, {wrong}; expected what the agent said")
    accepted(line)


async def reply_came(call: Call, line: Line, since: int, ms: float) -> None:
    """Wait until a reply has been played, and whatever else comes behind it is there too.

    Raises:
        Failed: when it is not.
    """
    audio = call.speaker.audio
    within_s = ms / 1000 + PATIENCE_S

    def played() -> bool:
        accepted(line)
        return audio.ms(len(line.received) - since) >= ms - 2 and line.queued_ms == 0

    too_little = f"less than {ms:.0f} ms of the agent's sound reached the caller in {within_s:.0f} s; expected all of it"
    await wait(played, too_little, line, within_s)


def accepted(line: Line) -> None:
    """Look for what the far end would not have accepted.

    Raises:
        Failed: with the first complaint.
    """
    if line.wrong:
        raise Failed(f"the far end does not accept what it was sent: {line.wrong[0]}; expected its dialect")
