"""Carriers, clients and a provider to test the gateway against: real framing, timing and playback buffers.

The simulated callers judge the gateway, so they are written from the reference alone and share none of its
adapters, agent codecs or legs. `call_twilio` and `call_pcm` each make one call and give a `CallResult`.
"""

from typing import Any

from gateway.simulate.clock import Clock
from gateway.simulate.pcm import PcmCaller
from gateway.simulate.playback import PlaybackBuffer
from gateway.simulate.result import CallResult, Note
from gateway.simulate.script import CallerFaults, CallScript, Utterance
from gateway.simulate.twilio import TwilioCaller
from gateway.simulate.twilio_rest import TwilioRest

__all__ = [
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
    "call_pcm",
    "call_twilio",
]


async def call_twilio(url: str, *, token: str, **options: Any) -> CallResult:
    """Call a gateway as Twilio does; ``options`` are those of `TwilioCaller`."""
    return await TwilioCaller(url, token=token, **options).run()


async def call_pcm(url: str, **options: Any) -> CallResult:
    """Call a gateway as a raw PCM client does; ``options`` are those of `PcmCaller`."""
    return await PcmCaller(url, **options).run()
