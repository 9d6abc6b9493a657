import pytest

from gateway.runtime.dial import FAILURES, REST_S, Breaker, DialError


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_breaker() -> None:
    """After so many failures in a row an address rests; then one attempt decides for all."""
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        breaker.check("h")
        breaker.failed()
    with pytest.raises(DialError, match="left alone"):
        breaker.check("h")
    clock.now_s += REST_S
    breaker.check("h")
    with pytest.raises(DialError):
        breaker.check("h")  # one is on its way
    breaker.failed()
    with pytest.raises(DialError):
        breaker.check("h")
    clock.now_s += REST_S
    breaker.check("h")
    breaker.succeeded()
    breaker.check("h")


def test_breaker_and_an_attempt_without_outcome() -> None:
    """An attempt that was given up in the middle does not keep the address closed for ever."""
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        breaker.failed()
    clock.now_s += REST_S
    breaker.check("h")
    clock.now_s += REST_S
    breaker.check("h")


def test_success_resets_the_count() -> None:
    """Failures count only in a row."""
    breaker = Breaker(Clock())
    for _ in range(10):
        for _ in range(FAILURES - 1):
            breaker.failed()
        breaker.succeeded()
    breaker.check("h")
