"""The playback ledger: what of each reply was sent, what the caller has heard, what an interruption cut off.

Owns the clock of the caller's ear and the bounded lead towards it. Counts milliseconds of a reply, never
bytes. Knows nothing of who may interrupt whom.

One rule places the caller's ear: everything sent plays in order at real time, so the ear stands where the
far end's buffer has not yet been played. Without marks that buffer's end is estimated by pace; each returned
mark corrects it, and the ear is never believed to be past a mark that has not come back
(reference: carriers, 1.5 and 1.6).
"""

from collections import deque
from typing import Final

from gateway.audio import AUDIBLE_DBFS
from gateway.events import AnyCommand, Mark, Play, PlayClip, ReplyHeard

MARK_EVERY_MS: Final = 400.0
"""Sound between two marks; also one after the first piece and one at the end of each reply."""
HYSTERESIS_MS: Final = 100.0
"""How far the lead falls before it is filled up again, so that a long reply does not wake us every 20 ms."""
ROUNDING_MS: Final = 0.01
"""Positions are sums of pieces; at 44.1 kHz those are not whole milliseconds."""
MARK_GRACE_S: Final = 2.0
"""How long after its estimated time the last mark of a reply is waited for."""


class Sound:
    """A reply, or a house sound, on its way to the caller's ear."""

    __slots__ = (
        "audible_from_ms",
        "complete",
        "ends_at_ms",
        "heard_ms",
        "marks_lost",
        "received_ms",
        "reply_id",
        "sent_ms",
    )

    def __init__(self, reply_id: str) -> None:
        self.reply_id = reply_id
        self.received_ms = 0.0
        self.sent_ms = 0.0
        self.heard_ms = 0.0
        self.audible_from_ms: float | None = None
        self.complete = False
        """Nothing more will come."""
        self.marks_lost = False
        """Its last mark never came back; what was heard is an estimate."""
        self.ends_at_ms = 0.0
        """Position in the stream where what was sent of it ends."""


class Piece:
    """At most 20 ms of a sound; kept until it was heard, so that a caller who comes back misses nothing."""

    __slots__ = ("at_ms", "audible", "command", "ms", "sound")

    def __init__(self, sound: Sound, command: Play | PlayClip, ms: float, *, audible: bool) -> None:
        self.sound = sound
        self.command = command
        self.ms = ms
        self.audible = audible
        self.at_ms = 0.0
        """Position in the stream, once sent."""


