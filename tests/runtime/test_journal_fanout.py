import logging
from typing import Any

import pytest
from fakes import Watcher

from gateway.audio import MULAW_8K
from gateway.commands import AnyCommand, Clear
from gateway.contracts import Observer, ObserverKind
from gateway.events import AnyEvent, CallerAudio, CallerPressed, CallInfo
from gateway.runtime.journal import Journal
from gateway.terms import AgentTerms, CallTerms

INFO = CallInfo("call_1", "pcm", MULAW_8K)
TERMS = CallTerms(agents=(AgentTerms("main"),), audio=MULAW_8K)


class Failing(Watcher):
    """Fails at its second entry."""

    def see(self, entry: Any) -> None:
        super().see(entry)
        if len(self.seen) == 2:
            raise ZeroDivisionError("words of a caller")


def journal(*observers: Observer | None) -> Journal:
    made = iter(observers)
    kinds = [
        ObserverKind(f"observer {number}", lambda _i, _t: next(made)) for number in range(len(observers))
    ]
    return Journal(kinds, INFO, TERMS)


def test_by_type() -> None:
    """An observer is shown what it wants, in order and with its time, and nothing else."""
    watcher, other = Watcher([CallerPressed, Clear, Clear]), Watcher([CallerAudio])
    written = journal(watcher, None, other)
    items: list[AnyEvent | AnyCommand] = [CallerPressed("1"), CallerAudio(b"", 0.0), Clear()]
    for at, item in enumerate(items):
        written.write(at, item)
    assert watcher.seen == [(0, CallerPressed("1")), (2, Clear())]
    assert len(other.seen) == 1


def test_failing_observer(caplog: pytest.LogCaptureFixture) -> None:
    """One that fails is logged once without its words, detached from this call and closed; the others see on."""
    failing, watcher = Failing([CallerPressed, Clear]), Watcher([CallerPressed])
    written = journal(failing, watcher)
    with caplog.at_level(logging.ERROR):
        for number in range(5):
            written.write(number, CallerPressed("1"))
            written.write(number, Clear())
    assert len(failing.seen) == 2
    assert failing.closed
    assert len(watcher.seen) == 5
    assert written.detached == 1
    assert len(caplog.records) == 1
    assert "ZeroDivisionError" in caplog.text
    assert "words of a caller" not in caplog.text
    written.close()
    assert watcher.closed


def test_unborn_and_unclosable(caplog: pytest.LogCaptureFixture) -> None:
    """Observers that fail when the call begins or ends do not keep the others from either."""

    class Unclosable(Watcher):
        def close(self) -> None:
            raise ZeroDivisionError

    class Wanting(Watcher):
        @property
        def wants(self) -> tuple[type, ...]:
            raise ZeroDivisionError

        @wants.setter
        def wants(self, kinds: tuple[type, ...]) -> None:
            pass

    def unborn(_info: CallInfo, _terms: CallTerms) -> Observer:
        raise ZeroDivisionError

    watcher = Watcher([Clear])
    made: list[Observer] = [Unclosable([Clear]), Wanting([]), watcher]
    kinds = [ObserverKind("unborn", unborn)]
    kinds += [ObserverKind(type(o).__name__, lambda _i, _t, o=o: o) for o in made]  # type: ignore[misc]
    written = Journal(kinds, INFO, TERMS)
    written.write(0.0, Clear())
    written.close()
    written.write(1.0, Clear())
    assert len(watcher.seen) == 1
    assert watcher.closed
    assert written.detached == len(caplog.records) == 3
