"""``talkpath call``: a simulated caller that talks to a gateway and shows what a person would have heard."""

import asyncio
import math
import os
import signal
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer
from typer.core import TyperCommand

from gateway.cli.callers import CLIENTS, Line, SimulatedCaller, check_options, make_caller
from gateway.cli.printing import Output
from gateway.cli.refusing import print_json, refuse, refuse_configuration
from gateway.errors import ConfigError, PluginError
from gateway.runtime.config import DEFAULT_FILE, VARIABLE, load_settings
from gateway.settings import Settings
from gateway.simulate import CallResult, CallScript, Utterance
from gateway.simulate.phone import record_wav
from gateway.simulate.report import note_line, summary, tables
from gateway.simulate.result import Note
from gateway.simulate.voice import VoiceError, keys, recording, sentence

_ORDER: Final = "talkpath.call.order"


class OrderedCommand(TyperCommand):
    """Remembers in which order ``--audio``, ``--say``, ``--dtmf`` and ``--barge-in-after`` were given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as always, and leave the order in the context."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


COMMAND_CLASS: Final = OrderedCommand
"""How to register `call`: ``app.command("call", cls=COMMAND_CLASS)(call)``."""


class Spoken(msgspec.Struct, frozen=True):
    """What the options give to say, and the order they came in."""

    order: list[str]
    """Names of options as they were given; empty when that is not known."""
    audio: list[str]
    """WAV files."""
    say: list[str]
    """Texts."""
    dtmf: list[str]
    """Keys."""
    barge_in_after: list[float]
    """Seconds."""

    def utterances(self) -> tuple[Utterance, ...]:
        """Everything to say.

        In the order of the options. Where that is not known: recordings, then texts, then keys, and the
        barge-in is by the second of them, by the only one where there is one.
        """
        waiting: dict[str, list[Any]] = {
            "audio": list(self.audio),
            "say": list(self.say),
            "dtmf": list(self.dtmf),
            "barge_in_after": list(self.barge_in_after),
        }
        order = [name for name in self.order if name in waiting] or self._usual_order()
        makers: dict[str, Any] = {"audio": recording, "say": sentence, "dtmf": keys}
        said: list[Utterance] = []
        over: float | None = None
        for name in order:
            value = waiting[name].pop(0)
            if name == "barge_in_after":
                if over is not None:
                    raise VoiceError("--barge-in-after stands twice before the same utterance; give it once")
                over = value
                continue
            said.append(msgspec.structs.replace(makers[name](value), over_after_s=over))
            over = None
        if over is not None:
            raise VoiceError("--barge-in-after is followed by nothing to say; put --audio or --say behind it")
        return tuple(said)

    def _usual_order(self) -> list[str]:
        order = ["audio"] * len(self.audio) + ["say"] * len(self.say) + ["dtmf"] * len(self.dtmf)
        for _ in self.barge_in_after[:1]:
            order.insert(min(1, len(order) - 1) if order else 0, "barge_in_after")
        return order


Url = Annotated[str, typer.Argument(help="The gateway, such as http://127.0.0.1:8080; a path in it is kept.")]
As = Annotated[
    str,
    typer.Option(
        "--as",
        help="Which caller to be: twilio, vonage, browser or pcm.",
        metavar="twilio|vonage|browser|pcm",
    ),
]
Config = Annotated[Path | None, typer.Option(help="The gateway's gateway.yaml, for the carrier's secrets.")]
Audio = Annotated[
    list[str] | None, typer.Option(help="WAV file to say, or the name of a shipped one; repeatable.")
]
Say = Annotated[list[str] | None, typer.Option(help="Text to say with flite or espeak-ng; repeatable.")]
Dtmf = Annotated[list[str] | None, typer.Option(help="Keys to press (twilio, vonage); repeatable.")]
BargeIn = Annotated[
    list[float] | None,
    typer.Option(help="The next utterance talks over the agent, this many seconds after it is heard."),
]
Record = Annotated[Path | None, typer.Option(help="Stereo WAV file to write: left said, right heard.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Caller = Annotated[str | None, typer.Option(help="The calling number.")]
Callee = Annotated[str | None, typer.Option(help="The called number.")]
SampleRate = Annotated[int, typer.Option(help="pcm: 8000, 16000, 24000, 44100 or 48000.")]
Encoding = Annotated[str, typer.Option(help="pcm, browser: pcm_s16le, pcm_mulaw or pcm_alaw.")]
Events = Annotated[bool, typer.Option(help="pcm: ask for the conversation's events.")]
Key = Annotated[str | None, typer.Option(help="pcm, browser: a gateway key.")]
Token = Annotated[str | None, typer.Option(help="browser: a token that talkpath token has minted.")]
MaxSeconds = Annotated[float, typer.Option(help="Hang up at the latest after this.", min=0.1)]


def call(
    ctx: typer.Context,
    url: Url,
    *,
    as_: As,
    config: Config = None,
    audio: Audio = None,
    say: Say = None,
    dtmf: Dtmf = None,
    barge_in_after: BargeIn = None,
    record: Record = None,
    json: Json = False,
    caller: Caller = None,
    callee: Callee = None,
    sample_rate: SampleRate = 16000,
    encoding: Encoding = "pcm_s16le",
    events: Events = True,
    key: Key = None,
    token: Token = None,
    max_seconds: MaxSeconds = 60.0,
) -> None:
    """Call a gateway as a phone or a PCM client would; show what was said, what was heard and how late.

    Utterances are said in the order in which they are given, each when the agent has finished its reply to the
    one before; after the last answer the caller hangs up. A carrier's caller hears sound only, as a telephone does,
    so what was understood and said is printed for pcm and browser alone. Exit code 0: the agent was heard; 1: it was not, the
    call failed, or nobody reads what is printed; 2: wrong usage.

    Example: talkpath call http://127.0.0.1:8080 --as twilio --audio goforward.wav --barge-in-after 1 --say stop
    """
    order: list[str] = ctx.meta.get(_ORDER, [])
    console = Output(lambda: one.hang_up(), soft_wrap=True)  # noqa: PLW0108 - the caller is made below
    plan: dict[str, Any] = {"observer": None if json else partial(_show, console)}
    try:
        _check_usage(as_, order, record, barge_in_after or [], max_seconds)
        settings = _settings(config)
        spoken = Spoken(order, audio or [], say or [], dtmf or [], barge_in_after or [])
        plan["script"] = CallScript(utterances=spoken.utterances(), max_s=max_seconds)
        line = Line(caller, callee, sample_rate, encoding, events, key, token)
        one = make_caller(as_, url, settings, line, plan)
    except (ConfigError, PluginError) as error:
        refuse_configuration("call", config, error, as_json=json)
    except (VoiceError, ValueError, OSError) as error:
        refuse("call", str(error), as_json=json)
    result = asyncio.run(_run(one))
    _report(result, console, record, _hint(as_, config, result), as_json=json)


def _show(console: Output, note: Note) -> None:
    if note.kind != "mark":  # several a second; the table counts them
        console.print(note_line(note))


async def _run(one: SimulatedCaller) -> CallResult:
    """Make the call; a first interrupt from the keyboard hangs up."""
    loop = asyncio.get_running_loop()

    def hang_up() -> None:
        loop.remove_signal_handler(signal.SIGINT)  # a second interrupt ends the command at once
        one.hang_up()

    loop.add_signal_handler(signal.SIGINT, hang_up)
    return await one.run()


def _check_usage(
    as_: str, given: list[str], record: Path | None, barge_in_after: list[float], max_seconds: float
) -> None:
    """Refuse options that do not fit each other.

    Raises:
        ValueError: in one sentence.
    """
    check_options(as_, given)
    if not all(0 <= seconds < math.inf for seconds in barge_in_after):
        raise ValueError(
            "--barge-in-after takes seconds, 0 or more: how long the agent is heard before it is talked over"
        )
    if math.isnan(max_seconds):
        raise ValueError("--max-seconds takes a number, 0.1 or more")
    if record is not None and (record.is_dir() or not record.absolute().parent.is_dir()):
        raise ValueError(f"--record {record} cannot be written there; name a file in a folder that exists")


def _settings(config: Path | None) -> Settings | None:
    """The configuration that ``serve`` would read in this place; None where it would have none."""
    if config is None and not os.environ.get(VARIABLE) and not Path(DEFAULT_FILE).exists():
        return None
    return load_settings(config)


def _hint(as_: str, config: Path | None, result: CallResult) -> str:
    """What may mend a refusal."""
    if as_ not in CLIENTS and config is None and result.refused_status == HTTPStatus.FORBIDDEN:
        return "; give the gateway's own configuration with --config, as it has the secret to sign with"
    return ""


def _report(result: CallResult, console: Output, record: Path | None, hint: str, *, as_json: bool) -> None:
    """Print, record, and leave with the exit code."""
    if as_json:
        print_json(summary(result))
    else:
        for part in tables(result):
            console.print(part)
    if record is not None:
        try:
            record.write_bytes(record_wav(result))
        except OSError as error:
            _fail(f"--record {record} could not be written ({error.strerror})")
    if not console.is_read:
        raise typer.Exit(1)
    if result.failure is not None:
        _fail(f"the call failed: {result.failure.strip().removesuffix('.')}{hint}")
    if not result.agent_was_heard:
        _fail("the agent was not heard; look at the gateway's log, or try talkpath check")


def _fail(sentence_for_people: str) -> NoReturn:
    typer.echo(f"talkpath call: {sentence_for_people}", err=True)
    raise typer.Exit(1)
