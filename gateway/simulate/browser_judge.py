"""Judges what a server of the Voice Agent API sends: what no client of the live service has ever been sent.

Owns the order and the shape of its messages, written from the reference (sections 2, 4, 6 and 13.7) alone. Refuses
sockets and sound: it is shown each message once, and gives its complaints in sentences.
"""

from typing import Any, Final

LATE_AUDIO: Final = "reply.audio of a reply that is done"
_STATUSES: Final = {"completed", "interrupted"}
_FATAL: Final = {
    "unauthorized", "agent_not_found", "session_not_found", "session_forbidden", "session_expired", "at_capacity",
    "concurrency_exceeded", "internal_error",
}  # fmt: skip
"""Errors after which the service closes whenever they come (6.1)."""
_OF_CONFIGURATION: Final = {"invalid_value", "invalid_config", "invalid_webhook"}
"""Errors after which it closes when they answer the first update."""

Json = dict[str, Any]


class Judge:
    """What one client has been told in one session, over all of its sockets."""

    def __init__(self) -> None:
        self.session_id = ""
        self.resume_token = ""
        self.ended = False
        """Whether the session is over by its own words."""
        self.fatal: Json | None = None
        """The error after which the server must close."""
        self.ready = False
        """Whether sound may be sent on the socket in use."""
        self._updated: Any = None
        self._resuming = False
        self._open: dict[str, bool] = {}  # replies in progress: whether their final words have come
        self._done: set[str] = set()

    def reconnect(self) -> None:
        """Another socket goes on with the session."""
        self.ready, self._resuming = False, True

    def see(self, event: Json) -> list[str]:
        """Take a message; gives what is wrong with it."""
        kind = event.get("type")
        if not isinstance(kind, str):
            return ["a message without type"]
        wrong = [] if isinstance(event.get("timestamp"), float) else [f"{kind} without a float timestamp"]
        if self.ended:
            wrong.append(f"{kind} after session.ended")
        if not self.ready and not kind.startswith(("session.", "talkpath.")):
            wrong.append(f"{kind} before session.ready")
        handler = getattr(self, "_" + kind.replace(".", "_"), None)
        return [*wrong, *(handler(event) if handler else [])]

    # The session

    def _session_updated(self, event: Json) -> list[str]:
        config = event.get("config")
        if not self.ready and self._resuming:
            return ["session.updated in answer to session.resume"]
        if not self.ready:
            self._updated = config
        return _config_complaints(config)

    def _session_ready(self, event: Json) -> list[str]:
        wrong = _config_complaints(event.get("config"))
        session_id, token = event.get("session_id"), event.get("resume_token")
        if not isinstance(session_id, str) or not session_id or not isinstance(token, str) or not token:
            wrong.append("session.ready without session_id or resume_token")
        elif self.session_id and (session_id, token) != (self.session_id, self.resume_token):
            wrong.append("session.ready with another session_id or resume_token than before")
        else:
            self.session_id, self.resume_token = session_id, token
        if self.ready:
            wrong.append("a second session.ready on one socket")
        elif not self._resuming and self._updated is None:
            wrong.append("session.ready before session.updated")
        elif not self._resuming and self._updated != event.get("config"):
            wrong.append("session.updated and session.ready with different configurations")
        if not isinstance(event.get("expires_at"), int):
            wrong.append("session.ready without expires_at")
        self.ready = True
        return wrong

    def _session_error(self, event: Json) -> list[str]:
        code = event.get("code")
        if not isinstance(code, str) or code != code.lower() or not isinstance(event.get("message"), str):
            return ["session.error without a lower-case code and a message"]
        if code in _FATAL or (not self.ready and code in _OF_CONFIGURATION):
            self.fatal = event
        return []

    def _session_ended(self, event: Json) -> list[str]:
        self.ended = True
        lasted = isinstance(event.get("session_duration_seconds"), float)
        return [] if lasted and "audio_duration_seconds" in event else ["session.ended without its durations"]

    # Replies

    def _reply_started(self, event: Json) -> list[str]:
        reply_id = event.get("reply_id")
        if not isinstance(reply_id, str) or not reply_id:
            return ["reply.started without reply_id"]
        if reply_id in self._open and not self._resuming:
            return ["a reply that was started twice"]
        self._open[reply_id] = False
        self._done.discard(reply_id)  # what went down with a socket may be told again
        return []

    def _reply_audio(self, event: Json) -> list[str]:
        reply_id = event.get("reply_id")
        if not isinstance(event.get("data"), str):
            return ["reply.audio without data"]
        if reply_id in self._done:
            return [LATE_AUDIO]
        return [] if reply_id in self._open else ["reply.audio of a reply that was not started"]

    def _transcript_agent(self, event: Json) -> list[str]:
        reply_id = event.get("reply_id")
        if not isinstance(event.get("text"), str) or not isinstance(event.get("interrupted"), bool):
            return ["transcript.agent without text or interrupted"]
        if reply_id in self._done:
            return ["transcript.agent after its reply.done"]
        if reply_id in self._open:
            self._open[reply_id] = True
        return []

    def _reply_done(self, event: Json) -> list[str]:
        reply_id = event.get("reply_id")
        wrong = [] if event.get("status") in _STATUSES else ["reply.done without a known status"]
        if reply_id in self._done:
            wrong.append("a reply.done that came twice")
        elif reply_id not in self._open:
            wrong.append("reply.done of a reply that was not started")
        self._open.pop(str(reply_id), None)
        self._done.add(str(reply_id))
        return wrong

    # Everything else that has a shape

    def _tool_call(self, event: Json) -> list[str]:
        right = isinstance(event.get("call_id"), str) and isinstance(event.get("arguments"), dict)
        return [] if right else ["tool.call without call_id or with arguments that are no object"]

    def _transcript_user(self, event: Json) -> list[str]:
        return [] if isinstance(event.get("text"), str) else ["transcript.user without text"]

    _transcript_user_delta = _transcript_user


def _config_complaints(config: Any) -> list[str]:
    """What is wrong with an echoed configuration (4.2): everything is there, null where nothing was set."""
    if not isinstance(config, dict):
        return ["a session message without its configuration"]
    missing = [
        name for name in ("id", "system_prompt", "greeting", "input", "output", "tools") if name not in config
    ]
    for side in ("input", "output"):
        form = (config.get(side) or {}).get("format")
        if not isinstance(form, dict) or form.keys() != {"encoding", "sample_rate"}:
            missing.append(f"{side}.format")
    return [f"a configuration without {', '.join(missing)}"] if missing else []
