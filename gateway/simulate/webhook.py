"""What the webhooks of any simulated carrier have in common: addresses, patience, and failure in a sentence.

Owns where a gateway is dialled and under which address its carrier knows it: one that has a public URL but is
reached locally is asked for the one and connected to at the other. Refuses what each carrier sends.
"""

from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp

from gateway.simulate.address import gateway_address

ANSWER_WITHIN_S = 15.0
NO_TLS = "does not speak TLS, or shows a certificate that is not trusted here; a gateway itself speaks http, its proxy https"
"""What is said, behind an address, where a secure connection could not be made."""

LONGEST_WORDS: Final = 300
"""Characters of somebody's words that are told of a refusal."""
_STATUSES: Final = frozenset(HTTPStatus)


class WebhookError(Exception):
    """A webhook did not answer with a document; one sentence that says why."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Addresses:
    """The gateway's address as it is dialled and as it is signed; ``path`` is the webhook's where none is given."""

    def __init__(self, url: str, public_url: str | None, path: str) -> None:
        given = gateway_address(url)
        scheme = {"ws": "http", "wss": "https"}.get(given.scheme, given.scheme)
        self._dialled = f"{scheme}://{given.netloc}"
        self._signed = public_url.rstrip("/") if public_url else self._dialled
        path = given.path if given.path not in ("", "/") else path
        self.first = self._signed + path + (f"?{given.query}" if given.query else "")
        """The webhook of a new call."""

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


def resolve(base: str, reference: str) -> str:
    """An address in a document, which may be relative to the document's own."""
    return urljoin(base, reference)


def open_session(within_s: float = ANSWER_WITHIN_S) -> aiohttp.ClientSession:
    """An HTTP session with a carrier's patience; close it."""
    connector = aiohttp.TCPConnector(limit=0)  # a carrier asks for as many calls at once as there are
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=within_s))


async def request_text(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    body: bytes | None,
    headers: dict[str, str],
) -> tuple[str, str]:
    """Request an address; gives the text of the answer and its media type.

    Raises:
        WebhookError: when nobody answers in time, or not with 2xx.
    """
    try:
        async with session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
            text = await answer.text()
    except aiohttp.ClientSSLError:
        raise WebhookError(f"{url} {NO_TLS}") from None
    except aiohttp.ClientConnectorError:
        raise WebhookError(f"nobody answers at {url}; is a gateway running there?") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise WebhookError(f"{method} {url} had no answer ({str(error) or type(error).__name__})") from None
    if not 200 <= answer.status < 300:
        told = refusal_in_words(answer.status, answer.content_type, text)
        raise WebhookError(f"{method} {url} was answered {told}", answer.status)
    return text, answer.content_type


def refusal_in_words(status: int, kind: str, text: str) -> str:
    """A status, with the words of the answer where it has some for people; a page for browsers is none."""
    words = " ".join(text.split())[:LONGEST_WORDS] if kind == "text/plain" else ""
    if words:
        return f"{status}: {words}"
    return f"{status} ({HTTPStatus(status).phrase})" if status in _STATUSES else str(status)
