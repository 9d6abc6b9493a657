"""Calls that end before a word was said: the log tells of each of them once."""

import logging
from collections.abc import Callable

import pytest
from serving import EchoRunner, House, serving, start_stream, talk, until

from gateway.runtime.legs import WireLeg
from gateway.server.call import Call


class Unborn(EchoRunner):
    """A runner that does not come to read its caller's first message."""

    async def serve(self, leg: WireLeg) -> None:
        self.legs.append(leg)
        await self._ended.wait()


def dropped(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    return [line.split("why=")[1] for line in lines if line.startswith("call_dropped ")]


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda _, call: call.stop("an operator stopped it"), '"an operator stopped it"'),
        (lambda _, call: call.hang_up("an operator hung up"), '"an operator hung up"'),
        (lambda _, call: call.leave("the caller went"), '"the caller went"'),
        (lambda house, _: house.registry.cut_off(), '"the gateway is stopping"'),
    ],
)
async def test_an_end_between_a_runners_birth_and_its_first_event_is_told(
    end: Callable[[House, Call], None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its observers know nothing of such a call, so the log does, with the reason."""
    caplog.set_level(logging.INFO)
    async with serving(make_runner=Unborn) as house:
        socket = await house.media(await house.invited())
        for message in start_stream():
            await socket.send_str(message)
        await until(lambda: house.runners and house.call_runner().legs)
        end(house, house.registry.listing()[0])
        await until(lambda: not house.registry.listing())
    assert dropped(caplog) == [why]


async def test_a_call_that_began_is_left_to_its_observers(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever ends it."""
    caplog.set_level(logging.INFO)
    async with serving() as house:
        await talk(house)
        await until(lambda: house.runners and house.call_runner().info)
        house.registry.listing()[0].stop("an operator stopped it")
        await until(lambda: not house.registry.listing())
    assert not dropped(caplog)
