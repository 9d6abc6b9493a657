"""Runs a plan: system after system, step after step, and tells what comes of it as it comes.

Owns the order, and that one system's failure is a line in the report and not the end of the run.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from gateway.simulate.load.authority import agent_certificate
from gateway.simulate.load.generator import LoadGenerator
from gateway.simulate.load.machine import (
    CannotMeasure,
    Cores,
    choose_cores,
    describe,
    memory_bytes,
    open_many_files,
    pinned,
)
from gateway.simulate.load.plan import Plan
from gateway.simulate.load.report import FLOOR, BurstReport, Report, StepReport, chosen, ratio
from gateway.simulate.load.systems import SYSTEMS, Place, System

WARM_UP_CALLS: Final = 1
"""Calls after which a system is taken to have loaded what it needs."""

Told = Callable[[StepReport | BurstReport], None]


async def run(plan: Plan, begin: Callable[[Report], None], tell: Told) -> Report:
    """Carry out the plan; ``begin`` is called before the first step, ``tell`` after each.

    Raises:
        CannotMeasure: when nothing can be measured on this machine.
    """
    cores = choose_cores()
    open_many_files()
    known = {system.name: system for system in SYSTEMS}
    absent = {name: why for name in plan.systems if (why := known[name].missing())}
    there = tuple(name for name in plan.systems if name not in absent)
    if not there:
        raise CannotMeasure("; ".join(absent.values()))
    plan = msgspec.structs.replace(plan, systems=there)
    report = Report(
        began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=describe(),
        plan=plan,
        notes=[*filter(None, [cores.note]), *(_left_out(name, why) for name, why in absent.items())],
    )
    begin(report)
    with tempfile.TemporaryDirectory(prefix="talkpath-bench-") as folder, pinned(cores.generator), _quiet():
        ca_file = Path(folder) / "authority.pem"
        tls = agent_certificate(ca_file) if "tls" in plan.over else None
        async with LoadGenerator(tls) as load:
            bench = _Bench(load, cores, Path(folder), report, tell)
            for over in plan.over:
                await bench.measure(over, [known[name] for name in there])
    return report


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries from telling of each broken connection: an overloaded system drops them by the hundred."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "aiofastnet", "picows")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _left_out(name: str, why: str) -> str:
    without = "; without it there are no ratios" if name == FLOOR else ""
    return f"{name} is left out: {why}{without}"


class _Bench:
    """One run."""

    def __init__(self, load: LoadGenerator, cores: Cores, folder: Path, report: Report, tell: Told) -> None:
        self._plan = report.plan
        self._load = load
        self._cores = cores
        self._folder = folder
        self._report = report
        self._tell = tell

    async def measure(self, over: str, systems: Iterable[System]) -> None:
        """Everything that is measured over plain TCP, or over TLS."""
        place = self._place(over)
        systems = list(systems)
        for system in systems if self._plan.burst else ():
            burst = await self._burst(over, place, system)
            self._report.bursts.append(burst)
            self._tell(burst)
        gave_up: set[str] = set()
        for calls in self._plan.calls:
            for system in systems:
                step = await self._step(over, place, system, calls, given_up=system.name in gave_up)
                if step.problem:
                    gave_up.add(system.name)
                step = msgspec.structs.replace(step, cpu_ratio=ratio(step, [*self._report.steps, step]))
                self._report.steps.append(step)
                self._tell(step)

    def _place(self, over: str) -> Place:
        is_tls = over == "tls"
        return Place(
            agent_port=self._load.agent_tls_port if is_tls else self._load.agent_port,
            ca_file=self._folder / "authority.pem" if is_tls else None,
            core=self._cores.system,
            folder=self._folder,
        )

    async def _step(
        self, over: str, place: Place, system: System, calls: int, *, given_up: bool
    ) -> StepReport:
        nothing = StepReport(over=over, calls=calls, system=system.name)
        if given_up:
            return msgspec.structs.replace(nothing, problem="not tried, as fewer calls were too many")
        plan = self._plan
        try:
            async with system.start(place) as target:
                await self._load.burst(target, WARM_UP_CALLS)
                step = await self._load.step(
                    target,
                    calls,
                    windows=plan.runs,
                    seconds=plan.seconds,
                    empty_bytes=memory_bytes(target.pid),
                )
        except (CannotMeasure, OSError) as error:
            return msgspec.structs.replace(nothing, problem=str(error))
        best, void = chosen(step.windows)
        return StepReport(
            over=over,
            calls=calls,
            system=system.name,
            behind=best is not None and best.is_behind,
            void=void,
            best=best,
            memory_per_call_bytes=step.memory_per_call_bytes,
            clears=step.clears,
            lost=step.lost,
            house_sounds=step.house_sounds,
            refused=step.refused,
            windows=step.windows,
        )

    async def _burst(self, over: str, place: Place, system: System) -> BurstReport:
        try:
            async with system.start(place) as target:
                await self._load.burst(target, WARM_UP_CALLS)
                figures = await self._load.burst(target, self._plan.burst)
        except (CannotMeasure, OSError) as error:
            return BurstReport(over=over, system=system.name, problem=str(error))
        return BurstReport(over=over, system=system.name, figures=figures)
