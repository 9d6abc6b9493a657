"""Starts the calls of a step: at once on a media socket, or as the carrier does, by a signed webhook first.

Owns what a start is and how long it took. Refuses to keep calls going.
"""

import asyncio
import secrets
import time
from typing import Final, Literal

import aiohttp
from msgspec import Struct
from picows import WSHandshakeError, ws_connect

from gateway.simulate.load.agent_end import AgentEnd
from gateway.simulate.load.carrier_end import CarrierEnd
from gateway.simulate.twilio_http import Addresses, CallIdentity, TwilioRequests, WebhookError, resolve_stream
from gateway.simulate.twilio_signature import sign, stream_url_to_sign
from gateway.simulate.twiml import TwimlError, read_twiml

START_WITHIN_S: Final = 20.0
"""How long the start of a call may take in all; the libraries' own shorter limits are off, or it would be they that failed."""
ACCOUNT_SID: Final = "AC" + "0" * 32


class Target(Struct, frozen=True, kw_only=True):
    """A system under test that listens."""

    kind: Literal["stream", "twilio"]
    """``stream`` takes a media socket at once; ``twilio`` is asked by a signed webhook first."""
    url: str
    """Where the carrier's end goes."""
    pid: int
    """Its process."""
    probe_url: str = ""
    """Its health page, where it has one."""
    token: str = ""
    """What the carrier signs with."""


class Start(Struct, frozen=True):
    """How long one call took to be set up, in nanoseconds from the carrier's first request."""

    opened_ns: int
    """Until the media socket was open."""
    updated_ns: int
    """Until the agent had its first message."""
    heard_ns: int
    """Until the agent had the caller's first frame."""


class NotStarted(Exception):  # noqa: N818 - a fact about one call
    """A call could not be started; one sentence that says why."""


class Starter:
    """Starts calls against one target; the session is the owner's to close."""

    def __init__(self, target: Target, session: aiohttp.ClientSession) -> None:
        self._target = target
        self._session = session

    async def start(self, call: int, end: CarrierEnd, met: "asyncio.Future[AgentEnd]") -> Start:
        """Start one call; returns when the agent's end has met its caller.

        Raises:
            NotStarted: when it does not come to that.
        """
        begin_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(START_WITHIN_S):
                if self._target.kind == "stream":
                    await ws_connect(lambda: end, self._target.url, websocket_handshake_timeout=None)
                else:
                    await self._ring(call, end)
                opened_ns = time.monotonic_ns()
                agent = await met
        except TimeoutError:
            raise NotStarted(f"a call did not reach the agent within {START_WITHIN_S:g} s") from None
        except (OSError, WSHandshakeError, WebhookError, TwimlError, NotStarted) as error:
            raise NotStarted(str(error) or type(error).__name__) from None
        return Start(opened_ns - begin_ns, agent.updated_ns - begin_ns, agent.heard_ns - begin_ns)

    async def _ring(self, call: int, end: CarrierEnd) -> None:
        """Ask the gateway what to do with a call, and do it (carriers 2.1)."""
        target = self._target
        addresses = Addresses(target.url, None)
        identity = CallIdentity(
            call_sid=end.call_sid,
            account_sid=ACCOUNT_SID,
            caller=f"+1415555{call:05d}",  # a number each: a gateway bounds the calls of one
            callee="+14155550100",
        )
        requests = TwilioRequests(self._session, addresses, identity, target.token)
        document, base = await requests.ask(addresses.voice, "ringing")
        connect = next((verb for verb in read_twiml(document) if verb.name == "Connect"), None)
        stream = connect.child("Stream") if connect else None
        if stream is None:
            raise NotStarted(f"the gateway did not take a call: {document[:200]}")
        url = resolve_stream(base, stream.attributes["url"])
        headers = {
            "User-Agent": "Twilio.TmeWs/1.0",
            "X-Twilio-Signature": sign(target.token, stream_url_to_sign(url)),
        }
        await ws_connect(
            lambda: end, addresses.to_dial(url), extra_headers=headers, websocket_handshake_timeout=None
        )


def new_call_sid() -> str:
    """Make a call's id as Twilio writes it."""
    return "CA" + secrets.token_hex(16)
