"""What one connection may cost: its bounds, of time, of messages and of sound."""

import msgspec


class LegBounds(msgspec.Struct, frozen=True):
    """What a connection may cost."""

    wire_errors: int = 10
    """Unreadable messages in a row after which it is closed."""
    messages_s: float = 1000.0
    """Messages a second that are read of it, a longer one counting as several; what comes faster waits unread."""
    send_s: float = 10.0
    """How long the peer may take to read what was posted, before it counts as gone."""
    close_s: float = 5.0
    """How long flushing and closing may take together."""
    audio_s: float | None = None
    """Seconds of `SendAudio` that may wait; older audio is dropped. None drops nothing."""
    first_message_s: float | None = None
    """How long a new connection may say nothing."""
