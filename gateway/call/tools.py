"""The tool ledger: which tools run, whose results are held, sent and delivered.

Owns the rules of when a result goes to the agent and that no tool runs twice. Running a tool is the
runtime's. A result counts as delivered when a later reply shows that the agent has taken it.
"""

from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final

from gateway.commands import AbandonTool, AnyCommand, AskReply, RunTool, SendResult
from gateway.events import CallerAnsweredTool, ToolCalled, ToolFinished

MEMORY: Final = 256
"""Calls remembered, so that a repeated request is recognised."""


MOST_OPEN: Final = 32
"""Calls that may wait for their result at once; an agent that asks for more is told so."""
TOO_MANY: Final = '{"error": "too many tools are running; wait for their results, then ask again"}'


class State(StrEnum):
    """Where a tool call stands."""

    RUNNING = "running"
    HELD = "held"
    SENT = "sent"
    DELIVERED = "delivered"
    ABANDONED = "abandoned"


_OPEN: Final = frozenset({State.RUNNING, State.HELD})


class ToolCall:
    """One request of the agent."""

    __slots__ = ("called", "expires_at", "name", "orphaned", "reply_id", "result", "state", "tool_call_id")

    def __init__(self, called: ToolCalled, reply_id: str, expires_at: float | None) -> None:
        self.called = called
        self.expires_at = expires_at
        """Until when the client's answer is waited for; None for the route's own tools."""
        self.tool_call_id = called.tool_call_id
        self.name = called.name
        self.reply_id = reply_id
        self.state = State.RUNNING
        self.result: SendResult | None = None
        self.orphaned = False
        """The session that asked is gone; its successor is told the result in words."""


class ToolLedger:
    """The tool calls of one call."""

    def __init__(self, cancellable: AbstractSet[str]) -> None:
        self._cancellable = cancellable
        self._calls: dict[str, ToolCall] = {}
        self._open: dict[
            str, ToolCall
        ] = {}  # those that run or are held; looked at in every step, so it is kept apart

    def called(self, event: ToolCalled, reply_id: str, expires_at: float | None = None) -> list[AnyCommand]:
        """The agent wants a tool run; a repeated request runs nothing and may only repeat the answer.

        With ``expires_at`` the tool is the client's, and nothing is run here.
        """
        if event.informational:
            return []
        if known := self._calls.get(event.tool_call_id):
            may_repeat = known.result and known.state is State.SENT and not known.orphaned
            return [known.result] if known.result and may_repeat else []
        if len(self._open) >= MOST_OPEN:
            return [SendResult(event.tool_call_id, TOO_MANY, failed=True)]
        self._calls[event.tool_call_id] = call = ToolCall(event, reply_id, expires_at)
        self._open[event.tool_call_id] = call
        self._forget()
        return [] if expires_at else [RunTool(event.tool_call_id, event.name, event.arguments)]

    def knows(self, tool_call_id: str) -> bool:
        """Whether this call was taken."""
        return tool_call_id in self._calls

    def answered(self, event: CallerAnsweredTool) -> bool:
        """The client has answered; False when no tool of its own was called so."""
        call = self._calls.get(event.tool_call_id)
        if call is None or call.expires_at is None:
            return False
        self._finish(call, event)
        return True

    def finished(self, event: ToolFinished) -> None:
        """A tool has come to its end; `release` sends the result when its time has come."""
        call = self._calls.get(event.tool_call_id)
        if call is not None and call.expires_at is None:
            self._finish(call, event)

    @staticmethod
    def _finish(call: ToolCall, event: ToolFinished | CallerAnsweredTool) -> None:
        if call.state is not State.RUNNING:
            return
        call.result = SendResult(event.tool_call_id, event.result, event.failed)
        call.state = State.HELD

    def release(self) -> list[AnyCommand]:
        """Give the results that are held; asked for only while the agent may be given them."""
        out: list[AnyCommand] = []
        told: list[str] = []
        for call in list(self._open.values()):
            if call.state is State.HELD and call.result:
                self._settle(call, State.SENT)
                if call.orphaned:
                    told.append(f"The tool {call.name} has answered: {call.result.result}")
                else:
                    out.append(call.result)
        if told:  # in one message: each would be answered by a reply of its own
            before = "This was asked for before the connection was interrupted."
            out.append(AskReply(" ".join([before, *told, "Go on from there."])))
        return out

    def shown(self) -> None:
        """The agent has begun a reply: it has taken every result that was sent."""
        for call in self._calls.values():
            if call.state is State.SENT:
                call.state = State.DELIVERED

    def reply_interrupted(self, reply_id: str) -> list[AnyCommand]:
        """The caller interrupted a reply: nobody waits for the tools it called, and held results go."""
        out: list[AnyCommand] = []
        for call in list(self._open.values()):
            if call.reply_id == reply_id:
                out += self._abandon(call)
        return out

    def resumed(self) -> None:
        """The session that was lost goes on: what it never took is sent again."""
        for call in self._calls.values():
            if call.state is State.SENT:
                call.state = State.HELD
        self._find_open()

    def session_gone(self) -> None:
        """Another session takes over: it cannot be given results, but it can be told of them."""
        for call in self._calls.values():
            if call.state in {State.RUNNING, State.HELD, State.SENT}:
                call.orphaned = True
                call.state = State.HELD if call.result else State.RUNNING
        self._find_open()

    def abandon_all(self) -> list[AnyCommand]:
        """The call is over."""
        running = [call for call in self._open.values() if call.state is State.RUNNING]
        return [command for call in running for command in self._abandon(call)]

    def expire(self, now: float) -> None:
        """Let time pass: nobody waits for ever for a client's answer."""
        for call in list(self._open.values()):
            if call.state is State.RUNNING and call.expires_at is not None and now >= call.expires_at:
                self._settle(call, State.ABANDONED)

    @property
    def expires_at(self) -> float:
        """When `expire` will have something to do next."""
        waiting = (c.expires_at for c in self._open.values() if c.state is State.RUNNING and c.expires_at)
        return min(waiting, default=float("inf"))

    @property
    def unanswered(self) -> list[ToolCalled]:
        """The calls of the client's own tools that it has not answered."""
        waiting = (c for c in self._open.values() if c.state is State.RUNNING and c.expires_at)
        return [call.called for call in waiting]

    @property
    def running(self) -> bool:
        """Whether the agent waits for a tool that is running."""
        return any(call.state is State.RUNNING for call in self._open.values())

    @property
    def pending(self) -> bool:
        """Whether a tool is running or a result waits to be sent."""
        return bool(self._open)

    def _abandon(self, call: ToolCall) -> list[AnyCommand]:
        was_running = call.state is State.RUNNING and call.expires_at is None
        self._settle(call, State.ABANDONED)
        # a half-made booking is worse than an unheard answer: a tool runs to its end unless it says otherwise
        return [AbandonTool(call.tool_call_id, cancel=call.name in self._cancellable)] if was_running else []

    def _settle(self, call: ToolCall, state: State) -> None:
        """It neither runs nor is held any more."""
        call.state = state
        del self._open[call.tool_call_id]

    def _find_open(self) -> None:
        self._open = {name: call for name, call in self._calls.items() if call.state in _OPEN}

    def _forget(self) -> None:
        while len(self._calls) > MEMORY:
            done = (i for i, c in self._calls.items() if c.state not in _OPEN)
            if (oldest := next(done, None)) is None:
                return
            del self._calls[oldest]
