import json
from typing import Any

import msgspec
import pytest
from vonage_tokens import NOW, application_key, pem_of, read_application_token

from gateway.adapters.vonage_http import (
    HEADERS_BYTES,
    VonageSettings,
    answer,
    control,
    goodbye,
    visit,
)
from gateway.audio import PCM_16K
from gateway.commands import Clear, HangUp, Transfer
from gateway.contracts import HttpRequest, Invitation, Knock
from gateway.errors import WireError
from gateway.events import CallInfo
from gateway.settings import Secret

CALL = "63f61863-4a51-4f6b-86e1-46edebcf9356"
SOCKET = "wss://gw.example.com/v1/ws/vonage/9f2c"
KNOWN = VonageSettings(application_id="app-1", private_key=Secret(pem_of(application_key())))
INFO = CallInfo("call-1", "vonage", PCM_16K, callee="+447700900001", carrier_call_id=CALL)
INVITATION = Invitation(
    media_url=SOCKET,
    after_url="https://gw.example.com/vonage/event",
    status_url="https://gw.example.com/vonage/event",
    carrier_call_id=CALL,
    token="9f2c",
    parameters={"agent": "support-en"},
)


def posted(fields: Any, query: str = "") -> Knock:
    return Knock(
        "POST", "/vonage/x", query, {"content-type": "application/json"}, json.dumps(fields).encode()
    )


def answered(invitation: Invitation = INVITATION, **section: Any) -> dict[str, Any]:
    """The one action of the answer."""
    document = answer(invitation, VonageSettings(**section))
    assert document.content_type == "application/json"
    (connect,) = json.loads(document.body)
    assert isinstance(connect, dict)
    return connect


def asked(request: HttpRequest | None) -> Any:
    assert request is not None
    return json.loads(request.body)


def test_document_connects_the_socket() -> None:
    """One connect action, the last: our socket, whose events come to us and may be answered with what follows."""
    connect = answered()
    (endpoint,) = connect.pop("endpoint")
    assert connect == {
        "action": "connect",
        "eventType": "synchronous",
        "eventUrl": [f"https://gw.example.com/vonage/event?call_uuid={CALL}"],
        "eventMethod": "POST",
    }
    assert endpoint == {
        "type": "websocket",
        "uri": SOCKET,
        "content-type": "audio/l16;rate=16000",
        "headers": {"agent": "support-en", "call_uuid": CALL, "token": "9f2c"},
        "authorization": {"type": "vonage"},
    }


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000])
def test_document_asks_for_the_configured_rate(rate_hz: int) -> None:
    """The rate of the media socket is the section's."""
    (endpoint,) = answered(rate_hz=rate_hz)["endpoint"]
    assert endpoint["content-type"] == f"audio/l16;rate={rate_hz}"


def test_headers_keep_to_vonages_limit() -> None:
    """What does not fit into 512 bytes is left out, never the token and the call; nothing can stand in for these."""
    brought = {"long": "x" * 600, "short": "y", "é": "z" * 150, "token": "forged", "more": "w" * 150}
    (endpoint,) = answered(msgspec.structs.replace(INVITATION, parameters=brought))["endpoint"]
    headers = endpoint["headers"]
    assert set(headers) == {"short", "é", "more", "call_uuid", "token"}
    assert headers["token"] == "9f2c"
    assert len(json.dumps(headers, separators=(",", ":"), ensure_ascii=False).encode()) <= HEADERS_BYTES


def test_odd_ids_stay_in_their_place() -> None:
    """An id cannot change the address at which we are asked."""
    connect = answered(msgspec.structs.replace(INVITATION, carrier_call_id="a&b=c#d"))
    assert connect["eventUrl"] == ["https://gw.example.com/vonage/event?call_uuid=a%26b%3Dc%23d"]


def test_goodbye_is_said_or_nothing() -> None:
    """A sentence is spoken, and the call ends behind it; without one no document is needed (3.5)."""
    document = goodbye("Sorry & bye.")
    assert document is not None
    assert json.loads(document.body) == [{"action": "talk", "text": "Sorry & bye."}]
    assert document.content_type == "application/json"
    assert goodbye("") is None


