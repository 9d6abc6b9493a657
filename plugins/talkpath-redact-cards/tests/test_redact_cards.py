import random
import re
import time

import pytest
from talkpath_redact_cards import CARD, is_card, register_redactors, show

from gateway.redaction import Redaction


@pytest.fixture
def redaction() -> Redaction:
    """The gateway's redaction with this plugin."""
    redaction = Redaction()
    redaction.use(register_redactors())
    return redaction


@pytest.mark.parametrize(
    "number",
    ["4111111111111111", "4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005", "6011111111111117",
     "30569309025904", "4222222222222", "6304000000000000000"],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "card={} declined", '{{"pan":"{}"}}', "ends with {}."])
def test_cards_are_taken_out(redaction: Redaction, number: str, around: str) -> None:
    """Test numbers of the schemes, with blanks and hyphens, wherever they stand; the last four digits stay."""
    cleaned = redaction.clean(around.format(number))
    assert cleaned == around.format(f"card•••{re.sub(r'[^0-9]', '', number)[-4:]}")


@pytest.mark.parametrize(
    "text", ["4111111111111112", "call_4111111111111111", "1763682945518000", "4111.1111", "id 12"]
)
def test_other_figures_are_left_to_others(text: str) -> None:
    """A wrong check digit, a part of an id, a moment: no card."""
    assert CARD.sub(lambda found: show(found[0]), text) == text


def test_one_wrong_digit_is_no_card() -> None:
    """The check digit finds every single digit that is changed."""
    source = random.Random(1)  # noqa: S311 - no secret
    for place in range(16):
        digits = list("4111111111111111")
        digits[place] = source.choice([d for d in "0123456789" if d != digits[place]])
        assert not is_card("".join(digits))


def test_a_long_text_costs_little(redaction: Redaction) -> None:
    """Digits without end are no trap."""
    began = time.perf_counter()
    redaction.clean("4 " * 20_000)
    assert time.perf_counter() - began < 1
