"""Twilio's HTTP requests to a gateway: signed webhooks.

Owns form fields and signatures of one simulated call (reference: carriers 2.5 and 2.6); addresses are `webhook`'s.
"""

import secrets
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import aiohttp
import msgspec

from gateway.simulate import webhook
from gateway.simulate.twilio_signature import sign
from gateway.simulate.webhook import WebhookError, open_session, request_text, resolve

__all__ = [
    "HTTP_FAILURE", "Addresses", "CallIdentity", "TwilioRequests", "WebhookError", "open_session", "resolve",
    "resolve_stream",
]  # fmt: skip

HTTP_FAILURE = 11200
VOICE_PATH = "/twilio/voice"


class Addresses(webhook.Addresses):
    """Addresses of a gateway's Twilio side."""

    def __init__(self, url: str, public_url: str | None) -> None:
        super().__init__(url, public_url, VOICE_PATH)
        self.voice = self.first


class CallIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls whom, in Twilio's words."""

    call_sid: str
    """``CA`` and 32 hex digits."""
    account_sid: str
    """``AC`` and 32 hex digits."""
    caller: str
    """The number in ``From``."""
    callee: str
    """The number in ``To``."""
    extra_fields: dict[str, str] = {}
    """Further form fields of every request, such as ``ForwardedFrom``."""

    def fields(self, status: str) -> dict[str, str]:
        """The form fields that every webhook of this call carries."""
        place = {
            f"{who}{what}": ""
            for who in ("From", "To", "Caller", "Called")
            for what in ("City", "State", "Zip")
        }
        country = dict.fromkeys(("FromCountry", "ToCountry", "CallerCountry", "CalledCountry"), "US")
        call = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.call_sid,
            "CallStatus": status,
            "CallToken": '{"parentCallInfoToken":"simulated"}',
            "Called": self.callee,
            "Caller": self.caller,
            "Direction": "inbound",
            "From": self.caller,
            "StirVerstat": "TN-Validation-Passed-A",
            "To": self.callee,
        }
        return place | country | call | self.extra_fields


class TwilioRequests:
    """Makes the signed requests of one call; the session is the caller's to close."""

    def __init__(
        self, session: aiohttp.ClientSession, addresses: Addresses, identity: CallIdentity, token: str
    ) -> None:
        self._session = session
        self._addresses = addresses
        self._identity = identity
        self._token = token

    async def ask(
        self, url: str, status: str, method: str = "POST", more: dict[str, str] | None = None
    ) -> tuple[str, str]:
        """Request ``url`` and give the answer's body and the address it came from.

        Raises:
            WebhookError: when it does not answer 2xx within Twilio's 15 seconds.
        """
        fields = self._identity.fields(status) | (more or {})
        body: bytes | None = urlencode(list(fields.items())).encode()
        signature = sign(self._token, url, list(fields.items()))
        if method.upper() == "GET":
            url += ("&" if "?" in url else "?") + urlencode(list(fields.items()))
            signature, body = sign(self._token, url), None
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": signature,
            "I-Twilio-Idempotency-Token": secrets.token_hex(16),
        }
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
        dialled = self._addresses.to_dial(url)
        text, _ = await request_text(self._session, method.upper(), dialled, body=body, headers=headers)
        return text, url


def resolve_stream(base: str, reference: str) -> str:
    """The address of a stream; a relative one becomes ``wss`` (``ws`` under plain http)."""
    url = urlsplit(urljoin(base, reference))
    scheme = {"https": "wss", "http": "ws"}.get(url.scheme, url.scheme)
    return urlunsplit((scheme, url.netloc, url.path, url.query, ""))