def test_answer_webhook_is_read() -> None:
    """Numbers get the plus that routes have; the region's address and SIP headers are kept."""
    seen = visit(
        posted(
            {
                "from": "447700900000",
                "to": "447700900001",
                "uuid": CALL,
                "conversation_uuid": "CON-1",
                "region_url": "https://api-eu-3.vonage.com",
                "endpoint_type": "phone",
                "SipHeader_X-User": "1938ND9",
                "SipHeader_X-Odd": 7,
                "custom": "x",
            }
        ),
        "call",
    )
    assert (seen.kind, seen.carrier_call_id, seen.caller, seen.callee) == (
        "call",
        CALL,
        "+447700900000",
        "+447700900001",
    )
    assert seen.parameters == {
        "conversation_uuid": "CON-1",
        "region_url": "https://api-eu-3.vonage.com",
        "endpoint_type": "phone",
        "SipHeader_X-User": "1938ND9",
    }
    assert not seen.over


def test_answer_webhook_by_get_is_read_from_its_query() -> None:
    """GET is Vonage's default; a body then counts for nothing."""
    query = f"to=447700900001&from=447700900000&uuid={CALL}&region_url=https%3A%2F%2Fapi-us-3.vonage.com"
    seen = visit(Knock("GET", "/vonage/answer", query, body=b'{"uuid":"other"}'), "call")
    assert (seen.carrier_call_id, seen.caller, seen.callee) == (CALL, "+447700900000", "+447700900001")
    assert seen.parameters == {"region_url": "https://api-us-3.vonage.com"}


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("447700900000", "+447700900000"),
        ("+447700900000", "+447700900000"),
        ("unknown", "unknown"),
        ("Restricted", "Restricted"),
        ("0155550100", "0155550100"),
        ("12345", "12345"),
        ("sip:a@b.example", "sip:a@b.example"),
        ("", ""),
        (447700900000, "+447700900000"),
        (None, ""),
    ],
)
def test_numbers_have_a_plus_where_they_are_numbers(given: Any, number: str) -> None:
    """Only what can be a number in E.164 form gets a plus; short codes and words stay as they are."""
    assert visit(posted({"uuid": CALL, "from": given}), "call").caller == number


def test_caller_from_an_app_is_its_user() -> None:
    """Such calls have no number."""
    assert visit(posted({"uuid": CALL, "from_user": "JaneDoe"}), "call").caller == "JaneDoe"


def test_fallback_webhook_tells_why() -> None:
    """The fallback answer URL gets the same fields and a reason."""
    seen = visit(posted({"uuid": CALL, "reason": "Connection closed."}), "call")
    assert (seen.carrier_call_id, seen.detail) == (CALL, "Connection closed.")


@pytest.mark.parametrize("fields", [{}, {"uuid": ""}, {"uuid": None}, {"uuid": "x" * 200}, {"call_id": CALL}])
def test_answer_webhook_without_a_call_is_refused(fields: dict[str, Any]) -> None:
    """Other webhooks of the account do not begin calls."""
    with pytest.raises(WireError, match="names no uuid"):
        visit(posted(fields), "call")


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'{"uuid"', b"[" * 50_000, b'{"a":"\xff"}'])
def test_body_that_is_no_object_is_refused(body: bytes) -> None:
    """What cannot be read gets a sentence, whichever webhook it is."""
    for kind in ("call", "after"):
        with pytest.raises(WireError, match="no JSON object"):
            visit(Knock("POST", "/vonage/event", body=body), kind)


