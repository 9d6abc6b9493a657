"""Carriers, clients and a provider to test the gateway against: real framing, timing and playback buffers.

The simulated callers judge the gateway, so they are written from the reference alone and share none of its
adapters, agent codecs or legs. `call_twilio`, `call_vonage`, `call_browser` and `call_pcm` each make one call and give a
`CallResult`.
"""

from typing import Any

from gateway.simulate.browser import BrowserCaller
from gateway.simulate.clock import Clock
from gateway.simulate.pcm import PcmCaller
from gateway.simulate.playback import PlaybackBuffer
from gateway.simulate.result import CallResult, Note
from gateway.simulate.script import CallerFaults, CallScript, Utterance
from gateway.simulate.twilio import TwilioCaller
from gateway.simulate.twilio_rest import TwilioRest
from gateway.simulate.vonage import VonageCaller
from gateway.simulate.vonage_rest import VonageRest

__all__ = [
    "BrowserCaller",
    "CallResult",
    "CallScript",
    "CallerFaults",
    "Clock",
    "Note",
    "PcmCaller",
    "PlaybackBuffer",
    "TwilioCaller",
    "TwilioRest",
    "Utterance",
    "VonageCaller",
    "VonageRest",
    "call_browser",
    "call_pcm",
    "call_twilio",
    "call_vonage",
]


async def call_twilio(url: str, *, token: str, **options: Any) -> CallResult:
    """Call a gateway as Twilio does; ``options`` are those of `TwilioCaller`."""
    return await TwilioCaller(url, token=token, **options).run()


async def call_vonage(url: str, *, secret: str, **options: Any) -> CallResult:
    """Call a gateway as Vonage does; ``options`` are those of `VonageCaller`."""
    return await VonageCaller(url, secret=secret, **options).run()


async def call_browser(url: str, **options: Any) -> CallResult:
    """Hold a session with a gateway as a client of the Voice Agent API does; ``options`` are `BrowserCaller`'s."""
    return await BrowserCaller(url, **options).run()


async def call_pcm(url: str, **options: Any) -> CallResult:
    """Call a gateway as a raw PCM client does; ``options`` are those of `PcmCaller`."""
    return await PcmCaller(url, **options).run()
