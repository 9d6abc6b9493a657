"""Answers a carrier's webhook with a document of your own that leads to Talkpath: TwiML for Twilio, an NCCO for Vonage.

    answer = twiml("https://voice.example.com", form, auth_token)      # form: what Twilio has posted to you
    answer = ncco("https://voice.example.com", call, signature_secret) # call: what Vonage has posted to you

Talkpath is asked for a one-time token for this call, in the carrier's name and with its signature; the token then
stands in your document. Standard library only.
"""

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.sax.saxutils import quoteattr

GREETING = "This call may be recorded."


def twiml(gateway: str, form: dict[str, str], auth_token: str) -> str:
    """Our words first, then the gateway's agent; the gateway's own document where it has no room for the call."""
    url = f"{gateway}/twilio/voice"
    signed = url + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.digest(auth_token.encode(), signed.encode(), hashlib.sha1)).decode()
    document = _post(url, urlencode(form).encode(), "application/x-www-form-urlencoded", signature)
    found = re.search(r'<Stream[^>]* url="[^"]*/([^"/]+)"', document)
    if found is None:
        return document
    return (
        f"<Response><Say>{GREETING}</Say>"
        f"<Connect action={quoteattr(gateway + '/twilio/after')} method='POST'>"
        f"<Stream url={quoteattr(gateway.replace('http', 'ws', 1) + '/v1/ws')}>"
        f"<Parameter name='token' value={quoteattr(found[1])}/>"
        f"</Stream></Connect></Response>"
    )


def ncco(gateway: str, call: dict[str, str], signature_secret: str) -> str:
    """Our words first, then the gateway's agent; the gateway's own document where it has no room for the call."""
    body = json.dumps(call).encode()
    proof = _web_token(body, signature_secret)
    document = _post(f"{gateway}/vonage/answer", body, "application/json", "", proof)
    connect = json.loads(document)[-1]
    if connect["action"] != "connect":
        return document
    (endpoint,) = connect["endpoint"]
    endpoint["uri"] = gateway.replace("http", "ws", 1) + "/v1/ws"  # the token is among its headers already
    return json.dumps([{"action": "talk", "text": GREETING}, connect])


def _web_token(body: bytes, secret: str) -> str:
    """A JSON Web Token as Vonage's webhooks have one."""
    digest = hashlib.sha256(body).hexdigest()
    claims = {"iss": "Vonage", "iat": int(time.time()), "jti": str(uuid.uuid4()), "payload_hash": digest}
    parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{_encoded(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _post(url: str, body: bytes, kind: str, signature: str, proof: str = "") -> str:
    headers = {"Content-Type": kind, "X-Twilio-Signature": signature, "Authorization": f"Bearer {proof}"}
    with urlopen(Request(url, body, headers), timeout=5) as answer:  # noqa: S310 - the address is our own
        text: str = answer.read().decode()
    return text
