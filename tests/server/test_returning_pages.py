"""A page that comes back to its call: it can set no header on a socket, so its proof stands in the address."""

from api_client import api_house

from gateway.settings import AccessSettings, KeySettings, Secret

KEYS = AccessSettings(keys=(KeySettings(name="site", key=(Secret("k1"),), may=("connect", "tokens")),))


async def test_a_page_comes_back_with_the_resume_token_in_the_query() -> None:
    """A token is used up by its first socket; the session's own proof opens the next one, for that session only."""
    async with api_house(access=KEYS) as house:
        async with house.http.get(
            f"{house.url}/v1/token?expires_in_seconds=60", headers={"Authorization": "k1"}
        ) as answer:
            token = (await answer.json())["token"]
        async with house.client(f"/v1/ws/browser?token={token}") as first:
            ready = await first.begin()
            first.drop()
        async with house.client(f"/v1/ws/browser?token={ready['resume_token']}") as other:
            await other.send("session.update", session={})
            assert (await other.until("session.error"))["code"] == "unauthorized"
        assert not house.refused
