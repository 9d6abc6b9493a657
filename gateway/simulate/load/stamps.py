"""Frames of sound that carry their call and the moment they were sent, and come out of any system unchanged.

Owns the layout: the first 18 bytes of a 20 ms frame of mu-law hold one hexadecimal digit each, as the 16 quietest
samples there are, so that a stamped frame of silence is still silent. Eighteen bytes are 24 characters of base64,
so a stamp is spliced into a ready message without encoding the rest.
"""

from binascii import a2b_base64, b2a_base64
from typing import Final

FRAME_BYTES: Final = 160
"""20 ms of mu-law at 8000 Hz."""
FRAME_NS: Final = 20_000_000
STAMP_BYTES: Final = 18
STAMP_CHARACTERS: Final = 24
FRAME_CHARACTERS: Final = 216
"""Base64 of a whole frame."""
MOST_CALLS: Final = 0xFFFE
"""One less than the digits hold: a frame of pure silence reads as all of them."""

_DIGITS: Final = b"0123456789abcdef"
_TO_SOUND: Final = bytes.maketrans(_DIGITS, bytes(range(0xF0, 0x100)))
_FROM_SOUND: Final = bytes.maketrans(bytes(range(0xF0, 0x100)), _DIGITS)
MASK: Final = (1 << 56) - 1
"""What a stamp keeps of a clock in nanoseconds: two years and more."""


def stamp_text(call: int, sent_ns: int) -> bytes:
    """The first 24 characters of a frame's base64."""
    return b2a_base64((b"%04x%014x" % (call, sent_ns & MASK)).translate(_TO_SOUND), newline=False)


def rest_text(sound: int) -> bytes:
    """The other characters of a frame that is filled with one mu-law sample; ends the base64 text."""
    return b2a_base64(bytes([sound]) * (FRAME_BYTES - STAMP_BYTES), newline=False)


def read_stamps(text: bytes) -> list[tuple[int, int]]:
    """The call and the moment in nanoseconds of every frame in a message's base64; sound without a stamp has none."""
    if len(text) == FRAME_CHARACTERS:
        stamp = _read(a2b_base64(text[:STAMP_CHARACTERS]))
        return [] if stamp is None else [stamp]
    sound = a2b_base64(text)
    read = (_read(sound[at : at + STAMP_BYTES]) for at in range(0, len(sound), FRAME_BYTES))
    return [stamp for stamp in read if stamp is not None]


def _read(sound: bytes) -> tuple[int, int] | None:
    digits = sound.translate(_FROM_SOUND)
    try:
        call = int(digits[:4], 16)
        return None if call > MOST_CALLS else (call, int(digits[4:], 16))
    except ValueError:
        return None
