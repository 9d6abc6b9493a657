"""Twilio's side of a media stream (reference: carriers, section 2)."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from gateway.audio import MULAW_8K
from gateway.certify.speaker import ClearAsked, Heard, MarkAsked, Message, Sound, Speaker, Way, Wrong
from gateway.simulate.twilio_http import (
    Addresses,
    CallIdentity,
    TwilioRequests,
    open_session,
    resolve,
    resolve_stream,
)
from gateway.simulate.twilio_signature import sign, stream_url_to_sign
from gateway.simulate.twilio_wire import Clear, Mark, Media, Refused, StreamWire
from gateway.simulate.twiml import read_twiml
from gateway.simulate.webhook import WebhookError

_SECRET: Final = "certify-auth-token"  # noqa: S105 - of a gateway that lives for one run
_ACCOUNT: Final = "AC" + "0" * 32


class TwilioSpeaker(Speaker):
    """One call of Twilio's."""

    adapter = "twilio"
    section: ClassVar[Mapping[str, Any]] = {"auth_token": _SECRET, "account_sid": _ACCOUNT}
    sources: ClassVar[Mapping[str, str]] = {
        "proof": "carriers 2.5", "once": "carriers 2.4", "start": "carriers 2.2", "keys": "carriers 2.2",
        "reply": "carriers 2.3", "clear": "carriers 2.3", "stale": "carriers 2.3", "heard": "carriers 2.3",
        "stop": "carriers 2.2", "unknown": "carriers 2.2", "return": "carriers 2.1",
    }  # fmt: skip
    audio = MULAW_8K

    def __init__(self, gateway_url: str, key: str) -> None:
        super().__init__(gateway_url, key)
        self._identity = CallIdentity(
            call_sid="CA" + secrets.token_hex(16),
            account_sid=_ACCOUNT,
            caller="+15550100001",
            callee="+15550100002",
        )
        self._addresses = Addresses(gateway_url, None)
        self._after = ""
        self._parameters: dict[str, str] = {}
        self._wire = self._new_wire()

    def _new_wire(self) -> StreamWire:
        return StreamWire("MZ" + secrets.token_hex(16), self._identity.call_sid, _ACCOUNT)

    async def invite(self) -> Way:
        """Ask the voice webhook, and read where its document leads."""
        return await self._ask(self._addresses.voice, "ringing")

    async def come_back(self) -> Way:
        """The stream broke, so the document goes on: its action is asked."""
        self._wire = self._new_wire()
        return await self._ask(self._after, "in-progress")

    async def strangers(self) -> Sequence[tuple[str, Way]]:
        """Webhooks and upgrades that are not signed as they must be."""
        way = await self.invite()
        plain = way.url.rpartition("/")[0]
        forged = {"X-Twilio-Signature": sign("another-secret", stream_url_to_sign(way.url))}
        elsewhere = way.url + "x"
        unknown = {"X-Twilio-Signature": sign(_SECRET, stream_url_to_sign(elsewhere))}
        tokenless = {"X-Twilio-Signature": sign(_SECRET, stream_url_to_sign(plain))}
        return [
            ("without a signature", Way(way.url)),
            ("with a signature made with another secret", Way(way.url, forged)),
            ("with the signature of another address", Way(way.url, unknown)),
            ("with a token that was never minted", Way(elsewhere, unknown)),
            ("without a token", Way(plain, tokenless)),
        ]

    def begin(self) -> list[Message]:
        """`connected` and `start`."""
        return [self._wire.connected(), self._wire.start(self._parameters)]

    def begin_again(self) -> list[Message]:
        """`start` of another stream."""
        return [self._new_wire().start(self._parameters)]

    def speak(self, audio: bytes) -> Message:
        """`media`."""
        return self._wire.media(audio, 0)

    def press(self, digit: str) -> Message:
        """`dtmf`."""
        return self._wire.dtmf(digit)

    def played(self, name: str, *, dropped: bool = False) -> list[Message]:  # noqa: ARG002 - a cleared one returns too
        """`mark`, which comes back whether it was played or cleared."""
        return [self._wire.mark(name)]

    def unknown(self) -> Message:
        """An event that Twilio does not have yet."""
        return json.dumps({"event": "weather", "streamSid": self._wire.stream_sid, "weather": {"sun": True}})

    def unreadable(self) -> list[Message]:
        """Twilio's messages are text; none of these is one of them."""
        return [*super().unreadable(), b"\x00\x01"]

    def stop(self) -> list[Message]:
        """`stop`."""
        return [self._wire.stop()]

    def read(self, message: Message) -> Sequence[Heard]:
        """Read `media`, `mark` and `clear`; whatever else is an error in Twilio's debugger."""
        match self._wire.read(message):
            case Media(media=media):
                return [Sound(media.payload)]
            case Mark(mark=mark):
                return [MarkAsked(mark.name)]
            case Clear():
                return [ClearAsked()]
            case Refused(code, text):
                return [Wrong(f"error {code}: {text}")]

    async def _ask(self, url: str, status: str) -> Way:
        async with open_session() as session:
            requests = TwilioRequests(session, self._addresses, self._identity, _SECRET)
            document, base = await requests.ask(url, status)
        verb = next((verb for verb in read_twiml(document) if verb.name == "Connect"), None)
        stream = verb.child("Stream") if verb else None
        if verb is None or stream is None:
            raise WebhookError(f"the document of {url} has no <Connect><Stream>: {document[:200]}")
        self._after = resolve(base, verb.attributes.get("action", ""))
        self._parameters = stream.parameters
        media = resolve_stream(base, stream.attributes["url"])
        return Way(media, {"X-Twilio-Signature": sign(_SECRET, stream_url_to_sign(media))})
