"""A stand-alone server of the Voice Agent API for demos and tests: the offline agent behind a real WebSocket.

Owns the socket, who may come in (reference 1.3), temporary tokens (section 7), the ordered faults, and a record of what each
session received. Refuses to share anything with the gateway's own client: it reads and writes from the reference.
"""

import asyncio
import base64
import binascii
import http
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gateway.audio import ALAW_8K, MULAW_8K, PCM_24K
from gateway.runtime.offline_session import OfflineSession, OfflineSessions, OfflineSettings
from gateway.simulate.faults import FaultyWire, read_faults

_LOG: Final = logging.getLogger(__name__)
_PATH: Final = "/v1/ws"
_FORMATS: Final = {"audio/pcm": PCM_24K, "audio/pcmu": MULAW_8K, "audio/pcma": ALAW_8K}
_RECORDED_BYTES: Final = 16 << 20
_RECORDED_SESSIONS: Final = 1000
_TOKENS: Final = 10_000
_MESSAGE_BYTES: Final = 1 << 20

Profile = Literal["realtime", "burst"]


class Record:
    """What one session has received, over all its connections."""

    def __init__(self, audio_bytes: int = _RECORDED_BYTES) -> None:
        self.audio = bytearray()
        """The caller's sound, byte for byte as it arrived after ready; the first ``audio_bytes`` of it."""
        self._audio_bytes = audio_bytes
        self.messages: list[dict[str, Any]] = []
        """Every other message of the client, in order; the first 1000."""
        self.connections = 0
        """How many sockets the session has had."""
        self.close_code: int | None = None
        """With which code the last of them ended; ``None`` while it is open."""
        self.faults_shown: set[str] = set()
        """Faults that happen once per session, and have happened."""

    def note(self, received: dict[str, Any], sound: bytes) -> None:
        """Remember one message."""
        if received.get("type") == "input.audio":
            self.audio += sound[: max(0, self._audio_bytes - len(self.audio))]
        elif len(self.messages) < 1000:
            self.messages.append(received)


