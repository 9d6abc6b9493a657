import asyncio

from fakes import soon, virtual

from gateway.runtime.bell import Bell


@virtual
async def test_rung_before_and_after() -> None:
    """A bell lets one waiter pass for however many rings, whether they came before or while it waited."""
    bell = Bell()
    bell.ring()
    bell.ring()
    await bell.wait()
    waiting = asyncio.ensure_future(bell.wait())
    await soon()
    assert not waiting.done()
    bell.ring()
    bell.ring()
    await waiting


@virtual
async def test_cancelled_waiter() -> None:
    """A ring that came just before its waiter was cancelled is there for the next one."""
    bell = Bell()
    waiting = asyncio.ensure_future(bell.wait())
    await soon()
    bell.ring()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await bell.wait()
