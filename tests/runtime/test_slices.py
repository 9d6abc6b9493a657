import asyncio
from collections.abc import Callable

from fakes import passing, soon, until, virtual

from gateway.runtime.slices import PAUSE_S, SLICE_BYTES, Slices

QUICK_BYTES = 20 * SLICE_BYTES


class Parser:
    """Takes note of what it is fed."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []
        self.fed_at: list[float] = []
        self.fails = False
        self.ended = 0

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.fed.append(data)
        self.fed_at.append(asyncio.get_running_loop().time())
        return self.fails, b""

    def feed_eof(self) -> None:
        self.ended += 1


class Transport:
    """Is told whom to give what comes."""

    def __init__(self, set_protocol: Callable[[object], None]) -> None:
        self.set_protocol = set_protocol


class Protocol:
    """Reads, or does not; gives what has come to its parser, as aiohttp's do."""

    def __init__(self) -> None:
        self.transport: Transport | None = Transport(lambda _protocol: None)
        self.parser: Slices | None = None
        self.is_known = False
        self._reading_paused = False
        self.held: list[bool] = []
        self.failures = 0
        self.told: list[str] = []

    def data_received(self, data: bytes) -> None:
        assert self.parser is not None
        self.failures += self.parser.feed_data(data)[0]

    def connection_lost(self, _exc: Exception | None) -> None:
        self.told.append("lost")

    def eof_received(self) -> bool:
        self.told.append("eof")
        return True

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def _pause_reading_for_buffer(self) -> None:
        self.held.append(True)

    def _resume_reading_for_buffer(self) -> None:
        self.held.append(False)


def sliced() -> tuple[Slices, Parser, Protocol]:
    parser, protocol = Parser(), Protocol()
    slices = protocol.parser = Slices(parser, protocol, QUICK_BYTES)
    return slices, parser, protocol


@virtual
async def test_what_is_little_is_parsed_at_once() -> None:
    """What a call brings in a moment is parsed without a detour, and its failure told at once."""
    slices, parser, protocol = sliced()
    assert slices.feed_data(b"x" * SLICE_BYTES) == (False, b"")
    parser.fails = True
    assert slices.feed_data(b"y") == (True, b"")
    assert parser.fed == [b"x" * SLICE_BYTES, b"y"]
    assert not protocol.held


@virtual
async def test_what_is_much_is_parsed_turn_by_turn() -> None:
    """A burst is parsed in slices with a turn of the loop between them, in order, while nothing more is read."""
    slices, parser, protocol = sliced()
    data = b"".join(number.to_bytes(4, "big") for number in range(15_000))
    slices.feed_data(data[:50_000])
    slices.feed_data(data[50_000:])
    turns = 0
    while protocol.held != [True, False]:
        before = len(parser.fed)
        await asyncio.sleep(0)
        turns += 1
        assert len(parser.fed) - before <= 1
    assert b"".join(parser.fed) == data
    assert max(map(len, parser.fed)) == SLICE_BYTES
    slices.feed_data(b"after")
    assert parser.fed[-1] == b"after"


@virtual
async def test_a_flood_is_parsed_slowly() -> None:
    """What goes on beyond a burst is parsed at a megabyte a second."""
    slices, parser, _ = sliced()
    slices.feed_data(bytes(100 * SLICE_BYTES))
    await passing(1)
    quick = [at for at in parser.fed_at if at == parser.fed_at[0]]
    assert len(quick) == QUICK_BYTES // SLICE_BYTES
    assert parser.fed_at[-1] - parser.fed_at[0] > 79 * PAUSE_S


@virtual
async def test_the_end_comes_last() -> None:
    """A connection that ends while slices wait has ended once they are parsed, although nobody reads them."""
    slices, parser, protocol = sliced()
    slices.feed_data(bytes(3 * SLICE_BYTES))
    protocol._reading_paused = True
    await soon()
    slices.feed_eof()
    assert parser.ended == 0
    protocol.transport = None
    await soon()
    assert (parser.ended, len(parser.fed)) == (1, 3)


@virtual
async def test_a_full_queue_is_waited_for() -> None:
    """While the reader of a connection has no room, nothing more is parsed."""
    slices, parser, protocol = sliced()
    protocol._reading_paused = True
    slices.feed_data(bytes(3 * SLICE_BYTES))
    await passing(1)
    assert not parser.fed
    protocol._reading_paused = False
    await passing(1)
    assert len(parser.fed) == 3
    assert protocol.held == [True, False]


