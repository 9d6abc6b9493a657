"""Calls that end in every polite way, at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Literal

from live_gateway import TOKEN, Story, live_gateway
from msgspec import Struct
from together import Outcomes, run_together

from gateway.observers.transcript import TranscriptLine
from gateway.simulate import CallerFaults, CallResult, CallScript, TwilioRest, Utterance, call_twilio
from gateway.simulate.provider import Provider
from gateway.simulate.twilio_rest import RestRequest
from gateway.simulate.voice import recording

PLAIN, WITH_REST, REST_FAILS = "plain", "with-rest", "rest-fails"
TALKED_OVER, NO_MARKS, LATE_MARKS, CALLER_LEAVES = "talked-over", "no-marks", "late-marks", "caller-leaves"
ACCOUNT = "AC" + "0" * 32
GOODBYE_S = 6.0
LATE_S = 0.3
CONFIGURATION = """
server: {{port: 0, admin_port: 0}}
regions: {{one: {{voice_agent: "{url}"}}}}
agents:
  one: {{kind: voice_agent, sessions_per_minute: 100000, region: one, api_key: none, session: {{greeting: Hello.}}, tools: [hang_up]}}
routes: [{{name: all, agent: one, dtmf: text}}]
adapters: {{twilio: {{auth_token: {token}{rest}}}}}
limits: {{goodbye_s: {goodbye_s}}}
"""


class Ended(Struct, frozen=True):
    """How one call ended."""

    result: CallResult
    story: Story
    lines: list[TranscriptLine]
    requests: list[RestRequest]
    """What the carrier's REST interface was asked."""
    messages: list[str]
    """Types of what the agent's session received, sound apart."""


def press(*utterances: Utterance) -> CallScript:
    """Nine ends the call; then whatever else is said."""
    nine = Utterance(label="key 9", digits="9")
    return CallScript(utterances=(nine, *utterances), hang_up=False, max_s=25.0)


async def end_everywhere() -> Outcomes[Ended]:
    """All scenarios side by side."""
    scenarios: dict[str, Callable[[], Awaitable[Ended]]] = {
        PLAIN: lambda: _call(press()),
        WITH_REST: lambda: _call(press(), rest=True),
        REST_FAILS: lambda: _call(press(), rest=True, failing=[500] * 20),
        TALKED_OVER: lambda: _call(
            press(_over("cards_001.wav", 0.6), Utterance(label="key 9", digits="9")), profile="burst"
        ),
        NO_MARKS: lambda: _call(press(), faults=CallerFaults(withhold_marks=True)),
        LATE_MARKS: lambda: _call(press(), faults=CallerFaults(late_marks_s=LATE_S)),
        CALLER_LEAVES: lambda: _call(CallScript(max_s=2.0, hang_up=False), rest=True),
    }
    return await run_together(scenarios)


def _over(name: str, after_s: float) -> Utterance:
    said = recording(name)
    return Utterance(label=said.label, pcm=said.pcm, rate_hz=said.rate_hz, over_after_s=after_s)


async def _call(
    script: CallScript,
    *,
    faults: CallerFaults | None = None,
    rest: bool = False,
    failing: list[int] | None = None,
    profile: Literal["realtime", "burst"] = "realtime",
) -> Ended:
    """One call over a gateway of its own, with the carrier's REST interface configured or not."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(Provider(profile=profile))
        carrier = await stack.enter_async_context(TwilioRest(ACCOUNT, TOKEN))
        carrier.failing_next = failing or []
        credentials = f", account_sid: {ACCOUNT}, rest: '{carrier.url}'" if rest else ""
        configuration = CONFIGURATION.format(
            url=provider.url, token=TOKEN, rest=credentials, goodbye_s=GOODBYE_S
        )
        gateway = await stack.enter_async_context(live_gateway(configuration))
        result = await call_twilio(
            gateway.url,
            token=TOKEN,
            script=script,
            faults=faults,
            callee="+1",
            rest=carrier,
            account_sid=ACCOUNT,
        )
        story = await gateway.witness.ended("+1", 20)
        (session,) = provider.sessions.values()
        messages = [str(message["type"]) for message in session.messages]
        return Ended(result, story, gateway.witness.lines["+1"], list(carrier.requests), messages)


def run_goodbyes() -> Outcomes[Ended]:
    """The same, from where nothing runs yet."""
    return asyncio.run(end_everywhere())