@pytest.mark.parametrize(
    ("status", "over"),
    [
        *[(status, False) for status in ("started", "ringing", "answered", "human", "machine", "transfer")],
        *[
            (status, True)
            for status in ("completed", "failed", "rejected", "busy", "cancelled", "timeout", "unanswered")
        ],
    ],
)
def test_events_of_the_telephone_are_news(status: str, *, over: bool) -> None:
    """Events of the telephone's leg are news of the call; the last ones say that it is over."""
    seen = visit(
        posted({"status": status, "uuid": CALL, "from": "447700900000", "to": "447700900001"}), "after"
    )
    assert (seen.kind, seen.carrier_call_id, seen.over) == ("status", CALL, over)
    assert (seen.caller, seen.callee) == ("+447700900000", "+447700900001")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[
            (status, "after")
            for status in ("disconnected", "failed", "unanswered", "rejected", "busy", "timeout", "cancelled")
        ],
        *[(status, "status") for status in ("started", "ringing", "answered", "completed")],
    ],
)
def test_events_of_the_socket_ask_what_follows(status: str, kind: str) -> None:
    """The socket is a leg of its own: when it broke or never came Vonage asks; its end is not the call's."""
    event = {
        "status": status,
        "from": "447700900001",
        "to": SOCKET,
        "uuid": "another-leg",
        "headers": {"call_uuid": CALL, "token": "9f2c"},
    }
    seen = visit(posted(event), "after")
    assert (seen.kind, seen.carrier_call_id, seen.over) == (kind, CALL, False)
    assert seen.detail == f"the media socket: {status}"
    assert "9f2c" not in repr(seen)


def test_event_of_a_socket_without_headers_is_known_by_its_address() -> None:
    """Where the headers are not echoed, the address that we gave says whose socket it was; they come first."""
    event: dict[str, Any] = {"status": "disconnected", "to": SOCKET, "uuid": "another-leg"}
    assert visit(posted(event, f"call_uuid={CALL}"), "after").carrier_call_id == CALL
    assert visit(posted(event), "after").carrier_call_id == ""
    event["headers"] = {"call_uuid": "from-headers"}
    assert visit(posted(event, f"call_uuid={CALL}"), "after").carrier_call_id == "from-headers"
    event["headers"] = "odd"
    assert visit(posted(event, f"call_uuid={CALL}"), "after").carrier_call_id == CALL


def test_errors_are_news_of_no_call() -> None:
    """Vonage reports errors without a status and without a call; they are read, and told in the log."""
    seen = visit(posted({"reason": "Syntax error in NCCO.", "conversation_uuid": "CON-1"}), "after")
    assert (seen.kind, seen.carrier_call_id, seen.over) == ("status", "", False)
    assert seen.detail == "Syntax error in NCCO."
    seen = visit(posted({"status": "failed", "to": SOCKET, "detail": "unreachable"}), "after")
    assert seen.detail == "the media socket: failed, unreachable"


def test_hang_up_is_a_request() -> None:
    """Hanging up is asked of the telephone's leg, with a token of the application; one that is over is fine."""
    request = control(HangUp("bye"), INFO, KNOWN, NOW)
    assert request is not None
    assert (request.method, request.url) == ("PUT", f"https://api.nexmo.com/v1/calls/{CALL}")
    assert asked(request) == {"action": "hangup"}
    assert request.headers["Content-Type"] == "application/json"
    assert request.done_when == (404,)
    scheme, _, token = request.headers["Authorization"].partition(" ")
    header, claims = read_application_token(token)
    assert (scheme, header["alg"]) == ("Bearer", "RS256")
    jti = claims.pop("jti")
    assert claims == {"application_id": "app-1", "iat": int(NOW), "exp": int(NOW) + 900}
    assert len(jti) == 32


def test_every_token_has_a_number_of_its_own() -> None:
    """Another call, another action and another moment give another number."""
    seen = set()
    for info in (INFO, msgspec.structs.replace(INFO, call_id="call-2")):
        for command in (HangUp(""), Transfer("+14155550100")):
            for now in (NOW, NOW + 0.001):
                request = control(command, info, KNOWN, now)
                assert request is not None
                _, claims = read_application_token(request.headers["Authorization"].partition(" ")[2])
                seen.add(claims["jti"])
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("+14155550100", {"type": "phone", "number": "14155550100"}),
        ("+1 (415) 555-0100", {"type": "phone", "number": "14155550100"}),
        ("sip:desk@pbx.example.com", {"type": "sip", "uri": "sip:desk@pbx.example.com"}),
    ],
)
def test_transfer_is_a_request(target: str, endpoint: dict[str, str]) -> None:
    """Transferring gives the telephone's leg another document, from our number; a call that is over was not transferred."""
    request = control(Transfer(target), INFO, KNOWN, NOW)
    assert asked(request) == {
        "action": "transfer",
        "destination": {
            "type": "ncco",
            "ncco": [{"action": "connect", "endpoint": [endpoint], "from": "447700900001"}],
        },
    }
    assert request is not None
    assert request.done_when == ()


