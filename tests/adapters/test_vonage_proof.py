import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from vonage_tokens import NOW, SECRET, application_key, claims_of, encoded, pem_of, token

from gateway.adapters.vonage_http import VonageSettings, authorize
from gateway.adapters.vonage_jwt import AGE_S, REASONS, SKEW_S, is_private_key, serial
from gateway.contracts import Knock
from gateway.settings import Secret

KNOWN = VonageSettings(signature_secret=(Secret(SECRET),))
BODY = b'{"from":"447700900000","to":"447700900001","uuid":"u-1"}'


def webhook(proof: str, body: bytes = BODY, *, scheme: str = "Bearer") -> Knock:
    headers = {"content-type": "application/json", "authorization": f"{scheme} {proof}"}
    return Knock("POST", "/vonage/answer", "", headers, body, "https://voice.example.com")


def upgrade(proof: str) -> Knock:
    headers = {"authorization": f"Bearer {proof}", "upgrade": "websocket"}
    return Knock("GET", "/v1/ws/vonage/t", "", headers, b"", "wss://voice.example.com")


def reason(knock: Knock, section: VonageSettings = KNOWN, now: float = NOW) -> str:
    return authorize(knock, section, now)


def refused_for(**changes: Any) -> str:
    """Why a webhook is refused whose claims are changed."""
    return reason(webhook(token(claims_of(BODY, **changes))))


def test_signed_webhook_is_accepted() -> None:
    """A token signed with the account's secret, fresh, with the hash of the body, proves a webhook."""
    assert reason(webhook(token(claims_of(BODY)))) == ""
    assert reason(webhook(token(claims_of(BODY)), scheme="bearer")) == ""


def test_published_token_is_signed_as_published() -> None:
    """The best-known token of all passes as signed with its secret, and only its claims are none of Vonage's."""
    proof = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
        ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
        ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    )
    section = VonageSettings(signature_secret=(Secret("your-256-bit-secret"),))
    assert reason(webhook(proof), section) == "wrong_issuer"
    assert reason(webhook(proof)) == "wrong_signature"


def test_upgrade_and_get_have_no_body_to_prove() -> None:
    """The token alone proves an upgrade and a webhook by GET, also one that names the hash of something else."""
    assert reason(upgrade(token(claims_of()))) == ""
    by_get = Knock(
        "GET",
        "/vonage/answer",
        "uuid=u-1",
        {"authorization": f"Bearer {token(claims_of(b'x'))}"},
        b"",
        "https://voice.example.com",
    )
    assert reason(by_get) == ""


def test_body_must_be_the_one_that_was_hashed() -> None:
    """No byte of a body can be changed, and a token without a hash proves no body."""
    proof = token(claims_of(BODY))
    assert reason(webhook(proof, BODY.replace(b"u-1", b"u-2"))) == "wrong_body_hash"
    assert reason(webhook(proof, BODY + b" x")) == "wrong_body_hash"
    assert refused_for(payload_hash=None) == "no_body_hash"
    assert refused_for(payload_hash="") == "no_body_hash"
    assert refused_for(payload_hash=7) == "no_body_hash"
    assert refused_for(payload_hash="ü") == "wrong_body_hash"
    assert reason(webhook(token(claims_of()))) == "no_body_hash"


def test_hash_may_be_of_the_body_without_spacing() -> None:
    """Vonage's support page hashes the JSON without spacing: the same content in the same order passes."""
    spaced = json.dumps(json.loads(BODY), indent=2).encode()
    assert reason(webhook(token(claims_of(BODY)), spaced)) == ""
    upper = hashlib.sha256(BODY).hexdigest().upper()
    assert refused_for(payload_hash=upper) == ""
    assert reason(webhook(token(claims_of(b"[" * 5000)), b"[" * 5000)) == ""
    assert reason(webhook(token(claims_of(BODY)), b"[" * 5000)) == "wrong_body_hash"


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        ("", "no_token"),
        ("x", "unreadable_token"),
        ("a.b", "unreadable_token"),
        ("a.b.c", "unreadable_token"),
        ("..", "unreadable_token"),
        ("\u00fc.\u00fc.\u00fc", "unreadable_token"),
        ("\udcff", "unreadable_token"),
        (token([1]), "unreadable_token"),
        (token("text"), "unreadable_token"),
        (token(claims_of(BODY), secret="another"), "wrong_signature"),
        (token(claims_of(BODY))[:-4] + "AAAA", "wrong_signature"),
        (token(claims_of(BODY), alg="none"), "wrong_algorithm"),
        (token(claims_of(BODY), alg="HS512"), "wrong_algorithm"),
        (token(claims_of(BODY), alg="RS256"), "wrong_algorithm"),
        (token(claims_of(BODY), alg="hs256"), "wrong_algorithm"),
        (f"{encoded(b'{}')}.{encoded(b'{}')}.{encoded(b'x')}", "wrong_algorithm"),
        (token(claims_of(BODY)).rpartition(".")[0] + ".", "wrong_signature"),
        (token(claims_of(BODY), crit=["other"]), "unreadable_token"),
    ],
)
def test_what_is_no_proof_is_named(proof: str, why: str) -> None:
    """Missing, unreadable, unsigned and otherwise signed tokens are refused, each with its word."""
    assert reason(webhook(proof)) == why


def test_other_ways_of_authorization_are_none() -> None:
    """Only a bearer's token counts."""
    assert reason(webhook(token(claims_of(BODY)), scheme="Basic")) == "no_token"
    assert reason(Knock("POST", "/vonage/answer", body=BODY, origin="https://x")) == "no_token"


