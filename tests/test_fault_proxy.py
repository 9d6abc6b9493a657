import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from fakes import no_task_left, until
from fault_proxy import KINDS, Carried, Fault, FaultProxy

PATIENCE_S = 0.15
"""How long nothing must come before it counts as swallowed."""


class Ends:
    """Both ends of one connection through a proxy."""

    def __init__(self, proxy: FaultProxy, client: "End", server: "End") -> None:
        self.client = client
        self.server = server
        self.carried: Carried = proxy.carried[-1]


class End:
    """One end: what it says and what it hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hears(self, size_bytes: int) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readexactly(size_bytes)

    async def ends(self) -> str:
        """How the connection ends: in order, or with a reset."""
        async with asyncio.timeout(5):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionResetError:
                return "reset"
            return "in order"

    async def hears_nothing(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self.reader.read(1)
            return False
        return True


@asynccontextmanager
async def connected(**given: object) -> AsyncIterator[Ends]:
    """One connection that has carried a byte each way."""
    arrived: asyncio.Queue[End] = asyncio.Queue()
    over = asyncio.Event()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await arrived.put(End(reader, writer))
        await over.wait()
        writer.close()

    with no_task_left():
        server = await asyncio.start_server(attend, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        async with FaultProxy(f"tcp://{host}:{port}", **given) as proxy:  # type: ignore[arg-type]
            address = proxy.url.rpartition("/")[2].rpartition(":")
            client = End(*await asyncio.open_connection(address[0], int(address[2])))
            client.writer.write(b"?")
            far = await arrived.get()
            assert await far.hears(1) == b"?"
            far.writer.write(b"!")
            assert await client.hears(1) == b"!"
            yield Ends(proxy, client, far)
            client.writer.close()
            over.set()
        server.close()
        await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_bytes_pass_unchanged_and_ends_are_handed_on() -> None:
    """Without a fault every byte arrives in order both ways, and each direction ends by itself."""
    sent = random.Random(1).randbytes(300_000)  # noqa: S311 - no secret
    async with connected() as ends:
        for one, other in ((ends.client, ends.server), (ends.server, ends.client)):
            one.writer.write(sent)
            assert await other.hears(len(sent)) == sent
        ends.client.writer.write_eof()
        assert await ends.server.ends() == "in order"
        ends.server.writer.write(b"still here")
        assert await ends.client.hears(10) == b"still here"
        assert ends.carried.to_server.carried_bytes == len(sent) + 1


async def test_a_reset_is_a_reset_at_both_ends() -> None:
    """Both programs see a RST, not an end in order."""
    async with connected() as ends:
        ends.carried.strike(Fault("reset"))
        assert await ends.client.ends() == "reset"
        assert await ends.server.ends() == "reset"
        assert ends.carried.struck_at is not None


async def test_a_reset_of_one_end_leaves_the_other_half_open() -> None:
    """The other end notices nothing, and what it says goes nowhere."""
    async with connected() as ends:
        ends.carried.strike(Fault("reset", "to_client"))
        assert await ends.client.ends() == "reset"
        ends.server.writer.write(b"anybody?")
        assert await ends.server.hears_nothing()


async def test_a_close_ends_both_directions_in_order() -> None:
    """Both programs see the end of the stream."""
    async with connected() as ends:
        ends.carried.strike(Fault("close"))
        assert await ends.client.ends() == "in order"
        assert await ends.server.ends() == "in order"


async def test_half_a_close_leaves_the_other_direction_open() -> None:
    """One program hears that nothing more comes, and is still heard itself."""
    async with connected() as ends:
        ends.carried.strike(Fault("half_close", "to_client"))
        assert await ends.client.ends() == "in order"
        ends.client.writer.write(b"and yet")
        assert await ends.server.hears(7) == b"and yet"


@pytest.mark.parametrize("direction", ["to_server", "to_client", "both"])
async def test_dropped_bytes_vanish_and_the_connection_stays(direction: str) -> None:
    """Nothing arrives in the direction that is struck, not even the end, and everything in the other."""
    async with connected() as ends:
        ends.carried.strike(Fault("drop", direction))  # type: ignore[arg-type]
        ends.client.writer.write(b"up")
        ends.server.writer.write(b"down")
        if direction == "to_client":
            assert await ends.server.hears(2) == b"up"
        else:
            assert await ends.server.hears_nothing()
        if direction == "to_server":
            assert await ends.client.hears(4) == b"down"
        else:
            ends.server.writer.write_eof()
            assert await ends.client.hears_nothing()


async def test_a_drop_may_end_with_a_reset() -> None:
    """A hole that lasts for a while is followed by the end of the connection."""
    async with connected() as ends:
        before = asyncio.get_running_loop().time()
        ends.carried.strike(Fault("drop", for_s=0.2))
        ends.client.writer.write(b"lost")
        assert await ends.client.ends() == "reset"
        assert await ends.server.ends() == "reset"
        assert asyncio.get_running_loop().time() - before >= 0.19


async def test_delayed_bytes_come_all_at_once_and_whole() -> None:
    """What was held back arrives in order, after the delay."""
    async with connected() as ends:
        before = asyncio.get_running_loop().time()
        ends.carried.strike(Fault("delay", "to_server", for_s=0.3))
        for number in range(10):
            ends.client.writer.write(bytes([number]) * 100)
        ends.server.writer.write(b"unhindered")
        assert await ends.client.hears(10) == b"unhindered"
        assert asyncio.get_running_loop().time() - before < 0.25
        assert await ends.server.hears(1000) == b"".join(bytes([number]) * 100 for number in range(10))
        assert asyncio.get_running_loop().time() - before >= 0.29


async def test_dripping_bytes_come_slowly_then_fast_again() -> None:
    """While it drips no more than the ordered bytes pass; afterwards the rest does, and nothing is lost."""
    sent = random.Random(2).randbytes(2000)  # noqa: S311 - no secret
    async with connected() as ends:
        before = asyncio.get_running_loop().time()
        ends.carried.strike(Fault("drip", "to_client", for_s=0.5, bytes_per_s=1000))
        ends.server.writer.write(sent)
        assert await ends.client.hears(300) == sent[:300]
        assert asyncio.get_running_loop().time() - before >= 0.19
        assert await ends.client.hears(1700) == sent[300:]
        assert 0.4 < asyncio.get_running_loop().time() - before < 1.5


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_begins_with_its_byte(kind: str) -> None:
    """A fault that waits for a byte lets exactly those before it through, wherever messages end."""
    async with connected() as ends:
        fault = Fault(kind, "to_server", for_s=0.0 if kind == "drop" else 0.3, bytes_per_s=1)  # type: ignore[arg-type]
        ends.carried.strike_after(501, fault)
        ends.client.writer.write(bytes(400))
        assert await ends.server.hears(400) == bytes(400)
        ends.client.writer.write(bytes(400))
        if kind != "reset":  # which may overtake what came before it
            assert await ends.server.hears(100) == bytes(100)
        await until(lambda: ends.carried.to_server.due is None)
        if fault.loses:
            assert ends.carried.to_server.carried_bytes == 501
            assert ends.carried.struck_at is not None
        else:
            assert ends.carried.to_server.carried_bytes < 510
            assert await ends.server.hears(300) == bytes(300)


async def test_a_connection_can_be_told_by_its_first_bytes() -> None:
    """Whoever plans faults sees each connection with what its client said first, before any of it passes."""
    seen: list[tuple[bytes, int]] = []

    def plan(one: Carried) -> None:
        seen.append((one.opening, one.to_server.carried_bytes))

    async with connected(on_carried=plan):
        assert seen == [(b"?", 0)]


async def test_a_server_that_is_not_there() -> None:
    """Dialling through to nobody is a connection that breaks at once, and the proxy lives."""
    async with FaultProxy("tcp://127.0.0.1:1") as proxy:
        host, port = proxy.url.rpartition("/")[2].split(":")
        end = End(*await asyncio.open_connection(host, int(port)))
        assert await end.ends() in ("reset", "in order")
        end.writer.close()
        assert proxy.live == []