@virtual
async def test_what_follows_a_failure_is_forgotten() -> None:
    """Once the parser has failed, the rest of the burst is not parsed."""
    slices, parser, _ = sliced()
    parser.fails = True
    slices.feed_data(bytes(3 * SLICE_BYTES))
    await soon()
    assert len(parser.fed) == 1


@virtual
async def test_more_than_a_stranger_may_send() -> None:
    """What comes past a bound is dropped, and told as a failure; what is before it is parsed."""
    slices, parser, _ = sliced()
    asked: list[int] = []

    def is_too_much() -> bool:
        asked.append(len(parser.fed))
        return True

    slices.bound(SLICE_BYTES + 1, is_too_much)
    assert slices.feed_data(b"x" * SLICE_BYTES) == (False, b"")
    assert slices.feed_data(b"y") == (False, b"")
    assert slices.feed_data(b"z") == (True, b"")
    assert parser.fed == [b"x" * SLICE_BYTES, b"y"]
    assert asked == [2]


@virtual
async def test_a_bound_ends_a_burst() -> None:
    """A burst is parsed up to the bound, slice by slice, and the rest of it is dropped."""
    slices, parser, protocol = sliced()
    slices.bound(3 * SLICE_BYTES, lambda: True)
    slices.feed_data(b"x" * (10 * SLICE_BYTES))
    await until(lambda: protocol.held == [True, False])
    assert len(parser.fed) == 3


@virtual
async def test_a_bound_that_is_lifted() -> None:
    """Whoever is not too much for the one that set the bound, or has it lifted, is parsed as ever."""
    slices, parser, _ = sliced()
    slices.bound(0, lambda: False)
    assert slices.feed_data(b"x") == (False, b"")
    slices.bound(1, lambda: True)
    slices.bound(1e9)
    assert slices.feed_data(b"yy") == (False, b"")
    assert parser.fed == [b"x", b"yy"]


@virtual
async def test_a_stranger_goes_through_the_protocol() -> None:
    """Until a proof was shown, what comes is counted and held up by the protocol; then it comes straight."""
    slices, parser, protocol = sliced()
    spoken_to: list[object] = []
    protocol.transport = Transport(spoken_to.append)
    protocol.data_received(b"who are you")
    assert spoken_to == []
    protocol.is_known = True
    protocol.data_received(b"a proof")
    assert spoken_to == [slices]
    seen: list[int] = []
    slices.on_parsed = lambda: seen.append(len(parser.fed))
    slices.data_received(b"a frame")
    assert parser.fed == [b"who are you", b"a proof", b"a frame"]
    assert seen == [3]


@virtual
async def test_a_failure_on_the_straight_way() -> None:
    """The protocol learns of a parser's failure once more comes straight, and nothing is parsed twice."""
    slices, parser, protocol = sliced()
    seen: list[int] = []
    slices.on_parsed = lambda: seen.append(len(parser.fed))
    parser.fails = True
    slices.data_received(b"nonsense")
    assert protocol.failures == 1
    assert parser.fed == [b"nonsense"]
    assert seen == [1]


@virtual
async def test_a_burst_on_the_straight_way() -> None:
    """A burst is sliced wherever it comes from, and what comes behind it waits for it."""
    slices, parser, protocol = sliced()
    slices.data_received(b"x" * 3 * SLICE_BYTES)
    slices.data_received(b"after")
    assert parser.fed == []
    await until(lambda: protocol.held == [True, False])
    assert b"".join(parser.fed) == b"x" * 3 * SLICE_BYTES + b"after"


@virtual
async def test_a_bound_holds_on_the_straight_way() -> None:
    """What somebody may send at most is bound whichever way it comes."""
    slices, parser, protocol = sliced()
    slices.bound(4, lambda: True)
    slices.data_received(b"12345")
    assert protocol.failures == 1
    assert parser.fed == []


@virtual
async def test_the_rest_is_for_the_protocol() -> None:
    """What is not bytes goes on to the protocol, whoever the transport speaks to."""
    slices, _, protocol = sliced()
    slices.pause_writing()
    slices.resume_writing()
    assert slices.eof_received() is True
    slices.connection_lost(None)
    assert protocol.told == ["pause", "resume", "eof", "lost"]
