"""Runs the checks against one adapter, one after the other, and says what came of each.

Owns the order, the patience, and that a check is tried again when this machine was too busy to judge by time. A fault
that the gateway logs meanwhile is a finding too.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from gateway.certify.checks import CHECKS, Check
from gateway.certify.speaker import Speaker
from gateway.certify.trial import Failed, NotApplicable, Trial, trial
from gateway.contracts import Adapter

CHECK_S: Final = 30.0
"""How long one check may take."""
BUSY_MS: Final = 15.0
"""Lateness of this machine from which on a failure is not believed at once."""
TRIES: Final = 3

Verdict = Literal["passed", "failed", "not applicable"]


class Finding(Struct, frozen=True):
    """What came of one check."""

    check: str
    """Its name."""
    asks: str
    """What it asks for."""
    verdict: Verdict
    """What came of it."""
    sentence: str
    """What was seen and what is expected, or why it does not apply; empty when it passed."""
    source: str
    """Where it is written."""
    seconds: float
    """How long it took."""


class Certificate(Struct, frozen=True):
    """What came of all checks of one adapter."""

    adapter: str
    """Its name."""
    findings: tuple[Finding, ...]
    """In the order of the checks."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing failed."""
        return not any(finding.verdict == "failed" for finding in self.findings)


async def certify(
    adapter: Adapter | str,
    speaker: type[Speaker],
    *,
    only: Sequence[str] = (),
    plugins: str = "",
    tries: int = TRIES,
    tell: Callable[[Finding], None] = lambda _finding: None,
) -> Certificate:
    """Run the checks, or only those that are named; ``tell`` is told of each as it is done.

    A check that fails while this machine was too busy is tried up to ``tries`` times.

    Raises:
        ConfigError: when the speaker's section does not fit the adapter.
        PluginError: when a plugin is broken.
    """
    findings = []
    with _listening_for_faults() as faults:
        async with trial(adapter, speaker, plugins=plugins) as run:
            for check in CHECKS:
                if only and check.name not in only:
                    continue
                findings.append(await _find(run, check, faults, speaker.sources, tries))
                tell(findings[-1])
            return Certificate(run.adapter.name, tuple(findings))


async def _find(
    run: Trial, check: Check, faults: list[str], sources: Mapping[str, str], tries: int
) -> Finding:
    began = time.monotonic()
    verdict, sentence = await _try(run, check, faults)
    for _ in range(tries - 1):
        if verdict != "failed" or run.late_ms < BUSY_MS:
            break
        verdict, sentence = await _try(run, check, faults)
    source = ", ".join(filter(None, (check.source, sources.get(check.name, ""))))
    return Finding(check.name, check.asks, verdict, sentence, source, round(time.monotonic() - began, 2))


async def _try(run: Trial, check: Check, faults: list[str]) -> tuple[Verdict, str]:
    run.late_ms = 0.0
    faults.clear()
    try:
        async with asyncio.timeout(CHECK_S):
            await check.run(run)
    except NotApplicable as reason:
        return "not applicable", str(reason)
    except TimeoutError:
        return "failed", f"the check was not done after {CHECK_S:g} s; expected that it takes a few"
    except Failed as failure:
        return "failed", f"{failure} (the gateway logged: {faults[0]})" if faults else str(failure)
    except Exception as error:  # noqa: BLE001 - a speaker is code of others, and its faults are findings too
        return "failed", _in_the_speaker(error)
    if faults:
        return "failed", f"the gateway logged a fault: {faults[0]}; expected none"
    return "passed", ""


def _first(error: Exception) -> Exception:
    """What a group of errors is about."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _in_the_speaker(error: Exception) -> str:
    """A sentence about what a speaker raised, in a task or not."""
    error = _first(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, NotImplementedError):
        return f"the speaker has no {place.name}(); write it, or name in its `lacks` what the dialect has not"
    where = f"{Path(place.filename).name}:{place.lineno}"
    return f"the speaker itself failed with {type(error).__name__}: {error} ({where}); mend it first"


class _Faults(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        fault = record.exc_info[1] if record.exc_info else None
        fault = _first(fault) if isinstance(fault, Exception) else None
        why = f"; {type(fault).__name__}: {fault}" if fault else ""
        self.sentences.append(f"{record.getMessage()}{why}")


@contextmanager
def _listening_for_faults() -> Iterator[list[str]]:
    """Keep what the gateway logs from the terminal, and its faults for the report."""
    log = logging.getLogger("talkpath")
    handler, propagates = _Faults(), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield handler.sentences
    finally:
        log.removeHandler(handler)
        log.propagate = propagates
