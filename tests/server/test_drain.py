import asyncio

from serving import LIMIT_S, closing, refused, serving, settings_of, talk, until

from gateway.events import StopRequested
from gateway.settings import LimitSettings


async def test_drain() -> None:
    """While draining, new calls are refused politely, readiness fails, and a live call may finish."""
    async with serving() as house:
        await house.invited({"CallSid": "CA1"})
        socket = await talk(house)
        await socket.receive_bytes(timeout=LIMIT_S)
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(house.registry.drain(60))
            await until(lambda: house.registry.draining)
            assert (await house.http.get(f"{house.admin_url}/readyz")).status == 503
            assert (await refused(house, "/v1/ws/pcm"))[0] == 503
            text = await (await house.webhook("/twilio/voice", {"CallSid": "CA2"})).text()
            assert "<Say>This gateway is being restarted." in text
            # A call that was invited before still gets in, and one that lost its socket comes back.
            assert "<Connect" in await (await house.webhook("/twilio/after", {"CallSid": "CA1"})).text()
            await socket.send_bytes(b"\x05\x06")
            assert await socket.receive_bytes(timeout=LIMIT_S) == b"\x05\x06"
            await house.webhook("/twilio/status", {"CallSid": "CA1", "CallStatus": "completed"})
            assert not draining.done()
            await socket.send_str('{"type": "session.end"}')
        assert not house.registry.listing()


async def test_drain_ends_in_time() -> None:
    """When the drain time is over the calls are told to stop, and one that does not is cut off."""
    limits = LimitSettings(goodbye_s=0.05)
    async with serving(settings_of(limits=limits)) as house:
        polite, stubborn = await talk(house), await talk(house)
        for socket in (polite, stubborn):
            await socket.receive_bytes(timeout=LIMIT_S)
        house.runners[1].stubborn = True
        await house.registry.drain(0.05)
        assert house.runners[0].offered == [StopRequested("the gateway is stopping")]
        assert len(house.registry.listing()) == 1
        house.registry.cut_off()
        await until(lambda: not house.registry.listing())
        assert (await closing(polite))[0] == 1000
        assert (await closing(stubborn))[0] == 1000


async def test_drain_in_a_hurry() -> None:
    """A drain that is hurried does not wait for its time."""
    async with serving() as house:
        socket = await talk(house)
        await socket.receive_bytes(timeout=LIMIT_S)
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            group.create_task(house.registry.drain(600))
            await until(lambda: house.registry.draining)
            house.registry.hurry()
        assert not house.registry.listing()
        await socket.close()


async def test_each_hurry_goes_one_step_further() -> None:
    """From waiting to telling the calls to stop, and from waiting for their last words to breaking off."""
    async with serving() as house:
        socket = await talk(house)
        await socket.receive_bytes(timeout=LIMIT_S)
        runner = house.call_runner()
        runner.stubborn = True
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            draining = group.create_task(house.registry.drain(600))
            await until(lambda: house.registry.draining)
            house.registry.hurry()
            await until(lambda: runner.offered)
            assert not draining.done()
            house.registry.hurry()
        assert house.registry.listing()
        house.registry.cut_off()
        await socket.close()
