"""A thousand callers of every kind at once against limits that hold to the call, on a gateway that really listens."""

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from live_gateway import LiveGateway, live_gateway
from serving import sign
from serving import until as soon
from vonage_tokens import SECRET, claims_of, token

LIMIT_S = 100.0
KEY = "the-key-of-this-test-and-no-other"
CONFIGURATION = f"""
server: {{port: 0, admin_port: 0, close_s: 1, first_message_s: 300}}
agents: {{patient: {{kind: offline}}}}
routes:
  - {{name: narrow, agent: patient, match: {{callee: ["+490*"]}}, calls: 7}}
  - {{name: default, agent: patient}}
adapters:
  twilio: {{auth_token: "12345"}}
  vonage: {{signature_secret: "{SECRET}"}}
  browser: {{}}
  pcm: {{}}
access:
  token_s: 300
  keys:
    - {{name: wide, key: "{KEY}", may: [connect, tokens]}}
    - {{name: small, key: "{KEY}-2", may: [connect, tokens], calls: 9}}
limits: {{calls: 50, offline_calls: 1, silence_s: 3600}}
"""

Start = Callable[["Street", int], Awaitable[str]]


class Street:
    """Callers of one gateway; the sockets that got a place stay open until they are told to leave."""

    def __init__(self, gateway: LiveGateway, http: aiohttp.ClientSession, sockets: AsyncExitStack) -> None:
        self.gateway = gateway
        self.url: str = gateway.url
        self.http = http
        self.sockets = sockets
        self.peak = 0
        """Most calls that were live when one of the callers got an answer."""

    async def race(self, starts: dict[Start, int]) -> Counter[str]:
        """Begin so many calls of each kind in one instant; how often each answer came."""
        callers = [(start, number) for start, many in starts.items() for number in range(many)]
        callers.sort(key=lambda caller: caller[1] / starts[caller[0]])  # kinds mixed
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            tasks = [group.create_task(_one(start, self, number)) for start, number in callers]
        return Counter(task.result() for task in tasks)

    async def open(self, path: str, key: str = KEY) -> aiohttp.ClientWebSocketResponse:
        """Open a client's socket; it is closed when the callers leave."""
        headers = {"Authorization": key} if key else {}
        socket = await self.http.ws_connect(self.url + path, headers=headers)
        self.sockets.push_async_callback(socket.close)
        return socket

    async def leave(self) -> None:
        """Close all sockets, and hang up the telephones that are still waiting for theirs."""
        await self.sockets.aclose()
        for call in self.gateway.registry.listing():
            call.leave("the carrier says that the call is over")
        await soon(lambda: not self.gateway.registry.listing())


async def _one(start: Start, street: Street, number: int) -> str:
    answer = await start(street, number)
    street.peak = max(street.peak, len(street.gateway.registry.listing()))
    return answer


async def twilio(street: Street, number: int, callee: str = "+33123456789") -> str:
    """A call from Twilio: its webhook, and what it is answered."""
    fields = {"CallSid": f"CA{uuid.uuid4().hex}", "From": f"+1415{number:07}", "To": callee}
    headers = {"X-Twilio-Signature": sign(f"{street.url}/twilio/voice", fields)}
    answer = await street.http.post(f"{street.url}/twilio/voice", data=fields, headers=headers)
    text = await answer.text()
    assert answer.status == 200
    if "<Connect" in text:
        return "taken"
    assert "<Say>All our lines are busy. Please call again later.</Say>" in text
    return "spoken to"


async def vonage(street: Street, number: int) -> str:
    """A call from Vonage: its webhook, and what it is answered."""
    call = {"from": f"4477{number:08}", "to": "33123456789", "uuid": str(uuid.uuid4())}
    body = json.dumps(call).encode()
    proof = token(claims_of(body, now=time.time(), jti=str(uuid.uuid4())))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {proof}"}
    answer = await street.http.post(f"{street.url}/vonage/answer", data=body, headers=headers)
    document = await answer.json()
    assert answer.status == 200
    if any(step["action"] == "connect" for step in document):
        return "taken"
    assert document == [{"action": "talk", "text": "All our lines are busy. Please call again later."}]
    return "spoken to"


async def pcm(street: Street, _number: int, key: str = KEY, query: str = "") -> str:
    """A raw PCM client, which is refused before the upgrade."""
    try:
        socket = await street.open(f"/v1/ws/pcm?{query}", key)
    except aiohttp.WSServerHandshakeError as error:
        has_hint = error.headers is not None and int(error.headers["Retry-After"]) > 0
        return f"{error.status}" if has_hint else "no hint when to come again"
    await socket.send_bytes(bytes(640))
    return "taken"


async def browser(street: Street, _number: int, key: str = KEY, query: str = "") -> str:
    """A client of the Voice Agent API, which is refused in its own words."""
    socket = await street.open(f"/v1/ws/browser?{query}", key)
    await socket.send_json({"type": "session.update", "session": {}})
    while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
        event = message.json()
        if event["type"] == "session.error":
            return str(event["code"])
        if event["type"] in ("session.updated", "session.ready"):
            return "taken"
    raise AssertionError(f"closed with {socket.close_code} without a word")


