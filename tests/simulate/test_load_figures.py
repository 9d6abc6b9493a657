"""From raw numbers of a load run to its report: percentiles, void windows, ratios, tables, picture, choices."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from gateway.runtime.config import load_generation
from gateway.simulate.load import machine, tables
from gateway.simulate.load.arrivals import Arrival, Notes
from gateway.simulate.load.figures import (
    LATE_LIMIT_MS,
    Spread,
    Used,
    Window,
    best_of,
    pacing_errors_ns,
    percentile,
    spread,
    window_of,
)
from gateway.simulate.load.generator import Burst
from gateway.simulate.load.pace import Grid
from gateway.simulate.load.picture import growth
from gateway.simulate.load.plan import QUICK, Plan, read_calls, read_systems
from gateway.simulate.load.report import BurstReport, Report, StepReport, chosen, ratio
from gateway.simulate.load.systems import HAPROXY, SYSTEMS, Place, configuration, observer_plugins

MS = 1_000_000


def window(cpu_us: float = 50.0, late_ms: float = 0.5, delay_ms: float = 1.0) -> Window:
    delay = Spread(delay_ms / 2, delay_ms, delay_ms, delay_ms * 2)
    return Window(
        seconds=3.0,
        cpu_us=cpu_us,
        core_share=0.2,
        to_agent=delay,
        to_caller=delay,
        pacing=delay,
        probe=delay,
        late=Spread(0.1, late_ms, late_ms, late_ms),
        sent_to_agent=100,
        sent_to_caller=60,
        missing_to_agent=0,
        missing_to_caller=0,
        generator_share=0.3,
    )


def step(
    system: str, cpu_us: float, calls: int = 10, over: str = "plain", *, void: bool = False
) -> StepReport:
    return StepReport(over=over, calls=calls, system=system, best=window(cpu_us), void=void)


def test_percentiles_are_values_that_were_measured() -> None:
    """The smallest value that the share of all do not exceed; of one value always that."""
    hundred = list(range(1, 101))
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 0.991, 1.0)] == [1, 50, 99, 100, 100]
    assert percentile([7], 0.99) == 7
    assert spread([3 * MS, 1 * MS, 2 * MS]) == Spread(2.0, 3.0, 3.0, 3.0)
    assert spread([]) == Spread()


def test_a_window_counts_what_went_out_in_it() -> None:
    """Frames sent before and after do not count, frames that arrive a moment after it do, lost ones are missing."""
    notes, grid = Notes(), Grid(0, 40)
    for sent_ms, arrived_ms in ((990, 1001), (1010, 1012), (1020, 1024), (1999, 2100), (2001, 2002)):
        notes.to_agent.arrive(3, sent_ms * MS, arrived_ms * MS)
    for sent_ms in (1010, 1020, 1030, 1999):
        notes.send(notes.to_agent, sent_ms * MS - MS, sent_ms * MS)
    used = Used(1000 * MS, 2000 * MS, system_cpu_ns=400_000, own_cpu_ns=MS)
    figures = window_of(notes, grid, used, probes_ns=[])
    assert (figures.sent_to_agent, figures.missing_to_agent) == (4, 1)
    assert figures.to_agent == Spread(4.0, 101.0, 101.0, 101.0)
    assert figures.late == Spread(1.0, 1.0, 1.0, 1.0)
    assert figures.cpu_us == 200.0, "two frames one way are one there and back"
    assert figures.core_share == pytest.approx(0.0004)


def test_a_stamp_outlives_the_turn_of_its_clock() -> None:
    """The delay is right also when the clock has more digits than a stamp."""
    notes = Notes()
    sent_ns = 2**56 + 500
    notes.to_agent.arrive(1, sent_ns % 2**56, sent_ns + 7)
    assert notes.to_agent.within(0, 2**60) == [Arrival(1, sent_ns, 7)]


def test_pacing_errors_do_not_count_a_constant_delay() -> None:
    """Frames that all come equally late are on the grid; one that comes 3 ms later is 3 ms off it."""
    grid = Grid(0, 40)
    due = [grid.at_ns(frame * 40 + grid.agent_slot(0)) for frame in range(5)]
    frames = [Arrival(0, at, 5 * MS) for at in due]
    frames[3] = Arrival(0, due[3] + MS, 7 * MS)  # sent a millisecond late, two more on the way
    assert pacing_errors_ns(frames, grid) == [0, 0, 0, 3 * MS, 0]
    assert pacing_errors_ns([], grid) == []


def test_a_window_of_a_late_generator_is_void() -> None:
    """Past the limit nothing is believed, however good it looks; among void ones the least late is shown as such."""
    good, cheap_but_late = window(50.0), window(10.0, late_ms=LATE_LIMIT_MS + 0.1)
    later = window(5.0, late_ms=9.0)
    assert not window(late_ms=LATE_LIMIT_MS).is_void
    assert best_of([cheap_but_late, good]) is good
    assert chosen([cheap_but_late, good]) == (good, False)
    assert best_of([cheap_but_late]) is None
    assert chosen([later, cheap_but_late]) == (cheap_but_late, True)
    assert chosen([]) == (None, False)


def test_a_system_that_does_not_keep_up_has_no_ratio() -> None:
    """What it costs per frame is too little, as it handles many at once; neither side of a ratio may be so."""
    keeps_up, behind = window(), window(delay_ms=50.0)
    assert not keeps_up.is_behind
    assert behind.is_behind
    assert msgspec.structs.replace(keeps_up, missing_to_agent=2).is_behind
    slow = msgspec.structs.replace(step("talkpath", 5.0), best=behind, behind=True)
    assert ratio(slow, [step("haproxy", 20.0)]) is None
    assert ratio(step("talkpath", 50.0), [msgspec.structs.replace(step("haproxy", 2.0), behind=True)]) is None


def test_a_ratio_needs_the_floor_of_the_same_step() -> None:
    """HAProxy with as many calls over the same transport in this run, neither of them void."""
    floor = step("haproxy", 20.0)
    there = [floor, step("haproxy", 10.0, calls=50), step("haproxy", 40.0, over="tls")]
    assert ratio(step("talkpath", 50.0), there) == 2.5
    assert ratio(step("talkpath", 50.0, over="tls"), there) == 1.25
    assert ratio(step("talkpath", 50.0, calls=100), there) is None
    assert ratio(step("talkpath", 50.0, void=True), there) is None
    assert ratio(step("talkpath", 50.0), [step("haproxy", 20.0, void=True)]) is None


def a_report() -> Report:
    names = tuple(system.name for system in SYSTEMS if system.by_default)
    plan = Plan(systems=names, calls=(10, 400), over=("plain", "tls"))
    spreads = {name: Spread(1, 2, 3, 4) for name in ("opened", "updated", "heard")}
    burst = Burst(calls=100, failed=2, why="too slow", **spreads)
    steps = [
        StepReport(over=over, calls=calls, system=name, problem="the system ended", best=None)
        if (over, calls, name) == ("tls", 400, "relay")
        else step(name, 30.0 * len(name), calls, over, void=name == "talkpath-bare")
        for over, calls, name in plan.steps()
    ]
    return Report(
        began="2026-11-20T00:00:00Z",
        machine={"processor": "a core", "python": "3.11"},
        plan=plan,
        notes=["one core only"],
        steps=steps,
        bursts=[BurstReport(over="plain", system="relay", figures=burst)],
    )


def test_people_are_told_everything_in_tables() -> None:
    """Every step has its rows, void ones say so, a failed one is not left out, and notes come with it."""
    console = Console(width=120, record=True, file=io.StringIO())
    report = a_report()
    for part in (
        *tables.opening(report),
        *map(tables.line, report.bursts),
        *map(tables.line, report.steps),
        *tables.tables(report),
    ):
        console.print(part)
    text = console.export_text()
    for wanted in (
        "what it costs, plain TCP",
        "what it costs, TLS",
        "void:",
        "none",
        "one core only",
        "started in the",
    ):
        assert wanted in text
    assert "400 calls: the system ended" in text
    assert "2 failed: too slow" in text


def test_what_did_not_arrive_is_told_as_a_part_of_what_was_sent() -> None:
    """Nothing where all arrived, and both ways where something is missing."""
    report = a_report()
    lossy = msgspec.structs.replace(window(), missing_to_agent=20, missing_to_caller=6)
    report.steps = [msgspec.structs.replace(step("relay", 1.0), best=lossy)]
    console = Console(width=120, record=True, file=io.StringIO())
    for table in tables.tables(report):
        console.print(table)
    assert "20.0% + 10.0%" in console.export_text()


def test_the_picture_has_a_line_for_each_system_and_a_chart_for_each_transport() -> None:
    """One SVG with two charts a transport; nothing in it asks for a script or another host."""
    drawn = growth(a_report())
    assert drawn.count("<svg ") == 1 + 4
    assert "talkpath-bare" in drawn
    assert "µs of processor" in drawn
    assert "<script" not in drawn
    assert all(hasattr(finder, "find_spec") for finder in sys.meta_path), "imports are as they were"
    assert growth(Report(began="", machine={}, plan=Plan(systems=("relay",)), notes=[])).startswith("<svg")


def test_a_report_is_read_back_from_its_json() -> None:
    """The document that `--json` prints holds all of the report."""
    report = a_report()
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_choices_are_read_as_they_are_typed() -> None:
    """Calls in order and once, systems in the order of the report; nonsense is refused."""
    assert read_calls("100,10,10") == (10, 100)
    assert read_systems("talkpath,haproxy", ("haproxy", "relay", "talkpath")) == ("haproxy", "talkpath")
    for wrong in ("", "0", "10,,20", "-5", "100000"):
        with pytest.raises(ValueError, match=r"^|invalid literal"):
            read_calls(wrong)
    with pytest.raises(ValueError, match="envoy"):
        read_systems("envoy", ("haproxy",))


def test_a_run_takes_a_quarter_of_an_hour_and_a_quick_one_a_minute_or_two() -> None:
    """What is told before a run fits what the documentation promises."""
    names = tuple(system.name for system in SYSTEMS if system.by_default)
    assert Plan(systems=names).about_s < 15 * 60
    assert msgspec.convert({"systems": names, **QUICK}, Plan).about_s < 2 * 60


@pytest.mark.parametrize("observed", [True, False])
def test_talkpath_is_configured_as_users_configure_it(*, observed: bool, tmp_path: Path) -> None:
    """The configuration loads; without observers there are none, with them all that are shipped."""
    place = Place(agent_port=1234, core=0, folder=tmp_path)
    path = tmp_path / "gateway.yaml"
    path.write_bytes(configuration(place, observed=observed))
    generation = load_generation(path)
    assert bool(generation.parts.observers) is observed
    assert "observers.log" in observer_plugins()
    assert generation.settings.regions["bench"].voice_agent == "ws://127.0.0.1:1234/v1/ws"


def test_a_system_with_tls_believes_the_authority_of_the_run_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its process gets the authority, and the agent's address is the certified name."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    place = Place(agent_port=1234, core=0, folder=tmp_path, ca_file=tmp_path / "ca.pem")
    assert place.agent_url == "wss://localhost:1234/v1/ws"
    assert place.environment["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")
    assert "SSL_CERT_FILE" not in Place(agent_port=1, core=0, folder=tmp_path).environment


@pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="haproxy is not installed (scripts/parts haproxy)"
)
@pytest.mark.parametrize("tls", [False, True])
def test_the_floor_is_configured(*, tls: bool, tmp_path: Path) -> None:
    """HAProxy takes the shipped file, with and without TLS to the agent."""
    environment = {"TALKPATH_BENCH_LISTEN": "127.0.0.1:1", "TALKPATH_BENCH_AGENT": "localhost:9"}
    if tls:
        from gateway.simulate.load.authority import agent_certificate

        agent_certificate(tmp_path / "ca.pem")
        environment["TALKPATH_BENCH_CA"] = str(tmp_path / "ca.pem")
    found = shutil.which("haproxy") or ""
    run = subprocess.run([found, "-c", "-f", str(HAPROXY)], env=environment, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("cores", "siblings", "expected", "noted"),
    [
        ({0, 1, 2, 3}, set(), (3, 0), ""),
        ({2}, set(), (2, 2), "one core only"),
        ({0, 1}, {1}, (1, 0), "two threads"),
    ],
)
def test_generator_and_system_get_a_core_each(
    monkeypatch: pytest.MonkeyPatch,
    cores: set[int],
    siblings: set[int],
    expected: tuple[int, int],
    noted: str,
) -> None:
    """Where there are not two of their own, the report says what that does to the figures."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: cores)
    monkeypatch.setattr(machine, "_siblings", lambda _core: siblings)
    chosen_cores = machine.choose_cores()
    assert (chosen_cores.generator, chosen_cores.system) == expected
    assert noted in chosen_cores.note
    assert bool(noted) is bool(chosen_cores.note)
