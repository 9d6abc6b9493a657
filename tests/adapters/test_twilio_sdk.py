"""Twilio's own library as a judge of our signature check, and of our simulator's signatures, both ways."""

import hashlib
import string
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from gateway.adapters.twilio_http import TwilioSettings, authorize
from gateway.contracts import Knock
from gateway.settings import Secret
from gateway.simulate.twilio_signature import sign as simulated

Pairs = list[tuple[str, str]]
FORM = "application/x-www-form-urlencoded"

TOKENS = st.text(string.ascii_letters + string.digits, min_size=8, max_size=40)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.one_of(st.sampled_from(["CallSid", "From", "To", "Digits", "a", "A"]), TEXTS.filter(bool))
FIELDS = st.lists(st.tuples(NAMES, st.one_of(st.just(""), TEXTS)), max_size=8)
SEGMENTS = st.text(string.ascii_letters + string.digits + "-_.~ü%/ ", min_size=1, max_size=8)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(quote(p, safe="") for p in parts)
)
QUERIES = st.lists(st.tuples(NAMES, TEXTS), max_size=4).map(urlencode)
HOSTS = st.sampled_from(["voice.example.com", "a.b", "xn--bcher-kva.example"])
PORTS = st.sampled_from(["", ":443", ":8443", ":80"])
SCHEMES = st.sampled_from(["https", "http"])


def address(scheme: str, host: str, port: str, path: str, query: str) -> str:
    return f"{scheme}://{host}{port}{path}" + (f"?{query}" if query else "")


URLS = st.builds(address, SCHEMES, HOSTS, PORTS, PATHS, QUERIES)
PLAIN_URLS = st.builds(address, SCHEMES, HOSTS, PORTS, PATHS, st.just(""))


def accepted(
    token: str,
    url: str,
    signature: str,
    *,
    fields: Pairs | None = None,
    body: bytes = b"",
    kind: str = FORM,
    origin: str = "",
) -> bool:
    """Whether our adapter believes a webhook; ``origin`` where we are known under another one than the URL's."""
    scheme, _, rest = url.partition("://")
    host, slash, below = rest.partition("/")
    path, _, query = (slash + below).partition("?")
    headers = {"x-twilio-signature": signature}
    method = "GET"
    if fields is not None:
        body, method = urlencode(fields).encode(), "POST"
    if body or fields is not None:
        headers["content-type"], method = kind, "POST"
    knock = Knock(method, path, query, headers, body, origin or f"{scheme}://{host}")
    return authorize(knock, TwilioSettings(auth_token=(Secret(token),)), 0.0) == ""


def judged(token: str, url: str, signature: str, params: MultiDict[str] | str | None = None) -> bool:
    """Whether Twilio's library believes it."""
    return bool(RequestValidator(token).validate(url, params if params is not None else {}, signature))


@given(TOKENS, URLS, FIELDS)
def test_what_the_library_signs_we_accept(token: str, url: str, fields: Pairs) -> None:
    """Forms with repeated, empty and foreign parameters, at any address, with the port or without."""
    signature = RequestValidator(token).compute_signature(url, MultiDict(fields))
    assert accepted(token, url, signature, fields=fields)
    if not fields:
        assert accepted(token, url, signature)


@given(TOKENS, URLS, FIELDS)
def test_what_our_simulated_twilio_signs_the_library_accepts(token: str, url: str, fields: Pairs) -> None:
    """So that a call of `talkpath call` proves itself as a real one would."""
    signature = simulated(token, url, fields)
    assert judged(token, url, signature, MultiDict(fields))
    assert signature == RequestValidator(token).compute_signature(url, MultiDict(fields))


def _mutations(
    draw: st.DrawFn, token: str, url: str, fields: Pairs, signature: str
) -> tuple[str, str, Pairs, str]:
    """One thing that is not as it was signed."""
    what = draw(
        st.sampled_from(["token", "path", "query", "host", "value", "name", "more", "less", "signature"])
    )
    place = draw(st.integers(0, max(0, len(fields) - 1)))
    changed = list(fields)
    match what:
        case "token":
            token = f"{token}x"
        case "path":
            url = url.partition("?")[0] + "x" + "".join(url.partition("?")[1:])
        case "query":
            url += "&x=1" if "?" in url else "?x=1"
        case "host":
            url = url.replace("://", "://x", 1)
        case "value" if fields:
            changed[place] = (fields[place][0], fields[place][1] + "x")
        case "name" if fields:
            changed[place] = (fields[place][0] + "x", fields[place][1])
        case "less" if fields:
            del changed[place]
        case "more":
            changed.append(("Extra", draw(TEXTS)))
        case _:
            at = draw(st.integers(0, len(signature) - 2))
            signature = signature[:at] + ("A" if signature[at] != "A" else "B") + signature[at + 1 :]
    return token, url, changed, signature


@given(st.data(), TOKENS, URLS, FIELDS)
def test_what_was_changed_both_refuse(data: st.DataObject, token: str, url: str, fields: Pairs) -> None:
    """Another token, address, name, value or signature; a pair more or less, unless it was there twice."""
    signature = simulated(token, url, fields)
    wrong = data.draw(st.composite(_mutations)(token, url, fields, signature))
    # What is strung together has no bounds between names and values: moved ones may give the same text.
    assume(_strung(wrong[2]) != _strung(fields) or wrong[2] == fields)
    assume(set(wrong[2]) != set(fields) or (wrong[0], wrong[1], wrong[3]) != (token, url, signature))
    token, url, fields, signature = wrong
    assert not judged(token, url, signature, MultiDict(fields))
    assert not accepted(token, url, signature, fields=fields)


