"""``talkpath bench``: puts this machine's gateway under load, beside HAProxy and a bare relay."""

import asyncio
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer

from gateway.cli.printing import Output
from gateway.cli.usage import listed

if TYPE_CHECKING:
    from gateway.simulate.load.plan import Plan
    from gateway.simulate.load.report import BurstReport, Report, StepReport

NEEDS = "the load generator is an extra; install it with: pip install 'talkpath[bench]'"


Calls = Annotated[
    str | None,
    typer.Option(
        help="Calls at once, a step each; else 10,50,100,200,300,400.", metavar="N,N,…", show_default=False
    ),
]
Systems = Annotated[
    str | None,
    typer.Option(
        help="What to measure, of haproxy, relay, talkpath-bare (without observers) and talkpath, else these; "
        "or also relay-picows-agent and relay-picows, bare relays on another library.",
        metavar="NAME,NAME,…",
        show_default=False,
    ),
]
WindowSeconds = Annotated[
    float | None, typer.Option(help="Length of a measurement; else 3.", min=0.5, max=600, show_default=False)
]
Runs = Annotated[
    int | None,
    typer.Option(
        help="Measurements of a step, the best of which counts; else 3.", min=1, max=100, show_default=False
    ),
]
Tls = Annotated[
    bool | None,
    typer.Option(
        "--tls/--plain",
        help="Reach the agent over TLS only, or without it only; else both, one after the other.",
        show_default=False,
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Look for a minute: 10 and 100 calls, once, without TLS.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder in which bench.json and growth.svg are written.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def bench(
    *,
    calls: Calls = None,
    systems: Systems = None,
    seconds: WindowSeconds = None,
    runs: Runs = None,
    tls: Tls = None,
    quick: Quick = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Measure what a call costs on this machine, beside HAProxy and a bare relay in the same run.

    Everything stays on this machine. The load generator has one core, the system under test another; leave the
    machine alone meanwhile, or the figures say so. Exit code 1: nothing that could be believed was measured.

    Example: talkpath bench --quick
    """
    given: dict[str, Any] = {"seconds": seconds, "runs": runs}
    if tls is not None:
        given["over"] = ("tls",) if tls else ("plain",)
    plan = _plan(
        calls, systems, quick=quick, given={key: value for key, value in given.items() if value is not None}
    )
    if out is not None:
        _make(out)  # now, and not after a quarter of an hour
    report = _run(plan, Output(quiet=json, width=None if sys.stdout.isatty() else 120))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    if out is not None:
        _write(report, out)
    if not report.is_worth_something:
        _leave(1, "nothing was measured that could be believed; try again on an idle machine")


def _plan(calls: str | None, systems: str | None, *, quick: bool, given: dict[str, Any]) -> "Plan":
    try:
        from gateway.simulate.load.plan import QUICK, Plan, read_calls, read_systems
        from gateway.simulate.load.systems import SYSTEMS
    except ModuleNotFoundError as error:
        _leave(1, f"{NEEDS} ({error.name} is missing)")
    known = [system.name for system in SYSTEMS]
    usual = tuple(system.name for system in SYSTEMS if system.by_default)
    choices: dict[str, Any] = {**(QUICK if quick else {}), **given, "systems": usual}
    try:
        if calls is not None:
            choices["calls"] = read_calls(calls)
    except ValueError:
        _leave(
            2, f"--calls takes whole numbers from 1 with commas between them, such as 10,50,100; not {calls}"
        )
    try:
        if systems is not None:
            choices["systems"] = read_systems(systems, known)
    except ValueError as error:
        _leave(2, f"--systems does not know {error}; there are {listed(known)}")
    return Plan(**choices)


def _run(plan: "Plan", console: Output) -> "Report":
    import uvloop

    from gateway.simulate.load import tables
    from gateway.simulate.load.machine import CannotMeasure
    from gateway.simulate.load.running import run

    def begin(report: "Report") -> None:
        for text in tables.opening(report):
            console.print(text, soft_wrap=True)

    def tell(done: "StepReport | BurstReport") -> None:
        console.print(f"{next(counted):3}  ", tables.line(done), sep="", soft_wrap=True)

    counted = itertools.count(1)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(run(plan, begin, tell))
    except CannotMeasure as error:
        _leave(1, str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    for table in tables.tables(report):
        console.print(table)
    return report


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _leave(2, f"--out {folder} cannot be made ({error.strerror}); name a folder that can")


def _write(report: "Report", folder: Path) -> None:
    from gateway.simulate.load.picture import growth

    try:
        (folder / "bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
        (folder / "growth.svg").write_text(growth(report), encoding="utf-8")
    except OSError as error:
        _leave(1, f"--out {folder} could not be written ({error.strerror})")


def _leave(code: int, sentence: str) -> NoReturn:
    typer.echo(f"talkpath bench: {sentence}", err=True)
    raise typer.Exit(code)
