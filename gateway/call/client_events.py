"""What each event of a caller's client means: a program that speaks the Voice Agent API rather than a telephone.

Owns what such a client may ask of the session, what it is told in return, and what it finds when it comes back. What
all callers have in common is in `caller_events`.
"""

from typing import ClassVar, Final

import msgspec

from gateway.call.caller_events import CallerEvents
from gateway.call.client_session import Asked
from gateway.call.conversation import LONGEST_NAME, Handlers
from gateway.client_rules import as_typed, goes_on, read_message
from gateway.commands import Forward, Tell
from gateway.events import (
    CallerAnsweredTool,
    CallerConfigured,
    CallerForwarded,
    CallerPrompted,
    CallerReturned,
    CallStarted,
)

NOT_UNDERSTOOD: Final = "session.update was not understood; send {'session': {…}}"


class ClientEvents(CallerEvents):
    """A conversation that understands a client."""

    def _client_started(self, event: CallStarted, now: float) -> None:
        if event.raw and not self._started:
            asked = self._client.first(event.raw, self._ladder.agent.name)
            if asked.error:
                self._started = self._caller_up = True
                self._tell_error(asked.error)
                self._end("refused", asked.error[0], now)
                return
            self._kept_back = asked.kept
        self._call_started(event, now)

    def _client_returned(self, event: CallerReturned, now: float) -> None:
        self._caller_returned(event, now)
        if not self._terms.speaks_api:
            return
        if self._ready is not None:
            self._out.append(Tell(self._ready))
        self._out += map(Tell, self._telling.again(self._ledger.waits))
        self._out += map(Tell, self._telling.release(self._ledger.waits))
        self._out += map(Tell, self._tools.unanswered)

    def _caller_configured(self, event: CallerConfigured, _now: float) -> None:
        asked = self._client.update(event.raw)
        if asked.error:
            self._tell_error(asked.error)
            return
        if asked.kept:
            self._tell_kept_back(asked.kept)
        if asked.changes:
            self._configure(asked.changes, by_client=True)
        if self._terms.speaks_api and not (asked.changes and self._agent_up):
            self._tell_updated(asked)

    def _caller_prompted(self, event: CallerPrompted, now: float) -> None:
        self._watch.words(now)
        if self._client.may_instruct:
            as_it_came = self._terms.speaks_api and not self._terms.anybody
            self._ask(event.instructions, event.raw if as_it_came else "")
            return
        words = as_typed(event.instructions)
        if words != event.instructions:
            self._tell_unspoken("the instructions of reply.create were passed on as words of the caller")
        self._ask(words)

    def _caller_answered_tool(self, event: CallerAnsweredTool, now: float) -> None:
        if self._tools.answered(event):
            self._watch.words(now)
            for reply_id in self._floor.replies:
                self._floor.sign(reply_id, now)
        elif not self._terms.speaks_api:
            self._tell_notice(
                f"no tool call {event.tool_call_id[:LONGEST_NAME]!r} waits for an answer from this client"
            )

    def _caller_forwarded(self, event: CallerForwarded, _now: float) -> None:
        message = read_message(event.raw)
        if message is None or not goes_on(message.type, anybody=self._terms.anybody):
            kind = message.type[:100] if message else ""
            sentence = f"Unknown message type: {kind}"
            if self._terms.speaks_api:
                self._tell_error(("invalid_format", sentence, ""))
            else:
                self._tell_notice(sentence)
            return
        if not (message.is_of_caller or self._client.may_instruct):
            self._tell_unspoken("a conversation.message of another role than user was not passed on")
            return
        raw = message.bare if self._terms.anybody else event.raw
        if self._agent_up:
            self._out.append(Forward(raw))
        else:
            self._wishes.forward(raw)

    # Words to the client

    def _tell_error(self, error: tuple[str, str, str]) -> None:
        code, message, param = error
        if self._terms.speaks_api:
            fields = {"code": code, "message": message, "param": param or None}
            self._tell_ours("session.error", **fields)
        else:
            self._tell_notice(NOT_UNDERSTOOD if code == "invalid_format" else message)

    def _tell_updated(self, asked: Asked) -> None:
        """Answer an update that no agent will answer, now or at all."""
        self._tell_ours("session.updated", changes=msgspec.Raw(asked.changes.encode() or b"{}"))

    def _tell_unspoken(self, what: str) -> None:
        message = f"{what}: the route keeps its own system_prompt, which its client_may does not name"
        self._tell_ours("talkpath.notice", code="field_kept", fields=["system_prompt"], message=message)

    def _tell_notice(self, message: str) -> None:
        self._tell_ours("talkpath.notice", message=message)

    of_client: ClassVar[Handlers] = {
        CallStarted: _client_started,
        CallerReturned: _client_returned,
        CallerConfigured: _caller_configured,
        CallerPrompted: _caller_prompted,
        CallerAnsweredTool: _caller_answered_tool,
        CallerForwarded: _caller_forwarded,
    }
    """What is done at each of these events."""
