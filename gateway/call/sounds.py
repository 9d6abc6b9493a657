"""What the playback ledger counts: sounds, the pieces they are sent in, and the marks between them; and what it gives.

Owns the size of a piece, and no other rule; the ledger fills them in.
"""

from typing import Final, NamedTuple

from gateway.audio import AudioFormat, level_dbfs
from gateway.commands import AnyCommand, Play, PlayClip, ReplyHeard

LONGEST_PIECE_MS: Final = 20.0
"""Longest piece that is sent at once; what is sent cannot be paced any more."""


class Sound:
    """A reply, or a house sound, on its way to the caller's ear."""

    __slots__ = (
        "audible_from_ms",
        "begins_at_ms",
        "complete",
        "ends_at_ms",
        "heard_ms",
        "interrupted",
        "is_clip",
        "playing",
        "received_ms",
        "reply_id",
        "sent_ms",
        "waiting",
    )

    def __init__(self, reply_id: str, *, is_clip: bool) -> None:
        self.reply_id = reply_id
        self.is_clip = is_clip
        self.received_ms = 0.0
        self.sent_ms = 0.0
        self.heard_ms = 0.0
        self.audible_from_ms: float | None = None
        self.complete = False
        """Nothing more will come."""
        self.interrupted = False
        """The caller cut it off."""
        self.waiting = 0
        """Pieces not sent."""
        self.playing = 0
        """Pieces sent and not heard."""
        self.begins_at_ms: float | None = None
        """Position in the stream of this generation where what was sent of it begins."""
        self.ends_at_ms = 0.0
        """Position in the stream of this generation where what was sent of it ends."""

    @property
    def is_silent_yet(self) -> bool:
        """Whether it has begun, and may go on, without anything to be heard."""
        return self.audible_from_ms is None and not self.complete

    @property
    def is_heard(self) -> bool:
        """Whether it was heard to its end."""
        return self.complete and not self.waiting and not self.playing

    @property
    def as_if_heard(self) -> ReplyHeard:
        """What will have been heard of it when nothing more comes and nobody interrupts."""
        return ReplyHeard(
            reply_id=self.reply_id,
            sent_ms=self.received_ms,
            heard_ms=self.received_ms,
            cut_ms=0.0,
            confirmed=False,
            interrupted=False,
            audible_from_ms=self.audible_from_ms,
        )

    def as_heard(self, heard_ms: float, *, confirmed: bool) -> ReplyHeard:
        """What is told of it when so much was heard and no more will be."""
        audible_from_ms = self.audible_from_ms
        if audible_from_ms is not None and heard_ms <= audible_from_ms:
            audible_from_ms = None
        return ReplyHeard(
            reply_id=self.reply_id,
            sent_ms=round(self.sent_ms, 1),
            heard_ms=round(heard_ms, 1),
            cut_ms=round(max(0.0, self.received_ms - heard_ms), 1),
            confirmed=confirmed,
            interrupted=self.interrupted,
            audible_from_ms=audible_from_ms,
        )

    def take_back(self, piece: "Piece") -> None:
        """A piece that was sent never arrived; it waits again."""
        self.sent_ms -= piece.ms
        self.playing -= 1
        self.waiting += 1


class Piece:
    """At most 20 ms of a sound; kept until it was heard, so that a caller who comes back misses nothing."""

    __slots__ = ("audible", "command", "ends_at_ms", "ms", "sent_at", "sound")

    def __init__(self, sound: Sound, command: Play | PlayClip, ms: float, *, audible: bool) -> None:
        self.sound = sound
        self.command = command
        self.ms = ms
        self.audible = audible
        self.ends_at_ms = 0.0
        """Position in the stream, once sent."""
        self.sent_at = 0.0


class MarkSent:
    """A mark on its way to the far end and back."""

    __slots__ = ("due_at", "name", "position_ms")

    def __init__(self, name: str, position_ms: float, due_at: float) -> None:
        self.name = name
        self.position_ms = position_ms
        self.due_at = due_at
        """When the far end should have played all that is before it."""


class Cut(NamedTuple):
    """What was dropped."""

    facts: list[ReplyHeard]
    """How much of it was heard, per sound."""
    clear: bool
    """Whether `Clear` must be sent."""


class Flow(NamedTuple):
    """What became of a piece that came while everything was as usual."""

    commands: list[AnyCommand]
    """To be carried out, in order."""
    deadline: float
    """No later than this the ledger has something to do because of it."""


def cut_up(audio: bytes, level: float, audio_format: AudioFormat) -> list[tuple[bytes, float, float]]:
    """Divide what an agent sent at once into pieces, each with its length in milliseconds and its level in dBFS."""
    length_ms = audio_format.ms(len(audio))
    if length_ms <= LONGEST_PIECE_MS:
        return [(audio, length_ms, level)]
    size = audio_format.frame_bytes(LONGEST_PIECE_MS)
    pieces = [audio[at : at + size] for at in range(0, len(audio), size)]
    return [(piece, audio_format.ms(len(piece)), level_dbfs(piece, audio_format)) for piece in pieces]
