"""What the calls of one process share, and the handle through which a tool reaches its call."""

import asyncio
from typing import Any

import msgspec

from gateway.contracts import Store
from gateway.events import AnyEvent, CallInfo, ConfigurationAsked, EndingAsked, NoteAsked, ReplyAsked
from gateway.runtime.dial import Dialler
from gateway.runtime.inbox import Inbox
from gateway.runtime.plugins import Generation
from gateway.runtime.toolbox import Toolbox


class House:
    """What all calls of a generation share."""

    def __init__(self, generation: Generation, store: Store, toolbox: Toolbox, dialler: Dialler) -> None:
        self.generation = generation
        self.store = store
        self.toolbox = toolbox
        self.dialler = dialler


class LiveCall:
    """What a tool may do to the call it runs for; safe to use from any thread."""

    def __init__(self, info: CallInfo, inbox: Inbox) -> None:
        self.info = info
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()

    def hang_up(self, reason: str = "") -> None:
        """End the call once the last words were heard."""
        self._offer(EndingAsked("hang_up", reason=reason))

    def transfer(self, target: str) -> None:
        """Hand the caller to another number once the last words were heard."""
        self._offer(EndingAsked("transfer", target=target))

    def say(self, instructions: str) -> None:
        """Ask the agent to say something, in words of its own."""
        self._offer(ReplyAsked(instructions))

    def configure(self, **session: Any) -> None:
        """Change the agent's session from here on."""
        self._offer(ConfigurationAsked(msgspec.json.encode(session).decode()))

    def note(self, text: str) -> None:
        """Leave a note in the call's journal."""
        self._offer(NoteAsked(text))

    def _offer(self, event: AnyEvent) -> None:
        self._loop.call_soon_threadsafe(self._inbox.put_now, event)
