"""Clients whose socket broke and who come back to their session, over real sockets."""

import pytest
from api_client import api_house, soon
from client_sessions import KEYS, OPEN, SECOND, TOOL, Echoing, agents, token_of
from fakes import FakeAgent


async def test_a_client_that_comes_back_finds_its_call() -> None:
    """Same id, same agent session; what it missed is told, unheard sound is sent again, its tool call is repeated."""
    async with api_house(Echoing(), agents=agents(), routes=OPEN) as house, house.client() as first:
        ready = await first.begin(tools=[TOOL])
        house.agent.say("tool.call", call_id="c1", name="get_stock", arguments={})
        await first.until("tool.call")
        house.agent.speak("r1", SECOND * 3)
        await first.until_sound("r1", 4800)
        first.drop()
        await soon(lambda: house.registry.listing()[0].phase == "caller_lost")
        house.agent.say("transcript.user", text="Hello?", item_id="m1")
        async with house.client() as second:
            await second.send("session.resume", session_id=ready["session_id"])
            again = await second.until("session.ready")
            assert (again["session_id"], again["resume_token"]) == (
                ready["session_id"],
                ready["resume_token"],
            )
            assert again["config"] == ready["config"]
            assert second.order == ["session.ready"]
            assert (await second.until("tool.call"))["call_id"] == "c1"
            await second.send("tool.result", call_id="c1", result="{}")
            done = await second.until("reply.done")
            assert done["reply_id"] == "r1"
            heard = len(first.sound["r1"]) + len(second.sound["r1"])
            assert len(SECOND * 3) <= heard <= len(SECOND * 3) + 0.5 * 48_000
            assert (SECOND * 3).endswith(second.sound["r1"][-960:])
            assert (await second.until("transcript.user"))["text"] == "Hello?"
            assert house.agent.kinds().count("session.update") == 1
            await second.send("session.end")
            assert await second.closed() == 1000


async def test_a_resume_token_opens_its_own_session_only() -> None:
    """As key it brings back its session; for another session or a new one it is worth nothing."""
    async with api_house(access=KEYS) as house, house.client(Authorization="k1") as first:
        one = await first.begin()
        async with house.client(Authorization="k1") as other:
            two = await other.begin()
            bearer = f"Bearer {one['resume_token']}"
            async with house.client(Authorization=bearer) as third:
                await third.send("session.resume", session_id=two["session_id"])
                assert (await third.until("session.error"))["code"] == "session_forbidden"
                assert await third.closed() == 1008
            async with house.client(Authorization=bearer) as third:
                await third.send("session.update")
                assert (await third.until("session.error"))["code"] == "unauthorized"
                assert await third.closed() == 1008
            async with house.client(Authorization=bearer) as third:
                await third.send("session.resume", session_id=one["session_id"])
                assert (await third.until("session.ready"))["session_id"] == one["session_id"]
                assert await first.closed() == 1000


async def test_only_its_own_key_brings_a_session_back() -> None:
    """Another key's session is forbidden, and a token may not take over what a key has begun."""
    async with api_house(access=KEYS) as house, house.client(Authorization="k1") as first:
        session_id = (await first.begin())["session_id"]
        for path, headers in (
            ("/v1/ws/browser", {"Authorization": "k2"}),
            (f"/v1/ws/browser?token={await token_of(house)}", {}),
        ):
            async with house.client(path, **headers) as second:
                await second.send("session.resume", session_id=session_id)
                assert (await second.until("session.error"))["code"] == "session_forbidden"
                assert await second.closed() == 1008


async def test_a_fresh_token_brings_a_tokens_session_back() -> None:
    """A client with tokens needs a new one for each connection, as at the provider."""
    async with api_house(access=KEYS) as house:
        used = await token_of(house)
        async with house.client(f"/v1/ws/browser?token={used}") as first:
            session_id = (await first.begin())["session_id"]
            first.drop()
            async with house.client(f"/v1/ws/browser?token={used}") as second:
                assert (await second.until("session.error"))["code"] == "unauthorized"
            async with house.client(f"/v1/ws/browser?token={await token_of(house)}") as third:
                await third.send("session.resume", session_id=session_id)
                await third.until("session.ready")


async def test_a_calls_id_is_not_its_session() -> None:
    """Whoever reads a call's id in a log, and has a token of the same page, finds no session by it."""
    async with api_house(access=KEYS) as house:
        path = "/v1/ws/browser?token="
        async with house.client(path + await token_of(house)) as first:
            session_id = (await first.begin())["session_id"]
            (call,) = house.registry.listing()
            digits = call.call_id.removeprefix("call_")
            assert digits not in session_id
            for guess in (call.call_id, f"sess_{digits}", digits):
                other_path = path + await token_of(house)
                async with house.client(other_path) as other:
                    await other.send("session.resume", session_id=guess)
                    assert (await other.until("session.error"))["code"] == "session_not_found"
                    assert await other.closed() == 1008
        assert house.registry.listing() == [call]


@pytest.mark.parametrize("session_id", ["sess_0123456789abcdef01234567", "nonsense", ""])
async def test_a_session_that_is_not_there(session_id: str) -> None:
    """An unknown or ended session is `session_not_found` and 1008."""
    async with api_house() as house, house.client() as client:
        await client.send("session.resume", session_id=session_id)
        error = await client.until("session.error")
        assert (error["code"], error["message"]) == (
            "session_not_found",
            "Session not found or grace window has expired",
        )
        assert await client.closed() == 1008


async def test_a_session_is_kept_for_a_while() -> None:
    """After the grace window the session is over, at the agent too; an ended one cannot be resumed at all."""
    async with api_house(limits={"return_s": 0.1}) as house:
        async with house.client() as first:
            session_id = (await first.begin())["session_id"]
            first.drop()
            await soon(lambda: not house.registry.listing())
        assert house.agent.ended_at is not None
        async with house.client() as second:
            await second.send("session.resume", session_id=session_id)
            assert (await second.until("session.error"))["code"] == "session_not_found"


async def test_a_session_outlives_the_sessions_behind_it() -> None:
    """When the provider's session is lost and renewed, the client is told nothing of it and keeps its id."""
    async with api_house(FakeAgent(), FakeAgent()) as house, house.client() as client:
        ready = await client.begin()
        house.agent.drop()
        await soon(lambda: len(house.street.opened) == 2 and house.agent.received)
        house.agent.say("reply.started", reply_id="r2", session_id="sess_1")
        started = await client.until("reply.started", reply_id="r2")
        assert started["session_id"] == ready["session_id"]
        assert client.order.count("session.ready") == 1
