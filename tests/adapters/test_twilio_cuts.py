"""Forms of Twilio whose signature is as good for another form: what is signed does not say where a value ends."""

import base64
import hashlib
import hmac
from urllib.parse import urlencode

import pytest

from gateway.adapters.twilio_http import TwilioSettings, authorize, visit
from gateway.contracts import Knock
from gateway.errors import NotProven
from gateway.settings import Secret

ORIGIN = "https://voice.example.com"
TOKEN = "12345"
SID = "CA" + "0123456789abcdef" * 2
FORM = {
    "AccountSid": "AC" + "0" * 32,
    "CallSid": SID,
    "CallStatus": "ringing",
    "Direction": "inbound",
    "From": "+14155550100",
    "FromCity": "",
    "To": "+33155550101",
    "ToCity": "PARIS",
}
SIGNED = "".join(name + FORM[name] for name in sorted(FORM))


def proven(fields: list[tuple[str, str]], path: str = "/twilio/voice") -> Knock:
    """A webhook with the signature of `FORM`, whatever it says."""
    digest = hmac.new(TOKEN.encode(), (ORIGIN + path + SIGNED).encode(), hashlib.sha1).digest()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-signature": base64.b64encode(digest).decode(),
    }
    knock = Knock("POST", path, "", headers, urlencode(fields).encode(), ORIGIN)
    assert authorize(knock, TwilioSettings(auth_token=(Secret(TOKEN),)), 0.0) == ""
    return knock


def cut(**changes: str | None) -> list[tuple[str, str]]:
    """The form with some parameters other than they were; None leaves one out."""
    return [(name, value) for name, value in {**FORM, **changes}.items() if value is not None]


@pytest.mark.parametrize(
    "fields",
    [
        [*cut(To=None, ToCity=None), ("T", "o+33155550101ToCityPARIS")],
        cut(From="+14155550100FromCityTo+33155550101", FromCity=None, To=None),
        cut(From="+14155550100FromCity", FromCity=None),
        cut(CallSid=f"{SID}CallStatusringing", CallStatus=None),
        cut(CallStatus="ringingDirectioninbound", Direction=None),
        cut(To="+33155550101ToCityPARIS", ToCity=None),
        cut(Direction="inboundFrom+14155550100FromCity", From=None, FromCity=None),
        [*cut(), ("To", FORM["To"])],
        [*cut(), ("CallSid", SID)],
    ],
    ids=lambda fields: urlencode(fields)[-60:],
)
def test_another_form_under_the_same_signature_is_not_proven(fields: list[tuple[str, str]]) -> None:
    """Cuts that are moved and pairs that come twice keep the signature good, and are refused all the same."""
    with pytest.raises(NotProven):
        visit(proven(fields), "call")


def test_the_form_itself_is_proven() -> None:
    """What Twilio sent is read."""
    seen = visit(proven(cut()), "call")
    assert (seen.carrier_call_id, seen.caller, seen.callee) == (SID, "+14155550100", "+33155550101")


@pytest.mark.parametrize(
    "party",
    [
        "anonymous", "Anonymous", "ANONYMOUS", "Restricted", "+266696687", "266696687", "+anonymous", "", "12345",
        "sip:alice@pbx.example.com", "sips:bob@[2001:db8::1]:5061;transport=tls", "SIP:+14155550100@10.0.0.1",
        "client:Alice_1", "whatsapp:+14155550100",
    ],
)  # fmt: skip
def test_callers_that_are_no_number_may_call(party: str) -> None:
    """Whoever hides, calls from a computer or over SIP is read as ever."""
    head = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode(cut(From=party)).encode()
    assert visit(Knock("POST", "/twilio/voice", "", head, body), "call").caller == party


@pytest.mark.parametrize("sid", ["CA", "MZ" + SID[2:], SID + "0", "CA 1", "CA1\nforged", "call"])
def test_what_is_no_id_of_a_call_is_not_proven(sid: str) -> None:
    """Ids of calls are two letters and at most 32 letters and figures, on every address."""
    head = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode({"CallSid": sid}).encode()
    for kind in ("call", "after", "status"):
        with pytest.raises(NotProven):
            visit(Knock("POST", "/twilio/voice", "", head, body), kind)
