"""The little language of phrases."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.offline_phrases import (
    NUMBER,
    grammar_of,
    normalise,
    number_value,
    number_words,
    parse_phrase,
    slots_of,
    to_jsgf,
    to_pattern,
    words_of,
)
from gateway.errors import ConfigError


@given(st.integers(0, 9999))
def test_every_number_is_read_back_as_it_is_said(value: int) -> None:
    """A number up to 999 in words has its value again; the words are those of the grammar."""
    words = number_words(value)
    if value < 1000:
        assert number_value(words) == value
        assert set(words.split()) <= words_of(NUMBER)


def test_long_and_negative_numbers_are_said() -> None:
    """Beyond thousands a number is said digit by digit; a negative one begins with minus."""
    assert number_words(12030) == "one two zero three zero"
    assert number_words(-21) == "minus twenty one"
    assert number_value("two hundred and five") == 205


def test_a_phrase_becomes_a_rule() -> None:
    """Optional words, choices, lists and slots appear in the grammar as JSGF has them."""
    assert to_jsgf(parse_phrase("{way:(left)}", {})) == "( left )"
    part = parse_phrase("go {way:left|right} [a|the] <thing>", {"thing": "door | gate"})
    assert to_jsgf(part) == "go ( ( left | right ) ) [ ( a | the ) ] ( door | gate )"
    assert "public <phrase> = go" in grammar_of([part])
    assert slots_of(part) == {"way": False}
    assert words_of(part) == {"go", "left", "right", "a", "the", "door", "gate"}


@pytest.mark.parametrize(
    ("phrase", "problem"),
    [
        ("go [left", "a ']' is missing"),
        ("go left]", "stands where nothing opened it"),
        ("go {Way:a|b}", "is no name for a slot"),
        ("go <there>", "there is no list 'there'"),
        (
            "go {way:there}",
            "there is no list 'there'; define it under lists, or for the word itself write {way:(there)}",
        ),
        ("go 10", "is no word that can be said"),
        ("go (|left)", "a choice is empty"),
        ("", "a choice is empty"),
        ("<loop>", "nested too deeply"),
        ("[" * 30 + "a" + "]" * 30, "nested too deeply"),
    ],
)
def test_a_wrong_phrase_is_refused_in_a_sentence(phrase: str, problem: str) -> None:
    """What is wrong with a phrase is said, and the phrase is quoted."""
    with pytest.raises(ConfigError, match=re.escape(problem)) as caught:
        parse_phrase(phrase, {"loop": "a <loop>"})
    assert f"phrase '{phrase}'" in str(caught.value) or "loop" in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_phrase_or_refused(text: str) -> None:
    """Whatever stands in a script is parsed or refused with a ConfigError, and what is parsed makes a pattern."""
    try:
        part = parse_phrase(text, {"a": "b"})
    except ConfigError:
        return
    assert to_pattern(part)
    assert to_jsgf(part)


def test_punctuation_and_case_make_no_difference() -> None:
    """A sentence is its bare words."""
    assert normalise("  Go forward, TEN meters!") == ["go", "forward", "ten", "meters"]
