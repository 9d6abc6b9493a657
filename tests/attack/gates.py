"""How each adapter's peers prove themselves, and everything that resembles it.

A gate makes ways in. `invite` makes one that is good; what the attacks do to it is written here where it differs from
dialect to dialect: what a wrong proof is, what is too old, which call is another's.
"""

import hashlib
import json
import secrets
import time
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import vonage_tokens
from castle import (
    ACCOUNT,
    API_KEY,
    APPLICATION,
    TWILIO_TOKEN,
    VONAGE_SECRET,
    Attempt,
    Castle,
)
from dialect import Dialect, Way
from dialects import DIALECTS
from serving import media_url, sign

FORM = "application/x-www-form-urlencoded"
Fields = tuple[tuple[str, str], ...]


def changed(attempt: Attempt, what: str, **changes: Any) -> Attempt:
    """An attempt in which something is different."""
    return msgspec.structs.replace(attempt, what=what, **changes)


def bearer(value: str) -> Fields:
    """The header field of a key or a token."""
    return (("Authorization", f"Bearer {value}"),)


class Gate:
    """One adapter's door."""

    name: ClassVar[str]
    dialect: Dialect
    is_carrier: ClassVar[bool]
    own_token: ClassVar[bool]
    """Whether a socket brings a one-time token."""

    async def invite(self, castle: Castle, callee: str = "prize") -> Attempt:
        """A way in as an honest peer has it, not used yet."""
        raise NotImplementedError

    async def unproven(self, castle: Castle) -> list[Attempt]:
        """Ways in without any proof, or with a part of it."""
        raise NotImplementedError

    async def wrongly_proven(self, castle: Castle) -> list[Attempt]:
        """Ways in with a proof that is none."""
        raise NotImplementedError

    async def aged(self, castle: Castle) -> list[Attempt]:
        """Ways in that are good now, or were never, and will be too old when the one-time tokens are."""
        raise NotImplementedError

    def somewhere(self, castle: Castle, target: str, fields: Fields) -> Attempt:
        """A way to any address, of somebody who has not been invited."""
        way = Way(
            castle.origin.replace("http", "ws", 1) + target, call="CA" + "f" * 32, stream="MZ" + "f" * 32
        )
        return Attempt(what="", target=target, fields=fields, way=way)


