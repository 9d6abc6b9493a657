"""What the calls of one process share, and the handle through which a tool reaches its call."""

import asyncio
import itertools
from typing import Any, Final

import msgspec

from gateway.contracts import Store
from gateway.errors import ToolError
from gateway.events import AnyEvent, CallInfo, ConfigurationAsked, EndingAsked, NoteAsked, ReplyAsked
from gateway.runtime.dial import Dialler
from gateway.runtime.inbox import Inbox
from gateway.runtime.plugins import Generation
from gateway.runtime.toolbox import Toolbox

WISHES: Final = 100
"""What one run of a tool may ask of its call: the house's events do not wait for room, so they are few."""
WISH_CHARACTERS: Final = 65_536
"""Longest text of one wish."""


class House:
    """What all calls of a generation share."""

    def __init__(self, generation: Generation, store: Store, toolbox: Toolbox, dialler: Dialler) -> None:
        self.generation = generation
        self.store = store
        self.toolbox = toolbox
        self.dialler = dialler


class LiveCall:
    """What one run of a tool may do to the call it runs for; safe to use from any thread.

    Raises:
        ToolError: when it asks for too much.
    """

    def __init__(self, info: CallInfo, inbox: Inbox) -> None:
        self.info = info
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._wishes = itertools.count(1)

    def hang_up(self, reason: str = "") -> None:
        """End the call once the last words were heard."""
        self._offer(EndingAsked("hang_up", reason=_text(reason)))

    def transfer(self, target: str) -> None:
        """Hand the caller to another number once the last words were heard."""
        self._offer(EndingAsked("transfer", target=_text(target)))

    def say(self, instructions: str) -> None:
        """Ask the agent to say something, in words of its own."""
        self._offer(ReplyAsked(_text(instructions)))

    def configure(self, **session: Any) -> None:
        """Change the agent's session from here on."""
        self._offer(ConfigurationAsked(_text(msgspec.json.encode(session).decode())))

    def note(self, text: str) -> None:
        """Leave a note in the call's journal."""
        self._offer(NoteAsked(_text(text)))

    def _offer(self, event: AnyEvent) -> None:
        if next(self._wishes) > WISHES:
            raise ToolError(f"one run of a tool may ask {WISHES} things of its call; this one asked for more")
        self._loop.call_soon_threadsafe(self._inbox.put_now, event)


def _text(given: str) -> str:
    # tools are anybody's code: a number here would fail in the middle of the call instead
    text = str(given)
    if len(text) > WISH_CHARACTERS:
        raise ToolError(f"a text of {len(text)} characters is too long; at most {WISH_CHARACTERS} are taken")
    return text
