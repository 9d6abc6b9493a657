import base64
import json
import re
import time
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.redaction import (
    MASK,
    Redaction,
    Redactor,
    dotted_numbers,
    looks_secret,
    mask_number,
    names_a_secret,
)

KEY = "pa/ss+w0rd=&x y-9Z"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQ\n-----END PRIVATE KEY-----\n"


def knowing(*secrets: str) -> Redaction:
    redaction = Redaction()
    redaction.learn(secrets)
    return redaction


def forms(secret: str, user: str) -> list[str]:
    """What a secret looks like where others write it."""
    return [
        secret,
        quote_plus(secret),
        json.dumps({"key": secret}),
        repr(ValueError(secret)),
        base64.b64encode(secret.encode()).decode(),
        "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode(),
        base64.urlsafe_b64encode(f"{user}{secret}{user}".encode()).decode(),
    ]


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_categories=("Zs", "Cc")), min_size=8, max_size=60),
    user=st.text("abcdef", max_size=7),
)
@example(secret=KEY, user="AC123")
def test_a_known_secret_is_found_in_every_form(secret: str, user: str) -> None:
    """Plain, in an address, in JSON, in a repr, and in base64 wherever it begins: nothing of it is left."""
    if not secret.strip() or len(secret.strip()) < 8:
        return
    redaction = knowing(secret)
    for form in forms(secret, user):
        cleaned = redaction.without_known(f"before {form} after")
        assert secret not in cleaned
        assert quote_plus(secret) not in cleaned
        assert MASK in cleaned
        assert cleaned.startswith("before ")
        assert cleaned.endswith(" after")


def test_a_private_key_is_found_line_by_line() -> None:
    """A traceback and a log print a key's lines apart from each other."""
    redaction = knowing(PEM)
    for line in ("MIIEvQIBADANBgkqhkiG9w0BAQEF", "AASCBKcwggSjAgEAAoIBAQ"):
        assert redaction.clean(f"got {line}!") == f"got {MASK}!"
    assert Redaction().clean(f"unknown {PEM}") == f"unknown {MASK}\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-1234567", f"Authorization: Bearer {MASK}"),
        ("{'authorization': 'Zm9v'}", f"{{'authorization': '{MASK}'}}"),
        ("GET /v1/ws?token=abcd&x=1", f"GET /v1/ws?token={MASK}&x=1"),
        ("redis://user:hunter2@redis:6379/0", f"redis://{MASK}@redis:6379/0"),
        ("at /v1/ws/twilio/abcdefghijklmnopqrst", f"at /v1/ws/twilio/{MASK}"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJWIn0.c2ln done", f"{MASK} done"),
        ("token " + "aB3_-" * 8 + "xyZ", f"token {MASK}"),
        ("resumed " + "aB3_" * 16, f"resumed {MASK}"),
    ],
)
def test_tokens_and_credentials_are_known_by_their_shape(text: str, shown: str) -> None:
    """What nobody has told of is recognised all the same."""
    assert Redaction().clean(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "call.ended call_id=call_573e9a21bd0c44f1a2b3c4d5 duration_s=12.25",
        "journal.full folder=/var/records max_bytes=1073741824",
        "carrier_call_id=CA2a08725e4a5d677c5a2be5890390312e session_id=sess_2a08725e4a5d677c5a2be5890390312e",
        "2026-11-21 00:55:45,518 INFO at 1763682945.518",
        "63f61863-4a51-4f6b-86e1-46edebcf9356 listens on http://127.0.0.1:41234",
        "carrier_call_id=11111111-2222-3333-4444-555555555555 CON-11111111-2222-3333-4444-555555555555",
        "session ab12cd34-7f-4477009001-cafe01 of 0a1b2c3d-0000-415-555-5309-9f8e",
        "at 2026-11-21T00:55:45+0000 12345 lines",
        "why=token_missing adapter=twilio status=403 audio=mulaw@8000",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_ordinary_lines_stay_as_they_are(text: str) -> None:
    """Ids, sizes, moments and addresses are neither secrets nor numbers of anybody."""
    assert Redaction().clean(text) == text


NUMBERS = [
    "+14155555309",
    "447700900123",
    "+1 (415) 555-5309",
    "(415) 555-5309",
    "415-555-5309",
    "415.555.5309",
    "+44 20 7946 0958",
]
UUID = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "call-to-{}",
        "a1-call-to-{}",
        f"{UUID}-{{}}",
        f"{{}}-{UUID}",
        "to {} failed",
        "caller={},",
        '"from":"{}"',
        "sip:{}@host",
        "({})",
    ],
)
def test_numbers_are_masked_however_they_are_written(number: str, around: str) -> None:
    """The middle is gone, whatever stands around."""
    text = around.format(number)
    cleaned = Redaction().clean(text)
    assert number not in cleaned
    assert MASK in cleaned
    assert len(re.sub(r"\D", "", cleaned)) < len(re.sub(r"\D", "", text))
    assert (UUID in cleaned) is (UUID in text)


