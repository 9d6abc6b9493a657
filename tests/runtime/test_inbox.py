import asyncio

import pytest
from fakes import soon, until, virtual

from gateway.events import CallerPressed, SpeechStarted, SpeechStopped, StopRequested
from gateway.runtime.inbox import Inbox


class Side:
    dismissed = False


def pressed(number: int) -> CallerPressed:
    return CallerPressed(str(number))


@virtual
async def test_order() -> None:
    """Events come out in the order in which they went in."""
    inbox = Inbox(64)
    for number in range(10):
        await inbox.put(pressed(number))
    assert [await inbox.get() for _ in range(10)] == [pressed(number) for number in range(10)]


@virtual
async def test_sides_wait_and_the_house_does_not() -> None:
    """A full inbox makes sides wait until one is taken; the house's events go in all the same."""
    inbox = Inbox(3)
    for number in range(3):
        await inbox.put(pressed(number))
    waiting = [asyncio.ensure_future(inbox.put(pressed(number))) for number in (4, 5, 6)]
    await soon()
    assert not any(task.done() for task in waiting)
    inbox.put_now(StopRequested())
    for _ in range(2):
        await inbox.get()
        await soon()
    assert sum(task.done() for task in waiting) == 1
    for _ in range(5):
        await inbox.get()
        await soon()
    assert all(task.done() for task in waiting)


@virtual
async def test_close() -> None:
    """Closing lets everybody go on who waits for room, and forgets what comes."""
    inbox = Inbox(1)
    await inbox.put(pressed(1))
    waiting = [asyncio.ensure_future(inbox.put(pressed(number))) for number in range(3)]
    await soon()
    inbox.close()
    await asyncio.wait_for(asyncio.wait(waiting), 1)
    reading = asyncio.ensure_future(inbox.get())
    await soon()
    inbox.wake()
    assert await reading is None
    assert inbox.closed


@virtual
async def test_wake() -> None:
    """Waking lets the reader look at the clock, once."""
    inbox = Inbox(3)
    reading = asyncio.ensure_future(inbox.get())
    await soon()
    inbox.wake()
    assert await reading is None
    reading = asyncio.ensure_future(inbox.get())
    await soon()
    assert not reading.done()
    inbox.put_now(pressed(1))
    assert await reading == pressed(1)


@virtual
async def test_dismissed_side() -> None:
    """Events of a side that was dismissed are passed over, those that wait for room too."""
    inbox, old = Inbox(2), Side()
    await inbox.put(SpeechStarted(), old)
    await inbox.put(pressed(1))
    waiting = asyncio.ensure_future(inbox.put(SpeechStopped(), old))
    await soon()
    old.dismissed = True
    assert await inbox.get() == pressed(1)
    await until(waiting.done)
    inbox.put_now(pressed(2))
    assert await inbox.get() == pressed(2)


@virtual
async def test_fault() -> None:
    """A fault comes out of the next read whatever waits, wakes the reader, and counts only once."""
    inbox = Inbox(3)
    reading = asyncio.ensure_future(inbox.get())
    await soon()
    inbox.put_now(pressed(1))
    assert inbox.fail(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        await reading
    assert not inbox.fail(KeyError("another"))
    assert inbox.closed
