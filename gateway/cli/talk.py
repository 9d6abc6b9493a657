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
from gateway.simulate.address import socket_address
from gateway.simulate.sound_card import NoSoundCard, SoundCard
from gateway.simulate.talking import PATH, SILENCE, Talk, Unable

LOOKS_S: Final = 0.1
"""Between two looks at the level meters."""
METER: Final = "▁▂▃▄▅▆▇█"


class Screen:
    """What is shown of a conversation: a line for each thing said, and on a terminal a line that moves."""

    def __init__(self, out: Output, card: SoundCard | None, *, echoes: bool) -> None:
        self._out = out
        self._echoes = echoes
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
            case "talk.left":
                lines = {0: "", 1: "; 1 line was not said"}
                unsaid = lines.get(event["unsaid"], f"; {event['unsaid']} lines were not said")
                self._out.print(f"[dim]the other side ended the session{unsaid}[/]")
            case "talk.sound":
                self._time_first_sound(event)
            case "input.speech.stopped":
                self.asked()
            case "talk.said":
                self.asked()
                if self._echoes:
                    self._show_words("you    ", "bold cyan", str(event["text"]))
            case "transcript.user.delta":
                self._partial = str(event.get("text") or event.get("delta") or "")
            case "transcript.user":
                self._partial = ""
                self._show_words("you    ", "bold cyan", str(event.get("text", "")))
            case "transcript.agent":
                cut = " …" if event.get("interrupted") else ""
                self._show_words("agent  ", "bold green", f"{event.get('text', '')}{cut}")
            case "tool.call":
                self._out.print(f"[magenta]tool[/]   {event.get('name', '')}")
            case "talkpath.notice" | "session.error" | "error" | "reply.error":
                self._out.print(f"[yellow]{event.get('message', '')}[/]")

    def _show_words(self, who: str, style: str, words: str) -> None:
        self._out.print(Text(who, style) + Text(words))

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
    says goodbye. Lines from a pipe or a file are said in turns, each when the agent has done speaking, and their answers
    are waited for. Exit code 1: there was no conversation, or it was lost.

    Example: echo "what are your opening hours" | talkpath talk http://127.0.0.1:8080
    """
    credential = token or os.environ.get("TALKPATH_TOKEN", "")
    out = Output(soft_wrap=True)
    _refuse_impossible(url)  # first: how to get a microphone is of no use where nothing will be said
    with ExitStack() as stack:
        card: SoundCard | None = None
        if not text:
            try:
                card = stack.enter_context(SoundCard())
            except NoSoundCard as missing:
                out.print(f"{missing}. Type lines instead.", markup=False)
        is_typed = _is_terminal()
        screen = Screen(out, card, echoes=not is_typed)
        ear, mouth = (card, card.mouth) if card else (Silent(), lambda: SILENCE)
        conversation = Talk(
            url, credential=credential, mouth=mouth, ear=ear, tell=screen.show, in_turns=not is_typed
        )
        if out.is_terminal:
            looks = Live(
                console=out, transient=True, get_renderable=screen.line, refresh_per_second=1 / LOOKS_S
            )
            stack.enter_context(looks)
        try:
            asyncio.run(_talk(conversation, is_aloud=card is not None))
        except Unable as sentence:
            typer.echo(f"talkpath talk: {sentence}", err=True)
            raise typer.Exit(1) from None


def _refuse_impossible(url: str) -> None:
    try:
        socket_address(url, PATH)
    except ValueError as error:
        typer.echo(f"talkpath talk: {error}", err=True)
        raise typer.Exit(2) from None


def _is_terminal() -> bool:
    """Whether somebody types; `sys.stdin` is None where the shell has closed it."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


async def _talk(conversation: Talk, *, is_aloud: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, conversation.end)

    reader = _Lines(loop, conversation.type, conversation.end_after_answers)
    if not reader.is_open and not is_aloud:
        conversation.end()  # nobody can say anything
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
        self._is_watched = False
        self._next: asyncio.Handle | None = None
        try:
            self._file: int | None = sys.stdin.fileno()
        except (OSError, ValueError, AttributeError):  # the shell has closed it
            self._file = None
            return
        try:
            loop.add_reader(self._file, self._read)
            self._is_watched = True
        except OSError:  # a file or /dev/null: it never makes anybody wait, and cannot be watched
            self._next = loop.call_soon(self._read)

    @property
    def is_open(self) -> bool:
        """Whether there is an input, and more of it may come."""
        return self._file is not None

    def _read(self) -> None:
        if self._file is None:
            return
        try:
            data = os.read(self._file, 4096)
        except OSError:  # the terminal is gone, or it cannot be read
            data = b""
        *lines, self._rest = (self._rest + (data or b"\n")).split(b"\n")  # the last line may have no end
        for line in lines:
            if words := line.decode(errors="replace").strip():
                self._take(words)
        if not data:
            self.close()
            self._end()
        elif not self._is_watched:
            self._next = self._loop.call_soon(self._read)

    def close(self) -> None:
        """Read no more."""
        if self._is_watched and self._file is not None:
            self._loop.remove_reader(self._file)
        if self._next is not None:
            self._next.cancel()
        self._file = None


def _meter(dbfs: float) -> str:
    step = int(min(max(dbfs + 60, 0), 59.9) / 60 * len(METER))
    return METER[step]
