"""What a simulated caller says and when, and the troubles it is ordered to have.

Owns the plan of a call (`CallScript`) and its carrying out as a pure turn-taker (`Mouth`): speaks when the agent
has finished, talks over it when told to, and knows when the call is over. Refuses clocks and sockets: it is
asked for the audio of one moment after the other, in seconds since the call was answered.
"""

import msgspec

from gateway.audio import AudioFormat, convert
from gateway.simulate.ear import JOIN_S, Ear, Interval, answer_to, audible_extent

FRAME_MS = 20
KEY_EVERY_S = 0.25


class Utterance(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the caller says, or the keys it presses."""

    label: str = ""
    """What to call it when it is printed."""
    pcm: bytes = b""
    """16-bit PCM, mono."""
    rate_hz: int = 16000
    """Samples per second of ``pcm``."""
    digits: str = ""
    """Keys pressed one after the other, a quarter of a second apart."""
    over_after_s: float | None = None
    """Talk over the agent: begin this long after it became audible in its current reply."""
    at_s: float | None = None
    """Begin at this moment of the call whatever the agent does."""


class CallScript(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's plan for one call. All times are in seconds."""

    utterances: tuple[Utterance, ...] = ()
    """Said in order, each when the agent has finished its reply to the one before."""
    first_after_s: float = 0.5
    """Nothing is said earlier in the call."""
    settle_s: float = 0.8
    """The agent has finished when it was heard and then silent for this long."""
    patience_s: float = 15.0
    """An agent that was not heard for this long since our last words is spoken to anyway; after the last
    utterance, is hung up on."""
    linger_s: float = 1.5
    """Silence to wait for after the answer to the last utterance, before hanging up."""
    hang_up_at_s: float | None = None
    """Hang up at this moment, whatever has been said."""
    hang_up: bool = True
    """Hang up after the last answer; else stay until the agent hangs up or ``max_s`` has passed."""
    max_s: float = 60.0
    """Hang up at the latest."""


class CallerFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Troubles to order. Moments are seconds since the call was answered."""

    kill_socket_at_s: tuple[float, ...] = ()
    """Cut the media TCP connection without a word. Twilio then asks what follows; a PCM call is over."""
    ask_after_a_kill: bool = True
    """Twilio asks what follows a cut stream; ``False``: it never comes back."""
    late_marks_s: float = 0.0
    """Marks come back this much later than they should."""
    withhold_marks: bool = False
    """Marks never come back."""
    read_every_s: float = 0.0
    """Wait this long before each message is read."""
    close_without_stop: bool = False
    """Hang up by closing the socket without the dialect's farewell."""
    stop_without_close: bool = False
    """Twilio: hang up with ``stop`` but leave the socket open, and see whether the gateway closes it."""
    sound_first: bool = False
    """Vonage: a frame of sound comes before the first message."""
    frame_bytes: tuple[int, ...] = ()
    """Sizes of the audio messages, in turn, instead of 20 ms each."""


class Spoken(msgspec.Struct, frozen=True):
    """An utterance that was begun."""

    utterance: Utterance
    """Which."""
    extent: Interval
    """From its first to its last audible moment (or key), on the call's clock."""
    over: bool
    """The agent was audible when it began."""


class Frame(msgspec.Struct, frozen=True):
    """What the mouth gives for one frame's time."""

    audio: bytes
    """One frame in the line's format."""
    digit: str = ""
    """A key pressed in this time."""
    began: Spoken | None = None
    """An utterance that begins with this frame."""


class Mouth:
    """Carries out a script, frame by frame; ``ear`` is what the caller heard so far."""

    def __init__(self, script: CallScript, audio_format: AudioFormat, ear: Ear) -> None:
        self._script = script
        self._format = audio_format
        self._ear = ear
        self._frame_bytes = audio_format.frame_bytes(FRAME_MS)
        self._silence = audio_format.silence(FRAME_MS)
        self._waiting = list(script.utterances)
        self._audio = b""
        self._digits = ""
        self._next_key_at_s = 0.0
        self.spoken: list[Spoken] = []

    def say(self, utterance: Utterance) -> None:
        """Add an utterance to the end of the plan."""
        self._waiting.append(utterance)

    def frame(self, at_s: float) -> Frame:
        """Give the frame that begins at ``at_s``."""
        began = None
        if not self._busy and self._waiting and self._may_begin(self._waiting[0], at_s):
            began = self._begin(self._waiting.pop(0), at_s)
        digit = ""
        if self._digits and at_s >= self._next_key_at_s:
            digit, self._digits = self._digits[0], self._digits[1:]
            self._next_key_at_s = at_s + KEY_EVERY_S
        audio, self._audio = self._audio[: self._frame_bytes], self._audio[self._frame_bytes :]
        return Frame(audio + self._silence[len(audio) :], digit, began)

    def ending(self, at_s: float) -> str | None:
        """Why the caller hangs up at ``at_s``, if it does."""
        if self._script.hang_up_at_s is not None and at_s >= self._script.hang_up_at_s:
            return "caller_hung_up"
        if at_s >= self._script.max_s:
            return "max_seconds"
        if not self._script.hang_up or self._script.hang_up_at_s is not None or self._busy or self._waiting:
            return None
        if self._answered(at_s, self._script.linger_s):
            return "caller_hung_up"
        return "unanswered" if self._out_of_patience(at_s) else None

    @property
    def unsaid(self) -> list[Utterance]:
        """Utterances that have not begun."""
        return list(self._waiting)

    @property
    def _busy(self) -> bool:
        return bool(self._audio or self._digits)

    @property
    def _last(self) -> Interval:
        """Our last words; before any, the moment the call was answered."""
        return self.spoken[-1].extent if self.spoken else Interval(-1.0, 0.0)

    def _begin(self, utterance: Utterance, at_s: float) -> Spoken:
        extent = Interval(at_s, at_s + max(0, len(utterance.digits) - 1) * KEY_EVERY_S)
        if utterance.pcm:
            source = AudioFormat("pcm16", utterance.rate_hz)
            self._audio = convert(utterance.pcm, source, self._format)
            inside = audible_extent(self._audio, self._format)
            extent = Interval(at_s + inside.start_s, at_s + inside.end_s)
        self._digits = utterance.digits
        self._next_key_at_s = at_s
        # what was heard a moment ago still sounds: the ear lags by up to a frame and a window
        over = self._ear.last_audible_s is not None and self._ear.silent_for_s(at_s) < JOIN_S
        self.spoken.append(Spoken(utterance, extent, over))
        return self.spoken[-1]

    def _may_begin(self, utterance: Utterance, at_s: float) -> bool:
        if utterance.at_s is not None:
            return at_s >= utterance.at_s
        if at_s < self._script.first_after_s:
            return False
        if utterance.over_after_s is not None:
            reply = answer_to(self._last, self._ear.intervals)
            if reply is not None and at_s >= reply.start_s + utterance.over_after_s:
                return True
        return self._answered(at_s, self._script.settle_s) or self._out_of_patience(at_s)

    def _answered(self, at_s: float, silence_s: float) -> bool:
        reply = answer_to(self._last, self._ear.intervals)
        return reply is not None and self._ear.silent_for_s(at_s) >= silence_s

    def _out_of_patience(self, at_s: float) -> bool:
        """Nothing was heard for too long; an agent that talks on is not cut short."""
        heard_s = self._ear.last_audible_s or 0.0
        return at_s - max(self._last.end_s, heard_s) >= self._script.patience_s