class Provider:
    """The server; use it as ``async with Provider(port=0, faults=["drop-after=3"]) as provider`` and dial ``provider.url``.

    Raises:
        ConfigError: when a fault or the script cannot be used.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        profile: Profile | None = None,
        faults: list[str] | tuple[str, ...] = (),
        key: str | None = None,
        script: str = "default",
        settings: OfflineSettings | None = None,
        offline_calls: int = 8,
        reply_audio: bytes = b"",
        recorded_bytes: int = _RECORDED_BYTES,
    ) -> None:
        """Without ``key`` any key is taken; ``reply_audio`` (in the session's output format) replaces speech, byte for byte.

        Of each session's sound ``recorded_bytes`` are kept.
        """
        settings = settings or OfflineSettings()
        if profile is not None:
            settings = msgspec.structs.replace(settings, profile=profile)
        if reply_audio:
            settings = msgspec.structs.replace(settings, reply_audio=reply_audio)
        self.sessions: dict[str, Record] = {}
        """What each session received, by its id, in the order they began."""
        self.refused = 0
        """Connections that were turned away."""
        self._host = host
        self._port = port
        self._faults = read_faults(faults)
        self._key = key
        self._recorded_bytes = recorded_bytes
        self._offline = OfflineSessions(script=script, settings=settings, offline_calls=offline_calls)
        self._tokens: dict[str, float] = {}
        self._begun: deque[float] = deque()  # when connections were let in
        self._stack = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where to dial."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"ws://{host}:{self._port}{_PATH}"

    @property
    def hears(self) -> bool:
        """Whether it can hear speech, or takes digits only."""
        return self._offline.hears

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(self._offline)
            server = await opening.enter_async_context(
                serve(
                    self._attend,
                    self._host,
                    self._port,
                    process_request=self._route,
                    compression=None,
                    max_size=_MESSAGE_BYTES,
                    close_timeout=3,
                )
            )
            self._stack = opening.pop_all()
        self._port = next(iter(server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # Who may come in

    def _route(self, connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path)
        if path.path == _PATH:
            return None
        if path.path == "/v1/token":
            return self._mint(request, parse_qs(path.query, keep_blank_values=True))
        return connection.respond(http.HTTPStatus.NOT_FOUND, f"The Voice Agent API is at {_PATH}.\n")

    def _mint(self, request: Request, query: dict[str, list[str]]) -> Response:
        """A temporary token, with the answers that were seen live (reference 7.2)."""
        given = _bearer(request.headers.get("Authorization", ""))
        if not given:
            return _json(422, _missing("header", "authorization"))
        if self._key is not None and not _same(given, self._key):
            return _json(404, {"detail": "Invalid API key"})
        values = {}
        for name, low, high in (("expires_in_seconds", 1, 600), ("max_session_duration_seconds", 60, 10800)):
            text = query.get(name, [""])[0]
            if not text and name == "expires_in_seconds":
                return _json(422, _missing("query", name))
            if not text:
                continue
            if not text.isascii() or not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
                return _json(422, _out_of_range(name, text, low, high))
            values[name] = int(text)
        token = secrets.token_urlsafe(48)
        if len(self._tokens) >= _TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        self._tokens[token] = asyncio.get_running_loop().time() + values["expires_in_seconds"]
        return _json(200, {"token": token, "expires_in_seconds": values["expires_in_seconds"]})

    def _admits(self, request: Request) -> bool:
        given = _bearer(request.headers.get("Authorization", ""))
        token = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
        if token and not given:
            return self._tokens.get(token, 0) > asyncio.get_running_loop().time()
        if not given:
            return self._key is None
        return self._key is None or _same(given, self._key) or self._offline.accepts_resume_token(given)

    # One connection

    async def _attend(self, socket: ServerConnection) -> None:
        if socket.request is None or not self._admits(socket.request):
            await self._turn_away(socket, "unauthorized", "Authentication failed")
            return
        if self._comes_too_fast():
            await self._turn_away(socket, "at_capacity", "Too many new sessions in the last minute")
            return
        if "at-capacity" in self._faults and (self.refused < (self._faults["at-capacity"] or float("inf"))):
            await self._turn_away(socket, "at_capacity", "Service is at capacity")
            return
        await _Attendance(socket, self._offline.connect(), self._faults, self._record).run()

    def _comes_too_fast(self) -> bool:
        """Whether a connection is one too many in a minute; only those that are let in count."""
        now, most = asyncio.get_running_loop().time(), self._faults.get("session-rate")
        while self._begun and self._begun[0] <= now - 60:
            self._begun.popleft()
        if most is None or len(self._begun) < most:
            self._begun.append(now)
            return False
        return True

    async def _turn_away(self, socket: ServerConnection, code: str, reason: str) -> None:
        """Accept first, then refuse in-band (reference 13.7)."""
        self.refused += 1
        session = self._offline.connect()
        session.refuse(code, reason)
        session.close(1008, code)
        try:
            async for text in session:
                await socket.send(text)
            await socket.close(1008, code)
        except ConnectionClosed:
            return

    def _record(self, session_id: str) -> Record:
        if session_id not in self.sessions and len(self.sessions) >= _RECORDED_SESSIONS:
            self.sessions.pop(next(iter(self.sessions)))
        return self.sessions.setdefault(session_id, Record(self._recorded_bytes))


class _Attendance:
    """One socket with the session on it, until either is gone."""

    def __init__(
        self, socket: ServerConnection, session: OfflineSession, faults: dict[str, float], record_of: Any
    ) -> None:
        self._socket = socket
        self._session = session
        self._faults = faults
        self._wire = FaultyWire(faults)
        self._record_of = record_of
        self._record: Record | None = None
        self._ready = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            wreck = group.create_task(self._wreck())
            writer = group.create_task(self._write())
            try:
                await self._read()
            finally:
                await self._session.disconnect()
                wreck.cancel()
                await asyncio.wait([writer], timeout=5)
                writer.cancel()
        if self._record is not None:
            self._record.close_code = self._socket.close_code

    async def _read(self) -> None:
        async for text in _messages(self._socket):
            received = _decoded(text)
            sound = _sound_of(received)
            size_s = self._format_ms(len(sound)) / 1000
            refused = self._wire.incoming(received, asyncio.get_running_loop().time(), size_s)
            if refused is None:
                await self._session.receive(text)
            elif refused:
                self._session.refuse(refused, _REASONS[refused])
            if refused is None or refused == "":
                self._note(received, sound)

    def _note(self, received: dict[str, Any], sound: bytes) -> None:
        conversation = self._session.conversation
        if conversation is None:
            return
        if self._record is None:
            record: Record = self._record_of(conversation.session_id)
            record.connections += 1
            record.close_code = None
            self._record = record
        self._record.note(received, sound)

    def _format_ms(self, size_bytes: int) -> float:
        return self._session.conversation.input_format.ms(size_bytes) if self._session.conversation else 0.0

    async def _write(self) -> None:
        try:
            async for text in self._session:
                ready = '"type":"session.ready"' in text[:40]
                if ready and "late-ready" in self._faults:
                    await asyncio.sleep(self._faults["late-ready"])
                for sent in self._wire.outgoing(text):
                    await self._socket.send(sent)
                if ready:
                    self._ready.set()
            await self._socket.close(self._session.close_code or 1000, self._session.close_reason)
        except ConnectionClosed:
            return

    async def _wreck(self) -> None:
        """Carry out the faults that happen at a time."""
        await self._ready.wait()
        ways = [name for name in ("drop-after", "close-1011") if name in self._faults]
        for name in sorted(ways, key=lambda name: self._faults[name]):
            record = self._record
            if record is None or name in record.faults_shown:
                continue
            record.faults_shown.add(name)
            await asyncio.sleep(self._faults[name])
            if name == "drop-after":
                self._socket.transport.abort()
                return
            if self._session.conversation is not None:
                self._session.conversation.fail()
            return


_REASONS: Final = {
    "session_not_found": "Session not found or grace window has expired",
    "audio_rate_violation": "Audio is arriving faster than real time",
}


async def _messages(socket: ServerConnection) -> AsyncIterator[str | bytes]:
    """Everything the client sends, until the socket is gone in whatever way."""
    try:
        async for text in socket:
            yield text
    except ConnectionClosed:
        return


def _decoded(text: str | bytes) -> dict[str, Any]:
    try:
        received = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return received if isinstance(received, dict) else {}


def _sound_of(received: dict[str, Any]) -> bytes:
    audio = received.get("audio") if received.get("type") == "input.audio" else None
    if not isinstance(audio, str):
        return b""
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bearer(header: str) -> str:
    """The key in an Authorization header: raw, or behind Bearer in any case (reference 1.3)."""
    scheme, _, rest = header.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else header.strip()


def _same(given: str, key: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), key.encode())


def _json(status: int, body: dict[str, Any]) -> Response:
    data = msgspec.json.encode(body)
    headers = Headers(
        [("Content-Type", "application/json"), ("Content-Length", str(len(data))), ("Connection", "close")]
    )
    return Response(status, http.HTTPStatus(status).phrase, headers, data)


def _missing(place: str, name: str) -> dict[str, Any]:
    return {"detail": [{"type": "missing", "loc": [place, name], "msg": "Field required", "input": None}]}


def _out_of_range(name: str, text: str, low: int, high: int) -> dict[str, Any]:
    number = text.removeprefix("-")
    if not number.isascii() or not number.isdecimal():
        kind, told, limit = (
            "int_parsing",
            "Input should be a valid integer, unable to parse string as an integer",
            {},
        )
    elif text.startswith("-") or (len(number) <= 9 and int(number) < low):
        kind, told, limit = (
            "greater_than_equal",
            f"Input should be greater than or equal to {low}",
            {"ge": low},
        )
    else:
        kind, told, limit = "less_than_equal", f"Input should be less than or equal to {high}", {"le": high}
    return {"detail": [{"type": kind, "loc": ["query", name], "msg": told, "input": text, "ctx": limit}]}
