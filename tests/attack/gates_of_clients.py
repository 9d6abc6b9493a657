"""How clients prove themselves, and everything that resembles it: a gateway key, a minted token, or this machine."""

import base64
import json
from urllib.parse import quote

from castle import KEY, LIMITED_KEY, MUTE_KEY, PAGE, Attempt, Castle
from dialects import DIALECTS
from gates import Fields, Gate, TwilioGate, VonageGate, bearer, changed


def wrong_keys() -> dict[str, Fields]:
    """Every form of a key that is none."""
    basic = base64.b64encode(f"all:{KEY}".encode()).decode()
    return {
        "another key": bearer("another key"),
        "an empty key": bearer(""),
        "the beginning of a key": bearer(KEY[:-1]),
        "a key and more": bearer(f"{KEY}x"),
        "a key twice": bearer(f"{KEY},{KEY}"),
        "a key in capitals": bearer(KEY.upper()),
        "a key in another scheme": (("Authorization", f"Basic {basic}"),),
        "a key in another field": (("X-Api-Key", KEY),),
        "a key as a cookie": (("Cookie", f"token={KEY}; Authorization={KEY}"),),
        "two fields, one of them right": (*bearer("another key"), *bearer(KEY)),
        "a key without the right to connect": bearer(MUTE_KEY),
        "a carrier's secret": bearer("the-auth-token-of-the-account"),
    }


class PcmGate(Gate):
    """Raw PCM: a key, a token that was minted with one, or on a gateway without keys this machine."""

    name = "pcm"
    dialect = DIALECTS["pcm"]
    is_carrier = False
    own_token = True
    query = "encoding=pcm_mulaw&sample_rate=8000&events=1"

    def target(self, castle: Castle, callee: str) -> str:
        """The address that a client of this dialect opens."""
        return f"/v1/ws/{self.name}?{self.query}&caller={quote(castle.number())}&callee={callee}"

    def plain(self, castle: Castle, callee: str = "prize") -> Attempt:
        """A way in with a key, or on a gateway without keys with nothing."""
        proof = bearer(KEY) if castle.place != "loopback" else ()
        return self.somewhere(castle, self.target(castle, callee), proof)

    async def mint(self, castle: Castle, key: str = KEY, seconds: int = 60) -> str:
        """A token as a page is given one."""
        proof = bearer(key) if castle.place != "loopback" else ()
        asked = Attempt(
            what="mint", method="GET", target=f"/v1/token?expires_in_seconds={seconds}", fields=proof
        )
        answer = await castle.knock(asked)
        assert answer.status == 200, answer
        token: str = json.loads(answer.text)["token"]
        return token

    def with_token(self, castle: Castle, token: str) -> Attempt:
        """A page that has a token."""
        page = (("Origin", PAGE),) if castle.place != "loopback" else ()
        return self.somewhere(castle, f"/v1/ws/{self.name}?{self.query}&token={token}", page)

    async def invite(self, castle: Castle, callee: str = "prize") -> Attempt:
        if callee != "prize":  # whom one calls is believed of keys alone
            return self.plain(castle, callee)
        return self.with_token(castle, await self.mint(castle))

    async def unproven(self, castle: Castle) -> list[Attempt]:
        if castle.place == "loopback":
            return []  # who is on this machine needs none
        target = self.target(castle, "prize")
        return [
            changed(self.somewhere(castle, target, ()), "no key"),
            changed(
                self.somewhere(castle, target.replace(f"/{self.name}?", "?"), ()),
                "no key, on the unified address",
            ),
            changed(self.somewhere(castle, f"{target}&token=", ()), "an empty token"),
        ]

    async def wrongly_proven(self, castle: Castle) -> list[Attempt]:
        if castle.place == "loopback":
            return []
        target = self.target(castle, "prize")
        in_the_path = target.replace(f"/{self.name}", f"/{self.name}/{KEY}")
        carriers = [
            (await gate.invite(castle)).target.rpartition("/")[2] for gate in (TwilioGate(), VonageGate())
        ]
        return [
            *(changed(self.somewhere(castle, target, fields), what) for what, fields in wrong_keys().items()),
            changed(self.somewhere(castle, f"{target}&token={KEY}", ()), "a key in the query"),
            changed(self.somewhere(castle, in_the_path, ()), "a key in the path"),
            changed(self.with_token(castle, "A" * 43), "a token that was never minted"),
            *(changed(self.with_token(castle, token), "a carrier's token") for token in carriers),
        ]

    async def aged(self, castle: Castle) -> list[Attempt]:
        return [
            changed(self.with_token(castle, await self.mint(castle, seconds=3)), "a token that is too old")
        ]

    async def beyond_its_route(self, castle: Castle) -> list[Attempt]:
        """Ways to a route that a key may not use, and that whoever has a token of it claims to need."""
        minted = self.with_token(castle, await self.mint(castle, LIMITED_KEY))
        claimed = f"{minted.target}&callee=good&caller=%2B1"
        return [
            changed(
                self.somewhere(castle, self.target(castle, "prize"), bearer(LIMITED_KEY)), "another route"
            ),
            changed(minted, "a callee of its own", target=claimed),
        ]


class BrowserGate(PcmGate):
    """The Voice Agent API: the same."""

    name = "browser"
    dialect = DIALECTS["browser"]
    query = "a=b"


class ApiGate(PcmGate):
    """What is asked over HTTP with a key: calls, tokens and the provider's interface."""

    name = "api"
    own_token = False
    TARGETS = (
        "/v1/calls",
        "/v1/calls/call_1",
        "/v1/token?expires_in_seconds=60",
        "/v1/agents",
        "/v1/sessions",
    )

    def somewhere(self, castle: Castle, target: str, fields: Fields) -> Attempt:  # noqa: ARG002 - it has no way
        return Attempt(what="", method="GET", target=target, fields=fields)

    async def invite(self, castle: Castle, callee: str = "prize") -> Attempt:  # noqa: ARG002 - it calls nobody
        return self.somewhere(castle, "/v1/calls", bearer(KEY) if castle.place != "loopback" else ())

    async def aged(self, castle: Castle) -> list[Attempt]:  # noqa: ARG002 - a key has no age
        return []

    async def unproven(self, castle: Castle) -> list[Attempt]:
        if castle.place == "loopback":
            return []
        asked = [changed(self.somewhere(castle, target, ()), f"no key: {target}") for target in self.TARGETS]
        changes = [
            Attempt(what="no key: hang up", method="DELETE", target="/v1/calls/call_1"),
            Attempt(what="no key: make an agent", method="POST", target="/v1/agents", body=b"{}"),
        ]
        return [*asked, *changes]

    async def wrongly_proven(self, castle: Castle) -> list[Attempt]:
        if castle.place == "loopback":
            return []
        return [
            changed(self.somewhere(castle, target, fields), f"{what}: {target}")
            for target in self.TARGETS
            for what, fields in wrong_keys().items()
        ]

    async def beyond_its_route(self, castle: Castle) -> list[Attempt]:
        """What a key may not ask for."""
        return [
            changed(self.somewhere(castle, "/v1/sessions", bearer(LIMITED_KEY)), "no right to pass on"),
            changed(
                self.somewhere(castle, "/v1/calls", bearer("the-key-of-somebody-else")),
                "no right to see calls",
            ),
        ]


GATES: dict[str, Gate] = {
    "twilio": TwilioGate(),
    "vonage": VonageGate(),
    "browser": BrowserGate(),
    "pcm": PcmGate(),
    "api": ApiGate(),
}
"""By the adapter's name; ``api`` is what is no adapter, and asked for with the same keys."""
