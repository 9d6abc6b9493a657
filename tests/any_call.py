"""A world of callers, agents and houses that do anything at any time, and a judge of what a machine makes of it."""

import random
from collections import Counter

from play import FarEnd, terms

from gateway.audio import MULAW_8K
from gateway.call.conversation import Phase
from gateway.call.machine import CallMachine
from gateway.commands import (
    AbandonTool,
    AnyCommand,
    AskReply,
    CallEnded,
    Clear,
    CloseAgent,
    Configure,
    Forward,
    HangUp,
    Mark,
    OpenAgent,
    Play,
    PlayClip,
    Remember,
    ReplyHeard,
    RunTool,
    SendAudio,
    SendResult,
    WatchdogFired,
)
from gateway.events import (
    AgentForwarded,
    AgentLost,
    AgentReady,
    AgentRefused,
    AgentSaid,
    AgentWarned,
    AnyEvent,
    CallerAnsweredTool,
    CallerAudio,
    CallerConfigured,
    CallerForwarded,
    CallerHeard,
    CallerLeft,
    CallerLost,
    CallerPressed,
    CallerPrompted,
    CallerReturned,
    CallInfo,
    CallStarted,
    ConfigurationAsked,
    ControlAnswered,
    EndingAsked,
    NoteAsked,
    PulseChanged,
    Remedy,
    ReplyAsked,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    StopRequested,
    TimeReached,
    ToolCalled,
    ToolFinished,
    UserSaid,
)
from gateway.terms import AgentTerms, CallTerms

INFO = CallInfo("call-1", "twilio", MULAW_8K)
STEP_BYTES = 3
PAUSES_S = (0.0, 0.0, 0.0, 0.01, 0.02, 0.02, 0.05, 0.1, 0.1, 0.3, 0.5, 0.8, 1.2, 2.5, 8.0, 16.0)
REMEDIES: tuple[Remedy, ...] = ("retry", "resume", "renew", "fallback")


def terms_of(tape: bytes) -> CallTerms:
    """Terms of a call; the first bytes of the tape choose them."""
    a, b = tape[0], tape[1]
    main = AgentTerms(
        "main",
        tool_results="after_reply" if a & 1 else "immediate",
        keep_s=2.0 if a & 2 else 5.0,
        resume_s=0.0 if a & 4 else 25.0,
        interruptible=bool(a & 8),
        deaf_s=2.0,
    )
    clears = bool(a & 16)
    return terms(
        *((main,) if a & 32 else (main, AgentTerms("spare", tries=1))),
        marks=bool(a & 64),
        clears=clears,
        steady=b & 6 == 6,
        lead_ms=2000.0 if clears else 200.0,
        closing_leaves=b & 7 == 7,
        dtmf="text" if b & 8 else "ignore",
        clips={} if b & 48 == 48 else {"hold": 3000.0, "apology": 1010.0},
        cancellable=frozenset({"slow"}) if b & 64 else frozenset(),
        client_may=frozenset({"system_prompt"}),
        call_s=300.0,
        silence_s=40.0,
        return_s=10.0 if b & 128 else 30.0,
    )


