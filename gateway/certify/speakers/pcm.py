"""A raw PCM client's side (docs/reference/dialects.md)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gateway.audio import PCM_24K
from gateway.certify.speaker import ClearAsked, Heard, Message, Sound, Speaker, Way, Wrong


class PcmSpeaker(Speaker):
    """One connection of a raw PCM client that asked for no events."""

    adapter = "pcm"
    lacks: ClassVar[Mapping[Any, str]] = {
        "start": "a raw PCM connection has no first message",
        "kinds": "raw PCM has no kinds of messages: text means nothing but session.end",
        "keys": "raw PCM has no telephone keys",
        "marks": "a raw PCM client does not say what it has played",
        "return": "a raw PCM call ends with its connection",
        "once": "a gateway key is good for many connections",
    }
    audio = PCM_24K

    async def invite(self) -> Way:
        """The address with its format, and a key."""
        return Way(self._address, {"Authorization": f"Bearer {self.key}"})

    async def strangers(self) -> Sequence[tuple[str, Way]]:
        """Connections without a key, or with one that is none."""
        return [
            ("without a key", Way(self._address)),
            ("with a key that there is not", Way(self._address, {"Authorization": "Bearer nobody"})),
            (
                "with a key that is cut short",
                Way(self._address, {"Authorization": f"Bearer {self.key[:-1]}"}),
            ),
        ]

    def stop(self) -> list[Message]:
        """`session.end`."""
        return [json.dumps({"type": "session.end"})]

    def read(self, message: Message) -> Sequence[Heard]:
        """Read sound and `talkpath.clear`; nothing else is sent without events=1."""
        if isinstance(message, bytes):
            return [Sound(message)]
        if json.loads(message) == {"type": "talkpath.clear"}:
            return [ClearAsked()]
        return [Wrong(f"a text that nobody asked for: {message[:120]}")]

    @property
    def _address(self) -> str:
        rate_hz = self.audio.rate_hz
        base = self.gateway_url.replace("http", "ws", 1)
        return f"{base}/v1/ws/pcm?encoding=pcm_s16le&sample_rate={rate_hz}"
