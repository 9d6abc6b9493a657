"""What a trail tells of processes that ended without a word, and of the calls that they took with them.

Owns the reading of ``started``, ``stopped`` and of the beginnings and ends of calls, line by line. Refuses seals, which
are `gateway.observers.audit_chain`'s: that a process was killed is no fault of its trail.
"""

from collections.abc import Mapping
from typing import Any, Final

MOST_NAMED: Final = 10
"""Calls that are named in one sentence; the others are counted."""


class Ends:
    """Reads the lines of a trail in order."""

    def __init__(self) -> None:
        self._runs = False
        self._live: dict[str, None] = {}

    def read(self, fields: Mapping[str, Any]) -> str:
        """Take a line; at a start with no stop before it, say what is known of the process before. Else empty."""
        kind, call_id = fields.get("kind"), fields.get("call_id")
        told = self._of_the_one_before() if kind == "started" and self._runs else ""
        if kind in ("started", "stopped"):
            self._runs = kind == "started"
            self._live.clear()
        elif kind == "call.started" and isinstance(call_id, str):
            self._runs = True  # also where the file with its start is gone
            self._live[call_id] = None
        elif kind == "call.ended" and isinstance(call_id, str):
            self._live.pop(call_id, None)
        return told

    def _of_the_one_before(self) -> str:
        return (
            "is a start without a stop before it: the process before was killed, or its machine failed; "
            + self._calls()
        )

    def _calls(self) -> str:
        if not self._live:
            return "no call was live then"
        count = len(self._live)
        names = ", ".join(list(self._live)[:MOST_NAMED])
        others = f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
        return (
            f"1 call was live then and has no end here: {names}"
            if count == 1
            else f"{count} calls were live then and have no end here: {names}{others}"
        )
