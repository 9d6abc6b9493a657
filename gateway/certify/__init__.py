"""The suite that every adapter must pass, ours and those of others: `certify` runs it, a `Speaker` tells it the dialect.

The suite runs the whole gateway in this process, with a scripted agent on one side and the speaker on the other, and
compares what each of them hears. It judges, so it shares nothing with the adapters.
"""

from gateway.certify.checks import CHECKS, Check
from gateway.certify.finding import SpeakerError, find_speaker
from gateway.certify.speaker import (
    ClearAsked,
    Heard,
    MarkAsked,
    Message,
    Ready,
    Sound,
    Speaker,
    Way,
    Wrong,
)
from gateway.certify.suite import Certificate, Finding, certify

__all__ = [
    "CHECKS",
    "Certificate",
    "Check",
    "ClearAsked",
    "Finding",
    "Heard",
    "MarkAsked",
    "Message",
    "Ready",
    "Sound",
    "Speaker",
    "SpeakerError",
    "Way",
    "Wrong",
    "certify",
    "find_speaker",
]
