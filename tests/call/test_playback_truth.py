"""What was sent, what was heard, and how the ledger knows: against an exact model of a carrier's buffer."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play import LOUD, SILENT, FarEnd, Play, reply, reply_audio, sound, terms

from gateway.audio import MULAW_8K, PCM_44K
from gateway.call.playback import PlaybackLedger
from gateway.commands import Clear, Mark, ReplyHeard, WatchdogFired
from gateway.commands import Play as PlayPiece
from gateway.events import AnyEvent, CallerHeard, ReplyAudio, ReplyEnded, ReplyStarted, SpeechStarted


def delivered(play: Play, chunks: list[tuple[float, AnyEvent]]) -> bytes:
    """Let chunks arrive at their times; give what the caller heard in the end."""
    play.on(ReplyStarted("r1"))
    for pause_s, chunk in chunks:
        play.wait(pause_s)
        play.on(chunk)
    play.on(ReplyEnded("r1"))
    play.wait(10)
    return play.far_end.heard("r1")


@pytest.mark.parametrize("silence_ms", [0, 200, 700, 2000])
@pytest.mark.parametrize("style", ["10 ms", "37.5 ms", "burst", "one message"])
def test_however_a_reply_is_delivered_it_sounds_the_same(style: str, silence_ms: int) -> None:
    """Small chunks at real time, G.711 chunks, a burst or a single message: the same sound, without a gap."""
    whole = sound(silence_ms, loud=False) + sound(3000)
    size = MULAW_8K.frame_bytes({"10 ms": 10, "37.5 ms": 37.5, "burst": 20, "one message": 60_000}[style])
    pause_s = MULAW_8K.ms(size) / 1000 if "ms" in style else 0.0
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    events: list[tuple[float, AnyEvent]] = [
        (
            pause_s if n > 5 else 0.0,
            ReplyAudio("r1", chunk, LOUD if any(b != 0xFF for b in chunk) else SILENT),
        )
        for n, chunk in enumerate(chunks)
    ]
    play = Play.talking()
    assert delivered(play, events) == whole
    stretches = play.far_end.stretches
    gaps = [b[0] - a[1] for a, b in pairwise(stretches)]
    assert max(gaps) < 0.001
    (fact,) = play.items(ReplyHeard)
    assert (fact.heard_ms, fact.cut_ms, fact.confirmed) == (3000.0 + silence_ms, 0.0, True)
    assert fact.audible_from_ms == pytest.approx(silence_ms, abs=37.5)


@pytest.mark.parametrize(("clears", "lead_ms"), [(True, 2000.0), (False, 200.0)])
def test_the_lead_towards_the_caller_is_bounded(clears: bool, lead_ms: float) -> None:
    """Two seconds where the carrier can clear, 200 ms where it cannot; and no gap while it is filled up."""
    play = Play.talking(terms(clears=clears, lead_ms=lead_ms))
    play.on(reply(6000))
    leads, steps = [], play.steps
    for _ in range(550):
        play.wait(0.01)
        leads.append(play.far_end.buffered_ms(play.now))
    assert max(leads) <= lead_ms + 20
    assert min(leads[:380]) > lead_ms / 2 - 30
    assert play.steps - steps < 150, "a long reply does not wake us for every piece"


@pytest.mark.parametrize("latency_s", [0.0, 0.15])
@pytest.mark.parametrize("marks", [True, False])
def test_the_ear_is_where_the_far_end_plays(marks: bool, latency_s: float) -> None:
    """At any moment of a cut the ledger is within 20 ms of the far end; marks that travel lag as they travel."""
    tolerance_ms = 20 + (400 if marks and latency_s else 0)
    cuts = 0
    for seed in range(40):
        rng = random.Random(seed)  # noqa: S311 - test data
        far_end = FarEnd(answers=marks, latency_s=latency_s)
        play = Play.talking(terms(marks=marks), far_end=far_end)
        play.on(ReplyStarted("r1"))
        for chunk in reply_audio(1500, chunk_ms=rng.choice([10, 20, 37.5])):
            if rng.random() < 0.05:
                play.wait(rng.random() / 2)
            play.on(chunk)
        play.wait(rng.random())
        heard_ms = far_end.heard_ms("r1", play.now)
        play.on(SpeechStarted(), ...)
        for fact in play.items(ReplyHeard):
            assert heard_ms - tolerance_ms <= fact.heard_ms <= heard_ms + 20
            cuts += 1
    assert cuts > 20, "most of them cut a reply that is not heard to its end"


def test_marks_stand_after_the_first_piece_at_intervals_and_at_the_end() -> None:
    """One mark soon, one every 400 ms, one where the reply ends (carriers, 1.6)."""
    play = Play.talking()
    play.on(reply(1000))
    assert [mark.name for mark in play.items(Mark)] == ["0:20", "0:420", "0:820", "0:1000"]
    play.wait(2)
    play.on(reply(100, "r2"))
    assert [mark.name for mark in play.items(Mark)][4:] == ["0:1020", "0:1100"]


def test_a_mark_placed_before_the_end_was_known_is_followed_by_one_at_the_end() -> None:
    """A reply whose end is told late gets its last mark then."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(300)])
    play.wait(0.1)
    play.on(ReplyEnded("r1"), Mark("0:300"))


