"""Whatever a peer sends, only `WireError` leaves a codec, and soon."""

import contextlib
import gc
import os
import secrets
import time
from typing import Any

import msgspec
import pytest
import wires
from figures import tell
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mutations import Message, Mutator

from gateway.contracts import Codec
from gateway.errors import WireError
from gateway.events import Event

NAMES = sorted([*wires.adapters(), *wires.agent_kinds()])
DEEP = 50_000
MUTATIONS = int(os.environ.get("TALKPATH_MUTATIONS") or 10_000)
"""Mutated messages through each codec in an ordinary run; `make slow` takes a million."""
SLOW_MUTATIONS = int(os.environ.get("TALKPATH_MUTATIONS") or 1_000_000)
SEED = int(os.environ.get("TALKPATH_SEED") or secrets.randbelow(2**32))
"""Printed at the end of the run; give it again to repeat the same mutations."""
LIMIT_S = 0.05
"""Processor time that a message may cost."""
LONGEST_RUN = 40
"""Messages of one connection."""

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)


def received(name: str) -> list[Any]:
    """Messages that the vectors of a part receive, each once."""
    found = [
        line["wire"]
        for path in wires.vector_files()
        if path.parent.name == name
        for line in wires.lines(path)
        if "wire" in line and ("events" in line or "error" in line)
    ]
    return [message for place, message in enumerate(found) if message not in found[:place]]


def setups(name: str) -> list[Any]:
    """Connections that the vectors of a part open."""
    found = [
        line["setup"]
        for path in wires.vector_files()
        if path.parent.name == name
        for line in wires.lines(path)
        if "setup" in line and "error" not in line
    ]
    return [{}, *found]


def survive(codec: Codec, message: str | bytes) -> None:
    """Decode a message; anything but events or a sentence is a failure."""
    try:
        events = codec.decode(message)
    except WireError as error:
        sentence = str(error)
        assert sentence
        assert "\n" not in sentence
        assert len(sentence) < 500
    else:
        assert all(isinstance(event, Event) for event in events)


def places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside a JSON value."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(path for key, value in inside for path in places(value, (*at, key)))]


