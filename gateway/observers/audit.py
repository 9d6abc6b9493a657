"""The audit trail: who was let in and who was not, whose key was used, what began, was transferred and ended.

Owns what stands in the trail. Refuses words, keys and whole numbers: a line tells that something happened, to which
call, through which route, agent and region, and in whose name. `note` may be called from anywhere and never waits.
Whether lines belong together is `gateway.observers.audit_chain`'s, the file `gateway.observers.audit_file`'s.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.commands import CallEnded, EndingSettled, Entry, OpenAgent, Remember, Transfer
from gateway.contracts import Observer, ObserverKind
from gateway.errors import ConfigError
from gateway.events import CallInfo, CallStarted
from gateway.hookspecs import hookimpl
from gateway.observers.audit_chain import STOPPED
from gateway.observers.audit_file import AuditFile, log, look_at_end
from gateway.observers.journal import WritingThread, versions
from gateway.redaction import REDACTION, mask_number
from gateway.settings import Secret, Settings
from gateway.terms import CallTerms

TICK_S: Final = 1.0
"""How long a line may wait to be written when no other follows."""
CLOSE_S: Final = 5.0
"""How long the end of the process waits for the disk."""
LONGEST: Final = 300
"""Longest text in a line."""
NO_TRAIL: Final = "look at it with `talkpath audit verify`, then move it away to begin a new one"
UNSTOPPED: Final = (
    "the process before was killed or its machine failed, and `talkpath audit verify` names its calls"
)

_open: Final[list["AuditTrail"]] = []


def note(kind: str, /, **fields: object) -> None:
    """Have something stand in the trail, where there is one; empty values are left out."""
    for trail in _open:
        trail.note(kind, fields)


def note_access(what: str, fields: dict[str, object]) -> None:
    """Take from a line about access what belongs in the trail: refusals, uses of keys, and who came to which call."""
    if not _open:
        return
    fields = {"webhook" if name == "kind" else name: value for name, value in fields.items()}
    status = fields.get("status")
    if status is None and "recognised" in fields:
        return  # what a socket looks like is neither a refusal nor a proof
    is_refused = bool(fields.get("why")) or (isinstance(status, int) and status >= 400)
    if what == "joined":
        note("call.joined", **fields)
    elif is_refused:
        note("refused", what=what, **fields)
    elif fields.get("who"):
        note("key.used", what=what, **fields)


class AuditTrail:
    """The trail of one process while it is open."""

    def __init__(self, file: AuditFile) -> None:
        self._file = file
        self._thread = WritingThread()
        self._is_due = False

    def note(self, kind: str, fields: dict[str, object]) -> None:
        """Take a line; returns at once."""
        line: dict[str, Any] = {"at": round(time.time(), 3), "kind": kind}
        for name, value in fields.items():
            if value not in ("", None):
                is_plain = isinstance(value, bool | int | float | dict | list)
                line[name] = value if is_plain else REDACTION.clean(str(value)[:LONGEST])
        self._file.put(line)
        if not self._is_due:
            self._is_due = True
            self._thread.submit(self._write)

    def _write(self) -> None:
        self._is_due = False  # first: what comes while it writes asks for another turn
        self._file.write()

    @asynccontextmanager
    async def lifetime(self, settings: Settings) -> AsyncIterator[None]:
        """Keep the trail open; a disk that refuses is asked again every second.

        Raises:
            ConfigError: when it cannot be opened.
        """
        await asyncio.to_thread(self._begin, settings)
        loop = asyncio.get_running_loop()
        timer: list[asyncio.TimerHandle] = []

        def tick() -> None:
            if self._file.has_work:
                self._thread.submit(self._write)
            timer[:] = [loop.call_later(TICK_S, tick)]

        tick()
        _open.append(self)
        try:
            yield
        finally:
            timer[0].cancel()
            self.note(STOPPED, {})
            _open.remove(self)
            self._thread.submit(self._file.close)
            await asyncio.to_thread(self._thread.close, CLOSE_S)

    def _begin(self, settings: Settings) -> None:
        path = settings.audit.path
        try:
            self._file.open()
        except BlockingIOError as error:
            raise ConfigError(
                f"audit.path: {path} is written by another process; give each process a file of its own"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"audit.path: {path} cannot be written ({error.strerror}); name another file"
            ) from error
        except ValueError as error:
            raise ConfigError(f"audit.path: {path}: {error}; {NO_TRAIL}") from error
        if not self._file.was_stopped:
            log.warning("trail.unstopped path=%s n=%d; %s", path, self._file.head.n, UNSTOPPED)
        sections, before = digests(settings), self._file.sections
        self.note(
            "started", {**versions(), "calls": settings.limits.calls, "keys": len(settings.access.keys)}
        )
        if sections != before:
            changed = sorted(
                name for name in sections.keys() | before.keys() if sections.get(name) != before.get(name)
            )
            self.note("configuration", {"changed": changed if before else [], "sections": sections})


def digests(settings: Settings) -> dict[str, str]:
    """A digest of each section, by which a change is seen; of a secret only four digits, which tell nothing to guess by."""
    return {
        name: hashlib.sha256(
            msgspec.json.encode(getattr(settings, name), enc_hook=_fingerprint, order="sorted")
        ).hexdigest()[:16]
        for name in settings.__struct_fields__
    }


def _fingerprint(value: object) -> object:
    text = value.reveal() if isinstance(value, Secret) else repr(value)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:4]


class CallAudit:
    """Notes what of one call is to be accounted for."""

    wants: tuple[type, ...] = (CallStarted, OpenAgent, Transfer, Remember)

    def __init__(self, trail: AuditTrail, info: CallInfo, terms: CallTerms) -> None:
        self._trail = trail
        self._info = info
        self._terms = terms
        self._regions = {agent.name: agent.region for agent in terms.agents}
        self._agent = terms.agents[0].name if terms.agents else ""
        self._ended = False

    def see(self, entry: Entry) -> None:
        """Note an entry if it is to be accounted for."""
        match entry.item:
            case CallStarted():
                info = self._info
                caller, callee = mask_number(info.caller), mask_number(info.callee)
                admitted_by = info.admitted_by
                self._note(
                    "call.started",
                    caller=caller,
                    callee=callee,
                    admitted_by=admitted_by,
                    carrier_call_id=info.carrier_call_id,
                )
            case OpenAgent(agent=agent, rung=rung):
                self._agent = agent
                self._note("agent.opened", rung=rung)
            case Transfer(target=target):
                self._note("call.transferred", target=mask_number(target))
            case Remember(fact=EndingSettled(kind=kind, outcome=outcome)):
                self._note("ending.settled", ending=kind, outcome=outcome)
            case Remember(fact=CallEnded(reason=reason)):
                self._ended = True
                self._note("call.ended", reason=reason)

    def close(self) -> None:
        """The call is over; one that never said so was ended by a bug."""
        if not self._ended:
            self._note("call.ended", reason="bug")

    def _note(self, kind: str, **fields: object) -> None:
        place = {
            "call_id": self._info.call_id,
            "adapter": self._info.adapter,
            "route": self._terms.route,
            "agent": self._agent,
            "region": self._regions.get(self._agent) or "this machine",
        }
        self._trail.note(kind, {**place, **fields})


@hookimpl
def register_observers(settings: Settings) -> list[ObserverKind]:
    """The trail is kept when there is a path for it.

    Raises:
        ConfigError: when the path can be none.
    """
    audit = settings.audit
    if not audit.path:
        return []
    path = Path(audit.path)
    if path.is_dir():
        raise ConfigError(f"audit.path: {path} is a folder; name a file in it")
    try:
        look_at_end(path)
    except OSError:
        pass  # whoever checks may not be who serves; that one is told when it opens the trail
    except ValueError as error:
        raise ConfigError(f"audit.path: {path}: {error}; {NO_TRAIL}") from error
    key = audit.key[0].reveal().encode() if audit.key else b""
    file = AuditFile(
        path, key=key, sync_s=audit.sync_s, max_bytes=audit.max_bytes, keep_files=audit.keep_files
    )
    trail = AuditTrail(file)

    def watch(info: CallInfo, terms: CallTerms) -> Observer:
        return CallAudit(trail, info, terms)

    return [ObserverKind("audit", watch, lambda: trail.lifetime(settings))]