@pytest.mark.parametrize("secrets", [(), (Secret(""),)])
def test_without_a_secret_nobody_is_proven(secrets: tuple[Secret, ...]) -> None:
    """A missing or empty secret never signs: not even a token signed with nothing."""
    section = VonageSettings(signature_secret=secrets)
    assert reason(webhook(token(claims_of(BODY), secret="")), section) == "no_secret"


def test_secrets_are_rotated() -> None:
    """While two secrets are configured both prove a call; the retired one alone does not."""
    both = VonageSettings(signature_secret=(Secret("new"), Secret("old")))
    for secret in ("old", "new"):
        assert reason(webhook(token(claims_of(BODY), secret=secret)), both) == ""
    retired = VonageSettings(signature_secret=(Secret("new"),))
    assert reason(webhook(token(claims_of(BODY), secret="old")), retired) == "wrong_signature"


def test_private_key_as_secret_proves_nobody() -> None:
    """A key in the wrong place is refused as a secret, and never raises."""
    pem = pem_of(application_key())
    section = VonageSettings(signature_secret=(Secret(pem),))
    assert reason(webhook(token(claims_of(BODY), secret=pem)), section) == "wrong_signature"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": None}, "wrong_issuer"),
        ({"iss": "vonage"}, "wrong_issuer"),
        ({"iss": ["Vonage"]}, "wrong_issuer"),
        ({"jti": None}, "no_serial"),
        ({"jti": ""}, "no_serial"),
        ({"jti": 7}, "no_serial"),
        ({"jti": "x" * 201}, "no_serial"),
        ({"iat": None}, "no_time"),
        ({"iat": "1700000000"}, "no_time"),
        ({"iat": True}, "no_time"),
        ({"iat": 10**400}, "no_time"),
        ({"iat": float("nan")}, "too_old"),
        ({"iat": NOW - AGE_S - SKEW_S - 1}, "too_old"),
        ({"iat": NOW - AGE_S}, ""),
        ({"iat": NOW + SKEW_S}, ""),
        ({"iat": NOW + SKEW_S + 1}, "too_early"),
        ({"iat": float("inf")}, "too_early"),
        ({"exp": NOW - SKEW_S - 1}, "expired"),
        ({"exp": NOW - SKEW_S}, ""),
        ({"exp": NOW + 60}, ""),
        ({"exp": float("nan")}, "expired"),
    ],
)
def test_claims_must_be_vonages_and_fresh(changes: Mapping[str, Any], why: str) -> None:
    """Issuer, serial number and time are checked; time is the one that is given."""
    assert refused_for(**changes) == why


def test_account_and_application_must_be_ours() -> None:
    """Where they are configured a token names our account, and our application or none."""
    body = webhook(token(claims_of(BODY)))
    other = webhook(token(claims_of(BODY, application_id="app-2", api_key="other")))
    plain = webhook(token(claims_of(BODY, application_id=None, api_key=None)))

    def section(**fields: Any) -> VonageSettings:
        return VonageSettings(signature_secret=(Secret(SECRET),), **fields)

    ours = section(application_id="app-1", private_key=Secret(""))
    assert reason(body, ours) == ""
    assert reason(other, ours) == "wrong_application"
    assert reason(plain, ours) == ""
    account = section(api_key="a1b2c3d")
    assert reason(body, account) == ""
    assert reason(other, account) == "wrong_account"
    assert reason(plain, account) == "wrong_account"
    assert reason(other) == ""


def test_serial_number_is_the_tokens() -> None:
    """What is good once is known by the number in the token."""
    assert serial(webhook(token(claims_of(BODY, jti="aaaaaaaa-bbbb")))) == "aaaaaaaa-bbbb"


def test_private_keys_are_told_from_other_texts() -> None:
    """Only an RSA key that signs as it is can be a private key."""
    key = application_key()
    assert is_private_key(pem_of(key))
    traditional = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert is_private_key(traditional.decode())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
    elliptic = pem_of(ec.generate_private_key(ec.SECP256R1()))
    cut = pem_of(key)[:200]
    for wrong in ("", "x", "vonage.pem", public, locked, elliptic, cut, pem_of(key).replace("A", "?")):
        assert not is_private_key(wrong)
        if wrong:
            with pytest.raises(ValueError, match="`private_key` must be an RSA private key"):
                VonageSettings(private_key=Secret(wrong))


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST"]),
    proof=st.text(max_size=60)
    | st.builds(lambda a, b, c: f"{encoded(a)}.{encoded(b)}.{encoded(c)}", *[st.binary(max_size=30)] * 3),
    body=st.binary(max_size=60),
    origin=st.sampled_from(["https://gw.example.com", "ws://[::1]:1", ""]),
)
def test_no_unsigned_request_passes(*, method: str, proof: str, body: bytes, origin: str) -> None:
    """Whatever a stranger sends is refused with a word from the list, and nothing is raised."""
    headers = {"authorization": f"Bearer {proof}"}
    assert reason(Knock(method, "/vonage/answer", "", headers, body, origin)) in REASONS


@settings(max_examples=200, deadline=None)
@given(
    claims=st.dictionaries(
        st.sampled_from(["iat", "jti", "iss", "exp", "nbf", "aud", "sub", "payload_hash", "api_key"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=8)
        | st.lists(st.integers(), max_size=2),
    )
)
def test_signed_nonsense_is_refused(claims: dict[str, Any]) -> None:
    """Even what the right secret signed is believed only when every claim is as it must be."""
    assert reason(webhook(token(claims))) in REASONS
