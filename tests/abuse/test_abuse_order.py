"""Messages in every wrong order, through codec and machine: one call, one end, no exception."""

import itertools
import json
import random
from collections.abc import Iterable

import pytest
import wires
from dialect import Dialect, Message, Way
from dialects import DIALECTS
from play import INFO, Play

from gateway.call.conversation import Phase
from gateway.commands import CallEnded, HangUp
from gateway.contracts import Codec
from gateway.errors import WireError
from gateway.events import AgentReady, AnyEvent, CallerAudio, CallerLost, CallStarted
from gateway.settings import AdapterSettings

MOST = 1000
"""Orders of one dialect; all of them where there are fewer."""
MOST_EARLY_S = 2
"""Sound that is kept of a caller whose call has not begun."""
SOUND: dict[str, object] = {"type": "reply.audio", "reply_id": "r1", "data": "EJAQkBCQEJAQkBCQEJAQkA=="}
AGENT_SAYS: list[dict[str, object]] = [
    {"type": "session.ready", "session_id": "s"},
    {"type": "session.updated", "config": {}},
    {"type": "input.speech.started"},
    {"type": "input.speech.stopped"},
    {"type": "transcript.user", "text": "Hello?"},
    {"type": "reply.started", "reply_id": "r1"},
    SOUND,
    {**SOUND, "reply_id": "r2"},
    {"type": "transcript.agent", "reply_id": "r1", "text": "Yes."},
    {"type": "reply.done", "reply_id": "r1", "status": "completed"},
    {"type": "reply.done", "reply_id": "r1", "status": "interrupted"},
    {"type": "tool.call", "call_id": "t1", "name": "drive", "arguments": {}},
    {"type": "session.error", "code": "invalid_audio", "message": "no"},
    {"type": "session.ended"},
]


def read(codec: Codec, message: Message) -> list[AnyEvent]:
    """What a codec makes of a message; nothing of one that it cannot read."""
    try:
        return codec.decode(message)  # type: ignore[return-value]
    except WireError:
        return []


def settings_of(dialect: Dialect) -> dict[str, object]:
    kind: type[AdapterSettings] = wires.adapters()[dialect.adapter].settings
    return {name: "secret" for name in ("auth_token", "signature_secret") if name in kind.__struct_fields__}


def orders_of(dialect: Dialect, way: Way) -> Iterable[tuple[Message, ...]]:
    """The messages of a call in every order, or in some of very many."""
    said = [*dialect.begin(way), dialect.sound(way, bytes(160)), dialect.end(way), *dialect.extras(way)]
    short = said[:6]
    yield from itertools.permutations(short)
    order = random.Random(7)  # noqa: S311 - the same orders in every run
    for _ in range(MOST):
        yield tuple(order.choices(said, k=2 * len(said)))


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.adapter)
def test_a_caller_s_messages_in_any_order(dialect: Dialect) -> None:
    """However a caller's messages are mixed, repeated and left out, the call ends once and nothing is raised."""
    way = Way("wss://gateway/v1/ws", call="CA1", stream="MZ1")
    setup = {"upgrade": {"carrier_call_id": "CA1"}, "settings": settings_of(dialect)}
    for messages in orders_of(dialect, way):
        codec = wires.new_codec(dialect.adapter, setup)
        play = Play(strict=False)
        for event in [*getattr(codec, "opening", list)(), *(e for m in messages for e in read(codec, m))]:
            play.on(event, ...)
            play.wait(0.02, ...)
        if play.is_in(Phase.WAITING):
            continue
        play.on(AgentReady("late"), ...)
        play.on(CallerLost("gone"), ...)
        play.until(Phase.ENDED)
        assert len(play.items(HangUp)) == len(play.items(CallEnded)) == 1


def begun(dialect: Dialect, before: Iterable[Message] = ()) -> tuple[Codec, bytes]:
    """A codec whose call has begun, and the sound that was heard until then; this was said before it began."""
    way = Way("wss://gateway/v1/ws", call="CA1", stream="MZ1")
    codec = wires.new_codec(dialect.adapter, {"upgrade": {}, "settings": settings_of(dialect)})
    return codec, sound_of(codec, [*before, *dialect.begin(way)])


def sound_of(codec: Codec, messages: Iterable[Message]) -> bytes:
    """The sound that a codec reads from messages."""
    events = (event for message in messages for event in read(codec, message))
    return b"".join(event.audio for event in events if isinstance(event, CallerAudio))


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.adapter)
def test_sound_before_the_beginning_is_bounded(dialect: Dialect) -> None:
    """Of minutes of sound that come before a call has begun, the newest seconds are kept, or nothing."""
    if not dialect.begin(Way("")):
        pytest.skip("its upgrade begins the call")
    early = [dialect.sound(Way("", stream="MZ1"), bytes([number]) * 16_000) for number in range(200)]
    _, heard = begun(dialect, early)
    assert len(heard) <= MOST_EARLY_S * dialect.bytes_s
    assert (bytes([199]) * 16_000).endswith(heard[-16_000:])


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.adapter)
def test_sound_may_be_cut_anywhere(dialect: Dialect) -> None:
    """Sound that comes in pieces of any size, half samples too, is the same sound as in one piece."""
    order = random.Random(7)  # noqa: S311 - the same cuts in every run
    whole = order.randbytes(4000)
    places = sorted({0, *order.sample(range(len(whole)), k=500), len(whole)})
    way = Way("", stream="MZ1")
    pieces = [dialect.sound(way, whole[begin:end]) for begin, end in itertools.pairwise(places)]
    codec, _ = begun(dialect)
    assert sound_of(codec, pieces) == whole


def agent_orders(length: int) -> Iterable[tuple[dict[str, object], ...]]:
    """All short orders, and some long ones."""
    yield from itertools.product(AGENT_SAYS, repeat=length)
    order = random.Random(7)  # noqa: S311 - the same orders in every run
    for _ in range(MOST // 20):
        yield tuple(order.choices(AGENT_SAYS, k=30))


@pytest.mark.parametrize("ready", [True, False])
def test_an_agent_s_messages_in_any_order(ready: bool) -> None:
    """However an agent's messages are mixed and repeated, before it is ready and after, the call ends once."""
    for messages in agent_orders(3 if ready else 2):
        codec = wires.new_codec("voice_agent")
        play = Play(strict=False)
        play.on(CallStarted(INFO), ...)
        if ready:
            play.on(AgentReady("s"), ...)
        for event in (e for m in messages for e in read(codec, json.dumps(m))):
            play.on(event, ...)
            play.wait(0.02, ...)
        play.on(CallerLost("gone"), ...)
        play.until(Phase.ENDED)
        assert len(play.items(HangUp)) == len(play.items(CallEnded)) == 1
