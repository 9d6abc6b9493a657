"""One line in the log for the start and the end of a call, and for each thing that went wrong.

Owns what the log says of calls. Refuses content: no words, keys, arguments or
results of a call, and no whole telephone number, ever appear. Lines read ``call.ended call_id=… reason=…``; the same
fields are on the record, as ``record.event`` and ``record.fields``, for structured handlers.
"""

import logging
import re
from typing import Any, Final

from gateway.commands import (
    CallEnded,
    EndingSettled,
    Entry,
    GapClosed,
    Oddity,
    OpenAgent,
    Remember,
    WatchdogFired,
)
from gateway.contracts import Observer, ObserverKind
from gateway.events import AgentLost, AgentReady, AgentRefused, AgentWarned, CallerLost, CallInfo, CallStarted
from gateway.hookspecs import hookimpl
from gateway.redaction import MASK, REDACTION, mask_number, mask_numbers
from gateway.terms import CallTerms

log: Final = logging.getLogger("talkpath.calls")

MAX_ANOMALIES: Final = 50
"""Lines about one call's anomalies; a peer that does nothing but wrong cannot fill the disk."""
_FREE_TEXT: Final = 200
"""Longest text of a peer in a line."""


class CallLog:
    """Writes one call's lines."""

    wants: tuple[type, ...] = (
        CallStarted,
        CallerLost,
        OpenAgent,
        AgentReady,
        AgentLost,
        AgentRefused,
        AgentWarned,
        Remember,
    )

    def __init__(self, info: CallInfo, terms: CallTerms) -> None:
        self._info = info
        self._terms = terms
        self._began_at: float | None = None
        self._last_at = 0.0
        self._opening: OpenAgent | None = None
        self._anomalies = 0
        self._ended = False

    def see(self, entry: Entry) -> None:
        """Write a line if the entry is worth one."""
        self._last_at = entry.at
        if self._began_at is None:
            self._began_at = entry.at
        match entry.item:
            case CallStarted():
                self._start()
            case CallerLost(reason=reason):
                if not self._terms.closing_leaves:  # else it is how clients of this dialect leave
                    self._anomaly("caller.lost", reason=reason)
            case OpenAgent() as opening:
                self._opening = opening
            case AgentReady(session_id=session_id):
                self._ready(session_id)
            case AgentLost(reason=reason, remedy=remedy):
                self._anomaly("agent.lost", reason=reason, remedy=remedy)
            case AgentRefused(code=code, remedy=remedy):
                self._anomaly("agent.refused", code=code, remedy=remedy)
            case AgentWarned(code=code):
                self._anomaly("agent.warned", code=code)
            case Remember(fact=fact):
                self._remember(fact)

    def close(self) -> None:
        """The call is over; one that never said so was ended by a bug."""
        if not self._ended:
            self._end("bug")

    def _remember(self, fact: object) -> None:
        match fact:
            case Oddity(event=event, why=why):
                self._anomaly("oddity", what=event, why=why)
            case WatchdogFired(kind=kind, detail=detail):
                self._anomaly("watchdog.fired", kind=kind, detail=detail)
            case GapClosed(gap_ms=gap_ms, rung=rung, agent=agent):
                self._anomaly("gap.closed", gap_ms=round(gap_ms), rung=rung, agent=agent)
            case EndingSettled(kind=kind, outcome=outcome):
                # an ending that was heard or taken back is how it should be
                level = logging.WARNING if outcome == "unconfirmed" else logging.INFO
                self._write(level, "ending.settled", kind=kind, outcome=outcome)
            case CallEnded(reason=reason, detail=detail):
                self._end(reason, detail)

    def _start(self) -> None:
        info, terms = self._info, self._terms
        self._write(
            logging.INFO,
            "call.started",
            adapter=info.adapter,
            route=terms.route,
            agent=terms.agents[0].name if terms.agents else "",
            caller=mask_number(info.caller),
            callee=mask_number(info.callee),
            audio=f"{terms.audio.encoding}@{terms.audio.rate_hz}",
        )

    def _ready(self, session_id: str) -> None:
        agent, rung = (self._opening.agent, self._opening.rung) if self._opening else ("", "")
        self._write(logging.INFO, "agent.ready", agent=agent, rung=rung, session_id=session_id)

    def _end(self, reason: str, detail: str = "") -> None:
        self._ended = True
        began_at = self._last_at if self._began_at is None else self._began_at
        self._write(
            logging.ERROR if reason == "bug" else logging.INFO,
            "call.ended",
            reason=reason,
            detail=detail,
            duration_s=round(self._last_at - began_at, 3),
            anomalies=self._anomalies,
        )

    def _anomaly(self, event: str, **fields: Any) -> None:
        self._anomalies += 1
        if self._anomalies <= MAX_ANOMALIES:
            self._write(logging.WARNING, event, **fields)
        elif self._anomalies == MAX_ANOMALIES + 1:
            self._write(logging.WARNING, "anomalies.muted", after=MAX_ANOMALIES)

    def _write(self, level: int, event: str, **fields: Any) -> None:
        said = {name: _clean(value) for name, value in fields.items() if value != ""}
        fields = {"call_id": self._info.call_id, **said}
        text = " ".join([event, *(f"{name}={_quoted(value)}" for name, value in fields.items())])
        log.log(level, "%s", text, extra={"event": event, "fields": fields})


def _clean(value: Any) -> Any:
    """A value without secrets and telephone numbers; numbers that are masked already stay as they are."""
    if not isinstance(value, str):
        return value
    if MASK in value:
        return REDACTION.without_secrets(value)
    return mask_numbers(REDACTION.clean(value[:_FREE_TEXT]))


def _quoted(value: Any) -> str:
    """A value in one word, or in quotation marks; control characters of peers are escaped."""
    text = str(value)
    return text if re.fullmatch(r"[^\s\"=]+", text) and text.isprintable() else repr(text)


def _watch(info: CallInfo, terms: CallTerms) -> Observer:
    return CallLog(info, terms)


@hookimpl
def register_observers() -> list[ObserverKind]:
    """Every call is logged."""
    return [ObserverKind("log", _watch)]