class PlaybackLedger:
    """Sounds in order, from the agent's hand to the caller's ear."""

    def __init__(self, lead_ms: float, *, marks: bool) -> None:
        self._lead_ms = lead_ms
        self._marks = marks
        self._sounds: deque[Sound] = deque()
        self._waiting: deque[Piece] = deque()
        self._playing: deque[Piece] = deque()
        self._generation = 0
        self._sent_ms = 0.0
        self._confirmed_ms = 0.0
        self._dry_at = 0.0
        self._open_marks: deque[float] = deque()
        self._marked_ms = -1.0
        self._first_mark_due = True
        self._ear_ms = 0.0

    # What comes in

    def add(self, reply_id: str, audio: bytes, ms: float, level: float) -> None:
        """Append a piece of a reply."""
        sound = self._sound(reply_id)
        audible = level >= AUDIBLE_DBFS
        if audible and sound.audible_from_ms is None:
            sound.audible_from_ms = sound.received_ms
        self._waiting.append(Piece(sound, Play(reply_id, audio), ms, audible=audible))
        sound.received_ms += ms

    def add_clip(self, clip: str, length_ms: float) -> None:
        """Append one round of a house sound."""
        sound = self._sound(f"clip:{clip}")
        sound.audible_from_ms = sound.received_ms if sound.audible_from_ms is None else sound.audible_from_ms
        at_ms = 0.0
        while at_ms < length_ms:
            ms = min(20.0, length_ms - at_ms)
            self._waiting.append(Piece(sound, PlayClip(clip, at_ms, ms), ms, audible=True))
            at_ms += ms
        sound.received_ms += length_ms
        sound.complete = True

    def complete(self, reply_id: str) -> None:
        """No more of this reply will come."""
        for sound in self._sounds:
            if sound.reply_id == reply_id:
                sound.complete = True
                if sound.audible_from_ms is None:
                    self._skip(sound)

    def complete_all(self) -> None:
        """No more of anything will come: the agent is gone."""
        for sound in self._sounds:
            sound.complete = True

    def mark_returned(self, name: str, now: float) -> None:
        """Take a mark's return as the ear's place; marks of an earlier generation were discarded, not heard."""
        generation, _, position = name.partition(":")
        if generation != str(self._generation) or not position.isdigit():
            return
        position_ms = float(position)
        if not self._open_marks or position_ms < self._open_marks[0]:
            return
        while self._open_marks and self._open_marks[0] <= position_ms:
            self._open_marks.popleft()
        self._confirmed_ms = max(self._confirmed_ms, min(position_ms, self._sent_ms))
        self._dry_at = now + (self._sent_ms - self._confirmed_ms) / 1000

    # What goes out

    def release(self, now: float) -> list[AnyCommand]:
        """Give what may be sent now: pieces up to the lead, and the marks between them."""
        if not self._waiting:
            return self._end_mark() if self._marks else []
        out: list[AnyCommand] = []
        if (self._dry_at - now) * 1000 > self._lead_ms - min(HYSTERESIS_MS, self._lead_ms / 2):
            return out
        while self._waiting and (self._dry_at - now) * 1000 < self._lead_ms:
            self._send(self._waiting.popleft(), now, out)
        if not self._waiting and self._marks:
            out += self._end_mark()
        return out

    def settle(self, now: float) -> list[ReplyHeard]:
        """Let time pass: forget what was heard, and report the replies that were heard to their end."""
        if not self._sounds:
            return []
        self._listen(self.ear_ms(now))
        facts = []
        while self._sounds and self._is_settled(sound := self._sounds[0], now):
            self._sounds.popleft()
            if sound.received_ms:
                facts.append(self._fact(sound, interrupted=False))
        return facts

    def cut(self, now: float) -> list[ReplyHeard]:
        """Drop everything the caller has not heard; `Clear` must follow, if anything was sent."""
        self._listen(self.ear_ms(now))
        facts = [self._fact(sound, interrupted=True) for sound in self._sounds if sound.received_ms]
        self._sounds.clear()
        self._waiting.clear()
        self._restart(now)
        return facts

    def drop_clips(self, now: float) -> bool:
        """Drop house sounds that are still to be heard; True when a `Clear` must follow."""
        if not any(sound.reply_id.startswith("clip:") for sound in self._sounds):
            return False
        self.rewind(now)
        self._waiting = deque(piece for piece in self._waiting if isinstance(piece.command, Play))
        self._sounds = deque(s for s in self._sounds if not s.reply_id.startswith("clip:"))
        return True

    def rewind(self, now: float) -> None:
        """The far end's buffer is gone: what was not heard of it is sent again, from where the ear stands."""
        self._listen(self.ear_ms(now))
        for piece in reversed(self._playing):
            piece.sound.sent_ms -= piece.ms
            self._waiting.appendleft(piece)
        self._restart(now)

    # What is known

    def ear_ms(self, now: float) -> float:
        """Where in the stream the caller's ear stands."""
        ear = self._sent_ms - max(0.0, (self._dry_at - now) * 1000)
        if self._open_marks:
            ear = min(ear, self._open_marks[0])
        return max(ear, self._confirmed_ms)

    def holds_unheard_voice(self, now: float) -> bool:
        """Whether there is audible sound of a reply that the caller has not heard."""
        self._listen(self.ear_ms(now))
        return any(p.audible and isinstance(p.command, Play) for p in (*self._playing, *self._waiting))

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._sounds

    @property
    def deadline(self) -> float | None:
        """When `release` or `settle` will have something to do next."""
        if self._waiting:
            return self._dry_at - (self._lead_ms - min(HYSTERESIS_MS, self._lead_ms / 2)) / 1000
        if self._sounds and self._sounds[0].complete:
            sound = self._sounds[0]
            heard_at = self._dry_at - (self._sent_ms - sound.ends_at_ms) / 1000
            return heard_at + MARK_GRACE_S if self._marks and sound.sent_ms else heard_at
        return None

    # How

    def _sound(self, reply_id: str) -> Sound:
        for sound in self._sounds:
            if sound.reply_id == reply_id:
                return sound
        sound = Sound(reply_id)
        self._sounds.append(sound)
        return sound

    def _skip(self, sound: Sound) -> None:
        """Leave out what waits of a reply that stayed silent: it would only delay the next one (2.4)."""
        self._waiting = deque(piece for piece in self._waiting if piece.sound is not sound)
        sound.received_ms = sound.sent_ms

    def _send(self, piece: Piece, now: float, out: list[AnyCommand]) -> None:
        self._dry_at = max(self._dry_at, now) + piece.ms / 1000
        piece.at_ms = self._sent_ms
        self._sent_ms += piece.ms
        piece.sound.sent_ms += piece.ms
        piece.sound.ends_at_ms = self._sent_ms
        self._playing.append(piece)
        out.append(piece.command)
        if self._marks and (self._first_mark_due or self._sent_ms - self._marked_ms >= MARK_EVERY_MS):
            self._first_mark_due = False
            out.append(self._mark())

    def _end_mark(self) -> list[AnyCommand]:
        last = self._sounds[-1] if self._sounds else None
        if last is None or not last.complete or not last.sent_ms or self._marked_ms == self._sent_ms:
            return []
        self._first_mark_due = True
        return [self._mark()]

    def _mark(self) -> Mark:
        self._marked_ms = self._sent_ms
        # the name rounds up: a mark stands for everything before it, and positions at 44.1 kHz are not whole
        position = -int(-self._sent_ms // 1)
        self._open_marks.append(float(position))
        return Mark(f"{self._generation}:{position}")

    def _listen(self, ear_ms: float) -> None:
        self._ear_ms = ear_ms
        playing = self._playing
        while playing and playing[0].at_ms + playing[0].ms <= ear_ms + ROUNDING_MS:
            piece = playing.popleft()
            piece.sound.heard_ms += piece.ms

    def _is_settled(self, sound: Sound, now: float) -> bool:
        if not sound.complete or sound.received_ms - sound.sent_ms > ROUNDING_MS:
            return False
        if sound.sent_ms - sound.heard_ms <= ROUNDING_MS:
            return True
        heard_at = self._dry_at - (self._sent_ms - sound.ends_at_ms) / 1000
        if not self._marks or now < heard_at + MARK_GRACE_S:
            return False
        # by pace it was played long ago, and the mark that would say so was lost
        sound.marks_lost = True
        while self._open_marks and self._open_marks[0] <= sound.ends_at_ms + 1:
            self._open_marks.popleft()
        self._listen(max(self._ear_ms, sound.ends_at_ms))
        return True

    def _fact(self, sound: Sound, *, interrupted: bool) -> ReplyHeard:
        heard_ms = sound.heard_ms
        if self._playing and (piece := self._playing[0]).sound is sound:
            heard_ms += min(piece.ms, max(0.0, self._ear_ms - piece.at_ms))
        return ReplyHeard(
            reply_id=sound.reply_id,
            sent_ms=round(sound.sent_ms, 1),
            heard_ms=round(heard_ms, 1),
            cut_ms=round(max(0.0, sound.received_ms - heard_ms), 1),
            confirmed=self._marks and self._confirmed_ms > 0 and not sound.marks_lost,
            interrupted=interrupted,
            audible_from_ms=sound.audible_from_ms,
        )

    def _restart(self, now: float) -> None:
        self._playing.clear()
        self._generation += 1
        self._sent_ms = self._confirmed_ms = 0.0
        self._marked_ms = -1.0
        self._open_marks.clear()
        self._first_mark_due = True
        self._dry_at = now
