"""Tests of the pace of new sessions: never more in a minute than the rate, and a tenth more after a busy one."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.pace import WINDOW_S, Pace

FOR_EVER = 1e9


def test_a_burst_begins_at_once_up_to_the_rate_and_the_rest_a_minute_later() -> None:
    """Each place is free a minute after the one that took it."""
    pace = Pace(100)
    begins = [pace.reserve(float(number) / 100, FOR_EVER) for number in range(150)]
    assert begins[:100] == [number / 100 for number in range(100)]
    assert begins[100:] == [number / 100 + WINDOW_S for number in range(50)]


def test_who_would_wait_too_long_takes_no_place() -> None:
    """And so keeps nobody else from one."""
    pace = Pace(2)
    assert [pace.reserve(0.0, 5.0) for _ in range(3)] == [0.0, 0.0, None]
    assert pace.reserve(WINDOW_S - 5.1, 5.0) is None
    assert pace.reserve(WINDOW_S - 5.0, 5.0) == WINDOW_S
    assert pace.reserve(WINDOW_S + 1, 5.0) == WINDOW_S + 1


def test_a_place_that_was_not_used_is_free_again() -> None:
    """A caller who hung up while waiting, or a host that could not be reached, costs nobody a turn."""
    pace = Pace(1)
    first = pace.reserve(0.0, FOR_EVER)
    assert first == 0.0
    pace.give_back(first)
    pace.give_back(first)
    assert pace.reserve(0.5, FOR_EVER) == 0.5


def test_a_busy_minute_adds_a_tenth_and_a_quiet_one_takes_it_back() -> None:
    """Seven of ten make it busy."""
    pace = Pace(10)

    def at_once(now: float) -> int:
        places = [place for _ in range(100) if (place := pace.reserve(now, 0.0)) is not None]
        return len(places)

    assert at_once(0.0) == 10
    assert at_once(WINDOW_S * 1.1) == 11
    assert at_once(WINDOW_S * 2.2) == 12
    assert at_once(WINDOW_S * 9) == 10


def test_growth_has_an_end() -> None:
    """A rate that was busy for hours is ten times the first one."""
    pace, now, most = Pace(2), 0.0, 0
    for _ in range(400):
        most = max(most, sum(pace.reserve(now, 0.0) is not None for _ in range(100)))
        now += WINDOW_S * 1.001
    assert most <= 20


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=200),
)
def test_no_minute_has_more_than_the_provider_admits(rate: int, arrivals: list[tuple[float, bool]]) -> None:
    """Whatever comes when, and is given back or not: at most the grown rate begins in any 60 seconds."""
    pace, now, begins = Pace(rate), 0.0, []
    for pause, is_used in arrivals:
        now += pause
        place = pace.reserve(now, 30.0)
        if place is None:
            continue
        assert now <= place <= now + 30.0
        if is_used:
            begins.append(place)
        else:
            pace.give_back(place)
    begins.sort()
    minutes = now / WINDOW_S + 1
    for at in begins:
        assert sum(at <= other < at + 60 for other in begins) <= rate * 1.1**minutes