def _strung(fields: Pairs) -> str:
    return "".join(name + value for name, value in sorted(set(fields)))


@given(
    TOKENS,
    PLAIN_URLS,
    st.lists(st.tuples(NAMES, TEXTS), max_size=3),
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.booleans(),
)
def test_bodies_in_json_both_accept_by_their_hash_and_refuse_when_changed(
    token: str, url: str, more: Pairs, body: str, is_changed: bool
) -> None:
    """The address carries `bodySHA256`, and the signature covers the address."""
    assume("bodySHA256" not in dict(more))
    digest = hashlib.sha256(body.encode()).hexdigest()
    url += "?" + urlencode([*more, ("bodySHA256", digest)])
    signature = RequestValidator(token).compute_signature(url, {})
    assert signature == simulated(token, url)
    sent = f"{body}x" if is_changed else body
    assert judged(token, url, signature, sent) is not is_changed
    assert accepted(token, url, signature, body=sent.encode(), kind="application/json") is not is_changed


@given(TOKENS, st.sampled_from(["https", "http"]), HOSTS, PATHS)
def test_both_accept_a_default_port_that_only_one_side_writes(
    token: str, scheme: str, host: str, path: str
) -> None:
    """Twilio is inconsistent about it; another port is another address."""
    port = {"https": ":443", "http": ":80"}[scheme]
    with_port, without = address(scheme, host, port, path, ""), address(scheme, host, "", path, "")
    for signed, asked in ((with_port, without), (without, with_port)):
        signature = simulated(token, signed, [])
        assert judged(token, asked, signature)
        assert accepted(token, asked, signature)
    signature = simulated(token, address(scheme, host, ":9999", path, ""), [])
    assert not judged(token, without, signature)
    assert not accepted(token, without, signature)


# Where the library and we are known to disagree; each with the reason why we do not do as it does.

TOKEN = "0123456789abcdef0123456789abcdef"
WSS = "wss://voice.example.com/media"


def test_disagreement_default_port_of_wss() -> None:
    """The library takes 80 for the default port of wss, which nobody uses; we take 443 (carriers reference, 2.5)."""
    signature = simulated(TOKEN, "wss://voice.example.com:443/media", [])
    assert accepted(TOKEN, WSS, signature)
    assert not judged(TOKEN, WSS, signature)
    signature = simulated(TOKEN, "wss://voice.example.com:80/media", [])
    assert not accepted(TOKEN, WSS, signature)
    assert judged(TOKEN, WSS, signature)


@pytest.mark.parametrize("signed", ["wss://voice.example.com/media/", "https://voice.example.com/media"])
def test_disagreement_forms_of_an_upgrade(signed: str) -> None:
    """We accept a slash more or less, and https for wss, because peers sign so; no other address can be made of it."""
    signature = simulated(TOKEN, signed, [])
    assert accepted(TOKEN, WSS, signature)
    assert not judged(TOKEN, WSS, signature)


def test_disagreement_hash_of_a_body_in_capitals_or_twice() -> None:
    """In capitals it is the same hash to us; twice it is ambiguous to us, and the library takes the first."""
    digest = hashlib.sha256(b"{}").hexdigest()
    capitals = f"https://a.b/x?bodySHA256={digest.upper()}"
    assert accepted(TOKEN, capitals, simulated(TOKEN, capitals, []), body=b"{}", kind="application/json")
    assert not judged(TOKEN, capitals, simulated(TOKEN, capitals, []), "{}")
    twice = f"https://a.b/x?bodySHA256={digest}&bodySHA256={'0' * 64}"
    assert not accepted(TOKEN, twice, simulated(TOKEN, twice, []), body=b"{}", kind="application/json")
    assert judged(TOKEN, twice, simulated(TOKEN, twice, []), "{}")


def test_disagreement_a_body_that_nothing_covers() -> None:
    """JSON without `bodySHA256` is not proven, so we refuse it; the library has no answer to it but an exception."""
    url = "https://a.b/x"
    assert not accepted(TOKEN, url, simulated(TOKEN, url, []), body=b"{}", kind="application/json")
    with pytest.raises(TypeError):
        judged(TOKEN, url, simulated(TOKEN, url, []), "{}")


def test_disagreement_port_of_an_ipv6_address() -> None:
    """The library cuts such a host at its first colon, so a signature without the port does not fit; ours does."""
    signature = simulated(TOKEN, "https://[2001:db8::1]/x", [])
    assert accepted(TOKEN, "https://[2001:db8::1]:8443/x", signature)
    assert not judged(TOKEN, "https://[2001:db8::1]:8443/x", signature)


def test_disagreement_shared_keys() -> None:
    """Webhooks signed with a shared key by HMAC-SHA256 name their algorithm in a header; we take the auth token's only."""
    url = "https://a.b/x"
    validator = RequestValidator(TOKEN)
    signature = validator.compute_signature(url, {}, "HMAC_SHA256")
    assert validator.validate(url, {}, signature, "HMAC_SHA256")
    assert not accepted(TOKEN, url, signature)
