"""Small real runs of the load benchmark, and its command."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.cli import bench
from gateway.simulate.load import generator, running, systems
from gateway.simulate.load.authority import agent_certificate
from gateway.simulate.load.generator import LoadGenerator
from gateway.simulate.load.machine import CannotMeasure, choose_cores, cpu_ns, family, memory_bytes
from gateway.simulate.load.plan import Plan
from gateway.simulate.load.report import BurstReport, Report, StepReport
from gateway.simulate.load.starting import Target
from gateway.simulate.load.systems import SYSTEMS, Place

KNOWN = {system.name: system for system in SYSTEMS}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short pauses, no configuration of whoever runs this."""
    monkeypatch.setattr(generator, "SETTLE_S", 0.1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TALKPATH_CONFIG", raising=False)


async def test_relay_and_gateway_are_measured_side_by_side() -> None:
    """Two calls through each: frames arrive both ways, nothing is refused or lost, and all that is asked is told."""
    plan = Plan(systems=("relay", "talkpath"), calls=(2,), seconds=1.0, runs=1, over=("plain",), burst=3)
    begun: list[Report] = []
    told: list[StepReport | BurstReport] = []
    report = await running.run(plan, begun.append, told.append)
    assert begun == [report]
    assert told == [*report.bursts, *report.steps]
    assert [step.system for step in report.steps] == ["relay", "talkpath"]
    for step in report.steps:
        assert not step.problem
        assert (step.refused, step.lost, step.house_sounds) == (0, 0, 0)
        (window,) = step.windows
        assert window.sent_to_agent >= 80
        assert window.missing_to_agent < window.sent_to_agent / 4
        assert 0 < window.to_agent.median_ms < 1000
        assert window.cpu_us > 0
        assert window.probe.worst_ms > 0
        assert step.cpu_ratio is None, "there is no floor in this run"
    for burst in report.bursts:
        assert burst.figures is not None
        assert burst.figures.failed == 0
        assert 0 < burst.figures.updated.median_ms <= burst.figures.heard.median_ms


@pytest.mark.parametrize("over", ["plain", "tls"])
@pytest.mark.parametrize("name", ["relay-picows-agent", "relay-picows"])
async def test_a_relay_on_another_library_does_the_same_work(name: str, over: str) -> None:
    """All frames pass both ways and each end is left in order, so its cost may stand beside that of the relay."""
    # so many that a reply begins in that second, as calls begin at all places of the cycle
    plan = Plan(systems=(name,), calls=(30,), seconds=1.0, runs=1, over=(over,), burst=0)
    report = await running.run(plan, lambda _: None, lambda _: None)
    (step,) = report.steps
    assert not step.problem
    assert (step.refused, step.lost, step.house_sounds) == (0, 0, 0)
    (window,) = step.windows
    assert window.sent_to_agent >= 1200
    assert window.missing_to_agent < window.sent_to_agent / 4
    assert window.sent_to_caller > 0
    assert window.missing_to_caller < window.sent_to_caller / 4
    assert window.probe.worst_ms > 0


def test_only_what_a_user_compares_with_is_measured_unasked() -> None:
    """Relays on another library are for a decision: they are measured by name only."""
    assert [system.name for system in SYSTEMS if not system.by_default] == [
        "relay-picows-agent",
        "relay-picows",
    ]
    plan = bench._plan(None, None, quick=False, given={})
    assert plan.systems == ("haproxy", "relay", "talkpath-bare", "talkpath")
    assert bench._plan(None, "relay-picows", quick=False, given={}).systems == ("relay-picows",)


async def test_the_gateway_proves_its_agent_over_tls(tmp_path: Path) -> None:
    """A call through Talkpath reaches the agent's end over TLS, because the run's authority is believed."""
    tls = agent_certificate(tmp_path / "ca.pem")
    async with LoadGenerator(tls) as load:
        place = Place(
            agent_port=load.agent_tls_port,
            ca_file=tmp_path / "ca.pem",
            core=choose_cores().system,
            folder=tmp_path,
        )
        async with KNOWN["talkpath"].start(place) as target:
            burst = await load.burst(target, 2)
    assert (burst.failed, burst.why) == (0, "")


async def test_a_system_that_cannot_be_called_is_given_up_at_once() -> None:
    """A step whose first calls fail says why, instead of trying all of them."""
    async with LoadGenerator() as load:
        nowhere = Target(kind="stream", url=f"ws://127.0.0.1:{load.agent_port + 1}/", pid=os.getpid())
        with pytest.raises(CannotMeasure, match="call 1 of 300 could not be started"):
            await load.step(nowhere, 300, windows=1, seconds=1, empty_bytes=0)
        burst = await load.burst(nowhere, 2)
        assert burst.failed == 2
        assert burst.why


async def ended(place: Place, words: str, failure: Exception | None) -> None:
    """Run a system that ends by itself, where something else fails because of it."""
    command = [sys.executable, "-c", f"raise SystemExit({words!r})"]
    async with systems._process(place, command, dict(os.environ)) as process:
        if failure is None:
            await systems._line(process, systems._LISTENS)
        else:
            raise failure


@pytest.mark.parametrize(
    "failure", [None, CannotMeasure("call 7 of 9 could not be started"), OSError("gone")]
)
async def test_a_system_that_ends_by_itself_is_told(failure: Exception | None, tmp_path: Path) -> None:
    """The last line of its log stands in the report, and not what followed from its end."""
    place = Place(agent_port=1, core=choose_cores().system, folder=tmp_path)
    with pytest.raises(CannotMeasure, match=r"ended by itself \(1\): it has no licence"):
        await ended(place, "it has no licence", failure)


def test_a_process_is_measured_from_outside() -> None:
    """The kernel's clock of a process runs with its work, and its memory and family are known."""
    before, own = cpu_ns(os.getpid()), time.process_time_ns()
    while time.process_time_ns() < own + 20_000_000:
        pass
    assert 15_000_000 < cpu_ns(os.getpid()) - before < 500_000_000
    assert memory_bytes(os.getpid()) > 1_000_000
    assert family(os.getpid())[0] == os.getpid()
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_ns(2**22 - 7)


def run_command(*arguments: str) -> tuple[int, str, str]:
    outcome = CliRunner().invoke(cli._app(), ["bench", *arguments])
    return outcome.exit_code, outcome.stdout, outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--calls", "ten"), "--calls takes whole numbers"),
        (("--out", "file/out"), "--out file/out cannot be made (Not a directory)"),
        (
            ("--systems", "envoy"),
            "does not know envoy; there are haproxy, relay, relay-picows-agent, relay-picows, talkpath-bare and",
        ),
    ],
)
def test_wrong_choices_are_refused_in_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    """The command says what it takes and leaves with 2, before anything is measured."""
    Path("file").touch()
    code, _, told = run_command(*arguments)
    assert code == 2
    assert sentence in told


