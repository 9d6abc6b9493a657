"""The client end of a media WebSocket, through the ``websockets`` library: opening, sending, being cut.

Owns the connection of a simulated caller. Refuses compression, subprotocols, proxies and keep-alive pings, as
carriers do. It never waits for a slow peer: what does not fit into 256 KiB of unsent data is dropped and said.
"""

import ssl
from collections.abc import AsyncIterator, Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from gateway.simulate.webhook import NO_TLS, refusal_in_words

OPEN_WITHIN_S = 10.0
CLOSE_WITHIN_S = 2.0
MAX_UNSENT_BYTES = 262_144
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class SocketError(Exception):
    """The socket could not be opened; one sentence that says why."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class MediaSocket:
    """One open media socket; get it from `open_socket`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.close_code: int | None = None
        self.close_reason = ""

    @property
    def behind(self) -> bool:
        """The peer reads so slowly that what is sent now is dropped."""
        return self._connection.transport.get_write_buffer_size() > MAX_UNSENT_BYTES

    async def send(self, message: str | bytes) -> bool:
        """Send a message; ``False`` when it was dropped because the peer is gone or does not read."""
        if self.behind:
            return False
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            return False
        return True

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Give what the peer sends until the socket is closed, then know its close code and reason."""
        try:
            while True:
                yield await self._connection.recv()
        except ConnectionClosed as closed:
            received = closed.rcvd
            self.close_code = received.code if received else 1006
            self.close_reason = received.reason if received else ""

    def kill(self) -> None:
        """Cut the TCP connection without a word."""
        self._connection.transport.abort()

    async def close(self) -> None:
        """Close in the orderly way, within two seconds."""
        await self._connection.close()


async def open_socket(url: str, headers: Mapping[str, str], user_agent: str | None) -> MediaSocket:
    """Open a media socket.

    Raises:
        SocketError: when nobody answers, or the upgrade is answered with anything but 101.
    """
    try:
        connection = await connect(
            url,
            additional_headers=headers,
            user_agent_header=user_agent,
            compression=None,
            proxy=None,
            open_timeout=OPEN_WITHIN_S,
            close_timeout=CLOSE_WITHIN_S,
            ping_interval=None,
            max_size=MAX_MESSAGE_BYTES,
            # the guard of `behind` comes first, so that a send never waits for the peer
            write_limit=2 * MAX_UNSENT_BYTES,
            process_exception=_no_second_try,
        )
    except InvalidStatus as refusal:
        status, body = refusal.response.status_code, (refusal.response.body or b"").decode(errors="replace")
        kind = refusal.response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        told = refusal_in_words(status, kind, body)
        raise SocketError(f"the upgrade of {url} was answered {told}", status) from None
    except ConnectionRefusedError:
        raise SocketError(f"nobody answers at {url}; is a gateway running there?") from None
    except ssl.SSLError:
        raise SocketError(f"{url} {NO_TLS}") from None
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        raise SocketError(
            f"no WebSocket could be opened to {url} ({str(error) or type(error).__name__})"
        ) from None
    return MediaSocket(connection)


def _no_second_try(error: Exception) -> Exception:
    return error


class Slicer:
    """Cuts a stream of audio into messages of the ordered sizes; without an order each piece is a message."""

    def __init__(self, sizes_bytes: tuple[int, ...]) -> None:
        self._sizes = sizes_bytes
        self._next = 0
        self._rest = b""

    def cut(self, audio: bytes) -> list[bytes]:
        """Take audio and give the messages that are complete."""
        if not self._sizes:
            return [audio]
        self._rest += audio
        pieces = []
        while len(self._rest) >= (size := self._sizes[self._next % len(self._sizes)]):
            pieces.append(self._rest[:size])
            self._rest = self._rest[size:]
            self._next += 1
        return pieces
