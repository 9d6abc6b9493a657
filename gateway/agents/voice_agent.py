"""The Voice Agent API, spoken as a client: codec, plan and registration of ``kind: voice_agent``.

Owns the wire's messages and the state of one connection: which rung it is on, whether it is ready, which tools
the provider runs itself, what a close means. Refuses resampling, retrying and every rule of conversation:
duplicates, unpaired speech events and replies without sound go to the machine as they come. Where sources
disagree about the wire it reads both forms (Voice Agent API reference, sections 2, 4, 6 and 13).
"""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.agents import voice_agent_wire as wire
from gateway.agents.voice_agent_errors import Phase, close_rule, error_rule
from gateway.agents.voice_agent_session import (
    GO_ON,
    VoiceAgentSettings,
    client_fields,
    client_update,
    first_session,
    format_clash,
    interruptible,
    negotiate,
    stored_agent,
    wire_audio,
    with_history,
)
from gateway.commands import (
    AskReply,
    CloseAgent,
    Command,
    Configure,
    Forward,
    OpenAgent,
    SendAudio,
    SendResult,
)
from gateway.contracts import AgentCall, AgentKind, Dial
from gateway.errors import ConfigError, WireError
from gateway.events import (
    AgentForwarded,
    AgentLost,
    AgentReady,
    AgentRefused,
    AgentWarned,
    Event,
    SpeechStarted,
    SpeechStopped,
)
from gateway.hookspecs import hookimpl

__all__ = ["VoiceAgentCodec", "VoiceAgentSettings", "interruptible", "negotiate", "plan", "register_agents"]


