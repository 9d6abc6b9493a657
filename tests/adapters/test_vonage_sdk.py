"""Vonage's own library as a judge of our proofs and of our simulator's, as far as it has the same part.

It checks the signature of a webhook's token and makes tokens for the REST interface; it neither signs webhooks nor
checks REST tokens. So webhooks go from our simulator to it and to our check, REST tokens from it and from us to our
simulated Vonage, and to PyJWT with the public key.
"""

import json
import string
import time
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vonage_jwt import JwtClient, VonageVerifyJwtError, verify_signature
from vonage_tokens import application_key, pem_of, token

from gateway.adapters.vonage_jwt import application_token, reason_to_refuse
from gateway.contracts import Knock
from gateway.settings import Secret
from gateway.simulate.vonage_jwt import body_hash, sign, why_no_application_token

APPLICATION = "63f61863-4a51-4f6b-86e1-46edebcf9356"
SECRETS = st.text(string.ascii_letters + string.digits + "+/=_-", min_size=32, max_size=64)
BODIES = st.dictionaries(
    st.sampled_from(["to", "from", "uuid", "status", "detail"]),
    st.text(st.characters(codec="utf-8"), max_size=20),
    min_size=1,
)
SERIALS = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=40)


def ours(proof: str, secret: str, body: bytes = b"", now: float | None = None) -> str:
    """Why our adapter refuses a token; empty when it believes it."""
    knock = Knock("POST", "/vonage/event", "", {"authorization": f"Bearer {proof}"}, body, "https://a.b")
    return reason_to_refuse(knock, (Secret(secret),), time.time() if now is None else now)


def theirs(proof: str, secret: str) -> bool:
    """Whether Vonage's library believes it; what it cannot read it does not."""
    try:
        return bool(verify_signature(proof, secret))
    except VonageVerifyJwtError:
        return False


def claims(body: bytes, serial: str, **more: Any) -> dict[str, Any]:
    return {
        "iat": int(time.time()), "jti": serial, "iss": "Vonage", "api_key": "a1b2c3d", "application_id": APPLICATION,
        "payload_hash": body_hash(body), **more,
    }  # fmt: skip


@given(SECRETS, BODIES, SERIALS, st.sampled_from([None, 2]))
def test_what_our_simulated_vonage_signs_both_accept(
    secret: str, fields: dict[str, str], serial: str, indent: int | None
) -> None:
    """Bodies of any words, written tightly or widely."""
    body = json.dumps(fields, indent=indent, ensure_ascii=False).encode()
    proof = sign(secret, claims(body, serial))
    assert theirs(proof, secret)
    assert ours(proof, secret, body) == ""


@given(SECRETS, SERIALS, st.integers(0), st.integers(1, 127))
def test_a_token_that_was_changed_both_refuse(secret: str, serial: str, place: int, change: int) -> None:
    """Whatever letter of the header, the claims or the signature becomes another one."""
    proof = sign(secret, claims(b"{}", serial))
    place %= len(proof) - 1  # the last letter has bits that mean nothing, see below
    letter = chr(ord(proof[place]) ^ change)
    wrong = proof[:place] + letter + proof[place + 1 :]
    assert not theirs(wrong, secret)
    assert ours(wrong, secret, b"{}") != ""


@given(SECRETS, SECRETS, SERIALS)
def test_a_token_of_another_secret_both_refuse(secret: str, other: str, serial: str) -> None:
    """As after a rotation that one side has missed."""
    proof = sign(secret, claims(b"{}", serial))
    assert theirs(proof, other) == (secret == other)
    assert (ours(proof, other, b"{}") == "") == (secret == other)


@pytest.mark.parametrize("algorithm", ["none", "HS512", "RS256", "hs256", ""])
def test_another_algorithm_both_refuse(algorithm: str) -> None:
    """The header does not choose how it is judged."""
    secret = "s" * 64
    proof = token(claims(b"{}", "1"), secret, alg=algorithm)
    assert not theirs(proof, secret)
    assert ours(proof, secret, b"{}") != ""


@settings(max_examples=25, deadline=None)
@given(SERIALS)
def test_rest_tokens_of_the_library_and_ours_are_alike(serial: str) -> None:
    """The same header and claims, good for the same time, and our simulated Vonage believes both."""
    key, pem = application_key(), pem_of(application_key())
    now = time.time()
    from_library = (
        JwtClient(APPLICATION, pem).generate_application_jwt({"jti": serial, "iat": int(now)}).decode()
    )
    from_us = application_token(APPLICATION, pem, now, serial)
    for proof in (from_library, from_us):
        assert why_no_application_token(proof, key.public_key(), APPLICATION, now) == ""
        assert why_no_application_token(proof, key.public_key(), "another", now) != ""
        assert why_no_application_token(f"{proof[:-8]}AAAAAAAA", key.public_key(), APPLICATION, now) != ""
        assert jwt.get_unverified_header(proof) == {"alg": "RS256", "typ": "JWT"}
    read = [jwt.decode(proof, key.public_key(), algorithms=["RS256"]) for proof in (from_library, from_us)]
    assert read[0] == read[1]
    assert read[0]["exp"] - read[0]["iat"] == 900


# Where the library and we are known to disagree; each with the reason why we do not do as it does.

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iat": int(time.time()) - 3600}, "too_old"),
        ({"iss": "Somebody"}, "wrong_issuer"),
        ({"payload_hash": "0" * 64}, "wrong_body_hash"),
        ({"payload_hash": None}, "no_body_hash"),
        ({"jti": ""}, "no_serial"),
    ],
)
def test_disagreement_claims_that_the_library_does_not_read(changes: dict[str, Any], reason: str) -> None:
    """It checks the signature alone; Vonage's page asks for the rest, without which an old body could be sent again."""
    proof = sign(SECRET, claims(b"{}", "1", **changes))
    assert theirs(proof, SECRET)
    assert ours(proof, SECRET, b"{}") == reason


def test_disagreement_a_clock_that_is_a_little_ahead() -> None:
    """A token from some seconds in the future is refused by the library; we allow for 30 seconds (reference, 3.6)."""
    proof = sign(SECRET, claims(b"{}", "1", iat=int(time.time()) + 20))
    assert not theirs(proof, SECRET)
    assert ours(proof, SECRET, b"{}") == ""


def test_the_last_letter_of_a_token_is_judged_alike() -> None:
    """Bits of the last letter that stand for nothing may differ; both read the same signature and accept."""
    proof = sign(SECRET, claims(b"{}", "1"))
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    twin = proof[:-1] + letters[letters.index(proof[-1]) ^ 1]
    assert theirs(twin, SECRET) == (ours(twin, SECRET, b"{}") == "")
