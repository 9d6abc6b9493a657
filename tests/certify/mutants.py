"""Adapters that are ours but for one mistake, and what the suite must say of each.

Ten mistakes are those that every suite of this kind is asked for; the other ten were listed before the first check was
written. Most are made as an adapter's author would make them; two are made in the core, on which adapters rely.
"""

import base64
import json
from array import array
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import wires
from msgspec import Struct

from gateway.adapters.browser import BrowserCodec
from gateway.adapters.pcm import PcmCodec
from gateway.adapters.twilio import TwilioCodec
from gateway.adapters.vonage import VonageCodec
from gateway.audio import AudioFormat
from gateway.call.playback import PlaybackLedger
from gateway.commands import Clear, Command, Mark, Play
from gateway.contracts import Adapter, MediaPass
from gateway.errors import WireError
from gateway.events import CallerLeft, CallerPressed, CallStarted, Event
from gateway.runtime.store import MemoryStore, _digest

Message = str | bytes
Make = Callable[[pytest.MonkeyPatch], Adapter]


class Mutant(Struct, frozen=True):
    """One mistake."""

    mistake: str
    """What is wrong, for the table."""
    adapter: str
    """Which adapter makes it."""
    check: str
    """The check that finds it."""
    says: str
    """Part of what the report then says."""
    make: Make
    """Makes it."""


def with_codec(codec: Any) -> Make:
    """An adapter of ours with another codec."""
    name = next(name for kind, name in CODECS.items() if issubclass(codec, kind))
    return lambda _patch: msgspec.structs.replace(wires.adapters()[name], codec=codec)


def changed(name: str, **fields: Any) -> Make:
    """An adapter of ours that says something else of itself."""
    return lambda _patch: msgspec.structs.replace(wires.adapters()[name], **fields)


CODECS: dict[type, str] = {
    TwilioCodec: "twilio", VonageCodec: "vonage", PcmCodec: "pcm", BrowserCodec: "browser",
}  # fmt: skip


# The ten that are asked for


class DropsClear(TwilioCodec):
    def encode(self, command: Command) -> list[Message]:
        return [] if isinstance(command, Clear) else super().encode(command)


