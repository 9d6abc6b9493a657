"""Checks of a call over more than one connection."""

from typing import Final

from gateway.certify.checks.check import Check, agent_hears, caller_hears
from gateway.certify.trial import Failed, Trial, wait
from gateway.simulate.webhook import WebhookError

ENDS_WITHIN_S: Final = 10.0


async def lost_connections_are_come_back_to(trial: Trial) -> None:
    """Cut the connection; come back where the dialect can, else see the call end."""
    async with trial.call() as call:
        await caller_hears(call, "r1", seed=131, ms=100)
        sessions = len(trial.agent.sessions)
        call.line.kill()
        await wait(call.line.closed.is_set, "the connection could not be cut")
        if "return" in call.speaker.lacks:
            late = f"the connection was lost, and {ENDS_WITHIN_S:g} s later the agent was still in a session"
            await wait(
                call.session.over.is_set, f"{late}; expected that the call ends", within_s=ENDS_WITHIN_S
            )
            return
        try:
            way = await call.speaker.come_back()
        except WebhookError as error:
            raise Failed(f"the connection was lost, and the way back was not shown: {error}") from error
        async with trial.open(call.speaker, way) as again:
            if call.speaker.says_ready:
                await wait(again.ready.is_set, "whoever came back was not told that it may speak", again)
            await agent_hears(call, seed=132, line=again)
            await caller_hears(call, "r2", seed=133, line=again, ms=300)
            if len(trial.agent.sessions) != sessions:
                raise Failed("whoever came back got another session with the agent; expected the same one")


CHECKS: Final = (
    Check(
        "return",
        "A lost connection is come back to, or ends the call.",
        "docs/reference/dialects.md",
        lost_connections_are_come_back_to,
    ),
)
