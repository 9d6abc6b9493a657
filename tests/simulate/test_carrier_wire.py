"""Twilio as the simulator has it: signatures, call documents, messages."""

import base64
import json

import pytest

from gateway.simulate.twilio_http import Addresses, CallIdentity
from gateway.simulate.twilio_signature import sign, stream_url_to_sign
from gateway.simulate.twilio_wire import Clear, Mark, Media, Refused, StreamWire
from gateway.simulate.twiml import TwimlError, read_twiml


def test_a_form_is_signed_as_in_the_documentation() -> None:
    """The published example of a signed form gives the published signature."""
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert sign("12345", url, list(fields.items())) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        ("wss://voice.example.com/media", "jFDHVhI8XO69C49uXR3xmdZPylY="),
        ("wss://voice.example.com/media/", "BXF4dPv/qKwfALEQ/o2fVPPvK/c="),
        ("wss://voice.example.com:443/media", "zT3E7J41/O0MIJ8mFRuffODYWF4="),
    ],
)
def test_an_upgrade_is_signed_over_its_wss_address(url: str, signature: str) -> None:
    """The known signatures of media socket addresses come out."""
    assert sign("12345", url) == signature


def test_repeated_fields_are_signed_once_per_value_in_order() -> None:
    """Two values of one name are sorted and a doubled one counts once."""
    doubled = sign("t", "https://a/b", [("X", "2"), ("X", "1"), ("X", "2")])
    assert doubled == sign("t", "https://a/bX1X2")


def test_a_stream_address_without_a_path_is_signed_with_a_slash() -> None:
    """Twilio's media client normalises an empty path."""
    assert stream_url_to_sign("wss://voice.example.com") == "wss://voice.example.com/"
    assert stream_url_to_sign("wss://voice.example.com/a") == "wss://voice.example.com/a"


def test_addresses_are_signed_publicly_and_dialled_locally() -> None:
    """With a public address the requests are signed for it, but go to the address that was given."""
    addresses = Addresses("http://127.0.0.1:8080", "https://voice.example.com")
    assert addresses.voice == "https://voice.example.com/twilio/voice"
    assert addresses.to_dial(addresses.voice) == "http://127.0.0.1:8080/twilio/voice"
    assert addresses.to_dial("wss://voice.example.com/v1/ws/twilio/x") == "ws://127.0.0.1:8080/v1/ws/twilio/x"
    assert addresses.to_dial("https://elsewhere.example.com/a") == "https://elsewhere.example.com/a"


def test_a_path_in_the_given_address_is_kept() -> None:
    """Without a public address the given one is signed as it is."""
    addresses = Addresses("http://127.0.0.1:8080/twilio/voice/sales", None)
    assert addresses.voice == "http://127.0.0.1:8080/twilio/voice/sales"
    assert addresses.to_dial("ws://127.0.0.1:8080/x") == "ws://127.0.0.1:8080/x"


def test_no_gateway_address_is_refused_in_a_sentence() -> None:
    """What is no web address says what one looks like."""
    with pytest.raises(ValueError, match="give one like"):
        Addresses("ftp://127.0.0.1", None)


def test_a_document_is_read_with_its_stream_and_parameters() -> None:
    """Verbs come in order with attributes, text and parameters."""
    verbs = read_twiml(
        '<?xml version="1.0"?><Response><Say>Hello &amp; welcome</Say><Connect action="/after">'
        '<Stream url="wss://a/b"><Parameter name="token" value="t&lt;1"/></Stream></Connect><Hangup/></Response>'
    )
    assert [verb.name for verb in verbs] == ["Say", "Connect", "Hangup"]
    assert verbs[0].text == "Hello & welcome"
    stream = verbs[1].child("Stream")
    assert stream is not None
    assert stream.parameters == {"token": "t<1"}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("<Response><Connect/></Response>", "no <Stream>"),
        ("<Response><Connect><Stream/></Connect></Response>", "no url"),
        ("<Response><Dance/></Response>", "<Dance>"),
        ("<html/>", "not a <Response>"),
        ("<Response>", "well-formed"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Response><Say>&a;</Say></Response>', "document type"),
        ("<Response>" + " " * 70000 + "</Response>", "bytes"),
        (
            f'<Response><Connect><Stream url="wss://a"><Parameter name="a" value="{"x" * 500}"/></Stream></Connect></Response>',
            "499",
        ),
    ],
)
def test_documents_that_cannot_be_carried_out_are_refused(document: str, complaint: str) -> None:
    """Each refusal says what is wrong."""
    with pytest.raises(TwimlError, match=complaint):
        read_twiml(document)