class KeepsQueue(TwilioCodec):
    """It has a small queue of its own, and forgets it at a clear."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._queue: list[Message] = []

    def encode(self, command: Command) -> list[Message]:
        said = super().encode(command)
        if not isinstance(command, Play):
            return said
        self._queue += said
        out, self._queue = self._queue[:-5], self._queue[-5:]
        return out


class SwapsBytes(VonageCodec):
    def encode(self, command: Command) -> list[Message]:
        if isinstance(command, Play):
            samples = array("h", command.audio)
            samples.byteswap()
            command = Play(command.reply_id, samples.tobytes())
        return super().encode(command)


class StartsTwice(TwilioCodec):
    def decode(self, message: Message) -> list[Event]:
        if '"start"' in str(message):
            self.stream_sid = ""
        return super().decode(message)


class ShortFrames(VonageCodec):
    def decode(self, message: Message) -> list[Event]:
        events = super().decode(message)
        self._frame_bytes = 638
        return events


def counts_marks_after_a_clear(patch: pytest.MonkeyPatch) -> Adapter:
    restart = PlaybackLedger._restart

    def same_names_again(ledger: PlaybackLedger, now: float) -> None:
        restart(ledger, now)
        ledger._generation = 0

    patch.setattr(PlaybackLedger, "_restart", same_names_again)
    return wires.adapters()["twilio"]


def takes_a_token_twice(patch: pytest.MonkeyPatch) -> Adapter:
    async def look(store: MemoryStore, token: str, _adapter: str) -> MediaPass | None:
        return store._passes._values.get(_digest(token), (0.0, None))[1]

    patch.setattr(MemoryStore, "spend", look)
    return wires.adapters()["twilio"]


class IgnoresStop(TwilioCodec):
    def decode(self, message: Message) -> list[Event]:
        return [event for event in super().decode(message) if not isinstance(event, CallerLeft)]


class LosesKeys(VonageCodec):
    def decode(self, message: Message) -> list[Event]:
        return [event for event in super().decode(message) if not isinstance(event, CallerPressed)]


# The ten that were listed beforehand


class AnotherStream(TwilioCodec):
    def encode(self, command: Command) -> list[Message]:
        return [str(message).replace(self.stream_sid, "MZ0") for message in super().encode(command)]


class RenamesMarks(TwilioCodec):
    def encode(self, command: Command) -> list[Message]:
        return super().encode(Mark(f"mark {command.name}") if isinstance(command, Mark) else command)


class DropsHalfSamples(PcmCodec):
    def decode(self, message: Message) -> list[Event]:
        return super().decode(message[: len(message) & ~1] if isinstance(message, bytes) else message)


class FlipsSigns(BrowserCodec):
    def encode(self, command: Command) -> list[Message]:
        if isinstance(command, Play):
            flipped = array("h", (-sample for sample in array("h", command.audio)))
            command = Play(command.reply_id, flipped.tobytes())
        return super().encode(command)


class TwiceTheRate(TwilioCodec):
    def decode(self, message: Message) -> list[Event]:
        return [
            CallStarted(msgspec.structs.replace(event.info, audio=AudioFormat("mulaw", 16_000)))
            if isinstance(event, CallStarted)
            else event
            for event in super().decode(message)
        ]


class FearsTheUnknown(VonageCodec):
    def decode(self, message: Message) -> list[Event]:
        if "websocket:weather" in str(message):
            raise WireError("there is no such event", fatal=True)
        return super().decode(message)


class FoldsBase64(TwilioCodec):
    def encode(self, command: Command) -> list[Message]:
        if not isinstance(command, Play):
            return super().encode(command)
        payload = base64.encodebytes(command.audio).decode()
        return [json.dumps({"event": "media", "streamSid": self.stream_sid, "media": {"payload": payload}})]


class SaysTwice(PcmCodec):
    def encode(self, command: Command) -> list[Message]:
        return super().encode(command) * (2 if isinstance(command, Play) else 1)


ASKED_FOR = (
    Mutant("a clear is dropped", "twilio", "clear", "nothing told it to drop", with_codec(DropsClear)),
    Mutant("a clear is sent, and late sound is played", "twilio", "clear", "after a clear", with_codec(KeepsQueue)),
    Mutant("bytes are swapped", "vonage", "reply", "samples differ", with_codec(SwapsBytes)),
    Mutant("a second start is accepted", "twilio", "start", "another stream", with_codec(StartsTwice)),
    Mutant("a frame is one sample short", "vonage", "reply", "unexpected frame size 638", with_codec(ShortFrames)),
    Mutant("a whole reply is sent at once", "vonage", "pace", "ahead of the caller's ear", changed("vonage", lead_ms=60_000.0)),
    Mutant("a mark that comes after a clear counts as heard", "twilio", "stale", "the gateway believes", counts_marks_after_a_clear),
    Mutant("a token is good twice", "twilio", "once", "a second socket", takes_a_token_twice),
    Mutant("a stop is ignored", "twilio", "stop", "the agent was still in a session", with_codec(IgnoresStop)),
    Mutant("keys are lost", "vonage", "keys", "the agent was told of none", with_codec(LosesKeys)),
)  # fmt: skip
LISTED_BEFORE = (
    Mutant("sound is sent under the id of another stream", "twilio", "reply", "another stream", with_codec(AnotherStream)),
    Mutant("marks are asked for under another name", "twilio", "heard", "an estimate", with_codec(RenamesMarks)),
    Mutant("half a sample at the end of a message is thrown away", "pcm", "sizes", "of the caller's sound", with_codec(DropsHalfSamples)),
    Mutant("the sign of every sample is flipped", "browser", "reply", "samples differ", with_codec(FlipsSigns)),
    Mutant("the call is said to have twice the rate of the wire", "twilio", "reply", "of the agent's sound", with_codec(TwiceTheRate)),
    Mutant("a kind of message that nobody knows ends the connection", "vonage", "unknown", "closed the connection with 1008", with_codec(FearsTheUnknown)),
    Mutant("base64 is written with a line feed in it", "twilio", "reply", "the message is not valid", with_codec(FoldsBase64)),
    Mutant("any signature is good, and none", "vonage", "proof", "without a signature", changed("vonage", authorize=lambda *_: "")),
    Mutant("every frame is sent twice", "pcm", "reply", "samples differ", with_codec(SaysTwice)),
    Mutant("a lost connection ends the call, though the carrier comes back", "twilio", "return", "the way back", changed("twilio", closing_leaves=True)),
)  # fmt: skip
MUTANTS = (*ASKED_FOR, *LISTED_BEFORE)