@pytest.mark.parametrize("text", ["number+14155555309", "to=%2B14155555309&x=1"])
def test_numbers_behind_a_word_or_in_an_address_are_known_by_their_plus(text: str) -> None:
    """A plus tells a number from an id, though a letter stands before it or it is encoded."""
    assert "14155555309" not in Redaction().clean(text)
    assert "5555" not in dotted_numbers(text)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("around", ["{}", "call-to-{}", "{} is engaged", f"{UUID} {{}}", f"{UUID}-{{}}"])
def test_numbers_are_dotted_beside_ids_that_stay(number: str, around: str) -> None:
    """Where the length must stay, numbers have a dot for each figure and ids keep theirs."""
    dotted = dotted_numbers(around.format(number))
    assert dotted == around.format(re.sub(r"\d", "•", number))
    assert dotted_numbers(dotted) == dotted


def test_a_sentence_of_a_peer_is_one_line_without_secrets_numbers_and_unseen_signs() -> None:
    """What an agent says of itself can neither show a credential nor write lines or colours of its own."""
    said = f"no {KEY} for +15551234567, Bearer abcdefghijklmnop \x1b[2J\n2026 INFO fake \u202eoof\u2028x"
    told = f"no {MASK} for +1555•••4567, Bearer {MASK} [2J 2026 INFO fake oof x"
    one = knowing(KEY)
    assert one.sentence(said) == told
    message = json.dumps(
        {"type": "session.error", "message": said, "timestamp": 1790210425, "x": [{"y": said}]}
    )
    read = json.loads(one.sentences(message))
    assert read == {"type": "session.error", "message": told, "timestamp": 1790210425, "x": [{"y": told}]}
    assert one.sentences("[" * 100_000) == one.sentences("no JSON") == ""


def test_masking_again_changes_nothing() -> None:
    """A text may pass more than one sink."""
    once = Redaction().clean("from +14155555309 with Bearer abcdef123456")
    assert Redaction().clean(once) == once
    assert mask_number("+14155555309") in once


def test_a_redactor_of_a_plugin_is_asked_and_one_that_fails_hides_everything() -> None:
    """A pattern is replaced as its plugin says; what a broken one was to hide is not shown."""
    redaction = Redaction()
    redaction.use([Redactor("orders", re.compile(r"ORDER-\d+"), lambda found: found[:7] + "…")])
    assert redaction.clean("see ORDER-1234") == "see ORDER-1…"
    redaction.use([Redactor("broken", re.compile(r"ORDER"), lambda _found: str(1 / 0))])
    assert redaction.clean("see ORDER") == ("(left out: the redactor broken failed with ZeroDivisionError)")


def test_dots_keep_the_length() -> None:
    """In a journal without words a secret has a dot for each of its letters."""
    redaction = knowing("the-secret-value")
    assert redaction.dotted("bad the-secret-value!") == f"bad {'•' * 16}!"
    assert len(redaction.dotted("Bearer abcd1234efgh")) == len("Bearer abcd1234efgh")


def test_memory_of_secrets_and_length_of_texts_are_bounded() -> None:
    """Old ones are forgotten after ten thousand; what is too long to be searched is cut."""
    redaction = knowing(*(f"secret-{number:08d}" for number in range(10_001)))
    assert redaction.clean("secret-00010000") == MASK
    assert redaction.clean("a secret-00000000") == "a secret-00000000"
    assert "cut here" in Redaction().clean("x" * 300_000)


def test_short_texts_are_not_hunted() -> None:
    """A key of a few letters would black out every line."""
    assert knowing("default").clean("route=default") == "route=default"


@pytest.mark.parametrize(
    ("name", "tells"),
    [("auth_token", True), ("api_key", True), ("KEY", True), ("REDIS_PASSWORD", True), ("signature_secret", True),
     ("private_key", True), ("Authorization", True), ("private_key_file", False), ("token_s", False),
     ("keyterms", False), ("monkey", False), ("greeting", False), ("require_token", True)],
)  # fmt: skip
def test_names_that_tell_of_secrets(name: str, tells: bool) -> None:
    """What stands under such a name is hidden before anything else is known of it."""
    assert names_a_secret(name) is tells


def test_what_looks_secret() -> None:
    """Long mixtures of letters and figures do, words and addresses do not."""
    assert looks_secret("9f86d081884c7d659a2feaa0c55ad015")
    assert looks_secret(PEM)
    assert not looks_secret("wss://agents.us.assemblyai.com/v1/ws")
    assert not looks_secret("a sentence about the bakery in 2026")


def test_a_line_costs_little() -> None:
    """A line of the log takes less than a millisecond with fifty secrets, so that no call waits for it."""
    redaction = knowing(*(f"secret-{number}-{'x' * 24}" for number in range(50)))
    line = (
        "call.ended call_id=call_573e9a21bd0c44f1a2b3c4d5 reason=caller_left duration_s=12.25 anomalies=0" * 2
    )
    best = min(_seconds(redaction, line) for _ in range(20))
    assert best < 0.001


def _seconds(redaction: Redaction, line: str) -> float:
    began = time.perf_counter()
    redaction.clean(line)
    return time.perf_counter() - began
