"""Checks of who is let in: nobody without proof, and nobody twice with the same one."""

import asyncio
import time
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from gateway.certify.checks.check import Check, agent_hears
from gateway.certify.line import Line, open_line
from gateway.certify.speaker import Speaker, Way
from gateway.certify.trial import Failed, Trial
from gateway.simulate.media_socket import SocketError
from gateway.simulate.webhook import WebhookError

REFUSED_WITHIN_S: Final = 4.0
LEAST_PROOF: Final = 16
"""Letters that a proof has at least; what is shorter is a name."""
AS_IF_LET_IN: Final = (None, 1000, 1001, 1005, 1006, 1011)
"""Close codes that refuse nobody."""


async def no_proof_no_audio(trial: Trial) -> None:
    """Come in without proof, and with each wrong one."""
    speaker = trial.speaker()
    try:
        strangers = await speaker.strangers()
    except WebhookError as error:
        raise Failed(f"a proven webhook was not answered: {error}") from error
    try:
        for what, way in strangers:
            await _refused(trial, speaker, way, f"a socket {what}")
    finally:
        await trial.clean_up()


async def proof_is_good_once(trial: Trial) -> None:
    """Come in a second time with what was good the first time."""
    trial.lacks("once")
    async with trial.call() as call:
        await _refused(trial, call.speaker, call.way, "a second socket with a proof that was used")
        if call.line.closed.is_set():
            raise Failed(
                "a second socket with a proof that was used took the first one's place; expected that it cannot"
            )
        await agent_hears(call, seed=11, ms=200)
        facts = repr(call.story.info)
        if any(proof in facts for proof in _proofs(call.way)):
            raise Failed(
                "the proof that was used is among the facts of the call, where logs and tools see it; expected not"
            )


def _proofs(way: Way) -> list[str]:
    """What opened a socket: a token in its path or query, a header."""
    parts = urlsplit(way.url)
    given = [
        parts.path.rpartition("/")[2],
        *(value for _, value in parse_qsl(parts.query)),
        *way.headers.values(),
    ]
    return [proof for one in given if len(proof := one.removeprefix("Bearer ")) >= LEAST_PROOF]


async def _refused(trial: Trial, speaker: Speaker, way: Way, what: str) -> None:
    """Open a socket that must be refused, and speak as if it were not, in the name of the call that it was meant for."""
    calls = len(trial.stories)
    try:
        async with open_line(speaker, way) as line:
            await _speak_on(speaker, line)
    except SocketError as refusal:
        if refusal.status is None:
            raise Failed(f"{what} was not refused in words: {refusal}; expected an HTTP status") from refusal
        return
    if len(trial.stories) > calls:
        raise Failed(f"{what} began a call; expected that it is refused before any sound is read")
    if not line.closed.is_set():
        raise Failed(f"{what} was open for {REFUSED_WITHIN_S:g} s; expected that it is refused")
    if line.close_code in AS_IF_LET_IN:
        raise Failed(
            f"{what} was closed with {line.close_code}, as if it had been let in; expected such as 1008"
        )


async def _speak_on(speaker: Speaker, line: Line) -> None:
    until = time.monotonic() + REFUSED_WITHIN_S
    while not line.closed.is_set() and time.monotonic() < until:
        await line.send(speaker.speak(speaker.audio.silence(20)))
        await asyncio.sleep(0.02)


CHECKS: Final = (
    Check(
        "proof",
        "Without proof, or with a wrong one, no socket gets in and no sound is read.",
        "docs/explanation/security.md",
        no_proof_no_audio,
    ),
    Check(
        "once",
        "A proof that is good once does not let a second socket in, and is not kept.",
        "docs/explanation/security.md",
        proof_is_good_once,
    ),
)