class VoiceAgentCodec:
    """Speaks the Voice Agent API over one connection.

    Fills the call's `SessionMemory` when the session is ready, so that the next connection can resume it. The
    same codec serves the offline agent, which speaks this API in the process.
    """

    ended: bool
    """Whether the agent has said `session.ended`: nothing is billed any more and the socket may be closed."""

    def __init__(self, call: AgentCall, *, greets_unasked: bool = False) -> None:
        """Make the codec of one connection.

        Args:
            call: What the connection is for.
            greets_unasked: The agent greets unless it is given an empty greeting, as the offline script does.
        """
        self.ended = False
        self._call = call
        self._greets_unasked = greets_unasked
        self._audio = wire_audio(call)
        self._phase: Phase = "opening"
        self._resumes = ""  # id of the session that we asked for
        self._token_rung = False
        self._closing = False
        self._failed = False  # a failure is reported once: by its error, or else by the close
        self._latest_error: wire.ErrorMessage | None = None  # only while nothing else came after it
        self._http_tools: frozenset[str] = frozenset()
        self._story = ""  # what a stored agent is told when it is ready
        self._owed: list[str] = []
        self._owed_reply = ""

    def encode(self, command: Command) -> list[str | bytes]:
        """Write the messages that carry out a command; none for commands without words here.

        What a stored agent must be told about the conversation that it takes over can be said only when it is
        ready; it goes out in front of the first command after that.
        """
        owes = self._owed or self._owed_reply
        if type(command) is SendAudio and not owes:  # fifty times a second
            return [wire.write_audio(command.audio)]
        message = self._write(command)
        if not message:
            return []
        if not owes:
            return [message]
        messages: list[str | bytes] = [*self._owed]
        if self._owed_reply and not isinstance(command, AskReply):
            messages.append(self._owed_reply)
        self._owed, self._owed_reply = [], ""
        return [*messages, message]

    def _write(self, command: Command) -> str:
        match command:
            case SendAudio():
                return wire.write_audio(command.audio)
            case SendResult():
                return wire.write_result(command)
            case AskReply():
                return command.raw or wire.write_ask_reply(command.instructions)
            case Configure(session, by_client):
                return self._update(session, by_client=by_client)
            case Forward():
                return command.raw
            case OpenAgent():
                return self._open(command)
            case CloseAgent() if not self._closing:
                self._closing = True
                return wire.write({"type": "session.end"})
            case _:
                return ""

    def _update(self, session: str, *, by_client: bool) -> str:
        if not by_client or stored_agent(self._call):
            return wire.write_update(Raw(session.encode()))
        fields = msgspec.json.decode(session, type=dict[str, Any])
        return wire.write_update(client_update(self._call, fields))

    def _open(self, command: OpenAgent) -> str:
        """The first message: `session.resume` where there is a session to resume, else `session.update`."""
        session_id = self._call.memory.session_id
        if command.rung != "new" and session_id:
            self._phase, self._resumes, self._token_rung = "resuming", session_id, command.rung == "token"
            return wire.write({"type": "session.resume", "session_id": session_id})
        if command.history and stored_agent(self._call):
            self._story = with_history("", command.history)
        session = first_session(self._call, command, greets_unasked=self._greets_unasked)
        return wire.write_update(session)

    def decode(self, message: str | bytes) -> list[Event]:
        """Read a message of the agent.

        Raises:
            WireError: when it is binary, no JSON object, or has a wrong type in a field that we know.
        """
        if isinstance(message, bytes):
            raise WireError("a binary message; the Voice Agent API speaks JSON text only")
        latest, self._latest_error = self._latest_error, None
        try:
            sound = wire.read_sound(message, self._audio)
            return [sound] if sound else self._read(message)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._latest_error = latest
            raise WireError(f"a message that the Voice Agent API does not have: {error}") from error

    def _read(self, raw: str) -> list[Event]:
        match wire.type_of(raw):
            case "reply.audio":
                return [*wire.read_reply_audio(raw, self._audio)]
            case "input.speech.started":
                return [SpeechStarted(raw)]
            case "input.speech.stopped":
                return [SpeechStopped(raw)]
            case "transcript.user.delta":
                return [wire.read_user_said(raw, final=False)]
            case "transcript.user":
                return [wire.read_user_said(raw, final=True)]
            case "transcript.agent.delta":
                return [wire.read_agent_said(raw, final=False)]
            case "transcript.agent":
                return [wire.read_agent_said(raw, final=True)]
            case "reply.started":
                return [wire.read_reply_started(raw)]
            case "reply.done":
                return [wire.read_reply_ended(raw)]
            case "tool.call":
                return [wire.read_tool_called(raw, self._http_tools)]
            case "session.ready":
                return self._ready(raw)
            case "session.updated":
                self._note_tools(wire.read_session(raw).config)
                return [AgentForwarded(raw)]
            case "session.ended":
                return self._session_ended()
            case "reply.error":
                error = wire.read_error(raw)
                return [AgentWarned((error.code or "reply_error").lower(), error.message or "", raw)]
            case "session.error" | "error":
                return self._session_error(wire.read_error(raw), raw)
            case None:
                error = wire.read_error(raw)  # errors without a type were seen (4.13)
                if error.code is None or error.message is None:
                    raise WireError("a message without `type`")
                return self._session_error(error, raw)
            case _:
                return [AgentForwarded(raw)]

    def _ready(self, raw: str) -> list[Event]:
        message = wire.read_session(raw)
        config = message.config
        if clash := format_clash(config, self._audio):
            self._failed = True
            return [AgentRefused("format_mismatch", clash, "fallback")]
        # Some frames carry the id in the configuration only (4.2).
        session_id = message.session_id or wire.text_of(config, "id") or self._resumes
        resumed = bool(self._resumes) and session_id == self._resumes
        memory = self._call.memory
        memory.session_id = session_id
        memory.resume_token = message.resume_token or (memory.resume_token if resumed else "")
        self._note_tools(config)
        if self._story:
            self._take_over(config, self._story)
            self._story = ""
        if not resumed and stored_agent(self._call):
            self._owe_client()
        self._phase = "live"
        return [AgentReady(session_id, resumed, raw)]

    def _take_over(self, config: object, story: str) -> None:
        """Tell a stored agent, whose id had to come alone, what it takes over.

        Its prompt may be changed once it is ready (3.1). Its greeting cannot be left out, but a reply that is
        asked for while the greeting plays replaces it (3.6). Where the echo hides the prompt, an update would
        replace it, so the story goes into that one reply.
        """
        if prompt := wire.text_of(config, "system_prompt"):
            self._owed = [wire.write_update({"system_prompt": f"{prompt}\n\n{story}"})]
            self._owed_reply = wire.write_ask_reply(GO_ON) if wire.text_of(config, "greeting") else ""
        else:
            self._owed = [wire.write_ask_reply(story)]

    def _owe_client(self) -> None:
        """A stored agent's id had to come alone; what the client set besides it follows, as far as it may change."""
        fields = client_fields(self._call)
        later = {name: value for name, value in fields.items() if name in ("system_prompt", "tools", "input")}
        if later:
            self._owed.insert(0, wire.write_update(later))

    def _note_tools(self, config: object) -> None:
        names = wire.http_tools_of(config)
        if names is not None:
            self._http_tools = names

    def _session_ended(self) -> list[Event]:
        self.ended = True
        if self._closing or self._failed:
            return []
        self._failed = True
        return [AgentLost("the agent ended its session", "renew")]

    def _session_error(self, error: wire.ErrorMessage, raw: str) -> list[Event]:
        code = (error.code or "error").lower()
        decision = error_rule(code).at(self._phase)
        if decision == "ignore" or self._closing or self._failed:
            self._latest_error = error
            return [AgentWarned(code, error.message or "", raw)]
        self._failed = True
        if decision == "resume" and self._phase == "resuming" and not self._token_rung:
            decision = "renew"  # there is no further way to resume after the key (2.7)
        return [AgentRefused(code, error.message or "", decision)]

    def closed(self, code: int, reason: str = "") -> list[Event]:
        """Say what the close of the socket means.

        Nothing when we asked for it or when an error has already said so: a failure is reported once.
        """
        if self._closing or self._failed:
            return []
        self._failed = True
        rule = close_rule(code)
        decision = rule.at(self._phase)
        if decision == "resume" and rule.refused and not self._token_rung:
            decision = "renew"
        latest = self._latest_error
        why = ": ".join(part for part in (reason, latest.message if latest else "") if part)
        if rule.refused:
            name = (latest.code if latest else None) or f"close_{code}"
            return [AgentRefused(name.lower(), why or f"the agent closed the connection ({code})", decision)]
        return [
            AgentLost(f"the connection to the agent closed ({code}{': ' + why if why else ''})", decision)
        ]


def plan(call: AgentCall) -> Dial:
    """Plan a connection to the region's own host; the unqualified one may keep data in another region (1.1).

    Resuming begins with the session's resume token in the key's place and goes on with the key (2.7).

    Raises:
        ConfigError: when the agent has no key, which is told at the start of those that a route leads to.
    """
    settings: VoiceAgentSettings = call.settings
    if not any(settings.api_key):
        raise ConfigError(f"agents.{call.name}.api_key is empty; give the key of your account")
    credential = call.memory.resume_token if call.opening.rung == "token" else ""
    return Dial(
        url=call.region.voice_agent,
        headers={"Authorization": f"Bearer {credential or settings.api_key[0].reveal()}"},
        codec=VoiceAgentCodec(call),
        audio=wire_audio(call),
    )


@hookimpl
def register_agents() -> list[AgentKind]:
    """Bring ``kind: voice_agent``."""
    return [AgentKind("voice_agent", VoiceAgentSettings, plan)]
