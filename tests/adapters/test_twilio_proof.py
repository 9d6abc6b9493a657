import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.twilio_http import TwilioSettings, authorize
from gateway.adapters.twilio_signature import REASONS, addresses, sign
from gateway.contracts import Knock
from gateway.settings import Secret

TOKEN = Secret("12345")
ACCOUNT = "AC00000000000000000000000000000001"
KNOWN = TwilioSettings(auth_token=(TOKEN,))
FORM = {"content-type": "application/x-www-form-urlencoded"}
CALL = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
]


def webhook(
    signature: str,
    fields: list[tuple[str, str]],
    *,
    origin: str = "https://mycompany.com",
    path: str = "/myapp.php",
    query: str = "foo=1&bar=2",
) -> Knock:
    headers = {**FORM, "x-twilio-signature": signature}
    return Knock("POST", path, query, headers, urlencode(fields).encode(), origin)


def upgrade(signature: str, *, origin: str = "wss://voice.example.com", path: str = "/media") -> Knock:
    return Knock("GET", path, "", {"x-twilio-signature": signature, "upgrade": "websocket"}, b"", origin)


def signed(text: str, token: Secret = TOKEN) -> str:
    return sign(token, text).decode()


def reason(knock: Knock, section: TwilioSettings = KNOWN) -> str:
    return authorize(knock, section, 0.0)


def test_published_form_signature_is_accepted() -> None:
    """The webhook of Twilio's security page passes, whatever the order of its parameters."""
    assert reason(webhook("RSOYDt4T1cUTdK1PDd93/VVr8B8=", CALL)) == ""
    assert reason(webhook("RSOYDt4T1cUTdK1PDd93/VVr8B8=", CALL[::-1])) == ""


@pytest.mark.parametrize(
    ("address", "signature"),
    [
        ("wss://voice.example.com/media", "jFDHVhI8XO69C49uXR3xmdZPylY="),
        ("wss://voice.example.com/media/", "BXF4dPv/qKwfALEQ/o2fVPPvK/c="),
        ("wss://voice.example.com:443/media", "zT3E7J41/O0MIJ8mFRuffODYWF4="),
    ],
)
def test_published_upgrade_signatures_are_accepted(address: str, signature: str) -> None:
    """Each form in which the address of one media socket may have been signed passes."""
    assert signed(address) == signature
    assert reason(upgrade(signature)) == ""


@pytest.mark.parametrize(
    "address",
    [
        "https://voice.example.com/media",
        "https://voice.example.com/media/",
        "https://voice.example.com:443/media",
        "wss://voice.example.com:443/media/",
    ],
)
def test_other_forms_of_an_upgrade_are_accepted(address: str) -> None:
    """The https form passes too: it is as unforgeable without the token."""
    assert reason(upgrade(signed(address))) == ""


@pytest.mark.parametrize(
    ("origin", "path", "address"),
    [
        ("ws://127.0.0.1:8080", "/v1/ws/twilio/t", "ws://127.0.0.1:8080/v1/ws/twilio/t"),
        ("ws://127.0.0.1:8080", "/v1/ws/twilio/t", "http://127.0.0.1:8080/v1/ws/twilio/t"),
        ("ws://[::1]:8080", "/m", "ws://[::1]:8080/m"),
        ("ws://[::1]", "/m", "ws://[::1]:80/m"),
        ("wss://gw.example.com", "", "wss://gw.example.com/"),
        ("wss://gw.example.com:443", "/m", "wss://gw.example.com/m"),
        ("wss://gw.example.com:8443", "/m", "wss://gw.example.com/m"),
        ("wss://user:pass@gw.example.com", "/m", "wss://user:pass@gw.example.com/m"),
    ],
)
def test_upgrades_to_unusual_origins_are_accepted(origin: str, path: str, address: str) -> None:
    """Plain sockets, IPv6, ports, an empty path and credentials in the address are signed as they stand."""
    assert reason(upgrade(signed(address), origin=origin, path=path)) == ""


@pytest.mark.parametrize(
    "address",
    [
        "wss://voice.example.com/other",
        "wss://voice.example.org/media",
        "wss://voice.example.com/media?x=1",
        "ws://voice.example.com/media",
        "http://voice.example.com/media",
        "wss://voice.example.com:80/media",
    ],
)
def test_signature_of_another_address_is_refused(address: str) -> None:
    """A signature is good for one address only, and a secure socket's never for a plain one."""
    assert reason(upgrade(signed(address))) == "wrong_signature"


def test_likeliest_address_is_tried_first() -> None:
    """The address as it stood in the call document comes before every other form."""
    assert next(addresses(upgrade(""))) == "wss://voice.example.com/media"


def test_tokens_are_rotated() -> None:
    """While two tokens are configured both prove a call; the retired one alone does not."""
    old, new = Secret("old"), Secret("new")
    both = TwilioSettings(auth_token=(new, old))
    for token in (old, new):
        assert reason(upgrade(signed("wss://voice.example.com/media", token)), both) == ""
    retired = upgrade(signed("wss://voice.example.com/media", old))
    assert reason(retired, TwilioSettings(auth_token=(new,))) == "wrong_signature"


