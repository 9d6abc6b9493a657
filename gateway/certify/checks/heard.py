"""Checks of what the gateway believes the caller has heard, where the far end says what it has played."""

from typing import Final

from gateway.certify.checks.check import Check, accepted, reply_came
from gateway.certify.sound import noise
from gateway.certify.trial import Call, Failed, Trial

WITHIN_MS: Final = 20.0


async def heard_position_is_true(trial: Trial) -> None:
    """Play one reply to its end and break another one off."""
    _needs_marks(trial)
    async with trial.call() as call:
        await call.session.say("r1", noise(900, call.session.speaks, seed=111))
        await reply_came(call, call.line, 0, 900)
        await _believed(call, "r1", 900, "a reply of 900 ms that was played to its end")
        await _break_off(call, "r2", seed=112, at_ms=1130)
        accepted(call.line)


async def marks_of_a_cleared_reply_mean_nothing(trial: Trial) -> None:
    """Have the marks of a reply that was cleared come late, while the next one plays."""
    _needs_marks(trial)
    trial.lacks("clears")
    async with trial.call() as call:
        line = call.line
        line.holds_marks = True
        await _break_off(call, "r1", seed=121, at_ms=700, judged=False)
        since = len(line.received)
        stale = [*line.take_held(), *call.speaker.progress(line.last_reply_id, 3000)]
        await call.session.begin_reply("r2")
        await call.session.sound("r2", noise(3000, call.session.speaks, seed=122))
        await call.played_ms(150, "after a clear the next reply is not heard; expected its sound", since)
        await line.send(*stale)
        await _break_off(call, "r2", seed=0, at_ms=400, since=since)
        accepted(line)


async def _break_off(
    call: Call, reply_id: str, seed: int, at_ms: float, *, since: int | None = None, judged: bool = True
) -> None:
    """Have a reply played so far, break it off, and compare what was heard; with ``since`` it has begun already."""
    line, session = call.line, call.session
    if since is None:
        since = len(line.received)
        await session.begin_reply(reply_id)
        await session.sound(reply_id, noise(3000, session.speaks, seed=seed))
    clears = len(line.clears)
    await call.played_ms(at_ms, "the agent speaks, and the caller hears nothing; expected sound", since)
    await session.interrupt(reply_id)
    if call.trial.adapter.clears:
        await call.until(lambda: len(line.clears) > clears, "the caller interrupted, and nothing was cleared")
        cleared = line.clears[clears]
        true_ms = call.speaker.audio.ms(cleared.received_bytes - since) - cleared.dropped_ms
    else:
        await call.until(lambda: call.story.heard(reply_id), "the gateway does not know what was heard")
        true_ms = call.speaker.audio.ms(len(line.received) - since)
    if judged:
        await _believed(call, reply_id, true_ms, f"a reply that was broken off after {true_ms:.0f} ms")


async def _believed(call: Call, reply_id: str, true_ms: float, what: str) -> None:
    """Compare what the gateway believes to have been heard with what was."""
    story = call.story
    unknown = f"of {what} the gateway does not say how much was heard; expected {true_ms:.0f} ms"
    await call.until(lambda: story.heard(reply_id), unknown)
    fact = story.heard(reply_id)
    if fact is None or abs(fact.heard_ms - true_ms) > WITHIN_MS:
        believed = fact.heard_ms if fact else 0.0
        raise Failed(
            f"of {what} the gateway believes that {believed:.0f} ms were heard; "
            f"expected {true_ms:.0f} ms within {WITHIN_MS:.0f} ms"
        )
    if not fact.confirmed:
        raise Failed(
            f"what was heard of {what} is an estimate, though the far end says what it has played; "
            "expected that its marks come back under the names that were asked for"
        )


def _needs_marks(trial: Trial) -> None:
    trial.lacks("marks")
    if not trial.adapter.marks:
        raise Failed("the far end says what it has played, and the adapter does not say marks=True")


CHECKS: Final = (
    Check(
        "heard",
        "What the caller has heard of a reply is known within 20 ms.",
        "docs/reference/dialects.md",
        heard_position_is_true,
    ),
    Check(
        "stale",
        "Marks of what was cleared do not count as heard.",
        "docs/reference/dialects.md",
        marks_of_a_cleared_reply_mean_nothing,
    ),
)
