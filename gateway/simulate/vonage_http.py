"""Vonage's HTTP requests to a gateway: the answer webhook and events, each with a signed token.

Owns their fields and proofs (reference: carriers 3.5 and 3.6), and that a question without an answer is asked once
more with the same token. Addresses are `webhook`'s.
"""

import time
import uuid
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from msgspec import Struct

from gateway.simulate.vonage_jwt import body_hash, sign
from gateway.simulate.webhook import Addresses, WebhookError, request_text

ANSWER_PATH = "/vonage/answer"
EVENT_PATH = "/vonage/event"
ANSWER_WITHIN_S = 5.0
ASKED_AGAIN = (None, 429, 503, 504)
"""Statuses after which the answer is asked for once more; None where there was no answer."""


class VonageIdentity(Struct, frozen=True, kw_only=True):
    """Who calls whom, and for whom Vonage signs."""

    call_uuid: str
    """Id of the telephone's leg."""
    conversation_uuid: str
    """Id of the conversation."""
    caller: str
    """The calling number, without a plus."""
    callee: str
    """The called number, without a plus."""
    api_key: str
    """The account."""
    application_id: str
    """The application."""
    region_url: str = ""
    """REST interface that owns the call; empty as on older accounts."""
    extra_fields: dict[str, str] = {}
    """Further fields of the answer webhook, such as ``SipHeader_X-User``."""

    def call_fields(self) -> dict[str, str]:
        """Fields of the answer webhook."""
        fields = {
            "from": self.caller,
            "to": self.callee,
            "uuid": self.call_uuid,
            "conversation_uuid": self.conversation_uuid,
            "endpoint_type": "phone",
        }
        return fields | ({"region_url": self.region_url} if self.region_url else {}) | self.extra_fields

    def phone_event(self, status: str, **more: str) -> dict[str, Any]:
        """Fields of an event of the telephone's leg."""
        return (
            self._event(status, self.call_uuid, "inbound") | {"from": self.caller, "to": self.callee} | more
        )

    def socket_event(self, status: str, leg_uuid: str, uri: str, headers: dict[str, Any]) -> dict[str, Any]:
        """Fields of an event of the socket's leg."""
        event = self._event(status, leg_uuid, "outbound") | {"from": self.callee, "to": uri}
        return event | ({"headers": headers} if headers else {})

    def _event(self, status: str, leg_uuid: str, direction: str) -> dict[str, Any]:
        return {
            "status": status,
            "uuid": leg_uuid,
            "conversation_uuid": self.conversation_uuid,
            "direction": direction,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        }


class VonageRequests:
    """Makes the signed requests of one call; the session is the caller's to close."""

    def __init__(
        self, session: aiohttp.ClientSession, addresses: Addresses, identity: VonageIdentity, secret: str
    ) -> None:
        self._session = session
        self._addresses = addresses
        self._identity = identity
        self._secret = secret

    def proof(self, body: bytes = b"") -> str:
        """The value of an ``Authorization`` header, with a number of its own."""
        claims = {
            "iat": int(time.time()),
            "jti": str(uuid.uuid4()),
            "iss": "Vonage",
            "api_key": self._identity.api_key,
            "application_id": self._identity.application_id,
        }
        return "Bearer " + sign(self._secret, claims | ({"payload_hash": body_hash(body)} if body else {}))

    async def ask(self, url: str, method: str) -> str:
        """Ask the answer webhook for a document.

        Raises:
            WebhookError: when it does not answer with JSON and 2xx, also when it is asked again.
        """
        fields = self._identity.call_fields()
        body: bytes | None = msgspec.json.encode(fields)
        if method == "GET":
            url, body = url + ("&" if "?" in url else "?") + urlencode(fields), None
        proof = self.proof(body or b"")
        try:
            return await self._request(method, url, body, proof)
        except WebhookError as failed:
            if failed.status not in ASKED_AGAIN:
                raise
        return await self._request(method, url, body, proof)

    async def report(self, url: str, event: dict[str, Any]) -> str:
        """Report an event; gives what was answered.

        Raises:
            WebhookError: when that is not 2xx.
        """
        body = msgspec.json.encode(event)
        return await self._request("POST", url, body, self.proof(body))

    async def _request(self, method: str, url: str, body: bytes | None, proof: str) -> str:
        headers = {"Authorization": proof}
        if body is not None:
            headers["Content-Type"] = "application/json"
        dialled = self._addresses.to_dial(url)
        text, kind = await request_text(self._session, method, dialled, body=body, headers=headers)
        if text and kind != "application/json":
            raise WebhookError(f"{method} {dialled} was answered with {kind}, not application/json")
        return text
