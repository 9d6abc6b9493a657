"""Twilio's signature, computed as Twilio does (reference: carriers 2.5); written apart from the gateway's check."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

FormFields = Sequence[tuple[str, str]]


def sign(token: str, url: str, fields: FormFields = ()) -> str:
    """Give the ``X-Twilio-Signature`` of a request to ``url`` with these form fields (none on GET and upgrades)."""
    signed = url + "".join(name + value for name, value in sorted(set(fields)))
    # SHA-1 is Twilio's choice
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def stream_url_to_sign(url: str) -> str:
    """The URL as Twilio's media client signs it: a URL without a path is signed with ``/``."""
    return url if urlsplit(url).path else url + "/"