class World:
    """Both sides and the house: turns numbers into what they might send next."""

    def __init__(self, call_terms: CallTerms) -> None:
        self.far_end = FarEnd(clears=call_terms.clears, answers=call_terms.marks)
        self.replies = 0
        self.tools: list[str] = []
        self.running: list[str] = []
        self.frames = 0
        self.rng = random.Random(7)  # noqa: S311 - bytes that differ, always the same ones
        self.opening = False

    def events(self, op: int, choice: int) -> list[AnyEvent]:
        """What happens now."""
        if self.opening and choice % 4:  # an attempt is mostly answered before anything else happens
            self.opening = False
            bad = choice % 16 == 1
            remedy = REMEDIES[op % 4]
            return (
                [AgentRefused("at_capacity", "", remedy)] if bad else [AgentReady("s", resumed=bool(op & 1))]
            )
        if op < 96:
            return self._agent(op % 16, choice)
        if op < 176:
            return self._caller(op % 16, choice)
        if op < 216:
            return self._house(op % 8, choice)
        return self._turn(choice)

    def _reply_id(self, choice: int) -> str:
        return f"r{max(1, self.replies - choice % 3)}"

    def _sound(self, reply_id: str, ms: int, *, loud: bool = True) -> ReplyAudio:
        return ReplyAudio(reply_id, self.rng.randbytes(ms * 8), -20.0 if loud else -100.0)

    def _turn(self, choice: int) -> list[AnyEvent]:
        """An ordinary turn in one go, so that sequences get somewhere."""
        self.replies += 1
        name = f"r{self.replies}"
        silence: list[AnyEvent] = [self._sound(name, 20, loud=False) for _ in range(choice % 8)]
        chunks: list[AnyEvent] = [self._sound(name, 37 if choice & 8 else 20) for _ in range(choice % 32)]
        burst: list[AnyEvent] = [self._sound(name, 10 * (choice % 256))] if choice & 16 else []
        words = [AgentSaid(name, "Well, ", final=False, start_ms=10, end_ms=200)]
        end: list[AnyEvent] = [ReplyEnded(name)] if choice & 32 else []
        heard: list[AnyEvent] = [SpeechStopped(), UserSaid("hello", final=True)]
        return [*heard, ReplyStarted(name), *words, *silence, *chunks, *burst, *end]

    def _agent(self, op: int, choice: int) -> list[AnyEvent]:
        name = self._reply_id(choice)
        match op:
            case 0:
                return [AgentReady("s", resumed=bool(choice & 1))]
            case 1:
                return [AgentLost("gone", REMEDIES[choice % 4])]
            case 2:
                return (
                    [AgentRefused("no", "", REMEDIES[choice % 4])] if choice % 3 == 0 else [SpeechStopped()]
                )
            case 3 | 4:
                return [SpeechStarted()]
            case 5:
                return [UserSaid("yes" if choice & 1 else "", final=bool(choice & 2))]
            case 6:
                self.replies += 1
                return [ReplyStarted(f"r{self.replies}")]
            case 7 | 8:
                return [self._sound(name, 20, loud=bool(choice & 3)) for _ in range(choice % 20)]
            case 9:
                return [self._sound("" if choice & 1 else name, 10 + choice % 300)]
            case 10 | 11:
                return [ReplyEnded(name, interrupted=bool(choice & 4))] * (1 + (choice & 8 == 8))
            case 12:
                return [AgentSaid(name, "word", final=bool(choice & 4), interrupted=bool(choice & 8))]
            case 13 | 14:
                if choice % 4 or not self.tools:
                    self.tools.append(f"t{len(self.tools)}")
                named = self.tools[-1 - choice % min(2, len(self.tools))]
                return [
                    ToolCalled(named, "slow" if choice & 8 else "look", "{}", informational=choice % 16 == 5)
                ]
            case _:
                warned = AgentWarned("audio_rate_violation" if choice & 1 else "invalid_audio")
                return [warned, AgentForwarded("{}")]

    def _caller(self, op: int, choice: int) -> list[AnyEvent]:
        match op:
            case 0:
                return [CallStarted(INFO)] if choice & 1 else [CallerReturned(INFO)]
            case 1:
                return [CallerLost("dropped")]
            case 2 | 3:
                return [CallerReturned(INFO)]
            case 4:
                return (
                    [CallerLeft("hung up")]
                    if choice % 8 == 0
                    else [CallerPressed("0123456789*#"[choice % 12])]
                )
            case 5:
                raws = (
                    '{"session":{"system_prompt":"x","voice":"y"}}',
                    "[[[",
                    '{"session":{"system_prompt":"z"}}',
                )
                return [CallerConfigured(raws[choice % 3])]
            case 6:
                more: list[AnyEvent] = [CallerAnsweredTool("t0", "{}"), CallerForwarded("{}")]
                return [CallerPrompted("go on"), *more[: choice % 3]]
            case 7:
                return [CallerHeard(("", "0:20", "1:0", "0:²", "x", "0:" + "9" * 30)[choice % 6])]
            case _:
                frames: list[AnyEvent] = []
                for _ in range(1 + choice % 12):
                    self.frames += 1
                    audio = self.frames.to_bytes(4, "big") + bytes(156)
                    frames.append(CallerAudio(audio, -25.0 if choice & 64 else -70.0))
                return frames

    def _house(self, op: int, choice: int) -> list[AnyEvent]:
        match op:
            case 0:
                return [EndingAsked("transfer", "+15550003") if choice & 1 else EndingAsked("hang_up")]
            case 1 | 2:
                named = self.running.pop(0) if self.running else "t0"
                return [ToolFinished(named, "{}", failed=bool(choice & 1))]
            case 3:
                return [ReplyAsked("say it")]
            case 4:
                return [ConfigurationAsked('{"system_prompt":"new"}'), NoteAsked("noted")]
            case 5:
                return [ControlAnswered("transfer", succeeded=bool(choice & 1))]
            case 6:
                pulse = PulseChanged(700.0 * (choice % 5))
                return [StopRequested()] if choice % 16 == 0 else [pulse] if choice % 2 else []
            case _:
                return [TimeReached()]

    def see(self, event: AnyEvent, commands: list[AnyCommand], now: float) -> None:
        """Notice what the machine wants of the world."""
        if isinstance(event, CallerLost | CallerReturned):  # a connection takes its buffer with it
            self.far_end.drop(now)
            self.far_end.marks.clear()
        for command in commands:
            self.far_end.take(command, now)
            match command:
                case OpenAgent():
                    self.opening = True
                case RunTool(tool_call_id=tool_call_id):
                    self.running.append(tool_call_id)


