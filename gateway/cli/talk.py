"""``talkpath talk``: talk to an agent from the terminal, aloud where there is a microphone, else in writing."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any, Final

import typer
from rich.live import Live
from rich.text import Text

from gateway.audio import AUDIBLE_DBFS, PCM_24K, level_dbfs
from gateway.cli.printing import Output
from gateway.simulate.sound_card import NoSoundCard, SoundCard
from gateway.simulate.talking import SILENCE, Talk, Unable

LOOKS_S: Final = 0.1
"""Between two looks at the level meters."""
METER: Final = "▁▂▃▄▅▆▇█"


class Screen:
    """What is shown of a conversation: a line for each thing said, and on a terminal a line that moves."""

    def __init__(self, out: Output, card: SoundCard | None) -> None:
        self._out = out
        self._card = card
        self._partial = ""
        self._asked_at: float | None = None
        self._answered: str | None = None

    def show(self, event: dict[str, Any]) -> None:
        """Show an event of the session."""
        match event["type"]:
            case "session.ready":
                self._out.print(f"[dim]connected: session {event.get('session_id', '')}[/]")
            case "talk.lost":
                self._out.print("[yellow]the connection dropped; coming back…[/]")
            case "talk.sound":
                self._time_first_sound(event)
            case "input.speech.stopped":
                self.asked()
            case "transcript.user.delta":
                self._partial = str(event.get("text") or event.get("delta") or "")
            case "transcript.user":
                self._partial = ""
                self._out.print(Text("you    ", "bold cyan") + Text(str(event.get("text", ""))))
            case "transcript.agent":
                cut = " …" if event.get("interrupted") else ""
                self._out.print(Text("agent  ", "bold green") + Text(f"{event.get('text', '')}{cut}"))
            case "tool.call":
                self._out.print(f"[magenta]tool[/]   {event.get('name', '')}")
            case "talkpath.notice" | "session.error" | "error" | "reply.error":
                self._out.print(f"[yellow]{event.get('message', '')}[/]")

    def asked(self) -> None:
        """The person has finished saying something: the agent's time begins."""
        self._asked_at = time.monotonic()

    def _time_first_sound(self, event: dict[str, Any]) -> None:
        audible = level_dbfs(event["pcm"], PCM_24K) >= AUDIBLE_DBFS
        if self._asked_at is not None and audible:
            took_ms = (time.monotonic() - self._asked_at) * 1000
            self._out.print(f"[dim]       answered after {took_ms:.0f} ms[/]")
            self._asked_at = None

    def line(self) -> Text:
        """The line that moves: both levels, and what is being said."""
        if self._card is None:
            return Text(self._partial, "italic dim")
        levels = f"mic {_meter(self._card.said_dbfs)}  agent {_meter(self._card.heard_dbfs)}  "
        return Text(levels, "dim") + Text(self._partial, "italic")


class Silent:
    """The ear of a person who reads."""

    def play(self, pcm: bytes) -> None:
        """Nobody listens."""

    def flush(self) -> None:
        """Nothing waits."""


def talk(
    url: Annotated[
        str, typer.Argument(help="Address of a gateway; with a path, of any server of the Voice Agent API.")
    ] = "http://127.0.0.1:8080",
    *,
    token: Annotated[
        str, typer.Option(help="A minted token or a gateway key; also $TALKPATH_TOKEN.", show_default=False)
    ] = "",
    text: Annotated[
        bool, typer.Option(help="Type instead of talking, though there is a microphone.")
    ] = False,
) -> None:
    """Talk to an agent from the terminal: aloud where there is a microphone, else by typing lines.

    Wear headphones: the agent must not hear itself. A dropped connection is resumed; Ctrl-C or the end of the input
    says goodbye. Exit code 1: there was no conversation, or it was lost.

    Example: talkpath talk http://127.0.0.1:8080
    """
    credential = token or os.environ.get("TALKPATH_TOKEN", "")
    out = Output(soft_wrap=True)
    with ExitStack() as stack:
        card: SoundCard | None = None
        if not text:
            try:
                card = stack.enter_context(SoundCard())
            except NoSoundCard as missing:
                out.print(f"{missing}. Type lines instead.", markup=False)
        screen = Screen(out, card)
        ear, mouth = (card, card.mouth) if card else (Silent(), lambda: SILENCE)
        try:
            conversation = Talk(url, credential=credential, mouth=mouth, ear=ear, tell=screen.show)
        except ValueError as error:
            typer.echo(f"talkpath talk: {error}", err=True)
            raise typer.Exit(2) from None
        if out.is_terminal:
            live = stack.enter_context(Live(console=out, transient=True, get_renderable=screen.line))
            live.auto_refresh = True
        try:
            asyncio.run(_talk(conversation, screen))
        except Unable as sentence:
            typer.echo(f"talkpath talk: {sentence}", err=True)
            raise typer.Exit(1) from None


async def _talk(conversation: Talk, screen: Screen) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, conversation.end)

    def take(line: str) -> None:
        screen.asked()
        conversation.type(line)

    reader = _Lines(loop, take, conversation.end)
    try:
        await conversation.run()
    finally:
        reader.close()


class _Lines:
    """Lines that are typed, one by one; the end of the input is the end of the conversation."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, take: Callable[[str], None], end: Callable[[], None]
    ) -> None:
        self._loop, self._take, self._end = loop, take, end
        self._rest = b""
        try:
            self._file: int | None = sys.stdin.fileno()
            loop.add_reader(self._file, self._read)
        except (OSError, ValueError, AttributeError):  # no input, or one that cannot be waited for
            self._file = None

    def _read(self) -> None:
        data = os.read(self._file, 4096) if self._file is not None else b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if words := line.decode(errors="replace").strip():
                self._take(words)
        if not data:
            self.close()
            self._end()

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._loop.remove_reader(self._file)
            self._file = None


def _meter(dbfs: float) -> str:
    step = int(min(max(dbfs + 60, 0), 59.9) / 60 * len(METER))
    return METER[step]
