"""A line that may be silent goes quiet: nothing that was sent since the last answer counts as heard, until one comes."""

import pytest
from play import INFO, FarEnd, Play, caller_audio, reply, reply_audio, terms

from gateway.commands import AnyCommand, ReplyHeard, WatchdogFired
from gateway.commands import Play as PlayPiece
from gateway.events import CallerLeft, CallerLost, CallerReturned, PulseChanged, ReplyStarted, SpeechStarted

LEAD_S = 0.25
NOTICED_S = 1.3
"""How long after the last answer the next one is overdue."""


class Wireless(FarEnd):
    """A client that plays what reaches it and says what it has played only if it likes to."""

    def __init__(self, *, tells: bool) -> None:
        super().__init__(answers=tells)
        self.is_dead = False
        self.sent_ms = 0.0

    def take(self, command: AnyCommand, now: float) -> None:
        """What is sent into a hole is gone."""
        if isinstance(command, PlayPiece):
            self.sent_ms += len(command.audio) / 8
        if not self.is_dead:
            super().take(command, now)

    def returned(self, until: float) -> tuple[float, str] | None:
        """No word of the client comes through either."""
        return None if self.is_dead else super().returned(until)

    def flushes(self, now: float) -> None:
        """The client begins anew."""
        self.drop(now)
        self.marks.clear()
        self.is_dead = False


class OnTheAir:
    """A play whose caller is pinged every second, the last time just before the line goes dead."""

    def __init__(self, *, tells: bool = False, lead_s: float = LEAD_S) -> None:
        self.client = Wireless(tells=tells)
        self.play = Play.talking(terms(marks_at_will=True, lead_ms=lead_s * 1000), far_end=self.client)

    def speaks(self, ms: float = 20_000.0) -> None:
        """The agent says something long, of which a second and a half is heard."""
        self.play.on([ReplyStarted("r1"), *reply_audio(ms)], ...)
        self.play.wait(1.5, ...)

    def goes_dead(self) -> float:
        """The last ping is answered, then nothing comes through, and it is noticed; what had arrived by then."""
        arrived_ms = self.client.sent_ms
        self.client.is_dead = True
        self.play.wait(NOTICED_S, ...)
        self.play.on(PulseChanged(NOTICED_S * 1000), ...)
        return arrived_ms

    def ends(self) -> ReplyHeard:
        """The call is over; what was heard of the reply."""
        self.play.on(CallerLeft("bye"), ...)
        fact: ReplyHeard
        (fact,) = self.play.items(ReplyHeard)
        return fact

    def comes_back(self) -> None:
        """On another connection."""
        self.client.flushes(self.play.now)
        self.play.on(CallerReturned(INFO), ...)


@pytest.mark.parametrize("tells", [False, True])
@pytest.mark.parametrize("lead_s", [LEAD_S, 2.0])
def test_what_was_sent_after_the_last_answer_was_not_heard(tells: bool, lead_s: float) -> None:
    """However long the hole lasts after that, and also when the call ends in it."""
    air = OnTheAir(tells=tells, lead_s=lead_s)
    air.speaks()
    arrived_ms = air.goes_dead()
    air.play.wait(4.0, ...)
    fact = air.ends()
    assert 1000 <= fact.heard_ms <= arrived_ms
    assert air.play.items(WatchdogFired) == []


@pytest.mark.parametrize("tells", [False, True])
@pytest.mark.parametrize("notices_first", [True, False])
def test_a_client_that_comes_back_out_of_the_hole_misses_nothing(tells: bool, notices_first: bool) -> None:
    """Whoever notices first: the words go on where the last answer proves that they had come, or before that."""
    air = OnTheAir(tells=tells)
    air.speaks(8000)
    air.goes_dead()
    air.play.wait(4.0, ...)
    if not notices_first:
        air.play.on(CallerLost("1006"), ...)
        air.play.wait(1.0, ...)
    air.comes_back()
    air.play.wait(10.0, ...)
    heard_ms = air.client.heard_ms("r1", air.play.now)
    again_ms = 400 + LEAD_S * 1000 if tells else 20  # from the last mark, where the client tells of marks
    assert 8000 <= round(heard_ms) <= 8000 + again_ms


def test_late_answers_lose_and_repeat_nothing() -> None:
    """What was held back for two seconds arrives after all: nothing is sent twice, and all of it counts as heard."""
    air = OnTheAir()
    air.play.on(reply(6000), ...)
    air.play.wait(2.0, ...)
    air.play.on(PulseChanged(NOTICED_S * 1000), ...)
    air.play.wait(0.7, ...)
    air.play.on(PulseChanged(0.0), ...)
    air.play.wait(6.0, ...)
    whole = b"".join(event.audio for event in reply_audio(6000))  # type: ignore[union-attr]
    assert air.client.heard("r1") == whole
    (fact,) = air.play.items(ReplyHeard)
    assert (fact.heard_ms, fact.cut_ms) == (6000.0, 0.0)


def test_a_reply_whose_end_fell_into_the_hole_is_not_told_as_heard() -> None:
    """It is neither finished nor forgotten while nobody answers; once somebody does, it was heard."""
    air = OnTheAir()
    air.play.on(reply(2500), ...)
    air.play.wait(1.5, ...)
    air.play.on(PulseChanged(1000.0), ...)
    air.play.wait(20.0, ...)
    assert air.play.items(ReplyHeard) == []
    air.play.on(PulseChanged(0.0), ...)
    assert [fact.heard_ms for fact in air.play.items(ReplyHeard)] == [2500.0]


def test_an_interruption_in_the_hole_cuts_where_the_last_answer_was() -> None:
    """Words into the hole count as unheard, and so does what the agent says next, until an answer comes."""
    air = OnTheAir()
    air.speaks()
    arrived_ms = air.goes_dead()
    air.play.on(SpeechStarted(), ...)
    (fact,) = air.play.items(ReplyHeard)
    assert 1000 <= fact.heard_ms <= arrived_ms
    air.play.on(reply(300, "r2"), ...)
    air.play.wait(3.0, ...)
    assert len(air.play.items(ReplyHeard)) == 1
    air.play.on(PulseChanged(0.0), ...)
    assert [fact.heard_ms for fact in air.play.items(ReplyHeard)[1:]] == [300.0]


def test_a_second_hole_is_as_deep_as_the_first() -> None:
    """What the line has answered since is heard; what was sent after that is not."""
    air = OnTheAir()
    air.speaks()
    first_ms = air.goes_dead()
    air.client.is_dead = False
    air.play.on(PulseChanged(0.0), ...)
    air.play.wait(2.0, ...)
    second_ms = air.goes_dead()
    fact = air.ends()
    assert first_ms + 2000 <= fact.heard_ms <= second_ms


def test_a_sign_of_a_line_that_has_broken_since_proves_nothing() -> None:
    """What it had not shown to arrive stays unheard, and is said again."""
    air = OnTheAir()
    air.speaks()
    arrived_ms = air.goes_dead()
    air.play.on(CallerLost("1006"), ...)
    air.play.on(PulseChanged(0.0), ...)
    assert air.ends().heard_ms <= arrived_ms


def test_the_clock_does_not_spin_on_a_quiet_line() -> None:
    """A finished reply waits for an answer without a moment of interest every instant."""
    air = OnTheAir()
    air.play.on(reply(500), ...)
    air.play.on(PulseChanged(NOTICED_S * 1000), ...)
    before = air.play.steps
    for _ in range(1000):
        air.play.on(caller_audio(), ...)
        air.play.wait(0.02, ...)
    assert air.play.steps - before < 1000 + 20 * 10