class Judge:
    """What must hold in every call, seen from outside, besides the ear."""

    def __init__(self, machine: CallMachine, call_terms: CallTerms, far_end: FarEnd) -> None:
        self.machine = machine
        self.terms = call_terms
        self.far_end = far_end
        self.count: Counter[type] = Counter()
        self.caller_up = self.agent_up = self.opening = self.over = False
        self.run: set[str] = set()
        self.finished: set[str] = set()
        self.abandoned: set[str] = set()
        self.may_send: Counter[str] = Counter()
        self.received: dict[str, bytes] = {}
        self.next: dict[str, int] = {}
        self.reported: set[str] = set()
        self.rewound: set[str] = set()
        self.last_frame = 0
        self.ear = (0, 0.0)

    def judge(self, event: AnyEvent, now: float, commands: list[AnyCommand]) -> None:
        """One step."""
        assert not (self.over and commands), "a command after the end"
        self._take(event)
        for command in commands:
            self._command(command)
        phase, deadline = self.machine.phase, self.machine.deadline
        assert (deadline is None) == (phase in {Phase.WAITING, Phase.ENDED}), (phase, deadline)
        assert deadline is None or now < deadline < float("inf"), (phase, deadline, now)
        self._ear(now)
        if phase is Phase.ENDED and not self.over:
            self.over = True
            assert self.count[HangUp] == self.count[CloseAgent] == 1
            assert isinstance(last := commands[-1], Remember)
            assert isinstance(last.fact, CallEnded), "the last fact"
            assert {n for n in self.next if n not in self.reported} == set(), "a reply without ReplyHeard"

    def _take(self, event: AnyEvent) -> None:
        match event:
            case PulseChanged(unproven_ms=unproven_ms) if unproven_ms:
                self.ear = (0, 0.0)  # what was believed heard may not have arrived
            case CallStarted():
                self.caller_up = True
            case CallerReturned() if self.machine.phase is not Phase.WAITING:
                self.caller_up = True
                self.rewound |= self.received.keys()
            case CallerLost():
                self.caller_up = False
                self.rewound |= self.received.keys()
            case AgentReady() if self.opening:
                self.agent_up, self.opening = True, False
                self.last_frame = -1  # what the agent before did not take is told again
                self.may_send.update(self.run)
            case AgentLost() | AgentRefused():
                self.agent_up = self.opening = False
            case ToolCalled(tool_call_id=tool_call_id):
                self.may_send[tool_call_id] += 1
            case ToolFinished(tool_call_id=tool_call_id):
                self.finished.add(tool_call_id)
            case ReplyAudio(reply_id=reply_id, audio=audio) if self.agent_up:
                name = reply_id or self.machine._floor.current
                self.received[name] = self.received.get(name, b"") + audio

    def _command(self, command: AnyCommand) -> None:
        self.count[type(command)] += 1
        match command:
            case Remember(fact=WatchdogFired(kind="no_ready")):
                self.opening = False  # that attempt is given up, also when the next one waits for the caller
            case Play(reply_id=reply_id, audio=audio):
                assert self.caller_up
                assert len(audio) <= 160, "a piece of at most 20 ms"
                self._played(reply_id, audio)
            case PlayClip() | Mark():
                assert self.caller_up
            case Clear():
                assert self.caller_up
                self.rewound |= self.received.keys()
            case OpenAgent():
                assert self.caller_up
                self.opening, self.agent_up = True, False
            case SendAudio(audio=audio):
                assert self.agent_up
                frame = int.from_bytes(audio[:4], "big")
                assert frame > self.last_frame, "the caller's sound in order"
                self.last_frame = frame
            case AskReply() | Configure() | Forward():
                assert self.agent_up
            case RunTool(tool_call_id=tool_call_id):
                assert tool_call_id not in self.run, "no tool runs twice"
                self.run.add(tool_call_id)
            case SendResult(tool_call_id=tool_call_id):
                assert self.agent_up
                assert tool_call_id in self.run & self.finished - self.abandoned
                self.may_send[tool_call_id] -= 1
                assert self.may_send[tool_call_id] >= 0, "a result is sent again only after a resumption"
            case AbandonTool(tool_call_id=tool_call_id):
                assert tool_call_id in self.run - self.abandoned
                self.abandoned.add(tool_call_id)
            case Remember(fact=ReplyHeard() as fact):
                self._heard(fact)

    def _played(self, reply_id: str, audio: bytes) -> None:
        assert reply_id not in self.reported, "nothing is played of a reply that is done with"
        whole = self.received[reply_id]
        at = self.next.get(reply_id, 0)
        if whole[at : at + len(audio)] != audio and reply_id in self.rewound:
            again = whole.find(audio)
            assert 0 <= again <= at, "nothing is left out"
            at = again
        self.rewound.discard(reply_id)
        assert whole[at : at + len(audio)] == audio, "in order and without loss"
        self.next[reply_id] = at + len(audio)

    def _heard(self, fact: ReplyHeard) -> None:
        assert -0.11 <= fact.heard_ms <= fact.sent_ms + 0.11, fact
        assert fact.sent_ms <= fact.heard_ms + fact.cut_ms + 0.11, fact
        if fact.reply_id.startswith("clip:"):
            return
        assert fact.reply_id not in self.reported, "one ReplyHeard per reply"
        self.reported.add(fact.reply_id)

    def _ear(self, now: float) -> None:
        ledger = self.machine._ledger
        generation, ear = ledger._generation, ledger.ear_ms(now)
        if generation == self.ear[0]:
            assert ear >= self.ear[1] - 0.001, "the ear goes back"
        self.ear = (generation, ear)
        assert ear <= ledger._sent_ms + 0.001
        if self.caller_up:
            assert self.far_end.buffered_ms(now) <= self.terms.lead_ms + 20.5, "the lead is bounded"