@asynccontextmanager
async def street_of(configuration: str = CONFIGURATION) -> AsyncIterator[Street]:
    async with (
        live_gateway(configuration) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        AsyncExitStack() as sockets,
    ):
        yield Street(gateway, http, sockets)


@pytest.mark.timeout(300)
async def test_a_thousand_racing_starts_against_fifty_places() -> None:
    """Of 1000 calls that begin at once, over all adapters, exactly 50 are taken and each other one is told in its way."""
    async with street_of() as street:
        answers = await street.race({twilio: 400, vonage: 300, pcm: 200, browser: 100})
        assert answers["taken"] == 50
        assert sum(answers.values()) == 1000
        assert set(answers) <= {"taken", "spoken to", "503", "at_capacity"}
        assert len(street.gateway.registry.listing()) == street.peak == 50
        # Calls that end give their places back, all of them and no more.
        await street.leave()
        again = await street.race({twilio: 40, pcm: 40, browser: 20})
        assert again["taken"] == street.peak == 50
        await street.leave()


@pytest.mark.timeout(240)
async def test_a_route_has_places_of_its_own() -> None:
    """Racing calls to a route with a limit get exactly its places, and the rest of the gateway is free for others."""

    async def to_narrow(street: Street, number: int) -> str:
        return await twilio(street, number, "+4901234")

    async def pcm_to_narrow(street: Street, number: int) -> str:
        return await pcm(street, number, query="callee=%2B4905678")

    async with street_of() as street:
        answers = await street.race({to_narrow: 100, pcm_to_narrow: 50})
        assert answers["taken"] == 7
        assert (await street.race({twilio: 100}))["taken"] == 43
        await street.leave()
        assert (await street.race({pcm_to_narrow: 20}))["taken"] == 7


@pytest.mark.timeout(240)
async def test_a_caller_has_few_places_however_it_calls() -> None:
    """Calls of one number that race get exactly `limits.calls_per_caller`; those that fail take nobody's place."""

    async def same(street: Street, _number: int) -> str:
        fields = {"CallSid": f"CA{uuid.uuid4().hex}", "From": "+14155550000", "To": "+33123456789"}
        headers = {"X-Twilio-Signature": sign(f"{street.url}/twilio/voice", fields)}
        answer = await street.http.post(f"{street.url}/twilio/voice", data=fields, headers=headers)
        text = await answer.text()
        assert "<Connect" in text or "too many calls from this number" in text
        return "taken" if "<Connect" in text else "too many"

    async def others(street: Street, number: int) -> str:
        return await twilio(street, number + 1000)

    async with street_of() as street:
        answers = await street.race({same: 200, others: 47})
        assert answers == {"taken": 3 + 47, "too many": 197}


@pytest.mark.timeout(240)
async def test_a_keys_places_are_shared_by_its_tokens() -> None:
    """Sockets that come with a key and with tokens that it minted count together, over both kinds of client."""
    async with street_of() as street:
        minted: list[str] = []
        for _ in range(40):
            answer = await street.http.get(
                f"{street.url}/v1/token?expires_in_seconds=60", headers={"Authorization": f"{KEY}-2"}
            )
            minted.append((await answer.json())["token"])

        async def with_token(street: Street, number: int) -> str:
            return await browser(street, number, key="", query=f"token={minted[number]}")

        async def with_key(street: Street, number: int) -> str:
            return await pcm(street, number, key=f"{KEY}-2")

        answers = await street.race({with_token: 40, with_key: 40})
        assert answers["taken"] == 9
        assert answers["concurrency_exceeded"] + answers["503"] == 71
        assert (await street.race({pcm: 60}))["taken"] == 41


async def test_bookings_that_nobody_joins_give_their_places_back() -> None:
    """Carriers that never come with their token keep a place no longer than the token is good, and then it is free."""
    few = CONFIGURATION.replace("{calls: 50", "{calls: 3").replace("token_s: 300", "token_s: 5")
    async with street_of(few) as street:
        for _ in range(2):
            answers = await street.race({twilio: 5, vonage: 4})
            assert answers == {"taken": 3, "spoken to": 6}
            await soon(lambda: not street.gateway.registry.listing())


async def test_a_call_that_was_refused_may_come_when_one_has_ended() -> None:
    """The place of a call that ended is taken by the next one who asks, and by one only."""
    async with street_of(CONFIGURATION.replace("{calls: 50", "{calls: 1")) as street:
        assert await twilio(street, 1) == "taken"
        assert await twilio(street, 2) == "spoken to"
        (call,) = street.gateway.registry.listing()
        call.leave("the carrier says that the call is over")
        await soon(lambda: not street.gateway.registry.listing())
        assert (await street.race({twilio: 20}))["taken"] == 1