def replaced(node: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A JSON value in which the value at a path is another one; `...` leaves it out."""
    if not at:
        return value
    changed = dict(node) if isinstance(node, dict) else list(node)
    if len(at) == 1 and value is ...:
        del changed[at[0]]
    else:
        changed[at[0]] = replaced(node[at[0]], at[1:], value)
    return changed


@st.composite
def mutated(draw: st.DrawFn, messages: list[Any]) -> str | bytes:
    """A message of the vectors: as it is, with a value changed or left out, cut, or with a byte changed."""
    written = draw(st.sampled_from(messages))
    how = draw(st.sampled_from(["as it is", "value", "cut", "byte"]))
    if how == "value" and isinstance(written, dict) and "$hex" not in written:
        at = draw(st.sampled_from(places(written)))
        if at:
            written = replaced(written, at, draw(values | st.just(...)))
    message = wires.message(written)
    if how == "cut":
        return message[: draw(st.integers(0, len(message)))]
    if how == "byte" and message:
        at = draw(st.integers(0, len(message) - 1))
        if isinstance(message, bytes):
            return message[:at] + draw(st.binary(max_size=3)) + message[at + 1 :]
        return message[:at] + draw(st.text(max_size=3)) + message[at + 1 :]
    return message


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(message=st.text() | st.binary() | values.map(lambda value: msgspec.json.encode(value).decode()))
@example("[" * DEEP)
@example('{"a":' * DEEP)
@example('{"type":"x","event":"media","a":' + "[" * DEEP)
@example("\ud800")
@example('{"type":"\\ud800","event":"\\udfff"}')
@example('{"type":1e999,"event":-1e999}')
@example("\x00")
@example("")
@example(b"")
def test_codec_survives_any_message(name: str, message: str | bytes) -> None:
    """A first message of any kind is read or refused with a sentence."""
    survive(wires.new_codec(name), message)


@pytest.mark.parametrize("name", sorted(name for name, one in wires.adapters().items() if one.first_token))
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_tokens_are_read_out_of_any_message(name: str, data: st.DataObject) -> None:
    """Whatever comes first, a token is found or not, or it is refused with a sentence."""
    first_token = wires.adapters()[name].first_token
    assert first_token is not None
    with contextlib.suppress(WireError):
        assert isinstance(
            first_token(data.draw(st.text() | st.binary() | mutated(received(name)))), str | None
        )


@pytest.mark.parametrize("name", [name for name in NAMES if received(name)])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_codec_survives_mutated_conversations(name: str, data: st.DataObject) -> None:
    """Messages of the wire in any order, also broken in one place, are read or refused with a sentence."""
    codec = wires.new_codec(name, data.draw(st.sampled_from(setups(name))))
    for message in data.draw(st.lists(mutated(received(name)), max_size=12)):
        survive(codec, message)


@pytest.mark.parametrize("name", sorted(wires.adapters()))
@settings(max_examples=100, deadline=None)
@given(
    query=st.dictionaries(
        st.sampled_from(["encoding", "sample_rate", "rate", "events", "caller", "token"])
        | st.text(max_size=8),
        st.text(max_size=20),
        max_size=5,
    )
)
def test_codec_survives_any_address(name: str, query: dict[str, str]) -> None:
    """Whatever an address says, the connection is opened or refused with a sentence."""
    with contextlib.suppress(WireError):
        wires.new_codec(name, {"upgrade": {"query": query}})


def mutate(name: str, count: int) -> None:
    """Send mutated messages through many connections of a codec, which begin as they should in half of the cases."""
    mutator = Mutator(received(name), SEED)
    openings, good = setups(name), mutator.good()
    slowest_s, slowest, read = 0.0, b"", 0
    gc.collect()
    gc.freeze()  # what the other tests have left is nobody's time
    try:
        while read < count:
            codec = wires.new_codec(name, openings[read % len(openings)])
            messages: list[Message] = good[: read % (len(good) + 1)] if read % 2 else []
            messages += [mutator.next() for _ in range(1 + read % LONGEST_RUN)]
            for message in messages:
                began = time.thread_time()
                survive(codec, message)
                took_s = time.thread_time() - began
                if took_s > slowest_s:
                    slowest_s, slowest = took_s, repr(message[:300]).encode()
            read += len(messages)
    finally:
        gc.unfreeze()
    tell(f"fuzz {name}", f"{read} messages, seed {SEED}; the slowest took {slowest_s * 1000:.1f} ms")
    assert slowest_s < LIMIT_S, slowest


@pytest.mark.parametrize("name", [name for name in NAMES if received(name)])
def test_codec_survives_many_mutations(name: str) -> None:
    """Ten thousand messages with something wrong in them are read or refused, each in less than 50 ms."""
    mutate(name, MUTATIONS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name in NAMES if received(name)])
def test_codec_survives_a_million_mutations(name: str) -> None:
    """A million of them are."""
    mutate(name, SLOW_MUTATIONS)


FILLERS = {
    "numbers": "[" + "1," * 500_000 + "1]",
    "objects": "[" + "{}," * 330_000 + "1]",
    "nests": "[" + ("[" * 900 + "]" * 900 + ",") * 570 + "1]",
    "escapes": '"' + "\\u0041" * 170_000 + '"',
    "keys": "{" + ",".join(f'"{number}":"1"' for number in range(80_000)) + "}",
}
"""Nearly a megabyte each, of what is dear to read."""


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("name", [name for name in NAMES if received(name)])
def test_longest_messages_cost_little(name: str, filler: str) -> None:
    """The longest message that a wire takes is read or refused in less than 50 ms, whatever it is made of."""
    objects = [message for message in received(name) if isinstance(message, dict) and "$hex" not in message]
    fields = {
        (str(message.get("type") or message.get("event")), at)
        for message in objects
        for at in [*message, "x"]
    }
    for kind, at in sorted(fields):
        written = f'{{"type":"{kind}","event":"{kind}","{at}":{FILLERS[filler]}}}'
        took_s = []
        for _ in range(2):
            codec = wires.new_codec(name, setups(name)[0])
            began = time.thread_time()
            survive(codec, written)
            took_s.append(time.thread_time() - began)
        assert min(took_s) < LIMIT_S, (kind, at)
