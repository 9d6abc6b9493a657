"""Whose client is it? Upgrades and first messages of every carrier that the reference tells of.

A vector file is ``tests/vectors/detect/*.jsonl``. Each line is one client: ``upgrade`` (``query`` and ``headers``),
``messages`` (forms as in `wires`), and what comes of it with the last of them and not before: ``recognised`` (an
adapter), ``refused`` (part of the sentence) or ``needs_more``; ``why`` is the name of the sign.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import wires
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters import detect
from gateway.adapters.detect import NeedMore, Recognised, Refused, recognise
from gateway.contracts import Knock

FILES = sorted((wires.VECTORS / "detect").glob("*.jsonl"))
CLOSE_REASON_BYTES = 123
SIGNS: list[detect.Sign[Any]] = [*detect.UPGRADE_SIGNS, *detect.MESSAGE_SIGNS]
MEANINGS = [*(sign.meaning for sign in SIGNS), detect.CONTRADICTION]
HALVES = [detect.NOTHING, detect.BINARY, detect.CONNECTED, detect.UNKNOWN]


class Client(msgspec.Struct):
    """One line of a vector file."""

    note: str
    upgrade: dict[str, Any]
    messages: list[Any] = []
    recognised: str = ""
    refused: str = ""
    needs_more: str = ""
    why: str = ""

    @property
    def knock(self) -> Knock:
        headers = {name.lower(): value for name, value in self.upgrade["headers"].items()}
        return Knock("GET", "/v1/ws", query=self.upgrade["query"], headers=headers)

    @property
    def heard(self) -> list[str | bytes]:
        return [wires.message(written) for written in self.messages]


def clients(path: Path) -> list[Client]:
    return [msgspec.convert(line, Client) for line in wires.lines(path)]


CLIENTS = [client for path in FILES for client in clients(path)]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.note[:60])
def test_clients_are_recognised_as_their_vectors_say(client: Client) -> None:
    """Each client is recognised, refused or asked for more exactly when its last message is there."""
    for count in range(len(client.messages)):
        assert isinstance(recognise(client.knock, client.heard[:count]), NeedMore)
    found = recognise(client.knock, client.heard)
    if client.recognised:
        assert found == Recognised(client.recognised, client.why)
    elif client.refused:
        assert isinstance(found, Refused)
        assert client.refused in found.sentence
        assert found.why == client.why
    else:
        assert isinstance(found, NeedMore)
        assert found.why == client.needs_more


def test_every_sign_has_a_client_that_shows_it() -> None:
    """No sign is there without a vector, and no vector names a sign that is not."""
    shown = {client.why or client.needs_more for client in CLIENTS}
    assert shown == {found.why for found in (*MEANINGS, *HALVES)}


def test_signs_have_names_of_their_own() -> None:
    """Each line of the log leads to one line of the table."""
    names = [sign.why for sign in SIGNS]
    assert len(set(names)) == len(names)


def test_recognised_clients_have_an_adapter() -> None:
    """Every adapter that signs lead to is registered, and every registered one can be recognised."""
    assert {found.adapter for found in MEANINGS if isinstance(found, Recognised)} == set(wires.adapters())


@pytest.mark.parametrize(
    "found", [*[found for found in MEANINGS if isinstance(found, Refused)], *HALVES], ids=lambda f: f.why
)
def test_refusals_fit_into_a_close_frame(found: Refused | NeedMore) -> None:
    """Every refusal is one whole sentence of at most 123 bytes."""
    assert len(found.sentence.encode()) <= CLOSE_REASON_BYTES
    assert found.sentence.endswith(".")
    assert "\n" not in found.sentence


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
)
FIELDS = (
    "event type eventType kind label version protocol start streamSid stream_id stream_sid sessionId callSid"
    " sampleRate mixType callId streamId call_control_id"
)
names = st.sampled_from(FIELDS.split())
words = st.dictionaries(names, values | st.dictionaries(names, values, max_size=3), max_size=5)
seen = st.sampled_from([message for client in CLIENTS for message in client.heard])
messages = seen | st.text() | st.binary() | words.map(lambda value: msgspec.json.encode(value).decode())
headers = st.dictionaries(
    st.sampled_from(["authorization", "user-agent", "sec-websocket-protocol", "x-twilio-signature"]),
    st.text()
    | st.sampled_from(["Bearer a.b.c", "Bearer " + "." * 2000, "media,realtime", "Twilio.TmeWs/1.0"]),
)


@settings(max_examples=300, deadline=None)
@given(headers=headers, query=st.text(), said=st.lists(messages, max_size=4))
def test_nothing_is_too_strange(headers: dict[str, str], query: str, said: list[str | bytes]) -> None:
    """Whatever an upgrade holds and whatever is said, there is a decision after two messages, and it stays."""
    knock = Knock("GET", "/v1/ws", query=query, headers=headers)
    found = [recognise(knock, said[:count]) for count in range(len(said) + 1)]
    if len(said) >= detect.MOST_MESSAGES:
        assert not isinstance(found[detect.MOST_MESSAGES], NeedMore)
    decided = [one for one in found if not isinstance(one, NeedMore)]
    assert decided == decided[:1] * len(decided)
    assert found[len(found) - len(decided) :] == decided


@pytest.mark.parametrize(
    "message", ["[" * 50_000, '{"event":' * 50_000, "\ud800", '{"type":"\\udfff"}', "", b""]
)
def test_broken_messages_are_no_sign(message: str | bytes) -> None:
    """What cannot be read tells nothing and breaks nothing."""
    assert isinstance(recognise(Knock("GET", "/v1/ws"), [message]), NeedMore)
    assert isinstance(recognise(Knock("GET", "/v1/ws"), [message, message]), Refused)
