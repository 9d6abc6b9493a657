"""Tests of what a journal without words keeps of the id that a provider gives its session."""

import pytest

from gateway.events import AgentReady
from gateway.observers.journal_words import without_words


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("sess_2a08725e4a5d677c", "sess_2a08725e4a5d677c"),
        ("12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"),
        ("sess\n2026 fake +15551234567", "sess?2026 fake +•••••••••••"),
        ("\x1b[2J" + "x" * 300, "?[2J" + "x" * 196),
    ],
)
def test_a_providers_session_id_is_kept_as_far_as_it_is_one(given: str, kept: str) -> None:
    """What is more than an id can be is without numbers and unseen signs, and bounded; doing it again changes nothing."""
    masked = without_words(AgentReady(given))
    assert masked.session_id == kept
    assert without_words(masked) == masked
