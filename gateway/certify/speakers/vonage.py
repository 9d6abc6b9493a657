"""Vonage's side of a media socket (reference: carriers, section 3)."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from gateway.audio import PCM_16K
from gateway.certify.speaker import ClearAsked, Heard, MarkAsked, Message, Sound, Speaker, Way, Wrong
from gateway.simulate.ncco import Connect, NccoError, Socket, read_ncco
from gateway.simulate.vonage_http import ANSWER_PATH, EVENT_PATH, VonageIdentity, VonageRequests
from gateway.simulate.vonage_jwt import sign
from gateway.simulate.vonage_wire import Clear, Notify, Refused, SocketWire, WrongFrame
from gateway.simulate.webhook import Addresses, WebhookError, open_session

_SECRET: Final = "certify-signature-secret-of-one-run"  # noqa: S105 - of a gateway that lives for one run
_RATE_HZ: Final = 16_000


class VonageSpeaker(Speaker):
    """One call of Vonage's."""

    adapter = "vonage"
    section: ClassVar[Mapping[str, Any]] = {"signature_secret": _SECRET, "rate_hz": _RATE_HZ}
    lacks: ClassVar[Mapping[Any, str]] = {
        "stop": "Vonage has no word for the end of a call: it closes the socket and reports by webhook"
    }
    sources: ClassVar[Mapping[str, str]] = {
        "proof": "carriers 3.6", "once": "carriers 3.6", "start": "carriers 3.2", "keys": "carriers 3.2",
        "reply": "carriers 3.3", "clear": "carriers 3.3", "stale": "carriers 3.3", "heard": "carriers 3.3",
        "stop": "carriers 3.5", "unknown": "carriers 3.2", "return": "carriers 3.5",
    }  # fmt: skip
    audio = PCM_16K
    buffer_ms = 3072 * 20.0

    def __init__(self, gateway_url: str, key: str) -> None:
        super().__init__(gateway_url, key)
        self._identity = VonageIdentity(
            call_uuid=str(uuid.uuid4()),
            conversation_uuid=f"CON-{uuid.uuid4()}",
            caller="15550100001",
            callee="15550100002",
            api_key="a1b2c3d4",
            application_id=str(uuid.uuid4()),
        )
        self._addresses = Addresses(gateway_url, None, ANSWER_PATH)
        self._events = self._addresses.first.replace(ANSWER_PATH, EVENT_PATH)
        self._wire = SocketWire("", _RATE_HZ, {})
        self._socket: Socket | None = None

    async def invite(self) -> Way:
        """Ask the answer webhook, and read where its document leads."""
        async with open_session() as session:
            requests = self._requests(session)
            document = await requests.ask(self._addresses.first, "POST")
            return self._way(document, requests.proof())

    async def come_back(self) -> Way:
        """The socket broke: its event may be answered with another document."""
        async with open_session() as session:
            requests = self._requests(session)
            document = await self._report_socket(requests, "disconnected")
            return self._way(document, requests.proof())

    async def gone(self) -> None:
        """Report that the telephone has hung up."""
        async with open_session() as session:
            await self._requests(session).report(self._events, self._identity.phone_event("completed"))

    async def strangers(self) -> Sequence[tuple[str, Way]]:
        """Upgrades that are not signed as they must be."""
        way = await self.invite()
        forged = {"Authorization": "Bearer " + sign("another-secret-that-is-long-enough", {"iss": "Vonage"})}
        return [
            ("without a signature", Way(way.url)),
            ("with a signature made with another secret", Way(way.url, forged)),
            ("with a token that was never minted", Way(way.url + "x", way.headers)),
        ]

    def begin(self) -> list[Message]:
        """`websocket:connected`."""
        return [self._wire.connected()]

    def press(self, digit: str) -> Message:
        """`websocket:dtmf`."""
        return self._wire.dtmf(digit)

    def played(self, name: str, *, dropped: bool = False) -> list[Message]:
        """`websocket:notify`; what a clear has dropped was never played, and nobody is told of it."""
        return [] if dropped else [self._wire.notified(name)]

    def cleared(self) -> list[Message]:
        """`websocket:cleared`."""
        return [self._wire.cleared()]

    def unknown(self) -> Message:
        """An event that Vonage does not have yet."""
        return json.dumps({"event": "websocket:weather", "sun": True})

    def read(self, message: Message) -> Sequence[Heard]:
        """Read frames, `notify` and `clear`; a frame of another size would end the socket."""
        match self._wire.read(message):
            case bytes(frame):
                return [Sound(frame)]
            case Notify(payload):
                return [MarkAsked(msgspec.json.encode(payload).decode())]
            case Clear():
                return [ClearAsked()]
            case WrongFrame(text) | Refused(text):
                return [Wrong(text)]

    def _requests(self, session: Any) -> VonageRequests:
        return VonageRequests(session, self._addresses, self._identity, _SECRET)

    async def _report_socket(self, requests: VonageRequests, status: str) -> str:
        socket = self._socket
        assert socket is not None  # noqa: S101 - who comes back was there
        event = self._identity.socket_event(status, str(uuid.uuid4()), socket.uri, socket.headers)
        return await requests.report(self._events, event)

    def _way(self, document: str, proof: str) -> Way:
        try:
            actions = read_ncco(document)
        except NccoError as error:
            raise WebhookError(f"the call document cannot be carried out: {error}") from error
        for action in actions:
            if isinstance(action, Connect) and isinstance(socket := action.endpoint[0], Socket):
                self._socket = socket
                self._wire = SocketWire(socket.content_type, socket.rate_hz, socket.headers)
                given = socket.authorization
                custom = given.value if given and given.type == "custom" else proof
                return Way(socket.uri, {"Authorization": custom} if given else {})
        raise WebhookError(f"the call document has no media socket: {document[:200]}")
