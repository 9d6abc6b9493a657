"""The agent is lost: what the caller hears, how it is reached again, what it is told."""

import pytest
from play import INFO, Heard, Play, caller_audio, reply, reply_audio, terms

from gateway.call.conversation import GO_ON
from gateway.commands import (
    AskReply,
    CaughtUp,
    Clear,
    CloseAgent,
    Configure,
    GapClosed,
    HangUp,
    HeardLine,
    OpenAgent,
    ReplyHeard,
    SendAudio,
)
from gateway.events import (
    AgentLost,
    AgentReady,
    AgentRefused,
    AgentSaid,
    AgentWarned,
    CallerLost,
    CallerReturned,
    CallStarted,
    ConfigurationAsked,
    ReplyAsked,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    UserSaid,
)
from gateway.terms import AgentTerms

LOST = AgentLost("1006")
TOKEN, KEY, NEW = OpenAgent("main", "token"), OpenAgent("main", "key"), OpenAgent("main")


def test_the_caller_hears_what_is_buffered_then_the_hold_sound_until_the_agent_is_back() -> None:
    """The hold sound comes after what was said, goes on as long as needed, and stops when the agent is ready."""
    play = Play.talking()
    play.on(reply(1500))
    play.on(LOST, TOKEN)
    play.wait(5)
    heard = [whose for _, _, whose, _ in play.far_end.stretches]
    assert heard.index("clip:hold") == 75
    assert play.far_end.heard_ms("clip:hold", play.now) == pytest.approx(3500, abs=25)
    play.on(AgentReady("s", resumed=True), Clear(), GapClosed(5000.0, "token", "main"))
    assert play.far_end.heard_ms("clip:hold", play.now + 10) == pytest.approx(3500, abs=25)


def test_an_agent_that_is_back_at_once_needs_no_hold_sound() -> None:
    """A gap shorter than a breath is not filled."""
    play = Play.talking()
    play.on(LOST, TOKEN)
    play.wait(0.6)
    play.on(AgentReady("s", resumed=True))
    play.wait(5)


def test_a_reply_still_in_the_buffer_is_heard_whole_when_the_hold_sound_is_dropped() -> None:
    """The clear that stops the hold sound takes nothing of the reply before it, and nothing is heard twice."""
    play = Play.talking()
    play.on(reply(1800))
    play.on(LOST, TOKEN)
    play.wait(1)
    play.on(AgentReady("s", resumed=True), Clear())
    play.wait(3)
    assert play.far_end.heard_ms("r1", play.now) == pytest.approx(1800, abs=20)
    assert len(play.items(ReplyHeard)) == 2


def test_resuming_tries_the_token_then_the_key_then_a_new_session() -> None:
    """The ladder of the reference, 2.7."""
    play = Play.talking()
    play.on(UserSaid("Two loaves, please.", final=True))
    play.wait(20)
    play.on(LOST, TOKEN)
    play.on(AgentRefused("unauthorized", "", "resume"), KEY)
    history = (HeardLine("user", "Two loaves, please."),)
    play.on(AgentRefused("session_not_found", "", "resume"), OpenAgent("main", history=history))
    play.on(AgentReady("s2"), GapClosed(0.0, "new", "main"), AskReply(GO_ON))


def test_a_session_that_is_known_to_be_gone_is_not_asked_for_again() -> None:
    """A refusal that says so leads straight to a new session."""
    play = Play.talking()
    play.on(LOST, TOKEN)
    play.on(AgentRefused("session_not_found", "", "renew"), NEW)


def test_a_host_that_cannot_be_reached_is_tried_again_then_the_next_agent() -> None:
    """A new session on a dead host would not help either; another agent does."""
    play = Play.talking()
    play.on(LOST, TOKEN)
    for delay_s in (0.25, 0.5, 1.0, 2.0):
        play.on(AgentLost("refused", "retry"), OpenAgent("main", "token", delay_s))
    play.on(AgentLost("refused", "retry"), OpenAgent("spare"))
    play.on(AgentReady("s9"), GapClosed(0.0, "fallback", "spare"))