def test_transfer_without_a_number_of_ours_names_none() -> None:
    """What is no number cannot be the calling one."""
    request = control(Transfer("+14155550100"), msgspec.structs.replace(INFO, callee="shop"), KNOWN, NOW)
    assert "from" not in asked(request)["destination"]["ncco"][0]


@pytest.mark.parametrize(
    "target",
    [
        "",
        "14155550100",
        "0155550100",
        "+0155550100",
        "+1",
        "+1415555010x",
        "+١٢٣٤٥٦٧",
        "app:joe",
        "sip:a b@c",
        "+14155550100\n",
    ],
)
def test_transfer_to_no_number_is_not_asked_for(target: str) -> None:
    """Only numbers in E.164 form and SIP addresses are dialled, as an agent may have made the target up."""
    assert control(Transfer(target), INFO, KNOWN, NOW) is None


@pytest.mark.parametrize(
    ("region_url", "base"),
    [
        ("https://api-us-3.vonage.com", "https://api-us-3.vonage.com"),
        ("https://api-eu-4.vonage.com/", "https://api-eu-4.vonage.com"),
        ("https://api.nexmo.com", "https://api.nexmo.com"),
        ("https://rest.example.com/eu", "https://rest.example.com/eu"),
        ("", "https://rest.example.com"),
        ("http://api-us-3.vonage.com", "https://rest.example.com"),
        ("https://api-us-3.vonage.com:8443", "https://rest.example.com"),
        ("https://user@api-us-3.vonage.com", "https://rest.example.com"),
        ("https://api-us-3.vonage.com.evil.example", "https://rest.example.com"),
        ("https://evilvonage.com", "https://rest.example.com"),
        ("https://evil.example/.vonage.com", "https://rest.example.com"),
        ("https://api-us-3.vonage.com?x=", "https://rest.example.com"),
        ("https://rest.example.com:8443", "https://rest.example.com"),
        ("https://[::1", "https://rest.example.com"),
        ("//api-us-3.vonage.com", "https://rest.example.com"),
        ("https://api-us-3.vonage.com#x", "https://rest.example.com"),
    ],
)
def test_region_of_a_call_is_respected(region_url: str, base: str) -> None:
    """A call is controlled where its webhook says, if that is Vonage or the configured host; our token goes nowhere else."""
    section = msgspec.structs.replace(KNOWN, rest="https://rest.example.com/")
    info = msgspec.structs.replace(INFO, parameters={"region_url": region_url})
    request = control(HangUp(""), info, section, NOW)
    assert request is not None
    assert request.url == f"{base}/v1/calls/{CALL}"


def test_odd_ids_stay_in_the_path() -> None:
    """No id can lead to another resource."""
    request = control(HangUp(""), msgspec.structs.replace(INFO, carrier_call_id="../calls?x"), KNOWN, NOW)
    assert request is not None
    assert request.url == "https://api.nexmo.com/v1/calls/..%2Fcalls%3Fx"


@pytest.mark.parametrize(
    ("section", "info"),
    [
        (VonageSettings(application_id="app-1"), INFO),
        (msgspec.structs.replace(KNOWN, application_id=""), INFO),
        (KNOWN, msgspec.structs.replace(INFO, carrier_call_id="")),
    ],
)
def test_nothing_is_asked_without_credentials(section: VonageSettings, info: CallInfo) -> None:
    """Without an application, its key or a verified call there is no request."""
    assert control(HangUp(""), info, section, NOW) is None


def test_other_commands_are_no_requests() -> None:
    """What the media socket carries is not sent twice."""
    assert control(Clear(), INFO, KNOWN, NOW) is None
