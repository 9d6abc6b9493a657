"""Two hours' worth of calls at four fifths of what the machine can carry: nothing of them stays behind."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from figures import tell
from holdings import Gateway, Watch
from slopes import Slope, slope

from gateway.simulate.load import generator
from gateway.simulate.load.generator import LoadGenerator
from gateway.simulate.load.machine import CannotMeasure, choose_cores, open_many_files
from gateway.simulate.load.starting import Target
from gateway.simulate.load.systems import SYSTEMS, Place

TALKPATH = next(system for system in SYSTEMS if system.name == "talkpath")
STEPS = (50, 100, 150, 200, 300, 400)
"""Numbers of calls that are tried until one is too many."""
TOO_LATE_MS = 40.0
"""Added delay, 99th percentile, at which a machine carries no more calls: two frames."""
SHARE = 0.8
WORTH_S = 7200.0
CALL_S = 180.0
"""Length of a telephone call, as rates of calls are reckoned; one call here is as short as `LIFE_S`."""
LIFE_S = 4.0
ROUNDS = int(os.environ.get("TALKPATH_ROUNDS", str(int(WORTH_S / CALL_S))))
"""Every call of a round begins, talks, is interrupted and ends: each stands for one of `CALL_S` in those hours."""
WARM_UP = 5
"""Rounds after which caches are full and Python holds the memory that it needs."""
STEADY_S = float(os.environ.get("TALKPATH_STEADY_S", "300"))
"""How long the same calls go on without a change, to see whether a call that lasts grows."""


def test_slopes_tell_growth_from_noise() -> None:
    """A figure that grows has a slope beyond its noise; one that wavers has not."""
    calls = list(range(0, 2000, 100))
    assert slope(calls, [5 + call / 100 for call in calls]).per_thousand == pytest.approx(10)
    assert not slope(calls, [5 + call / 100 + call % 3 for call in calls]).is_zero
    assert slope(calls, [5 + (call // 100) % 2 for call in calls]).is_zero
    assert slope(calls, [5.0 for _ in calls]).is_zero


async def the_knee(load: LoadGenerator, target: Target) -> int:
    """The most calls of `STEPS` that are still in time on this machine."""
    knee = STEPS[0]
    for calls in STEPS:
        try:
            step = await load.step(target, calls, windows=2, seconds=3, empty_bytes=0)
        except CannotMeasure:
            break
        late = min(max(w.to_agent.p99_ms, w.to_caller.p99_ms) for w in step.windows)
        tell("endurance", f"{calls} calls: p99 of added delay {late:.1f} ms")
        if late > TOO_LATE_MS or step.lost:
            break
        knee = calls
    return knee


def report(what: str, slopes: dict[str, Slope], unit: str) -> None:
    """Tell every slope in a line."""
    for name, line in slopes.items():
        grows = "" if line.is_zero else "  GROWS"
        noise = f"{line.per_thousand:+.3f} ± {line.noise_per_thousand:.3f} {unit}"
        tell(f"endurance, {what}", f"{name:12} {line.first:9.1f} → {line.last:9.1f}   {noise}{grows}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_two_hours_of_calls_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory, handles, tasks and threads return to where they were, and calls that last do not grow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generator, "SETTLE_S", 0.2)
    (tmp_path / "plugins.d").mkdir()
    shutil.copy(Path(__file__).parent / "census.py", tmp_path / "plugins.d" / "census.py")
    open_many_files()
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.generator})
    async with LoadGenerator() as load:
        place = Place(agent_port=load.agent_port, core=cores.system, folder=tmp_path)
        async with TALKPATH.start(place) as target:
            gateway = Gateway(target, tmp_path)
            calls = max(1, int(SHARE * await the_knee(load, target)))
            ended, rest = [], []
            for number in range(WARM_UP + ROUNDS):
                await load.step(target, calls, windows=1, seconds=LIFE_S, empty_bytes=0)
                if number >= WARM_UP:
                    ended.append((number - WARM_UP) * calls)
                    rest.append(await gateway.at_rest(load))
            slopes = {name: slope(ended, [sample[name] for sample in rest]) for name in rest[0]}
            tell("endurance", f"{ROUNDS} rounds of {calls} calls, {int(SHARE * 100)} % of the knee")
            report("after calls", slopes, "per 1000 calls")

            watch = Watch(gateway, every_s=2, after_s=min(20, STEADY_S / 3))
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(watch.look())
                await load.step(target, calls, windows=1, seconds=STEADY_S, empty_bytes=0)
                looking.cancel()
            lasting = {
                name: slope(watch.moments, [one[name] for one in watch.held]) for name in watch.held[0]
            }
            report(f"{calls} that last {STEADY_S:g} s", lasting, "per 1000 s")
    for name in ("handles", "threads", "tasks"):
        assert slopes[name].last == slopes[name].first, name
        assert slopes[name].is_zero, name
    for line in (slopes["memory, MiB"], lasting["memory, MiB"]):
        assert line.is_zero or line.per_thousand * max(ended) / 1000 < 0.02 * line.first, line
