"""The side of a client of the Voice Agent API (reference: Voice Agent API, sections 1 to 6 and 13.7)."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gateway.audio import PCM_24K
from gateway.certify.speaker import ClearAsked, Heard, Message, Ready, Sound, Speaker, Way, Wrong
from gateway.simulate.browser_judge import Judge
from gateway.simulate.webhook import open_session, request_text


class BrowserSpeaker(Speaker):
    """One session of a client that also sends and reads our own events."""

    adapter = "browser"
    lacks: ClassVar[Mapping[Any, str]] = {"keys": "the Voice Agent API has no telephone keys"}
    sources: ClassVar[Mapping[str, str]] = {
        "proof": "Voice Agent API 1.3", "once": "Voice Agent API 7", "start": "Voice Agent API 2.1",
        "clear": "Voice Agent API 2.3", "return": "Voice Agent API 2.7", "stop": "Voice Agent API 2.8",
        "unknown": "Voice Agent API 13.7",
    }  # fmt: skip
    audio = PCM_24K
    says_ready = True

    def __init__(self, gateway_url: str, key: str) -> None:
        super().__init__(gateway_url, key)
        self._judge = Judge()

    async def invite(self) -> Way:
        """Mint a token with the key, and come with that, as a page does."""
        url = f"{self.gateway_url}/v1/token?expires_in_seconds=60"
        async with open_session() as session:
            proof = {"Authorization": f"Bearer {self.key}"}
            text, _ = await request_text(session, "GET", url, body=None, headers=proof)
        return Way(f"{self._address}?token={json.loads(text)['token']}")

    async def come_back(self) -> Way:
        """The same address, with the token to resume."""
        self._judge.reconnect()
        return Way(self._address, {"Authorization": f"Bearer {self._judge.resume_token}"})

    async def strangers(self) -> Sequence[tuple[str, Way]]:
        """Connections without proof, or with one that is none."""
        return [
            ("without a key", Way(self._address)),
            ("with a key that there is not", Way(self._address, {"Authorization": "Bearer nobody"})),
            ("with a token that was never minted", Way(f"{self._address}?token=nobody")),
        ]

    def begin(self) -> list[Message]:
        """`session.update`, or `session.resume` on the way back."""
        if session_id := self._judge.session_id:
            return [_text("session.resume", session_id=session_id)]
        return [_text("session.update", session={})]

    def speak(self, audio: bytes) -> Message:
        """`input.audio`."""
        return _text("input.audio", audio=base64.b64encode(audio).decode())

    def played(self, name: str, *, dropped: bool = False) -> list[Message]:  # noqa: ARG002 - nobody asks
        """Nobody asks for marks here."""
        return []

    def progress(self, reply_id: str, ms: float) -> list[Message]:
        """`talkpath.played`."""
        return [_text("talkpath.played", reply_id=reply_id, ms=round(ms, 1))]

    def unknown(self) -> Message:
        """An event of ours that is not there yet."""
        return _text("talkpath.weather", sun=True)

    def stop(self) -> list[Message]:
        """`session.end`."""
        return [_text("session.end")]

    def read(self, message: Message) -> Sequence[Heard]:
        """Read sound, readiness and interruption; whatever the live service would not send is wrong."""
        if isinstance(message, bytes):
            return [Wrong(f"a binary message of {len(message)} bytes")]
        try:
            event = json.loads(message)
        except ValueError:
            return [Wrong(f"a text that is no JSON: {message[:120]}")]
        heard: list[Heard] = [Wrong(complaint) for complaint in self._judge.see(event)]
        match event.get("type"):
            case "session.ready":
                heard.append(Ready())
            case "reply.audio":
                heard.append(Sound(base64.b64decode(event["data"], validate=True), event["reply_id"]))
            case "talkpath.clear":
                heard.append(ClearAsked())
        return heard

    @property
    def _address(self) -> str:
        return f"{self.gateway_url.replace('http', 'ws', 1)}/v1/ws/browser"


def _text(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})