def test_marks_that_never_come_back_are_given_up() -> None:
    """A carrier that owes a mark is believed by pace until a mark returns, and the journal says so."""
    play = Play.talking(far_end=FarEnd(answers=False))
    play.on(reply(1000))
    play.wait(2.1, WatchdogFired("lost_mark", "0:20"))
    (fact,) = play.items(ReplyHeard)
    assert (fact.heard_ms, fact.confirmed) == (1000.0, False)
    play.on(reply(1000, "r2"))
    play.wait(0.5)
    play.on(SpeechStarted(), Clear())
    assert play.items(ReplyHeard)[1].heard_ms == pytest.approx(500, abs=1)
    play.far_end.answers = True
    play.on(reply(500, "r3"))
    play.wait(1)
    assert play.items(ReplyHeard)[2].confirmed


def test_a_late_mark_never_moves_the_ear_back() -> None:
    """A mark that was given up and comes after all confirms, and no more."""
    ledger = PlaybackLedger(2000.0, marks=True, clears=True)
    for _ in range(100):
        ledger.add("r1", bytes(160), 20.0, LOUD)
    ledger.release(0.0)
    assert ledger.lost_mark(2.1) == "0:20"
    assert ledger.ear_ms(2.1) == 2000
    ledger.settle(2.1)
    ledger.mark_returned("0:20", 2.2)
    assert ledger.ear_ms(2.2) == 2000


def test_marks_that_come_late_move_the_ear_later() -> None:
    """A far end that stalled has more in its buffer than pace would say."""
    play = Play.talking(far_end=FarEnd(answers=False))
    play.on(reply(5000))
    play.wait(1)
    play.on([CallerHeard("0:20")])
    play.wait(0.2)
    play.on(SpeechStarted(), Clear())
    assert play.items(ReplyHeard)[0].heard_ms == pytest.approx(220, abs=1)


def test_a_mark_with_what_was_played_since_places_the_ear_there() -> None:
    """A far end that says rarely what it has played, and then exactly, is believed to the millisecond."""
    play = Play.talking(far_end=FarEnd(answers=False))
    play.on(reply(5000))
    play.wait(0.6)
    play.on([CallerHeard("0:420", further_ms=130)])
    play.wait(0.1)
    play.on(SpeechStarted(), Clear())
    assert play.items(ReplyHeard)[0].heard_ms == pytest.approx(650, abs=1)
    assert play.items(ReplyHeard)[0].confirmed


@pytest.mark.parametrize(("further_ms", "heard_ms"), [(1e9, 820), (-5, 420)])
def test_what_was_played_since_a_mark_does_not_reach_the_next(further_ms: float, heard_ms: float) -> None:
    """Whatever a far end says, the ear stands between the mark that it returned and the next one."""
    play = Play.talking(far_end=FarEnd(answers=False))
    play.on(reply(5000))
    play.wait(0.9)
    play.on([CallerHeard("0:420", further_ms=further_ms)])
    play.on(SpeechStarted(), Clear())
    assert play.items(ReplyHeard)[0].heard_ms == pytest.approx(heard_ms, abs=1)


