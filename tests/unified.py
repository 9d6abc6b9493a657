"""Clients of every kind on the one address ``/v1/ws``, and a gateway that gives each its own sound back."""

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from serving import LIMIT_S, TOKEN, EchoRunner, House, serving, settings_of, sign, start_stream
from vonage_tokens import SECRET, claims_of, token

from gateway.adapters.browser import BrowserSettings
from gateway.adapters.pcm import PcmSettings
from gateway.adapters.twilio_http import TwilioSettings
from gateway.adapters.vonage_http import VonageSettings
from gateway.commands import Tell
from gateway.events import AgentReady, CallStarted
from gateway.runtime.legs import WireLeg
from gateway.settings import Secret, ServerSettings, Settings

ADAPTERS = {
    "twilio": TwilioSettings(auth_token=(Secret(TOKEN),)),
    "vonage": VonageSettings(signature_secret=(Secret(SECRET),)),
    "browser": BrowserSettings(),
    "pcm": PcmSettings(),
}
QUICK = ServerSettings(port=0, admin_port=0, close_s=1, first_message_s=0.3)


def all_adapters(**sections: Any) -> Settings:
    return settings_of(**{"adapters": ADAPTERS, **sections})


class ReadyEcho(EchoRunner):
    """Echoes also to clients that must be told first that their session is ready."""

    async def serve(self, leg: WireLeg) -> None:
        leg.post(Tell(AgentReady("sess_1")))
        await super().serve(leg)


def jwt(secret: str = SECRET) -> dict[str, str]:
    """Vonage's proof of an upgrade."""
    return {"Authorization": f"Bearer {token(claims_of(now=time.time(), jti=str(uuid.uuid4())), secret)}"}


def unified(house: House, path: str = "/v1/ws") -> str:
    return house.url.replace("http", "ws", 1) + path


def signed(url: str) -> dict[str, str]:
    """Twilio's proof of an upgrade."""
    return {"X-Twilio-Signature": sign(url, {}), "User-Agent": "Twilio.TmeWs/1.0"}


async def twilio_token(house: House, call_sid: str = "CA1", caller: str = "+14155555309") -> str:
    """Call in as Twilio, and give the one-time token of the document."""
    return (await house.invited({"CallSid": call_sid, "From": caller})).rpartition("/")[2]


async def vonage_token(house: House, call_uuid: str = "call-1", caller: str = "447700900000") -> str:
    """Call in as Vonage, and give the one-time token of the document."""
    body = json.dumps({"from": caller, "to": "33123456789", "uuid": call_uuid}).encode()
    claims = claims_of(body, now=time.time(), jti=str(uuid.uuid4()))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token(claims)}"}
    answer = await house.http.post(f"{house.url}/vonage/answer", data=body, headers=headers)
    (endpoint,) = json.loads(await answer.text())[0]["endpoint"]
    return str(endpoint["headers"]["token"])


def twilio_words(given: str | None, call_sid: str = "CA1", stream_sid: str = "MZ1") -> list[str]:
    """`connected` and `start`, with the token as a hand-written ``<Parameter>``."""
    connected, start = map(json.loads, start_stream(call_sid, stream_sid))
    if given is not None:
        start["start"]["customParameters"]["token"] = given
    return [json.dumps(connected), json.dumps(start)]


def vonage_words(given: str | None, call_uuid: str = "call-1") -> list[str]:
    """The first text, with the token as a header field of a hand-written NCCO."""
    fields = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "call_uuid": call_uuid}
    return [json.dumps(fields if given is None else {**fields, "token": given})]


def twilio_media(audio: bytes, stream_sid: str = "MZ1") -> str:
    media = {"track": "inbound", "chunk": "1", "timestamp": "20", "payload": base64.b64encode(audio).decode()}
    return json.dumps({"event": "media", "sequenceNumber": "2", "streamSid": stream_sid, "media": media})


def api_audio(audio: bytes) -> str:
    return json.dumps({"type": "input.audio", "audio": base64.b64encode(audio).decode()})


async def closing(socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
    """Code and reason of the close that comes next."""
    message = await socket.receive(timeout=LIMIT_S)
    assert message.type is aiohttp.WSMsgType.CLOSE, message
    return int(message.data), str(message.extra or "")


@asynccontextmanager
async def opened(
    house: House, url: str, *said: str | bytes, **headers: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a socket and say something at once."""
    async with house.http.ws_connect(url, headers=headers, max_msg_size=0) as socket:
        for message in said:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
        yield socket


@asynccontextmanager
async def unified_house(settings: Settings | None = None) -> AsyncIterator[House]:
    """A gateway with every adapter, whose calls are echoes."""
    async with serving(settings or all_adapters(), ReadyEcho) as house:
        yield house


def started(house: House) -> list[CallStarted]:
    """What began the calls of the house."""
    return [event for runner in house.runners for event in runner.heard if isinstance(event, CallStarted)]