def test_without_another_agent_resuming_goes_on_for_its_time_then_a_new_session_then_the_apology() -> None:
    """Nobody left: the caller hears an apology, and the call ends."""
    play = Play.talking(terms(AgentTerms("main", tries=2, ready_s=5)))
    play.on(LOST, TOKEN)
    commands = play.wait(80, ...)
    opened = [command.rung for command in commands if isinstance(command, OpenAgent)]
    assert opened == ["token", "token", "token", "token", "new", "new"][: len(opened)]
    assert commands[-2] == HangUp("agent_lost")
    assert play.far_end.heard_ms("clip:apology", play.now) == pytest.approx(2000)


def test_sessions_that_die_at_once_again_and_again_lead_to_the_next_agent() -> None:
    """A session that comes back and is gone in a moment is no success, however it was reached."""
    play = Play.talking()
    for _ in range(3):
        play.on(LOST, ...)
        play.on(AgentRefused("x", "", "resume"), ...)
        play.on(AgentRefused("x", "", "resume"), ...)
        play.on(AgentReady("s"), ...)
    play.on(LOST, OpenAgent("spare"))


@pytest.mark.parametrize("lived_s", [3, 20])
def test_a_single_try_still_resumes_first(lived_s: float) -> None:
    """`tries` counts failures, and a session that is lost for the first time is none, however soon it was."""
    play = Play.talking(terms(AgentTerms("main", tries=1), AgentTerms("spare")))
    play.wait(lived_s)
    play.on(LOST, TOKEN)
    play.on(AgentReady("s", resumed=True), ...)
    play.wait(3, ...)
    play.on(LOST, OpenAgent("spare"))


def test_a_session_that_settled_begins_a_new_count() -> None:
    """Losses that lie far apart do not add up."""
    play = Play.talking(terms(AgentTerms("main", tries=1), AgentTerms("spare")))
    for _ in range(4):
        play.on(LOST, TOKEN)
        play.on(AgentReady("s", resumed=True), ...)
        play.wait(11, ...)


def test_the_agent_that_took_over_is_resumed_like_the_first_one() -> None:
    """What happened to the agent before it is not held against it."""
    play = Play.talking(terms(AgentTerms("main", tries=1), AgentTerms("spare", tries=1)))
    play.on(LOST, TOKEN)
    play.on(AgentRefused("gone", "", "fallback"), OpenAgent("spare"))
    play.on(AgentReady("s2"), ...)
    play.on(LOST, OpenAgent("spare", "token"))


def test_a_socket_that_closes_after_a_refusal_says_nothing_new() -> None:
    """Nothing is open and nobody is asked for: ordinary, and without effect."""
    play = Play.talking(terms(AgentTerms("main")))
    play.on(CallerLost("1006"))
    play.on([LOST, LOST, AgentRefused("x")])
    play.on(CallerReturned(INFO), TOKEN)


def test_an_agent_that_cannot_resume_is_renewed() -> None:
    """No token is tried where there is none."""
    Play.talking(terms(AgentTerms("main", resume_s=0))).on(LOST, NEW)


def test_a_new_session_knows_what_was_heard() -> None:
    """Of a reply that is still playing it knows what will have been heard; of a cut one, the heard half."""
    play = Play.talking()
    play.on(UserSaid("Hello", final=True))
    play.on([ReplyStarted("r1"), AgentSaid("r1", "one", final=False, start_ms=0, end_ms=900)])
    play.on([AgentSaid("r1", "two", final=False, start_ms=1000, end_ms=1900), *reply_audio(2000)])
    play.wait(1)
    play.on([SpeechStarted(), ReplyEnded("r1", interrupted=True)], Clear())
    play.on(UserSaid("Wait", final=True))
    play.on([ReplyStarted("r2"), AgentSaid("r2", "three", final=True), *reply_audio(800, "r2")])
    history = (
        HeardLine("user", "Hello"),
        HeardLine("agent", "one"),
        HeardLine("user", "Wait"),
        HeardLine("agent", "three"),
    )
    play.on(AgentLost("1011", "renew"), OpenAgent("main", history=history))
    play.on(AgentReady("s2"), AskReply(GO_ON))