def test_marks_that_come_too_early_do_not_widen_the_lead() -> None:
    """Nothing plays faster than real time, whatever a far end says."""
    play = Play.talking(far_end=FarEnd(answers=False))
    play.on(reply(9000))
    for _ in range(5):
        play.on([CallerHeard(mark.name) for mark in play.items(Mark)])
    assert play.far_end.buffered_ms(play.now) <= 2020


@pytest.mark.parametrize("name", ["", "0:", "0:²", "0:999999", "x:20", "0:20:1", "0:" + "9" * 400, "-1:20"])
def test_marks_that_we_never_sent_mean_nothing(name: str) -> None:
    """A name that is not ours is ignored, whatever it looks like."""
    play = Play.talking(far_end=FarEnd(answers=False))
    play.on(reply(1000))
    play.wait(0.1)
    play.on(CallerHeard(name))
    play.on(SpeechStarted(), Clear())
    assert play.items(ReplyHeard)[0].heard_ms == pytest.approx(20)


def test_a_reply_that_stays_silent_does_not_delay_the_next() -> None:
    """Of a silent preamble in one burst little is sent, and what waits is left out (2.4, 2.5)."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(4000, loud=False), ReplyEnded("r1")])
    assert play.far_end.buffered_ms(play.now) <= 200
    play.on(reply(1000, "r2"))
    play.wait(1.25)
    facts = play.items(ReplyHeard)
    assert [(f.reply_id, f.audible_from_ms) for f in facts] == [("r1", None), ("r2", 0.0)]
    assert facts[0].sent_ms <= 220
    assert facts[0].heard_ms + facts[0].cut_ms == 4000


def test_sound_without_bytes_is_no_sound() -> None:
    """An empty message changes nothing."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), ReplyAudio("r1", b"", LOUD), ReplyEnded("r1")])
    assert play.items(ReplyHeard) == []


def test_an_agent_that_does_not_name_its_replies_is_understood() -> None:
    """Sound without an id belongs to the reply in progress; without one it is an anomaly."""
    play = Play.talking(strict=False)
    play.on([ReplyStarted("r1"), ReplyAudio("", sound(20), LOUD), ReplyEnded("")])
    play.wait(0.1)
    assert play.items(ReplyHeard)[0].heard_ms == 20
    play.on([ReplyAudio("", sound(20), LOUD), ReplyEnded("")])
    assert play.machine.anomalies == 1


def test_what_waits_is_bounded() -> None:
    """An agent that floods is heard for ten minutes of sound; the rest is counted as never heard."""
    ledger = PlaybackLedger(2000.0, marks=False, clears=True)
    for _ in range(30_100):
        ledger.add("r1", b"x", 20.0, LOUD)
    (fact,) = ledger.cut_all(0.0).facts
    assert fact.cut_ms == 602_000
    assert not ledger.cut_all(0.0).facts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30), st.floats(0, 2))
def test_positions_that_are_not_whole_milliseconds_add_up(sizes: list[int], wait_s: float) -> None:
    """At 44.1 kHz no piece is a whole number of milliseconds, and a reply is heard to its end all the same."""
    ledger = PlaybackLedger(2000.0, marks=True, clears=True)
    total_ms = sum(PCM_44K.ms(2 * size) for size in sizes)
    for size in sizes:
        ledger.add("r1", bytes(2 * size), PCM_44K.ms(2 * size), LOUD)
    ledger.complete("r1")
    facts: list[ReplyHeard] = []
    now, far_end = 50.0, FarEnd()
    while not facts:
        for command in ledger.release(now):
            if isinstance(command, PlayPiece):
                far_end.dry_at = max(now, far_end.dry_at) + PCM_44K.ms(len(command.audio)) / 1000
            elif isinstance(command, Mark):
                far_end.marks.append((far_end.dry_at, command.name))
        deadline = ledger.deadline
        assert deadline is not None
        assert deadline > now
        mark = far_end.returned(deadline)
        now = max(now, mark[0]) if mark else deadline
        if mark:
            ledger.mark_returned(mark[1], now)
        facts = ledger.settle(now)
    assert facts[0].heard_ms == pytest.approx(total_ms, abs=0.1)
    assert facts[0].confirmed
    assert ledger.ear_ms(now + wait_s) == pytest.approx(total_ms)
