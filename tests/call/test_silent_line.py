"""A line whose far end sounds all the time has fallen silent: nothing that is sent into the hole counts as heard."""

import pytest
from play import INFO, FarEnd, Play, caller_audio, reply, reply_audio, terms

from gateway.commands import AnyCommand, ReplyHeard, WatchdogFired
from gateway.events import CallerLost, CallerReturned, ReplyEnded, ReplyStarted

FRAME_S = 0.02
LEAD_S = 2.0


class Line(FarEnd):
    """A carrier behind a network that may let nothing through, or hold everything back."""

    def __init__(self) -> None:
        super().__init__()
        self.is_dead = False
        self.is_stalled = False
        self._held: list[AnyCommand] = []

    def take(self, command: AnyCommand, now: float) -> None:
        """What is sent into a hole is gone; what is held back comes later."""
        if self.is_stalled:
            self._held.append(command)
        elif not self.is_dead:
            super().take(command, now)

    def returned(self, until: float) -> tuple[float, str] | None:
        """No mark comes through either."""
        return None if self.is_dead or self.is_stalled else super().returned(until)

    def flow_again(self, now: float) -> None:
        """What was held back arrives at once."""
        self.is_stalled = False
        held, self._held = self._held, []
        for command in held:
            super().take(command, now)
        self.marks = [(max(at, now), name) for at, name in self.marks]


class OnTheLine:
    """A play whose caller sounds every 20 ms, as carriers do."""

    def __init__(self) -> None:
        self.line = Line()
        self.is_away = False
        self.play = Play.talking(terms(steady=True), far_end=self.line)
        self.goes_on(1.0)

    def goes_on(self, seconds: float) -> None:
        """Time passes on a line that is well, or is not."""
        until = self.play.now + seconds
        while self.play.now < until - 1e-9:
            if not (self.line.is_dead or self.line.is_stalled or self.is_away):
                self.play.on(caller_audio(), ...)
            self.play.wait(min(FRAME_S, until - self.play.now), ...)

    def dies(self, seconds: float) -> None:
        """Nothing gets through any more, and nobody is told."""
        self.line.is_dead = True
        self.goes_on(seconds)

    def is_broken_off(self) -> None:
        """The carrier has noticed: its buffer is gone, and the gateway's end of the connection as well."""
        self.play.on(CallerLost("1006"), ...)
        self.is_away = True
        self._loses_its_buffer()

    def _loses_its_buffer(self) -> None:
        self.line.drop(self.play.now)
        self.line.marks.clear()
        self.line.is_dead = False

    def comes_back(self) -> None:
        """The call goes on over another connection."""
        if self.line.is_dead:
            self._loses_its_buffer()
        self.is_away = False
        self.play.on(CallerReturned(INFO), ...)

    def heard(self, reply_id: str = "r1") -> bytes:
        """What the caller heard of a reply in the end, byte for byte."""
        return self.line.heard(reply_id)


def whole(ms: float) -> bytes:
    """The sound of a reply."""
    return b"".join(event.audio for event in reply_audio(ms))  # type: ignore[union-attr]


@pytest.mark.parametrize("hole_s", [0.4, 1.0, 2.5, 4.0, 7.0, 20.0])
def test_what_fell_into_a_hole_is_said_again_and_nothing_else(hole_s: float) -> None:
    """However long the hole was there before anybody noticed: every word is heard, once, to a frame or two."""
    on_the_line = OnTheLine()
    on_the_line.play.on(reply(8000), ...)
    on_the_line.goes_on(1.0)
    on_the_line.dies(hole_s)
    on_the_line.is_broken_off()
    on_the_line.goes_on(0.3)
    on_the_line.comes_back()
    on_the_line.goes_on(9.0)
    heard_ms = on_the_line.line.heard_ms("r1", on_the_line.play.now)
    assert 8000 <= round(heard_ms) <= 8120
    for at in range(0, 64_000, 1600):
        assert whole(8000)[at : at + 160] in on_the_line.heard()


def test_words_that_a_dead_line_got_were_not_heard() -> None:
    """A reply that began in the hole is unheard until the caller is back, and is then told in full."""
    on_the_line = OnTheLine()
    on_the_line.dies(1.0)
    on_the_line.play.on(reply(1500), ...)
    on_the_line.goes_on(6.0)
    assert on_the_line.play.items(ReplyHeard) == []
    assert on_the_line.play.items(WatchdogFired) == []
    on_the_line.is_broken_off()
    on_the_line.comes_back()
    on_the_line.goes_on(3.0)
    assert on_the_line.heard() == whole(1500)
    (fact,) = on_the_line.play.items(ReplyHeard)
    assert (fact.heard_ms, fact.cut_ms, fact.confirmed) == (1500.0, 0.0, True)


def test_a_line_that_only_stalled_loses_and_repeats_nothing() -> None:
    """Held back for three seconds, everything arrives after all, and the marks with it."""
    on_the_line = OnTheLine()
    on_the_line.play.on(reply(6000), ...)
    on_the_line.goes_on(1.0)
    on_the_line.line.is_stalled = True
    on_the_line.goes_on(3.0)
    assert on_the_line.play.items(WatchdogFired) == []
    on_the_line.line.flow_again(on_the_line.play.now)
    on_the_line.goes_on(9.0)
    assert on_the_line.heard() == whole(6000)
    (fact,) = on_the_line.play.items(ReplyHeard)
    assert (fact.cut_ms, fact.confirmed) == (0.0, True)


def test_a_mark_that_is_lost_on_a_line_that_lives_is_missed() -> None:
    """Sound comes and marks do not: then they never will, and the clock is believed instead."""
    on_the_line = OnTheLine()
    on_the_line.line.answers = False
    on_the_line.play.on(reply(1000), ...)
    on_the_line.goes_on(6.0)
    assert [fact.kind for fact in on_the_line.play.items(WatchdogFired)] == ["lost_mark"]
    assert [fact.cut_ms for fact in on_the_line.play.items(ReplyHeard)] == [0.0]


def test_a_new_connection_before_the_old_one_was_missed_goes_on_where_the_old_one_ended() -> None:
    """The carrier's end broke; half a second later the call is there again, and nothing is left out."""
    on_the_line = OnTheLine()
    on_the_line.play.on([ReplyStarted("r1"), *reply_audio(3000)], ...)
    on_the_line.goes_on(1.0)
    on_the_line.line.drop(on_the_line.play.now)
    on_the_line.line.marks.clear()
    on_the_line.dies(0.5)
    on_the_line.comes_back()
    on_the_line.play.on(ReplyEnded("r1"), ...)
    on_the_line.goes_on(4.0)
    heard_ms = on_the_line.line.heard_ms("r1", on_the_line.play.now)
    assert 2780 <= heard_ms <= 3060  # a fifth of a second of patience with the old line


def test_the_clock_does_not_spin_on_a_dead_line() -> None:
    """A finished reply waits for news of the line without a moment of interest every instant."""
    on_the_line = OnTheLine()
    on_the_line.play.on(reply(500), ...)
    on_the_line.dies(0.0)
    before = on_the_line.play.steps
    on_the_line.goes_on(25.0)
    assert on_the_line.play.steps - before < 25 * 10