@pytest.mark.parametrize("tokens", [(), (Secret(""),)])
def test_without_a_token_nobody_is_proven(tokens: tuple[Secret, ...]) -> None:
    """A missing or empty token never signs: not even the signature made with nothing."""
    section = TwilioSettings(auth_token=tokens)
    assert reason(upgrade(signed("wss://voice.example.com/media", Secret(""))), section) == "no_secret"


def test_missing_signature_is_named() -> None:
    """A request without the header is told apart from one with a wrong signature."""
    assert reason(Knock("POST", "/x", origin="https://mycompany.com")) == "no_signature"
    assert reason(upgrade(" ")) == "no_signature"
    assert reason(upgrade("wr\u00f6ng")) == "wrong_signature"


@pytest.mark.parametrize(
    "fields",
    [CALL[1:], [*CALL, ("Extra", "1")], [*CALL[:-1], ("To", "+18005551213")], []],
    ids=["one missing", "one more", "one changed", "none"],
)
def test_changed_form_is_refused(fields: list[tuple[str, str]]) -> None:
    """No parameter can be added, dropped or changed."""
    assert reason(webhook("RSOYDt4T1cUTdK1PDd93/VVr8B8=", fields)) == "wrong_signature"


def test_repeated_parameters_are_sorted_and_counted_once() -> None:
    """Several values of one name are signed in order, equal ones once; empty ones count."""
    address = "https://mycompany.com/myapp.php?foo=1&bar=2"
    fields = [("b", "2"), ("b", "10"), ("b", "2"), ("a", ""), ("B", "x")]
    assert reason(webhook(signed(address + "Bx" + "a" + "b10" + "b2"), fields)) == ""


def test_form_is_decoded_as_utf8() -> None:
    """Names of callers in any script are signed as text, not as they are escaped."""
    address = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert reason(webhook(signed(address + "CallerNameJosé + 李"), [("CallerName", "José + 李")])) == ""


def test_query_is_signed_as_received() -> None:
    """A GET webhook's parameters are in its query, which is neither decoded nor sorted; nothing is appended."""
    query = "To=%2B1&From=a%20b+c&From=%c3%bc"
    knock = Knock(
        "GET",
        "/twilio/voice",
        query,
        {"x-twilio-signature": signed("https://gw.example.com/twilio/voice?" + query)},
        origin="https://gw.example.com",
    )
    assert reason(knock) == ""


def json_webhook(body: bytes, digest: str, query: str = "a=1&bodySHA256=", method: str = "POST") -> Knock:
    query += digest
    return Knock(
        method,
        "/twilio/status",
        query,
        {
            "x-twilio-signature": signed("https://gw.example.com/twilio/status?" + query),
            "content-type": "application/json",
        },
        body,
        "https://gw.example.com",
    )


def test_json_body_is_proven_by_its_hash() -> None:
    """The signature covers the address, whose bodySHA256 covers the body."""
    body = b'{"CallSid":"CA1"}'
    digest = hashlib.sha256(body).hexdigest()
    assert reason(json_webhook(body, digest)) == ""
    assert reason(json_webhook(body, digest.upper())) == ""
    assert reason(json_webhook(body + b" ", digest)) == "wrong_body_hash"
    assert reason(json_webhook(body, "")) == "wrong_body_hash"
    assert reason(json_webhook(body, "", query="a=1")) == "wrong_body_hash"
    assert reason(json_webhook(body, "", query="a=1", method="GET")) == "wrong_body_hash"
    assert reason(json_webhook(b"", "", query="a=1")) == ""


def test_account_of_a_webhook_must_be_ours() -> None:
    """Where an account is configured, a webhook names it, and once; an upgrade names none."""
    section = TwilioSettings(auth_token=(TOKEN,), account_sid=ACCOUNT)
    address = "https://mycompany.com/myapp.php?foo=1&bar=2"

    def of(*accounts: str) -> Knock:
        fields = [("AccountSid", account) for account in accounts]
        text = "".join(name + value for name, value in sorted(set(fields)))
        return webhook(signed(address + text), fields)

    assert reason(of(ACCOUNT), section) == ""
    assert reason(of("AC2"), section) == "wrong_account"
    assert reason(of(), section) == "wrong_account"
    assert reason(of(ACCOUNT, "AC2"), section) == "wrong_account"
    assert reason(of("AC2")) == ""
    assert reason(upgrade(signed("wss://voice.example.com/media")), section) == ""


def test_form_of_too_many_fields_is_refused_unread() -> None:
    """A form that is larger than any webhook costs nothing."""
    assert reason(webhook("x", [("a", str(number)) for number in range(1001)])) == "unreadable_form"


headers = st.dictionaries(
    st.sampled_from(["x-twilio-signature", "content-type", "upgrade"]),
    st.text(max_size=30) | st.just("application/x-www-form-urlencoded"),
)


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.text(max_size=20),
    query=st.text(max_size=30),
    fields=headers,
    body=st.binary(max_size=60),
    origin=st.sampled_from(["https://gw.example.com", "ws://[::1]:1", "", "wss://a:b", "x"]),
)
def test_no_unsigned_request_passes(
    *, method: str, path: str, query: str, fields: Mapping[str, str], body: bytes, origin: str
) -> None:
    """Whatever a stranger sends is refused with a word from the list, and nothing is raised."""
    assert reason(Knock(method, path, query, fields, body, origin)) in REASONS
