import base64
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree as ET

import msgspec
import pytest

from gateway.adapters.twilio_http import TwilioSettings, answer, control, goodbye, visit
from gateway.audio import MULAW_8K
from gateway.commands import Clear, HangUp, Transfer
from gateway.contracts import Document, Invitation, Knock
from gateway.errors import WireError
from gateway.events import CallInfo
from gateway.settings import Secret

ACCOUNT = "AC00000000000000000000000000000001"
KNOWN = TwilioSettings(account_sid=ACCOUNT, auth_token=(Secret("12345"), Secret("old")))
INFO = CallInfo("call-1", "twilio", MULAW_8K, carrier_call_id="CA1")
NOW = 1_700_000_000.0
INVITATION = Invitation(
    media_url="wss://gw.example.com/v1/ws/twilio/9f2c",
    after_url="https://gw.example.com/twilio/after",
    status_url="https://gw.example.com/twilio/status",
    parameters={"agent": "support-en"},
)


def form(**fields: str) -> Knock:
    return Knock(
        "POST",
        "/twilio/voice",
        headers={"content-type": "application/x-www-form-urlencoded; charset=UTF-8"},
        body=urlencode(fields).encode(),
    )


def read(document: Document) -> ET.Element:
    return ET.fromstring(document.body)  # noqa: S314 - our own document


def test_document_connects_the_stream() -> None:
    """The answer to a call is the document of the reference, in one piece."""
    document = answer(INVITATION, KNOWN)
    assert document.content_type == "text/xml"
    assert document.body == (
        '<?xml version="1.0" encoding="UTF-8"?><Response>'
        '<Connect action="https://gw.example.com/twilio/after" method="POST">'
        '<Stream url="wss://gw.example.com/v1/ws/twilio/9f2c"'
        ' statusCallback="https://gw.example.com/twilio/status" statusCallbackMethod="POST">'
        '<Parameter name="agent" value="support-en" />'
        "</Stream></Connect></Response>"
    )


def test_document_without_status_address_asks_for_no_reports() -> None:
    """Reports on the stream are only asked for where they have an address."""
    assert "statusCallback" not in answer(msgspec.structs.replace(INVITATION, status_url=""), KNOWN).body


def test_document_escapes_what_callers_bring() -> None:
    """Names and values from outside stay values, and characters that XML cannot hold are dropped."""
    brought = {"a\"<b>&'": "x</Stream><Hangup/>\x00\x0b\ud800\ufffe", "name": "José 李 🎂\n"}
    root = read(answer(msgspec.structs.replace(INVITATION, parameters=brought), KNOWN))
    assert [(node.get("name"), node.get("value")) for node in root.iter("Parameter")] == [
        ("a\"<b>&'", "x</Stream><Hangup/>"),
        ("name", "José 李 🎂\n"),
    ]
    assert root.find(".//Hangup") is None


def test_parameters_stay_under_500_characters() -> None:
    """A parameter that Twilio would refuse the document for is left out; the others stay."""
    brought = {"fits": "x" * 495, "long": "x" * 496, "n" * 600: ""}
    root = read(answer(msgspec.structs.replace(INVITATION, parameters=brought), KNOWN))
    assert [node.get("name") for node in root.iter("Parameter")] == ["fits"]


def test_goodbye_hangs_up() -> None:
    """A call is ended with a sentence, or without one."""
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    assert goodbye("").body == head + "<Response><Hangup /></Response>"
    assert goodbye("Sorry & bye.\x01").body == head + (
        "<Response><Say>Sorry &amp; bye.</Say><Hangup /></Response>"
    )


def test_call_webhook_is_read() -> None:
    """A new call names its parties, and what else a route may depend on."""
    seen = visit(
        form(
            CallSid="CA1",
            AccountSid=ACCOUNT,
            From="+14155550100",
            To="+33155550101",
            CallStatus="ringing",
            Direction="inbound",
            ForwardedFrom="",
            SipHeader_X="1",
            FromCity="PARIS",
        ),
        "call",
    )
    assert (seen.kind, seen.carrier_call_id, seen.caller, seen.callee) == (
        "call",
        "CA1",
        "+14155550100",
        "+33155550101",
    )
    assert seen.parameters == {"Direction": "inbound", "SipHeader_X": "1"}
    assert not seen.over


@pytest.mark.parametrize("status", ["completed", "busy", "failed", "no-answer", "canceled"])
def test_ended_calls_are_over(status: str) -> None:
    """Each of the five last states of a call says that nothing follows."""
    assert visit(form(CallSid="CA1", CallStatus=status), "status").over


