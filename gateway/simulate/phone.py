"""A person with a telephone: ear, mouth, the carrier's playback buffer and the record of the call.

Owns what happened on the line, whatever dialect carries it. Pure: it is told the time and asked for frames.
Refuses sockets and messages; `twilio.py` and `pcm.py` bring those.
"""

from collections.abc import Callable

import msgspec

from gateway.audio import AudioFormat, to_pcm16, write_wav
from gateway.simulate.ear import Ear, Interval
from gateway.simulate.measure import DEAD_AIR_S, measure_pacing, measure_turns, silences
from gateway.simulate.playback import PlaybackBuffer, PlayedMark
from gateway.simulate.result import CallResult, CallWarning, ClearHeard, Message, Note
from gateway.simulate.script import FRAME_MS, CallScript, Frame, Mouth

Observer = Callable[[Note], None]

MAX_RECORDS = 200_000  # messages that are kept; more than an hour of 20 ms frames
SILENCE_NOTE_S = 0.8


class Tick(msgspec.Struct, frozen=True):
    """What is to be sent for one frame's time."""

    audio: bytes
    """One frame of the caller's voice."""
    digit: str
    """A key pressed meanwhile."""
    marks: list[PlayedMark]
    """Marks that were reached."""
    at_ms: int
    """When the frame begins, since the answer."""


