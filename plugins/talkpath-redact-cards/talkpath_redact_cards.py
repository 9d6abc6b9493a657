"""Takes numbers of payment cards out of logs and errors; the last four digits stay.

Owns what is a card's number: how it begins, how long it is, and its check digit. Refuses words and sound.
"""

import re
from typing import Final

from gateway import Redactor, hookimpl

CARD: Final = re.compile(r"(?<![\w.+])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\w]|\.\d)")
"""What may be one: 13 to 19 digits that begin as those of the card schemes do."""


def show(found: str) -> str:
    """``card•••1111``, or the same text again where the check digit says that it is no card."""
    digits = re.sub(r"\D", "", found)
    return f"card•••{digits[-4:]}" if is_card(digits) else found


def is_card(digits: str) -> bool:
    """Whether the last digit is the right one for those before (Luhn, ISO/IEC 7812-1)."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


@hookimpl
def register_redactors() -> list[Redactor]:
    """Look for cards in every text that leaves the process."""
    return [Redactor("payment cards", CARD, show)]
