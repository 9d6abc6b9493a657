"""``talkpath demo``: the whole thing on one machine, with no key and no network."""

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from gateway.cli import demo_tools
from gateway.cli.printing import Output
from gateway.cli.turn_table import print_turns
from gateway.contracts import ObserverKind
from gateway.errors import ConfigError, PluginError
from gateway.events import CallInfo
from gateway.hookspecs import hookimpl
from gateway.observers.transcript import TranscriptLine, transcript_kind
from gateway.observers.turns import Turn
from gateway.runtime.config import load_generation

if TYPE_CHECKING:
    from gateway.runtime.plugins import Generation
    from gateway.server.listening import Bound
    from gateway.simulate import CallResult, TwilioCaller

TOKEN: Final = "the-simulated-carrier-signs-with-this"  # noqa: S105 - known to this process alone
CONFIGURATION: Final = """
server: {{host: 127.0.0.1, port: 0, admin_port: 0}}
regions: {{here: {{voice_agent: "{agent}"}}}}
agents:
  rover:
    kind: voice_agent
    region: here
    api_key: none-needed
    session: {{greeting: "{greeting}"}}
    tools: [drive, hang_up]
routes: [{{name: demo, agent: rover, dtmf: text}}]
adapters: {{twilio: {{auth_token: {token}}}, pcm: {{}}, browser: {{}}}}
"""
GREETING: Final = (
    "Hello, this is Talkpath. You can tell me to go forward or backward, name a card, or say goodbye."
)
SPOKEN: Final = {"goforward.wav": "go forward ten meters", "cards_001.wav": "ten of clubs"}
"""Recordings of people, as `gateway/simulate/speech/README.md` lists them."""

Stay = Annotated[bool, typer.Option(help="Keep serving after the call, and print where.")]


def demo(*, stay: Stay = False) -> None:
    """Let a simulated phone call a gateway whose agent hears and speaks on this machine.

    Starts an agent, a gateway and one phone call, and prints the conversation as it happens: a person's recorded
    voice is understood, a tool is called, the agent is interrupted, says goodbye and hangs up. Takes half a minute.

    Example: talkpath demo --stay
    """
    try:
        heard = asyncio.run(_Demo().run(stay=stay))
    except (ConfigError, PluginError, OSError) as error:
        typer.echo(f"the demo could not start: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    raise typer.Exit(0 if heard else 1)


class _Demo:
    """One run: agent, gateway, call, table."""

    def __init__(self) -> None:
        self._console = Output(self._hang_up, width=None if sys.stdout.isatty() else 110)
        self._caller: TwilioCaller | None = None
        self._turns: list[Turn] = []
        self._interrupted = False
        self._began = time.monotonic()

    async def run(self, *, stay: bool) -> bool:
        """True when the caller heard the agent, and somebody the demo."""
        # simulators and server are dear to import; `talkpath --help` does without
        from gateway.server.listening import serving
        from gateway.simulate.provider import Provider

        self._say("An agent, a gateway and a phone, all on this machine. Nothing leaves it.")
        async with Provider() as provider:
            self._say(f"agent    {provider.url} speaks the Voice Agent API")
            if not provider.hears:
                self._say(
                    "agent    hearing is not installed; it takes keys only: pip install 'talkpath[offline]'"
                )
            with _generation(provider.url, self._kind()) as generation:
                async with serving(generation) as bound:
                    self._say(f"gateway  {bound.url}")
                    result = await self._call(bound)
                    self._show(result)
                    if stay and self._console.is_read and not self._interrupted:
                        await self._stay(bound)
        return result.agent_was_heard and self._console.is_read

    def _hang_up(self) -> None:
        """Nobody reads on."""
        if self._caller is not None:
            self._caller.hang_up()

    def _kind(self) -> ObserverKind:
        def tell(_info: CallInfo, line: TranscriptLine) -> None:
            words = Text.from_ansi(line.render(color=self._console.is_terminal))
            self._print(Text.assemble(self._clock(), "  ", words))

        def done(_info: CallInfo, turns: list[Turn], _lines: list[TranscriptLine]) -> None:
            self._turns = turns

        return transcript_kind(tell, done)

    async def _call(self, bound: "Bound") -> "CallResult":
        from gateway.simulate import CallScript, Note, TwilioCaller, Utterance
        from gateway.simulate.voice import recording

        go, card = (recording(name) for name in SPOKEN)
        script = CallScript(
            utterances=(
                go,
                Utterance(label="key 1", digits="1"),
                Utterance(label=card.label, pcm=card.pcm, rate_hz=card.rate_hz, over_after_s=2.5),
                Utterance(label="key 9", digits="9"),
            ),
            hang_up=False,
            max_s=75.0,
        )

        def observe(note: Note) -> None:
            if note.kind in {"said", "pressed", "clear", "warning", "ended"}:
                self._print(Text(f"{self._clock()}  phone: {note.text}", style="dim"))

        with self._interruptible():
            self._say("phone    rings; what follows is one real-time call over a Twilio media stream\n")
            self._caller = TwilioCaller(
                bound.url,
                token=TOKEN,
                script=script,
                caller="+14155550123",
                callee="+14155550100",
                observer=observe,
            )
            if self._interrupted or not self._console.is_read:
                self._caller.hang_up()
            return await self._caller.run()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """A first interrupt from the keyboard hangs up, so that the call ends as calls do; a second one ends all."""
        loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)

        def hang_up() -> None:
            give_back()
            self._interrupted = True
            self._hang_up()

        def give_back() -> None:
            if loop.remove_signal_handler(signal.SIGINT):
                signal.signal(signal.SIGINT, before)

        loop.add_signal_handler(signal.SIGINT, hang_up)
        try:
            yield
        finally:
            give_back()

    def _show(self, result: "CallResult") -> None:
        self._console.print()
        print_turns(self._turns, self._console)
        self._console.print(
            f"\nThe caller heard {sum(i.end_s - i.start_s for i in result.heard):.1f} s of speech; "
            f"the call ended because {result.end_reason}. Interruptions cut off "
            f"{sum(c.discarded_ms for c in result.clears):.0f} ms that nobody heard."
        )

    async def _stay(self, bound: "Bound") -> None:
        self._say(
            f"\nStill serving. Talk to it in a browser at {bound.url}/, or call it with: talkpath call {bound.url} "
            "--as pcm --audio goforward.wav (Ctrl-C ends it)"
        )
        await asyncio.Event().wait()

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:6.1f} s"

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=not self._console.is_terminal)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)


@contextlib.contextmanager
def _generation(agent_url: str, observer: ObserverKind) -> "Iterator[Generation]":
    """The demo's configuration, read from a file like any other."""

    @hookimpl
    def register_observers() -> list[ObserverKind]:
        return [observer]

    with tempfile.TemporaryDirectory(prefix="talkpath-demo-") as folder:
        path = Path(folder) / "gateway.yaml"
        path.write_text(CONFIGURATION.format(agent=agent_url, greeting=GREETING, token=TOKEN))
        reader = SimpleNamespace(__name__="demo", register_observers=register_observers)
        yield load_generation(path, extra=(demo_tools, reader))