class TwilioGate(Gate):
    """Twilio: a signature over the address, and our token."""

    name = "twilio"
    dialect = DIALECTS["twilio"]
    is_carrier = True
    own_token = True

    def webhook(
        self,
        castle: Castle,
        form: dict[str, str],
        path: str = "/twilio/voice",
        *,
        token: str = TWILIO_TOKEN,
        signed: str = "",
    ) -> Attempt:
        """A webhook, signed for its own address or for another one."""
        told = {
            "CallSid": "CA" + secrets.token_hex(16),
            "AccountSid": ACCOUNT,
            "To": "prize",
            "CallStatus": "ringing",
        }
        fields = {**told, "From": castle.number(), **form}
        signature = sign(signed or castle.origin + path, fields, token)
        return Attempt(
            what="a webhook",
            target=path,
            method="POST",
            fields=(("Content-Type", FORM), ("X-Twilio-Signature", signature)),
            body=urlencode(fields).encode(),
        )

    def socket(
        self, _castle: Castle, url: str, call: str, *, token: str = TWILIO_TOKEN, signed: str = ""
    ) -> Attempt:
        """An upgrade, signed for its own address or for another one."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        way = Way(url, call=call, stream="MZ" + secrets.token_hex(16))
        return Attempt(
            what="a socket",
            target=target,
            fields=(("X-Twilio-Signature", sign(signed or url, {}, token)),),
            way=way,
        )

    async def invite(self, castle: Castle, callee: str = "prize", **form: str) -> Attempt:
        asked = self.webhook(castle, {"To": callee, **form})
        answer = await castle.knock(asked)
        assert answer.status == 200, answer
        call = dict(parse_qsl(asked.body.decode()))["CallSid"]
        return self.socket(castle, media_url(answer.text), call)

    def with_token_inside(self, attempt: Attempt, target: str) -> tuple[str, ...]:
        """What begins a stream that brings its token as a parameter."""
        hello, start = (str(message) for message in self.dialect.begin(attempt.way))
        told = json.loads(start)
        told["start"]["customParameters"] = {"token": target.rpartition("/")[2]}
        return hello, json.dumps(told)

    async def unproven(self, castle: Castle) -> list[Attempt]:
        good = await self.invite(castle)
        signed = self.socket(castle, castle.origin.replace("http", "ws", 1) + "/v1/ws/twilio", good.way.call)
        inside = self.with_token_inside(good, good.target)
        none = self.with_token_inside(good, "")
        found = [
            changed(good, "a token and no signature", fields=()),
            self.somewhere(castle, "/v1/ws/twilio", ()),
            changed(good, "no signature, on the unified address", target="/v1/ws", fields=(), begin=inside),
            changed(self.webhook(castle, {}), "an unsigned webhook", fields=(("Content-Type", FORM),)),
            changed(
                self.webhook(castle, {}, "/twilio/after"), "an unsigned question what follows", fields=()
            ),
        ]
        if castle.place != "loopback":
            found.append(changed(signed, "a signature and no token", begin=none))
        return found

    async def wrongly_proven(self, castle: Castle) -> list[Attempt]:
        good = await self.invite(castle)
        ws = castle.origin.replace("http", "ws", 1)
        right = good.fields[0][1]
        json_body = b'{"CallSid":"CA1"}'
        hashed = f"/twilio/voice?CallSid=CA1&AccountSid={ACCOUNT}&bodySHA256={hashlib.sha256(b'other').hexdigest()}"
        found = [
            self.socket(castle, good.way.url, good.way.call, token="another account's"),
            self.socket(castle, f"{ws}/v1/ws/twilio/{'A' * 43}", good.way.call),
            changed(good, "a signature cut short", fields=(("X-Twilio-Signature", right[:-1]),)),
            changed(good, "an empty signature", fields=(("X-Twilio-Signature", ""),)),
            changed(good, "two signatures in one", fields=(("X-Twilio-Signature", f"{'A' * 27}=,{right}"),)),
            self.webhook(castle, {}, token=""),
            self.webhook(castle, {}, token="another account's"),
            changed(
                self.webhook(castle, {}),
                "a body that was changed",
                body=urlencode({"CallSid": "CA2", "AccountSid": ACCOUNT}).encode(),
            ),
            Attempt(
                what="a body that is not hashed",
                method="POST",
                target=hashed,
                body=json_body,
                fields=(
                    ("Content-Type", "application/json"),
                    ("X-Twilio-Signature", sign(castle.origin + hashed, {}, TWILIO_TOKEN)),
                ),
            ),
        ]
        if castle.place != "loopback":
            found.append(self.webhook(castle, {"AccountSid": "AC" + "1" * 32}))
        return found  # fmt: skip

    async def aged(self, castle: Castle) -> list[Attempt]:
        return [await self.invite(castle)]


class VonageGate(Gate):
    """Vonage: a signed token of theirs, and our token."""

    name = "vonage"
    dialect = DIALECTS["vonage"]
    is_carrier = True
    own_token = True

    def proof(
        self, body: bytes = b"", *, secret: str = VONAGE_SECRET, alg: str = "HS256", **claims: Any
    ) -> Fields:
        """A proof of now, in which something may be different."""
        told = {"api_key": API_KEY, "application_id": APPLICATION, "jti": secrets.token_hex(8), **claims}
        now = told.pop("now", time.time())
        return bearer(vonage_tokens.token(vonage_tokens.claims_of(body, now=now, **told), secret, alg))

    def webhook(
        self, castle: Castle, path: str = "/vonage/answer", fields: dict[str, str] | None = None, **proof: Any
    ) -> Attempt:
        """An answer webhook by POST."""
        told = {
            "from": castle.number(),
            "to": "prize",
            "uuid": secrets.token_hex(16),
            "conversation_uuid": "CON-1",
        }
        body = json.dumps({**told, **(fields or {})}).encode()
        signed = self.proof(proof.pop("hashed", body), **proof)
        return Attempt(
            what="a webhook",
            target=path,
            method="POST",
            fields=(("Content-Type", "application/json"), *signed),
            body=body,
        )

    async def invite(self, castle: Castle, callee: str = "prize") -> Attempt:
        answer = await castle.knock(self.webhook(castle, fields={"to": callee}))
        assert answer.status == 200, answer
        endpoint = json.loads(answer.text)[0]["endpoint"][0]
        first = {
            "event": "websocket:connected",
            "content-type": endpoint["content-type"],
            **endpoint["headers"],
        }
        way = Way(endpoint["uri"], call=endpoint["headers"]["call_uuid"], first=json.dumps(first))
        return Attempt(what="a socket", target=urlsplit(endpoint["uri"]).path, fields=self.proof(), way=way)

    async def unproven(self, castle: Castle) -> list[Attempt]:
        good = await self.invite(castle)
        first = json.loads(good.way.first)
        tokenless = json.dumps({name: value for name, value in first.items() if name != "token"})
        hook = self.webhook(castle)
        return [
            changed(good, "a token and no signature", fields=()),
            self.somewhere(castle, "/v1/ws/vonage", ()),
            changed(good, "no signature, on the unified address", target="/v1/ws", fields=()),
            changed(good, "a signature and no token", target="/v1/ws/vonage", begin=(tokenless,)),
            changed(hook, "an unsigned webhook", fields=hook.fields[:1]),
            Attempt(
                what="an unsigned webhook by GET",
                method="GET",
                target="/vonage/answer?uuid=1&from=1&to=prize",
            ),
            changed(hook, "an unsigned event", target="/vonage/event", fields=hook.fields[:1]),
        ]

    async def wrongly_proven(self, castle: Castle) -> list[Attempt]:
        good = await self.invite(castle)
        right = self.proof()[0][1]
        wrong: dict[str, Fields] = {
            "another secret": self.proof(secret="another secret"),
            "an empty secret": self.proof(secret=""),
            "another issuer": self.proof(iss="Nexmo"),
            "no serial number": self.proof(jti=None),
            "no time": self.proof(iat=None),
            "of ten minutes ago": self.proof(now=time.time() - 600),
            "expired": self.proof(exp=time.time() - 60),
            "from the future": self.proof(now=time.time() + 600),
            "a signature cut short": (("Authorization", right[:-1]),),
            "not as a bearer": (("Authorization", right.removeprefix("Bearer ")),),
        }
        if castle.place != "loopback":
            wrong["another account"] = self.proof(api_key="other")
            wrong["another application"] = self.proof(application_id="other")
        hook = self.webhook(castle)
        return [
            *(changed(good, what, fields=fields) for what, fields in wrong.items()),
            changed(good, "a token that was never minted", target="/v1/ws/vonage/" + "A" * 43),
            changed(hook, "a body that was changed", body=hook.body.replace(b"CON-1", b"CON-2")),
            changed(self.webhook(castle, payload_hash=None), "a body that is not hashed"),
            changed(self.webhook(castle, secret="another secret"), "a webhook with another secret"),
        ]

    async def aged(self, castle: Castle) -> list[Attempt]:
        good, now = await self.invite(castle), time.time()
        return [
            changed(good, "a one-time token that is too old"),
            changed(self.webhook(castle, now=now - 600), "a webhook of ten minutes ago"),
            changed(self.webhook(castle, exp=now - 60), "a webhook whose proof has expired"),
        ]