@pytest.mark.parametrize("status", ["queued", "ringing", "in-progress"])
def test_live_calls_are_not_over(status: str) -> None:
    """After the stream a call in progress asks what follows."""
    seen = visit(form(CallSid="CA1", CallStatus=status), "after")
    assert seen.kind == "after"
    assert not seen.over


def test_stream_status_is_read() -> None:
    """A report on the stream is no report on the call, and keeps its error."""
    seen = visit(form(CallSid="CA1", StreamEvent="stream-error", StreamError="31920"), "status")
    assert not seen.over
    assert seen.parameters == {"StreamEvent": "stream-error", "StreamError": "31920"}


def test_webhook_by_get_is_read_from_its_query() -> None:
    """Twilio may be told to use GET; a body then counts for nothing."""
    knock = Knock("GET", "/twilio/voice", "CallSid=CA1&From=%2B1", body=b"CallSid=CA2")
    seen = visit(knock, "call")
    assert (seen.carrier_call_id, seen.caller) == ("CA1", "+1")


def test_webhook_without_a_call_is_refused() -> None:
    """Other webhooks of the account do not begin calls."""
    with pytest.raises(WireError, match="CallSid"):
        visit(form(MessageSid="SM1"), "call")


def test_hang_up_is_a_request() -> None:
    """Hanging up completes the call by REST, signed with the first token; one that is over already is fine."""
    request = control(HangUp("bye"), INFO, KNOWN, NOW)
    assert request is not None
    assert request.method == "POST"
    assert request.url == f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Calls/CA1.json"
    kind, credentials = request.headers["Authorization"].split()
    assert (kind, base64.b64decode(credentials)) == ("Basic", f"{ACCOUNT}:12345".encode())
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.body == b"Status=completed"
    assert request.done_when == (404,)


@pytest.mark.parametrize(
    ("target", "dialled"),
    [
        ("+14155550100", "<Dial>+14155550100</Dial>"),
        ("+1 (415) 555-0100", "<Dial>+14155550100</Dial>"),
        ("sip:desk@pbx.example.com", "<Dial><Sip>sip:desk@pbx.example.com</Sip></Dial>"),
        ("sips:a@b?x=1&y=2", "<Dial><Sip>sips:a@b?x=1&amp;y=2</Sip></Dial>"),
    ],
)
def test_transfer_is_a_request(target: str, dialled: str) -> None:
    """Transferring gives the call a new document; a call that is over was not transferred."""
    request = control(Transfer(target), INFO, KNOWN, NOW)
    assert request is not None
    assert parse_qs(request.body.decode()) == {"Twiml": [f"<Response>{dialled}</Response>"]}
    assert request.done_when == ()


@pytest.mark.parametrize(
    "target",
    [
        "",
        "0155550100",
        "+0155550100",
        "+1",
        "+1234567890123456",
        "+1415555010x",
        "+١٢٣٤٥",
        "client:joe",
        "</Dial><Play>x</Play>",
        "sip:a b@c",
        "sip:a\n@b",
        "sip:<x>",
        "sip:" + "a" * 300,
        "+14155550100\n",
    ],
)
def test_transfer_to_no_number_is_not_asked_for(target: str) -> None:
    """Only numbers in E.164 form and SIP addresses are dialled, as an agent may have made the target up."""
    assert control(Transfer(target), INFO, KNOWN, NOW) is None


def test_region_and_odd_ids_are_kept_in_the_path() -> None:
    """The REST base is configurable, and no id can lead to another resource."""
    section = msgspec.structs.replace(KNOWN, rest="https://api.dublin.ie1.twilio.com/")
    request = control(HangUp(""), msgspec.structs.replace(INFO, carrier_call_id="../CA?x"), section, NOW)
    assert request is not None
    assert request.url == (
        f"https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Calls/..%2FCA%3Fx.json"
    )


@pytest.mark.parametrize(
    ("section", "info"),
    [
        (TwilioSettings(account_sid=ACCOUNT), INFO),
        (TwilioSettings(account_sid=ACCOUNT, auth_token=(Secret(""),)), INFO),
        (TwilioSettings(auth_token=(Secret("12345"),)), INFO),
        (KNOWN, msgspec.structs.replace(INFO, carrier_call_id="")),
    ],
)
def test_nothing_is_asked_without_credentials(section: TwilioSettings, info: CallInfo) -> None:
    """Without an account, a token or a verified call there is no request."""
    assert control(HangUp(""), info, section, NOW) is None


def test_other_commands_are_no_requests() -> None:
    """What the media socket carries is not sent twice."""
    assert control(Clear(), INFO, KNOWN, NOW) is None
