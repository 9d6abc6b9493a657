"""Twilio's HTTP requests to a gateway: signed webhooks, and which address is signed and which is dialled.

Owns form fields, signatures and addresses of one simulated call (reference: carriers 2.5 and 2.6). A gateway
that has a public URL but is reached locally is signed for the one and connected to at the other.
"""

import secrets
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import aiohttp
import msgspec

from gateway.simulate.address import gateway_address
from gateway.simulate.twilio_signature import sign

ANSWER_WITHIN_S = 15.0
HTTP_FAILURE = 11200
VOICE_PATH = "/twilio/voice"


class WebhookError(Exception):
    """A webhook did not answer with a document; one sentence that says why."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Addresses:
    """The gateway's address as it is dialled and as it is signed."""

    def __init__(self, url: str, public_url: str | None) -> None:
        given = gateway_address(url)
        scheme = {"ws": "http", "wss": "https"}.get(given.scheme, given.scheme)
        self._dialled = f"{scheme}://{given.netloc}"
        self._signed = public_url.rstrip("/") if public_url else self._dialled
        path = given.path if given.path not in ("", "/") else VOICE_PATH
        self.voice = self._signed + path + (f"?{given.query}" if given.query else "")

    def to_dial(self, signed_url: str) -> str:
        """Where to connect to for an address that is signed as ``signed_url``."""
        public, signed = urlsplit(self._signed), urlsplit(signed_url)
        if self._signed == self._dialled or signed.netloc != public.netloc:
            return signed_url
        dialled = urlsplit(self._dialled)
        secure = dialled.scheme == "https"
        names = ("wss", "ws") if signed.scheme in ("ws", "wss") else ("https", "http")
        path = signed.path.removeprefix(public.path) or "/"
        return urlunsplit((names[0] if secure else names[1], dialled.netloc, path, signed.query, ""))


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
        try:
            async with self._session.request(
                method.upper(), dialled, data=body, headers=headers, allow_redirects=False
            ) as answer:
                text = await answer.text()
        except aiohttp.ClientConnectorError:
            raise WebhookError(f"nobody answers at {dialled}; is a gateway running there?") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise WebhookError(
                f"{method} {dialled} had no answer ({str(error) or type(error).__name__})"
            ) from None
        if not 200 <= answer.status < 300:
            raise WebhookError(
                f"{method} {dialled} was answered {answer.status}: {text[:300]}", answer.status
            )
        return text, url


def resolve(base: str, reference: str) -> str:
    """An address in a document, which may be relative to the document's own."""
    return urljoin(base, reference)


def resolve_stream(base: str, reference: str) -> str:
    """The address of a stream; a relative one becomes ``wss`` (``ws`` under plain http)."""
    url = urlsplit(urljoin(base, reference))
    scheme = {"https": "wss", "http": "ws"}.get(url.scheme, url.scheme)
    return urlunsplit((scheme, url.netloc, url.path, url.query, ""))


def open_session() -> aiohttp.ClientSession:
    """An HTTP session with Twilio's patience; close it."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S))