def test_an_empty_answer_is_an_empty_document() -> None:
    """Nothing to do is allowed: the call ends."""
    assert read_twiml("") == []


def wire() -> StreamWire:
    return StreamWire("MZ1", "CA1", "AC1")


def test_messages_have_twilios_types_and_counters() -> None:
    """Sequence numbers, chunks and timestamps are strings, the media format has numbers, and counting starts at 1."""
    stream = wire()
    assert json.loads(stream.connected()) == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert json.loads(stream.start({"token": "x"})) == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "accountSid": "AC1",
            "streamSid": "MZ1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "x"},
        },
    }
    assert json.loads(stream.media(b"\xff\x00", 57)) == {
        "event": "media",
        "sequenceNumber": "2",
        "streamSid": "MZ1",
        "media": {
            "track": "inbound",
            "chunk": "1",
            "timestamp": "57",
            "payload": base64.b64encode(b"\xff\x00").decode(),
        },
    }
    dtmf = {"track": "inbound_track", "digit": "5"}
    assert json.loads(stream.dtmf("5")) == {
        "event": "dtmf",
        "sequenceNumber": "3",
        "streamSid": "MZ1",
        "dtmf": dtmf,
    }
    mark = {"event": "mark", "sequenceNumber": "4", "streamSid": "MZ1", "mark": {"name": "m"}}
    assert json.loads(stream.mark("m")) == mark
    assert json.loads(stream.media(b"", 77))["media"]["chunk"] == "2"
    stop = {"accountSid": "AC1", "callSid": "CA1"}
    assert json.loads(stream.stop()) == {
        "event": "stop",
        "sequenceNumber": "6",
        "streamSid": "MZ1",
        "stop": stop,
    }


def test_the_three_messages_of_a_gateway_are_read() -> None:
    """Media, mark and clear for this stream are taken."""
    media = wire().read('{"event":"media","streamSid":"MZ1","media":{"payload":"/wA="}}')
    assert isinstance(media, Media)
    assert media.media.payload == b"\xff\x00"
    mark = wire().read('{"event":"mark","streamSid":"MZ1","mark":{"name":"a"}}')
    assert isinstance(mark, Mark)
    assert mark.mark.name == "a"
    assert isinstance(wire().read('{"event":"clear","streamSid":"MZ1"}'), Clear)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\x01", 31950),
        ("not json", 31951),
        ("[]", 31951),
        ('{"event":"dance","streamSid":"MZ1"}', 31951),
        ('{"event":"clear","streamSid":"MZ2"}', 31951),
        ('{"event":"clear"}', 31951),
        ('{"event":"clear","streamSid":"MZ1","extra":1}', 31951),
        ('{"event":"mark","streamSid":"MZ1","mark":{}}', 31951),
        ('{"event":"mark","streamSid":"MZ1","mark":{"name":""}}', 31951),
        ('{"event":"media","streamSid":"MZ1","media":{"payload":"%%"}}', 31951),
        ('{"event":"media","streamSid":"MZ1","media":{"payload":"/w==","track":"outbound"}}', 31951),
    ],
)
def test_what_twilio_would_not_take_is_refused_with_its_number(message: str | bytes, code: int) -> None:
    """Everything else has no effect but a numbered warning."""
    refused = wire().read(message)
    assert isinstance(refused, Refused)
    assert refused.code == code


def test_every_webhook_carries_the_call() -> None:
    """The form names the call, the account, both numbers and the status."""
    identity = CallIdentity(
        call_sid="CA1", account_sid="AC1", caller="+1", callee="+2", extra_fields={"ForwardedFrom": "+3"}
    )
    fields = identity.fields("ringing")
    wanted = {"CallSid": "CA1", "AccountSid": "AC1", "From": "+1", "Caller": "+1", "To": "+2", "Called": "+2"}
    wanted |= {
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
        "ForwardedFrom": "+3",
    }
    assert wanted.items() <= fields.items()
