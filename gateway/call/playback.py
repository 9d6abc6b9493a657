"""The playback ledger: what of each reply was sent, what the caller has heard, what an interruption cut off.

Owns the clock of the caller's ear and the bounded lead towards it. Counts milliseconds of a reply, never
bytes. Knows nothing of who may interrupt whom.

One rule places the caller's ear: everything sent plays in order at real time, so the ear stands where the
far end's buffer has not yet been played. Without marks that buffer's end is estimated by pace; each returned
mark corrects it, and the ear is never believed to be past a mark that has not come back, until that mark is
long overdue (reference: carriers, 1.5 and 1.6).
"""

from collections import deque
from typing import Final

from gateway.audio import AUDIBLE_DBFS
from gateway.call.line import NEVER, Line
from gateway.call.sounds import Cut, Flow, MarkSent, Piece, Sound
from gateway.commands import AnyCommand, Mark, Play, PlayClip, ReplyHeard

MARK_EVERY_MS: Final = 400.0
"""Sound between two marks; also one after the first piece and one at the end of each reply."""
HYSTERESIS_MS: Final = 100.0
"""How far the lead falls before it is filled up again, so that a long reply does not wake us every 20 ms."""
SILENT_LEAD_MS: Final = 200.0
"""Lead of a reply that was silent so far: it may stay so, and must not delay the next one (2.4)."""
ROUNDING_MS: Final = 0.01
"""Positions are sums of pieces; at 44.1 kHz those are not whole milliseconds."""
MARK_GRACE_S: Final = 2.0
"""How long after its estimated time a mark is waited for; then the ear is placed by pace alone."""
MOST_PIECES: Final = 30_000
"""Pieces that may wait, ten minutes of sound; what an agent sends beyond is never played."""
MOST_MARKS: Final = 256
"""Marks whose return is waited for; without any return there is no use in knowing more."""
LOOK_AGAIN_S: Final = 0.2
"""How often a line that has fallen silent is looked at."""
RECALL_S: Final = 2.5
"""Sending of this long may turn out not to have arrived although it was believed heard: until an answer is overdue."""
FLOWING_PIECES: Final = 32
"""Pieces in a row that may take the short way of `flow`; what was heard meanwhile is then forgotten."""


