"""When an event can occur at all.

Owns what the reference excludes: sound of a caller who is away, words of an agent that is not ready. Refuses
judgement of an event's content.
"""

from typing import Final

from gateway.events import (
    AgentSaid,
    AnyEvent,
    CallerAnsweredTool,
    CallerAudio,
    CallerConfigured,
    CallerForwarded,
    CallerLeft,
    CallerLost,
    CallerPressed,
    CallerPrompted,
    CallStarted,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    StopRequested,
    TimeReached,
    ToolCalled,
    UserSaid,
)

BEFORE_THE_CALL: Final = frozenset({CallStarted, CallerLeft, CallerLost, StopRequested, TimeReached})
"""The only events that make sense before the call has started."""
OF_THE_CALLER: Final = frozenset(
    {CallerAudio, CallerPressed, CallerConfigured, CallerPrompted, CallerAnsweredTool, CallerForwarded}
)
"""Events that only a caller who is there can cause."""
OF_THE_AGENT: Final = frozenset(
    {SpeechStarted, SpeechStopped, UserSaid, ReplyStarted, ReplyAudio, AgentSaid, ReplyEnded, ToolCalled}
)
"""Events that only an agent that is ready can cause; warnings and unknown messages may come before."""


def why_impossible(event: AnyEvent, *, started: bool, caller_up: bool, agent_up: bool) -> str:
    """Why an event cannot have happened now; empty when it can."""
    kind = type(event)
    if not started:
        return "" if kind in BEFORE_THE_CALL else "the call has not started"
    if kind in OF_THE_AGENT and not agent_up:
        return "no agent is ready"
    if kind in OF_THE_CALLER and not caller_up:
        return "the caller is away"
    return ""