def test_an_agent_that_was_cut_off_goes_on_and_one_that_was_not_waits() -> None:
    """A reply that was complete needs no going on, even while it is still heard."""
    play = Play.talking()
    play.on(UserSaid("Hello", final=True))
    play.on(reply(1500))
    play.on(LOST, TOKEN)
    play.on(AgentReady("s", resumed=True))
    play.on(reply_audio(200))
    play.wait(12)
    play.on([ReplyStarted("r2"), *reply_audio(500, "r2")])
    play.on(LOST, TOKEN)
    play.on(AgentReady("s", resumed=True), AskReply(GO_ON))
    play.on(reply_audio(500, "r2"))


def test_a_caller_who_spoke_meanwhile_is_answered_instead() -> None:
    """Kept voice is caught up; the agent is not told to go on over it."""
    play = Play.talking()
    play.on([ReplyStarted("r1"), *reply_audio(500)])
    play.on(LOST, TOKEN)
    frame = caller_audio(level=-20, tag=1)
    play.on(frame)
    play.on(AgentReady("s", resumed=True), SendAudio(frame.audio))


def test_wishes_and_configuration_wait_for_the_agent() -> None:
    """What was asked while nobody listened is said in one message; a new session gets every change again."""
    play = Play.talking()
    play.on(ConfigurationAsked('{"a":1}'), Configure('{"a":1}'))
    play.on(LOST, TOKEN)
    play.on([ConfigurationAsked('{"b":2}'), ReplyAsked("Say this."), ReplyAsked("And that.")])
    play.on(AgentReady("s", resumed=True), Configure('{"b":2}'), AskReply("Say this. And that."))
    play.wait(20)
    play.on(AgentLost("expired", "renew"), NEW)
    play.on(AgentReady("s2"), Configure('{"a":1}'), Configure('{"b":2}'))
    for n in range(40):
        play.on(ConfigurationAsked(str(n)), Configure(str(n)))
    play.wait(20)
    play.on(AgentLost("expired", "renew"), NEW)
    play.on(ConfigurationAsked("last"))
    play.on(AgentReady("s3"), *[Configure(str(n)) for n in range(9, 40)], Configure("last"))


def test_before_the_first_agent_is_ready_the_newest_second_is_kept() -> None:
    """Nothing is sent before it is ready; then one second at once, and live sound behind it in order."""
    play = Play()
    play.on(CallStarted(INFO), OpenAgent("main"))
    frames = [caller_audio(tag=n + 1) for n in range(100)]
    for frame in frames:
        play.on(frame)
    sent = [SendAudio(frame.audio) for frame in frames[50:]]
    play.on(AgentReady("s"), *sent, CaughtUp(1000.0, 1000.0))
    live = caller_audio(tag=200)
    play.on(live, SendAudio(live.audio))


def test_catching_up_is_a_second_at_once_then_a_little_faster_than_real_time() -> None:
    """The newest `keep_s` are passed on at `rate`, in order, and live sound queues behind."""
    play = Play.talking(terms(AgentTerms("main", keep_s=4, rate=2.0)))
    play.wait(20)
    play.on(LOST, TOKEN)
    tag = 0
    for tag in range(1, 301):
        play.on(caller_audio(level=-20, tag=tag))
    times: list[tuple[float, int]] = []
    begin = play.now
    commands = play.on(AgentReady("s", resumed=True), ...)
    while play.now - begin < 5:
        times += [
            (play.now, int.from_bytes(c.audio[:4], "big")) for c in commands if isinstance(c, SendAudio)
        ]
        commands = play.wait(0.02, ...)
        tag += 1
        commands += play.on(caller_audio(tag=tag), ...)
    tags = [sent for _, sent in times]
    assert tags[0] == 101
    assert tags == sorted(tags)
    assert [at for at, _ in times[:50]] == [begin] * 50
    for at, sent in times:
        ahead_ms = (sent - 100) * 20
        assert ahead_ms <= 1000 + (at - begin) * 2000 + 60
    (caught_up,) = play.items(CaughtUp)[-1:]
    assert caught_up.dropped_ms == 2000
    assert 6900 < caught_up.kept_ms < 7300