class Phone:
    """One person on one call; the call may pass over several media sockets."""

    def __init__(
        self, audio_format: AudioFormat, script: CallScript, answered_at: float, observer: Observer | None
    ) -> None:
        self.format = audio_format
        self._answered_at = answered_at
        self._observer = observer
        self._buffer = PlaybackBuffer(audio_format, answered_at)
        self._ear = Ear(audio_format)
        self._listened_bytes = 0
        self.mouth = Mouth(script, audio_format, self._ear)
        self._frames = 0
        self._said = bytearray()
        self._sent = bytearray()
        self._received = bytearray()
        self._late_s: list[float] = []
        self._heard_noted = 0
        self._silence_noted = 0
        self._saying: tuple[float, str] | None = None
        self.result = CallResult(end_reason="", format=audio_format)

    @property
    def next_frame_at(self) -> float:
        """When the next frame is complete and is to be sent, on the caller's clock."""
        return self._answered_at + (self._frames + 1) * FRAME_MS / 1000

    def tick(self, now: float) -> Tick:
        """Take the frame that is due; call once per frame, at `next_frame_at`."""
        at_s = self._frames * FRAME_MS / 1000
        self._late_s.append(max(0.0, now - self.next_frame_at))
        self._frames += 1
        marks = self._buffer.advance(now)
        self._listen(now)
        frame = self.mouth.frame(at_s)
        self._said += frame.audio
        self._tell_what_is_said(frame, at_s, now)
        return Tick(frame.audio, frame.digit, marks, self._frames * FRAME_MS)

    @property
    def overrun_ms(self) -> float:
        """Audio that was lost because the carrier's buffer was full."""
        return self._buffer.overrun_ms

    def limit_buffer(self, limit_ms: float) -> None:
        """Set how much audio the carrier buffers."""
        self._buffer.limit_ms = limit_ms

    def sent(self, audio: bytes) -> None:
        """Record audio that really left."""
        self._sent += audio

    @property
    def queued_ms(self) -> float:
        """The agent's sound that came and has not been played, as of the last frame or sound."""
        return self._buffer.queued_ms

    def hear(self, audio: bytes, now: float) -> list[PlayedMark]:
        """Put the agent's audio into the buffer; gives marks reached up to now."""
        self._record(now, "audio", "", len(audio))
        self._received += audio
        return self._buffer.append(audio, now)

    def mark(self, name: str, now: float) -> list[PlayedMark]:
        """Put a mark behind what is queued; gives marks that come back now."""
        return self._buffer.mark(name, now)

    def clear(self, now: float) -> list[PlayedMark]:
        """Stop playing and forget what is queued; gives marks that come back now."""
        marks, cleared = self._buffer.clear(now)
        self.result.clears.append(ClearHeard(cleared.at_s, cleared.discarded_ms, len(self._received)))
        self.note("clear", f"told to stop playing, {cleared.discarded_ms:.0f} ms unheard", now)
        return [*marks, *cleared.marks]

    def lose_line(self, now: float) -> None:
        """The media socket is gone and with it what the carrier had queued; no mark comes back."""
        self._buffer.clear(now)

    def mark_returned(self, mark: PlayedMark, now: float) -> None:
        """Record a mark that was sent back."""
        self.result.marks.append(mark)
        how = "discarded" if mark.discarded else "played"
        self.note("mark", f"mark {mark.name} returned ({how})", now)

    def message(self, kind: str, text: str, now: float) -> None:
        """Record a message other than audio."""
        self._record(now, kind, text, len(text))

    def warn(self, code: int, text: str, now: float) -> None:
        """Record what a real carrier would complain about."""
        self.result.warnings.append(CallWarning(self.at_s(now), code, text))
        self.note("warning", f"{code}: {text}" if code else text, now)

    def note(self, kind: str, text: str, now: float) -> None:
        """Tell the observer."""
        if self._observer is not None:
            self._observer(Note(self.at_s(now), kind, text))

    def at_s(self, now: float) -> float:
        """Seconds since the answer."""
        return now - self._answered_at

    def ending(self, now: float) -> str | None:
        """Why the caller hangs up now, if it does."""
        return self.mouth.ending(self.at_s(now))

    def finish(self, reason: str, now: float, failure: str | None = None) -> CallResult:
        """Close the record and measure."""
        self._buffer.advance(now)
        self._listen(now)
        result, spoken = self.result, self.mouth.spoken
        result.end_reason, result.failure, result.duration_s = reason, failure, self.at_s(now)
        result.heard = list(self._ear.intervals)
        result.spoken = [one.extent for one in spoken if one.utterance.pcm]
        result.turns = measure_turns(spoken, result.heard, result.clears)
        result.unsaid = [utterance.label for utterance in self.mouth.unsaid]
        result.first_heard_s = result.heard[0].start_s if result.heard else None
        quiet = silences([*result.heard, *result.spoken], result.duration_s)
        result.dead_air = [gap for gap in quiet if gap.end_s - gap.start_s >= DEAD_AIR_S]
        result.longest_silence_ms = max(((gap.end_s - gap.start_s) * 1000 for gap in quiet), default=0.0)
        result.most_queued_ms = self._buffer.most_queued_ms
        result.received_audio, result.heard_audio = bytes(self._received), self._buffer.heard
        result.sent_audio, result.said_audio = bytes(self._sent), bytes(self._said)
        result.pacing = measure_pacing(self._late_s)
        self.note("ended", reason.replace("_", " "), now)
        return result

    def _listen(self, now: float) -> None:
        fresh = self._buffer.heard_since(self._listened_bytes)
        self._listened_bytes += len(fresh)
        self._ear.listen(fresh)
        heard = self._ear.intervals
        if len(heard) > self._heard_noted:
            self._heard_noted = len(heard)
            if self._silence_noted < len(heard) - 1:  # a pause too short to be told
                self._silence_noted = len(heard) - 1
            else:
                self.note("heard", "the agent is audible", now)
        if len(heard) > self._silence_noted and self._ear.silent_for_s(self._ear.listened_s) > SILENCE_NOTE_S:
            self._silence_noted = len(heard)
            self.note("silent", f"the agent fell silent at {heard[-1].end_s:.2f} s", now)

    def _tell_what_is_said(self, frame: Frame, at_s: float, now: float) -> None:
        if frame.began is not None and frame.began.utterance.pcm:
            over = " over the agent" if frame.began.over else ""
            self.note("said", f"the caller says{over}: {frame.began.utterance.label}", now)
            self._saying = (frame.began.extent.end_s, frame.began.utterance.label)
        if self._saying is not None and at_s >= self._saying[0]:
            self.note("said", f"the caller has said: {self._saying[1]}", now)
            self._saying = None
        if frame.digit:
            self.note("pressed", f"the caller presses {frame.digit}", now)

    def _record(self, now: float, kind: str, text: str, size: int) -> None:
        if len(self.result.messages) < MAX_RECORDS:
            self.result.messages.append(Message(self.at_s(now), kind, text, size))


def record_wav(result: CallResult) -> bytes:
    """The call as a stereo WAV file: left what the caller said, right what it heard."""
    said = memoryview(to_pcm16(result.said_audio, result.format.encoding)).cast("h")
    heard = memoryview(to_pcm16(result.heard_audio, result.format.encoding)).cast("h")
    both = bytearray(4 * max(len(said), len(heard)))
    samples = memoryview(both).cast("h")
    samples[: 2 * len(said) : 2] = said
    samples[1 : 2 * len(heard) : 2] = heard
    return write_wav(bytes(both), result.format.rate_hz, channels=2)


def gap_note(gap: Interval) -> str:
    """A line about a socket that was lost and followed by another."""
    return f"the media socket was away for {(gap.end_s - gap.start_s) * 1000:.0f} ms"
