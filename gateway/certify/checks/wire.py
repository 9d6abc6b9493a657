"""Checks of single messages: starting twice, kinds that nobody knows, nonsense, keys, and the end."""

from collections.abc import Callable
from typing import Final

from gateway.certify.checks.check import Check, accepted, agent_hears, caller_hears
from gateway.certify.trial import Failed, Trial, wait
from gateway.events import CallStarted

ENDS_WITHIN_S: Final = 5.0
NORMAL: Final = 1000


async def starts_once(trial: Trial) -> None:
    """Start again in the middle of a call."""
    trial.lacks("start")
    async with trial.call() as call:
        began = len(call.story.items(CallStarted))
        await caller_hears(call, "r1", seed=21, ms=200)
        await call.line.send(*call.speaker.begin_again())
        await caller_hears(call, "r2", seed=22, ms=200)
        await agent_hears(call, seed=23)
        again = len(call.story.items(CallStarted)) - began
        if again:
            raise Failed(f"a second start began the call {again + 1} times; expected that it is refused")
        if len(trial.registry.listing()) != 1:
            raise Failed(
                f"after a second start there are {len(trial.registry.listing())} calls; expected one"
            )


async def lives_with_unknown_kinds(trial: Trial) -> None:
    """Say what the carrier may say one day."""
    trial.lacks("kinds")
    async with trial.call() as call:
        for _ in range(12):  # more than may be unreadable in a row
            await call.line.send(call.speaker.unknown())
        await agent_hears(call, seed=31)
        await caller_hears(call, "r1", seed=32, ms=200)


async def lives_with_nonsense(trial: Trial) -> None:
    """Say what nobody can read."""
    async with trial.call() as call:
        for message in call.speaker.unreadable():
            await call.line.send(message)
        await agent_hears(call, seed=41)
        await caller_hears(call, "r1", seed=42, ms=200)


async def keys_arrive(trial: Trial) -> None:
    """Press keys."""
    trial.lacks("keys")
    async with trial.call() as call:
        for digit in "40*#":
            await call.line.send(call.speaker.press(digit))

        def asked() -> list[str]:
            replies = [one for one in call.session.received if one.get("type") == "reply.create"]
            return [str(one.get("instructions", "")) for one in replies]

        await call.until(
            asked, "the keys 4, 0, * and # were pressed, and the agent was told of none; expected all"
        )
        if "40*#" not in asked()[0]:
            raise Failed(f"the keys 40*# were pressed, and the agent was told: {asked()[0]}; expected 40*#")
        accepted(call.line)


async def stop_ends_the_call(trial: Trial) -> None:
    """Hang up as the caller does."""
    async with trial.call() as call:
        if "stop" in call.speaker.lacks:
            await call.line.close()
            await call.speaker.gone()
        else:
            await call.line.send(*call.speaker.stop())
        over = f"the caller hung up, and {ENDS_WITHIN_S:g} s later the {{}}; expected that it ends at once"
        await _ends(call.session.over.is_set, over.format("agent was still in a session"))
        await _ends(lambda: not trial.registry.listing(), over.format("call was still there"))


async def hanging_up_closes(trial: Trial) -> None:
    """Hang up from the gateway's side."""
    async with trial.call() as call:
        await caller_hears(call, "r1", seed=51, ms=100)
        for one in trial.registry.listing():
            one.hang_up("the check hangs up")
        over = f"the gateway hung up, and {ENDS_WITHIN_S:g} s later the {{}}; expected that it ends at once"
        await _ends(call.line.closed.is_set, over.format("media socket was still open"))
        await _ends(call.session.over.is_set, over.format("agent was still in a session"))
        if call.line.close_code != NORMAL:
            code = call.line.close_code
            raise Failed(f"the gateway hung up and closed the socket with {code}; expected {NORMAL}")
        accepted(call.line)


async def _ends(condition: Callable[[], object], otherwise: str) -> None:
    await wait(condition, otherwise, within_s=ENDS_WITHIN_S)


CHECKS: Final = (
    Check(
        "start", "A second start is refused, and the call goes on.", "docs/reference/dialects.md", starts_once
    ),
    Check(
        "unknown",
        "Kinds of messages that nobody knows are passed over.",
        "docs/howto/new-carrier.md",
        lives_with_unknown_kinds,
    ),
    Check(
        "nonsense", "What cannot be read changes nothing.", "docs/howto/new-carrier.md", lives_with_nonsense
    ),
    Check("keys", "Keys that the caller presses reach the agent.", "docs/reference/dialects.md", keys_arrive),
    Check("stop", "A caller that hangs up ends the call.", "docs/reference/dialects.md", stop_ends_the_call),
    Check(
        "goodbye",
        "A gateway that hangs up closes the connection.",
        "docs/reference/dialects.md",
        hanging_up_closes,
    ),
)