class PlaybackLedger:
    """Sounds in order, from the agent's hand to the caller's ear."""

    def __init__(
        self, lead_ms: float, *, marks: bool, clears: bool, at_will: bool = False, steady: bool = False
    ) -> None:
        self._lead_ms = max(lead_ms, HYSTERESIS_MS)
        self._refill_s = _refill_s(self._lead_ms)
        self._marks = marks
        self._clears = clears
        self._sounds: deque[Sound] = deque()
        self._waiting: deque[Piece] = deque()
        self._playing: deque[Piece] = deque()
        # believed heard lately; a steady line shows at once when it falls silent
        self._believed: deque[Piece] = deque(maxlen=0 if steady else None)
        self._arrived_ms = 0.0  # while the line is quiet: what is behind it may not have arrived
        self._generation = 0
        self._sent_ms = 0.0
        self._confirmed_ms = 0.0
        self._ear_ms = 0.0
        self._dry_at = 0.0  # when the far end's buffer is empty, by marks
        self._paced_at = 0.0  # the same by pace: marks only move it later, nothing plays faster
        self._open_marks: deque[MarkSent] = deque(maxlen=MOST_MARKS)
        self._marked_ms = 0.0
        self._first_mark_due = True
        self._trusts_marks = marks and not at_will
        self._flowed = 0
        self._looked_at = 0.0
        self.line = Line()
        """What is known of the way to the caller."""

    # What comes in

    def add(self, reply_id: str, audio: bytes, ms: float, level: float) -> None:
        """Append a piece of a reply."""
        sound = self._sound(reply_id, is_clip=False)
        audible = level >= AUDIBLE_DBFS
        if audible and sound.audible_from_ms is None:
            sound.audible_from_ms = sound.received_ms
        self._append(Piece(sound, Play(reply_id, audio), ms, audible=audible))

    def flow(self, reply_id: str, audio: bytes, ms: float, level: float, now: float) -> Flow | None:
        """Do what `add`, `settle` and `release` would for one more piece of the reply that is being heard.

        Only before `deadline`, and where those would do no more than pass the piece on or let it wait; else None,
        and nothing has happened. Nearly every message of an agent comes this way.
        """
        sound = self._sounds[-1] if self._sounds else None
        self._flowed += 1
        if (
            sound is None
            or sound.reply_id != reply_id
            or sound.complete
            or sound.is_clip
            or sound.audible_from_ms is None
            or self._flowed > FLOWING_PIECES
            or self.line.is_stalled(now)
        ):
            self._flowed = 0
            return None
        waited = bool(self._waiting)
        piece = Piece(sound, Play(reply_id, audio), ms, audible=level >= AUDIBLE_DBFS)
        self._append(piece)
        if waited or not self._waiting:
            return Flow([], NEVER)
        if now < (refill_at := self._dry_at - self._refill_s):
            return Flow([], refill_at)
        out: list[AnyCommand] = []
        self._send(self._waiting.popleft(), now, out)
        is_marked = len(out) > 1 and self._trusts_marks
        return Flow(out, self._open_marks[0].due_at + MARK_GRACE_S if is_marked else NEVER)

    def add_clip(self, clip: str, length_ms: float) -> None:
        """Append one round of a house sound."""
        sound = self._sound(f"clip:{clip}", is_clip=True)
        sound.audible_from_ms = 0.0
        at_ms = 0.0
        while length_ms - at_ms > ROUNDING_MS:
            ms = min(20.0, length_ms - at_ms)
            self._append(Piece(sound, PlayClip(clip, at_ms, ms), ms, audible=True))
            at_ms += ms
        sound.complete = True

    def complete(self, reply_id: str, *, interrupted: bool = False) -> None:
        """No more of this reply will come; ``interrupted`` when the agent says that the caller cut it off."""
        for sound in self._sounds:
            if sound.reply_id == reply_id and not sound.is_clip:
                sound.interrupted |= interrupted
                self._complete(sound)

    def complete_all(self) -> None:
        """No more of anything will come: the agent is gone."""
        for sound in self._sounds:
            self._complete(sound)

    def mark_returned(self, name: str, now: float, further_ms: float = 0.0) -> None:
        """Take a mark's return as the ear's place; one of an earlier generation was discarded, not heard.

        ``further_ms`` is how much behind it was played too, by the far end's own word; not as far as the next mark.
        """
        if not any(mark.name == name for mark in self._open_marks):
            return
        self._listen(
            self.ear_ms(now)
        )  # what was believed heard stays heard, whatever a late mark says of the clock
        while (mark := self._open_marks.popleft()).name != name:
            pass
        self._trusts_marks = True
        limit_ms = self._open_marks[0].position_ms if self._open_marks else self._sent_ms
        self._confirmed_ms = min(mark.position_ms + max(0.0, further_ms), limit_ms)
        late_s = max(self._paced_at, now + (self._sent_ms - self._confirmed_ms) / 1000) - self._dry_at
        self._dry_at += late_s
        for later in self._open_marks:
            later.due_at += late_s

    # What goes out

    def release(self, now: float) -> list[AnyCommand]:
        """Give what may be sent now: pieces up to the lead, and the marks between them."""
        out: list[AnyCommand] = []
        if self._waiting and now >= self._refill_at:
            while self._waiting and (self._dry_at - now) * 1000 < self._lead_of(self._waiting[0]):
                self._send(self._waiting.popleft(), now, out)
        last = self._sounds[-1] if self._sounds else None
        if last and last.complete and not last.waiting and last.sent_ms and self._marked_ms < self._sent_ms:
            self._mark_end(out)
        return out

    def settle(self, now: float) -> list[ReplyHeard]:
        """Let time pass: forget what was heard, and report the replies that were heard to their end."""
        self._looked_at = now
        if not self._sounds:
            return []
        self._listen(self.ear_ms(now))
        facts = []
        while self._sounds and (sound := self._sounds[0]).is_heard:
            self._sounds.popleft()
            if not self._sounds:
                self._believed.clear()
            facts.append(self._fact(sound, confirmed=self._confirmed_ms >= sound.ends_at_ms - ROUNDING_MS))
        return facts

    def went_quiet(self, since: float, now: float) -> None:
        """Nothing shows that what was sent after ``since`` has arrived: it is unheard, until the line is heard again."""
        self._listen(self.ear_ms(now))
        while self._believed and (piece := self._believed[-1]).sent_at > since:
            if piece.sound not in self._sounds or piece.ends_at_ms <= self._confirmed_ms:
                break  # what was told cannot be taken back
            self._believed.pop()
            piece.sound.heard_ms -= piece.ms
            piece.sound.playing += 1
            self._playing.appendleft(piece)
        unproven = (piece.ends_at_ms - piece.ms for piece in self._playing if piece.sent_at > since)
        self._arrived_ms = next(unproven, self._sent_ms)
        self._ear_ms = min(self._ear_ms, self._arrived_ms)
        self.line.is_quiet = True

    def lost_mark(self, now: float) -> str:
        """The mark that is so long overdue that marks are no longer believed, until one comes back."""
        if self._trusts_marks and self._open_marks and now >= self._open_marks[0].due_at + MARK_GRACE_S:
            if self.line.is_stalled(now):  # nothing comes at all: it is the line, and not the mark
                self._open_marks[0].due_at = now
                return ""
            self._trusts_marks = False
            return self._open_marks[0].name
        return ""

    def cut(self, now: float, *, interrupted: bool = True) -> Cut:
        """Drop every sound that can be heard or has its end; a reply silent so far may yet be spoken."""
        return self._drop([s for s in self._sounds if not s.is_silent_yet], now, interrupted=interrupted)

    def cut_all(self, now: float) -> Cut:
        """Drop everything: nothing will be heard any more."""
        return self._drop(list(self._sounds), now, interrupted=False)

    def drop_clips(self, now: float) -> Cut:
        """Drop house sounds that are still to be heard; replies behind and before them are kept."""
        clips = [sound for sound in self._sounds if sound.is_clip]
        facts, clear = self._drop(clips, now, interrupted=False)
        return Cut(facts, clear and self._clears)

    def rewind(self, now: float) -> None:
        """The caller is back and its buffer gone: what was not heard of it is sent again, from where the ear stands."""
        ear_ms = self.ear_ms(now)
        if self.line.played_on(now):
            until, end = self.line.sign_at, min(now, self.line.lost_at)
            got_ms = max((p.ends_at_ms for p in self._playing if p.sent_at <= until), default=0.0)
            ear_ms = max(ear_ms, min(got_ms, self._sent_ms - max(0.0, (self._dry_at - end) * 1000)))
        self._listen(ear_ms)
        self._restart(now)

    # What is known

    def ear_ms(self, now: float) -> float:
        """Where in the stream the caller's ear stands."""
        now = self.line.ear_goes_until(now)
        ear = self._sent_ms - max(0.0, (self._dry_at - now) * 1000)
        if self._trusts_marks and self._open_marks:
            ear = min(ear, self._open_marks[0].position_ms)
        if self.line.is_quiet:
            ear = min(ear, self._arrived_ms)
        return max(ear, self._confirmed_ms, self._ear_ms)

    def holds_unheard_voice(self, now: float, reply_id: str | None = None) -> bool:
        """Whether there is audible sound of a reply, or of this one, that the caller has not heard."""
        self._listen(self.ear_ms(now))
        return any(
            piece.audible and not piece.sound.is_clip and reply_id in {None, piece.sound.reply_id}
            for pieces in (self._playing, self._waiting)
            for piece in pieces
        )

    def waits(self, reply_id: str) -> bool:
        """Whether sound of a reply waits to be sent."""
        return any(one.waiting and one.reply_id == reply_id and not one.is_clip for one in self._sounds)

    def outlook(self) -> dict[str, ReplyHeard]:
        """What will have been heard of the replies under way when nothing more comes and nobody interrupts."""
        return {sound.reply_id: sound.as_if_heard for sound in self._sounds if not sound.is_clip}

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._sounds

    @property
    def deadline(self) -> float | None:
        """When `release`, `settle` or `lost_mark` will have something to do next."""
        due = []
        if self._waiting:
            due.append(self._refill_at)
        capped = bool(self._trusts_marks and self._open_marks)
        if capped:
            due.append(self._open_marks[0].due_at + MARK_GRACE_S)
        if self._sounds and (sound := self._sounds[0]).complete and not sound.waiting:
            heard_at = self._dry_at - (self._sent_ms - sound.ends_at_ms) / 1000
            if not capped or self._open_marks[0].position_ms > sound.ends_at_ms:
                due.append(heard_at if heard_at > self._looked_at else self._looked_at + LOOK_AGAIN_S)
        return min(due, default=None)

    # How

    def _sound(self, reply_id: str, *, is_clip: bool) -> Sound:
        for sound in self._sounds:
            if sound.reply_id == reply_id and sound.is_clip == is_clip:
                return sound
        sound = Sound(reply_id, is_clip=is_clip)
        self._sounds.append(sound)
        return sound

    def _append(self, piece: Piece) -> None:
        piece.sound.received_ms += piece.ms
        if len(self._waiting) < MOST_PIECES:
            piece.sound.waiting += 1
            self._waiting.append(piece)

    def _complete(self, sound: Sound) -> None:
        sound.complete = True
        if sound.audible_from_ms is None and sound.waiting:
            # what waits of a reply that stayed silent would only delay the next one (2.4)
            self._waiting = deque(piece for piece in self._waiting if piece.sound is not sound)
            sound.waiting = 0

    def _lead_of(self, piece: Piece) -> float:
        return min(self._lead_ms, SILENT_LEAD_MS) if piece.sound.is_silent_yet else self._lead_ms

    @property
    def _refill_at(self) -> float:
        return self._dry_at - _refill_s(self._lead_of(self._waiting[0]))

    def _send(self, piece: Piece, now: float, out: list[AnyCommand]) -> None:
        sound = piece.sound
        if sound.begins_at_ms is None:
            sound.begins_at_ms = self._sent_ms
        self._dry_at = max(self._dry_at, now) + piece.ms / 1000
        self._paced_at = max(self._paced_at, now) + piece.ms / 1000
        self._sent_ms += piece.ms
        piece.ends_at_ms = sound.ends_at_ms = self._sent_ms
        piece.sent_at = now
        sound.sent_ms += piece.ms
        sound.waiting -= 1
        sound.playing += 1
        self._playing.append(piece)
        out.append(piece.command)
        if sound.complete and not sound.waiting:
            self._mark_end(out)
        elif self._first_mark_due or self._sent_ms - self._marked_ms >= MARK_EVERY_MS:
            self._mark(out)

    def _mark_end(self, out: list[AnyCommand]) -> None:
        self._mark(out)
        self._first_mark_due = True

    def _mark(self, out: list[AnyCommand]) -> None:
        self._marked_ms = self._sent_ms
        self._first_mark_due = False
        if not self._marks:
            return
        # the name rounds up: a mark stands for everything before it, and positions at 44.1 kHz are not whole
        name = f"{self._generation}:{-int(-self._sent_ms // 1)}"
        self._open_marks.append(MarkSent(name, self._sent_ms, self._dry_at))
        out.append(Mark(name))

    def _listen(self, ear_ms: float) -> None:
        self._ear_ms = ear_ms
        playing = self._playing
        while playing and playing[0].ends_at_ms <= ear_ms + ROUNDING_MS:
            piece = playing.popleft()
            piece.sound.heard_ms += piece.ms
            piece.sound.playing -= 1
            self._believed.append(piece)
        believed = self._believed
        while believed and believed[0].sent_at < believed[-1].sent_at - RECALL_S:
            believed.popleft()

    def _drop(self, dropped: list[Sound], now: float, *, interrupted: bool) -> Cut:
        if not dropped:
            return Cut([], clear=False)
        # what a far end that cannot clear has got will be heard
        self._listen(self.ear_ms(now) if self._clears else self._sent_ms)
        facts = []
        for sound in dropped:
            sound.interrupted |= interrupted
            anchored = sound.begins_at_ms is not None and self._confirmed_ms > sound.begins_at_ms
            facts.append(self._fact(sound, confirmed=anchored))
            self._sounds.remove(sound)
        clear = any(sound.sent_ms for sound in dropped)
        if clear and self._clears:
            self._restart(now)
        self._waiting = deque(piece for piece in self._waiting if piece.sound not in dropped)
        return Cut(facts, clear)

    def _fact(self, sound: Sound, *, confirmed: bool) -> ReplyHeard:
        heard_ms = sound.heard_ms
        if self._playing and (piece := self._playing[0]).sound is sound:
            heard_ms += max(0.0, self._ear_ms - (piece.ends_at_ms - piece.ms))
        return sound.as_heard(heard_ms, confirmed=confirmed and self._trusts_marks and heard_ms > 0)

    def _restart(self, now: float) -> None:
        """Begin a new generation: the far end's buffer is empty, and what it held waits again."""
        for piece in reversed(self._playing):
            piece.sound.take_back(piece)
            self._waiting.appendleft(piece)
        self._playing.clear()
        self._believed.clear()
        for sound in self._sounds:
            sound.begins_at_ms = None
            sound.ends_at_ms = 0.0
        self._generation += 1
        self._sent_ms = self._confirmed_ms = self._ear_ms = self._marked_ms = self._arrived_ms = 0.0
        self._open_marks.clear()
        self._first_mark_due = True
        self._dry_at = self._paced_at = now


def _refill_s(lead_ms: float) -> float:
    """How long before the far end's buffer is empty it is filled up again."""
    return (lead_ms - min(HYSTERESIS_MS, lead_ms / 2)) / 1000