def test_an_absent_floor_is_said_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without HAProxy the rest is measured, and the report has JSON, a picture and a note instead of ratios."""
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ("--plain", "--calls", "1", "--seconds", "0.5", "--runs", "1", "--systems", "haproxy,relay")
    monkeypatch.setattr("gateway.simulate.load.plan.BURST", 0)
    monkeypatch.setattr("gateway.simulate.load.figures.LATE_LIMIT_MS", 1e9)
    code, printed, told = run_command(*arguments, "--json", "--out", str(tmp_path / "out"))
    assert (code, told) == (0, "")
    document: dict[str, Any] = json.loads(printed)
    assert set(document) == {"began", "machine", "plan", "notes", "steps", "bursts"}
    assert "apt-get install haproxy" in document["notes"][0]
    (step,) = document["steps"]
    assert {
        "over",
        "calls",
        "system",
        "best",
        "void",
        "cpu_ratio",
        "memory_per_call_bytes",
        "windows",
    } <= set(step)
    assert {"cpu_us", "core_share", "to_agent", "to_caller", "pacing", "probe", "late"} <= set(step["best"])
    assert set(step["best"]["late"]) == {"median_ms", "p95_ms", "p99_ms", "worst_ms"}
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == document
    assert (tmp_path / "out" / "growth.svg").read_text().startswith("<svg")


def test_a_run_of_which_nothing_can_be_believed_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Void figures are shown, and the exit code says that they are worth nothing."""
    monkeypatch.setattr("gateway.simulate.load.figures.LATE_LIMIT_MS", -1.0)
    arguments = ("--plain", "--calls", "1", "--seconds", "0.5", "--runs", "1", "--systems", "relay")
    code, printed, told = run_command(*arguments)
    assert code == 1
    assert "void" in printed
    assert "idle machine" in told


def test_the_loop_of_the_caller_is_left_as_it_was() -> None:
    """A run gives the process back its cores."""
    before = os.sched_getaffinity(0)
    plan = Plan(systems=("haproxy",), calls=(1,), over=("plain",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        with pytest.raises(CannotMeasure, match="haproxy is not installed"):
            asyncio.run(running.run(plan, lambda _: None, lambda _: None))
    assert os.sched_getaffinity(0) == before