def test_a_complaint_about_the_rate_slows_catching_up_for_the_rest_of_the_call() -> None:
    """Real time from there, only the newest second, and pauses are left out; the next time as well."""
    play = Play.talking()
    play.wait(20)
    play.on(AgentWarned("audio_rate_violation"))
    play.on(LOST, TOKEN)
    for n in range(1, 101):
        play.on(caller_audio(level=-20 if n % 2 else -100, tag=n))
    play.on(AgentReady("s", resumed=True))
    commands = play.wait(0.05, ...)
    first = next(command for command in commands if isinstance(command, SendAudio))
    assert int.from_bytes(first.audio[:4], "big") >= 51
    play.wait(0.6, ...)
    (caught_up,) = play.items(CaughtUp)
    assert (caught_up.kept_ms, caught_up.dropped_ms) == (500.0, 1500.0)


def test_a_complaint_during_catching_up_keeps_only_the_newest_second() -> None:
    """What waits beyond a second is given up; a second complaint changes nothing more."""
    play = Play.talking()
    play.wait(20)
    play.on(LOST, TOKEN)
    for n in range(1, 251):
        play.on(caller_audio(level=-20, tag=n))
    play.on(AgentReady("s", resumed=True), ...)
    play.on([AgentWarned("audio_rate_violation"), AgentWarned("invalid_audio")], ...)
    commands = play.wait(1.1, ...)
    tags = [int.from_bytes(c.audio[:4], "big") for c in commands if isinstance(c, SendAudio)]
    assert tags == list(range(201, 251))


def test_a_caller_lost_and_back_hears_the_rest_once() -> None:
    """Nothing is repeated but what was not heard, and what was lost with the connection is said again."""
    play = Play.talking()
    play.on(reply(3000))
    play.wait(1)
    play.on(CallerLost("1006"))
    play.far_end.drop(play.now)
    play.far_end.marks.clear()
    play.on(reply(500, "r2"))
    play.wait(5)
    play.on(CallerReturned(INFO), ...)
    play.wait(4)
    assert play.far_end.heard_ms("r1", play.now) == pytest.approx(3000, abs=20)
    assert [(f.reply_id, f.cut_ms, f.confirmed) for f in play.items(ReplyHeard)] == [
        ("r1", 0.0, True),
        ("r2", 0.0, True),
    ]


def test_a_connection_that_replaces_the_old_one_takes_over_its_buffer() -> None:
    """The new socket may come before the old one was missed; nothing sent on the old one is still buffered."""
    play = Play.talking()
    play.on(reply(3000))
    play.wait(1)
    play.far_end.drop(play.now)
    play.far_end.marks.clear()
    play.on(CallerReturned(INFO), Heard("r1", 2000.0))
    play.wait(3)
    assert play.far_end.heard_ms("r1", play.now) == pytest.approx(3000, abs=20)


def test_nothing_is_played_to_a_caller_who_is_away() -> None:
    """Neither replies nor house sounds; an interruption clears nothing there."""
    play = Play.talking()
    play.on(reply(2000))
    play.on(CallerLost("1006"))
    play.on(SpeechStarted())
    play.on(reply(2000, "r2"))
    play.on(AgentLost("1006", "renew"))
    play.wait(5)
    play.on(CallerReturned(INFO), NEW, Heard("r2", 2000.0))
    play.wait(3)
    assert play.far_end.heard_ms("clip:hold", play.now) == pytest.approx(1000, abs=25)
    play.on(CallerLost("1006"))
    play.wait(31, CloseAgent(), HangUp("caller_lost"))


def test_an_agent_that_introduces_itself_is_not_told_to_go_on() -> None:
    """A reply asked for would replace the greeting with which it takes over."""
    ladder = (AgentTerms("main", tries=1, resume_s=0), AgentTerms("sorry", introduces_itself=True))
    play = Play.talking(terms(*ladder))
    play.on([UserSaid("are you there", final=True), ReplyStarted("r1"), *reply_audio(200)])
    play.on(AgentLost("gone", "fallback"), ...)
    play.on(AgentReady("s2"), GapClosed(0.0, "fallback", "sorry"))
