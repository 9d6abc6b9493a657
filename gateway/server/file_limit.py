"""How many files and sockets this process may have open at once: as many as its connections and calls need.

Owns the system's soft limit, which is lower than a busy gateway needs on most machines. Refuses to touch the hard one.
"""

import logging
import resource
from typing import Final

from gateway.settings import Settings

log: Final = logging.getLogger("talkpath.server")

FOR_A_CALL: Final = 2
"""Files of a call besides its caller's connection: the agent's connection and the journal."""
FOR_THE_HOUSE: Final = 256
"""Files of the process itself: libraries, the admin port, requests to carriers and tools."""


def needed_files(settings: Settings) -> int:
    """How many files may be open at once before a limit of the configuration is reached."""
    return settings.server.sockets + FOR_A_CALL * settings.limits.calls + FOR_THE_HOUSE


def raise_file_limit(settings: Settings) -> None:
    """Ask the system for as many open files as the configuration needs; the log tells where it allows fewer."""
    needed = needed_files(settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has a bound of its own below the one that it tells
        allowed = soft
    if allowed < needed:
        log.warning(
            "this process may have %d files open, and server.sockets and limits.calls need %d; raise the limit "
            "(ulimit -n, LimitNOFILE), or lower server.sockets",
            allowed,
            needed,
        )
